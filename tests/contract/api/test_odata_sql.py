"""Filters, order and pages on both databases, against plain Python on the documents that the API answers with."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.core import odata_ast as ast
from api.core.odata import MAX_TOKEN, ODataError, Query, parse_filter, parse_query
from api.schemas.action import ActionOut, action_out
from api.schemas.machine import MachineOut
from api.store.database import Database
from api.store.odata_columns import ACTIONS, MACHINES
from api.store.odata_dialect import dialect_of
from api.store.odata_page import Page, fetch
from api.store.odata_sql import Kind, Resource
from api.store.tables import Action, Machine
from tests.contract.api import odata_oracle as oracle
from tests.contract.api import odata_rows as rows
from tests.contract.api.odata_rows import NOW

MANY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
LEAN = settings(MANY, max_examples=60)
_DIALECT = dialect_of("sqlite")
KINDS = {name.lower(): kind for name, kind in MACHINES.describe(_DIALECT, NOW).kinds().items()}


@contextmanager
def undone(database: Database) -> Iterator[Session]:
    """A transaction with the tenant in it, of which nothing is left."""
    with Session(database.engine) as session:
        rows.prepare(session)
        yield session
        session.rollback()


def ids(page: Page) -> list[str]:
    return [row[0].id for row in page.rows]


def ask(session: Session, *options: tuple[str, str], of: Resource = MACHINES) -> Page:
    entity = Machine if of is MACHINES else Action
    return fetch(session, select(entity), of, parse_query(options), NOW)


@MANY
@given(machines=st.lists(rows.machines, min_size=1, max_size=6), condition=rows.filters)
def test_filters_find_what_the_answers_show(
    module_database: Database, machines: list[dict[str, Any]], condition: ast.Condition
) -> None:
    text = oracle.render(condition)
    assert parse_filter(text) == condition
    with undone(module_database) as session:
        shown = rows.add(session, machines)
        page = ask(session, ("$filter", text), ("$count", "true"), ("$orderby", "id"))
        expected = [each["id"] for each in shown if oracle.holds(condition, each, KINDS)]
        assert ids(page) == expected
        assert page.count == len(expected)


_order = st.lists(
    st.builds(
        ast.OrderKey,
        st.sampled_from(rows.SORTABLE).map(lambda name: ast.Path(tuple(name.split("/")))),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda key: str(key.path),
)


def in_order(shown: list[dict[str, Any]], keys: list[ast.OrderKey]) -> list[str]:
    """The ids as `$orderby` wants them; the id breaks ties in the last key's direction."""
    if not any(str(each.path) == "id" for each in keys):
        keys = [*keys, ast.OrderKey(ast.Path(("id",)), keys[-1].descending)]

    def compare(left: dict[str, Any], right: dict[str, Any]) -> int:
        for key in keys:
            one, other = (oracle.order_value(key.path, each, KINDS) for each in (left, right))
            if one != other:
                return (-1 if one < other else 1) * (-1 if key.descending else 1)
        return 0

    return [each["id"] for each in sorted(shown, key=cmp_to_key(compare))]


@LEAN
@given(
    machines=st.lists(rows.machines, min_size=1, max_size=7),
    late=st.lists(rows.machines, max_size=4),
    keys=_order,
    size=st.integers(1, 3),
)
def test_pages_lose_and_repeat_nothing(
    module_database: Database,
    machines: list[dict[str, Any]],
    late: list[dict[str, Any]],
    keys: list[ast.OrderKey],
    size: int,
) -> None:
    order = ",".join(f"{each.path} {'desc' if each.descending else 'asc'}" for each in keys)
    with undone(module_database) as session:
        shown = rows.add(session, machines, first=100)
        assert ids(ask(session, ("$orderby", order))) == in_order(shown, keys)
        seen: list[str] = []
        token: str | None = None
        arriving = iter(late)
        for number in range(len(machines) + len(late) + 1):
            more = [("$skiptoken", token)] if token else []
            page = ask(session, ("$orderby", order), ("pageSize", str(size)), *more)
            seen += ids(page)
            token = page.skiptoken
            if token is None:
                break
            # Between the pages, somebody enrols: before, between and behind the others.
            for row in [next(arriving, None)]:
                if row is not None:
                    shown += rows.add(session, [row], first=(0, 500)[number % 2] + number)
        assert token is None
        assert len(set(seen)) == len(seen)
        assert set(seen) >= {f"{number:040x}" for number in range(100, 100 + len(machines))}
        assert seen == [each for each in in_order(shown, keys) if each in seen]


