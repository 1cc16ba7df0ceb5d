"""Failed rows as rules to open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectivity_check.failure import Failure
from connectivity_check.model import Blocker, BlockerKind, Outcome, ProxyServer, Route, Row, Step
from connectivity_check.render.formats import Format, render_report
from connectivity_check.render.rules import Request, by_blocker, requests_of, rules_of, without_rule
from tests.golden.preflight_reports import (
    FIREWALL,
    RESOLVER,
    company,
    finding,
    many,
    report_of,
    stopped,
    target,
)

DIRECT = Route()
PROXIED = Route(ProxyServer("proxy.example", 3128))


def blocked(
    failure: Failure, *, blocker: Blocker = FIREWALL, route: Route = DIRECT, host: str = "a.example"
) -> Row:
    where = target(1, host, route=route)
    return Row(where, Outcome.BLOCKED, (), finding(failure, Step.CONNECT, blocker, "hint", "reason"))


@pytest.mark.parametrize(
    ("row", "place", "source", "request_kind"),
    [
        (blocked(Failure.TCP_DROPPED), "a.example:443 TCP", "", Request.OPEN),
        (blocked(Failure.TCP_DROPPED, host="2001:db8::1"), "[2001:db8::1]:443 TCP", "", Request.OPEN),
        (blocked(Failure.DNS_NXDOMAIN, blocker=RESOLVER), "a.example DNS", "", Request.RESOLVE),
        (blocked(Failure.DNS_TIMEOUT, blocker=RESOLVER), "192.0.2.53:53 UDP+TCP", "", Request.RESOLVE),
        (blocked(Failure.PROXY_UNREACHABLE, route=PROXIED), "proxy.example:3128 TCP", "", Request.OPEN),
        (
            blocked(Failure.PROXY_UPSTREAM_TIMEOUT, route=PROXIED),
            "a.example:443 TCP",
            "proxy.example",
            Request.OPEN,
        ),
        (blocked(Failure.PROXY_AUTH, route=PROXIED), "a.example:443 TCP", "", Request.PROXY_AUTH_EXEMPT),
        (blocked(Failure.TLS_INTERCEPT_TRUSTED), "a.example:443 TCP", "", Request.NO_INSPECTION),
        (blocked(Failure.META_UNEXPLAINED, blocker=Blocker()), "a.example:443 TCP", "", Request.FIND_OUT),
    ],
)
def test_one_rule(row: Row, place: str, source: str, request_kind: Request) -> None:
    (rule,) = rules_of(report_of(row))
    assert (rule.place, rule.source, rule.request) == (place, source, request_kind)


@pytest.mark.parametrize(
    "failure",
    [Failure.HTTP_STATUS, Failure.META_SERVICE_DOWN, Failure.META_INTERRUPTED, Failure.TCP_REFUSED_HOST],
)
def test_no_rule_helps(failure: Failure) -> None:
    assert rules_of(report_of(blocked(failure))) == ()


def test_what_no_rule_helps_is_said_apart() -> None:
    row = blocked(Failure.TCP_REFUSED_HOST)
    report = report_of(row, blocked(Failure.TCP_DROPPED))
    assert without_rule(report) == ((row, row.finding),)
    assert without_rule(stopped()) == ()
    for kind in (Format.TABLE, Format.MARKDOWN, Format.HTML):
        text = render_report(report, kind).decode()
        assert "No rule of the network helps here" in text
        assert "Server refuses" in text
        assert "No rule of the network" not in render_report(company(), kind).decode()


def test_reachable_and_unfinished_rows_ask_for_nothing() -> None:
    assert rules_of(stopped()) == ()
    reachable = replace(blocked(Failure.TCP_DROPPED), outcome=Outcome.REACHABLE)
    assert rules_of(report_of(reachable)) == ()


def test_hosts_of_one_wildcard_are_one_rule() -> None:
    wildcard = next(rule for rule in rules_of(company()) if rule.destination == "*.wd.example.com")
    assert len(wildcard.rows) == 2


def test_a_path_inside_tls_is_not_part_of_the_rule() -> None:
    row = Row(
        target(1, "x.blob.example", "x.blob.example/container/*"),
        Outcome.BLOCKED,
        (),
        finding(Failure.TCP_DROPPED, Step.CONNECT, FIREWALL, ""),
    )
    assert rules_of(report_of(row))[0].destination == "x.blob.example"


def test_a_second_wall_is_asked_for_too() -> None:
    row = next(row for row in company().rows if row.others)
    assert requests_of(row) == (Request.PROXY_ALLOW, Request.NO_INSPECTION)


def test_groups_hold_every_rule_once_and_required_ones_come_first() -> None:
    rules = rules_of(company())
    groups = by_blocker(rules)
    assert sum(len(group.rules) for group in groups) == len(rules)
    assert len({group.blocked_by for group in groups}) == len(groups)
    assert [rule.required for rule in rules] == sorted((rule.required for rule in rules), reverse=True)
    assert groups[0].blocked_by == FIREWALL
    assert groups[0].rows == 3


def test_equal_rows_of_500_are_few_rules() -> None:
    assert len(rules_of(many(500))) == len(rules_of(company()))


def test_unknown_blockers_of_one_kind_stand_together() -> None:
    rows = [
        blocked(Failure.TCP_DROPPED, blocker=Blocker(BlockerKind.FIREWALL), host=f"{n}.example")
        for n in range(3)
    ]
    (group,) = by_blocker(rules_of(report_of(*rows)))
    assert len(group.rules) == group.rows == 3
