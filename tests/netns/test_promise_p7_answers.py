"""P7, only true answers open anything: forged, self-sent and inward-pointing ones do not; and for how long.

Judged on the wire: what an answer named is then connected to.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from isolator.model.datagram import Datagram
from isolator.wire.ip_packet import render_udp
from tests.e2e.dns_scene import CHAINED, LINK, SERVICE, SHORT, DnsScene, dns_scene
from tests.e2e.frames import frames
from tests.lab import Direction, Lab
from tests.lab.ports import ECHO
from tests.lab.rogue import Asked, Reply
from tests.lab.topology import SECOND_RESOLVER

pytestmark = pytest.mark.netns

RIGHT, EVIL = "20.91.1.1", "93.184.216.201"


@pytest.fixture(scope="module")
def scene() -> Iterator[DnsScene]:
    with dns_scene() as opened:
        yield opened


@pytest.fixture
def isolated(scene: DnsScene) -> Iterator[DnsScene]:
    scene.isolate()
    yield scene
    scene.release()


def answer_to(asked: Asked, *addresses: str, ttl: int = 60) -> dns.message.Message:
    """An honest answer with these addresses of the type asked for."""
    query = dns.message.from_wire(asked.payload)
    reply = dns.message.make_response(query)
    kind = query.question[0].rdtype
    fitting = [a for a in addresses if (":" in a) is (kind == dns.rdatatype.AAAA)]
    if fitting:
        reply.answer.append(dns.rrset.from_text(query.question[0].name, ttl, "IN", kind, *fitting))
    return reply


def ask_rogue(scene: DnsScene, answer: Callable[[Asked], Iterable[Reply]], *names: str) -> Sequence[str]:
    """Let a configured resolver lie about names; what the asker was told."""
    with scene.lab.rogue_resolver(answer):
        return [scene.lab.reach.dns(name, server=SECOND_RESOLVER.v4).detail for name in names]


def opened(scene: DnsScene, address: str) -> bool:
    """Does a connection to the address get out of the device? Judged on the wire."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with scene.lab.judge.watch(snap=96) as sniffer:
        scene.lab.reach_from(scene.lab.device, 0.3).tcp(address, ECHO, family=family)
        seen = frames(sniffer.report().sightings)
    return any(f.direction is Direction.FROM_DEVICE and f.destination == address for f in seen)


def late_truth(forged: Callable[[Asked], Iterable[Reply]]) -> Callable[[Asked], Iterable[Reply]]:
    """Forgeries first, the true answer 50 ms later."""

    def answer(asked: Asked) -> Iterable[Reply]:
        yield from forged(asked)
        yield Reply(answer_to(asked, RIGHT).to_wire(), delay_s=0.05)

    return answer


def wrong_id(asked: Asked) -> Iterable[Reply]:
    honest = int.from_bytes(asked.payload[:2], "big")
    forged = answer_to(asked, EVIL)
    for step in range(1, 1000):
        forged.id = honest + step & 0xFFFF
        yield Reply(forged.to_wire())


def wrong_source(asked: Asked) -> Iterable[Reply]:
    forged = answer_to(asked, EVIL).to_wire()
    yield Reply(forged, spoofed=("203.0.113.53", 53))
    yield Reply(forged, spoofed=(SECOND_RESOLVER.v4, 5353))
    yield Reply(forged, spoofed=("192.168.50.1", 5300))


def wrong_port(asked: Asked) -> Iterable[Reply]:
    forged = answer_to(asked, EVIL).to_wire()
    for step in range(1, 100):
        yield Reply(forged, to=(asked.source[0], (asked.source[1] + step) % 60_000 + 1024))


def wrong_question(asked: Asked) -> Iterable[Reply]:
    forged = answer_to(asked, EVIL)
    text = forged.to_text().replace("forged.", "another.")
    yield Reply(dns.message.from_text(text).to_wire())
    yield Reply(dns.message.from_text(forged.to_text().replace(" IN A", " IN AAAA", 1)).to_wire())


def a_query(asked: Asked) -> Iterable[Reply]:
    forged = answer_to(asked, EVIL)
    forged.flags &= ~dns.flags.QR
    yield Reply(forged.to_wire())


def a_stranger_record(asked: Asked) -> Iterable[Reply]:
    """The asked name's own address, and one of a name nobody asked for."""
    forged = answer_to(asked, RIGHT)
    forged.answer.append(dns.rrset.from_text("other.svc.vendor.example.", 60, "IN", "A", EVIL))
    forged.additional.append(dns.rrset.from_text("more.svc.vendor.example.", 60, "IN", "A", EVIL))
    yield Reply(forged.to_wire())


@pytest.mark.parametrize(
    "forgery", [wrong_id, wrong_source, wrong_port, wrong_question, a_query, a_stranger_record]
)
def test_a_forged_answer_opens_nothing(
    isolated: DnsScene, forgery: Callable[[Asked], Iterable[Reply]]
) -> None:
    told = ask_rogue(isolated, late_truth(forgery), f"forged.{secrets.token_hex(4)}.svc.vendor.example")
    assert EVIL not in isolated.learned()
    assert not opened(isolated, EVIL)
    assert RIGHT in isolated.learned(), told
    assert opened(isolated, RIGHT)


