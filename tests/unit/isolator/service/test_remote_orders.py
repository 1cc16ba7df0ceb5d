"""Obedience: the controller's word before everything local, over crashes, reboots and lost journals."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from isolator.core.policy_document import encode_order
from isolator.core.remote_order import read_answer, read_enrolment, read_order
from isolator.core.signed import encode_envelope
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.order import HostState, IsolationOrder
from isolator.model.signed import Envelope
from isolator.service.link_state import LinkState
from isolator.service.remote_orders import AGAIN_S, RemoteOrders
from tests.fakes.controller_keys import ControllerKeys, base64url
from tests.unit.isolator.service.link_world import World

US = ControllerKeys()
AT = datetime(2026, 5, 1, tzinfo=UTC)
"""The controller's time; the device's own clock is two years behind."""


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    state = LinkState(made.store)
    state.make_key()
    keys = encode_envelope(US.signed_keys(expires_at="2030-01-01T00:00:00Z"))
    body = {"machine_id": state.machine_id, "root": base64url(US.root_public), "keys": keys}
    state.enrol(read_enrolment(body, state.public_key, None))
    yield made
    made.halt()


def orders_of(world: World) -> RemoteOrders:
    return world.boot(line=False).remote


def give(orders: RemoteOrders, generation: int, desired: str, **changes: object) -> Envelope:
    state = orders.state
    envelope = US.signed_order(state.machine_id, at=AT, generation=generation, desired=desired, **changes)
    order = read_order(envelope, US.known, state.machine_id or "", state.generation, AT)
    orders.obey(order, envelope, AT)
    return envelope


def refusal(orders: RemoteOrders, document: object) -> IsolatorError:
    with pytest.raises(IsolatorError) as caught:
        orders.forced_release(document)
    return caught.value


def release_file(orders: RemoteOrders, generation: int = 6, **changes: object) -> dict[str, str]:
    at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    document = {"generation": generation, **changes}
    return encode_envelope(US.signed_release(orders.state.machine_id, at=at, **document))


def test_an_order_and_its_end(world: World) -> None:
    orders = orders_of(world)
    give(orders, 5, "isolated")
    assert (orders.controller.state, orders.state.holds, orders.state.generation) == (
        HostState.ISOLATED,
        True,
        5,
    )
    give(orders, 6, "connected")
    assert (orders.controller.state, orders.state.holds, orders.state.generation) == (
        HostState.CONNECTED,
        False,
        6,
    )
    assert not orders.state.record.pending


def test_an_isolation_that_fails_leaves_the_host_free_and_says_why(world: World) -> None:
    orders = orders_of(world)
    world.host.backend.refusals["arm"] = IsolatorError(
        FailureCode.KERNEL_REFUSED, "apply", "the kernel says no"
    )
    give(orders, 5, "isolated")
    fault = orders.state.record.fault
    assert fault is not None
    assert (fault.code, orders.state.holds, orders.controller.state) == (
        "kernel_refused",
        False,
        HostState.CONNECTED,
    )
    orders.check_local("release")


def test_an_update_that_fails_leaves_the_controller_s_isolation(world: World) -> None:
    orders = orders_of(world)
    give(orders, 5, "isolated")
    give(orders, 6, "isolated", lists=["nosuchlist"])
    assert (orders.controller.state, orders.state.holds) == (HostState.ISOLATED, True)
    with pytest.raises(IsolatorError, match="holds this host"):
        orders.check_local("release")


def test_a_release_that_fails_may_be_tried_again_here(world: World) -> None:
    """The controller wants the host free; when its own try fails, the person at the device may help."""
    orders = orders_of(world)
    give(orders, 5, "isolated")
    world.host.backend.refusals["open_up"] = IsolatorError(FailureCode.KERNEL_REFUSED, "apply", "no")
    give(orders, 6, "connected")
    assert orders.controller.state is HostState.ISOLATED
    assert orders.state.record.fault is not None
    orders.check_local("release")


def test_a_full_disk_refuses_the_order_and_says_so(world: World) -> None:
    orders = orders_of(world)
    world.store.disk_full = True
    give(orders, 5, "isolated")
    fault = orders.state.record.fault
    assert fault is not None
    assert (fault.code, orders.controller.state, orders.state.generation) == (
        "state_unwritable", HostState.CONNECTED, 5,
    )  # fmt: skip


# Crash, reboot, lost journal


@pytest.mark.parametrize("desired", ["isolated", "connected"])
def test_an_order_that_a_crash_cut_short_is_carried_out_at_the_next_start(world: World, desired: str) -> None:
    orders = orders_of(world)
    if desired == "connected":
        give(orders, 4, "isolated")
    envelope = US.signed_order(orders.state.machine_id, at=AT, desired=desired)
    orders.state.begin(5, envelope, AT, isolate=desired == "isolated")  # and the power goes
    after = orders_of(world)
    assert after.controller.state.value == desired
    assert (after.state.record.pending, after.state.holds) == (False, desired == "isolated")


def test_the_order_stays_in_force_after_a_reboot(world: World) -> None:
    give(orders_of(world), 5, "isolated", duration_s=3600)
    world.host.backend.table = None
    world.host.clock.reboot()
    after = orders_of(world)
    assert (after.controller.state, after.state.holds) == (HostState.ISOLATED, True)
    with pytest.raises(IsolatorError):
        after.check_local("release")


def test_whoever_removes_journal_and_rules_is_isolated_again(world: World) -> None:
    give(orders_of(world), 5, "isolated")
    world.host.store.clear()
    world.host = type(world.host)(clock=world.host.clock, store=world.host.store)
    after = orders_of(world)
    assert after.controller.state is HostState.ISOLATED


def test_a_damaged_journal_is_a_lost_one(world: World) -> None:
    give(orders_of(world), 5, "isolated")
    world.host.store.text = "{"
    world.host.backend.table = None
    assert orders_of(world).controller.state is HostState.ISOLATED


def test_a_stored_order_of_a_key_that_was_withdrawn_is_not_obeyed_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever stole the old key could have put it there."""
    orders = orders_of(world)
    envelope = US.signed_order(orders.state.machine_id, at=AT)
    orders.state.begin(5, envelope, AT, isolate=True)
    fresh = ControllerKeys(order=7)
    keys = fresh.signed_keys(2, expires_at="2030-01-01T00:00:00Z")
    signed = fresh.signed_answer("n" * 9, None, keys, orders.state.machine_id, at="2026-05-01T00:00:00Z")
    known = orders.state.trusted_keys()
    orders.state.hear(read_answer(signed, known, US.root_public, orders.state.machine_id or "", "n" * 9))
    assert orders_of(world).controller.state is HostState.CONNECTED
    assert "not good any more" in caplog.text


