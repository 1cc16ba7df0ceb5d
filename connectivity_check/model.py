"""The values of the preflight: target, route, observation, finding, row, report.

An Observation is what one step saw; a Finding is what the analysis infers from several of them. A report in
JSON holds both, so a recorded run can be judged again (`isolator-check --replay FILE`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from connectivity_check.failure import Failure, Seen, Severity

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


class CheckError(Exception):
    """The check cannot be done as asked; `reason` is one sentence: what, why, what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InputError(CheckError):
    """A wish or a file that cannot be used (exit code 2)."""


class MeasureError(CheckError):
    """Nothing can be measured here: no network, no resolver (exit code 3)."""


class Step(StrEnum):
    """The steps of a chain, in order; the first that fails ends it."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    PROXY_CONNECT = "proxy_connect"
    TLS_HANDSHAKE = "tls_handshake"
    HTTP_ROUND_TRIP = "http_round_trip"
    REVOCATION = "revocation"

    @property
    def order(self) -> int:
        """The place in the chain, from 0."""
        return _ORDER[self]


_ORDER = {step: place for place, step in enumerate(Step)}


class Role(StrEnum):
    """Why something was tried: the probe itself, or a control that tells a failure from its twins."""

    PROBE = "probe"
    RETRY = "retry"
    """The same once more, alone, after a pause: tells rate limits and losses from a block."""
    OTHER_PORT = "other_port"
    """Same address, other port: is it the host or the port?"""
    CONTROL_SNI = "control_sni"
    """Same address (or same proxy), another server name: is it the name?"""
    GOOD_ADDRESS = "good_address"
    """The target's server name sent to an address that answered for another name."""
    SMALL_MSS = "small_mss"
    """The handshake again with TCP_MAXSEG 536: tells a path-MTU hole from a filter (RFC 2923)."""
    TLS_LEGACY = "tls_legacy"
    """TLS 1.0 and 1.1 offered: is there a box that speaks nothing newer?"""
    TLS12 = "tls12"
    """TLS 1.2 at most: is 1.3 what is cut?"""
    ALPN = "alpn"
    """h2 offered where the service is known to take it."""
    BODY = "body"
    """A POST of 64 KiB."""
    RANGE = "range"
    """A GET with a Range header."""
    RANDOM_LABEL = "random_label"
    """A random name under a wildcard: does the rule cover more than the sample?"""
    RANDOM_NAME = "random_name"
    """A random name under a domain that does not have it: does the resolver rewrite NXDOMAIN?"""
    DNS_TCP = "dns_tcp"
    """The same question over TCP."""
    OTHER_RESOLVER = "other_resolver"
    """The same question to another resolver of this host, or to the one given with --control-resolver."""
    GETADDRINFO = "getaddrinfo"
    """What the system's own look-up says, hosts file included."""
    UNROUTABLE = "unroutable"
    """A SYN to an address that no network has (RFC 5737): who answers it answers for everybody."""
    HOPS = "hops"
    """SYNs of growing TTL: the last router that answers stands before the one that drops."""
    TTL = "ttl"
    """The smallest IP_MINTTL at which an answer is no longer believed: how far away the sender is."""
    PORTAL = "portal"
    """http://www.msftconnecttest.com/connecttest.txt, whose body is known."""
    ALTERNATE = "alternate"
    """The same target by another way: through the proxy when direct fails, direct when the proxy fails."""
    CONTROL_PATH = "control_path"
    """The same target through --control-proxy, a way that is known to be free: is the service up?"""
    CONTROL_NAME = "control_name"
    """A name of the list that passed, through the same proxy or resolver: is it this name?"""
    HEADER_ECHO = "header_echo"
    """A request to a helper of one's own that echoes the headers it got (--control-host)."""
    AFTER_FAILURE = "after_failure"
    """A request over a connection whose certificate did not verify: only to read a block page or a Date."""
    PACKETS = "packets"
    """What was seen on the wire (--trace)."""


class PathKind(StrEnum):
    """How the agent goes out."""

    DIRECT = "direct"
    PROXY = "proxy"
    PAC = "pac"
    TRANSPARENT = "transparent"
    """Direct for the agent, but something on the way answers in the servers' place."""


class ProxyScheme(StrEnum):
    """How a proxy is spoken to; socks5h leaves name resolution to it."""

    HTTP = "http"
    HTTPS = "https"
    SOCKS5H = "socks5h"


