"""The agent's socket: who counts as another agent that listens there already."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isolator.adapters.order_socket import OrderSocket, ask
from isolator.model.failure import FailureCode, IsolatorError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.sock"


@pytest.fixture
def silent(path: Path) -> Iterator[socket.socket]:
    """A socket that is listened on and that nobody accepts from."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        yield listener


def serve(path: Path) -> OrderSocket:
    made = OrderSocket(path)
    made.serve(lambda request: {"ok": True, "result": dict(request)})
    return made


def test_a_second_agent_is_refused_and_the_first_goes_on(path: Path) -> None:
    first = serve(path)
    with pytest.raises(IsolatorError, match="another agent answers") as failure:
        serve(path)
    assert failure.value.code is FailureCode.IN_PROGRESS
    assert ask(path, {"do": "status"}, 10) == {"do": "status"}
    first.stop()
    serve(path).stop()


def test_an_agent_too_busy_to_answer_is_another_agent(path: Path, silent: socket.socket) -> None:
    with pytest.raises(IsolatorError, match="another agent answers"):
        serve(path)


def test_what_a_killed_agent_was_starting_is_no_other_agent(path: Path, silent: socket.socket) -> None:
    """A child keeps the dead agent's socket until its exec: it takes connections and then resets them."""
    ending = threading.Timer(0.2, silent.close)
    ending.start()
    began = time.monotonic()
    made = serve(path)
    ending.join()
    assert time.monotonic() - began >= 0.15, "it was not asked while the child had the socket"
    assert ask(path, {"do": "status"}, 10) == {"do": "status"}
    made.stop()


def test_nobody_has_listened_there_for_long(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    made = serve(path)
    assert ask(path, {"do": "status"}, 10) == {"do": "status"}
    made.stop()
    made.stop()
    assert not path.exists()
