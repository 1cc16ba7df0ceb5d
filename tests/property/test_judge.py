"""The judge takes whatever a recording holds: it never raises, and passes no row whose chain did not end well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.core.analyze import judge
from connectivity_check.core.controls import Means, wanted
from connectivity_check.core.judge_run import exit_code
from connectivity_check.core.known import known
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    Expectation,
    Kind,
    Observation,
    Outcome,
    ProxyServer,
    Recording,
    Role,
    Route,
    Step,
    Target,
)

HOSTS = ("api.vendor.example", "www.other.test", "20.0.0.1", "")
ADDRESSES = ("20.0.0.1", "20.0.9.9", "10.0.0.1", "2001:db8::1", "192.0.2.1", "127.0.0.1", "no address", "")
PROXY = ProxyServer("proxy.corp.example", 3128)
VIAS = ("", PROXY.url, "http://free.test:3128")

KEYS = (
    "name", "resolver", "transport", "rcode", "addresses", "cnames", "ttl", "ede", "rcode4", "rcode6",
    "sent", "truncated", "answers", "wrong_source", "icmp", "passed_over", "errno", "error", "address",
    "port", "family", "rtt_ms", "instant", "syns", "mss", "unsent", "source", "hops", "last_hop",
    "last_ttl", "reached", "answer", "tries", "packets", "proxy", "scheme", "target", "status", "reason",
    "headers", "schemes", "realm", "title", "body_start", "auth", "socks_reply", "socks_method",
    "first_bytes", "tls", "stage", "server_name", "version", "cipher", "alpn", "offered", "received",
    "alert", "alert_name", "local_error", "chain", "verified_system", "verified_public", "verify_code",
    "name_matches", "expired", "not_yet", "root_common_name", "root_spki_sha256", "ip_mss", "url",
    "method", "http_version", "content_type", "length", "vendor", "incident", "html", "skew_s", "tampered",
    "sent_bytes", "slow_bytes_per_s", "kind", "parsed", "issuer", "this_update", "next_update", "stale",
    "ocsp_status", "location", "from", "type", "code", "ms",
)  # fmt: skip
"""Every key of docs/preflight-evidence.md, those of the objects inside too."""
WORDS = (
    "NOERROR", "NXDOMAIN", "udp", "system", "rst", "syn_ack", "tls", "client_hello", "certificate", "finished",
    "failed", "http/1.1", "1.0", "A", "1.1 gw", "zz", "485454", "UNSUPPORTED_PROTOCOL", "ERR_CONNECT_FAIL \u00b2",
    "ERR_CONNECT_FAIL 110", "ERR_", "gw; error=dns_error", "denied", "could not resolve", "\x1b[2J", "{host}",
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(("via", "server", "location", "x-squid-error", "proxy-status")), st.sampled_from(WORDS)
)
PLAIN: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.sampled_from((0, 1, 2, 3, 4, 6, 10, 13, 62, 70, 200, 206, 255, 256, 302, 403, 407, 413, 503, 511))
    | st.integers()
    | st.floats()
    | st.sampled_from((*WORDS, *ADDRESSES, *HOSTS))
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    PLAIN | HEADERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
OBJECTS = st.dictionaries(
    st.sampled_from(("from", "type", "code", "family", "rcode", "addresses", "ttl", "header", "got")), VALUES
)
"""What stands inside of lists and of `icmp`."""
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(HOSTS),
    "resolver": st.sampled_from(ADDRESSES),
    "addresses": st.lists(st.sampled_from(ADDRESSES), max_size=3),
    "address": st.sampled_from(ADDRESSES),
    "port": st.sampled_from((80, 443, 8443)),
    "family": st.sampled_from((4, 6)),
    "syns": st.integers(0, 4),
    "icmp": OBJECTS,
    "ttl": st.sampled_from((64, 63, 255, 256, 0, -1, True, None)),
    "answer": st.sampled_from(("rst", "syn_ack")),
    "status": st.sampled_from((200, 302, 403, 407, 413, 451, 503, 511)),
    "headers": HEADERS,
    "html": st.booleans(),
    "chain": st.lists(st.dictionaries(st.sampled_from(("issuer", "names", "common_name")), PLAIN)),
    "verified_public": st.sampled_from((True, None, "unknown CA")),
    "name_matches": st.booleans(),
    "root_spki_sha256": st.sampled_from(("a1", "c0")),
    "skew_s": st.sampled_from((0.0, 4000.0, -4000.0)),
    "alert": st.integers(0, 255),
    **{key: st.lists(OBJECTS, max_size=2) for key in ("ede", "answers", "hops", "tampered")},
}
"""Values of the right types, so that more of the judge is reached than its first doubts."""
ITEMS = st.one_of(
    *(st.tuples(st.just(key), values) for key, values in LIKELY.items()),
    st.tuples(st.sampled_from(KEYS), VALUES),
)
EVIDENCE = st.lists(ITEMS, max_size=8).map(dict)


def observed(
    step: st.SearchStrategy[Step], seen: st.SearchStrategy[Seen | None], role: st.SearchStrategy[Role]
) -> st.SearchStrategy[Observation]:
    """Give what a step may have seen."""
    return st.builds(
        Observation,
        step=step,
        seen=seen,
        evidence=EVIDENCE,
        took_s=st.sampled_from((0.01, 3.0, 60.0, float("nan"))),
        started_s=st.floats(0, 600),
        role=role,
        via=st.sampled_from(VIAS),
    )


ANY_SEEN = st.none() | st.sampled_from(Seen)
ANYTHING = observed(st.sampled_from(Step), ANY_SEEN, st.sampled_from(Role))


@st.composite
def rows(draw: st.DrawFn) -> tuple[Observation, ...]:
    """Give a chain whose last step may have failed, then controls, most of them of the last step."""
    steps = list(Step)[: draw(st.integers(0, len(Step)))]
    ends = [st.none() for _ in steps[1:]] + [ANY_SEEN]
    chain = [
        draw(observed(st.just(step), end, st.just(Role.PROBE)))
        for step, end in zip(steps, ends, strict=False)
    ]
    last = st.sampled_from(steps[-1:] or list(Step))
    controls = draw(st.lists(observed(last, ANY_SEEN, st.sampled_from(Role)) | ANYTHING, max_size=4))
    return (*chain, *controls)


TARGETS = st.builds(
    Target,
    n=st.just(1),
    pattern=st.sampled_from(("api.vendor.example", "*.vendor.example", "10.0.0.0/8", "{host}")),
    host=st.none() | st.sampled_from(HOSTS),
    port=st.sampled_from((80, 443, 8443)),
    required=st.booleans(),
    wildcard=st.sampled_from(("", "vendor.example")),
    expectation=st.builds(
        Expectation,
        kind=st.sampled_from(Kind),
        html_allowed=st.booleans(),
        pinned=st.none() | st.booleans(),
        issuers=st.sampled_from(((), ("Vendor Root",))),
        upload=st.booleans(),
        ranges=st.booleans(),
        h2=st.booleans(),
    ),
    route=st.builds(
        Route,
        proxy=st.none() | st.just(PROXY),
        pac=st.booleans(),
        error=st.just("") | st.just("wpad.dat: line 3"),
    ),
)


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    """Give a recording of one to three rows."""
    targets = tuple(draw(st.lists(TARGETS, min_size=1, max_size=3)))
    seen = tuple(draw(rows()) for _ in targets)
    unfinished = draw(st.sets(st.integers(0, 3)))
    shared = tuple(draw(st.lists(ANYTHING, max_size=2)))
    return Recording(
        targets, seen, shared, frozenset(unfinished), timeout_s=draw(st.sampled_from((0.0, 5.0)))
    )


def ended_well(target: Target, seen: Sequence[Observation]) -> bool:
    """Whether every step that belongs to the row was tried and succeeded, for one address at least."""
    probes = [each for each in seen if each.role is Role.PROBE]
    tried = {each.step for each in probes}
    passed = {each.step for each in probes if each.ok}
    needed = {Step.CONNECT} | ({Step.TLS_HANDSHAKE} if target.tls else set())
    if target.expectation.kind in (Kind.CRL, Kind.OCSP, Kind.CTL):
        needed.add(Step.REVOCATION)
    elif target.expectation.kind is not Kind.OPAQUE:
        needed.add(Step.HTTP_ROUND_TRIP)
    return tried == passed and needed <= passed


WORK_ALL_THE_SAME = (Failure.META_FLAKY, Failure.HTTP_STATUS, Failure.TLS_STORE_INCOMPLETE)
"""A failed step that is a warning by design: a second try passed, the service itself answered, or the
certificate is good and this device's store is not."""


