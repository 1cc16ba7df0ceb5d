from __future__ import annotations

import pytest

from allowlists.edition import diff, edition, editions
from allowlists.model import EndpointList, ListError
from allowlists.parse import parse_list

TEXT = """\
header: {list_id: t, as_of: 2024-12, known_until: 2025-09}
entries:
- {pattern: a.example}
- {pattern: b.example}
networks:
- {name: T, as_of: 2024-12-31, prefixes: [192.0.2.0/28]}
- {name: T, as_of: 2025-07-22, prefixes: [192.0.2.16/28]}
changes:
- {date: 2025-04-07, change: removed, n: 2}
- {date: 2025-04-20, change: added, entry: {n: 3, pattern: c.example}}
- {date: 2025-08-01, change: removed, n: 3}
"""
ORIGINAL = parse_list(TEXT, "t.yaml")


def state(each: EndpointList) -> tuple[str, list[int], int]:
    return each.version, [entry.n for entry in each.entries], len(each.networks)


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2024-12", ("2024-12", [1, 2], 1)),
        ("2025-03", ("2024-12", [1, 2], 1)),
        ("2025-04", ("2025-04", [1, 3], 1)),
        ("2025-04-06", ("2024-12", [1, 2], 1)),
        ("2025-04-07", ("2025-04", [1], 1)),
        ("2025-07", ("2025-07", [1, 3], 2)),
        ("2025-07-21", ("2025-04", [1, 3], 1)),
        ("2025-07-22", ("2025-07", [1, 3], 2)),
        ("2025-08", ("2025-08", [1], 2)),
        ("2025-09-30", ("2025-08", [1], 2)),
    ],
)
def test_editions(date: str, expected: tuple[str, list[int], int]) -> None:
    assert state(edition(ORIGINAL, date)) == expected


def test_which_editions_there_are() -> None:
    assert editions(ORIGINAL) == ("2024-12", "2025-04", "2025-07", "2025-08")


@pytest.mark.parametrize("date", ["2024-11", "2025-10", "2030-01-01"])
def test_dates_nobody_knows_about(date: str) -> None:
    with pytest.raises(ListError, match=f"there is no edition {date}; dated editions are 2024-12, 2025-04"):
        edition(ORIGINAL, date)


@pytest.mark.parametrize("date", ["", "2025", "2025-13", "2025-04-32", "latest", "2025-04-07T00:00"])
def test_what_is_no_date(date: str) -> None:
    with pytest.raises(ListError, match="write YYYY-MM or YYYY-MM-DD"):
        edition(ORIGINAL, date)


def test_an_undated_list_has_no_editions() -> None:
    undated = parse_list("header: {list_id: u}\nentries: [{pattern: a.example}]", "u")
    assert editions(undated) == ()
    with pytest.raises(ListError, match=r"dated editions are none$"):
        edition(undated, "2025-01")


def test_without_known_until_the_list_is_known_at_its_date_only() -> None:
    plain = parse_list("header: {list_id: u, as_of: 2025-01-15}\nentries: [{pattern: a.example}]", "u")
    assert edition(plain, "2025-01").version == "2025-01-15"
    with pytest.raises(ListError, match="no edition 2025-02"):
        edition(plain, "2025-02")


def test_diff_of_editions() -> None:
    found = diff(ORIGINAL, edition(ORIGINAL, "2025-07"))
    assert [entry.n for entry in found.added] == [3]
    assert [entry.n for entry in found.removed] == [2]
    assert found.changed == ()
    assert [str(prefix.network) for prefix in found.added_networks] == ["192.0.2.16/28"]
    assert found.removed_networks == ()
    back = diff(edition(ORIGINAL, "2025-07"), ORIGINAL)
    assert (back.added, back.removed) == (found.removed, found.added)
    assert back.removed_networks == found.added_networks


def test_diff_of_a_list_with_itself_is_empty() -> None:
    found = diff(ORIGINAL, ORIGINAL)
    assert not any((found.added, found.removed, found.changed, found.added_networks, found.removed_networks))


def rows(list_id: str, *lines: str) -> EndpointList:
    body = "".join(f"- {{{line}}}\n" for line in lines)
    return parse_list(f"header: {{list_id: {list_id}}}\nentries:\n{body}", list_id)


def test_diff_says_which_facts_changed() -> None:
    before = rows("t", "pattern: a.example, notes: old", "pattern: b.example")
    after = rows("t", "pattern: a.example, notes: new, isolation: false", "pattern: b.example")
    (change,) = diff(before, after).changed
    assert change.fields == ("isolation", "notes")


def test_diff_across_lists_ignores_numbers_and_remarks() -> None:
    before = rows("t", "pattern: a.example, notes: old", "pattern: b.example, os: [linux]")
    after = rows("u", "pattern: b.example, n: 9, os: [macos]", "pattern: a.example, n: 8")
    (change,) = diff(before, after).changed
    assert (change.after.pattern, change.fields) == ("b.example", ("os",))


def test_diff_counts_rows_that_are_printed_twice() -> None:
    once = rows("t", "pattern: a.example")
    twice = rows("t", "pattern: a.example", "pattern: a.example, duplicate_of: 1")
    found = diff(twice, once)
    assert [entry.n for entry in found.removed] == [2]
    assert found.added == ()


def test_diff_tells_ports_and_paths_apart() -> None:
    before = rows("t", "pattern: a.example", "pattern: b.example/x")
    after = rows("t", "pattern: a.example, port: 80", "pattern: b.example/y")
    found = diff(before, after)
    assert (len(found.added), len(found.removed)) == (2, 2)