def test_a_lost_journal_and_a_withdrawn_key_leave_the_host_held(world: World) -> None:
    orders = orders_of(world)
    give(orders, 5, "isolated")
    world.host.store.clear()
    world.host.backend.table = None
    world.store.text = (world.store.text or "").replace('"order": {"key_id": "', '"order": {"key_id": "0')
    after = orders_of(world)
    after.watch()
    assert (after.controller.state, after.state.holds) == (HostState.CONNECTED, True)


def test_the_watch_lets_an_order_finish_first(world: World) -> None:
    orders = orders_of(world)
    give(orders, 5, "isolated", duration_s=60)
    world.host.clock.advance(61)
    orders.controller.tick()
    with _held_by_another_thread(orders):
        orders.watch()
        assert orders.state.holds
    orders.watch()
    assert not orders.state.holds


@contextmanager
def _held_by_another_thread(orders: RemoteOrders) -> Iterator[None]:
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with orders.lock:
            taken.set()
            done.wait(5.0)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(5.0)
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_it_is_tried_until_the_network_is_up(world: World) -> None:
    give(orders_of(world), 5, "isolated")
    world.host.store.clear()
    world.host = type(world.host)(clock=world.host.clock, store=world.host.store)
    world.host.backend.refusals["arm"] = IsolatorError(FailureCode.KERNEL_REFUSED, "apply", "not yet")
    after = orders_of(world)
    assert after.controller.state is HostState.CONNECTED
    after.watch()
    assert after.state.holds  # not taken for an ordered end
    world.host.backend.refusals.clear()
    after.watch()
    assert after.controller.state is HostState.CONNECTED  # not at every tick
    world.host.clock.advance(AGAIN_S + 1)
    after.watch()
    assert after.controller.state is HostState.ISOLATED


def test_an_isolation_that_ended_by_its_time_is_not_begun_again(world: World) -> None:
    orders = orders_of(world)
    give(orders, 5, "isolated", duration_s=60)
    world.host.clock.advance(61)
    orders.controller.tick()  # and the agent dies before it can note the end
    after = orders_of(world)
    assert after.controller.state is HostState.CONNECTED
    after.watch()
    assert not after.state.holds


