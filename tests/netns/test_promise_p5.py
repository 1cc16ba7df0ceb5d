"""P5, durable: an agent killed at any step of isolate, update or release leaves a whole, never a half.

Killed before and after everything it does to the world outside, and at moments in between; then started
anew. The kernel must hold exactly one of the two rulesets or nothing of ours, as the journal said that the dead
agent left, and the wire must show one change at most, with no datagram to a listed destination lost.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from isolator.model.failure import IsolatorError
from isolator.model.order import HostState
from isolator.service import journal
from tests.e2e import orders
from tests.e2e.forge import Forge
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab, world
from tests.lab.ports import ECHO
from tests.lab.sender import Sender
from tests.lab.sniffer import Sniffer

pytestmark = pytest.mark.netns

KILLS = 100
ORDERS = ("isolate", "update", "release")
PORT = 40_000
NAMED = "api.vendor.example"
COMMON = (Row("20.90.0.0/24", PORT, "udp"), Row("2603:1099::/64", PORT, "udp"), Row(NAMED, PORT, "udp"))
MIDDLE = 12
"""A point of each order between the journal entry that begins it and the one that ends it."""

TARGETS = (
    (world.UNLISTED_ADDRESS.v4, PORT),
    ("20.90.0.7", PORT),
    (world.UNLISTED_ADDRESS.v6, PORT),
    ("20.91.0.1", PORT),
)
"""Unlisted at even indexes, listed at odd ones."""
_LEARNED = re.compile(r"(set (?:learned|seen|embedded|approved)[46] \{\n[^}]*?)\t\telements = \{[^}]*\}\n")


@dataclass(frozen=True, slots=True)
class Round:
    """One kill: which order it hit, when it began and ended, and what was in force afterwards."""

    kind: str
    where: str
    began_ns: int
    ended_ns: int
    outcome: str
    ordered: str
    """What the journal on the disk asked for when the agent was dead."""


class Host5:
    """The host under test: a forge in a lab, and what its rulesets look like when nothing went wrong."""

    def __init__(self, lab: Lab, forge: Forge) -> None:
        self.lab = lab
        self.forge = forge
        self.lists = {
            name: write_list(lab.directory / f"{name}.yaml", (*COMMON, Row(f"20.9{number}.0.0/16")))
            for number, name in enumerate(("one", "two"), start=5)
        }
        self.whole: dict[str, str] = {}
        for name, path in self.lists.items():
            orders.isolate(forge.agent, path)
            self.whole[name] = self.table()
            orders.release(forge.agent)
        self.whole["nothing"] = ""

    def table(self) -> str:
        """Everything that is in the device's kernel, without counts and learned addresses."""
        listed = self.lab.device.run(["nft", "-s", "list", "ruleset"], check=True).stdout
        return _LEARNED.sub(r"\1", listed)

    def in_force(self) -> str:
        """What the agent says is in force; fails unless the kernel holds precisely that."""
        said = orders.status(self.forge.agent)
        name = said["lists"][0]["id"] if said["state"] == "isolated" else "nothing"
        assert said["state"] in ("connected", "isolated")
        assert said["enforcement"]["verified"] is True
        assert self.table() == self.whole[name]
        return name

    def ordered(self) -> str:
        """What the journal says was ordered last."""
        record = journal.decode(json.loads((self.forge.agent.state_dir / "journal.json").read_text()))
        assert record is not None
        if record.state not in (HostState.ISOLATING, HostState.ISOLATED):
            return "nothing"
        assert record.isolation is not None
        return record.isolation.lists[0].id

    def order(self, kind: str, base: str) -> Callable[[], Mapping[str, Any]]:
        """The order of that kind when ``base`` is in force."""
        if kind == "release":
            return lambda: orders.release(self.forge.agent)
        other = "one" if base == "two" else "two"
        return lambda: orders.isolate(self.forge.agent, self.lists[other])

    def outlives(self, answered: bool) -> bool:
        """Take the fault away: did the agent meet it, perhaps after its answer (notices are late)?"""
        self.forge.live()
        if answered and self.forge.agent.listens() and answers(lambda: orders.status(self.forge.agent)):
            return True
        assert self.forge.wait() == -9
        return False

    def prepare(self, kind: str) -> str:
        """Bring about what the order starts from; gives what is in force."""
        now = self.in_force()
        if kind == "isolate" and now != "nothing":
            orders.release(self.forge.agent)
            return "nothing"
        if kind != "isolate" and now == "nothing":
            orders.isolate(self.forge.agent, self.lists["one"])
            return "one"
        return now


