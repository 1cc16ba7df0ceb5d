"""Attack table row 29: the queues run full, or nobody listens at them; also with marks of the attacker's own.

| row | held by |
|---|---|
| 29 queries for a stopped agent, its rule flushed, killed | also `test_promise_p4`, IPv4 |
| 29 approved connections over a kill | also `test_names_on_the_wire` |

All floods are bounded in number. While they run, what was approved or is open by address has to go on.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from scapy.layers.inet import TCP

from isolator.model.ruleset import APPROVED_BIT, FLOW_BIT, TABLE
from tests.e2e import orders
from tests.e2e.marked_queries import MarkedQueries
from tests.lab import Lab, topology
from tests.lab.session import Session
from tests.netns.bypass_scene import (
    ALLOWED,
    AT,
    CLOCK,
    CLOCK_PORT,
    CONTROL,
    NETWORK,
    PORT,
    Stage,
    family_of,
    opened_stage,
)
from tests.netns.odd_packets import network
from tests.netns.told_bytes import EVIL, hello, mark_of, naming, say

pytestmark = pytest.mark.netns

FLOOD, TALKERS = 20_000, 1_000
PER_SOCKET = 100
"""Packets that wait in a queue count against their socket's buffer: a stuck queue must not stop the flood."""
BOTH = APPROVED_BIT | FLOW_BIT
ROUTER = topology.ADDRESSES[topology.ROUTER]


@pytest.fixture(scope="module")
def shared() -> Iterator[Stage]:
    with opened_stage() as made:
        yield made


@pytest.fixture
def stage(shared: Stage) -> Iterator[Stage]:
    """Isolated; the agent is alive and the device free afterwards."""
    shared.isolate()
    yield shared
    process = shared.agent.process
    assert process is not None
    if process.poll() is not None:
        shared.agent.start()
    send_signal(shared, signal.SIGCONT)
    shared.release()


def send_signal(stage: Stage, number: signal.Signals) -> None:
    """To the agent."""
    assert stage.agent.process is not None
    os.kill(stage.agent.process.pid, number)


def segments(lab: Lab, there: str, flags: str, payload: bytes, count: int) -> Iterator[bytes]:
    """Segments from that many ports; what the port adds to the checksum the sequence number takes away."""
    first = 10_000
    head = TCP(sport=first, dport=PORT, flags=flags, seq=0x1234_FFFF, ack=9)
    made = bytearray(bytes(network(lab, there) / head / payload))
    at = 40 if ":" in there else 20
    for number in range(count):
        made[at : at + 2] = (first + number).to_bytes(2, "big")
        made[at + 4 : at + 8] = (0x1234_FFFF - number).to_bytes(4, "big")
        yield bytes(made)


def flood(lab: Lab, there: str, packets: Iterator[bytes], *, mark: int = 0) -> None:
    """Send as fast as it goes; the sockets stay open until all is sent."""
    with contextlib.ExitStack() as opened:
        for number, packet in enumerate(packets):
            if number % PER_SOCKET == 0:
                sock = lab.device.socket(family_of(there), socket.SOCK_RAW, socket.IPPROTO_RAW)
                opened.enter_context(sock)
                mark_of(sock, mark)
                sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.sendto(packet, (there, 0))


def half_hellos(lab: Lab, there: str, marker: bytes, count: int) -> contextlib.ExitStack:
    """Connections that begin a hello and do not end it."""
    opened = contextlib.ExitStack()
    for _ in range(count):
        sock = opened.enter_context(lab.device.socket(family_of(there), socket.SOCK_STREAM))
        sock.settimeout(0.5)
        with contextlib.suppress(OSError):
            sock.connect((there, PORT))
            sock.sendall(hello(ALLOWED, marker)[:-5])
    return opened