def _sample(number: int, **other: Any) -> dict[str, Any]:
    row = {
        "computer_name": f"Host-{number}",
        "tags": [],
        "facts": {},
        "first_seen": rows.INSTANTS[0],
        "last_seen": rows.INSTANTS[0],
        "enrolled_at": rows.INSTANTS[0],
    }
    return row | other


@pytest.fixture
def filled(module_database: Database) -> Iterator[Session]:
    """Ten machines, the last the newest."""
    with undone(module_database) as session:
        rows.add(session, [_sample(each, first_seen=NOW.replace(minute=each)) for each in range(10)])
        yield session


def numbers(page: Page) -> list[int]:
    return [int(each, 16) for each in ids(page)]


def test_newest_first_by_default(filled: Session) -> None:
    assert numbers(ask(filled)) == [*range(9, -1, -1)]


def test_top_and_skip(filled: Session) -> None:
    page = ask(filled, ("$top", "3"), ("$skip", "2"), ("$count", "true"))
    assert (numbers(page), page.count, page.skiptoken) == ([7, 6, 5], 10, None)
    assert numbers(ask(filled, ("$top", "0"))) == []
    assert numbers(ask(filled, ("$skip", "10"))) == []


def test_top_goes_on_over_pages(filled: Session) -> None:
    options = [("$top", "5"), ("pageSize", "2"), ("$skip", "1")]
    found: list[list[int]] = []
    token = None
    while True:
        page = ask(filled, *options, *([("$skiptoken", token)] if token else []))
        found.append(numbers(page))
        token = page.skiptoken
        if token is None:
            break
    assert found == [[8, 7], [6, 5], [4]]


def test_an_exact_last_page_has_no_next(filled: Session) -> None:
    page = ask(filled, ("pageSize", "5"))
    assert page.skiptoken
    assert ask(filled, ("pageSize", "5"), ("$skiptoken", page.skiptoken)).skiptoken is None


def test_select_gives_names_in_the_apis_spelling(filled: Session) -> None:
    assert ask(filled, ("$select", "ID,computerdnsname,observed/state,id")).select == (
        "id",
        "computerDnsName",
        "observed",
    )
    assert ask(filled).select is None


def test_case(filled: Session) -> None:
    assert numbers(ask(filled, ("$filter", "computerDnsName eq 'hOST-3'"))) == [3]
    assert numbers(ask(filled, ("$filter", "startswith(computerDnsName,'HOST-')"), ("$top", "1"))) == [9]
    rows.add(filled, [_sample(0, excluded_reason="Print server", tags=["VIP"])], first=50)
    assert numbers(ask(filled, ("$filter", "exclusionReason eq 'print server'"))) == []
    assert numbers(ask(filled, ("$filter", "tolower(exclusionReason) eq 'print server'"))) == [50]
    assert numbers(ask(filled, ("$filter", "machineTags/any(t: t eq 'vip')"))) == []
    assert numbers(ask(filled, ("$filter", "machineTags/any(t: tolower(t) eq 'vip')"))) == [50]