class ProxyAuth(StrEnum):
    """How to answer a proxy that asks who we are."""

    BASIC = "basic"
    NTLM = "ntlm"
    NEGOTIATE = "negotiate"


@dataclass(frozen=True, slots=True)
class ProxyServer:
    """One proxy. The text form never holds the password."""

    host: str
    port: int
    scheme: ProxyScheme = ProxyScheme.HTTP
    username: str = ""
    password: str = field(default="", repr=False)
    auth: ProxyAuth | None = None
    """None: basic when there is a username, else no answer to a 407."""

    @property
    def url(self) -> str:
        """`scheme://host:port`, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        """Give the address without credentials."""
        return self.url


@dataclass(frozen=True, slots=True)
class Route:
    """The way for one target: the proxies to try in order (None: direct), and where that was read."""

    proxy: ProxyServer | None = None
    source: str = ""
    """Such as "--proxy", "HTTPS_PROXY", "http://wpad/wpad.dat", "mdatp managed file"."""
    fallbacks: tuple[ProxyServer | None, ...] = ()
    """What a PAC file lists after the first."""
    error: str = ""
    """Why there is no way at all: the PAC file failed for this target, in one sentence."""
    pac: bool = False
    """Whether a PAC file chose this way."""


class Kind(StrEnum):
    """What is behind a target, and so what a right answer looks like."""

    API = "api"
    """An HTTPS service; a status of `Expectation.statuses` and no HTML unless allowed."""
    CRL = "crl"
    OCSP = "ocsp"
    CTL = "ctl"
    """A trust list in a CAB file (ctldl.windowsupdate.com)."""
    PORTAL_CHECK = "portal_check"
    """The connectivity test page; its body is known."""
    PLAIN = "plain"
    """HTTP on port 80 of which no answer is known."""
    OPAQUE = "opaque"
    """A port that speaks neither TLS nor HTTP as far as we know: connecting is all that is tried."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a real answer of one target looks like; from `data/expectations.yaml`.

    An empty `statuses` means any status of a service. `issuers` are common names of intermediate or root
    CAs that the service has been seen with; empty: any public CA.
    """

    kind: Kind = Kind.API
    path: str = "/"
    method: str = "GET"
    statuses: tuple[int, ...] = ()
    body_contains: str = ""
    html_allowed: bool = False
    pinned: bool | None = None
    """Whether the agent accepts the service's own chain only, whatever the system trusts. None: no source
    says; the vendor asks for no inspection on any of its rows, so it is judged like True."""
    issuers: tuple[str, ...] = ()
    h2: bool = False
    upload: bool = False
    """Clients send big bodies here (sample storage)."""
    ranges: bool = False
    """Clients fetch parts of files here (updates)."""
    private_ok: bool = False
    """A private address is an answer one may get (Private Link)."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to try: a row of a list, or a host of one's own.

    `host` is None when the row is a wildcard without a known host: nothing to connect to. A wildcard with
    several known hosts gives one row per known host with the same `n`.
    """

    n: int
    pattern: str
    host: str | None
    port: int = 443
    required: bool = True
    wildcard: str = ""
    """The suffix when the pattern is `*.suffix`: the rule itself is tried by a random label under it."""
    service: str = ""
    category: str = ""
    geography: str = ""
    list_id: str = ""
    path_rule: bool = False
    """The row is about a path: nobody on the way can see it inside TLS."""
    expectation: Expectation = Expectation()
    route: Route = Route()

    @property
    def tls(self) -> bool:
        """Whether a TLS handshake belongs to the chain."""
        return self.expectation.kind in (Kind.API,)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one step saw. `seen` None: it succeeded.

    `evidence` holds facts only, under the keys that `docs/preflight-evidence.md` lists per step.
    `started_s` counts from the start of the run.
    """

    step: Step
    seen: Seen | None
    evidence: Mapping[str, Json]
    took_s: float
    started_s: float = 0.0
    role: Role = Role.PROBE
    via: str = ""
    """The proxy's address without credentials, "" when direct."""

    @property
    def ok(self) -> bool:
        """Whether the step did what it was for."""
        return self.seen is None


class BlockerKind(StrEnum):
    """Who stands in the way."""

    RESOLVER = "resolver"
    FIREWALL = "firewall"
    PROXY = "proxy"
    TLS_INSPECTION = "tls_inspection"
    SERVER = "server"
    HOST = "host"
    """This device: its own filter, hosts file, clock or settings."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Blocker:
    """Who stands in the way, as far as the evidence says; `address` "" when it does not."""

    kind: BlockerKind = BlockerKind.UNKNOWN
    address: str = ""
    name: str = ""
    """What it calls itself: a vendor, a CA's subject, a Via header."""


