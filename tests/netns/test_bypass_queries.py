"""Attack table rows 2, 5 and 9: what leaves in queries, and what floods of names and answers cost the service.

| row | held by |
|---|---|
| 5 over IPv4 | also `test_promise_p7_answers.test_answers_a_program_sends_itself_open_nothing`, `bench/forged_answers` |
| 6 forged from outside | `test_promise_p7_answers.test_a_forged_answer_opens_nothing` and `test_bypass_answers` |
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import dns.message
import dns.rrset
import pytest

from isolator.core.new_names import MAX_NEW_BYTES, MAX_NEW_NAMES, WINDOW_S
from isolator.model.datagram import Datagram
from isolator.wire.ip_packet import render_udp
from tests.e2e import orders
from tests.e2e.own_list import Row
from tests.lab import Host, Lab, topology, zone
from tests.lab.rogue import Asked, Reply
from tests.netns.bypass_scene import (
    ALLOWED,
    AT,
    FIRST,
    PORT,
    RESOLVERS,
    ROWS,
    Stage,
    family_of,
    opened_stage,
)
from tests.netns.lying_resolver import reaches
from tests.netns.test_promise_p7_answers import answer_to

pytestmark = pytest.mark.netns

SUFFIX, NEIGHBOUR = ".svc.vendor.example", "node.cdn.vendor.example"
QUERIES = 400
FLOOD = 20_000
EVIL = "93.184.216.201"
SERVERS = tuple(address for pair in RESOLVERS[:1] for address in (pair.v4, pair.v6))


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A new agent each time: its minute of new names begins with the first of them."""
    with opened_stage(rows=(*ROWS, Row("*.cdn.vendor.example", PORT))) as made:
        made.lab.resolver.put(Host("*.cdn.vendor.example", ("20.91.2.1",)))
        yield made


def tunnelled(size: int, count: int) -> list[str]:
    """Names below the wildcard that carry so many random bytes each."""
    names = []
    for _ in range(count):
        text = base64.b32encode(secrets.token_bytes(size)).decode().rstrip("=").lower()
        names.append(".".join(text[at : at + 60] for at in range(0, len(text), 60)) + SUFFIX)
    return names