@pytest.mark.parametrize(
    ("option", "text", "position", "sentence"),
    [
        ("$filter", "id ne 'x' and nosuch eq 1", 14, "machines have no property 'nosuch'"),
        ("$filter", "public_key eq 'x'", 0, "no property"),
        ("$filter", "observed/nosuch eq 1", 0, "no property"),
        ("$filter", "ipAddresses eq 'x'", 0, "is a list and cannot be compared"),
        ("$filter", "observed eq 'x'", 0, "is an object and cannot be compared"),
        ("$filter", "id/any(t: t eq 'x')", 0, "is no list"),
        ("$filter", "machineTags/any(t: machineTags/any(u: u eq t/x))", 37, None),
        ("$filter", "machineTags/any(t: machineTags/any(u: u eq 'x'))", 19, "cannot be inside each other"),
        ("$filter", "machineTags/any(t: t/x eq 'x')", 19, "the elements have no 't/x'"),
        ("$filter", "ipAddresses/any(t: t eq 'x')", 19, "the elements have no 't'"),
        ("$filter", "machineTags/any(t: u eq 'x')", 19, "no property 'u'"),
        ("$filter", "id eq 5", 6, "id is a name, which this value is not"),
        ("$filter", "rbacGroupId eq '5'", 15, "is a whole number, which"),
        ("$filter", "rbacGroupId eq true", 15, "is a whole number, which"),
        ("$filter", "isExcluded eq 1", 14, "is true or false, which"),
        ("$filter", "isExcluded gt true", 14, "only eq and ne"),
        ("$filter", "id", 0, "id is a name, which this value is not"),
        ("$filter", "lastSeen gt 'yesterday'", 12, "'yesterday' is no date"),
        ("$filter", "lastSeen in (null, 5)", 19, "is a date, which"),
        ("$filter", "contains(lastSeen,'2024')", 9, "lastSeen is no text"),
        ("$filter", "contains(tolower(osBuild),'2024')", 17, "osBuild is no text"),
        ("$orderby", "id,nosuch", 3, "no property"),
        ("$orderby", "machineTags", 0, "is a list and has no order"),
        ("$select", "id,nosuch", 0, "no property"),
    ],
)
def test_what_does_not_fit_is_refused(
    filled: Session, option: str, text: str, position: int, sentence: str | None
) -> None:
    with pytest.raises(ODataError, match=sentence) as caught:
        ask(filled, (option, text))
    if sentence:
        assert (caught.value.option, caught.value.position) == (option, position)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # builds 10, 11 and none
        ("osBuild gt 10.5", [1]),
        ("osBuild ge 10.5", [1]),
        ("osBuild gt 9.5", [0, 1]),
        ("osBuild lt 10.5", [0]),
        ("osBuild le 10.5", [0]),
        ("osBuild le 9.5", []),
        ("osBuild eq 10.0", [0]),
        ("osBuild eq 10.5", []),
        ("osBuild ne 10.5", [0, 1, 2]),
        ("osBuild gt null", []),
        ("not (osBuild gt 10)", [0, 2]),
        ("osBuild in (10, null)", [0, 2]),
        # unknown: a part of null is neither in it nor not in it
        ("contains(osProcessor,'x')", [0]),
        ("not contains(osProcessor,'x')", [1]),
        ("contains(osProcessor,'x') or isExcluded", [0]),
        ("not contains(osProcessor,'x') or isExcluded eq false", [0, 1, 2]),
        # machine 1 has an address without MAC
        ("ipAddresses/any(i: contains(i/macAddress,'a'))", [0]),
        ("ipAddresses/all(i: contains(i/macAddress,'a'))", [0, 2]),
        ("ipAddresses/all(i: not contains(i/macAddress,'b'))", [0, 2]),
        ("ipAddresses/any(i: i/macAddress eq null)", [1]),
    ],
)
def test_numbers_and_unknowns(module_database: Database, text: str, expected: list[int]) -> None:
    facts: list[dict[str, Any]] = [
        {"os_build": 10, "processor": "x", "ip_addresses": [{"ipAddress": "1", "macAddress": "A"}]},
        {"os_build": 11, "processor": "y", "ip_addresses": [{"ipAddress": "1"}]},
        {},
    ]
    with undone(module_database) as session:
        rows.add(session, [_sample(number, facts=each) for number, each in enumerate(facts)])
        assert sorted(numbers(ask(session, ("$filter", text)))) == expected