@given(recordings())
def test_every_recording_gets_a_report(recording: Recording) -> None:
    report = judge(recording)
    assert [row.target for row in report.rows] == list(recording.targets)
    assert {exit_code(report), exit_code(report, strict=True)} <= {0, 1, 3}
    for index, row in enumerate(report.rows):
        assert row.observations == recording.observations[index]
        found = (*([row.finding] if row.finding else []), *row.others)
        assert all(each.hint and all(each.reasons) for each in found)
        worst = {each.severity for each in found}
        assert (row.outcome is Outcome.REACHABLE) == (worst <= {Severity.INFO})
        assert (row.outcome is Outcome.BLOCKED) == (Severity.BLOCKING in worst)
        if row.outcome in (Outcome.REACHABLE, Outcome.DEGRADED) and row.failure not in WORK_ALL_THE_SAME:
            assert ended_well(row.target, row.observations), row
            assert index not in recording.unfinished
            # A wildcard that answers every label is probed by a random one.
            assert row.target.host is not None or row.target.wildcard


@given(recordings(), st.sampled_from((Means(), Means(("10.0.0.53", "10.0.0.54"), PROXY, (PROXY,)))))
def test_controls_are_chosen_for_any_recording(recording: Recording, means: Means) -> None:
    facts = known(recording.targets, recording.observations, recording.shared)
    for target, seen in zip(recording.targets, recording.observations, strict=True):
        for control in wanted(target, seen, facts, means):
            assert 0 <= control.port <= 65535


