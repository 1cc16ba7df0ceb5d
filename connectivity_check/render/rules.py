"""What has to be changed: the failed rows as rules to open, put together by who blocks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from connectivity_check.failure import Failure, Severity
from connectivity_check.model import Blocker, Finding, Outcome, Report, Row
from connectivity_check.render.texts import Text


class Request(StrEnum):
    """What is asked of whoever owns the box. The values stand in CSV files: stable."""

    OPEN = "open"
    ALLOW_NAME = "allow_name"
    RESOLVE = "resolve"
    PROXY_ALLOW = "proxy_allow"
    PROXY_AUTH_EXEMPT = "proxy_auth_exempt"
    NO_INSPECTION = "no_inspection"
    REPAIR = "repair"
    DEVICE = "device"
    FIND_OUT = "find_out"


REQUEST_NAMES = {
    Request.OPEN: Text("permit in the firewall", "ファイアウォールで許可"),
    Request.ALLOW_NAME: Text("permit the name in the filter", "フィルターで名前を許可"),
    Request.RESOLVE: Text("correct name resolution", "名前解決を修正"),
    Request.PROXY_ALLOW: Text("permit on the proxy", "プロキシで許可"),
    Request.PROXY_AUTH_EXEMPT: Text("exempt from proxy login", "プロキシ認証の除外"),
    Request.NO_INSPECTION: Text("exempt from TLS inspection", "TLS 検査の除外"),
    Request.REPAIR: Text("repair the network", "ネットワークの修復"),
    Request.DEVICE: Text("correct this device", "端末設定の修正"),
    Request.FIND_OUT: Text("find out who blocks it", "遮断箇所の調査"),
}

REQUESTS: dict[Failure, Request] = {
    **dict.fromkeys(
        (
            Failure.TCP_DROPPED,
            Failure.TCP_RESET_MIDDLEBOX,
            Failure.TCP_ICMP_ADMIN,
            Failure.TCP_ICMP_PORT,
            Failure.TCP_FAKE_ACCEPT,
            Failure.PROXY_UNREACHABLE,
            Failure.PROXY_UPSTREAM_TIMEOUT,
            Failure.PROXY_UPSTREAM_REFUSED,
            Failure.REV_CRL,
            Failure.REV_OCSP,
            Failure.REV_CTL,
        ),
        Request.OPEN,
    ),
    **dict.fromkeys(
        (
            Failure.TLS_SNI_RESET,
            Failure.TLS_SNI_DROP,
            Failure.TLS_NOT_TLS,
            Failure.TLS_ALERT,
            Failure.HTTP_BLOCK_PAGE,
            Failure.HTTP_CUT,
            Failure.HTTP_METHOD_OR_SIZE,
            Failure.HTTP_HEADER_TAMPER,
        ),
        Request.ALLOW_NAME,
    ),
    **dict.fromkeys(
        (
            Failure.DNS_NXDOMAIN,
            Failure.DNS_NODATA,
            Failure.DNS_REFUSED,
            Failure.DNS_SERVFAIL,
            Failure.DNS_TIMEOUT,
            Failure.DNS_SINKHOLE,
            Failure.DNS_PRIVATE_ANSWER,
            Failure.DNS_INCONSISTENT,
            Failure.DNS_INJECTED,
            Failure.DNS_NX_REWRITE,
            Failure.PROXY_UNRESOLVED,
            Failure.PROXY_DNS,
        ),
        Request.RESOLVE,
    ),
    **dict.fromkeys(
        (
            Failure.PROXY_DENIED,
            Failure.PROXY_PORT_DENIED,
            Failure.PROXY_TUNNEL_CUT,
            Failure.PROXY_SOCKS,
            Failure.PROXY_PAC_ERROR,
            Failure.PROXY_PAC_MISMATCH,
        ),
        Request.PROXY_ALLOW,
    ),
    Failure.PROXY_AUTH: Request.PROXY_AUTH_EXEMPT,
    **dict.fromkeys(
        (
            Failure.TLS_INTERCEPT_UNTRUSTED,
            Failure.TLS_INTERCEPT_TRUSTED,
            Failure.TLS_VERSION_LOW,
        ),
        Request.NO_INSPECTION,
    ),
    **dict.fromkeys(
        (
            Failure.TCP_NO_ROUTE,
            Failure.TCP_RATE_LIMITED,
            Failure.IP_V6_BROKEN,
            Failure.IP_PMTU_HOLE,
            Failure.NET_SLOW,
            Failure.PROXY_UPSTREAM_UNREACHABLE,
            Failure.PROXY_TIMEOUT,
            Failure.META_FLAKY,
        ),
        Request.REPAIR,
    ),
    **dict.fromkeys(
        (
            Failure.DNS_LOCAL_OVERRIDE,
            Failure.TCP_LOCAL_BLOCK,
            Failure.PROXY_NOT_PROXY,
            Failure.PROXY_CONSUMER_CONFLICT,
            Failure.TLS_NOT_YET,
            Failure.CLOCK_SKEW,
            Failure.HTTP_CAPTIVE_PORTAL,
        ),
        Request.DEVICE,
    ),
    **dict.fromkeys(
        (
            Failure.META_UNEXPLAINED,
            Failure.TLS_HOSTNAME,
            Failure.TLS_EXPIRED,
        ),
        Request.FIND_OUT,
    ),
}
"""Codes that are missing ask for nothing: the service is at fault, or nothing is (`NO_REQUEST`)."""

NO_REQUEST = frozenset(
    (
        Failure.DNS_PROXY_ONLY,
        Failure.TCP_REFUSED_HOST,
        Failure.TLS_ISSUER_CHANGED,
        Failure.TLS_STORE_INCOMPLETE,
        Failure.HTTP_STATUS,
        Failure.HTTP_VERSION,
        Failure.META_NOT_TESTABLE,
        Failure.META_SERVICE_DOWN,
        Failure.META_INTERRUPTED,
    )
)

_BEHIND_THE_PROXY = frozenset(
    (Failure.PROXY_UPSTREAM_TIMEOUT, Failure.PROXY_UPSTREAM_REFUSED, Failure.PROXY_UPSTREAM_UNREACHABLE)
)
_THE_PROXY_ITSELF = frozenset(
    (Failure.PROXY_UNREACHABLE, Failure.PROXY_UNRESOLVED, Failure.PROXY_NOT_PROXY, Failure.PROXY_TIMEOUT)
)
_FAILED = frozenset((Outcome.BLOCKED, Outcome.DEGRADED, Outcome.UNEXPLAINED))
_Key: TypeAlias = tuple[Blocker, Request, str, int, str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One change to ask for, with the rows that need it (at least one) and the first one's finding."""

    request: Request
    blocked_by: Blocker
    destination: str
    port: int
    protocol: str
    source: str
    """Whose packets it is about when it is not this host: a proxy's; else ""."""
    finding: Finding
    rows: tuple[Row, ...]

    @property
    def place(self) -> str:
        """Where it leads, for people: `host:port protocol`; a name when only its resolution is meant."""
        if self.protocol == "DNS":
            return f"{self.destination} DNS"
        name = f"[{self.destination}]" if ":" in self.destination else self.destination
        return f"{name}:{self.port} {self.protocol}"

    @property
    def required(self) -> bool:
        """Whether a required row needs it."""
        return any(row.target.required for row in self.rows)


