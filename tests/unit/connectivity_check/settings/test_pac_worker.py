"""The worker's loop: names are looked up side by side, and the script is run until all are known."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from connectivity_check.settings import pac_worker
from connectivity_check.settings.pac_worker import Worker

PAC = "function FindProxyForURL(u, h) { return dnsResolve(h) ? 'PROXY ' + dnsResolve(h) + ':1' : 'DIRECT'; }"


def serve(questions: list[str], resolve: Any, pac: str = PAC) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    done = 0

    def send(message: dict[str, Any]) -> None:
        nonlocal done
        said.append(message)
        done += message["event"] == "done"
        if done == len(questions):
            worker.inbox.put(None)

    worker = Worker(send, resolve)
    worker.inbox.put({"pac": pac})
    for number, host in enumerate(questions):
        worker.inbox.put({"id": number, "url": f"https://{host}/", "host": host})
    worker.run()
    return said


def results(said: list[dict[str, Any]]) -> dict[int, str]:
    return {m["id"]: m["result"] for m in said if m["event"] == "done"}


def test_every_question_waits_for_its_own_names_only() -> None:
    gate = threading.Event()

    def resolve(name: str) -> tuple[str, ...]:
        if name == "slow.example":
            assert gate.wait(5)
        return ("192.0.2.1",)

    said: list[dict[str, Any]] = []

    def send(message: dict[str, Any]) -> None:
        said.append(message)
        if message["event"] == "done":
            gate.set()
        if sum(m["event"] == "done" for m in said) == 2:
            worker.inbox.put(None)

    worker = Worker(send, resolve)
    worker.inbox.put({"pac": PAC})
    for number, host in enumerate(["slow.example", "fast.example"]):
        worker.inbox.put({"id": number, "url": f"https://{host}/", "host": host})
    worker.run()
    assert [m["id"] for m in said if m["event"] == "done"] == [1, 0]
    assert results(said)[0] == "PROXY 192.0.2.1:1"


def test_a_name_is_looked_up_once_for_all() -> None:
    asked: list[str] = []

    def resolve(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ()

    pac = "function FindProxyForURL(u, h) { return isResolvable('Inside.example') + ''; }"
    said = serve([f"h{i}.example" for i in range(50)], resolve, pac)
    assert set(results(said).values()) == {"false"}
    assert asked == ["inside.example"]


def test_names_that_hang_on_names() -> None:
    pac = "function FindProxyForURL(u, h) { return dnsResolve(dnsResolve('a') === '192.0.2.1' ? 'b' : 'c') + ''; }"
    said = serve(["x"], {"a": ("192.0.2.1",), "b": ("192.0.2.2",), "c": ("192.0.2.3",)}.__getitem__, pac)
    assert results(said) == {0: "192.0.2.2"}


def test_a_script_that_never_has_enough_is_answered_all_the_same() -> None:
    pac = "var n = 0; function FindProxyForURL(u, h) { n += 1; dnsResolve('x' + n); return 'DIRECT'; }"
    assert results(serve(["x"], lambda _: (), pac)) == {0: "DIRECT"}


def test_a_name_that_takes_too_long_counts_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pac_worker, "LOOK_UP_S", 0.05)
    gate = threading.Event()
    try:
        assert results(serve(["x"], lambda _: gate.wait(5) and ())) == {0: "DIRECT"}
    finally:
        gate.set()


def test_an_address_that_comes_too_late_changes_nothing() -> None:
    said: list[dict[str, Any]] = []
    worker = Worker(said.append, lambda _: ())
    worker.inbox.put({"pac": PAC})
    worker.inbox.put(("x", ()))  # its time was over
    worker.inbox.put(("x", ("192.0.2.1",)))
    worker.inbox.put({"id": 1, "url": "https://x/", "host": "x"})
    worker.inbox.put(None)
    worker.run()
    assert results(said) == {1: "DIRECT"}
