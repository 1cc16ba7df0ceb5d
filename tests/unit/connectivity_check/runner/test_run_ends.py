"""Ends that come early: Ctrl-C, the deadline, cancellation. A report with every row, at once, nothing left over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.failure import Failure, Seen
from connectivity_check.model import Outcome, ProxyScheme, Route, Target
from connectivity_check.ports import WayFinder
from connectivity_check.runner import RunOptions, Tools, run
from tests.fakes.network import FakeNetwork
from tests.fakes.network_world import SILENCE, Answer, Door, Gate, Page, Tcp, Tls, World
from tests.fakes.virtual_time import LoopClock, in_virtual_time
from tests.fakes.way_finder import FakeWayFinder
from tests.unit.connectivity_check.runner.scene import (
    PORTAL,
    PROXY,
    add_dead,
    cancelled_at,
    check,
    nothing,
    open_world,
    target,
)

AT_ONCE_S = 0.15
"""What an end may take: no step is awaited, only the random name is given a tenth of a second."""


def mixed() -> tuple[World, list[Target]]:
    """Rows that fail in every way and at every step, and some that pass, over both families."""
    world, targets = open_world(4)
    for n, door in enumerate(
        (
            Door(tcp=Tcp.DROP), Door(tcp=Tcp.REFUSE), Door(tcp=Tcp.PROHIBIT), Door(tcp=Tcp.LOCAL), Door(tls=Tls.SILENT),
            Door(tls=Tls.RESET), Door(tls=Tls.UNTRUSTED, page=Page(after_s=2)), Door(rtt_s=2.0), Door(page=Page(after_s=1.5)),
            Door(page=Page(cut=Seen.TIMEOUT)), Door(page=Page(html=True)),
        )
    ):  # fmt: skip
        world.add(f"a{n}.mixed.example", f"20.5.0.{n + 1}", 443, door)
        targets.append(target(f"a{n}.mixed.example", len(targets) + 1))
    world.names["ok0.site0.example"] = Answer(("20.0.0.1", "2001:db8::dead"))
    world.names["mute.site.example"] = SILENCE
    world.add(PORTAL, "20.8.8.8", 80, Door(page=Page(body="Microsoft Connect Test")))
    targets += [target("mute.site.example", 90), target("none.site.example", 91)]
    targets.append(target(None, 92, wildcard="mixed.example", pattern="*.mixed.example"))
    return world, targets


def proxied_mixed() -> tuple[World, list[Target], FakeWayFinder]:
    world, targets = mixed()
    world.doors[PROXY.host, PROXY.port] = Door(gate=Gate(denied=frozenset({"a1.mixed.example"})))
    return world, targets, FakeWayFinder(Route(PROXY))


@given(moment=st.floats(0, 7), proxied=st.booleans(), by_deadline=st.booleans())
def test_an_end_at_any_moment(moment: float, proxied: bool, by_deadline: bool) -> None:
    world, targets, ways = proxied_mixed()
    finder = ways if proxied else FakeWayFinder()
    if by_deadline:
        ran = check(world, targets, ways=finder, options=RunOptions(deadline_s=moment))
    else:
        ran = check(world, targets, ways=finder, options=RunOptions(stop=asyncio.Event()), stop_at=moment)
    assert ran.took_s <= moment + AT_ONCE_S
    for index in ran.report.recording.unfinished:
        row = ran.row(index)
        assert row.partial
        assert row.outcome is not Outcome.REACHABLE
    finished = [row for row in ran.report.rows if not row.partial]
    assert all(row.failure is not Failure.META_INTERRUPTED for row in finished)


def test_a_stop_that_came_before_the_run() -> None:
    world, targets = open_world(3)
    stop = asyncio.Event()
    stop.set()
    ran = check(world, targets, options=RunOptions(stop=stop))
    assert set(ran.verdicts()) == {"meta.interrupted"}
    assert ran.report.recording.unfinished == {0, 1, 2}
    assert ran.rows == []


def test_no_time_at_all() -> None:
    ran = check(*open_world(3), options=RunOptions(deadline_s=0))
    assert set(ran.verdicts()) == {"meta.interrupted"}


def test_rows_that_wait_for_a_place_are_interrupted_too() -> None:
    world, targets = nothing()
    add_dead(world, targets, 5)
    ran = check(world, targets, options=RunOptions(concurrency=1, deadline_s=7))
    assert ran.took_s <= 7 + AT_ONCE_S
    assert [row.partial for row in ran.report.rows] == [False, True, True, True, True]
    assert ran.verdicts()[2:] == ["meta.interrupted"] * 3


def test_what_was_found_before_the_end_stands() -> None:
    world, targets = open_world(1)
    add_dead(world, targets, 2)
    world.doors["20.9.0.1", 443] = Door(tcp=Tcp.PROHIBIT)
    ran = check(world, targets, options=RunOptions(deadline_s=2))
    assert ran.verdicts() == ["reachable", "tcp.icmp_admin", "meta.interrupted"]


def test_a_stop_does_not_wait_for_the_other_addresses() -> None:
    """The row goes on over IPv4 while IPv6 is silent."""
    world, targets = open_world(1)
    world.add("ok0.site0.example", "2001:db8::dead", 443, Door(tcp=Tcp.DROP))
    world.doors["20.0.0.1", 443] = Door(page=Page(after_s=2))
    ran = check(world, targets, options=RunOptions(stop=asyncio.Event()), stop_at=0.5)
    assert ran.took_s <= 0.5 + AT_ONCE_S


def test_a_stop_does_not_wait_for_the_look_up_beside_a_proxy() -> None:
    world, targets, ways = proxied_mixed()
    world.other_names = SILENCE
    del world.names["ok1.site1.example"]
    ran = check(
        world, targets, ways=ways, options=RunOptions(stop=asyncio.Event(), timeout_s=20), stop_at=0.5
    )
    assert ran.took_s <= 0.5 + AT_ONCE_S


def test_ways_that_are_slow_to_find_count() -> None:
    """A PAC file that takes its time must not make a run endless."""
    world, targets = open_world(3)
    slow = FakeWayFinder(after_s=100.0)
    ran = check(world, targets, ways=slow, options=RunOptions(deadline_s=3))
    assert ran.took_s <= 3 + AT_ONCE_S
    assert set(ran.verdicts()) == {"meta.interrupted"}
    ran = check(world, targets, ways=slow, options=RunOptions(stop=asyncio.Event()), stop_at=1)
    assert ran.took_s <= 1 + AT_ONCE_S
    assert ran.network.calls == []


async def _cancel(
    world: World, targets: Sequence[Target], ways: WayFinder, moment: float, again: float | None
) -> tuple[float, int]:
    clock = LoopClock()
    network = FakeNetwork(world, clock)
    late = await cancelled_at(moment, lambda: run(targets, Tools(network, ways, clock), RunOptions()), again)
    return late, network.open_streams


@given(moment=st.floats(0, 7), proxied=st.booleans())
def test_cancelled_at_any_moment(moment: float, proxied: bool) -> None:
    world, targets, ways = proxied_mixed()
    finder = ways if proxied else FakeWayFinder(after_s=0.01)
    late, still_open = in_virtual_time(_cancel(world, targets, finder, moment, None))
    assert late <= AT_ONCE_S
    assert still_open == 0


@given(moment=st.floats(0, 7), again=st.floats(0, 0.1), proxied=st.booleans())
def test_cancelled_twice(moment: float, again: float, proxied: bool) -> None:
    world, targets, ways = proxied_mixed()
    late, still_open = in_virtual_time(
        _cancel(world, targets, ways if proxied else FakeWayFinder(), moment, again)
    )
    assert late <= AT_ONCE_S
    assert still_open == 0


@pytest.mark.parametrize("scheme", list(ProxyScheme))
@pytest.mark.parametrize("moment", [0.005, 0.015, 0.025, 0.035, 0.045])
def test_a_tunnel_in_the_making_is_closed(scheme: ProxyScheme, moment: float) -> None:
    from dataclasses import replace

    world, targets = open_world(2)
    proxy = replace(PROXY, scheme=scheme)
    world.doors[PROXY.host, PROXY.port] = Door(gate=Gate(scheme))
    late, still_open = in_virtual_time(_cancel(world, targets, FakeWayFinder(Route(proxy)), moment, None))
    assert (late, still_open) == (0, 0)
