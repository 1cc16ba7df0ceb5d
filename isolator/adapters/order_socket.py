"""The agent's Unix socket: one JSON line asks, one JSON line answers.

Only root and the agent's own user are answered (SO_PEERCRED, unix(7)); the file mode says the same.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from isolator.model.failure import FailureCode, IsolatorError

if TYPE_CHECKING:
    from isolator.ports import Request, Response

LOG = logging.getLogger(__name__)

# Absent on Windows, where the wiring refuses before it comes here.
_AF_UNIX: int = getattr(socket, "AF_UNIX", -1)
_SO_PEERCRED: int = getattr(socket, "SO_PEERCRED", -1)
_own_uid: Callable[[], int] = getattr(os, "geteuid", lambda: -1)

MAX_REQUEST = 65_536
MAX_RESPONSE = 64 * 1024 * 1024
"""A status with 100,000 learned addresses is some 15 MB."""

READ_TIMEOUT_S = 5.0
MAX_CLIENTS = 32


class OrderSocket:
    """Port OrderSource on a Unix stream socket at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener: socket.socket | None = None
        self._slots = threading.BoundedSemaphore(MAX_CLIENTS)
        self._stopped = threading.Event()

    def serve(self, answer: Callable[[Request], Response]) -> None:
        """Listen; IsolatorError when another agent listens already or the path cannot be used."""
        if _somebody_listens(self.path):
            raise IsolatorError(
                FailureCode.IN_PROGRESS, "listen", f"another agent answers on {self.path}: use that one"
            )
        listener = socket.socket(_AF_UNIX, socket.SOCK_STREAM)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            before = os.umask(0o177)
            try:
                listener.bind(str(self.path))
            finally:
                os.umask(before)
            listener.listen(MAX_CLIENTS)
        except OSError as error:
            listener.close()
            raise IsolatorError(
                FailureCode.STATE_UNWRITABLE,
                "listen",
                f"cannot listen on {self.path}: {error.strerror or error}; choose another --socket",
            ) from error
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener, answer), name="orders", daemon=True).start()

    def stop(self) -> None:
        """Close the socket and remove its file."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._stopped.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _accept(self, listener: socket.socket, answer: Callable[[Request], Response]) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._slots.acquire()  # beyond that many the next ones wait; a mute client is given up soon
            threading.Thread(target=self._serve_one, args=(connection, answer), daemon=True).start()

    def _serve_one(self, connection: socket.socket, answer: Callable[[Request], Response]) -> None:
        try:
            with connection:
                connection.settimeout(READ_TIMEOUT_S)
                response = _respond(connection, answer)
                connection.settimeout(30.0)
                connection.sendall(json.dumps(response).encode() + b"\n")
        except OSError as error:
            LOG.info("a client went away: %s", error)
        finally:
            self._slots.release()


def _respond(connection: socket.socket, answer: Callable[[Request], Response]) -> Response:
    if _peer_uid(connection) not in (0, _own_uid()):
        sentence = "only root may ask the agent; run this with sudo"
        return IsolatorError(FailureCode.NO_PERMISSION, "ask", sentence).response()
    try:
        request = json.loads(_read_line(connection, MAX_REQUEST))
        if not isinstance(request, dict):
            raise ValueError("a JSON object is wanted")
    except (ValueError, RecursionError) as error:
        sentence = f"the request cannot be read: {error}"
        return IsolatorError(FailureCode.BAD_ORDER, "read_request", sentence).response()
    return answer(request)


def _peer_uid(connection: socket.socket) -> int:
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, size))
    return int(uid)


def _read_line(connection: socket.socket, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        part = connection.recv(65_536)
        parts.append(part)
        size += len(part)
        if not part or part.endswith(b"\n"):
            return b"".join(parts)
        if size > limit:
            raise ValueError(f"longer than {limit} bytes")


def _somebody_listens(path: Path) -> bool:
    """Whether an agent answers there, or somebody too busy to.

    A program that an agent was starting when it was killed has its socket for a moment, until the exec:
    connections are taken then, and reset.
    """
    with socket.socket(_AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
            probe.sendall(b"\n")
            return bool(probe.recv(1))
        except TimeoutError:
            return True
        except OSError:
            return False


def ask(path: Path, request: Request, timeout_s: float) -> Response:
    """Ask the agent at `path`; IsolatorError AGENT_UNREACHABLE when nobody answers in time.

    An error the agent answered is raised as the IsolatorError it was there.
    """
    try:
        with socket.socket(_AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            line = _read_line(connection, MAX_RESPONSE)
    except OSError as error:
        raise IsolatorError(_unreachable(error), "ask", _unreachable_sentence(path, error)) from error
    try:
        response = json.loads(line)
        if response["ok"]:
            return dict(response["result"])
        failure = response["error"]
        code, operation = FailureCode(failure["code"]), str(failure["operation"])
        raise IsolatorError(code, operation, str(failure["sentence"]))
    except (ValueError, KeyError, TypeError) as error:
        raise IsolatorError(
            FailureCode.AGENT_UNREACHABLE,
            "ask",
            f"the agent at {path} broke off its answer; see its log and ask `isolator status`",
        ) from error


def _unreachable(error: OSError) -> FailureCode:
    return FailureCode.NO_PERMISSION if isinstance(error, PermissionError) else FailureCode.AGENT_UNREACHABLE


def _unreachable_sentence(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"no permission to ask the agent at {path}: run this as root"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"no agent answers at {path}: start it with `isolator agent` or the isolator service"
    if isinstance(error, TimeoutError):
        return f"the agent at {path} did not answer in time; it may still be at work, ask `isolator status`"
    return f"the agent at {path} cannot be asked: {error.strerror or error}"
