"""What counts as a change against an earlier run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectivity_check.core.baseline import changes
from connectivity_check.failure import Failure
from connectivity_check.model import Blocker, Finding, Outcome, Report, Row, RowChange, Step, Target
from tests.golden.preflight_reports import many, report_of


def row(name: str, outcome: Outcome = Outcome.REACHABLE, failure: Failure | None = None, n: int = 1) -> Row:
    finding = Finding(failure, Step.CONNECT, ()) if failure else None
    return Row(Target(n, name, name), outcome, (), finding)


def blocked(name: str, failure: Failure = Failure.TCP_DROPPED, n: int = 1) -> Row:
    return row(name, Outcome.BLOCKED, failure, n)


def reports(*rows: Row) -> Report:
    return report_of(*rows)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [], []),
        ([row("a")], [row("a")], []),
        ([row("A.example")], [row("a.EXAMPLE")], []),
        ([blocked("a")], [row("a")], [("a", "blocked", "reachable", "tcp.dropped", "")]),
        (
            [blocked("a")],
            [blocked("a", Failure.TCP_ICMP_ADMIN)],
            [("a", "blocked", "blocked", "tcp.dropped", "tcp.icmp_admin")],
        ),
        ([], [row("a")], [("a", "", "reachable", "", "")]),
        ([row("a")], [], [("a", "reachable", "", "", "")]),
        ([row("a"), row("b")], [row("b"), row("a")], []),
        # The same key twice: first with first, second with second.
        ([row("a"), blocked("a")], [row("a"), row("a")], [("a", "blocked", "reachable", "tcp.dropped", "")]),
        ([row("a"), row("a")], [row("a")], [("a", "reachable", "", "", "")]),
        # Another number in a newer list is no change.
        ([row("a", n=4)], [row("a", n=5)], []),
    ],
)
def test_changes(before: list[Row], after: list[Row], expected: list[tuple[str, ...]]) -> None:
    found = changes(reports(*before), reports(*after))
    assert [(c.pattern, c.before, c.after, c.before_failure, c.after_failure) for c in found] == expected


def test_ports_and_hosts_of_a_wildcard_are_apart() -> None:
    one = Row(Target(1, "*.x.example", "a.x.example"), Outcome.REACHABLE)
    other_host = replace(one, target=replace(one.target, host="b.x.example"))
    other_port = replace(one, target=replace(one.target, port=80))
    found = changes(reports(one, other_host), reports(one, other_port))
    assert found == (
        RowChange(1, "*.x.example", "a.x.example", 80, "", "reachable"),
        RowChange(1, "*.x.example", "b.x.example", 443, "reachable", ""),
    )


def test_a_wildcard_without_a_host() -> None:
    one = Row(Target(1, "*.x.example", None), Outcome.NOT_PROBEABLE)
    assert changes(reports(one), reports(one)) == ()


def test_another_blocker_is_no_change() -> None:
    before = blocked("a")
    assert before.finding
    after = replace(
        before, finding=replace(before.finding, blocked_by=Blocker(address="192.0.2.9"), hint="other")
    )
    assert changes(reports(before), reports(after)) == ()


def test_a_run_against_itself() -> None:
    assert changes(many(500), many(500)) == ()