@pytest.fixture(scope="module")
def host() -> Iterator[Host5]:
    with Lab() as lab:
        lab.resolver.put(Host(NAMED, ("20.91.0.1",)))
        with Forge(lab) as forge:
            yield Host5(lab, forge)


def killed_at_points(host: Host5, kind: str) -> Iterator[Round]:
    """The order again and again, the agent dying one point later each time, until it lives through it."""
    for point in itertools.count():
        base = host.prepare(kind)
        order = host.order(kind, base)
        began_ns = time.monotonic_ns()
        host.forge.die_at(point)
        if host.outlives(answers(order)):
            return
        yield started_anew(host, kind, f"point {point}", began_ns)


def killed_in_between(host: Host5, kind: str, count: int) -> Iterator[Round]:
    """The same with a kill so many milliseconds after the order."""
    for number in range(count):
        base = host.prepare(kind)
        order = host.order(kind, base)
        began_ns = time.monotonic_ns()
        killer = threading.Timer(number * 0.004, host.forge.kill)
        killer.start()
        answers(order)
        killer.join()
        host.forge.wait()
        yield started_anew(host, kind, f"{number * 4} ms", began_ns)


def killed_while_recovering(host: Host5, kind: str) -> Iterator[Round]:
    """An agent dies in the middle of the order, and its successor while mending that: at every third point, other ones for each order."""
    for point in itertools.count(ORDERS.index(kind), len(ORDERS)):
        base = host.prepare(kind)
        order = host.order(kind, base)
        began_ns = time.monotonic_ns()
        host.forge.die_at(MIDDLE)
        assert not answers(order)
        assert host.forge.wait() == -9
        host.forge.die_at(point)
        if host.outlives(host.forge.starts()):
            return
        yield started_anew(host, kind, f"recovery {point}", began_ns)


def answers(order: Callable[[], Mapping[str, Any]]) -> bool:
    """Did the agent live to answer?"""
    try:
        order()
    except IsolatorError:
        return False
    return True


def started_anew(host: Host5, kind: str, where: str, began_ns: int) -> Round:
    """Start the agent again; its word, the kernel and the gate must agree."""
    ordered = host.ordered()
    host.forge.start()
    outcome = host.in_force()
    gate = host.lab.reach.dns(world.UNLISTED)
    assert gate.detail == "refused" or (outcome == "nothing" and gate.ok), (kind, where, gate)
    assert host.lab.reach.dns(NAMED).ok, (kind, where)
    return Round(kind, where, began_ns, time.monotonic_ns(), outcome, ordered)


def test_killed_at_every_step(host: Host5) -> None:
    rounds: list[Round] = []
    with (
        host.lab.sender(TARGETS, rate=800, count=1_000_000, seconds=300) as sender,
        host.lab.judge.watch(sender.marker) as sniffer,
    ):
        sender.start()
        for kind in ORDERS:
            rounds += killed_at_points(host, kind)
        by_point = Counter(each.kind for each in rounds)
        for kind in ORDERS:
            rounds += killed_while_recovering(host, kind)
            rounds += killed_in_between(host, kind, 6)
        sent = sender.stop()
        wire = Wire(sender, sniffer)
    assert len(rounds) >= KILLS
    assert min(by_point[kind] for kind in ORDERS) > 10, f"an order without steps: {by_point}"
    assert wire.lost(sent.attempted) == 0
    for each in rounds:
        wire.check(each)
        assert each.outcome == each.ordered, (each.kind, each.where)
    for kind in ORDERS:
        ends = {each.outcome for each in rounds if each.kind == kind}
        assert len(ends) > 1, f"{kind}: always the same end, it was never struck on one side of the journal"


