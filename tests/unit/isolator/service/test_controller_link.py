"""The line to the controller, from enrolment to release, against a controller that believes only signatures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from isolator.core.policy_document import encode_order
from isolator.core.signed import machine_id_of
from isolator.model.exclusion import Direction, Exclusion
from isolator.model.failure import FailureCode
from isolator.model.flow import Destination, Transport
from isolator.model.order import HostState, IsolationOrder
from isolator.model.signed import Envelope
from isolator.model.verdict import Decision, Reason, Verdict
from isolator.service.dns_learner import DnsLearner
from tests.fakes.controller_keys import ControllerKeys, instant
from tests.unit.isolator.service.link_world import World, eventually


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.halt()


def test_a_device_enrols_with_a_key_of_its_own(world: World) -> None:
    agent = world.enrolled()
    (machine_id,) = world.far.machines
    (enrolment,) = world.far.enrolled
    assert machine_id == machine_id_of(world.far.machine.public)
    assert enrolment["computer_name"] == "host-1"
    shown = agent.answer({"do": "status"})["result"]["controller"]  # type: ignore[index]
    assert (shown["url"], shown["machine_id"], shown["enrolled"]) == (
        "https://controller.example:8443",
        machine_id,
        True,
    )
    first = world.far.machine.check_ins[0]
    assert (first["generation"], first["delivered"], first["facts"]["os_platform"]) == (0, None, "Linux")
    assert first["wait_s"] == 0  # is anybody there?
    assert 45 <= world.far.machine.check_ins[1]["wait_s"] <= 55
    assert (first["observed"]["state"], first["observed"]["verified"]) == ("connected", True)


def test_an_order_is_acknowledged_carried_out_and_proved(world: World) -> None:
    agent = world.enrolled()
    generation = world.far.order("isolated", comment="INC-7", duration_s=3600)
    report = world.report_of(generation)
    assert (report["state"], report["isolation_type"], report["verified"]) == ("isolated", "full", True)
    assert report["error"] is None
    assert report["expires_at"]
    assert len(str(report["ruleset_sha256"])) == 64
    assert agent.controller.isolation is not None
    assert agent.controller.isolation.order.comment == "INC-7"
    generation = world.far.order("connected", comment="over")
    report = world.report_of(generation)
    assert (report["state"], report["verified"], report["ruleset_sha256"]) == ("connected", True, None)


def test_the_acknowledgement_does_not_wait_for_the_kernel(world: World) -> None:
    agent = world.enrolled()
    apply = agent.controller.outside.backend.apply

    def slow(transaction: object) -> None:
        eventually(lambda: [each for each in world.far.machine.check_ins if each["delivered"] == 1])
        apply(transaction)  # type: ignore[arg-type]

    world.host.backend.apply = slow  # type: ignore[method-assign]
    report = world.report_of(world.far.order("isolated"))
    assert report["state"] == "isolated"
    (acknowledgement,) = [each for each in world.far.machine.check_ins if each["delivered"]]
    assert acknowledgement["observed"]["generation"] == 0
    assert acknowledgement["wait_s"] == 0


def test_sequences_rise_over_a_restart_and_the_incarnation_changes(world: World) -> None:
    world.enrolled()
    world.boot()
    world.far.wait_for(lambda: len({each["incarnation"] for each in world.far.machine.check_ins}) == 2)
    numbers = [each["sequence"] for each in world.far.machine.check_ins]
    assert numbers == sorted(set(numbers))
    assert len(world.far.enrolled) == 1


def test_the_exclusions_of_the_order_count_and_not_those_of_the_device(world: World) -> None:
    own = Exclusion("own", Direction.OUT, Transport.TCP, 443, pattern="own.example")
    world.host.config = replace(world.host.config, exclusions=(own,))
    agent = world.enrolled()
    given = {"name": "given", "direction": "out", "remote": "192.0.2.9", "port": 22, "protocol": "tcp"}
    world.report_of(world.far.order("isolated", scope="selective", exclusions=[given]))
    assert agent.controller.isolation is not None
    assert [each.name for each in agent.controller.isolation.policy.exclusions] == ["given"]


# Local orders


def test_nothing_local_ends_or_changes_what_the_controller_ordered(world: World) -> None:
    agent = world.enrolled()
    world.report_of(world.far.order("isolated"))
    order = {**encode_order(IsolationOrder(duration_s=1.0))}
    for request in ({"do": "release"}, {"do": "isolate", "order": order}):
        answer = agent.answer(request)
        assert answer["error"]["code"] == "held_by_controller"  # type: ignore[index]
    assert agent.controller.state is HostState.ISOLATED
    assert agent.controller.isolation is not None
    assert agent.controller.isolation.order.duration_s == 604_800


def test_nor_does_an_agent_without_configuration_or_line(world: World) -> None:
    """Uninstalling the service or removing `controller` from agent.yaml lets nobody out."""
    world.enrolled()
    world.report_of(world.far.order("isolated"))
    alone = world.boot(line=False)
    assert alone.answer({"do": "release"})["error"]["code"] == "held_by_controller"  # type: ignore[index]
    assert alone.answer({"do": "status"})["result"]["controller"]["holds"] is True  # type: ignore[index]


def test_a_local_isolation_is_told_at_once_and_stays_free_to_end(world: World) -> None:
    agent = world.enrolled()
    assert agent.answer({"do": "isolate", "order": encode_order(IsolationOrder())})["ok"]
    world.far.wait_for(lambda: world.far.machine.reports[-1]["state"] == "isolated")
    assert agent.answer({"do": "release"})["ok"]
    world.far.wait_for(lambda: world.far.machine.reports[-1]["state"] == "connected")


def test_an_alert_is_told_at_once_and_once(world: World) -> None:
    agent = world.enrolled()
    assert agent.answer({"do": "isolate", "order": encode_order(IsolationOrder())})["ok"]
    gate = agent.controller.gate
    assert isinstance(gate, DnsLearner)
    world.far.wait_for(lambda: world.far.machine.reports[-1]["state"] == "isolated")
    assert world.far.machine.reports[-1]["alerts"] == []
    gate._alerts.note(Reason.DNS_LABEL_PAYLOAD, "standard#1")
    agent._tick()
    world.far.wait_for(lambda: world.far.machine.reports[-1]["alerts"])
    (told,) = world.far.machine.reports[-1]["alerts"]
    assert told.keys() == {"reason", "pattern", "first_at"}
    assert told["reason"] == "dns_label_payload"
    count = len(world.far.machine.reports)
    gate._alerts.note(Reason.DNS_LABEL_PAYLOAD, "standard#1")
    agent._tick()
    assert len(world.far.machine.reports) == count
    (shown,) = agent.answer({"do": "status"})["result"]["alerts"]  # type: ignore[index]
    assert shown["count"] == 2


def test_what_programs_here_wanted_is_not_told(world: World) -> None:
    """Names that were refused are for whoever is root here: the status has them, no report does."""
    agent = world.enrolled()
    assert agent.answer({"do": "isolate", "order": encode_order(IsolationOrder())})["ok"]
    gate = agent.controller.gate
    assert isinstance(gate, DnsLearner)
    door = Destination(ip_address("20.1.2.3"), Transport.TCP, 443)
    world.far.wait_for(lambda: world.far.machine.reports[-1]["state"] == "isolated")
    gate._refusals.note(Decision(Verdict.REJECT, Reason.TLS_NAME_NOT_ALLOWED, None, "private.test"), door)
    world.host.backend.table = None  # a repair is reported
    agent._tick()
    world.far.wait_for(lambda: world.far.machine.reports[-1]["repairs"] >= 1)
    assert "private.test" in str(agent.answer({"do": "status"}))
    assert "private.test" in str(agent.answer({"do": "explain", "destination": "private.test"}))
    assert "private.test" not in str(world.far.machine.reports)
    assert agent.answer({"do": "release"})["ok"]
    assert "private.test" not in str(agent.answer({"do": "status"}))


def test_a_repair_is_told_at_once(world: World) -> None:
    agent = world.enrolled()
    world.report_of(world.far.order("isolated"))
    world.host.backend.table = None  # somebody removed it
    agent._tick()
    world.far.wait_for(lambda: world.far.machine.reports[-1]["repairs"] >= 1)


def test_the_ordered_end_is_told_and_frees_local_orders(world: World) -> None:
    agent = world.enrolled()
    world.report_of(world.far.order("isolated", duration_s=60))
    world.host.clock.advance(61)
    agent._tick()
    world.far.wait_for(lambda: world.far.machine.reports[-1]["state"] == "connected")
    assert not agent.remote.state.holds
    assert agent.answer({"do": "isolate", "order": encode_order(IsolationOrder())})["ok"]
    assert agent.answer({"do": "release"})["ok"]


# Trouble


def test_a_failed_order_is_reported_with_its_reason_and_not_tried_for_ever(world: World) -> None:
    agent = world.enrolled()
    generation = world.far.order("isolated", lists=["nosuchlist"])
    report = world.report_of(generation)
    assert (report["state"], report["verified"]) == ("connected", True)
    assert report["error"]["code"] == "bad_list"  # type: ignore[index]
    assert agent.answer({"do": "release"})["ok"]


def test_a_defect_in_an_order_is_reported(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.enrolled()
    world.host.backend.refusals["arm"] = RuntimeError("a defect")  # type: ignore[assignment]
    report = world.report_of(world.far.order("isolated"))
    assert report["error"]["code"] == "internal"  # type: ignore[index]
    assert "a defect" in caplog.text


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"machine_id": "cd" * 20}, "wrong_machine"),
        ({"not_after": "2024-01-01T00:00:00Z"}, "expired"),
        ({"desired": "off"}, "malformed"),
    ],
)
def test_an_order_that_is_refused_is_reported_and_changes_nothing(
    world: World, changes: dict[str, str], code: str
) -> None:
    agent = world.enrolled()
    world.report_of(world.far.order("isolated"))
    document = {"desired": "connected", **changes}
    generation = world.far.order(**document) if "machine_id" not in document else _misdirected(world)
    report = world.report_of(generation)
    assert (report["state"], report["error"]["code"]) == ("isolated", code)  # type: ignore[index]
    assert agent.remote.state.holds


def _misdirected(world: World) -> int:
    with world.far.changed:
        machine = world.far.machine
        machine.generation += 1
        machine.order = world.far.keys.signed_order(
            "cd" * 20, at=world.far.now(), desired="connected", generation=machine.generation
        )
        world.far.changed.notify_all()
        return machine.generation


def test_an_old_answer_played_back_changes_nothing(world: World) -> None:
    """The attacker recorded a good release order and its answer, and holds the line."""
    agent = world.enrolled()
    world.report_of(world.far.order("isolated"))
    (machine_id,) = world.far.machines
    order = world.far.keys.signed_order(machine_id, at=world.far.now(), desired="connected", generation=9)
    old = world.far.keys.signed_answer("an-old-nonce", order, None, machine_id, generation=9)
    stranger = ControllerKeys(root=8, order=9)
    forged = stranger.signed_order(machine_id, at=world.far.now(), desired="connected", generation=9)
    with world.far.changed:
        world.far.answers = [old, stranger.signed_answer("x", forged), Envelope(b"", "", b"")]
    count = len(world.far.machine.check_ins)
    agent.answer({"do": "status"})
    world.far.kick()
    world.far.wait_for(lambda: not world.far.answers and len(world.far.machine.check_ins) >= count + 3)
    assert agent.controller.state is HostState.ISOLATED
    assert agent.remote.state.generation == 1


def test_a_device_with_a_wrong_clock_is_reached(world: World) -> None:
    """Its wall clock says 2024, the controller's says now, years later: orders are judged by the latter."""
    assert world.host.clock.utc_now().startswith("2024-05-01")
    agent = world.enrolled()
    assert world.report_of(world.far.order("isolated"))["state"] == "isolated"
    world.host.clock.set_wall(datetime(2039, 1, 1, tzinfo=UTC))
    assert world.report_of(world.far.order("connected"))["state"] == "connected"
    assert agent.remote.state.record.fault is None


