"""What the person at the device reads."""

from __future__ import annotations

import json
import unicodedata
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolator.model.event import EventKind, HostEvent
from isolator.render.notice import MAX_TEXT, clean, prefers_japanese, render_event, render_notice, render_time

TOKYO = timezone(timedelta(hours=9))
ISOLATED = HostEvent(
    EventKind.ISOLATED, "2025-03-01T20:30:00Z", "phishing mail", "full", "SOC 110", "2025-03-08T20:30:00Z"
)


def test_isolation_in_both_languages() -> None:
    notice = render_notice(ISOLATED, TOKYO)
    assert notice.text(japanese_first=False) == (
        "This device has been isolated from the network / この端末はネットワークから隔離されました\n"
        "\n"
        "Reason: phishing mail\n"
        "Time: 2025-03-02 05:30 (UTC+09:00) = 2025-03-01 20:30 UTC\n"
        "Ends by itself: 2025-03-09 05:30 (UTC+09:00) = 2025-03-08 20:30 UTC\n"
        "What works: programs and files on this device, and the security service,\n"
        "  through which experts examine it. Web, e-mail, network folders and\n"
        "  printers do not. Please leave the device switched on.\n"
        "Whom to call: SOC 110\n"
        "\n"
        "理由: phishing mail\n"
        "日時: 2025-03-02 05:30 (UTC+09:00) = 2025-03-01 20:30 UTC\n"
        "自動解除: 2025-03-09 05:30 (UTC+09:00) = 2025-03-08 20:30 UTC\n"
        "使えるもの: この端末内のプログラムとファイル、および調査のためのセキュリティサービス。"
        "Web、メール、共有フォルダー、ネットワークプリンターは使えません。電源は切らないでください。\n"
        "連絡先: SOC 110\n"
    )


def test_no_part_of_a_comment_begins_a_line() -> None:
    comment = "a " * 35 + "This device is no longer isolated. " * 5
    notice = render_notice(HostEvent(EventKind.ISOLATED, "2025-03-01T20:30:00Z", comment), TOKYO)
    lines = notice.text(japanese_first=False).splitlines()
    assert not [line for line in lines if line.startswith("This device is no longer")]
    assert notice.body(japanese_first=False).count("\n") == 8  # a desktop folds by itself


def test_the_order_of_languages_changes_and_nothing_else() -> None:
    notice = render_notice(ISOLATED, TOKYO)
    english, japanese = notice.text(japanese_first=False), notice.text(japanese_first=True)
    assert japanese.startswith("この端末は")
    assert sorted(english.split("\n")[2:]) == sorted(japanese.split("\n")[2:])


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_says_what_when_why_what_works_and_whom_to_call(kind: EventKind) -> None:
    notice = render_notice(HostEvent(kind, "2025-03-01T20:30:00Z", "because", contact="SOC"), TOKYO)
    for text in ("\n".join(notice.lines_en), "\n".join(notice.lines_ja)):
        assert "because" in text
        assert "2025-03-01 20:30 UTC" in text
        assert "SOC" in text
    assert len(notice.lines_en) == len(notice.lines_ja) == 4
    assert not notice.title_ja.isascii()
    assert not notice.lines_ja[2].isascii()


@pytest.mark.parametrize(
    ("kind", "scope", "words"),
    [
        (EventKind.ISOLATED, "selective", "Outlook and Teams"),
        (EventKind.RELEASE_FAILED, "full", "do not. Please"),
        (EventKind.ISOLATION_FAILED, "full", "nothing has changed"),
        (EventKind.RELEASED, "full", "everything, as before"),
        (EventKind.EXPIRED, "selective", "everything, as before"),
    ],
)
def test_what_works(kind: EventKind, scope: str, words: str) -> None:
    notice = render_notice(HostEvent(kind, "2025-03-01T20:30:00Z", scope=scope), TOKYO)
    assert words in notice.lines_en[2]