class Wire:
    """What of the sender's datagrams was seen, in order of sending."""

    def __init__(self, sender: Sender, sniffer: Sniffer) -> None:
        report = sniffer.report()
        assert report.dropped == 0
        stamps = sorted((stamp.sent_ns, stamp.destination) for _, stamp in sender.stamps(report))
        self._listed = [sent for sent, destination in stamps if destination % 2]
        self._unlisted = [sent for sent, destination in stamps if destination % 2 == 0]

    def lost(self, attempted: tuple[int, ...]) -> int:
        """Datagrams to listed destinations that were not on the wire."""
        return sum(attempted[1::2]) - len(self._listed)

    def check(self, each: Round) -> None:
        """In the time of one round the unlisted ones passed always, never, or with one change."""
        passed = self._between(self._unlisted, each)
        all_sent = self._between(self._listed, each)
        name = (each.kind, each.where, each.outcome)
        if each.kind == "update" or (each.kind == "release" and each.outcome != "nothing"):
            assert not passed, name
        elif each.kind == "isolate" and each.outcome == "nothing":
            assert abs(len(passed) - len(all_sent)) <= 2, name
        elif passed:
            # As many listed ones were sent while the unlisted ones passed: no gap inside.
            during = bisect_left(all_sent, passed[-1]) - bisect_left(all_sent, passed[0])
            assert abs(len(passed) - during) <= 2, name
            edge = passed[0] - all_sent[0] if each.kind == "isolate" else all_sent[-1] - passed[-1]
            assert edge < 50_000_000, f"{name}: open in the middle"

    def _between(self, times: list[int], each: Round) -> list[int]:
        return times[bisect_left(times, each.began_ns) : bisect_left(times, each.ended_ns)]


WILD = "deep.node7.fleet.vendor.example"


def test_what_an_agent_before_had_learned_stays_open_and_does_not_outlive_its_policy(host: Host5) -> None:
    """Only the dead agent knew which name had opened the address: the next one keeps it, as long as its list."""
    lab, agent = host.lab, host.forge.agent
    lab.resolver.put(Host(WILD, ("20.97.0.1",), ttl=3600))
    fleet = write_list(lab.directory / "fleet.yaml", (*COMMON, Row("*.fleet.vendor.example", ECHO)))
    host.prepare("isolate")
    orders.isolate(agent, fleet)
    assert not lab.reach.connect("20.97.0.1", ECHO).ok
    with lab.reach.session(WILD, ECHO) as session:
        host.forge.kill()
        host.forge.wait()
        assert session.echoes()
        # Nobody hears whom a new one names.
        assert not lab.reach.tcp("20.97.0.1").ok
        host.forge.start()
        assert session.echoes()
        assert lab.reach.tcp("20.97.0.1").ok
        # Damaged rules are put back with what was open.
        lab.device.run(["nft", "flush", "chain", "inet", "isolator", "filter_input"], check=True)
        assert not session.echoes()
        host.forge.kill()
        host.forge.wait()
        host.forge.start()
        assert session.echoes()
        orders.isolate(agent, host.lists["one"])
        assert session.told()
        assert not lab.reach.connect("20.97.0.1", ECHO).ok


def test_whoever_removes_the_journal_is_not_let_out(host: Host5) -> None:
    """Nor can the next order be refused because our own look-ups meet rules that nobody serves."""
    lab, agent = host.lab, host.forge.agent
    host.prepare("update")
    host.forge.kill()
    host.forge.wait()
    (agent.state_dir / "journal.json").unlink()
    host.forge.start()
    assert orders.status(agent)["state"] == "isolated"
    assert not lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok
    orders.isolate(agent, host.lists["two"])
    assert host.in_force() == "two"
    assert [each["address"] for each in orders.status(agent)["learned"]] == ["20.91.0.1"]
    orders.release(agent)
    assert host.in_force() == "nothing"


def test_elements_added_to_a_fixed_set_by_hand_are_removed(host: Host5) -> None:
    lab = host.lab
    base = host.prepare("update")
    hole = "{ 0.0.0.0/1 . tcp . 7 }"
    lab.device.run(["nft", "add", "element", "inet", "isolator", "networks4", hole], check=True)
    assert orders.status(host.forge.agent)["enforcement"]["verified"] is False
    deadline = time.monotonic() + 10
    # The element is gone before the repair is counted.
    while host.table() != host.whole[base] or not orders.status(host.forge.agent)["enforcement"]["repairs"]:
        assert time.monotonic() < deadline, "the watch did not put it right"
