"""The line to the controller when things go wrong: it lives, it backs off, it does nothing unsigned."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from isolator.core.policy_document import encode_order
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.order import HostState, IsolationOrder
from isolator.ports import Reply
from isolator.service import controller_link
from isolator.service.controller_link import LONGEST_PAUSE_S, Chance
from tests.fakes.controller import Line
from tests.fakes.controller_keys import instant
from tests.unit.isolator.service.link_world import World, eventually


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.halt()


def test_the_pause_grows_to_thirty_seconds_and_is_drawn_from_nothing_up(world: World) -> None:
    world.boot()
    assert world.link is not None
    asked: list[tuple[float, float]] = []

    def between(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    world.link._chance = Chance(between=between)
    pauses = [world.link._backoff(failures) for failures in (1, 2, 3, 4, 5, 6, 50, 5000)]
    assert pauses == [1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert {low for low, _ in asked} == {0.0}


def test_polls_of_a_fleet_do_not_come_in_step() -> None:
    waits = {round(Chance().between(*controller_link.WAIT_S), 3) for _ in range(50)}
    assert len(waits) > 40
    assert all(45 <= each <= 55 for each in waits)
    assert len({Chance().token(16) for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, None), Reply(200, []), Reply(200, {}), Reply(200, {"payload": "", "key_id": "", "signature": ""}),
        Reply(500, None), Reply(404, {"error": None}), Reply(403, {"error": {"code": 7}}), Reply(302, "x"),
        Reply(409, {"error": {"code": "Replay"}}), Reply(409, {"error": {"code": "Replay", "sequence": "9"}}),
        Reply(409, {"error": {"code": "Replay", "sequence": -5}}), Reply(409, {"error": {"code": "CloneSuspected"}}),
        Reply(409, {"error": {"code": "Replay", "sequence": 10**300}}), Reply(409, {"error": {"code": ["Unenrolled"]}}),
    ],
    ids=repr,
)  # fmt: skip
def test_nothing_unsigned_changes_the_host_and_the_line_goes_on(
    world: World, reply: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = world.enrolled()
    world.report_of(world.far.order("isolated"))
    post = Line.post
    left = [3]

    def odd(line: Line, path: str, body: Any, deadline_s: float) -> Reply:
        if left[0]:
            left[0] -= 1
            return reply
        return post(line, path, body, deadline_s)

    monkeypatch.setattr(Line, "post", odd)
    before = len(world.far.machine.check_ins)
    world.far.kick()
    world.far.wait_for(lambda: len(world.far.machine.check_ins) > before)
    assert (agent.controller.state, agent.remote.state.generation, agent.remote.state.holds) == (
        HostState.ISOLATED, 1, True,
    )  # fmt: skip
    assert world.report_of(world.far.order("connected"))["state"] == "connected"


def test_a_defect_in_the_line_does_not_end_it(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.enrolled()
    post = Line.post
    left = [2]

    def broken(line: Line, path: str, body: Any, deadline_s: float) -> Reply:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("a defect")
        return post(line, path, body, deadline_s)

    monkeypatch.setattr(Line, "post", broken)
    world.far.kick()
    assert world.report_of(world.far.order("isolated"))["state"] == "isolated"
    assert "a defect" in caplog.text


def test_news_that_cannot_be_told_now_come_with_the_next_poll(world: World) -> None:
    agent = world.enrolled()
    world.lines[1].down = True
    assert agent.answer({"do": "isolate", "order": encode_order(IsolationOrder())})["ok"]
    eventually(lambda: world.lines[1].calls)
    world.far.kick()
    world.far.wait_for(lambda: world.far.machine.reports[-1]["state"] == "isolated")


def test_a_defect_in_the_news_does_not_end_them(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    agent = world.enrolled()
    side = world.lines[1]

    def broken(*_: object) -> Reply:
        side.calls += 1
        raise RuntimeError("a defect")

    monkeypatch.setattr(side, "post", broken)
    agent.answer({"do": "isolate", "order": encode_order(IsolationOrder())})
    eventually(lambda: side.calls and "a defect" in caplog.text)
    monkeypatch.undo()
    agent.answer({"do": "release"})
    world.far.wait_for(lambda: world.far.machine.reports[-1]["state"] == "connected")


def test_keys_that_are_not_the_root_s_are_named_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.enrolled()
    from tests.fakes.controller_keys import ControllerKeys

    with world.far.changed:
        world.far.keys_version = 2
        world.far.key_set = ControllerKeys(root=8, order=9).signed_keys(2)
    assert world.report_of(world.far.order("isolated"))["state"] == "isolated"
    assert "unknown_key" in caplog.text


def test_another_address_in_the_configuration_is_taken_up(world: World) -> None:
    world.enrolled()
    assert world.settings is not None
    world.settings = replace(world.settings, url="https://other.example")
    world.far.kick()
    eventually(lambda: len(world.lines) == 4)
    assert world.report_of(world.far.order("isolated"))["state"] == "isolated"


def test_a_section_that_is_removed_ends_the_line_of_a_free_host_only(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.enrolled()
    world.report_of(world.far.order("isolated"))
    settings, world.settings = world.settings, None
    world.far.kick()
    assert world.report_of(world.far.order("connected"))["state"] == "connected"
    calls = world.lines[0].calls
    world.far.kick()
    eventually(lambda: world.far.kick() or "names no `controller`" in caplog.text)
    assert world.lines[0].calls <= calls + 2
    before = len(world.far.machine.check_ins)
    world.settings = settings
    world.far.wait_for(lambda: len(world.far.machine.check_ins) > before)


def test_a_file_that_went_bad_costs_no_line(world: World) -> None:
    world.enrolled()
    assert world.link is not None
    good = world.link._outgoing

    refused: list[int] = []

    def refuse() -> Any:
        refused.append(len(world.far.machine.check_ins))
        raise IsolatorError(FailureCode.BAD_CONFIG, "load", "agent.yaml, line 3: a slip")

    world.link._outgoing = replace(good, load_config=refuse)
    eventually(lambda: world.far.kick() or refused)
    world.far.wait_for(lambda: len(world.far.machine.check_ins) > refused[0])


def test_a_file_that_is_bad_from_the_start_is_read_again(world: World) -> None:
    good = world.boot(line=False)
    link = world._link(good.remote)
    config = link._outgoing.load_config
    left = [2]

    def slip() -> Any:
        if left[0]:
            left[0] -= 1
            raise IsolatorError(FailureCode.BAD_CONFIG, "load", "agent.yaml, line 3: a slip")
        return config()

    link._outgoing = replace(link._outgoing, load_config=slip)
    world.link = link
    link.start()
    world.far.wait_for(lambda: world.far.machines and world.far.machine.check_ins)


def test_a_refused_enrolment_is_tried_again(world: World) -> None:
    world.far.tokens.clear()
    world.boot()
    eventually(lambda: world.lines and world.lines[0].calls > 3)
    from tests.fakes.controller import TOKEN

    world.far.tokens.add(TOKEN)
    world.far.wait_for(lambda: world.far.machines and world.far.machine.check_ins)
    assert len(world.far.machines) == 1  # one key, made once


def test_the_token_is_in_no_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    world.far.tokens.clear()
    world.boot()
    eventually(lambda: world.lines and world.lines[0].calls > 3)
    assert caplog.text
    assert "iso_token" not in caplog.text


def test_orders_come_thick_and_fast_and_the_last_one_wins(world: World) -> None:
    agent = world.enrolled()
    pick = random.Random(7)
    last = ""
    for _ in range(25):
        last = pick.choice(["isolated", "connected"])
        generation = world.far.order(last)
        if pick.random() < 0.3:
            agent.answer({"do": pick.choice(["release", "status"])})
    world.report_of(generation)
    world.far.wait_for(lambda: world.far.machine.reports[-1]["generation"] == generation)
    assert agent.controller.state.value == last
    generations = [each["generation"] for each in world.far.machine.check_ins if each["delivered"] is None]
    assert generations == sorted(generations)


def test_a_controller_that_asks_for_an_hour_of_silence_gets_a_minute(world: World) -> None:
    world.enrolled()
    assert world.link is not None
    link = world.link
    answered = []

    def check_in(*_: object) -> object:
        from isolator.core.remote_order import read_answer

        (machine_id,) = world.far.machines
        signed = world.far.keys.signed_answer("n" * 9, None, None, machine_id, poll_after_s=3600, generation=0,
                                              at=instant(world.far.now()))  # fmt: skip
        answered.append(1)
        return read_answer(signed, link.state.trusted_keys(), world.far.keys.root_public, machine_id, "n" * 9)

    world.halt()
    link._check_in = check_in  # type: ignore[method-assign, assignment]
    assert link._round() == 60.0
    assert answered


def test_an_error_of_the_side_line_is_not_an_error_of_the_order(world: World) -> None:
    world.enrolled()
    world.lines[1].down = True
    report = world.report_of(world.far.order("isolated"))
    assert (report["state"], report["error"]) == ("isolated", None)


def test_stop_is_safe_twice_and_before_the_first_call(world: World) -> None:
    world.boot()
    assert world.link is not None
    world.far.drain()
    world.link.stop()
    world.link.stop()


def test_a_disk_that_is_full_stops_no_report_before_the_block_is_used(world: World) -> None:
    world.enrolled()
    world.store.disk_full = True
    report = world.report_of(world.far.order("isolated"))
    assert report["error"]["code"] == FailureCode.STATE_UNWRITABLE.value  # type: ignore[index]
    assert report["state"] == "connected"


def test_a_poll_that_our_own_news_overtook_is_sent_again_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = world.enrolled()
    assert world.link is not None
    monkeypatch.setattr(controller_link, "FIRST_PAUSE_S", 60.0)
    monkeypatch.setattr(controller_link, "LONGEST_PAUSE_S", 60.0)
    world.link._chance = Chance(between=lambda low, high: high if high == 60.0 else low or 0.02)
    post = Line.post
    left = [1]

    def overtaken(line: Line, path: str, body: Any, deadline_s: float) -> Reply:
        if left[0]:
            left[0] -= 1
            error = {"code": "Replay", "sequence": agent.remote.state.last_sequence}
            return Reply(409, {"error": error})
        return post(line, path, body, deadline_s)

    before = len(world.far.machine.check_ins)
    monkeypatch.setattr(Line, "post", overtaken)
    world.far.kick()
    world.far.wait_for(lambda: len(world.far.machine.check_ins) > before)


def test_a_host_that_failed_to_say_its_state_still_says_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = world.enrolled()
    observe = agent.controller.outside.backend.observe
    left = [2]

    def refuse() -> object:
        if left[0]:
            left[0] -= 1
            raise IsolatorError(FailureCode.KERNEL_REFUSED, "observe", "the kernel says no")
        return observe()

    monkeypatch.setattr(agent.controller.outside.backend, "observe", refuse)
    world.far.kick()
    monkeypatch.setattr(controller_link, "UNHELD_PAUSE_S", (0.01, 0.02))
    assert world.report_of(world.far.order("isolated"))["state"] == "isolated"
