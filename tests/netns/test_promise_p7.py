"""P7, DNS is no tunnel: what is not allowed never reaches the resolver, and the asker is told.

Judged by the resolver's own log and by the wire; each attempt works before the host is isolated.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from tests.e2e import orders
from tests.e2e.dns_scene import SERVICE, DnsScene, dns_scene
from tests.lab import Lab, world

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def scene() -> Iterator[DnsScene]:
    with dns_scene() as opened:
        yield opened


@pytest.fixture
def isolated(scene: DnsScene) -> Iterator[DnsScene]:
    scene.isolate()
    yield scene
    scene.release()


def send_query(lab: Lab, wire: bytes, server: str, port: int = 53) -> bytes | None:
    """What comes back for a datagram within a moment; None for nothing or an error."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with lab.device.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        try:
            sock.connect((server, port))
            sock.send(wire)
            return sock.recv(4096)
        except OSError:
            return None


def reach_the_resolver(scene: DnsScene, label: str) -> set[str]:
    """Ask in every way a program may ask for a name below a stranger's zone; gives how each ended."""
    lab, ended = scene.lab, set()
    for server in lab.reach.resolvers():
        for kind in ("A", "AAAA"):
            ended.add(lab.reach.dns(f"{label}-{kind}.{world.TUNNEL_ZONE}", kind, server=server).detail)
        for kind in ("TXT", "HTTPS", "NULL", "MX", "ANY"):
            query = dns.message.make_query(f"{label}-{kind}.{world.TUNNEL_ZONE}", kind)
            answer = send_query(lab, query.to_wire(), server)
            assert answer is not None, kind
            ended.add(dns.rcode.to_text(dns.message.from_wire(answer).rcode()).lower())
        # The resolver takes a name apart whatever its letters: nobody may pass by writing in capitals.
        ended.add(lab.reach.dns(f"{label}.EVIL.Example.ORG", server=server).detail)
    return ended


def test_a_name_that_is_not_listed_never_reaches_the_resolver(scene: DnsScene) -> None:
    before, inside = secrets.token_hex(12), secrets.token_hex(12)
    with scene.lab.judge.watch(before.encode(), inside.encode()) as sniffer:
        assert "refused" not in reach_the_resolver(scene, before)
        scene.isolate()
        try:
            assert reach_the_resolver(scene, inside) == {"refused"}
        finally:
            scene.release()
        report = sniffer.report()
    assert report.dropped == 0
    assert any(name.startswith(before) for name in scene.lab.resolver.names())
    assert not any(inside in name for name in scene.lab.resolver.names())
    assert report.seen(before.encode())
    assert not report.seen(inside.encode())


def smuggled(label: str) -> dict[str, bytes]:
    """Messages about a listed name that carry a secret besides."""
    secret = label.encode()

    def query(name: str = SERVICE) -> dns.message.QueryMessage:
        return dns.message.make_query(name, "A")

    answer = dns.message.make_response(query())
    answer.answer = [dns.rrset.from_text(SERVICE + ".", 1, "IN", "TXT", label)]
    extra = query()
    extra.additional = [dns.rrset.from_text("x.example.", 1, "IN", "TXT", label)]
    option = dns.message.make_query(
        SERVICE,
        "A",
        use_edns=0,
        options=[dns.edns.GenericOption(dns.edns.OptionType(65001), secret)],
        payload=1232,
    )
    two = query()
    two.question.append(
        dns.rrset.RRset(dns.name.from_text(f"{label}.evil.example.org"), dns.rdataclass.IN, dns.rdatatype.A)
    )
    update = query()
    update.flags |= 5 << 11
    update.authority = [dns.rrset.from_text("x.example.", 1, "IN", "TXT", label)]
    return {
        "an answer that goes out": answer.to_wire(),
        "an additional record": extra.to_wire(),
        "bytes behind the message": query().to_wire() + secret,
        "an EDNS option of one's own": option.to_wire(),
        "a second question": two.to_wire(),
        "a dynamic update": update.to_wire(),
        "no DNS at all": secret * 3,
        "a listed name in another class": dns.message.make_query(
            f"{label}.svc.vendor.example", "TXT", rdclass="CH"
        ).to_wire(),
        "a type of which data is made": dns.message.make_query(
            f"{label}.svc.vendor.example", "TXT"
        ).to_wire(),
    }


@pytest.mark.parametrize("how", sorted(smuggled("x")))
def test_nothing_rides_on_a_query_for_a_listed_name(scene: DnsScene, how: str) -> None:
    before, inside = secrets.token_hex(8), secrets.token_hex(8)
    with scene.lab.judge.watch(before.encode(), inside.encode()) as sniffer:
        send_query(scene.lab, smuggled(before)[how], "192.168.50.1")
        scene.isolate()
        try:
            send_query(scene.lab, smuggled(inside)[how], "192.168.50.1")
        finally:
            scene.release()
        report = sniffer.report()
    assert report.seen(before.encode())
    assert not report.seen(inside.encode())


@pytest.mark.parametrize("server", ["8.8.8.8", "2606:2800:220:1::53", "192.168.50.20"])
@pytest.mark.parametrize("port", [53, 443, 853, 5353])
def test_a_listed_name_is_asked_of_nobody_else(scene: DnsScene, server: str, port: int) -> None:
    marker = secrets.token_hex(8)
    query = dns.message.make_query(f"{marker}.svc.vendor.example", "A").to_wire()
    with scene.lab.judge.watch(marker.encode()) as sniffer:
        send_query(scene.lab, query, server, port)
        assert len(sniffer.report().seen(marker.encode())) == 1
        scene.isolate()
        try:
            assert send_query(scene.lab, query, server, port) is None
        finally:
            scene.release()
        assert len(sniffer.report().seen(marker.encode())) == 1


def test_queries_over_tcp_are_judged_too_and_the_asker_is_told(scene: DnsScene) -> None:
    lab, server = scene.lab, "192.168.50.1"
    assert lab.reach.dns(f"tcp-before.{world.TUNNEL_ZONE}", server=server, tcp=True).ok
    scene.isolate()
    try:
        lab.resolver.clear()
        assert (
            lab.reach.dns(f"tcp-inside.{world.TUNNEL_ZONE}", server=server, tcp=True).detail == "ECONNRESET"
        )
        assert lab.reach.dns(SERVICE, server=server, tcp=True).ok
        assert lab.resolver.names() == {SERVICE}
    finally:
        scene.release()


def test_refusals_are_counted_by_reason(isolated: DnsScene) -> None:
    def refused() -> int:
        counters: Any = orders.status(isolated.agent)["counters"]
        return int(counters["dropped"].get("dns_name_not_allowed", 0))

    before = refused()
    for number in range(5):
        assert isolated.lab.reach.dns(f"{number}.{world.TUNNEL_ZONE}").detail == "refused"
    assert refused() == before + 5