def test_an_answer_counts_once_and_only_while_it_is_awaited(isolated: DnsScene) -> None:
    """Positive control of the forgeries: the very bytes are believed when they come as the answer."""
    name, sent = "late.svc.vendor.example", []

    def twice(asked: Asked) -> Iterable[Reply]:
        sent.append(asked.source)
        yield Reply(answer_to(asked, RIGHT).to_wire())
        yield Reply(answer_to(asked, EVIL).to_wire(), delay_s=0.05)

    assert ask_rogue(isolated, twice, name) == [RIGHT]
    assert sent
    assert RIGHT in isolated.learned()
    assert EVIL not in isolated.learned()
    assert not opened(isolated, EVIL)

    def evil(asked: Asked) -> Iterable[Reply]:
        yield Reply(answer_to(asked, EVIL).to_wire())

    assert ask_rogue(isolated, evil, "true.svc.vendor.example") == [EVIL]
    assert opened(isolated, EVIL)


def self_sent(lab: Lab, count: int) -> set[str]:
    """A local program tells itself answers: over loopback, to its own address, and in the resolver's name.

    Gives the senders' addresses of what arrived at the asking socket.
    """
    reply = dns.message.make_response(dns.message.make_query("self.svc.vendor.example", "A"))
    reply.answer.append(dns.rrset.from_text("self.svc.vendor.example.", 60, "IN", "A", EVIL))
    wire, own = reply.to_wire(), lab.device.addresses.v4
    with (
        lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking,
        lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        lab.device.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
    ):
        asking.bind(("0.0.0.0", 0))
        port = asking.getsockname()[1]
        # The question really waits at the gate, so that only its answer's way can give the forgery away.
        asking.sendto(
            dns.message.make_query("self.svc.vendor.example", "A", id=7).to_wire(), (SECOND_RESOLVER.v4, 53)
        )
        server.bind(("0.0.0.0", 53))
        for number in range(count):
            forged = (7 if number % 2 else number).to_bytes(2, "big") + wire[2:]
            server.sendto(forged, ("127.0.0.1", port))
            server.sendto(forged, (own, port))
            for source in (SECOND_RESOLVER.v4, "127.0.0.53"):
                datagram = Datagram(ip_address(source), 53, ip_address(own), port, forged)
                raw.sendto(render_udp(datagram), (own, 0))
        heard: set[str] = set()
        asking.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.add(asking.recvfrom(4096)[1][0])
        return heard


def test_answers_a_program_sends_itself_open_nothing(isolated: DnsScene) -> None:
    heard = self_sent(isolated.lab, 500)
    assert heard >= {"127.0.0.1", isolated.lab.device.addresses.v4, SECOND_RESOLVER.v4}, "they arrived"
    assert EVIL not in isolated.learned()
    assert not opened(isolated, EVIL)
    assert isolated.lab.reach.dns(SERVICE).ok, "the gate still works"


INWARD = {
    "loopback": "127.0.0.1",
    "the device": "192.168.50.10",
    "the neighbour": "192.168.50.20",
    "cloud metadata": "169.254.169.254",
    "private": "10.11.12.13",
    "carrier-grade NAT": "100.64.0.1",
    "multicast": "224.0.0.251",
    "loopback v6": "::1",
    "mapped": "::ffff:192.168.50.20",
    "unique local": "fd00:ec2::254",
    "link local": "fe80::1",
    "6to4 of a private address": "2002:c0a8:3214::1",
}


@pytest.mark.parametrize("where", sorted(INWARD))
def test_an_answer_that_points_inward_is_refused(scene: DnsScene, where: str) -> None:
    address, kind = INWARD[where], "AAAA" if ":" in INWARD[where] else "A"
    lab = scene.lab

    def rebind(asked: Asked) -> Iterable[Reply]:
        yield Reply(answer_to(asked, address).to_wire())

    def asked(name: str) -> str:
        return lab.reach.dns(f"{name}.svc.vendor.example", kind, server=SECOND_RESOLVER.v4).detail

    with lab.rogue_resolver(rebind):
        assert asked("before") == address
        scene.isolate()
        try:
            assert asked("inside") == "refused"
            assert address not in scene.learned()
        finally:
            scene.release()


def test_a_usable_address_beside_an_inward_one_is_all_that_opens(isolated: DnsScene) -> None:
    def mixed(asked: Asked) -> Iterable[Reply]:
        yield Reply(answer_to(asked, "192.168.50.20", RIGHT).to_wire())

    ask_rogue(isolated, mixed, "mixed.svc.vendor.example")
    assert RIGHT in isolated.learned()
    assert "192.168.50.20" not in isolated.learned()
    assert not opened(isolated, "192.168.50.20")


def test_a_chain_through_unlisted_names_is_followed(isolated: DnsScene) -> None:
    assert isolated.lab.reach.dns(LINK).detail == "refused"
    assert isolated.lab.reach.tcp(CHAINED, ECHO).detail == "20.91.0.2"


def test_the_first_connection_after_an_answer_passes_and_no_other_port(isolated: DnsScene) -> None:
    assert not opened(isolated, "20.91.0.1")
    assert isolated.lab.reach.tcp(SERVICE, ECHO).ok
    assert isolated.lab.reach.tcp(SERVICE, ECHO, family=socket.AF_INET6).ok
    assert isolated.lab.reach.connect("20.91.0.1", 443).detail == "ECONNREFUSED"


def test_after_the_ttl_new_connections_are_shut_and_open_ones_go_on(isolated: DnsScene) -> None:
    lab, address = isolated.lab, "20.91.0.3"
    with lab.reach.session(SHORT, ECHO) as session:
        assert session.echoes()
        end = time.monotonic() + 30
        while address in isolated.learned():
            assert time.monotonic() < end
            time.sleep(0.1)
        # The kernel rounds its lifetime up to whole seconds: wait until it has let go too.
        while lab.reach.connect(address, ECHO).ok:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert not opened(isolated, address)
        assert session.echoes()
        assert lab.reach.tcp(SHORT, ECHO).ok, "a new answer opens it again"