def test_the_line_comes_back_after_an_outage(world: World) -> None:
    agent = world.enrolled()
    for line in world.lines:
        line.down = True
    world.far.drain()
    eventually(lambda: world.lines[0].calls > 5)
    assert agent.controller.state is HostState.CONNECTED
    world.far.draining = False
    for line in world.lines:
        line.down = False
    assert world.report_of(world.far.order("isolated"))["state"] == "isolated"


def test_a_restored_disk_goes_on_above_the_numbers_the_controller_saw(world: World) -> None:
    world.enrolled()
    world.halt()
    world.far.machine.sequence = 50_000
    world.boot()
    world.far.wait_for(lambda: world.far.machine.sequence > 50_000)


def test_an_unenrolled_device_enrols_again_with_the_same_key_and_stays_as_it_was_ordered(
    world: World,
) -> None:
    agent = world.enrolled()
    world.report_of(world.far.order("isolated"))
    world.far.machine.unenrolled = True
    world.far.kick()
    world.far.wait_for(lambda: len(world.far.enrolled) == 2)
    assert len(world.far.machines) == 1
    assert agent.controller.state is HostState.ISOLATED
    assert agent.answer({"do": "release"})["error"]["code"] == "held_by_controller"  # type: ignore[index]


def test_an_unenrolled_device_without_a_token_stays_isolated(world: World) -> None:
    agent = world.enrolled()
    world.report_of(world.far.order("isolated"))
    world.settings = replace(world.settings, enrolment_token=None)  # type: ignore[type-var]
    world.far.machine.unenrolled = True
    agent = world.boot()
    eventually(lambda: world.lines[-2].calls > 3)
    assert agent.controller.state is HostState.ISOLATED
    assert agent.answer({"do": "release"})["error"]["code"] == "held_by_controller"  # type: ignore[index]