def test_dates_may_come_in_quotes(filled: Session) -> None:
    assert numbers(ask(filled, ("$filter", "firstSeen ge '2026-03-01T12:08Z'"))) == [9, 8]


def test_a_column_that_is_an_agents_word_spoils_nothing(filled: Session) -> None:
    rows.add(filled, [_sample(0, facts={"os_build": 10**30, "processor": {}, "ip_addresses": 5})], first=60)
    rows.add(filled, [_sample(0, facts={"os_build": -(2**63)})], first=61)
    rows.add(filled, [_sample(0, facts={"os_build": 5.0, "processor": 5, "version": ["x"]})], first=62)
    assert (
        numbers(ask(filled, ("$filter", "osBuild ne null or osProcessor ne null or version ne null"))) == []
    )
    for text in ("osBuild ne 1", "osProcessor ne 'x'", "not ipAddresses/any(i: i/ipAddress eq 'x')"):
        assert ask(filled, ("$filter", text), ("$count", "true")).count == 13


# Tokens


def _token(filled: Session) -> str:
    token = ask(filled, ("pageSize", "2"), ("$filter", "rbacGroupId eq 0")).skiptoken
    assert token
    return token


def _refused(session: Session, token: str, *options: tuple[str, str]) -> None:
    with pytest.raises(ODataError, match="damaged, or belongs to another query") as caught:
        ask(session, ("$skiptoken", token), *(options or [("$filter", "rbacGroupId eq 0")]))
    assert caught.value.option == "$skiptoken"


def test_every_changed_character_of_a_token_is_found(filled: Session) -> None:
    token = _token(filled)
    ask(filled, ("$skiptoken", token), ("$filter", "rbacGroupId  eq  0"))  # the same query, spelled otherwise
    for at, letter in enumerate(token):
        _refused(filled, token[:at] + ("A" if letter != "A" else "B") + token[at + 1 :])
    for other in (token[:-1], token + "A", token + "=", "A" + token, "x", "é", "=" * 5, "null", "W10"):
        _refused(filled, other)


def test_a_token_belongs_to_its_query(filled: Session) -> None:
    token = _token(filled)
    _refused(filled, token, ("$filter", "rbacGroupId eq 1"))
    _refused(filled, token, ("$filter", "rbacGroupId eq 0"), ("$orderby", "firstSeen"))
    _refused(filled, token, ("$filter", "rbacGroupId eq 0"), ("$top", "5"))
    with pytest.raises(ODataError):
        ask(filled, ("$skiptoken", token), of=ACTIONS)


def forged(session: Session, body: Any) -> str:
    """A token as somebody would make it who has read our code."""
    from api.store import odata_page

    if isinstance(body, list) and len(body) == 3:
        query = Query(filter=parse_filter("rbacGroupId eq 0"))
        mark = odata_page._mark(MACHINES.describe(_DIALECT, NOW), query)
        body = [odata_page._check(mark, body[2], body[1]), *body[1:]]
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "body",
    [
        None, 5, "x", {}, [], [1, 2], {"a": 1, "b": 2, "c": 3},
        ["", None, None], ["", None, []], ["", None, ["2026-03-01T12:00:00Z"]], ["", None, [5, "a"]],
        ["", None, ["2026-03-01T12:00:00Z", 5]], ["", None, ["2026-03-01T12:00:00", "a"]],
        ["", None, ["2026-03-01T12:00:00Z", None]], ["", None, [None, "a"]],
        ["", None, ["0001-01-01T00:00:00+23:00", "a"]], ["", None, ["2026-03-01T12:00:00Z", "\0"]],
        ["", None, ["2026-03-01T12:00:00Z", "\ud800"]], ["", 0, ["2026-03-01T12:00:00Z", "a"]],
        ["", 10001, ["2026-03-01T12:00:00Z", "a"]], ["", "5", ["2026-03-01T12:00:00Z", "a"]],
        ["", None, ["2026-03-01T12:00:00Z", "a", "b"]],
    ],
)  # fmt: skip
def test_forged_tokens(filled: Session, body: Any) -> None:
    _refused(filled, forged(filled, body))


