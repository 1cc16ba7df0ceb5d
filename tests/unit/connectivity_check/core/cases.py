"""Recorded rows in few words: what each step saw, and how the judge's verdict is held against a table.

A row is written as the observations of its chain and its controls. `examples` turns a table into parameters
of one test, and `check` judges a row as a run would: with the rows beside it and the controls of the run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from connectivity_check.core.analyze import judge
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    BlockerKind,
    Confidence,
    Expectation,
    Finding,
    Kind,
    Observation,
    Outcome,
    ProxyServer,
    Recording,
    Report,
    Role,
    Route,
    Row,
    Scope,
    Step,
    Target,
)

HOST = "api.vendor.example"
ADDRESS = "20.0.0.1"
"""A global address: documentation addresses are judged as no server at all."""
OTHER_HOST, OTHER_ADDRESS = "www.other.test", "20.0.9.9"
RESOLVER = "10.0.0.53"
PROXY = ProxyServer("proxy.corp.example", 3128)
VIA = PROXY.url
VENDOR_ROOT = "a1" * 32
CORP_ROOT = "c0" * 32


def target(
    host: str | None = HOST,
    port: int = 443,
    *,
    kind: Kind = Kind.API,
    proxy: ProxyServer | None = None,
    **more: Any,
) -> Target:
    """Give a row's target; keywords of `Expectation` and of `Target` both go in."""
    expected = {key: more.pop(key) for key in list(more) if key in Expectation.__dataclass_fields__}
    more.setdefault("route", Route(proxy, "--proxy" if proxy else ""))
    return Target(
        1, host or "*.vendor.example", host, port, expectation=Expectation(kind, **expected), **more
    )


TARGET = target()
PLAIN_TARGET = target(port=80, kind=Kind.PLAIN)
PROXIED = target(proxy=PROXY)


def saw(
    step: Step, seen: Seen | None = None, role: Role = Role.PROBE, via: str = "", **evidence: Any
) -> Observation:
    """Give an observation; without `seen` the step went well. `_from` writes the evidence key `from`."""
    facts = {key.lstrip("_"): value for key, value in evidence.items()}
    return Observation(step, seen, facts, 0.01, role=role, via=via)


def resolved(
    *addresses: str, seen: Seen | None = None, role: Role = Role.PROBE, **evidence: Any
) -> Observation:
    """Give a look-up of HOST at RESOLVER, unless the evidence says otherwise."""
    facts = {"name": HOST, "resolver": RESOLVER, "transport": "udp"} | evidence
    if addresses:
        facts = {"rcode": "NOERROR", "addresses": list(addresses)} | facts
    return saw(Step.RESOLVE, seen, role, **facts)


def connected(
    address: str = ADDRESS,
    *,
    seen: Seen | None = None,
    role: Role = Role.PROBE,
    via: str = "",
    **evidence: Any,
) -> Observation:
    """Give a try to connect to port 443, or to the `port` of the evidence."""
    facts = {"address": address, "port": 443, "family": 6 if ":" in address else 4} | evidence
    return saw(Step.CONNECT, seen, role, via, **facts)


def tunnelled(
    seen: Seen | None = None, *, role: Role = Role.PROBE, via: str = VIA, **evidence: Any
) -> Observation:
    """Give an answer of the proxy to CONNECT for HOST."""
    facts = {"proxy": via, "target": f"{HOST}:443"} | ({"status": 200} if seen is None else {}) | evidence
    return saw(Step.PROXY_CONNECT, seen, role, via, **facts)


def certificate(name: str = HOST, issuer: str = "Vendor Issuing CA 01", **more: Any) -> dict[str, Any]:
    """Give the leaf of a chain as a handshake records it."""
    return {
        "subject": f"CN={name}", "issuer": f"CN={issuer}", "common_name": name, "issuer_common_name": issuer,
        "spki_sha256": "1e" * 32, "names": [name],
    } | more  # fmt: skip


def shaken(
    seen: Seen | None = None, *, role: Role = Role.PROBE, via: str = "", **evidence: Any
) -> Observation:
    """Give a handshake with HOST at ADDRESS; a good one has the service's own certificate."""
    facts: dict[str, Any] = {"server_name": HOST, "address": ADDRESS, "port": 443}
    if seen is None:
        facts |= {
            "version": "TLSv1.3", "stage": "finished", "chain": [certificate()], "verified_system": True,
            "verified_public": True, "name_matches": True, "root_common_name": "Vendor Root",
            "root_spki_sha256": VENDOR_ROOT,
        }  # fmt: skip
    return saw(Step.TLS_HANDSHAKE, seen, role, via, **facts | evidence)