class Scope(StrEnum):
    """How much is hit by the same cause."""

    ENDPOINT = "endpoint"
    ADDRESS = "address"
    """Some addresses of the name, not all."""
    FAMILY = "family"
    PORT = "port"
    WILDCARD = "wildcard"
    """The sample works, other names under the wildcard do not."""
    SEVERAL = "several"
    """Other rows fail in the same way, others pass."""
    ALL = "all"


class Confidence(StrEnum):
    """How sure the inference is."""

    CERTAIN = "certain"
    """The evidence leaves no other reading."""
    LIKELY = "likely"
    """A control speaks for it; a rarer cause could look the same."""
    UNEXPLAINED = "unexplained"
    """No control passed: what failed is known, who is at fault is not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the analysis infers, on which evidence, and what to change."""

    failure: Failure
    step: Step | None
    reasons: tuple[str, ...]
    """The observations that led here, a sentence each."""
    hint: str = ""
    """What to change, for the network team, with names and addresses filled in."""
    blocked_by: Blocker = Blocker()
    scope: Scope = Scope.ENDPOINT
    confidence: Confidence = Confidence.LIKELY
    severity: Severity = Severity.BLOCKING


class Outcome(StrEnum):
    """The verdict on a row."""

    REACHABLE = "reachable"
    BLOCKED = "blocked"
    DEGRADED = "degraded"
    NOT_PROBEABLE = "not_probeable"
    UNEXPLAINED = "unexplained"
    """It failed (or was not finished), and nothing says who is at fault."""


@dataclass(frozen=True, slots=True)
class Row:
    """A target with its verdict. `finding` is the one that decides; `others` were found as well."""

    target: Target
    outcome: Outcome
    observations: tuple[Observation, ...] = ()
    finding: Finding | None = None
    others: tuple[Finding, ...] = ()
    took_s: float = 0.0
    partial: bool = False
    """The run ended before this row was done."""

    @property
    def failure(self) -> Failure | None:
        """The code of the deciding finding."""
        return self.finding.failure if self.finding else None


@dataclass(frozen=True, slots=True)
class ConsumerPath:
    """The way one consumer (EDR sensor, antivirus, update, user) is told to go, and where that is written."""

    consumer: str
    kind: PathKind
    proxy: str = ""
    """Address without credentials; the PAC's URL when `kind` is PAC."""
    source: str = ""


@dataclass(frozen=True, slots=True)
class PathSettings:
    """How the run goes out, and what else was found configured."""

    kind: PathKind = PathKind.DIRECT
    proxy: str = ""
    source: str = ""
    consumers: tuple[ConsumerPath, ...] = ()


@dataclass(frozen=True, slots=True)
class ListInfo:
    """One list that was checked."""

    id: str
    version: str = ""
    entries: int = 0


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything a run saw: what the analysis needs, and all it may use.

    `observations[i]` belongs to `targets[i]`; `shared` are controls of the whole run (random name, portal
    check, unroutable address), which are done once. `unfinished` are indexes of targets that the end of
    the run cut off.
    """

    targets: tuple[Target, ...]
    observations: tuple[tuple[Observation, ...], ...]
    shared: tuple[Observation, ...] = ()
    unfinished: frozenset[int] = frozenset()
    lists: tuple[ListInfo, ...] = ()
    path: PathSettings = PathSettings()
    started_at: str = ""
    """RFC 3339, UTC."""
    took_s: float = 0.0
    timeout_s: float = 5.0
    source_address: str = ""
    """The address that packets left from: what a firewall rule needs as its source."""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The judged run: what every renderer gets."""

    recording: Recording
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...] = ()
    """What holds for the whole run: no network, a portal, clock skew, settings that contradict."""
    interrupted: bool = False
    changes: tuple[RowChange, ...] | None = None
    """Against a baseline; None when none was given."""

    def count(self, outcome: Outcome) -> int:
        """How many rows have this outcome."""
        return sum(row.outcome is outcome for row in self.rows)


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row that is not as it was in the baseline; "" stands for a row that was or is not there."""

    n: int
    pattern: str
    target: str
    port: int
    before: str
    after: str
    before_failure: str = ""
    after_failure: str = ""
