"""Reports to render: a run as it may come out of a company network, and the edges of what can come out."""

from __future__ import annotations

from dataclasses import replace

from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    Blocker,
    BlockerKind,
    Confidence,
    ConsumerPath,
    Expectation,
    Finding,
    Kind,
    ListInfo,
    Observation,
    Outcome,
    PathKind,
    PathSettings,
    ProxyServer,
    Recording,
    Report,
    Role,
    Route,
    Row,
    RowChange,
    Scope,
    Step,
    Target,
)

FIREWALL = Blocker(BlockerKind.FIREWALL, "192.0.2.1")
PROXY = Blocker(BlockerKind.PROXY, "http://proxy.corp.example:3128", "squid/5.7")
INSPECTION = Blocker(BlockerKind.TLS_INSPECTION, "", "CN=Corp Inspection CA,O=Corp")
RESOLVER = Blocker(BlockerKind.RESOLVER, "192.0.2.53")
EVIL = (
    '</td><script>alert(1)</script>=cmd|" /C calc"!A0 [x](javascript:x) '
    "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe|`"
)
"""What the title of a block page may be."""


def target(n: int, host: str | None, pattern: str = "", *, port: int = 443, **facts: object) -> Target:
    """Give a target of the standard list; the pattern is the host unless told."""
    values = {"service": "Command and control", "list_id": "standard", **facts}
    return Target(n=n, pattern=pattern or str(host), host=host, port=port, **values)  # type: ignore[arg-type]


def finding(failure: Failure, step: Step | None, blocker: Blocker, hint: str, *reasons: str) -> Finding:
    """Give a finding of the code's own severity."""
    confidence = Confidence.UNEXPLAINED if failure is Failure.META_UNEXPLAINED else Confidence.LIKELY
    return Finding(failure, step, reasons, hint, blocker, Scope.ENDPOINT, confidence, failure.severity)


def resolve(*addresses: str, cnames: tuple[str, ...] = ()) -> Observation:
    """Give a resolve that succeeded."""
    evidence = {"addresses": list(addresses), "cnames": list(cnames), "rcode": "NOERROR"}
    return Observation(Step.RESOLVE, None, evidence, 0.004)


def report_of(*rows: Row, findings: tuple[Finding, ...] = (), interrupted: bool = False) -> Report:
    """Give the report of a direct run with these rows."""
    recording = Recording(
        targets=tuple(row.target for row in rows),
        observations=tuple(row.observations for row in rows),
        unfinished=frozenset(index for index, row in enumerate(rows) if row.partial),
        lists=(ListInfo("standard", "2026-06", len(rows)),) if rows else (),
        started_at="2026-07-01T08:00:00Z",
        took_s=2.5,
        source_address="198.51.100.20",
        host="pc-7",
    )
    return Report(recording, rows, findings, interrupted)


def _blocked(where: Target, found: Finding, *seen: Observation, others: tuple[Finding, ...] = ()) -> Row:
    return Row(where, Outcome.BLOCKED, seen, found, others, 5.02)


