"""Check-ins as values: what is refused, what is cut, and what a report means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.core.action_state import ActionEvent
from api.core.check_in import (
    MAX_ALERTS,
    MAX_DEPTH,
    PAST_INCARNATIONS,
    CheckIn,
    Ordered,
    Report,
    alerts_in,
    clean,
    follow_runs,
    meaning,
    parse_check_in,
    parse_facts,
    parse_name,
    parse_report,
    steady,
)

GOOD: dict[str, Any] = {
    "kind": "check_in",
    "machine_id": "a" * 40,
    "sequence": 7,
    "incarnation": "0" * 32,
    "nonce": "abcdefgh",
    "generation": 3,
    "wait_s": 50,
    "delivered": None,
    "observed": {"state": "isolated", "generation": 3, "isolation_type": "Full", "verified": True},
    "facts": None,
}

D, A, V, F = ActionEvent.DELIVERED, ActionEvent.APPLIED, ActionEvent.VERIFIED, ActionEvent.FAILED


def check(*, agent: int = 3, delivered: int | None = None, **report: Any) -> CheckIn:
    document = {**GOOD["observed"], **report}
    return parse_check_in({**GOOD, "generation": agent, "delivered": delivered, "observed": document})


WANTED = Ordered("isolated", "full", 3, action_generation=3)


def test_a_good_one() -> None:
    found = parse_check_in(GOOD)
    assert (found.sequence, found.wait_s, found.delivered, found.facts) == (7, 50.0, None, None)
    assert found.report == Report("isolated", "full", 3, True, None, "", GOOD["observed"])


@pytest.mark.parametrize(
    ("said", "ordered", "events"),
    [
        pytest.param(check(), WANTED, (D, V), id="verified"),
        pytest.param(check(verified=False), WANTED, (D, A), id="applied"),
        pytest.param(check(verified=False), Ordered("isolated", "full", 3, 3, True, True), (), id="again"),
        pytest.param(check(), Ordered("isolated", "full", 3, 3, True, True), (V,), id="then verified"),
        pytest.param(check(), Ordered("isolated", "full", 3, 3, duplicate=True), (D, A), id="two holders"),
        pytest.param(check(isolation_type="selective"), WANTED, (D,), id="another scope"),
        pytest.param(check(state="isolating"), WANTED, (D,), id="under way"),
        pytest.param(check(generation=2), WANTED, (D,), id="an older order's report"),
        pytest.param(check(agent=2, generation=2), WANTED, (), id="not had"),
        pytest.param(check(agent=2, generation=2, delivered=3), WANTED, (D,), id="acknowledged"),
        pytest.param(check(agent=2, generation=2, delivered=2), WANTED, (), id="an older one acknowledged"),
        pytest.param(check(state="connected", error={"code": "x"}), WANTED, (D, F), id="failed"),
        pytest.param(check(state="isolating", error={"code": "x"}), WANTED, (D,), id="still trying"),
        pytest.param(check(state="connected"), WANTED, (D, F), id="obeyed without effect"),
        pytest.param(check(state="connected", delivered=3), WANTED, (D,), id="said beside the work"),
        pytest.param(check(error={"code": "x"}), WANTED, (D, V), id="an old error, yet there"),
        pytest.param(check(generation=2, error={"code": "x"}), WANTED, (D, F), id="refused for good"),
        pytest.param(
            check(agent=2, generation=2, error={"code": "x"}), WANTED, (), id="an error of the order before"
        ),
        pytest.param(check(), Ordered("isolated", "full", 3), (), id="nothing under way"),
        pytest.param(
            check(state="connected", isolation_type=None),
            Ordered("connected", None, 3, action_generation=3),
            (D, V),
            id="released",
        ),
        pytest.param(check(generation=4, agent=4), WANTED, (D,), id="of the future"),
    ],
)
def test_what_it_means(said: CheckIn, ordered: Ordered, events: tuple[ActionEvent, ...]) -> None:
    assert meaning(said, ordered).events == events


@given(generation=st.integers(0, 2), state=st.sampled_from(["connected", "isolated"]), verified=st.booleans())
def test_a_report_for_a_lower_generation_never_verifies(generation: int, state: str, verified: bool) -> None:
    found = meaning(check(generation=generation, state=state, verified=verified), WANTED)
    assert not found.proves
    assert V not in found.events


def test_runs() -> None:
    runs = follow_runs("", (), "a")
    assert (runs.incarnation, runs.past, runs.came_back) == ("a", (), False)
    runs = follow_runs("a", (), "b")
    assert (runs.past, runs.came_back) == (("a",), False)
    assert follow_runs("b", ("a",), "b") == runs
    back = follow_runs("b", ("a",), "a")
    assert (back.incarnation, back.past, back.came_back) == ("a", ("b",), True)
    long = follow_runs("z", tuple(str(number) for number in range(100)), "new")
    assert len(long.past) == PAST_INCARNATIONS


def test_steady_leaves_out_what_changes_by_itself() -> None:
    report = {"state": "isolated", "counters": {"a": 1}, "enforcement": {"verified_at": 1, "backend": "x"}}
    assert steady(report) == {"state": "isolated", "enforcement": {"backend": "x"}}
    assert steady({"enforcement": None}) == {"enforcement": None}


def test_verified_may_stand_under_enforcement() -> None:
    base = {"state": "connected", "generation": 0}
    assert parse_report({**base, "enforcement": {"verified": True}}).verified
    assert not parse_report({**base, "verified": False, "enforcement": {"verified": True}}).verified


def test_facts_are_cut_to_what_is_known() -> None:
    found = parse_facts({"os_build": True, "version": 5, "os_platform": "Li\x00nux", "ip_addresses": [{}]})
    assert found == {"os_platform": "Linux", "ip_addresses": []}
    assert parse_facts({"os_build": -1}) == {}
    assert parse_facts({"os_build": 5}) == {"os_build": 5}


@pytest.mark.parametrize("name", ["", " ", 5, None, "\u202e\u200b", "\x00"])
def test_names_that_are_none(name: object) -> None:
    with pytest.raises(ValueError, match="computer_name"):
        parse_name(name)


def test_names_read_the_same_everywhere() -> None:
    assert parse_name(" srv\u202e-1\n ") == "srv-1"
    assert clean("x" * 9, 3) == "xxx"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(GOOD)), value=_VALUES)
def test_whatever_a_field_holds_it_is_taken_or_a_value_error(name: str, value: object) -> None:
    try:
        found = parse_check_in({**GOOD, name: value})
    except ValueError:
        return
    assert 0 <= found.sequence < 2**53
    assert found.report.state in ("connected", "isolating", "isolated", "releasing")


@given(_VALUES)
def test_whatever_facts_hold(value: object) -> None:
    try:
        parse_facts(value)
    except ValueError:
        assert not isinstance(value, dict)


def test_nesting_up_to_a_bound() -> None:
    deep: Any = []
    for _ in range(MAX_DEPTH - 2):
        deep = [deep]
    assert parse_check_in({**GOOD, "extra": deep}).sequence == GOOD["sequence"]
    with pytest.raises(ValueError, match="nests deeper"):
        parse_check_in({**GOOD, "extra": [deep]})


def test_nesting_without_end() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="cannot be kept"):
        parse_check_in({**GOOD, "extra": deep})
    with pytest.raises(ValueError, match="object"):
        parse_facts(5)


def test_a_report_without_what_changes_by_itself() -> None:
    told = {"state": "isolated", "generation": 3, "verified": True, "verified_at": "2026-01-01T00:00:00Z"}
    later = {**told, "verified_at": "2026-01-01T00:00:50Z"}
    assert parse_report(told).steady == parse_report(later).steady
    assert parse_report(told).steady != parse_report({**told, "state": "connected"}).steady


def test_a_value_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        parse_check_in({**GOOD, "extra": {1, 2}})


@pytest.mark.parametrize("error", ["sentence", ["code"], 7, True])
def test_an_error_that_is_no_object_is_refused(error: object) -> None:
    with pytest.raises(ValueError, match=r"observed\.error"):
        parse_report({**GOOD["observed"], "error": error})


@pytest.mark.parametrize("nonce", ["short", "a b c d e f", "x" * 500, "ümlaut-ümlaut"])
def test_a_nonce_of_another_form_is_refused(nonce: str) -> None:
    with pytest.raises(ValueError, match="nonce does not have the form"):
        parse_check_in({**GOOD, "nonce": nonce})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"state": "asleep"}, "one of"), ({"state": None}, "one of"), ({"isolation_type": "a\0b"}, "NUL")],
)
def test_a_report_that_cannot_be_kept_or_shown_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_report({**GOOD["observed"], **changes})


@pytest.mark.parametrize("given", [None, "x", {}, 7, [], ["x", 7, None]])
def test_a_report_without_alerts_or_with_odd_ones_has_none(given: object) -> None:
    assert alerts_in({"alerts": given}) == ()


def test_alerts_are_told_once_each_cut_and_cleaned() -> None:
    one = {"reason": "dns_label_payload", "pattern": "*.svc.example", "count": 9}
    odd = {"reason": "r" * 200, "pattern": None}
    assert alerts_in({"alerts": [one, odd, one, {}]}) == (
        ("dns_label_payload", "*.svc.example"),
        ("r" * 60, ""),
        ("unknown", ""),
    )


def test_more_alerts_than_a_device_can_have_are_left_out() -> None:
    many = [{"reason": str(number), "pattern": "*"} for number in range(MAX_ALERTS + 5)]
    assert len(alerts_in({"alerts": many})) == MAX_ALERTS
