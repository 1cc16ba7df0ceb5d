"""External dynamic lists: what a firewall would open."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from allowlists import files, merge
from allowlists.cli import main
from allowlists.export import Feed, render_feed
from allowlists.model import Entry, ListError, Match, StaticPrefix

ENTRIES = (
    Entry(1, "*.wd.vendor.example", "*.wd.vendor.example", Match.SUBDOMAINS),
    Entry(2, "*.apex.example", "*.apex.example", Match.SUBDOMAINS, apex=True),
    Entry(3, "one.vendor.example/crl", "one.vendor.example", port=80, path="/crl"),
    Entry(4, "one.vendor.example", "one.vendor.example"),
    Entry(5, "edge*a.cdn.example", "edge*a.cdn.example", Match.GLOB),
    Entry(6, "192.0.2.0/24", "192.0.2.0/24", Match.NETWORK, network=ip_network("192.0.2.0/24")),
)
PREFIXES = (StaticPrefix(ip_network("2001:db8::/32"), "Tag"), StaticPrefix(ip_network("192.0.2.0/24"), "Tag"))


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        (
            Feed.DOMAINS,
            "# *.cdn.example stands for edge*a.cdn.example\n*.apex.example\n*.cdn.example\n*.wd.vendor.example\napex.example\none.vendor.example\n",
        ),
        (
            Feed.URLS,
            "*.apex.example/\n*.wd.vendor.example/\napex.example/\nedge*a.cdn.example/\none.vendor.example/\none.vendor.example/crl\n",
        ),
        (Feed.ADDRESSES, "192.0.2.0/24\n2001:db8::/32\n"),
    ],
)
def test_a_feed_has_every_destination_once_and_nothing_broader(feed: Feed, expected: str) -> None:
    assert render_feed(feed, ENTRIES, PREFIXES) == expected


def test_an_empty_feed_is_only_its_head() -> None:
    assert render_feed(Feed.ADDRESSES, ENTRIES[:4], (), head="mine 2026-01") == "# mine 2026-01\n"


def test_every_shipped_name_is_in_the_feed() -> None:
    standard = files.load("standard")
    entries = merge.rows([standard], geo=[], os=None, profile="all", required_only=False)
    lines = set(render_feed(Feed.DOMAINS, entries, ()).splitlines())
    assert {each.host for each in entries} <= lines


def test_the_command_prints_or_writes_the_file_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "edl.txt"
    assert main(["export", "--format", "edl-domains", "--list", "streamlined", "--geo", "EU"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# mde-streamlined-commercial 2")
    arguments = [
        "export",
        "--format",
        "edl-domains",
        "--list",
        "streamlined",
        "--geo",
        "EU",
        "-o",
        str(target),
    ]
    assert main(arguments) == 0
    assert target.read_text() == printed
    assert capsys.readouterr().out == ""
    assert [each.name for each in tmp_path.iterdir()] == ["edl.txt"]


@pytest.mark.parametrize("name", ["missing/edl.txt", ".", "a\0b"])
def test_a_place_that_refuses_is_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--format", "edl-urls", "-o", str(tmp_path / name)]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_writing_names_the_file_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(ListError, match="nowhere"):
        files.write_whole(str(tmp_path / "nowhere" / "x"), "text")