def company_rows() -> tuple[Row, ...]:
    """Give one row of each outcome, and several kinds of blocker."""
    dropped = "Permit outgoing tcp/443 to {} on 192.0.2.1 or the next box behind it."
    hops = Observation(
        Step.CONNECT, Seen.TIMEOUT, {"last_hop": "192.0.2.1", "last_ttl": 1}, 1.0, role=Role.HOPS
    )
    silence = ("3 SYNs to 203.0.113.7 were not answered", "login.example.com connects at the same time")
    proxied = Route(ProxyServer("proxy.corp.example", 3128), "--proxy")
    return (
        Row(target(1, "login.example.com"), Outcome.REACHABLE, (resolve("203.0.113.5"),), took_s=0.08),
        _blocked(
            target(2, "unitedstates.cp.wd.example.com", "*.wd.example.com", wildcard="wd.example.com"),
            finding(
                Failure.TCP_DROPPED, Step.CONNECT, FIREWALL, dropped.format("*.wd.example.com"), *silence
            ),
            resolve("203.0.113.7", cnames=("wd-prod-cp.trafficmanager.example",)),
            hops,
        ),
        _blocked(
            target(2, "europe.cp.wd.example.com", "*.wd.example.com", wildcard="wd.example.com"),
            finding(
                Failure.TCP_DROPPED, Step.CONNECT, FIREWALL, dropped.format("*.wd.example.com"), *silence
            ),
            resolve("203.0.113.8"),
        ),
        _blocked(
            target(
                3, "crl.example.com", port=80, service="Certificate checks", expectation=Expectation(Kind.CRL)
            ),
            finding(
                Failure.TCP_ICMP_ADMIN,
                Step.CONNECT,
                FIREWALL,
                "The rule on 192.0.2.1 that prohibits tcp/80 to crl.example.com has to permit it.",
                "192.0.2.1 sent ICMP 3/13 (administratively prohibited)",
            ),
        ),
        _blocked(
            target(4, "winatp-gw-eus.example.com", route=proxied),
            finding(
                Failure.PROXY_DENIED,
                Step.PROXY_CONNECT,
                PROXY,
                "Add winatp-gw-eus.example.com to an allowed category on http://proxy.corp.example:3128.",
                "the proxy answered CONNECT with 403 (X-Squid-Error: ERR_ACCESS_DENIED 0)",
            ),
            others=(
                finding(
                    Failure.TLS_INTERCEPT_TRUSTED,
                    Step.TLS_HANDSHAKE,
                    INSPECTION,
                    "Exempt winatp-gw-eus.example.com from TLS inspection (CA Corp Inspection CA).",
                    "the public bundle does not know the issuer",
                ),
            ),
        ),
        _blocked(
            target(5, "events.data.example.com"),
            finding(
                Failure.HTTP_BLOCK_PAGE,
                Step.HTTP_ROUND_TRIP,
                Blocker(BlockerKind.FIREWALL, "", EVIL),
                "A box shows a block page for events.data.example.com: allow it in its URL filter.",
                f"the page's title is {EVIL}",
            ),
        ),
        Row(
            target(6, "v20.events.example.com", required=False),
            Outcome.DEGRADED,
            (),
            finding(
                Failure.IP_V6_BROKEN,
                Step.CONNECT,
                Blocker(),
                "IPv6 to v20.events.example.com does not work, IPv4 does.",
                "2001:db8::7 gave no answer, 203.0.113.9 did",
            ),
            took_s=0.31,
        ),
        Row(
            target(7, None, "*.blob.example.com/ussus1eastprod", service="Sample upload", path_rule=True),
            Outcome.NOT_PROBEABLE,
            (),
            finding(
                Failure.META_NOT_TESTABLE, None, Blocker(), "Check the rule by eye: no known host to try."
            ),
        ),
        Row(
            target(8, "2001:db8::53", service="", required=False, list_id=""),
            Outcome.UNEXPLAINED,
            (),
            finding(
                Failure.META_UNEXPLAINED,
                Step.CONNECT,
                Blocker(),
                "It failed, and nothing else passed to compare with.",
                "2001:db8::53 gave no answer",
            ),
            took_s=5.0,
        ),
        _blocked(
            target(9, "smartscreen.example.com", service="Cloud protection"),
            finding(
                Failure.DNS_NXDOMAIN,
                Step.RESOLVE,
                RESOLVER,
                "Resolver 192.0.2.53 says that smartscreen.example.com does not exist.",
                "192.0.2.53 answered NXDOMAIN (EDE 15 Blocked)",
            ),
        ),
    )


def company() -> Report:
    """Give a run with blocks of every kind, a finding about the run, and settings that differ."""
    conflict = Finding(
        Failure.PROXY_CONSUMER_CONFLICT,
        None,
        ("edr goes direct, user goes by http://wpad.corp.example/wpad.dat",),
        "The proxies configured for sensor, antivirus, update and user differ: align them.",
        Blocker(BlockerKind.HOST),
        severity=Severity.WARNING,
    )
    report = report_of(*company_rows(), findings=(conflict,))
    path = PathSettings(
        PathKind.DIRECT,
        source="--direct",
        consumers=(
            ConsumerPath("edr", PathKind.DIRECT, "", "TelemetryProxyServer not set"),
            ConsumerPath("user", PathKind.PAC, "http://wpad.corp.example/wpad.dat", "AutoConfigURL"),
        ),
    )
    return with_path(report, path)


def with_path(report: Report, path: PathSettings) -> Report:
    """Give the report with another way out."""
    return replace(report, recording=replace(report.recording, path=path))


def stopped() -> Report:
    """Give a run that Ctrl-C ended after the first row."""
    unfinished = finding(Failure.META_INTERRUPTED, None, Blocker(), "Not finished: run again.")
    rows = company_rows()
    return report_of(
        rows[0],
        Row(rows[1].target, Outcome.UNEXPLAINED, (), unfinished, partial=True),
        interrupted=True,
    )


def compared() -> Report:
    """Give a run held against a baseline: one row mended, one new, one gone."""
    changes = (
        RowChange(
            1, "login.example.com", "login.example.com", 443, "blocked", "reachable", "tcp.dropped", ""
        ),
        RowChange(
            9, "smartscreen.example.com", "smartscreen.example.com", 443, "", "blocked", "", "dns.nxdomain"
        ),
        RowChange(12, "old.example.com", "old.example.com", 443, "reachable", ""),
    )
    rows = company_rows()
    return replace(report_of(rows[0], rows[-1]), changes=changes)


def empty() -> Report:
    """Give a run without a row."""
    return report_of()


def many(count: int) -> Report:
    """Give a run of many rows of all outcomes."""
    rows = company_rows()
    made = []
    for n in range(count):
        row = rows[n % len(rows)]
        made.append(replace(row, target=replace(row.target, n=n + 1)))
    return report_of(*made)


REPORTS = {"company": company(), "stopped": stopped(), "compared": compared(), "empty": empty()}
