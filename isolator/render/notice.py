"""Events to the words a person reads, English and Japanese both in every message.

The operator's comment goes to terminals and desktops of people who did not write it: it is cleaned of
everything a terminal obeys or a reader cannot see, put on one line and cut.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from textwrap import TextWrapper

from isolator.model.event import EventKind, HostEvent

MAX_TEXT = 400
"""Characters of a comment or contact that are shown; a desktop notification shows hardly more."""
_MAX_READ = 20_000
_FOLD = TextWrapper(76, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
"""Fits the 79 columns that wall folds at."""
_MAX_MARKS = 2
"""Combining marks in a row; more is a smear over neighbouring lines."""

# CSI, then OSC and the other strings if they end, then two-character escapes (ECMA-48, sections 5.3 to 5.6).
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)


@dataclass(frozen=True, slots=True)
class Notice:
    """One message in both languages: a title and lines without control characters."""

    title_en: str
    title_ja: str
    lines_en: tuple[str, ...]
    lines_ja: tuple[str, ...]

    def title(self, *, japanese_first: bool) -> str:
        """Both titles on one line."""
        pair = (self.title_ja, self.title_en) if japanese_first else (self.title_en, self.title_ja)
        return " / ".join(pair)

    def body(self, *, japanese_first: bool) -> str:
        """The lines of both languages, an empty line between them; no line break at the end."""
        english, japanese = "\n".join(self.lines_en), "\n".join(self.lines_ja)
        return f"{japanese}\n\n{english}" if japanese_first else f"{english}\n\n{japanese}"

    def text(self, *, japanese_first: bool) -> str:
        """Title and body for a terminal, ending with a line break.

        English is folded between words (Japanese may break anywhere); what follows is indented, so that
        a long comment does not put up a line like one of ours.
        """
        folded = replace(self, lines_en=tuple(_FOLD.fill(line) for line in self.lines_en))
        return (
            f"{self.title(japanese_first=japanese_first)}\n\n{folded.body(japanese_first=japanese_first)}\n"
        )


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Give text that is safe to show: one line, printable characters only, cut at the limit with an ellipsis.

    Removes escape sequences, and characters of Unicode categories Cc, Cf (direction marks, zero width), Cs,
    Co, Cn, Zl and Zp; folds blanks; keeps _MAX_MARKS combining marks in a row.
    """
    kept: list[str] = []
    marks = 0
    for character in _ESCAPES.sub(" ", text[:_MAX_READ]):
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category[0] == "C" or category in ("Zl", "Zp"):
            kept.append(" ")
        elif marks <= _MAX_MARKS:
            kept.append(character)
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def prefers_japanese(environ: Mapping[str, str]) -> bool:
    """Say whether a locale environment asks for Japanese (LC_ALL over LC_MESSAGES over LANG, POSIX 8.2)."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environ.get(name):
            return re.match(r"ja(?![a-z])", environ[name].lower()) is not None
    return False


def render_notice(event: HostEvent, zone: tzinfo | None = None) -> Notice:
    """Give the words for an event: what, reason, time, what still works, whom to call.

    `zone` None is the host's own. A time that is no RFC 3339 text is shown as it came, cleaned.
    """
    title_en, title_ja = _TITLES[event.kind]
    works_en, works_ja = _what_works(event)
    reason, contact = clean(event.reason), clean(event.contact)
    english = [
        f"Reason: {reason or 'none was given'}",
        f"Time: {render_time(event.at, zone)}",
        f"What works: {works_en}",
        f"Whom to call: {contact or _NO_CONTACT[0]}",
    ]
    japanese = [
        f"理由: {reason or '記載なし'}",
        f"日時: {render_time(event.at, zone)}",
        f"使えるもの: {works_ja}",
        f"連絡先: {contact or _NO_CONTACT[1]}",
    ]
    if event.expires_at and event.kind in _CUT_OFF:
        ends = render_time(event.expires_at, zone)
        english.insert(2, f"Ends by itself: {ends}")
        japanese.insert(2, f"自動解除: {ends}")
    return Notice(title_en, title_ja, tuple(english), tuple(japanese))


def render_event(event: HostEvent, zone: tzinfo | None = None) -> str:
    """Give the JSON that `notify.command` reads: one ASCII line, texts cleaned, every key always there."""
    notice = render_notice(event, zone)
    document = {
        "schema": 1,
        "event": event.kind.value,
        "at": clean(event.at),
        "reason": clean(event.reason),
        "scope": clean(event.scope),
        "contact": clean(event.contact),
        "expires_at": None if event.expires_at is None else clean(event.expires_at),
        "failure": clean(event.failure),
        "text": {
            "en": "\n".join((notice.title_en, *notice.lines_en)),
            "ja": "\n".join((notice.title_ja, *notice.lines_ja)),
        },
    }
    return json.dumps(document) + "\n"


def render_time(instant: str, zone: tzinfo | None) -> str:
    """Give an RFC 3339 instant as local time with its offset, then UTC."""
    try:
        at = datetime.fromisoformat(instant)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        local, utc = at.astimezone(zone), at.astimezone(UTC)
    except (ValueError, OverflowError):
        return clean(instant)
    offset = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M} (UTC{offset[:3]}:{offset[3:5]}) = {utc:%Y-%m-%d %H:%M} UTC"


_CUT_OFF = (EventKind.ISOLATED, EventKind.RELEASE_FAILED, EventKind.POLICY_UPDATED)
"""Events after which the host is isolated."""

_NO_CONTACT = ("your organisation's security or IT team", "所属組織のセキュリティ担当またはIT部門")

_TITLES = {
    EventKind.ISOLATED: (
        "This device has been isolated from the network",
        "この端末はネットワークから隔離されました",
    ),
    EventKind.RELEASED: ("This device is no longer isolated", "この端末の隔離は解除されました"),
    EventKind.EXPIRED: (
        "This device is no longer isolated: the time set for it has run out",
        "設定された期間が終わったため、この端末の隔離は解除されました",
    ),
    EventKind.ISOLATION_FAILED: (
        "An isolation of this device was ordered and did not succeed",
        "この端末の隔離が指示されましたが、実行できませんでした",
    ),
    EventKind.RELEASE_FAILED: (
        "This device is still isolated: its release did not succeed",
        "隔離を解除できませんでした。この端末はまだ隔離されています",
    ),
    EventKind.POLICY_UPDATED: (
        "What this isolated device may reach has changed",
        "隔離中のこの端末が接続できる範囲が変更されました",
    ),
}

_FULL = (
    (
        "programs and files on this device, and the security service, through which experts examine it. "
        "Web, e-mail, network folders and printers do not. Please leave the device switched on."
    ),
    (
        "この端末内のプログラムとファイル、および調査のためのセキュリティサービス。"
        "Web、メール、共有フォルダー、ネットワークプリンターは使えません。電源は切らないでください。"
    ),
)
_SELECTIVE = (
    (
        "programs and files on this device, the security service, Outlook and Teams, and what your "
        "organisation has kept open. Nothing else on the network does. Please leave the device switched on."
    ),
    (
        "この端末内のプログラムとファイル、セキュリティサービス、OutlookとTeams、および組織が許可した通信。"
        "ほかのネットワーク通信は使えません。電源は切らないでください。"
    ),
)
_BACK = (
    "everything, as before the isolation. Connections that were cut may have to be opened again.",
    "隔離前と同じくすべて使えます。切断された接続は、つなぎ直しが必要な場合があります。",
)
_UNCHANGED = ("the same as before the order; nothing has changed.", "指示の前と変わりません。")


def _what_works(event: HostEvent) -> tuple[str, str]:
    if event.kind is EventKind.ISOLATION_FAILED:
        return _UNCHANGED
    if event.kind not in _CUT_OFF:
        return _BACK
    return _SELECTIVE if event.scope == "selective" else _FULL
