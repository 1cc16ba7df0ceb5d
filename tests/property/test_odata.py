"""Any text at all as a query option: a value or ODataError, nothing else.

`python -m tests.property.test_odata SECONDS` goes on with random texts until the time is up.
"""

from __future__ import annotations

import random
import sys
import time
from contextlib import suppress

from hypothesis import example, given
from hypothesis import strategies as st

from api.core.odata import ODataError, parse_query
from api.core.odata_ast import Condition, OrderKey
from api.core.odata_lexer import MAX_LENGTH, tokens
from api.core.odata_parser import MAX_NODES, parse_filter, parse_order

OPTIONS = ("$filter", "$orderby", "$select", "$top", "$skip", "$skiptoken", "$count", "pageSize", "$format")
PIECES = (
    "status", "lastSeen", "observed/state", "t", "x", " ", "  ", "\t", " eq ", " ne ", " gt ", " in ", " and ", " OR ", "not ",
    "(", ")", ",", "/", ":", "'", "''", "'x'", "'it''s'", "any", "/any(t: t eq 'x')", "/all(", "any()", "true", "null",
    "startswith(", "contains(a,'b')", "tolower(", "guid'", "datetime'", "Api.Status'", "5", "-1", "1e5", "1e999", "9" * 19,
    "2024-05-31", "T10:00", ":00", "Z", "+00:00", " 00:00", ".1234567", "2024-13-01", "0001-01-01T00:00+23:59",
    "2e9da30d-27f6-4208-81f2-9cd3d67893ba", "\0", "\ud800", "é", "٣", "desc", " asc", "*", "%", "_", ".", "-", "a.b",
)  # fmt: skip
likely = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
texts = st.one_of(likely, st.text(max_size=200), st.text("(a)'. ", max_size=200))


def read(text: str) -> None:
    """What the fuzzing drives: all of the reading, and that what it gives is bounded."""
    with suppress(ODataError):
        assert 0 < count(parse_filter(text)) <= MAX_NODES
    with suppress(ODataError):
        assert all(isinstance(each, OrderKey) for each in parse_order(text))
    for option in OPTIONS:
        with suppress(ODataError):
            parse_query([(option, text)])


def count(node: Condition) -> int:
    """How many conditions there are in a condition."""
    inner = getattr(node, "conditions", None) or tuple(filter(None, [getattr(node, "condition", None)]))
    return 1 + sum(map(count, inner))


@given(texts)
@example("'" * MAX_LENGTH)
@example("'" * (MAX_LENGTH - 1))
@example("a." * (MAX_LENGTH // 2))
@example("(" * MAX_LENGTH)
@example("not " * (MAX_LENGTH // 4))
@example("x/any(t:" * (MAX_LENGTH // 8))
@example("tolower(" * (MAX_LENGTH // 8))
@example("a in (" + "1," * (MAX_LENGTH // 2 - 4))
def test_nothing_but_odata_error(text: str) -> None:
    read(text)


@given(st.lists(st.tuples(st.one_of(st.sampled_from(OPTIONS), st.text(max_size=12)), texts), max_size=4))
def test_any_options(options: list[tuple[str, str]]) -> None:
    with suppress(ODataError):
        parse_query(options)


@given(texts)
def test_positions_are_in_the_text(text: str) -> None:
    position = 0
    try:
        parse_filter(text)
    except ODataError as error:
        position = error.position
    assert 0 <= position <= len(text)


@given(likely)
def test_tokens_are_the_text_without_its_blanks(text: str) -> None:
    with suppress(ODataError):
        found = tokens(text)
        assert [each.text for each in found] == [text[each.position :][: len(each.text)] for each in found]
        between, at = "", 0
        for each in found:
            between += text[at : each.position]
            at = each.position + len(each.text)
        assert not between.strip(" \t\r\n")
        assert at == len(text)


def fuzz(seconds: float) -> int:
    """Drive `read` with random texts for so long; gives how many there were."""
    source, until, done = random.Random(), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        pieces = source.choices(PIECES, k=source.randrange(1, 60))
        pieces += [chr(source.randrange(0x3000)) for _ in range(source.randrange(3))]
        source.shuffle(pieces)
        read("".join(pieces))
        done += 1
    return done


if __name__ == "__main__":
    print(f"{fuzz(float(sys.argv[1]))} texts, nothing but ODataError")