def test_a_deep_token(filled: Session) -> None:
    _refused(filled, base64.urlsafe_b64encode(b"[" * 6000).decode()[:MAX_TOKEN])


def test_tokens_stay_short(filled: Session) -> None:
    long = "\x01\U0001f600" * 1000
    rows.add(filled, [_sample(0, excluded_reason=long), _sample(0, excluded_reason=long)], first=70)
    order = ("$orderby", "exclusionReason desc,rbacGroupName,osArchitecture,osProcessor")
    page = ask(filled, order, ("pageSize", "1"))
    assert page.skiptoken
    assert len(page.skiptoken) < MAX_TOKEN / 4
    assert len(ask(filled, order, ("$skiptoken", page.skiptoken)).rows) == 11


@LEAN
@given(st.text(max_size=60))
@example("W10")
def test_any_text_as_a_token(module_database: Database, text: str) -> None:
    with undone(module_database) as session, pytest.raises(ODataError):
        ask(session, ("$skiptoken", text))


# The tables of properties, and machine actions


def test_every_property_of_the_answers_is_known() -> None:
    machine, action = (each.describe(_DIALECT, NOW) for each in (MACHINES, ACTIONS))
    assert set(machine.names()) == set(MachineOut.model_fields)
    assert set(action.names()) == set(ActionOut.model_fields)


@pytest.mark.parametrize("name", sorted(ActionOut.model_fields))
def test_actions_are_found_by_what_they_show(module_database: Database, name: str) -> None:
    with undone(module_database) as session:
        rows.add(session, [_sample(1), _sample(2)])
        common = {"tenant_id": "t", "requestor_role": "operator", "comment": "why?", "requestor": "SOAR"}
        full = Action(
            id="0a" * 16, machine_id=f"{0:040x}", type="Isolate", scope="Full", status="Failed", generation=3, title="T",
            external_id="E", created_at=NOW, updated_at=NOW, delivered_at=NOW, applied_at=NOW, verified_at=NOW,
            cancelled_by="me", cancel_comment="no", cancelled_at=NOW, error_text="it broke", request_source="Portal", **common,
        )  # fmt: skip
        bare = Action(
            id="0b" * 16, machine_id=f"{1:040x}", type="Unisolate", status="Pending", generation=4, request_source="PublicApi",
            created_at=rows.INSTANTS[5], updated_at=rows.INSTANTS[5], **(common | {"comment": "", "requestor": "x"}),
        )  # fmt: skip
        session.add_all([full, bare])
        session.flush()
        properties = ACTIONS.describe(_DIALECT, NOW)
        kind = properties.find(ast.Path((name,)), "$filter").kind
        if kind is Kind.NESTED:
            with pytest.raises(ODataError):
                ask(session, ("$filter", f"{name} eq null"), of=ACTIONS)
            return
        shown = action_out(full, "Host-1").model_dump()[name]
        assert shown is not None
        value = shown if kind in (Kind.INSTANT, Kind.NUMBER) else f"'{shown}'"
        assert ids(ask(session, ("$filter", f"{name} eq {value}"), of=ACTIONS)) == [full.id]
        assert ids(ask(session, ("$filter", f"{name} ne {value}"), of=ACTIONS)) == [bare.id]
        assert sorted(ids(ask(session, ("$orderby", name), of=ACTIONS))) == [full.id, bare.id]
