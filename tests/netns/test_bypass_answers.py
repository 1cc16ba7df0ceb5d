"""Attack table rows 6, 7 and 8: answers that are forged, point inward or carry too much.

| row | held by |
|---|---|
| 6 over IPv4 | also `test_promise_p7_answers.test_a_forged_answer_opens_nothing`, `bench/forged_answers` |
| 7 twelve kinds of address over UDP | `test_promise_p7_answers.test_an_answer_that_points_inward_is_refused` |
| 8 records of other names | also `test_promise_p7_answers.test_a_forged_answer_opens_nothing[a_stranger_record]` |
| 8 lifetimes | `test_bypass_lifetimes` |

Every control is a connection that names the host and whose first bytes are looked for on the wire.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from isolator.model.dns import MAX_CHAIN
from tests.lab import topology
from tests.lab.rogue import Asked, Reply
from tests.netns.bypass_scene import CONFIG, PORT, Stage, opened_stage
from tests.netns.lying_resolver import (
    EVIL,
    NAME,
    RIGHT,
    SECOND,
    Answer,
    honest,
    in_kernel,
    learned,
    reaches,
    told,
)
from tests.netns.test_promise_p7_answers import answer_to

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def shared() -> Iterator[Stage]:
    with opened_stage() as made:
        made.lab.servers.listen(made.lab.neighbour, [("tcp_echo", PORT)])
        yield made


@pytest.fixture
def stage(shared: Stage) -> Iterator[Stage]:
    shared.isolate()
    yield shared
    shared.release()


# Row 6


def six(forge: Callable[[dns.message.Message, Asked], Iterator[Reply]]) -> Answer:
    """Forgeries of an answer with the wrong address, and the true one after them."""

    def answer(asked: Asked) -> Iterator[Reply]:
        yield from forge(answer_to(asked, EVIL), asked)
        yield Reply(answer_to(asked, RIGHT).to_wire(), delay_s=0.1)

    return answer


def guessed_id(forged: dns.message.Message, _: Asked) -> Iterator[Reply]:
    honest_id = forged.id
    for step in range(1, 3_000):
        forged.id = honest_id + step & 0xFFFF
        yield Reply(forged.to_wire())


def guessed_port(forged: dns.message.Message, asked: Asked) -> Iterator[Reply]:
    for step in range(1, 300):
        yield Reply(forged.to_wire(), to=(asked.source[0], (asked.source[1] + step) % 60_000 + 1024))


def another_source(forged: dns.message.Message, _: Asked) -> Iterator[Reply]:
    for source in ((SECOND.v6, 5353), (topology.ADDRESSES[topology.ROUTER].v6, 5300), ("2001:db8:53::1", 53)):
        yield Reply(forged.to_wire(), spoofed=source)


def another_spelling(forged: dns.message.Message, asked: Asked) -> Iterator[Reply]:
    """The asker mixed capitals into the name (0x20); who cannot see the question cannot repeat them."""
    yield Reply(forged.to_wire().replace(b"AsKeD", b"asked"))
    yield Reply(forged.to_wire().replace(b"AsKeD", b"ASKED"))
    del asked


@pytest.mark.parametrize("forge", [guessed_id, guessed_port, another_source, another_spelling])
def test_a_forged_answer_over_ipv6_opens_nothing(
    stage: Stage, forge: Callable[[dns.message.Message, Asked], Iterator[Reply]]
) -> None:
    name = f"AsKeD-{secrets.token_hex(3)}.svc.vendor.example"
    assert told(stage.lab, six(forge), name, server=SECOND.v6) in (RIGHT, EVIL)
    assert not reaches(stage.lab, EVIL, name)
    assert reaches(stage.lab, RIGHT, name), "control: the true answer after them is believed"
    assert stage.answers()


# Row 7


def through_a_chain(address: str) -> Answer:
    """A listed name that leads to an inward address by way of another name."""

    def answer(asked: Asked) -> Iterator[Reply]:
        reply = answer_to(asked)
        owner = reply.question[0].name.to_text()
        reply.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", "inside.example.org."))
        reply.answer.append(dns.rrset.from_text("inside.example.org.", 60, "IN", "A", address))
        yield Reply(reply.to_wire())

    return answer


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("shape", [honest, through_a_chain])
def test_an_inward_address_is_refused_by_every_way(
    shared: Stage, shape: Callable[[str], Answer], tcp: bool
) -> None:
    lab, inward = shared.lab, shared.lab.neighbour.addresses.v4
    name = f"rebound-{secrets.token_hex(3)}.svc.vendor.example"
    assert told(lab, shape(inward), name, tcp=tcp) == inward
    assert reaches(lab, inward, name), "control"
    shared.isolate()
    try:
        told(lab, shape(inward), name, tcp=tcp)
        assert learned(shared, name) == {}
        assert not reaches(lab, inward, name)
        assert shared.counted()["dns_rebinding"] > 0
        assert shared.answers()
    finally:
        shared.release()


def test_only_a_range_that_the_policy_names_opens() -> None:
    """The neighbour by configuration; metadata, the device itself and loopback not even then."""
    inward = ("127.0.0.1", "169.254.169.254", "192.168.50.10", "192.168.51.20")
    ranges = '["192.168.50.0/24", "169.254.0.0/16"]'
    with opened_stage(CONFIG + f"learn: {{private_answers: {ranges}}}\n") as made:
        lab = made.lab
        lab.servers.listen(lab.neighbour, [("tcp_echo", PORT)])
        made.isolate()
        told(lab, honest(*inward, lab.neighbour.addresses.v4))
        assert set(learned(made)) == {lab.neighbour.addresses.v4}
        assert reaches(lab, lab.neighbour.addresses.v4, NAME)
        assert made.answers()
        made.release()


# Row 8


@pytest.mark.parametrize(("count", "tcp"), [(80, False), (800, True)], ids=["udp", "tcp"])
def test_an_answer_with_hundreds_of_addresses_opens_64(stage: Stage, count: int, tcp: bool) -> None:
    """And ten answers to one name open 256 at most."""
    first = ip_address("20.94.0.0")
    name = f"plenty-{count}.svc.vendor.example"
    many = [str(first + number) for number in range(count)]
    assert told(stage.lab, honest(*many), name, tcp=tcp)
    opened = learned(stage, name)
    assert len(opened) == 64
    assert len(in_kernel(stage).keys() & set(many)) == 64
    assert reaches(stage.lab, next(iter(opened)), name)
    assert not reaches(stage.lab, next(iter(set(many) - set(opened))), name)
    for start in range(10):
        told(stage.lab, honest(*(str(first + 5_000 + start * 64 + n) for n in range(64))), name, tcp=True)
    assert len(learned(stage, name)) == 256
    assert stage.answers()


def test_an_answer_as_long_as_they_come_harms_nothing(stage: Stage) -> None:
    """4,000 addresses in 64 KiB over TCP. Such a one does not get through today; it must not open more either."""
    name, first = "endless.svc.vendor.example", ip_address("20.94.128.0")
    told(stage.lab, honest(*(str(first + number) for number in range(4_000))), name, tcp=True)
    assert len(learned(stage, name)) <= 64
    assert stage.answers()


def a_loop(owner: str) -> Iterator[dns.rrset.RRset]:
    yield dns.rrset.from_text(owner, 60, "IN", "CNAME", "one.example.org.")
    yield dns.rrset.from_text("one.example.org.", 60, "IN", "CNAME", owner)
    yield dns.rrset.from_text("two.example.org.", 60, "IN", "A", EVIL)


def too_long(owner: str) -> Iterator[dns.rrset.RRset]:
    for number in range(MAX_CHAIN + 2):
        yield dns.rrset.from_text(owner, 60, "IN", "CNAME", f"n{number}.example.org.")
        owner = f"n{number}.example.org."
    yield dns.rrset.from_text(owner, 60, "IN", "A", EVIL)


def beside_the_chain(owner: str) -> Iterator[dns.rrset.RRset]:
    yield dns.rrset.from_text(owner, 60, "IN", "CNAME", "one.example.org.")
    yield dns.rrset.from_text("two.example.org.", 60, "IN", "A", EVIL)


def of_a_parent(owner: str) -> Iterator[dns.rrset.RRset]:
    yield dns.rrset.from_text(owner.partition(".")[2], 60, "IN", "A", EVIL)


def within_the_chain(owner: str) -> Iterator[dns.rrset.RRset]:
    yield dns.rrset.from_text(owner, 60, "IN", "CNAME", "one.example.org.")
    yield dns.rrset.from_text("one.example.org.", 60, "IN", "A", EVIL)


@pytest.mark.parametrize("records", [a_loop, too_long, beside_the_chain, of_a_parent, within_the_chain])
def test_only_the_chain_of_the_name_opens(
    stage: Stage, records: Callable[[str], Iterator[dns.rrset.RRset]]
) -> None:
    """The last one is the control: such an answer is believed when the address is on the chain."""
    name = f"chain-{secrets.token_hex(3)}.svc.vendor.example"

    def answer(asked: Asked) -> Iterator[Reply]:
        reply = answer_to(asked)
        reply.answer.extend(records(reply.question[0].name.to_text()))
        yield Reply(reply.to_wire())

    told(stage.lab, answer, name)
    assert reaches(stage.lab, EVIL, name) is (records is within_the_chain)
    assert stage.answers()
