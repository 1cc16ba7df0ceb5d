"""What clients and Microsoft's pages send, and what nobody should get away with."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from api.core.odata_ast import (
    And,
    Case,
    Cased,
    Compare,
    Comparison,
    Condition,
    Constant,
    Holds,
    Literal,
    Match,
    Not,
    ODataError,
    OneOf,
    Or,
    OrderKey,
    Path,
    Quantified,
    TextMatch,
    Value,
)
from api.core.odata_lexer import MAX_LENGTH
from api.core.odata_parser import parse_filter, parse_order


def path(text: str) -> Path:
    return Path(tuple(text.split("/")))


def eq(name: str, value: Value) -> Compare:
    return Compare(Comparison.EQ, path(name), Literal(value))


def compare(name: str, op: str, value: Value) -> Compare:
    return Compare(Comparison(op), path(name), Literal(value))


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # year, month, day, ...


A, B, C = eq("a", 1), eq("b", 2), eq("c", 3)
GUID = "2e9da30d-27f6-4208-81f2-9cd3d67893ba"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Microsoft's examples and public clients
        ("riskScore eq 'High'", eq("riskScore", "High")),
        ("healthStatus ne 'Active'", compare("healthStatus", "ne", "Active")),
        ("lastSeen gt 2018-08-01Z", compare("lastSeen", "gt", at(2018, 8, 1))),
        ("lastUpdateTime ge 2019-11-22T00:00:00Z", compare("lastUpdateTime", "ge", at(2019, 11, 22))),
        (
            "requestor eq 'Analyst@contoso.com' and type eq 'RunAntiVirusScan'",
            And((eq("requestor", "Analyst@contoso.com"), eq("type", "RunAntiVirusScan"))),
        ),
        (
            "startswith(computerDnsName,'mymachine')",
            TextMatch(Match.STARTS, path("computerDnsName"), Literal("mymachine")),
        ),
        (
            "machineTags/any(tag: tag eq 'ExampleTag')",
            Quantified(path("machineTags"), False, "tag", eq("tag", "ExampleTag")),
        ),
        (
            "machineId eq 'f4' and (type eq 'Isolate' or type eq 'Unisolate')",
            And((eq("machineId", "f4"), Or((eq("type", "Isolate"), eq("type", "Unisolate"))))),
        ),
        ("rbacGroupId eq 140", eq("rbacGroupId", 140)),
        (f"id eq {GUID}", eq("id", GUID)),
        ("startswith(a,'b') eq true", TextMatch(Match.STARTS, path("a"), Literal("b"))),
        ("startswith(a,'b') eq false", Not(TextMatch(Match.STARTS, path("a"), Literal("b")))),
        ("true ne contains(a,'b')", Not(TextMatch(Match.CONTAINS, path("a"), Literal("b")))),
        # in any case, with any blanks
        ("a EQ 1 AND b Eq 2 oR c eq 3", Or((And((A, B)), C))),
        ("NOT a eq 1", Not(A)),
        ("  a\teq\r\n1  ", A),
        ("STARTSWITH ( a , 'b' )", TextMatch(Match.STARTS, path("a"), Literal("b"))),
        # structure
        ("a eq 1 or b eq 2 and c eq 3", Or((A, And((B, C))))),
        ("(a eq 1 or b eq 2) and c eq 3", And((Or((A, B)), C))),
        ("not (a eq 1 and b eq 2)", Not(And((A, B)))),
        ("not not a eq 1", Not(Not(A))),
        ("not a eq 1 and b eq 2", And((Not(A), B))),
        ("((((a)) eq ((1))))", A),
        ("5 lt a", compare("a", "gt", 5)),
        ("5 le a", compare("a", "ge", 5)),
        ("5 gt a", compare("a", "lt", 5)),
        ("5 ge a", compare("a", "le", 5)),
        ("5 ne a", compare("a", "ne", 5)),
        ("isExcluded", Holds(path("isExcluded"))),
        ("not isExcluded and true", And((Not(Holds(path("isExcluded"))), Constant(True)))),
        ("observed/state eq 'isolated'", eq("observed/state", "isolated")),
        ("a in ('x','y')", OneOf(path("a"), (Literal("x"), Literal("y")))),
        ("a IN (1, null)", OneOf(path("a"), (Literal(1), Literal(None)))),
        ("tolower(a) eq 'x'", Compare(Comparison.EQ, Cased(Case.LOWER, path("a")), Literal("x"))),
        (
            "contains(toupper(tolower(a)),'X')",
            TextMatch(Match.CONTAINS, Cased(Case.UPPER, Cased(Case.LOWER, path("a"))), Literal("X")),
        ),
        ("endswith(a,'')", TextMatch(Match.ENDS, path("a"), Literal(""))),
        ("a/any()", Quantified(path("a"), False)),
        ("a/b/ALL(x: x/y ne 'z')", Quantified(path("a/b"), True, "x", compare("x/y", "ne", "z"))),
        # values
        ("a eq 'it''s'", eq("a", "it's")),
        ("a eq ''", eq("a", "")),
        ("a eq ''''", eq("a", "'")),
        ("a eq '%_\\*'", eq("a", "%_\\*")),
        ("a eq 'eq and or)'", eq("a", "eq and or)")),
        ("a eq '端末'", eq("a", "端末")),
        ("a eq Null", eq("a", None)),
        ("a eq TRUE", eq("a", True)),
        ("a eq -17", eq("a", -17)),
        ("a eq 1.5", eq("a", 1.5)),
        ("a eq 2E3", eq("a", 2000.0)),
        ("a eq 9223372036854775807", eq("a", 2**63 - 1)),
        ("a eq guid'x'", eq("a", "x")),
        ("a eq Api.Status'Pending'", eq("a", "Pending")),
        ("any eq 1", eq("any", 1)),  # words are names where no word can be
        ("in in (1)", OneOf(path("in"), (Literal(1),))),
    ],
)
def test_filter(text: str, expected: Condition) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-31", at(2024, 5, 31)),
        ("2024-05-31Z", at(2024, 5, 31)),
        ("2024-05-31z", at(2024, 5, 31)),
        ("2024-05-31T12:30", at(2024, 5, 31, 12, 30)),
        ("2024-05-31t12:30:15Z", at(2024, 5, 31, 12, 30, 15)),
        ("2024-05-31T12:30:15.5Z", at(2024, 5, 31, 12, 30, 15, 500_000)),
        ("2024-05-31T12:30:15.1234567Z", at(2024, 5, 31, 12, 30, 15, 123_456)),
        ("2024-05-31T12:30:15+00:00", at(2024, 5, 31, 12, 30, 15)),
        ("2024-05-31T12:30:15 00:00", at(2024, 5, 31, 12, 30, 15)),  # a plus that the URL turned to a blank
        ("2024-05-31T12:30:15.25 09:00", at(2024, 5, 31, 3, 30, 15, 250_000)),
        ("2024-05-31T12:30:15-05:30", at(2024, 5, 31, 18, 0, 15)),
        ("2024-05-31T23:59:59.999999Z", at(2024, 5, 31, 23, 59, 59, 999_999)),
        ("datetime'2024-05-31T12:30'", at(2024, 5, 31, 12, 30)),
        ("datetimeoffset'2024-05-31T12:30+09:00'", at(2024, 5, 31, 3, 30)),
    ],
)
def test_instants(text: str, expected: datetime) -> None:
    assert parse_filter(f"a gt {text} and b eq 2") == And((compare("a", "gt", expected), B))


@pytest.mark.parametrize(
    ("text", "position", "sentence"),
    [
        ("", 0, "a name is expected, not the end"),
        ("a eq", 4, "a name is expected, not the end"),
        ("a eq 'x", 5, "no closing quote"),
        ("a eq 'x' b eq 1", 9, "'b' is not expected here"),
        ("a = 1", 2, "'=' is not expected here"),
        ('a eq "x"', 5, "is not expected here"),
        ("a eq 1;drop table machines", 6, "';' is not expected here"),
        ("a eq 5x", 5, "is not expected here"),
        ("a eq 1 and", 10, "a name is expected, not the end"),
        ("(a eq 1", 7, "\\) is expected, not the end"),
        ("a eq 1)", 6, "'\\)' is not expected here"),
        ("a eq b", 2, "one side must be a property and the other a value"),
        ("1 eq 2", 2, "one side must be a property and the other a value"),
        ("(a eq 1) gt true", 9, "only be compared with eq or ne"),
        ("(a eq 1) eq 'x'", 9, "only be compared with eq or ne"),
        ("(a eq 1) in (true)", 9, "a property is expected before in"),
        ("'x'", 3, "a condition is expected"),
        ("1 and a eq 1", 2, "a condition is expected"),
        ("tolower(a)", 10, "a condition is expected"),
        ("a in ()", 6, "a value is expected, not '\\)'"),
        ("a in ('x',)", 10, "a value is expected"),
        ("a in 'x'", 5, "\\( is expected"),
        ("contains(a,5)", 11, "contains searches for a text in quotes"),
        ("contains('x',a)", 9, "a property is expected"),
        ("contains(a eq 1,'x')", 11, ", is expected, not 'eq'"),
        ("contains((a eq 1),'x')", 9, "a property is expected"),
        ("contains(a)", 10, ", is expected"),
        ("length(a) eq 3", 0, "the function length is not supported"),
        ("a/all()", 6, "a name is expected"),
        ("a/any(t eq 'x')", 8, ": is expected"),
        ("a/'x' eq 1", 2, "a name is expected"),
        ("a/b/c/d/e eq 1", 8, "a path has up to 4 parts"),
        ("a eq 2024-13-01", 5, "no date of the calendar"),
        ("a eq 2024-02-30T00:00Z", 5, "no date of the calendar"),
        ("a eq 2024-01-01T24:00Z", 5, "no date of the calendar"),
        ("a eq 0001-01-01T00:00+01:00", 5, "no date of the calendar"),
        ("a eq 9999-12-31T23:59-01:00", 5, "no date of the calendar"),
        ("a eq 2024-01-01T00:00+24:00", 5, "no date of the calendar"),
        ("a eq datetime'yesterday'", 5, "'yesterday' is no date such as"),
        # a blank instead of the T would read 10:00 as an offset
        ("a gt 2018-08-01 10:00", 16, "'10' is not expected here"),
        ("a eq 9223372036854775808", 5, "the number is too large"),
        ("a eq 1e400", 5, "the number is too large"),
        ("a eq 1e19", 5, "the number is too large"),
        ("a eq " + "9" * 41, 5, "the number is too long"),
        ("a eq 'x\0'", 5, "a character that no text can have"),
        ("a eq '\udc80'", 5, "a character that no text can have"),
        ("a eq '" + "x" * MAX_LENGTH, MAX_LENGTH, "longer than 4096"),
    ],
)
def test_refused(text: str, position: int, sentence: str) -> None:
    with pytest.raises(ODataError, match=sentence) as caught:
        parse_filter(text)
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("within", "beyond", "sentence"),
    [
        ("(" * 20 + "a eq 1" + ")" * 20, "(" * 21 + "a eq 1" + ")" * 21, "nested deeper than 20"),
        ("not " * 20 + "a eq 1", "not " * 21 + "a eq 1", "nested deeper than 20"),
        (
            "tolower(" * 20 + "a" + ")" * 20 + " eq 'x'",
            "tolower(" * 21 + "a" + ")" * 21 + " eq 'x'",
            "nested deeper than 20",
        ),
        # n comparisons have n - 1 operators between them
        (" or ".join(["a eq 1"] * 100), " or ".join(["a eq 1"] * 101), "more than 200 conditions"),
        (" and ".join(["a"] * 100), " and ".join(["a"] * 101), "more than 200 conditions"),
        (f"a in ({','.join('7' * 200)})", f"a in ({','.join('7' * 201)})", "up to 200 values"),
    ],
)
def test_bounds(within: str, beyond: str, sentence: str) -> None:
    parse_filter(within)
    with pytest.raises(ODataError, match=sentence):
        parse_filter(beyond)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lastSeen", (OrderKey(path("lastSeen")),)),
        ("lastSeen ASC", (OrderKey(path("lastSeen")),)),
        ("creationDateTimeUtc desc", (OrderKey(path("creationDateTimeUtc"), True),)),
        ("a desc,b , c asc", (OrderKey(path("a"), True), OrderKey(path("b")), OrderKey(path("c")))),
        ("observed/state Desc", (OrderKey(path("observed/state"), True),)),
        ("desc desc", (OrderKey(path("desc"), True),)),
    ],
)
def test_order(text: str, expected: tuple[OrderKey, ...]) -> None:
    assert parse_order(text) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,", "a name is expected, not the end"),
        ("a b", "'b' is not expected here"),
        ("a,A desc", "each once"),
        ("a,b,c,d,e,f", "up to 5 properties"),
        ("a/any()", "it takes properties only"),
        ("1", "a name is expected"),
        ("a gt 'x", "no closing quote"),
    ],
)
def test_order_refused(text: str, sentence: str) -> None:
    with pytest.raises(ODataError, match=sentence) as caught:
        parse_order(text)
    assert caught.value.option == "$orderby"


@pytest.mark.parametrize("value", [Path(("a",), 3), Literal("x", 9)])
def test_positions_make_no_difference(value: Path | Literal) -> None:
    same = Path(("a",)) if isinstance(value, Path) else Literal("x")
    assert value == same
    assert repr(value) == repr(same)  # a token's mark is made of it
