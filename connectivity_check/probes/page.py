"""What a body is: text or not, HTML or not, its title, and whose block page it looks like."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

_DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "block_pages.yaml")
MAX_TEXT = 300
_MAX_MARKED = 65536

# Only these: Python knows codecs that are no text, or that take a minute for 64 KiB (punycode).
_CHARSETS = re.compile(
    r"(utf-?8|utf-?16(le|be)?|us-ascii|iso-?8859-?\d{1,2}|windows-125\d|cp932|shift[_-]?jis|sjis|windows-31j|euc-?jp"
    r"|iso-2022-jp|gb2312|gbk|gb18030|big5|euc-?kr|koi8-r)",
    re.IGNORECASE,
)
_ALIASES = {"windows-31j": "cp932", "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932"}
_DECLARED = re.compile(rb"charset\s{0,9}=\s{0,9}[\"']?([A-Za-z0-9_-]{1,20})", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]{0,200}>(.{0,2000}?)</title\s{0,9}>", re.IGNORECASE | re.DOTALL)
_HIDDEN = re.compile(r"<(script|style|noscript)\b.*?(</\1[^>]{0,20}>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]{0,4000}>")
_SPACE = re.compile(r"\s+")
_HTML_START = re.compile(
    r"\s*(<!--.{0,2000}?-->\s*)?"
    r"<(!doctype\s+html|html|head|body|title|meta|script|frameset|h1|center|table)\b",
    re.IGNORECASE | re.DOTALL,
)
_TEXT_TYPES = (
    "text/",
    "application/json",
    "application/problem+json",
    "application/xml",
    "application/xhtml",
    "application/javascript",
)


@dataclass(frozen=True, slots=True)
class Page:
    """A body as it reads. `text` is None when it is no text; `title` is "" when it has none."""

    text: str | None
    html: bool
    title: str = ""
    start: str = ""
    """The first 300 characters that one would see, in one line."""


@dataclass(frozen=True, slots=True)
class BlockPageMark:
    """How one product's block page is known: any of the marks is enough. All are lower case."""

    vendor: str
    titles: tuple[str, ...] = ()
    bodies: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    """(name, part of the value; "" when the header alone tells)"""
    incident: re.Pattern[str] | None = None
    """One group: the number to tell the help desk."""

    def fits(self, title: str, text: str, headers: Mapping[str, str]) -> bool:
        """Tell whether an answer bears a mark; title and text are in lower case, "" without one."""
        return (
            (title != "" and any(mark in title for mark in self.titles))
            or (text != "" and any(mark in text for mark in self.bodies))
            or any(name in headers and part in headers[name].lower() for name, part in self.headers)
        )


def read_page(body: bytes, content_type: str) -> Page:
    """Read a body by its type and, where that lies or is missing, by its look. Raises nothing."""
    if not body:
        return Page(None, html=False)
    text = _decode(body, content_type)
    looks_html = _HTML_START.match(text) is not None
    declared = content_type.lower()
    is_text = looks_html or declared.startswith(_TEXT_TYPES) or (b"\0" not in body and _printable(text))
    if not is_text:
        return Page(None, html=False)
    is_html = looks_html or (declared.startswith(("text/html", "application/xhtml")) and "<" in text)
    title = _TITLE.search(text) if is_html else None
    return Page(
        text=text,
        html=is_html,
        title=_one_line(title.group(1)) if title else "",
        start=_visible(text) if is_html else _one_line(text),
    )


def identify(page: Page, headers: Mapping[str, str]) -> tuple[str, str]:
    """Give (vendor, incident number) of a known block page; ("", "") when none is known."""
    text = (page.text or "")[:_MAX_MARKED]
    title, lower = page.title.lower(), text.lower()
    for mark in block_page_marks():
        if mark.fits(title, lower, headers):
            found = mark.incident.search(text) if mark.incident else None
            return mark.vendor, found.group(1)[:80] if found else ""
    return "", ""


@cache
def block_page_marks() -> tuple[BlockPageMark, ...]:
    """Give the shipped marks, data/block_pages.yaml; read once."""
    import yaml

    with open(_DATA, encoding="utf-8") as file:
        data = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    return tuple(_mark(item) for item in data["pages"])


def _mark(item: Mapping[str, Any]) -> BlockPageMark:
    incident = item.get("incident")
    return BlockPageMark(
        vendor=item["vendor"],
        titles=tuple(text.lower() for text in item.get("title", ())),
        bodies=tuple(text.lower() for text in item.get("body", ())),
        headers=tuple((name, value.lower()) for name, value in item.get("headers", {}).items()),
        incident=re.compile(incident, re.IGNORECASE) if incident else None,
    )


def _decode(body: bytes, content_type: str) -> str:
    declared = _DECLARED.search(content_type.encode("ascii", "ignore")) or _DECLARED.search(body[:2048])
    name = declared.group(1).decode("ascii").lower() if declared else "utf-8"
    if not _CHARSETS.fullmatch(name):
        name = "utf-8"
    try:
        return body.decode(_ALIASES.get(name, name), "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def _printable(text: str) -> bool:
    sample = text[:1000]
    odd = sum(not (char.isprintable() or char.isspace()) or char == "\ufffd" for char in sample)
    return odd * 20 <= len(sample)


def _visible(text: str) -> str:
    # Bounded before the patterns run: a page may be 64 KiB of open angle brackets.
    without = _TAG.sub(" ", _HIDDEN.sub(" ", _TITLE.sub(" ", text[:20000])))
    return _one_line(without)


def _one_line(text: str) -> str:
    line = _SPACE.sub(" ", html.unescape(text)).strip()
    return "".join(char for char in line if char.isprintable())[:MAX_TEXT]