class Old:
    """What is open already and has to go on: approved by name, by address, to the controller; and a clock."""

    def __init__(self, lab: Lab) -> None:
        reach = self._reach = lab.reach_from(lab.device, 5.0)
        self._sessions: list[Session] = [
            reach.session(ALLOWED, PORT),
            reach.session(ALLOWED, PORT, family=socket.AF_INET6),
            reach.session(NETWORK.v4, PORT),
            reach.session(CONTROL.v4, PORT),
        ]

    def go_on(self) -> bool:
        """Do they all answer?"""
        clock = self._reach.udp(AT[CLOCK].v4, CLOCK_PORT)
        return clock.ok and all(session.echoes(5.0) for session in self._sessions)

    def close(self) -> None:
        """Hang up."""
        for session in self._sessions:
            session.close()


@pytest.fixture
def old(stage: Stage) -> Iterator[Old]:
    made = Old(stage.lab)
    yield made
    made.close()


def comes_back(stage: Stage, works: Callable[[], bool]) -> None:
    """Wait until it works again."""
    deadline = time.monotonic() + 60
    while not works():
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.1)
    assert stage.answers()


def test_the_floods_arrive_when_not_isolated(shared: Stage) -> None:
    """Positive control of everything below: each kind is on the wire, with marks and without."""
    lab, marker = shared.lab, secrets.token_hex(8).encode()
    for there in (AT[ALLOWED].v4, AT[ALLOWED].v6):
        with lab.judge.watch(marker) as sniffer:
            flood(lab, there, segments(lab, there, "PA", marker, 100))
            flood(lab, there, segments(lab, there, "PA", marker, 100), mark=BOTH)
            half_hellos(lab, there, marker, 10).close()
            say(lab, there, PORT, naming(EVIL)(marker), mark=BOTH)
            assert len(sniffer.report().seen(marker)) >= 212


@pytest.mark.parametrize("v", ["v4", "v6"])
def test_connections_flood_the_gate(stage: Stage, old: Old, v: str) -> None:
    """Beginnings, data of no connection and half hellos; meanwhile names resolve and open connections go on."""
    lab, there, marker = stage.lab, getattr(AT[ALLOWED], v), secrets.token_hex(8).encode()
    held = contextlib.ExitStack()

    def attack() -> None:
        flood(lab, there, segments(lab, there, "S", b"", FLOOD))
        flood(lab, there, segments(lab, there, "PA", marker, FLOOD), mark=BOTH)
        held.enter_context(half_hellos(lab, there, marker, TALKERS))

    with lab.judge.watch(marker) as sniffer, held:
        attacker = threading.Thread(target=attack)
        attacker.start()
        rounds = 0
        while attacker.is_alive() or not rounds:
            assert old.go_on()
            assert lab.reach_from(lab.device, 5.0).dns(ALLOWED).ok, "the queue of names is another one"
            rounds += 1
        attacker.join()
        comes_back(stage, lambda: lab.reach_from(lab.device, 5.0).tcp(ALLOWED, PORT).ok)
        report = sniffer.report()
    assert report.seen(marker) == ()
    assert old.go_on()
    moved = stage.counted()
    assert moved["flow_unknown"], moved
    assert moved["flow_table_full"] or moved["flow_timed_out"], "half hellos beyond the bound are given up"


@pytest.mark.parametrize("v", ["v4", "v6"])
def test_queries_flood_the_gate(stage: Stage, old: Old, v: str) -> None:
    lab, server = stage.lab, getattr(ROUTER, v)
    queries = MarkedQueries(lab)
    queries.send(FLOOD, server=server)
    assert old.go_on()
    comes_back(stage, lambda: lab.reach_from(lab.device, 5.0).dns(ALLOWED).ok)
    assert queries.arrived() == 0
    assert old.go_on()