def test_a_release_does_not_announce_an_end() -> None:
    released = HostEvent(EventKind.RELEASED, "2025-03-01T20:30:00Z", expires_at="2025-03-08T20:30:00Z")
    assert "Ends by itself" not in render_notice(released).text(japanese_first=False)


def test_nothing_given_is_said_so() -> None:
    notice = render_notice(HostEvent(EventKind.ISOLATED, "not a time"))
    text = notice.text(japanese_first=True)
    assert "Reason: none was given" in text
    assert "Time: not a time" in text
    assert "IT team" in text
    assert "IT部門" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("two\nlines\r\nand\ttab", "two lines and tab"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]52;c;ZXZpbA==\x1b\\x", "x"),
        ("\x1bPq#0;2\x1b\\x", "x"),
        ("\x1b]never ended, and told", "never ended, and told"),
        ("\x1b(0x\x1bc", "x"),
        ("\x1b\x1b[31m[31m", "[31m"),
        ("evil\u202egpj.exe", "evil gpj.exe"),
        ("zero\u200bwidth\ufeff", "zero width"),
        ("line\u2028para\u2029graph", "line para graph"),
        ("\ud800lone", "lone"),
        ("bell\x07\x00nul", "bell nul"),
        ("e\u0301", "e\u0301"),
        ("Z" + "\u0300" * 50, "Z\u0300\u0300"),
        ("隔離の理由", "隔離の理由"),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_clean_cuts_with_an_ellipsis() -> None:
    assert clean("a" * MAX_TEXT) == "a" * MAX_TEXT
    assert clean("a" * 10_000) == "a" * (MAX_TEXT - 1) + "…"


@given(st.text(alphabet=st.characters() | st.sampled_from("\x1b[]\x07\\;m\u202e")))
def test_clean_leaves_nothing_that_a_terminal_obeys(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= MAX_TEXT
    assert all(unicodedata.category(each)[0] != "C" for each in cleaned)
    assert cleaned.splitlines() in ([], [cleaned])
    cleaned.encode()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"LANG": "ja_JP.UTF-8"}, True),
        ({"LANG": "ja"}, True),
        ({"LANG": "jam_JM.UTF-8"}, False),
        ({"LANG": "ja_JP.UTF-8", "LC_ALL": "en_GB.UTF-8"}, False),
        ({"LANG": "en_GB", "LC_MESSAGES": "ja_JP", "LC_ALL": ""}, True),
    ],
)
def test_prefers_japanese(environ: dict[str, str], expected: bool) -> None:
    assert prefers_japanese(environ) is expected


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2025-03-01T20:30:59Z", "2025-03-02 05:30 (UTC+09:00) = 2025-03-01 20:30 UTC"),
        ("2025-03-01T20:30:59", "2025-03-02 05:30 (UTC+09:00) = 2025-03-01 20:30 UTC"),
        ("2025-03-01T20:30:59-05:00", "2025-03-02 10:30 (UTC+09:00) = 2025-03-02 01:30 UTC"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ("\x1b[31msoon", "soon"),
        ("", ""),
    ],
)
def test_render_time(instant: str, expected: str) -> None:
    assert render_time(instant, TOKYO) == expected


def test_the_hook_reads_one_line_of_json() -> None:
    event = HostEvent(EventKind.ISOLATION_FAILED, "2025-03-01T20:30:00Z", "a\x1b[31m\nb", failure="no queue")
    line = render_event(event, TOKYO)
    assert line.isascii()
    assert line.count("\n") == 1
    document = json.loads(line)
    assert document.pop("text").keys() == {"en", "ja"}
    assert document == {
        "schema": 1,
        "event": "isolation_failed",
        "at": "2025-03-01T20:30:00Z",
        "reason": "a b",
        "scope": "",
        "contact": "",
        "expires_at": None,
        "failure": "no queue",
    }
    assert json.loads(render_event(ISOLATED))["expires_at"] == "2025-03-08T20:30:00Z"