def test_an_isolation_in_force_is_left_alone_by_the_watch(world: World) -> None:
    orders = orders_of(world)
    give(orders, 5, "isolated")
    orders.watch()
    assert orders.state.holds


# Damaged memory


def test_with_a_damaged_memory_nothing_is_released(world: World) -> None:
    give(orders_of(world), 5, "isolated")
    world.store.text = "{"
    agent = world.boot(line=False)
    answer = agent.answer({"do": "release"})
    assert answer["error"]["code"] == "state_unreadable"  # type: ignore[index]
    assert refusal(agent.remote, release_file(agent.remote)).code is FailureCode.STATE_UNREADABLE
    assert agent.controller.state is HostState.ISOLATED


def test_with_a_damaged_memory_a_free_host_can_be_isolated(world: World) -> None:
    world.store.text = "{"
    agent = world.boot(line=False)
    assert agent.answer({"do": "isolate", "order": encode_order(IsolationOrder())})["ok"]


# Forced release


def test_a_file_lets_the_host_go_once(world: World) -> None:
    orders = orders_of(world)
    world.host.clock.set_wall(AT)
    give(orders, 5, "isolated")
    file = encode_envelope(US.signed_release(orders.state.machine_id, at=AT))
    assert orders.forced_release(file).changed
    assert (orders.controller.state, orders.state.holds, orders.state.generation) == (
        HostState.CONNECTED,
        False,
        6,
    )
    error = refusal(orders, file)
    assert (error.code, "used" in error.sentence) == (FailureCode.NOT_BELIEVED, True)
    assert refusal(orders_of(world), file).code is FailureCode.NOT_BELIEVED


def test_a_file_made_before_the_isolation_does_not_end_it(world: World) -> None:
    orders = orders_of(world)
    world.host.clock.set_wall(AT)
    old = encode_envelope(US.signed_release(orders.state.machine_id, at=AT, generation=5))
    give(orders, 6, "isolated")
    assert "before order 6" in refusal(orders, old).sentence
    assert orders.controller.state is HostState.ISOLATED


def test_a_file_whose_order_came_by_the_line_first_has_nothing_left_to_do(world: World) -> None:
    orders = orders_of(world)
    world.host.clock.set_wall(AT)
    give(orders, 5, "isolated")
    give(orders, 6, "connected")
    file = encode_envelope(US.signed_release(orders.state.machine_id, at=AT))
    assert not orders.forced_release(file).changed
    assert orders.controller.state is HostState.CONNECTED


def test_a_clock_set_back_revives_no_file(world: World) -> None:
    orders = orders_of(world)
    give(orders, 5, "isolated")  # the controller said that it is 2026
    assert world.host.clock.utc_now().startswith("2024-05-01")
    error = refusal(orders, release_file(orders))  # good in May 2024
    assert "expired" in error.sentence
    assert "clock" in error.sentence


def test_a_clock_that_is_behind_is_named(world: World) -> None:
    orders = orders_of(world)
    world.host.clock.set_wall(AT - timedelta(days=400))
    early = encode_envelope(US.signed_release(orders.state.machine_id, at=AT))
    assert "clock seems to be behind" in refusal(orders, early).sentence


@pytest.mark.parametrize("document", [None, 7, "x", [], {}, {"payload": "", "key_id": "", "signature": ""}])
def test_what_is_no_release_file_is_refused(world: World, document: object) -> None:
    orders = orders_of(world)
    give(orders, 5, "isolated")
    assert refusal(orders, document).code is FailureCode.NOT_BELIEVED
    assert orders.controller.state is HostState.ISOLATED


def test_a_device_without_keys_believes_no_file() -> None:
    world = World()
    orders = world.boot(line=False).remote
    assert refusal(orders, {}).code is FailureCode.NOT_BELIEVED


def test_a_release_by_file_that_the_kernel_refuses_leaves_the_local_way_open(world: World) -> None:
    orders = orders_of(world)
    world.host.clock.set_wall(AT)
    give(orders, 5, "isolated")
    file = encode_envelope(US.signed_release(orders.state.machine_id, at=AT))
    broken = IsolatorError(FailureCode.KERNEL_REFUSED, "apply", "no")
    world.host.backend.refusals.update(dict.fromkeys(("open_up", "remove"), broken))
    assert refusal(orders, file).code is FailureCode.KERNEL_REFUSED
    assert orders.controller.state is HostState.ISOLATED
    world.host.backend.refusals.clear()
    orders.check_local("release")
