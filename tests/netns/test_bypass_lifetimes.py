"""Attack table rows 8 and 10: how long an address stays open, and what passes to one whose time is over.

| row | held by |
|---|---|
| 10 over IPv4, approved connections | also `test_promise_p7_answers.test_after_the_ttl_new_connections_are_shut...` |
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from isolator.core.names import GRACE_S
from isolator.model.ruleset import APPROVED_BIT, FLOW_BIT
from tests.e2e.own_list import Row
from tests.lab import Host, Lab
from tests.lab.rogue import Asked, Reply
from tests.netns.bypass_scene import CLOCK_PORT, CONFIG, PORT, ROWS, Stage, opened_stage
from tests.netns.lying_resolver import RIGHT, arrives, in_kernel, learned, reaches, told
from tests.netns.odd_packets import connection
from tests.netns.test_promise_p7_answers import answer_to
from tests.netns.told_bytes import datagram, hello

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def shared() -> Iterator[Stage]:
    with opened_stage() as made:
        yield made


@pytest.fixture
def stage(shared: Stage) -> Iterator[Stage]:
    shared.isolate()
    yield shared
    shared.release()


@pytest.mark.parametrize("ttl", [0, 1, 60, 86_400, 604_800, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_lifetime_is_kept_within_bounds(stage: Stage, ttl: int) -> None:
    """RFC 2181 section 8: with the first bit set it is zero. The floor is 60 s, the ceiling a day."""
    name = f"ttl-{ttl}.svc.vendor.example"

    def answer(asked: Asked) -> Iterator[Reply]:
        wire = answer_to(asked, RIGHT, ttl=7).to_wire()
        record = (7).to_bytes(4, "big") + b"\0\4"
        assert record in wire
        yield Reply(wire.replace(record, ttl.to_bytes(4, "big") + b"\0\4"))

    assert told(stage.lab, answer, name) == RIGHT
    meant = ttl if ttl < 2**31 else 0
    bound = min(max(meant + GRACE_S, 60), 86_400)
    assert bound - 20 <= learned(stage, name)[RIGHT] <= bound
    assert reaches(stage.lab, RIGHT, name)
    # The kernel has one lifetime for all names of an address: the longest that was asked for.
    assert in_kernel(stage)[RIGHT] <= 86_400
    assert stage.answers()


@pytest.fixture(scope="module")
def short() -> Iterator[Stage]:
    """Lifetimes of a second and the grace."""
    rows = (*ROWS, Row("*.clock.vendor.example", CLOCK_PORT, "udp"))
    with opened_stage(CONFIG + "learn: {ttl_floor_s: 1}\n", rows) as made:
        yield made


@pytest.mark.parametrize("v", ["v4", "v6"])
def test_an_address_of_yesterday_is_shut(short: Stage, v: str) -> None:
    """After the lifetime: no connection, no datagram, no data with marks; what was approved goes on."""
    lab, there = short.lab, {"v4": "20.95.0.1", "v6": "2603:1096::1"}[v]
    name, clock = f"moved-{v}.svc.vendor.example", f"a-{v}.clock.vendor.example"
    for each in (name, clock):
        host = Host(each, (there,), ttl=1) if v == "v4" else Host(each, (), (there,), ttl=1)
        lab.resolver.put(host)
    kind, reach = {"v4": "A", "v6": "AAAA"}[v], lab.reach_from(lab.device, 5.0)
    short.isolate()
    try:
        assert reach.dns(name, kind).ok
        assert reach.dns(clock, kind).ok
        assert arrives(lab, datagram(there, CLOCK_PORT)), "control"
        assert reaches(lab, there, name), "control"
        with connection(lab, there, PORT, hello(name, b"-" * 16)) as approved:
            assert_shut_soon(short, there, name)
            assert not arrives(lab, datagram(there, CLOCK_PORT))
            assert not arrives(lab, datagram(there, CLOCK_PORT, mark=APPROVED_BIT | FLOW_BIT))

            def beside(_: Lab, marker: bytes) -> None:
                segment = approved.head(sport=approved.own_port ^ 1) / marker
                approved.inject(segment, mark=APPROVED_BIT | FLOW_BIT)

            assert not arrives(lab, beside)
            assert arrives(lab, lambda _, marker: approved.say(marker)), "what was approved goes on"
            assert short.answers()
        assert reach.dns(name, kind).ok
        assert reaches(lab, there, name), "a new answer opens it again"
    finally:
        short.release()


def assert_shut_soon(stage: Stage, there: str, name: str) -> None:
    """TTL, grace and the kernel's rounding; much more on a busy machine."""
    deadline = time.monotonic() + 60
    while reaches(stage.lab, there, name):
        assert time.monotonic() < deadline, "its lifetime does not end"
        time.sleep(0.5)
