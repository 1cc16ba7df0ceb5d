"""Whatever the text: a list, or a ListError that names file and reason in one line."""

from __future__ import annotations

import string

import yaml
from hypothesis import given
from hypothesis import strategies as st

from allowlists import files, render
from allowlists.keys import ENTRY_KEYS, HEADER_KEYS
from allowlists.model import EndpointList, ListError
from allowlists.parse import parse_list
from allowlists.pattern import parse_pattern

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 70000),
        st.sampled_from(
            ["a.example", "*.a.example", "*", "192.0.2.0/24", "US", "tcp", "2024-12", "a..b", ""]
        ),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
ROWS = st.dictionaries(st.sampled_from(sorted(ENTRY_KEYS)), VALUES, max_size=6)
HEADERS = st.dictionaries(st.sampled_from(sorted(HEADER_KEYS)), VALUES, max_size=4)
SMALL_LIST = (
    "header: {list_id: t}\nentries:\n- pattern: '*.a.example'\n  port: 443\n  os: [linux]\n- {pattern: b.c}\n"
)


def parse(text: str) -> EndpointList | None:
    """Give the list, or None after a look at the error; anything else that is raised fails the test."""
    refused: ListError | None = None
    each: EndpointList | None = None
    try:
        each = parse_list(text, "f.yaml")
    except ListError as error:
        refused = error
    if refused is not None:
        assert refused.file == "f.yaml"
        assert str(refused).isprintable()
        assert refused.line is None or refused.line >= 1
    assert each is None or each.entries
    return each


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    parse(text)


@given(
    st.text(string.printable + "&*!|>%@`\x00\x85\ud800é", max_size=60),
    st.integers(0, len(SMALL_LIST)),
    st.integers(0, 9),
)
def test_a_list_with_a_piece_changed(piece: str, start: int, length: int) -> None:
    parse(SMALL_LIST[:start] + piece + SMALL_LIST[start + length :])


@given(st.one_of(VALUES, HEADERS), st.one_of(VALUES, st.lists(st.one_of(VALUES, ROWS), max_size=3)), VALUES)
def test_any_structure(header: object, entries: object, changes: object) -> None:
    parse(yaml.safe_dump({"header": header, "entries": entries, "changes": changes}))


@given(st.lists(ROWS.map(lambda row: {"pattern": "*.a.example", **row}), min_size=1, max_size=3))
def test_what_is_accepted_reads_back_to_the_same(rows: list[dict[str, object]]) -> None:
    each = parse(yaml.safe_dump({"header": {"list_id": "t"}, "entries": rows}))
    if each is None:
        return
    again = parse_list(render.render_yaml(each, each.entries, ()), "again")
    assert [render.entry_value(x) for x in again.entries] == [render.entry_value(x) for x in each.entries]
    for entry in each.entries:
        assert parse_pattern(entry.pattern).host == entry.host
        assert all(1 <= port <= 65535 for port in entry.ports)


@given(st.data())
def test_a_shipped_list_cut_anywhere_is_never_taken_for_whole(data: st.DataObject) -> None:
    each = files.load("collaboration")
    text = render.render_yaml(each, each.entries, ()).replace(
        "list_id:", f"count: {each.count}\n  list_id:", 1
    )
    cut = data.draw(st.integers(0, len(text) - 1))
    found = parse(text[:cut])
    assert found is None or found.count == each.count
