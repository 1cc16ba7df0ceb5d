"""Strategies for reports: anything a run could hold, at the precision that a document keeps."""

from __future__ import annotations

from hypothesis import strategies as st

from connectivity_check import model
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import Json

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
SECONDS = st.integers(0, 10**9).map(lambda microseconds: round(microseconds / 1e6, 6))
PORTS = st.integers(0, 65535)
SMALL = st.integers(-1000, 1000)


def tuples(values: st.SearchStrategy) -> st.SearchStrategy:  # type: ignore[type-arg]
    """Give short tuples of values."""
    return st.lists(values, max_size=3).map(tuple)


JSON: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
EVIDENCE = st.dictionaries(TEXTS, JSON, max_size=3)
PROXIES = st.builds(
    model.ProxyServer,
    host=TEXTS,
    port=PORTS,
    scheme=st.sampled_from(model.ProxyScheme),
    username=st.just(""),
    password=st.just(""),
    auth=st.none() | st.sampled_from(model.ProxyAuth),
)
ROUTES = st.builds(
    model.Route, proxy=st.none() | PROXIES, source=TEXTS, fallbacks=tuples(st.none() | PROXIES), error=TEXTS
)
EXPECTATIONS = st.builds(
    model.Expectation,
    kind=st.sampled_from(model.Kind),
    path=TEXTS,
    method=TEXTS,
    statuses=tuples(st.integers(100, 999)),
    body_contains=TEXTS,
    html_allowed=st.booleans(),
    pinned=st.none() | st.booleans(),
    issuers=tuples(TEXTS),
    h2=st.booleans(),
    upload=st.booleans(),
    ranges=st.booleans(),
    private_ok=st.booleans(),
)
TARGETS = st.builds(
    model.Target,
    n=SMALL,
    pattern=TEXTS,
    host=st.none() | TEXTS,
    port=PORTS,
    required=st.booleans(),
    wildcard=TEXTS,
    service=TEXTS,
    category=TEXTS,
    geography=TEXTS,
    list_id=TEXTS,
    path_rule=st.booleans(),
    expectation=EXPECTATIONS,
    route=ROUTES,
)
OBSERVATIONS = st.builds(
    model.Observation,
    step=st.sampled_from(model.Step),
    seen=st.none() | st.sampled_from(Seen),
    evidence=EVIDENCE,
    took_s=SECONDS,
    started_s=SECONDS,
    role=st.sampled_from(model.Role),
    via=TEXTS,
)
BLOCKERS = st.builds(model.Blocker, kind=st.sampled_from(model.BlockerKind), address=TEXTS, name=TEXTS)
FINDINGS = st.builds(
    model.Finding,
    failure=st.sampled_from(Failure),
    step=st.none() | st.sampled_from(model.Step),
    reasons=tuples(TEXTS),
    hint=TEXTS,
    blocked_by=BLOCKERS,
    scope=st.sampled_from(model.Scope),
    confidence=st.sampled_from(model.Confidence),
    severity=st.sampled_from(Severity),
)
ROWS = st.builds(
    model.Row,
    target=TARGETS,
    outcome=st.sampled_from(model.Outcome),
    observations=tuples(OBSERVATIONS),
    finding=st.none() | FINDINGS,
    others=tuples(FINDINGS),
    took_s=SECONDS,
    partial=st.booleans(),
)
PATHS = st.builds(
    model.PathSettings,
    kind=st.sampled_from(model.PathKind),
    proxy=TEXTS,
    source=TEXTS,
    consumers=tuples(
        st.builds(
            model.ConsumerPath,
            consumer=TEXTS,
            kind=st.sampled_from(model.PathKind),
            proxy=TEXTS,
            source=TEXTS,
        )
    ),
)
CHANGES = st.builds(
    model.RowChange,
    n=SMALL,
    pattern=TEXTS,
    target=TEXTS,
    port=PORTS,
    before=TEXTS,
    after=TEXTS,
    before_failure=TEXTS,
    after_failure=TEXTS,
)


@st.composite
def reports(draw: st.DrawFn) -> model.Report:
    """Give a report whose recording belongs to its rows, as the analysis makes it."""
    rows = draw(st.lists(ROWS, max_size=3).map(tuple))
    recording = model.Recording(
        targets=tuple(row.target for row in rows),
        observations=tuple(row.observations for row in rows),
        shared=draw(tuples(OBSERVATIONS)),
        unfinished=frozenset(index for index, row in enumerate(rows) if row.partial),
        lists=draw(tuples(st.builds(model.ListInfo, id=TEXTS, version=TEXTS, entries=st.integers(0, 10**6)))),
        path=draw(PATHS),
        started_at=draw(TEXTS),
        took_s=draw(SECONDS),
        timeout_s=draw(SECONDS),
        source_address=draw(TEXTS),
        host=draw(TEXTS),
    )
    changes = draw(st.none() | tuples(CHANGES))
    return model.Report(recording, rows, draw(tuples(FINDINGS)), draw(st.booleans()), changes)