def answered(
    seen: Seen | None = None, *, role: Role = Role.PROBE, via: str = "", **evidence: Any
) -> Observation:
    """Give an HTTP round trip; a good one got status 200."""
    facts = (
        {"url": f"https://{HOST}/", "method": "GET"} | ({"status": 200} if seen is None else {}) | evidence
    )
    return saw(Step.HTTP_ROUND_TRIP, seen, role, via, **facts)


WELL = (resolved(ADDRESS), connected(), shaken(), answered())
"""The chain of a row that passes directly."""
WELL_PROXIED = (
    connected("10.0.0.80", via=VIA, port=3128),
    tunnelled(),
    shaken(via=VIA, address="10.0.0.80"),
    answered(via=VIA),
)
"""The chain of a row that passes through the proxy; the look-up of the proxy's name stands in no row."""

Beside = tuple[Target, tuple[Observation, ...]]


def passing(host: str = OTHER_HOST, address: str = OTHER_ADDRESS, **more: Any) -> Beside:
    """Give another row of the run that passes directly: the way out is open."""
    chain = (
        resolved(address, name=host),
        connected(address, **more),
        shaken(server_name=host, address=address, chain=[certificate(host)]),
        answered(url=f"https://{host}/"),
    )
    return target(host), chain


def passing_proxied(host: str = OTHER_HOST) -> Beside:
    """Give another row that passes through the proxy."""
    return target(host, proxy=PROXY), WELL_PROXIED


OTHER = passing()
OTHER_PROXIED = passing_proxied()


@dataclass(frozen=True, slots=True)
class Example:
    """A row as it was seen, and the verdict one expects. What is left at None is not compared."""

    id: str
    seen: tuple[Observation, ...]
    code: Failure | None
    blocker: BlockerKind | None = None
    severity: Severity | None = None
    confidence: Confidence | None = None
    address: str | None = None
    """Of the blocker."""
    scope: Scope | None = None
    outcome: Outcome | None = None
    reasons: tuple[str, ...] = ()
    """Words that stand in the reasons, each in one of them."""
    hint: tuple[str, ...] = ()
    """Words that stand in the hint."""
    others: tuple[Failure, ...] | None = None
    """The codes of the further findings."""
    target: Target = TARGET
    beside: tuple[Beside, ...] = ()
    shared: tuple[Observation, ...] = ()
    partial: bool = False

    def report(self) -> Report:
        """Give the judged run; the row of the example comes first."""
        rows = ((self.target, self.seen), *self.beside)
        return judge(
            Recording(
                tuple(each for each, _ in rows),
                tuple(seen for _, seen in rows),
                self.shared,
                frozenset({0}) if self.partial else frozenset(),
            )
        )

    def row(self) -> Row:
        """Give the judged row."""
        return self.report().rows[0]


def examples(table: Iterable[Example]) -> Any:
    """Give the decorator that runs a test once for each example, under its id."""
    return pytest.mark.parametrize("example", [pytest.param(each, id=each.id) for each in table])


def check(example: Example) -> Row:
    """Judge the example's row, and hold the verdict against the table."""
    row = example.row()
    assert row.failure == example.code, row.finding
    if row.finding:
        _check_finding(example, row.finding)
    elif example.outcome is None:
        assert row.outcome is Outcome.REACHABLE
    if example.outcome:
        assert row.outcome is example.outcome
    if example.others is not None:
        assert tuple(each.failure for each in row.others) == example.others
    return row


def _check_finding(example: Example, finding: Finding) -> None:
    compared = (
        (example.blocker, finding.blocked_by.kind),
        (example.address, finding.blocked_by.address),
        (example.severity, finding.severity),
        (example.confidence, finding.confidence),
        (example.scope, finding.scope),
    )
    for expected, got in compared:
        assert expected is None or got == expected, finding
    for words in example.reasons:
        assert any(words in reason for reason in finding.reasons), finding.reasons
    for words in example.hint:
        assert words in finding.hint
    assert "{" not in finding.hint
