"""Reports of agents, from honest to hostile; ages and steps as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.portal.evidence import MAX_ROWS, read_report
from api.portal.pages_actions import steps_of
from api.portal.rendering import age, as_instant, query, short
from api.portal.words import words_in
from api.store.tables import Action

T0 = datetime(2026, 6, 1, 12, tzinfo=UTC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "state",
                    "lists",
                    "learned",
                    "probe",
                    "outside",
                    "control_channel",
                    "ok",
                    "since",
                    "counters",
                    "enforcement",
                    "layers",
                    "verified_at",
                    "error",
                    "code",
                    "dropped_total",
                    "name",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


def test_a_full_report() -> None:
    report = read_report(
        {
            "state": "isolated",
            "isolation_type": "full",
            "generation": 3,
            "verified": True,
            "verified_at": "2026-06-01T12:00:00Z",
            "probe": {"control_channel": {"ok": True}, "outside": {"ok": False}},
            "enforcement": {"backend": "nftables", "layers": ["inet input"]},
            "lists": [{"id": "streamlined", "version": "2026-06", "entries": 74}],
            "counters": {"dropped_total": 9},
        }
    )
    assert report is not None
    assert (report.verified, report.verified_at, report.control_ok, report.outside_ok) == (
        True,
        T0,
        True,
        False,
    )
    assert (report.backend, report.layers, report.dropped) == ("nftables", ("inet input",), 9)
    assert report.lists == ({"id": "streamlined", "version": "2026-06", "entries": 74},)


def test_the_agents_own_status_document_is_read_too() -> None:
    report = read_report(
        {
            "state": "isolated",
            "enforcement": {"verified": True, "verified_at": 1.78e9, "repairs": 2},
            "control_channel": {"ok": True, "endpoints": ["192.0.2.1:443"]},
        }
    )
    assert report is not None
    assert (report.verified, report.repairs, report.control_endpoints) == (True, 2, ("192.0.2.1:443",))


@pytest.mark.parametrize("verified", ["yes", 1, None, "true", [True]])
def test_only_true_is_verified(verified: object) -> None:
    report = read_report({"state": "isolated", "verified": verified})
    assert report is not None
    assert not report.verified


def test_no_report_and_too_much_of_one() -> None:
    assert read_report(None) is None
    assert read_report([1]) is None
    report = read_report({"learned": [{"name": str(number)} for number in range(1000)]})
    assert report is not None
    assert (len(report.learned), report.learned_more) == (MAX_ROWS, 1000 - MAX_ROWS)


@given(JSON)
def test_any_document_is_read(document: object) -> None:
    report = read_report(document)
    assert (report is None) == (not isinstance(document, dict))


@pytest.mark.parametrize(
    "value", ["tomorrow", "2026-06-01T12:00:00", 1e300, float("nan"), True, None, [], "9" * 99]
)
def test_what_is_no_instant_is_none(value: object) -> None:
    assert as_instant(value) is None


@pytest.mark.parametrize(
    ("seconds", "english", "japanese"),
    [
        (0, "just now", "たった今"),
        (-1.5, "just now", "たった今"),
        (12, "12 seconds ago", "12 秒前"),
        (60, "1 minute ago", "1 分前"),
        (7200, "2 hours ago", "2 時間前"),
        (-86_400, "in 1 day", "1 日後"),
        (400 * 86_400, "400 days ago", "400 日前"),
    ],
)
def test_ages(seconds: float, english: str, japanese: str) -> None:
    assert age(words_in("en"), seconds) == english
    assert age(words_in("ja"), seconds) == japanese


def test_addresses_and_short_texts() -> None:
    assert query({"q": "a b&c", "page": ""}, group="none", order=None) == "?q=a+b%26c&group=none"
    assert query({"q": ""}) == ""
    assert short("abcdef", 3) == "abc…"
    assert short("abc", 3) == "abc"


def action(status: str, *done_after: int, ended: bool = False) -> Action:
    """An order, with its applied and verified so many seconds after it."""
    instants = [T0 + timedelta(seconds=each) for each in done_after]
    applied, verified = [*instants, None, None][:2]
    return Action(
        status=status,
        created_at=T0,
        applied_at=applied,
        verified_at=verified,
        ended_at=T0 + timedelta(seconds=9) if ended else None,
    )


@pytest.mark.parametrize(
    ("given_", "looks"),
    [
        (action("Pending"), "done now waiting"),
        (action("InProgress"), "done now waiting"),
        (action("InProgress", 1), "done done now"),
        (action("Succeeded", 1, 2, ended=True), "done done done"),
        (action("Failed", ended=True), "done failed off"),
        (action("Failed", 1, ended=True), "done done failed"),
        (action("TimeOut", ended=True), "done failed off"),
        (action("Cancelled", ended=True), "done off off"),
    ],
)
def test_the_three_steps(given_: Action, looks: str) -> None:
    assert " ".join(each.look for each in steps_of(given_)) == looks
    assert [each.name for each in steps_of(given_)] == ["ordered", "applied", "verified"]
