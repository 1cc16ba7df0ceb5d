"""The options of a list request, one by one."""

from __future__ import annotations

import pytest

from api.core.odata import MAX_TOP, ODataError, Query, parse_query
from api.core.odata_ast import Compare, Comparison, Literal, OrderKey, Path

PENDING = Compare(Comparison.EQ, Path(("status",)), Literal("Pending"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], Query()),
        ([("$filter", "status eq 'Pending'")], Query(filter=PENDING)),
        ([("$Filter", "status eq 'Pending'")], Query(filter=PENDING)),
        ([("filter", "status eq 'Pending'")], Query(filter=PENDING)),  # OData 4.01: the $ may be missing
        ([("$orderby", "type desc")], Query(order=(OrderKey(Path(("type",)), True),))),
        ([("$top", "5"), ("$skip", "10")], Query(top=5, skip=10)),
        ([("$top", "0")], Query(top=0)),
        ([("$top", " 10000 ")], Query(top=MAX_TOP)),
        ([("$count", "true")], Query(count=True)),
        ([("$count", "False")], Query()),
        ([("pageSize", "50")], Query(page_size=50)),
        ([("pagesize", "50000")], Query(page_size=MAX_TOP)),  # check-msdefender asks for so many
        ([("pageIndex", "1"), ("timestamp", "x")], Query()),  # not OData's: not ours to judge
        ([("$skiptoken", "abc_-")], Query(skiptoken="abc_-")),
        ([("$select", "id, Status")], Query(select=("id", "Status"))),
        ([("$select", "id,*")], Query()),
        ([("$format", "json")], Query()),
        ([("$format", "application/json;odata.metadata=none")], Query()),
    ],
)
def test_options(options: list[tuple[str, str]], expected: Query) -> None:
    assert parse_query(options) == expected


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("$top", "10001", "the limit of 10000 is exceeded"),
        ("$top", "-1", "whole number"),
        ("$top", "1.5", "whole number"),
        ("$top", "٣", "whole number"),
        ("$top", "9" * 4000, "whole number"),
        ("$skip", "2147483648", "whole number"),
        ("$skip", "x", "whole number"),
        ("pageSize", "0", "at least 1"),
        ("$count", "yes", "true or false"),
        ("$filter", " ", "it is empty"),  # a variable that was not set must not mean every machine
        ("$orderby", "", "it is empty"),
        ("$select", "id,,type", "it must name 1 to 100 properties"),
        ("$select", ",".join("abcdefghij" * 11), "it must name 1 to 100 properties"),
        ("$filter", "a eq 1 " + " " * 4096, "longer than 4096"),
        ("$skiptoken", "a" * 8193, "longer than 8192"),
        ("$expand", "evidence", "not supported"),
        ("$search", "x", "not supported"),
        ("$fitler", "status eq 'Pending'", "no such option"),
        ("$format", "xml", "answers are JSON"),
    ],
)
def test_refused(option: str, value: str, sentence: str) -> None:
    with pytest.raises(ODataError, match=sentence) as caught:
        parse_query([(option, value)])
    assert caught.value.option == option


def test_twice_is_refused_in_any_spelling() -> None:
    with pytest.raises(ODataError, match="given twice"):
        parse_query([("$filter", "a eq 1"), ("FILTER", "a eq 2")])


def test_the_error_names_option_and_position() -> None:
    with pytest.raises(ODataError) as caught:
        parse_query([("$filter", "status eq 'Pending' and frobnicate(id)")])
    assert str(caught.value) == "$filter, position 25: the function frobnicate is not supported"
    assert (caught.value.position, caught.value.option) == (24, "$filter")