NUMBERS = (float("nan"), float("inf"), 10**400, True, "1", [1], {"1": 1}, None)


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: str(value)[:8])
@pytest.mark.parametrize(
    ("step", "seen", "evidence"),
    [
        (Step.RESOLVE, Seen.DNS_NXDOMAIN, lambda value: {"ede": [{"code": value}], "sent": value}),
        (Step.CONNECT, Seen.HOST_UNREACHABLE, lambda value: {"icmp": {"code": value, "type": value}}),
        (Step.CONNECT, Seen.TIMEOUT, lambda value: {"syns": value, "port": value}),
        (Step.PROXY_CONNECT, Seen.SOCKS_REPLY, lambda value: {"socks_reply": value}),
        (Step.PROXY_CONNECT, Seen.PROXY_STATUS, lambda value: {"status": value}),
        (Step.TLS_HANDSHAKE, Seen.TIMEOUT, lambda value: {"received": value}),
        (Step.TLS_HANDSHAKE, Seen.TLS_ALERT, lambda value: {"alert": value}),
        (Step.HTTP_ROUND_TRIP, Seen.HTTP_STATUS, lambda value: {"status": value, "skew_s": value}),
        (Step.HTTP_ROUND_TRIP, None, lambda value: {"slow_bytes_per_s": value}),
    ],
)
def test_numbers_that_are_none(
    step: Step, seen: Seen | None, evidence: Callable[[object], dict[str, Any]], value: object
) -> None:
    """What JSON of other tools may hold in the place of a number stops no verdict on the other rows."""
    row = Observation(step, seen, evidence(value), 0.01, via=PROXY.url if step is Step.PROXY_CONNECT else "")
    target = Target(1, "a.test", "a.test", route=Route(PROXY if row.via else None))
    judged = judge(Recording((target,), ((row,),))).rows[0]
    assert judged.outcome not in (Outcome.REACHABLE, Outcome.NOT_PROBEABLE)


@pytest.mark.parametrize("ttl", [0, -1, 256, 10**30, True, "64"])
def test_a_hop_limit_that_no_packet_can_have_tells_no_distance(ttl: object) -> None:
    port = {"address": "20.0.0.1", "port": 443}
    chain = (
        Observation(Step.RESOLVE, None, {"addresses": ["20.0.0.1"]}, 0.01),
        Observation(Step.CONNECT, Seen.CONNECTION_REFUSED, port, 0.01),
        Observation(Step.CONNECT, None, port | {"ttl": ttl, "answer": "rst"}, 0.01, role=Role.TTL),
        Observation(
            Step.CONNECT,
            None,
            {"address": "20.0.9.9", "ttl": 64, "answer": "syn_ack"},
            0.01,
            role=Role.TTL,
        ),
    )
    row = judge(Recording((Target(1, "a.test", "a.test"),), (chain,))).rows[0]
    assert row.failure is Failure.TCP_REFUSED_HOST


def test_a_name_that_resolves_to_nothing_is_tried_nowhere() -> None:
    seen = (
        Observation(Step.PROXY_CONNECT, Seen.PROXY_STATUS, {"status": 500}, 0.01, via=PROXY.url),
        Observation(Step.RESOLVE, None, {"addresses": []}, 0.01, role=Role.ALTERNATE),
    )
    target = Target(1, "a.test", "a.test", route=Route(PROXY))
    roles = {each.role for each in wanted(target, seen, known((target,), (seen,)), Means())}
    assert Role.CONTROL_NAME in roles
    assert Role.GOOD_ADDRESS not in roles
