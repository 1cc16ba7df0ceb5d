from __future__ import annotations

import csv
import io
import json

import pytest

from allowlists import files, render
from allowlists.model import Entry
from allowlists.parse import parse_list


def entry(**facts: object) -> Entry:
    return Entry(**{"n": 1, "pattern": "a.example", "host": "a.example", "list_id": "t", **facts})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", files.available())
def test_yaml_reads_back_to_the_same_rows(name: str) -> None:
    each = files.load(name)
    again = parse_list(render.render_yaml(each, each.entries, each.networks), "again")
    values = [render.entry_value(x) for x in each.entries]
    assert [render.entry_value(x) for x in again.entries] == values
    assert again.networks == each.networks
    assert (again.list_id, again.version, again.sources) == (each.list_id, each.version, each.sources)


def test_yaml_of_an_undated_list() -> None:
    each = parse_list("header: {list_id: 'NO'}\nentries: [{pattern: a.example, geography: NO}]", "t")
    again = parse_list(render.render_yaml(each, each.entries, ()), "t")
    assert (again.version, again.list_id, again.entries[0].geography) == ("undated", "NO", "NO")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_csv_cells_are_no_formulas(text: str) -> None:
    (record,) = csv.DictReader(io.StringIO(render.render_csv([entry(notes=text)]), newline=""))
    assert record["notes"] == "'" + text


def test_csv_has_every_field() -> None:
    wild = parse_list(
        "header: {list_id: t}\nentries: [{pattern: '*.a.example', known_hosts: [x.a.example, y.a.example],"
        " os: [linux, macos], required: ~, extra_ports: [80], notes: 'a, \"b\"'}]",
        "t",
    ).entries
    (record,) = csv.DictReader(io.StringIO(render.render_csv(wild)))
    assert record["known_hosts"] == "x.a.example y.a.example"
    assert (record["os"], record["extra_ports"], record["port"]) == ("linux macos", "80", "443")
    assert (record["required"], record["isolation"], record["apex"]) == ("", "true", "false")
    assert (record["pattern"], record["notes"], record["id"]) == ("*.a.example", 'a, "b"', "t#1")


def test_json_keeps_letters() -> None:
    assert json.loads(render.render_json({"a": "é"})) == {"a": "é"}
    assert "é" in render.render_json({"a": "é"})


def test_plain_tables_are_aligned_and_have_no_blanks_at_the_end() -> None:
    text = render.render_table((("a", "bb"), [("long", ""), ("x", "y")]), terminal=False)
    assert text == "a     bb\nlong\nx     y\n"


def test_tables_on_a_terminal_take_no_markup_from_cells() -> None:
    text = render.render_table((("name",), [("[red]x[/red]",), (":smile:",)]), terminal=True)
    assert "[red]x[/red]" in text
    assert ":smile:" in text


def test_small_words() -> None:
    assert [render.required_text(x) for x in (True, False, None)] == ["yes", "no", "?"]
    assert [render.isolation_text(x) for x in (True, False)] == ["open", "shut"]
    assert render.ports_text(entry(extra_ports=(80,))) == "443,80/tcp"
