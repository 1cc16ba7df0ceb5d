"""Requests to the agent, answered without ever raising."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from isolator.core.policy_document import encode_order
from isolator.model.order import HostState, IsolationOrder
from isolator.ports import Request, Response
from isolator.service import agent as agent_module
from isolator.service.agent import Agent
from isolator.service.link_state import LinkState
from isolator.service.remote_orders import RemoteOrders
from tests.fakes.state_store import FakeStateStore
from tests.unit.isolator.service.test_controller import Host


class Source:
    """An order source whose clients are the test."""

    def __init__(self) -> None:
        self.stopped = False
        self.ask: Callable[[Request], Response] | None = None

    def serve(self, answer: Callable[[Request], Response]) -> None:
        self.ask = answer

    def stop(self) -> None:
        self.stopped = True


def made(host: Host, source: Source, *, standalone: bool = False) -> Agent:
    """An agent that belongs to no controller."""
    controller = host.agent()
    remote = RemoteOrders(controller, LinkState(FakeStateStore()))
    return Agent(controller, source, remote=remote, standalone=standalone)


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def agent(host: Host) -> Agent:
    return made(host, Source())


def order(**changes: object) -> dict[str, object]:
    return {"do": "isolate", "order": {**encode_order(IsolationOrder()), **changes}}


def test_orders_and_status(agent: Agent) -> None:
    answer = agent.answer(order(comment="INC-1"))
    assert answer["ok"], answer
    result = answer["result"]
    assert result["changed"]  # type: ignore[index]
    status = agent.answer({"do": "status"})["result"]
    expected = {
        "state", "isolation_type", "lists", "since", "expires_at", "generation", "enforcement",
        "control_channel", "learned", "counters", "alerts",
    }  # fmt: skip
    assert expected <= set(status)  # type: ignore[arg-type]
    assert status["enforcement"]["verified"]  # type: ignore[index]
    assert set(status["learned"][0]) == {"name", "address", "port", "entry", "expires_in_s"}  # type: ignore[index]
    assert set(status["counters"]) == {"accepted", "dropped"}  # type: ignore[index]
    assert agent.answer({"do": "release", "comment": "over"})["ok"]
    assert agent.answer({"do": "status"})["result"]["state"] == "connected"  # type: ignore[index]


def test_what_an_order_leaves_open_comes_from_the_configuration(agent: Agent) -> None:
    answer = agent.answer(order(lists=None, geo=None, profile=None))
    assert answer["ok"]
    assert answer["result"]["status"]["lists"][0]["id"] == "mde-streamlined-commercial"  # type: ignore[index]


def test_an_end_is_shown_as_an_instant(agent: Agent) -> None:
    agent.answer(order(duration_s=3600))
    expires = agent.answer({"do": "status"})["result"]["expires_at"]  # type: ignore[index]
    assert isinstance(expires, str)
    assert expires.endswith("Z")


def test_explain_says_what_would_be_and_what_is(agent: Agent) -> None:
    asked = {"do": "explain", "destination": "tcp://www.example.com:443"}
    before = agent.answer(asked)["result"]
    assert before["verdict"] == "accept"  # type: ignore[index]
    assert before["if_isolated"]["verdict"] == "reject"  # type: ignore[index]
    agent.answer(order())
    during = agent.answer(asked)["result"]
    assert (during["verdict"], during["during"]) == ("reject", "isolation")  # type: ignore[index]


def test_a_dry_run_changes_nothing(agent: Agent, host: Host) -> None:
    answer = agent.answer({**order(), "dry_run": True})
    assert answer["ok"]
    assert host.backend.applied == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, "bad_order"),
        ({"do": "format"}, "bad_order"),
        ({"do": "isolate"}, "bad_order"),
        ({"do": "isolate", "order": 7}, "bad_order"),
        ({"do": "isolate", "order": {}}, "bad_order"),
        ({"do": "release", "comment": 7}, "bad_order"),
        ({"do": "explain"}, "bad_order"),
        ({"do": "explain", "destination": "ftp://x"}, "bad_order"),
    ],
)
def test_bad_requests_are_answered(agent: Agent, request_: Request, code: str) -> None:
    answer = agent.answer(request_)
    assert answer["ok"] is False
    assert answer["error"]["code"] == code  # type: ignore[index]


def test_a_defect_is_answered_and_logged(agent: Agent, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.backend.refusals["arm"] = RuntimeError("a defect")  # type: ignore[assignment]
    answer = agent.answer(order())
    assert answer["error"]["code"] == "internal"  # type: ignore[index]
    assert "a defect" in caplog.text


def test_run_converges_serves_and_leaves_the_host_as_it_is(host: Host) -> None:
    host.agent().isolate(IsolationOrder())
    source = Source()
    agent = made(host, source)
    agent.stop()
    agent.run()
    assert agent.controller.state is HostState.ISOLATED
    assert source.stopped
    assert host.backend.observe() is not None


def test_a_standalone_agent_ends_when_the_host_is_free(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "TICK_S", 0.01)
    monkeypatch.setattr(agent_module, "IDLE_S", 0.05)
    agent = made(host, Source(), standalone=True)
    started = time.monotonic()
    agent.run()
    assert time.monotonic() - started < 10


def test_a_standalone_agent_stays_while_the_host_is_isolated(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "IDLE_S", -1.0)
    agent = made(host, Source(), standalone=True)
    agent.answer(order())
    agent._tick()
    assert not agent._stop.is_set()
    agent.answer({"do": "release"})
    agent._tick()
    assert agent._stop.is_set()


def test_a_tick_that_fails_does_not_end_the_agent(agent: Agent, host: Host) -> None:
    agent.answer(order())
    for error in (
        RuntimeError("a defect"),
        agent_module.IsolatorError(agent_module.FailureCode.INTERNAL, "x", "y"),
    ):
        host.backend.table = None
        host.backend.refusals["replace"] = error  # type: ignore[assignment]
        agent._tick()
    host.backend.refusals.clear()
    agent._tick()
    assert host.backend.observe() is not None
