from __future__ import annotations

import pytest

from allowlists.model import EndpointList, Entry, ListError, ParseError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ListError("too bad", file="a.yaml", line=7), "a.yaml:7: too bad"),
        (ListError("too bad", file="a.yaml"), "a.yaml: too bad"),
        (ListError("too bad"), "too bad"),
        (ParseError("too bad"), "too bad"),
    ],
)
def test_errors_say_where_and_why(error: ParseError, text: str) -> None:
    assert str(error) == text
    assert error.reason == "too bad"
    assert isinstance(error, ValueError)


def test_entry_names_itself_and_its_ports() -> None:
    entry = Entry(
        n=7, pattern="a.example", host="a.example", port=443, extra_ports=(80, 8080), list_id="mine"
    )
    assert entry.id == "mine#7"
    assert entry.ports == (443, 80, 8080)


def test_list_counts_its_rows() -> None:
    entry = Entry(n=1, pattern="a.example", host="a.example")
    assert EndpointList("mine", (entry, entry)).count == 2
