"""Orders carried out on fakes that keep the real adapters' contracts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from allowlists.files import load
from isolator.core import plan
from isolator.core.compiler import LEARNED, SETS
from isolator.model.config import AgentConfig
from isolator.model.event import EventKind
from isolator.model.exclusion import Direction, Exclusion
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Destination, Hook, Packet, Transport
from isolator.model.order import HostState, IsolationOrder, IsolationScope, OnSilence, ReleaseOrder
from isolator.model.policy import ControlEndpoint
from isolator.model.segment import FlowKey
from isolator.ports import HostFacts
from isolator.render.nft import expected_table
from isolator.service import report
from isolator.service.controller import Controller, Outside
from isolator.service.dns_learner import DnsLearner
from tests.fakes.clock import FakeClock
from tests.fakes.control_probe import FakeProbe
from tests.fakes.filter_backend import FakeFilterBackend
from tests.fakes.flow_table import FakeFlowTable
from tests.fakes.host_inspector import FakeInspector
from tests.fakes.notifier import FakeNotifier
from tests.fakes.packet_queue import FakeFlowQueue, FakeQueue
from tests.fakes.resolver import FakeResolver
from tests.fakes.state_store import FakeStateStore

CRL, CRL_ADDRESS = "crl.microsoft.com", ip_address("20.60.0.1")
CONTROL = "control.example"
CONTROL_DOOR = Destination(ip_address("20.60.0.9"), Transport.TCP, 8443)
ZONE = {CRL: [(CRL_ADDRESS, 300)], CONTROL: [(CONTROL_DOOR.address, 300)]}
FACTS = HostFacts((ip_address("192.0.2.53"),), (ip_address("192.0.2.10"),), ())
FOREIGN = Packet(Hook.OUTPUT, FACTS.own_addresses[0], ip_address("93.184.216.34"), "tcp", 50_000, 443)
TO_NETWORK = replace(FOREIGN, destination=ip_address("20.15.141.9"), tcp_flags=frozenset({"ack"}))
TO_CRL = replace(FOREIGN, destination=CRL_ADDRESS, destination_port=80, tcp_flags=frozenset({"ack"}))


@dataclass
class Host:
    """One host of fakes; `agent` starts another agent on it, as after a crash."""

    zone: Mapping[str, list[tuple[object, int]]] = field(default_factory=lambda: dict(ZONE))
    config: AgentConfig = field(default_factory=AgentConfig)
    clock: FakeClock = field(default_factory=FakeClock)
    store: FakeStateStore = field(default_factory=FakeStateStore)
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    probe: FakeProbe = field(default_factory=FakeProbe)
    queues: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.backend = FakeFilterBackend(self.clock)
        self.flows = FakeFlowTable([FOREIGN, TO_NETWORK, TO_CRL])
        self.queue = FakeQueue(self.queues)
        self.inspector = FakeInspector(FACTS)

    def agent(self) -> Controller:
        self.queues.clear()
        self.queue = FakeQueue(self.queues)
        outside = Outside(
            self.backend, self.queue, self.flows, self.notifier, self.store, self.clock,
            FakeResolver(self.zone), self.probe, self.inspector,  # type: ignore[arg-type]
            FakeFlowQueue(self.queues),
        )  # fmt: skip
        gate = DnsLearner(self.backend, self.clock)
        return Controller(outside, gate, load_config=lambda: self.config, load_list=load, queue_number=9)

    @property
    def told(self) -> list[EventKind]:
        return [event.kind for event in self.notifier.told]

    def learned(self) -> set[object]:
        return {element.key for element in self.backend.elements(SETS[LEARNED[4]])}


@pytest.fixture
def host() -> Host:
    return Host()


def is_isolated(host: Host, controller: Controller) -> bool:
    """In the kernel, exactly as the controller wants it."""
    assert controller.ruleset is not None
    return plan.drift(host.backend.observe(), expected_table(controller.ruleset)) == ()


def refused(action: Callable[[], object]) -> IsolatorError:
    with pytest.raises(IsolatorError) as caught:
        action()
    return caught.value


def test_isolate_and_release(host: Host) -> None:
    agent = host.agent()
    outcome = agent.isolate(IsolationOrder(comment="INC-1"))
    assert (outcome.state, outcome.changed) == (HostState.ISOLATED, True)
    assert is_isolated(host, agent)
    assert host.queue.number == 9
    assert Destination(CRL_ADDRESS, Transport.TCP, 80) in host.learned()
    agent.release(ReleaseOrder("over"))
    assert host.backend.observe() is None
    assert host.queue.number is None
    assert host.told == [EventKind.ISOLATED, EventKind.RELEASED]
    assert [event.reason for event in host.notifier.told] == ["INC-1", "over"]


def test_flows_the_policy_forbids_end_and_listed_ones_go_on(host: Host) -> None:
    """A flow to an address that a name opened is none of them: nobody heard whom it named."""
    outcome = host.agent().isolate(IsolationOrder())
    assert outcome.ended.tracked + outcome.ended.sockets == 2
    assert list(host.flows.flows) == [TO_NETWORK]


def test_the_same_order_twice_changes_nothing(host: Host) -> None:
    agent = host.agent()
    agent.isolate(IsolationOrder())
    applied = len(host.backend.applied)
    assert not agent.isolate(IsolationOrder()).changed
    assert len(host.backend.applied) == applied
    assert not agent.isolate(IsolationOrder()).changed


def test_another_comment_is_kept_without_a_commit(host: Host) -> None:
    agent = host.agent()
    agent.isolate(IsolationOrder())
    applied = len(host.backend.applied)
    assert agent.isolate(IsolationOrder(comment="INC-2")).changed
    assert len(host.backend.applied) == applied
    assert report.status(agent)["comment"] == "INC-2"


def test_release_of_a_free_host_changes_nothing(host: Host) -> None:
    assert not host.agent().release(ReleaseOrder()).changed
    assert host.told == []


def test_an_update_takes_one_commit_and_keeps_since(host: Host) -> None:
    agent = host.agent()
    agent.isolate(IsolationOrder())
    since = report.status(agent)["since"]
    host.clock.advance(60)
    applied = len(host.backend.applied)
    agent.isolate(IsolationOrder(lists=("standard",), geo=("EU",)))
    assert [each.purpose for each in host.backend.applied[applied:]] == ["update"]
    assert is_isolated(host, agent)
    assert report.status(agent)["since"] == since
    assert host.told[-1] is EventKind.POLICY_UPDATED


def test_an_update_that_narrows_forgets_learned_addresses(host: Host) -> None:
    host.zone = {**ZONE, "winatp-gw-neu.microsoft.com": [(ip_address("20.60.0.5"), 300)]}
    agent = host.agent()
    agent.isolate(IsolationOrder(lists=("standard",)))
    door = Destination(ip_address("20.60.0.5"), Transport.TCP, 443)
    assert door in host.learned()
    agent.isolate(IsolationOrder(lists=("streamlined",)))
    assert door not in host.learned()
    assert Destination(CRL_ADDRESS, Transport.TCP, 80) in host.learned()


@pytest.mark.parametrize("step", ["check replace", "prepare", "arm"])
def test_a_kernel_that_refuses_leaves_the_host_untouched(host: Host, step: str) -> None:
    host.backend.refusals[step] = IsolatorError(FailureCode.KERNEL_REFUSED, step, "no")
    agent = host.agent()
    assert refused(lambda: agent.isolate(IsolationOrder())).code is FailureCode.KERNEL_REFUSED
    assert agent.state is HostState.CONNECTED
    assert host.backend.observe() is None
    assert host.queue.number is None
    agent.recover()
    assert host.backend.observe() is None


def test_a_roll_back_that_fails_says_that_the_host_stays_isolated(host: Host) -> None:
    agent = host.agent()
    host.config = AgentConfig(control_channel=(ControlEndpoint(8443, host=CONTROL),))
    host.backend.refusals["remove"] = IsolatorError(FailureCode.KERNEL_REFUSED, "remove", "no")
    error = refused(lambda: agent.isolate(IsolationOrder()))
    assert "stays isolated" in error.sentence
    assert agent.state is HostState.ISOLATED
    del host.backend.refusals["remove"]
    agent.tick()
    assert is_isolated(host, agent)
    agent.release(ReleaseOrder())
    assert host.backend.observe() is None


def test_a_full_disk_refuses_the_order_before_the_kernel_is_touched(host: Host) -> None:
    host.store.disk_full = True
    agent = host.agent()
    assert refused(lambda: agent.isolate(IsolationOrder())).code is FailureCode.STATE_UNWRITABLE
    assert host.backend.observe() is None
    host.store.disk_full = False
    assert agent.isolate(IsolationOrder()).state is HostState.ISOLATED


def test_a_full_disk_does_not_release(host: Host) -> None:
    agent = host.agent()
    agent.isolate(IsolationOrder())
    host.store.disk_full = True
    assert refused(lambda: agent.release(ReleaseOrder())).code is FailureCode.STATE_UNWRITABLE
    assert is_isolated(host, agent)
    host.store.disk_full = False
    agent.release(ReleaseOrder())
    assert host.backend.observe() is None


def test_a_full_disk_keeps_the_isolation_before_an_update(host: Host) -> None:
    agent = host.agent()
    agent.isolate(IsolationOrder())
    host.store.disk_full = True
    assert (
        refused(lambda: agent.isolate(IsolationOrder(lists=("standard",)))).code
        is FailureCode.STATE_UNWRITABLE
    )
    host.store.disk_full = False
    agent.tick()
    assert is_isolated(host, agent)
    assert [each["id"] for each in report.status(agent)["lists"]] == ["mde-streamlined-commercial"]


def test_an_update_the_kernel_refuses_leaves_the_isolation_before(host: Host) -> None:
    agent = host.agent()
    agent.isolate(IsolationOrder())
    host.backend.refusals["update"] = IsolatorError(FailureCode.KERNEL_REFUSED, "update", "no")
    refused(lambda: agent.isolate(IsolationOrder(lists=("standard",))))
    assert is_isolated(host, agent)
    assert [each["id"] for each in report.status(agent)["lists"]] == ["mde-streamlined-commercial"]
    restarted = host.agent()
    restarted.recover()
    assert [each["id"] for each in report.status(restarted)["lists"]] == ["mde-streamlined-commercial"]


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("permission", FailureCode.NO_PERMISSION),
        ("queue", FailureCode.NO_QUEUE),
        ("nftables", FailureCode.NO_NFTABLES),
        ("fib", FailureCode.NO_NFTABLES),
    ],
)
def test_what_the_host_cannot_do_is_refused_at_once(host: Host, missing: str, code: FailureCode) -> None:
    host.backend.missing = frozenset({missing})
    error = refused(lambda: host.agent().isolate(IsolationOrder()))
    assert (error.code, error.exit_code) == (code, 4)
    assert host.backend.applied == []


def test_bad_orders_touch_nothing(host: Host) -> None:
    agent = host.agent()
    for order, code in (
        (IsolationOrder(lists=("/nowhere/list.yaml",)), FailureCode.BAD_LIST),
        (IsolationOrder(geo=("XX",)), FailureCode.BAD_LIST),
    ):
        assert refused(lambda order=order: agent.isolate(order)).code is code
    host.inspector.found = HostFacts((), FACTS.own_addresses, ())
    assert refused(lambda: agent.isolate(IsolationOrder())).code is FailureCode.NO_RESOLVER
    assert host.backend.applied == []
    assert host.store.saved == []


class TestControlChannel:
    """P8."""

    @pytest.fixture
    def host(self) -> Host:
        config = AgentConfig(control_channel=(ControlEndpoint(8443, host=CONTROL),))
        return Host(config=config, probe=FakeProbe([CONTROL_DOOR]))

    def test_it_stays_open_and_is_tried(self, host: Host) -> None:
        agent = host.agent()
        agent.isolate(IsolationOrder())
        assert host.probe.tried == [CONTROL_DOOR]
        assert report.status(agent)["control_channel"] == {"ok": True, "endpoints": ["control.example:8443"]}

    def test_a_name_without_an_address_refuses_the_order(self, host: Host) -> None:
        host.zone = {CRL: ZONE[CRL]}  # type: ignore[dict-item]
        error = refused(lambda: host.agent().isolate(IsolationOrder()))
        assert (error.code, error.exit_code) == (FailureCode.CONTROL_CHANNEL_CUT, 2)
        assert host.backend.applied == []

    def test_silence_rolls_back(self, host: Host) -> None:
        host.probe.listening.clear()
        agent = host.agent()
        error = refused(lambda: agent.isolate(IsolationOrder()))
        assert (error.code, error.exit_code) == (FailureCode.CONTROL_CHANNEL_SILENT, 1)
        assert host.backend.observe() is None
        assert agent.state is HostState.CONNECTED
        assert host.told == [EventKind.ISOLATION_FAILED]

    def test_silence_stays_when_ordered_so(self, host: Host) -> None:
        host.probe.listening.clear()
        agent = host.agent()
        agent.isolate(IsolationOrder(on_silence=OnSilence.STAY))
        assert is_isolated(host, agent)
        assert report.status(agent)["control_channel"]["ok"] is False

    def test_silence_after_an_update_restores_the_isolation_before(self, host: Host) -> None:
        agent = host.agent()
        agent.isolate(IsolationOrder())
        host.probe.listening.clear()
        refused(lambda: agent.isolate(IsolationOrder(lists=("standard",))))
        assert is_isolated(host, agent)
        assert agent.isolation is not None
        assert agent.isolation.order.lists == ("streamlined",)


class TestRecovery:
    """P5: whatever an agent finds on start, the host ends as last ordered."""

    def test_isolated_goes_on(self, host: Host) -> None:
        host.agent().isolate(IsolationOrder())
        applied = len(host.backend.applied)
        agent = host.agent()
        agent.recover()
        assert agent.state is HostState.ISOLATED
        assert len(host.backend.applied) == applied
        assert host.queue.number == 9
        assert Destination(CRL_ADDRESS, Transport.TCP, 80) in host.learned()

    def test_isolated_after_a_reboot_comes_back(self, host: Host) -> None:
        host.agent().isolate(IsolationOrder())
        host.backend.table = None
        host.clock.reboot()
        agent = host.agent()
        agent.recover()
        assert is_isolated(host, agent)

    def test_isolated_with_a_damaged_table_is_repaired(self, host: Host) -> None:
        host.agent().isolate(IsolationOrder())
        assert host.backend.table is not None
        del host.backend.table.chains["filter_output"]
        agent = host.agent()
        agent.recover()
        assert is_isolated(host, agent)

    @pytest.mark.parametrize("purpose", ["prepare", "arm"])
    def test_a_crash_while_isolating_ends_isolated(self, host: Host, purpose: str) -> None:
        crash = RuntimeError("killed")
        host.backend.refusals[purpose] = crash  # type: ignore[assignment]
        with pytest.raises(RuntimeError):
            host.agent().isolate(IsolationOrder())
        host.backend.refusals.clear()
        agent = host.agent()
        agent.recover()
        assert agent.state is HostState.ISOLATED
        assert is_isolated(host, agent)

    def test_a_crash_while_isolating_is_made_up_for(self, host: Host) -> None:
        """The person is told by the agent that finishes the order, once."""
        host.backend.refusals["arm"] = RuntimeError("killed")  # type: ignore[assignment]
        with pytest.raises(RuntimeError):
            host.agent().isolate(IsolationOrder())
        host.backend.refusals.clear()
        host.agent().recover()
        host.agent().recover()
        assert host.told == [EventKind.ISOLATED]

    def test_what_a_crashed_isolation_left_open_is_ended_and_the_control_channel_goes_on(
        self, host: Host
    ) -> None:
        host.config = AgentConfig(control_channel=(ControlEndpoint(CONTROL_DOOR.port, host=CONTROL),))
        host.probe.listening.add(CONTROL_DOOR)
        to_control = replace(TO_CRL, destination=CONTROL_DOOR.address, destination_port=CONTROL_DOOR.port)
        host.flows.flows.append(to_control)
        host.flows.fail = True
        with pytest.raises(RuntimeError):
            host.agent().isolate(IsolationOrder())
        host.flows.fail = False
        agent = host.agent()
        agent.recover()
        assert agent.state is HostState.ISOLATED
        assert host.flows.flows == [TO_NETWORK, to_control]
        # An isolation that was finished has nothing older: who turns up now was opened between the agents.
        unread = replace(to_control, source_port=50_001)
        host.flows.flows.append(unread)
        again = host.agent()
        spared: list[FlowKey] = []
        again.gate.spare = spared.extend  # type: ignore[method-assign]
        again.recover()
        assert spared == []

    def test_after_a_crash_connections_to_what_is_excluded_by_name_go_on(self, host: Host) -> None:
        door = Destination(ip_address("20.60.0.9"), Transport.TCP, 22)
        host.config = AgentConfig(
            exclusions=(Exclusion("shell", Direction.OUT, Transport.TCP, 22, pattern=CONTROL),)
        )
        host.agent().isolate(IsolationOrder(scope=IsolationScope.SELECTIVE))
        host.flows.flows.append(replace(TO_CRL, destination=door.address, destination_port=door.port))
        agent = host.agent()
        spared: list[FlowKey] = []
        agent.gate.spare = spared.extend  # type: ignore[method-assign]
        agent.recover()
        assert spared == [FlowKey(TO_CRL.source, 50_000, door.address, door.port)]

    def test_a_crash_before_the_control_channel_was_tried_rolls_back_when_it_is_silent(
        self, host: Host
    ) -> None:
        host.config = AgentConfig(
            control_channel=(ControlEndpoint(CONTROL_DOOR.port, address=CONTROL_DOOR.address),)
        )
        host.backend.refusals["arm"] = RuntimeError("killed")  # type: ignore[assignment]
        for order, state in (
            (IsolationOrder(), HostState.CONNECTED),
            (IsolationOrder(on_silence=OnSilence.STAY), HostState.ISOLATED),
        ):
            with pytest.raises(RuntimeError):
                host.agent().isolate(order)
            refusals, host.backend.refusals = host.backend.refusals, {}
            agent = host.agent()
            agent.recover()
            host.backend.refusals = refusals
            assert agent.state is state
            assert (host.backend.observe() is not None) is (state is HostState.ISOLATED)
            restarted = host.agent()
            restarted.recover()
            assert restarted.state is state
        assert host.told == [EventKind.ISOLATION_FAILED, EventKind.ISOLATED]

    @pytest.mark.parametrize("purpose", ["open_up", "remove"])
    def test_a_crash_while_releasing_ends_released(self, host: Host, purpose: str) -> None:
        agent = host.agent()
        agent.isolate(IsolationOrder())
        host.backend.refusals[purpose] = RuntimeError("killed")  # type: ignore[assignment]
        with pytest.raises(RuntimeError):
            agent.release(ReleaseOrder())
        host.backend.refusals.clear()
        agent = host.agent()
        agent.recover()
        assert agent.state is HostState.CONNECTED
        assert host.backend.observe() is None

    def test_a_crash_while_updating_ends_with_the_new_order(self, host: Host) -> None:
        agent = host.agent()
        agent.isolate(IsolationOrder())
        host.backend.refusals["update"] = RuntimeError("killed")  # type: ignore[assignment]
        with pytest.raises(RuntimeError):
            agent.isolate(IsolationOrder(lists=("standard",)))
        host.backend.refusals.clear()
        agent = host.agent()
        agent.recover()
        assert is_isolated(host, agent)
        assert agent.isolation is not None
        assert agent.isolation.order.lists == ("standard",)

    def test_a_remnant_without_hooks_is_removed(self, host: Host) -> None:
        agent = host.agent()
        agent.isolate(IsolationOrder())
        assert agent.ruleset is not None
        ruleset = agent.ruleset
        agent.release(ReleaseOrder())
        host.backend.apply(plan.prepare(ruleset, {}))
        host.agent().recover()
        assert host.backend.observe() is None

    def test_whoever_removes_the_journal_is_not_let_out(self, host: Host) -> None:
        host.agent().isolate(IsolationOrder())
        host.store.clear()
        agent = host.agent()
        agent.recover()
        assert agent.state is HostState.ISOLATED
        assert host.backend.observe() is not None
        agent.tick()
        agent.isolate(IsolationOrder())
        assert is_isolated(host, agent)
        agent.release(ReleaseOrder())
        assert host.backend.observe() is None

    def test_a_host_without_a_journal_can_be_released(self, host: Host) -> None:
        host.agent().isolate(IsolationOrder())
        host.store.clear()
        agent = host.agent()
        agent.recover()
        agent.release(ReleaseOrder())
        assert host.backend.observe() is None

    def test_a_damaged_journal_lets_nobody_out_and_locks_nobody_in(self, host: Host) -> None:
        host.agent().isolate(IsolationOrder())
        host.store.text = '{"schema": 1, "state": "isolated", "generation": 1, "isolation": null}'
        agent = host.agent()
        agent.recover()
        assert agent.state is HostState.ISOLATED
        agent.tick()
        assert host.backend.observe() is not None
        agent.isolate(IsolationOrder())
        assert is_isolated(host, agent)
        agent.release(ReleaseOrder())
        assert host.backend.observe() is None

    def test_a_damaged_journal_of_a_free_host_does_not_stop_its_isolation(self, host: Host) -> None:
        host.store.text = "{"
        agent = host.agent()
        agent.recover()
        agent.isolate(IsolationOrder())
        assert is_isolated(host, agent)


class TestTime:
    """`--for` counts on the boot clock."""

    def test_the_end_comes_by_itself_and_is_told(self, host: Host) -> None:
        agent = host.agent()
        agent.isolate(IsolationOrder(duration_s=3600))
        host.clock.advance(3599)
        agent.tick()
        assert agent.state is HostState.ISOLATED
        host.clock.advance(2)
        agent.tick()
        assert agent.state is HostState.CONNECTED
        assert host.told == [EventKind.ISOLATED, EventKind.EXPIRED]

    def test_a_jump_of_the_wall_clock_releases_nobody(self, host: Host) -> None:
        agent = host.agent()
        agent.isolate(IsolationOrder(duration_s=3600))
        host.clock.set_wall(datetime(2030, 1, 1, tzinfo=UTC))
        agent.tick()
        assert agent.state is HostState.ISOLATED

    def test_the_remainder_survives_a_reboot(self, host: Host) -> None:
        agent = host.agent()
        agent.isolate(IsolationOrder(duration_s=3600))
        host.clock.advance(3000)
        agent.tick()
        host.clock.reboot()
        host.backend.table = None
        agent = host.agent()
        agent.recover()
        host.clock.advance(590)
        agent.tick()
        assert agent.state is HostState.ISOLATED
        host.clock.advance(20)
        agent.tick()
        assert agent.state is HostState.CONNECTED

    def test_the_person_is_told_when_it_ends(self, host: Host) -> None:
        host.agent().isolate(IsolationOrder(comment="INC-1", duration_s=3600))
        [event] = host.notifier.told
        begun = datetime.fromisoformat(event.at)
        assert event.expires_at is not None
        assert datetime.fromisoformat(event.expires_at) - begun == timedelta(hours=1)
        assert (event.reason, event.scope) == ("INC-1", "full")

    def test_an_order_without_an_end_lasts(self, host: Host) -> None:
        agent = host.agent()
        agent.isolate(IsolationOrder())
        host.clock.advance(400 * 86_400)
        agent.tick()
        assert agent.state is HostState.ISOLATED


def test_rules_that_were_away_end_every_approval_before_they_are_back(host: Host) -> None:
    """Whatever passed in between may have the ends of an approved connection."""
    host.config = AgentConfig(control_channel=(ControlEndpoint(CONTROL_DOOR.port, host=CONTROL),))
    host.probe.listening.add(CONTROL_DOOR)
    agent = host.agent()
    agent.isolate(IsolationOrder())
    to_control = replace(TO_CRL, destination=CONTROL_DOOR.address, destination_port=CONTROL_DOOR.port)
    host.flows.flows += [TO_CRL, to_control]
    seen: list[object] = []
    agent.enforcement.on_gap = lambda: seen.append(host.backend.table)
    agent.gate.spare = lambda flows: seen.append(tuple(flows))  # type: ignore[method-assign]
    host.backend.table = None
    agent.tick()
    spared = FlowKey(TO_CRL.source, 50_000, CONTROL_DOOR.address, CONTROL_DOOR.port)
    assert seen == [None, (spared,)]
    assert host.flows.flows == [TO_NETWORK, to_control]
    assert agent.enforcement.spared == []


def test_a_tick_repairs_what_somebody_changed(host: Host) -> None:
    agent = host.agent()
    agent.isolate(IsolationOrder())
    host.backend.table = None
    agent.tick()
    assert is_isolated(host, agent)
    assert report.status(agent)["enforcement"]["repairs"] == 1
    assert Destination(CRL_ADDRESS, Transport.TCP, 80) in host.learned()


def test_a_failed_release_is_told_as_one(host: Host) -> None:
    agent = host.agent()
    agent.isolate(IsolationOrder(IsolationScope.SELECTIVE, comment="INC-1"))
    host.backend.refusals["open_up"] = IsolatorError(FailureCode.KERNEL_REFUSED, "open_up", "no")
    refused(lambda: agent.release(ReleaseOrder("over")))
    event = host.notifier.told[-1]
    assert (event.kind, event.failure, event.scope) == (EventKind.RELEASE_FAILED, "no", "selective")
    assert is_isolated(host, agent)


def test_a_dry_run_shows_what_stays_open_and_changes_nothing(host: Host) -> None:
    shown = host.agent().preview(IsolationOrder(scope=IsolationScope.SELECTIVE))
    assert shown["dry_run"] is True
    assert {"*.endpoint.security.microsoft.com", "crl.microsoft.com"} <= {
        each["pattern"]
        for each in shown["open_names"]  # type: ignore[attr-defined]
    }
    assert host.backend.applied == []
    assert host.store.saved == []


def test_names_are_kept_warm_while_connected(host: Host) -> None:
    agent = host.agent()
    agent.tick()
    assert agent.names.get([CRL], FACTS.resolvers)[CRL] == tuple(ZONE[CRL])
    host.inspector.found = HostFacts((), FACTS.own_addresses, ())
    host.clock.advance(1000)
    agent.tick()  # no resolver now: logged, not raised
    assert agent.state is HostState.CONNECTED


class TestLearnedFor:
    """What addresses were learned for outlives the agent, as far as the policy of the journal has it."""

    WILD = Destination(ip_address("20.60.7.7"), Transport.TCP, 443)

    def entries(self, agent: Controller, door: Destination) -> set[str]:
        """List and host of the entries for which the agent took over a door."""
        assert agent.isolation is not None
        by_id = {entry.id: entry for entry in agent.isolation.policy.entries}
        held = agent.enforcement.inherited.purposes(door, agent.outside.clock.boottime())
        return {f"{by_id[each].list_id} {by_id[each].host}" for each in held}

    def isolated(self, host: Host) -> Controller:
        """An agent that has learned an address for a name under a wildcard."""
        agent = host.agent()
        agent.isolate(IsolationOrder(lists=("standard",)))
        now = host.clock.boottime()
        agent.gate.preload({"x.wdcp.microsoft.com": [(self.WILD.address, 3_000)]}, now)
        agent.gate.restate()
        return agent

    def restarted(self, host: Host) -> Controller:
        agent = host.agent()
        agent.recover()
        assert agent.state is HostState.ISOLATED
        return agent

    def test_it_is_known_after_a_restart_and_after_another(self, host: Host) -> None:
        self.isolated(host)
        for _ in range(2):
            agent = self.restarted(host)
            assert self.entries(agent, self.WILD) == {"mde-standard-commercial *.wdcp.microsoft.com"}
            crl = Destination(CRL_ADDRESS, Transport.TCP, 80)
            assert self.entries(agent, crl) == {"mde-standard-commercial crl.microsoft.com"}
            assert {self.WILD, crl} <= host.learned()

    @pytest.mark.parametrize("key", [None, "", "ff" * 16])
    def test_without_the_key_wildcards_are_shut_and_the_agent_goes_on(
        self, host: Host, key: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        """So it is with the journal of an agent that had none. Names that are spelled out are asked for."""
        self.isolated(host)
        document = json.loads(host.store.text or "")
        document["isolation"]["key"] = key
        host.store.text = json.dumps(document)
        agent = self.restarted(host)
        assert agent.enforcement.inherited.doors == {}
        assert self.WILD not in host.learned()
        assert Destination(CRL_ADDRESS, Transport.TCP, 80) in host.learned()
        assert [each.levelname for each in caplog.records] == ["WARNING"]
        again = self.restarted(host)
        assert self.entries(again, Destination(CRL_ADDRESS, Transport.TCP, 80))

    def test_an_agent_that_died_between_the_journal_and_the_kernel(self, host: Host) -> None:
        agent = self.isolated(host)
        host.backend.refusals["update"] = RuntimeError("killed")  # type: ignore[assignment]
        with pytest.raises(RuntimeError):
            agent.isolate(IsolationOrder(lists=("streamlined",)))
        host.backend.refusals.clear()
        assert self.WILD in host.learned()
        again = self.restarted(host)
        crl = Destination(CRL_ADDRESS, Transport.TCP, 80)
        assert set(again.enforcement.inherited.doors) == {crl}
        assert self.entries(again, crl) == {"mde-streamlined-commercial crl.microsoft.com"}, "in both lists"
        assert self.WILD not in host.learned()

    def test_an_update_makes_the_kernel_forget_entries_that_have_gone(self, host: Host) -> None:
        """Also when they come again later: the address was not learned for them since."""
        agent = self.isolated(host)
        both = "x.endpoint.security.microsoft.com"
        agent.gate.preload({both: [(self.WILD.address, 3_000)]}, host.clock.boottime())
        agent.gate.restate()
        for lists in (("streamlined",), ("standard",)):
            agent.isolate(IsolationOrder(lists=lists))
        again = self.restarted(host)
        assert self.entries(again, self.WILD) == {"mde-standard-commercial *.endpoint.security.microsoft.com"}

    @pytest.mark.parametrize("purpose", ["update", "learn"])
    def test_after_a_failed_update_it_is_as_before(self, host: Host, purpose: str) -> None:
        agent = self.isolated(host)
        before = {name: host.backend.elements(SETS[name]) for name in LEARNED.values()}
        host.backend.fails_once(purpose)
        refused(lambda: agent.isolate(IsolationOrder(lists=("streamlined",))))
        assert is_isolated(host, agent)
        again = self.restarted(host)
        assert self.entries(again, Destination(CRL_ADDRESS, Transport.TCP, 80)) == {
            "mde-standard-commercial crl.microsoft.com"
        }
        if purpose == "update":
            assert {name: host.backend.elements(SETS[name]) for name in before} == before
            assert self.entries(again, self.WILD)

    def test_an_isolation_s_key_stays_over_updates_and_is_another_for_the_next(self, host: Host) -> None:
        agent, seen = host.agent(), []
        for order in (IsolationOrder(), IsolationOrder(lists=("standard",)), None, IsolationOrder()):
            if order is None:
                agent.release(ReleaseOrder(""))
                continue
            agent.isolate(order)
            assert agent.isolation is not None
            seen.append(agent.isolation.key)
        first, same, other = seen
        assert first == same != other
        assert len(other) == 16
