"""The system's resolvers and its own look-up, getaddrinfo replaced."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from connectivity_check.failure import Seen
from connectivity_check.probes import system_lookup
from connectivity_check.probes.dns_evidence import Result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="resolv.conf")


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", ["10.0.0.1", "10.0.0.2"]),
        ("\tnameserver\t2001:DB8::1 # mine\r\n", ["2001:db8::1"]),
        ("nameserver fe80::1%eth0\n", ["fe80::1%eth0"]),
        ("# nameserver 10.0.0.9\n;nameserver 10.0.0.9\nnameserver\nnameserver dns.example\n", ["127.0.0.1"]),
        ("search ..\noptions timeout:x ndots:\nnameserver 10.0.0.1\nnameserver 10.0.0.1", ["10.0.0.1"]),
        ("", ["127.0.0.1"]),
    ],
)
def test_resolv_conf(tmp_path: Path, text: str, addresses: list[str]) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    assert [address for address, _ in system_lookup.system_servers(file)] == addresses


def test_resolv_conf_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    assert system_lookup.system_servers(file) == (("127.0.0.1", 53),)
    file.write_bytes(b"\xff\xfe\nnameserver 10.0.0.1\n")
    assert system_lookup.system_servers(file) == (("10.0.0.1", 53),)


def looked_up(monkeypatch: pytest.MonkeyPatch, answer: Any, name: str = "a.example") -> Result:
    """Look up with getaddrinfo answering, or raising, `answer`."""

    def getaddrinfo(asked: str, *_: object, **__: object) -> Any:
        assert asked.isascii()
        if isinstance(answer, Exception):
            raise answer
        return [(0, 0, 0, "", (address, 0)) for address in answer]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asyncio.run(system_lookup.look_up(name, budget_s=5))


def test_ipv4_comes_first_and_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    found = looked_up(monkeypatch, ["2603::1", "20.0.0.2", "20.0.0.1", "2603::1"])
    assert found.seen is None
    assert found.evidence["addresses"] == ["20.0.0.2", "20.0.0.1", "2603::1"]
    assert found.evidence["resolver"] == "hosts"


@pytest.mark.parametrize(
    ("error", "seen", "word"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Seen.DNS_NXDOMAIN, "EAI_NONAME"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), Seen.OTHER, "EAI_AGAIN"),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable"), Seen.OTHER, "EAI_FAIL"),
        (OSError(24, "Too many open files"), Seen.OTHER, "Too many"),
    ],
)
def test_errors_keep_their_name(
    monkeypatch: pytest.MonkeyPatch, error: Exception, seen: Seen, word: str
) -> None:
    found = looked_up(monkeypatch, error)
    assert found.seen is seen
    assert word in str(found.evidence["error"])


def test_empty_bogus_and_unaskable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked_up(monkeypatch, []).seen is Seen.DNS_NO_ANSWER
    assert looked_up(monkeypatch, ["127.0.0.1"]).seen is Seen.DNS_BOGON
    assert looked_up(monkeypatch, ["20.0.0.1"], "bücher.example").seen is None
    assert looked_up(monkeypatch, ["20.0.0.1"], "a" * 64).seen is Seen.OTHER


def test_look_ups_that_hang_hold_up_nobody_until_too_many_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def getaddrinfo(name: str, *_: object, **__: object) -> Any:
        if name.startswith("dead"):
            go_on.wait(30)
        return [(0, 0, 0, "", ("20.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(system_lookup, "_threads", threading.BoundedSemaphore(4))

    async def scenario() -> None:
        def ask(name: str) -> Any:
            return system_lookup.look_up(name, budget_s=0.2)

        dead = await asyncio.gather(*(ask(f"dead{i}.example") for i in range(3)), ask("fine.example"))
        assert [each.seen for each in dead] == [Seen.TIMEOUT] * 3 + [None]
        assert (await ask("dead3.example")).seen is Seen.TIMEOUT
        full = await ask("fine.example")
        assert full.seen is Seen.TIMEOUT
        assert "hang" in str(full.evidence["error"])
        go_on.set()
        await asyncio.sleep(0.1)
        assert (await ask("fine.example")).seen is None

    asyncio.run(scenario())