def ask_all(lab: Lab, names: Sequence[str]) -> None:
    """Ask for them by every way in turn, and wait for no answer."""
    with contextlib.ExitStack() as opened:
        socks = [opened.enter_context(lab.device.socket(family_of(to), socket.SOCK_DGRAM)) for to in SERVERS]
        for number, name in enumerate(names):
            query = zone.ask(name, (zone.A, zone.AAAA)[number // 2 % 2], number & 0xFFFF)
            with contextlib.suppress(OSError):
                socks[number % 2].sendto(query, (SERVERS[number % 2], 53))
            if number % 10 == 9:
                lab.reach.dns(name, server=SERVERS[number // 10 % 2], tcp=True)


def settled(lab: Lab) -> None:
    """What the gate has let out until now is in the resolver's log."""
    for server in SERVERS:
        assert lab.reach_from(lab.device, 10.0).dns(ALLOWED, server=server).ok


@pytest.mark.parametrize(
    ("size", "reason"), [(120, "dns_label_payload"), (5, "dns_too_many_names")], ids=["long", "many"]
)
def test_labels_carry_no_more_than_is_stated(stage: Stage, size: int, reason: str) -> None:
    """Row 2: 6,144 characters and 120 names a minute under one wildcard, however they are asked for."""
    lab, names = stage.lab, tunnelled(size, QUERIES)
    ask_all(lab, names)
    settled(lab)
    assert set(names) <= lab.resolver.names(), "control: all of it leaves the free device"
    lab.resolver.clear()
    names, began = tunnelled(size, QUERIES), time.monotonic()
    orders.isolate(stage.agent, stage.policy)
    reach = lab.reach_from(lab.device, 5.0)
    assert reach.dns(FIRST).ok
    ask_all(lab, names)
    settled(lab)
    left = lab.resolver.names() & set(names)
    minutes = 1 + (time.monotonic() - began) // WINDOW_S
    assert left, "a few are what a service may need"
    assert len(left) <= MAX_NEW_NAMES * minutes
    assert sum(map(len, left)) <= MAX_NEW_BYTES * minutes
    assert stage.counted()[reason] > QUERIES / 2
    assert reach.dns(FIRST).ok, "a name in use stays"
    assert reach.dns(NEIGHBOUR).ok, "another wildcard has a minute of its own"
    assert stage.answers()
    stage.release()


def forge_to_oneself(lab: Lab, resolver: str, asker: socket.socket, name: str) -> None:
    """10,000 answers to a waiting question: over loopback, to one's own address, and in the resolver's name."""
    six, port = ":" in resolver, asker.getsockname()[1]
    own, loop = (lab.device.addresses.v6, "::1") if six else (lab.device.addresses.v4, "127.0.0.1")
    forged = dns.message.make_response(dns.message.make_query(name, "A", id=7))
    forged.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "A", EVIL))
    wire, family = forged.to_wire(), family_of(resolver)
    raw_kind = (socket.SOCK_RAW, socket.IPPROTO_RAW)
    with (
        lab.device.socket(family, socket.SOCK_DGRAM) as server,
        lab.device.socket(family, *raw_kind) as raw,
    ):
        server.bind(("::" if six else "", 53))
        for number in range(2_500):
            one = (7 if number % 2 else number & 0xFFFF).to_bytes(2, "big") + wire[2:]
            server.sendto(one, (loop, port))
            server.sendto(one, (own, port))
            for source, to in ((resolver, own), (loop, own)):
                packet = render_udp(Datagram(ip_address(source), 53, ip_address(to), port, one))
                raw.sendto(packet, (to, 0))
            if number % 50 == 0:
                _read_away(asker)


def _read_away(sock: socket.socket) -> set[str]:
    heard: set[str] = set()
    with contextlib.suppress(BlockingIOError):
        while True:
            heard.add(sock.recvfrom(4096)[1][0])
    return heard


@pytest.mark.parametrize("v", ["v4", "v6"])
def test_ten_thousand_answers_to_oneself_open_nothing(stage: Stage, v: str) -> None:
    """Row 5. The question waits at the gate, the answers have its id; the control is the true answer's way."""
    lab, resolver, name = stage.lab, getattr(topology.SECOND_RESOLVER, v), f"self{SUFFIX}"
    said: list[Asked] = []

    def late(asked: Asked) -> Iterator[Reply]:
        said.append(asked)
        if len(said) > 1:
            yield Reply(answer_to(asked, EVIL).to_wire())

    assert reaches(lab, EVIL, name), "control: the address is there"
    with (
        lab.rogue_resolver(late, resolver),
        lab.device.socket(family_of(resolver), socket.SOCK_DGRAM) as asker,
    ):
        stage.isolate()
        asker.bind(("::" if v == "v6" else "", 0))
        asker.setblocking(False)
        asker.sendto(zone.ask(name, zone.A, 7), (resolver, 53))
        forge_to_oneself(lab, resolver, asker, name)
        assert not reaches(lab, EVIL, name)
        assert EVIL not in {each["address"] for each in orders.status(stage.agent)["learned"]}
        assert stage.answers()
        assert said, "the question itself left"
        assert lab.reach_from(lab.device, 5.0).dns(name, server=resolver).detail == EVIL
        assert reaches(lab, EVIL, name), "control: the same answer opens it when it comes from the resolver"
    stage.release()


def test_a_flood_of_names_does_not_push_the_service_out(stage: Stage) -> None:
    """Row 9: 20,000 names under the service's wildcard, each answered with 64 addresses."""
    lab, resolver = stage.lab, topology.SECOND_RESOLVER.v4

    def plenty(asked: Asked) -> Iterator[Reply]:
        many = (f"20.92.{secrets.randbelow(256)}.{number}" for number in range(64))
        yield Reply(answer_to(asked, *many).to_wire())

    with lab.rogue_resolver(plenty, resolver) as rogue:
        lab.reach.dns(f"free{SUFFIX}", server=resolver)
        assert rogue.asked, "control: such names are asked for"
        stage.isolate()
        rogue.asked.clear()
        began = time.monotonic()
        with lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.setblocking(False)
            for number in range(FLOOD):
                with contextlib.suppress(OSError):
                    asker.sendto(zone.ask(f"n{number}{SUFFIX}", zone.A, number & 0xFFFF), (resolver, 53))
                if number % 500 == 0:
                    _read_away(asker)
        settled(lab)
        minutes = 2 + (time.monotonic() - began) // WINDOW_S
        assert 0 < len(rogue.asked) <= MAX_NEW_NAMES * minutes
    learned = {each["name"] for each in orders.status(stage.agent)["learned"]}
    assert {FIRST, ALLOWED} <= learned
    for name in (FIRST, ALLOWED):
        for v in ("v4", "v6"):
            assert reaches(lab, getattr(AT[name], v), name), "without being asked for again"
    assert stage.counted()["dns_too_many_names"] > 1_000
    assert stage.answers()
    stage.release()


def test_names_with_many_addresses_do_not_push_the_service_out(stage: Stage) -> None:
    """Row 9: a zone below the wildcard that is on the attacker's side: 110 names with 256 addresses each."""
    lab, resolver, serial = stage.lab, topology.SECOND_RESOLVER.v4, itertools.count()

    def plenty(asked: Asked) -> Iterator[Reply]:
        many = (str(ip_address("20.92.0.0") + next(serial)) for _ in range(64))
        yield Reply(answer_to(asked, *many).to_wire())

    with lab.rogue_resolver(plenty, resolver):
        stage.isolate()
        assert reaches(lab, AT[FIRST].v4, FIRST), "control"
        for number in range(5 * 110):
            assert lab.reach_from(lab.device, 5.0).dns(f"n{number % 110}{SUFFIX}", server=resolver).ok
    try:
        assert reaches(lab, AT[ALLOWED].v4, ALLOWED), "a name that the list spells out"
        assert stage.answers()
        assert reaches(lab, AT[FIRST].v4, FIRST), "a name under the wildcard that is in use"
    finally:
        stage.release()
