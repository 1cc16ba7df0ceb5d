"""One table of packets, three judges: the walk on values, the kernel's counters, and a sniffer outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from isolator.adapters.nfqueue import NfqueueQueue
from isolator.core.compiler import QUEUE_CHAINS, compile_policy
from isolator.core.trace import trace
from isolator.model.flow import Hook
from isolator.model.ruleset import ElementKey, Ruleset
from isolator.model.verdict import Reason, Verdict
from isolator.ports import QueueAnswer, QueuedPacket
from tests.netns.packet_bench import PacketBench, Seen, inside
from tests.netns.packet_table import ROWS, Row
from tests.netns.packet_world import POLICY, learned

QUEUE_NUMBER = 4711
RULESET = compile_policy(POLICY, QUEUE_NUMBER)
EVERY_ROW = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
JUDGED = tuple(row for row in ROWS if row.gate is not None)
UNJUDGED = tuple(row for row in ROWS if row.gate is None)


@pytest.fixture(scope="module")
def unruled() -> Iterator[Mapping[str, Seen]]:
    """The rows without any rules: shows that each is really sent and would arrive."""
    with PacketBench() as bench:
        yield bench.send(ROWS)


@pytest.fixture(scope="module")
def ruled() -> Iterator[Mapping[str, Seen]]:
    """The rows under the compiled rules, those for the gate with a gate that says what the row says."""
    with PacketBench() as bench:
        bench.isolate(RULESET, feed_queue=True)
        seen: dict[str, Seen] = {}
        queue, flows = NfqueueQueue(), NfqueueQueue()
        for verdict in (Verdict.ACCEPT, Verdict.DROP):
            with inside(bench.device):
                queue.open(QUEUE_NUMBER, _says(verdict))
                flows.open(QUEUE_NUMBER + 1, _says(verdict))
            seen |= bench.send(tuple(row for row in JUDGED if row.gate is verdict))
            queue.close()
            flows.close()
    with PacketBench() as bench:
        bench.isolate(RULESET, feed_queue=False)
        yield seen | bench.send(UNJUDGED)


def _says(verdict: Verdict) -> Callable[[QueuedPacket], QueueAnswer]:
    def judge(_packet: QueuedPacket) -> QueueAnswer:
        return QueueAnswer(verdict)

    return judge


def test_no_two_rows_have_one_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


@EVERY_ROW
def test_walk(row: Row) -> None:
    walk = trace(_rules(row), row.walked, _held(), gate=row.gate)
    assert (walk.verdict, walk.reason) == (row.verdict, row.reason)


@pytest.mark.netns
@EVERY_ROW
def test_the_packet_arrives_when_there_are_no_rules(row: Row, unruled: Mapping[str, Seen]) -> None:
    assert unruled[row.name] == Seen(passed=True, moved={}, on_wire=_leaves(row))


@pytest.mark.netns
@EVERY_ROW
def test_kernel(row: Row, ruled: Mapping[str, Seen]) -> None:
    seen = ruled[row.name]
    accepted = row.verdict is Verdict.ACCEPT
    # The refusal that a local sender is told travels over the loopback interface.
    told = {Reason.LOOPBACK.value} if row.verdict is Verdict.REJECT else set()
    assert {name: n for name, n in seen.moved.items() if name not in told} == (
        {row.reason.value: row.moves} if row.moves else {}
    )
    assert seen.passed is accepted
    assert seen.on_wire is (accepted and _leaves(row))


def _leaves(row: Row) -> bool:
    return row.packet.hook is not Hook.INPUT and not row.packet.loopback


def _rules(row: Row) -> Ruleset:
    """The ruleset; without its feeding rule when nobody is to judge."""
    if row.gate is not None:
        return RULESET
    unfed = tuple(replace(each, rules=()) if each.name in QUEUE_CHAINS else each for each in RULESET.chains)
    return replace(RULESET, chains=unfed)


def _held() -> dict[str, frozenset[ElementKey]]:
    return {name: frozenset(each.key for each in elements) for name, elements in learned().items()}