@pytest.mark.parametrize("v", ["v4", "v6"])
def test_connections_flood_a_stopped_agent(stage: Stage, old: Old, v: str) -> None:
    """The kernel's queue runs full: what does not fit is dropped, what waits is judged as ever afterwards."""
    lab, there, marker = stage.lab, getattr(AT[ALLOWED], v), secrets.token_hex(8).encode()
    with lab.judge.watch(marker) as sniffer:
        send_signal(stage, signal.SIGSTOP)
        flood(lab, there, segments(lab, there, "PA", marker, FLOOD), mark=BOTH)
        assert not lab.reach_from(lab.device, 0.5).connect(there, PORT, family=family_of(there)).ok
        assert old.go_on()
        send_signal(stage, signal.SIGCONT)
        comes_back(stage, lambda: lab.reach_from(lab.device, 5.0).tcp(ALLOWED, PORT).ok)
        report = sniffer.report()
    assert report.seen(marker) == ()
    assert old.go_on()
    statistics: Any = orders.status(stage.agent)["flow_queue"]
    assert statistics["dropped_full"] > 0, statistics


@pytest.mark.parametrize("v", ["v4", "v6"])
def test_nobody_listens(stage: Stage, old: Old, v: str) -> None:
    """Killed while hellos are half said: the other halves get nowhere, neither then nor after the restart."""
    lab, there, marker = stage.lab, getattr(AT[ALLOWED], v), secrets.token_hex(8).encode()
    with lab.judge.watch(marker) as sniffer, lab.device.socket(family_of(there), socket.SOCK_STREAM) as half:
        half.settimeout(5)
        half.connect((there, PORT))
        half.sendall(hello(ALLOWED, marker)[:-5])
        stage.agent.kill()
        flood(lab, there, segments(lab, there, "PA", marker, FLOOD), mark=BOTH)
        for mark in (0, APPROVED_BIT, FLOW_BIT, BOTH):
            assert not lab.reach_from(lab.device, 0.5).connect(there, PORT, family=family_of(there)).ok
            with contextlib.suppress(OSError):
                say_quickly(lab, there, naming(ALLOWED)(marker), mark)
        with contextlib.suppress(OSError):
            half.sendall(hello(ALLOWED, marker)[-5:] + marker)
        assert old.go_on()
        stage.agent.start(60)
        with contextlib.suppress(OSError):
            half.sendall(marker)
            half.recv(1)
        stage.learn()
        assert stage.answers()
        report = sniffer.report()
    assert report.seen(marker) == ()
    assert old.go_on()


def say_quickly(lab: Lab, there: str, pieces: Sequence[bytes], mark: int) -> None:
    """Connect and send, without waiting long for anybody."""
    with lab.device.socket(family_of(there), socket.SOCK_STREAM) as sock:
        sock.settimeout(0.3)
        mark_of(sock, mark)
        sock.connect((there, PORT))
        for piece in pieces:
            sock.sendall(piece)


@pytest.mark.parametrize("v", ["v4", "v6"])
def test_the_rule_that_feeds_the_queue_is_flushed(stage: Stage, old: Old, v: str) -> None:
    """Connections that nobody judges are reset at once, marks or not; the watch puts the rule back."""
    lab, there, marker = stage.lab, getattr(AT[ALLOWED], v), secrets.token_hex(8).encode()
    with lab.judge.watch(marker) as sniffer:
        send_signal(stage, signal.SIGSTOP)
        lab.device.run(["nft", "flush", "chain", "inet", TABLE, "flow_queue"], check=True)
        flood(lab, there, segments(lab, there, "PA", marker, 1_000), mark=BOTH)
        for mark in (0, APPROVED_BIT, FLOW_BIT, BOTH):
            with pytest.raises(ConnectionRefusedError):
                say_quickly(lab, there, naming(ALLOWED)(marker), mark)
        assert old.go_on()
        send_signal(stage, signal.SIGCONT)
        comes_back(stage, lambda: lab.reach_from(lab.device, 5.0).tcp(ALLOWED, PORT).ok)
        report = sniffer.report()
    assert report.seen(marker) == ()
    assert stage.counted()["flow_unjudged"] > 0