def rules_of(report: Report) -> tuple[Rule, ...]:
    """Give the changes that the report asks for: one per blocker, kind of change, destination and port.

    Required ones come first, then those of the blocker that stands in the way of most rows.
    """
    found: dict[_Key, list[tuple[Finding, Row]]] = {}
    for row in report.rows:
        for key, finding in _wishes(row):
            found.setdefault(key, []).append((finding, row))
    rules = [
        Rule(request, blocker, name, port, protocol, source, needs[0][0], tuple(row for _, row in needs))
        for (blocker, request, name, port, protocol, source), needs in found.items()
    ]
    weight: dict[Blocker, int] = {}
    for rule in rules:
        weight[rule.blocked_by] = weight.get(rule.blocked_by, 0) + len(rule.rows)
    order = {blocker: index for index, blocker in enumerate(weight)}
    return tuple(
        sorted(
            rules,
            key=lambda rule: (not rule.required, -weight[rule.blocked_by], order[rule.blocked_by]),
        )
    )


def requests_of(row: Row) -> tuple[Request, ...]:
    """Give the kinds of change that a row needs, the deciding one first; () when none is."""
    return tuple(dict.fromkeys(key[1] for key, _ in _wishes(row)))


def without_rule(report: Report) -> tuple[tuple[Row, Finding], ...]:
    """Give the failed rows for which no change of the network helps, with the finding that says why.

    Rows that were not finished are left out: nothing is known of them.
    """
    return tuple(
        (row, row.finding)
        for row in report.rows
        if row.outcome in _FAILED and row.finding and not row.partial and not requests_of(row)
    )


@dataclass(frozen=True, slots=True)
class BlockerGroup:
    """What one blocker has to change."""

    blocked_by: Blocker
    rules: tuple[Rule, ...]

    @property
    def rows(self) -> int:
        """How many rows it stands in the way of; a row counts once."""
        return len({id(row) for rule in self.rules for row in rule.rows})


def by_blocker(rules: tuple[Rule, ...]) -> tuple[BlockerGroup, ...]:
    """Give the rules put together by who has to change them, in the order of the first rule of each."""
    groups: dict[Blocker, list[Rule]] = {}
    for rule in rules:
        groups.setdefault(rule.blocked_by, []).append(rule)
    return tuple(BlockerGroup(blocker, tuple(of_it)) for blocker, of_it in groups.items())


def _wishes(row: Row) -> Iterator[tuple[_Key, Finding]]:
    if row.outcome not in _FAILED or row.finding is None:
        return
    # A second wall behind the first one has to be opened too; a mere warning beside a block does not.
    more = (each for each in row.others if each.severity is Severity.BLOCKING)
    seen = set()
    for finding in (row.finding, *more):
        request = REQUESTS.get(finding.failure)
        if request is None:
            continue
        key = _key(row, finding, request)
        if key not in seen:
            seen.add(key)
            yield key, finding


def _key(row: Row, finding: Finding, request: Request) -> _Key:
    """Name the rule: what a firewall's rule has to name, which is not always the endpoint."""
    target, blocker = row.target, finding.blocked_by
    # A path inside TLS is seen by nobody on the way; plain http rules keep theirs in the evidence.
    name, port, protocol, source = (
        target.pattern.partition("/")[0] or str(target.host),
        target.port,
        "TCP",
        "",
    )
    proxy = target.route.proxy
    if proxy and finding.failure in _THE_PROXY_ITSELF:
        name, port = proxy.host, proxy.port
    elif proxy and finding.failure in _BEHIND_THE_PROXY:
        source = proxy.host
    if finding.failure is Failure.DNS_TIMEOUT and blocker.address:
        # Every name of a silent resolver is one rule: let this host ask it.
        name, port, protocol = blocker.address, 53, "UDP+TCP"
    elif request is Request.RESOLVE:
        port, protocol = 53, "DNS"
    return blocker, request, name, port, protocol, source