def test_another_controller_at_the_same_address_is_not_believed(world: World) -> None:
    """Somebody takes the name over, wipes the database and waits for the devices to enrol anew."""
    world.enrolled()
    world.report_of(world.far.order("isolated"))
    world.far.keys = ControllerKeys(root=8, order=9)
    world.far.key_set = world.far.keys.signed_keys(expires_at=instant(datetime.now(UTC) + timedelta(days=9)))
    world.far.machine.unenrolled = True
    world.far.drain()
    agent = world.boot()
    world.far.wait_for(lambda: len(world.far.enrolled) >= 2)
    world.far.order("connected")
    eventually(lambda: world.lines[-2].calls > 6)
    assert agent.controller.state is HostState.ISOLATED


def test_a_device_that_was_off_during_a_change_of_keys_follows(world: World) -> None:
    world.enrolled()
    world.halt()
    world.far.rotate(order_key=7)
    agent = world.boot()
    assert world.report_of(world.far.order("isolated"))["state"] == "isolated"
    assert agent.remote.state.trusted_keys().version == 2


def test_without_a_token_nothing_is_sent(world: World) -> None:
    world.settings = replace(world.settings, enrolment_token=None)  # type: ignore[type-var]
    agent = world.boot()
    eventually(lambda: world.lines)
    assert sum(line.calls for line in world.lines) == 0
    shown = agent.answer({"do": "status"})["result"]["controller"]  # type: ignore[index]
    assert (shown["enrolled"], shown["machine_id"]) == (False, None)


def test_a_section_that_is_removed_ends_no_isolation(world: World) -> None:
    agent = world.enrolled()
    world.report_of(world.far.order("isolated"))
    world.settings = None
    world.far.drain()
    assert agent.answer({"do": "release"})["error"]["code"] == FailureCode.HELD_BY_CONTROLLER.value  # type: ignore[index]


def test_changed_facts_are_told_and_others_are_not(world: World) -> None:
    world.enrolled()
    world.report_of(world.far.order("isolated"))
    assert [each["facts"] for each in world.far.machine.check_ins][1:] == [None] * (
        len(world.far.machine.check_ins) - 1
    )
    world.facts.known["computer_name"] = "host-2"
    world.report_of(world.far.order("connected"))
    world.far.wait_for(
        lambda: (
            {"computer_name": "host-2", "os_platform": "Linux"}
            in [each["facts"] for each in world.far.machine.check_ins]
        )
    )
