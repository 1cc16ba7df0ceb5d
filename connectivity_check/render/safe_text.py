"""Text of strangers made harmless for the place where it is shown.

Titles of block pages, certificate names and headers are chosen by whoever answers. Each format has one
function here; all of them start from `plain`, which leaves no control characters in any form.
"""

from __future__ import annotations

import html
import re

LONGEST_CELL = 32_767
"""What a cell of a spreadsheet holds (ECMA-376 says no limit, Excel has this one)."""

_ESCAPE_SEQUENCE = re.compile(
    # CSI; OSC, DCS, SOS, PM and APC with their texts up to BEL or ST; and two-character escapes (ECMA-48).
    "(?:\x1b\\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]{0,8}[0-~]"
)
_BLANKS = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
_UNPRINTABLE = re.compile(
    # C0, DEL, C1; directions that reorder what stands around them (UAX 9); invisible operators and marks.
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
_NOT_CHARACTERS = re.compile("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_FORMULA = re.compile(
    "[\\s'\"]*[=+\\-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
    "\N{FULLWIDTH COMMERCIAL AT}\N{MINUS SIGN}\N{SMALL COMMERCIAL AT}\N{SMALL PLUS SIGN}]"
)
_FORMULA_INSIDE = re.compile("([;,|][\\s'\"]*)(?=[=+\\-@\uff1d\uff0b\uff0d\uff20\u2212\ufe6b\ufe62])")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~!$^])")
# Signs that mean something at the start of a line only (- + = . of a list) are left: no text starts a line.
_AUTOMATIC_LINK = re.compile(r"\b(https?|ftp|mailto|xmpp):|\b(www)\.", re.I)


def plain(text: str) -> str:
    """Give one line of printable characters: escape sequences, controls and reordering marks are gone, line
    ends are blanks, and what is no character is U+FFFD."""
    text = _ESCAPE_SEQUENCE.sub("", text)
    text = _BLANKS.sub(" ", text)
    text = _UNPRINTABLE.sub("", text)
    return _NOT_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", text)


def html_text(text: str) -> str:
    """Give text for an element or a quoted attribute."""
    return html.escape(plain(text), quote=True)


def markdown_text(text: str) -> str:
    """Give text that stands in Markdown, also in a table, as it is: no markup, no link, no mention."""
    escaped = _MARKDOWN.sub(r"\\\1", plain(text).replace("&", "&amp;"))
    # Entities, since a backslash does not stop the automatic links and mentions of GitHub's dialect.
    for sign, entity in (("<", "&lt;"), (">", "&gt;"), ("@", "&#64;")):
        escaped = escaped.replace(sign, entity)
    return _AUTOMATIC_LINK.sub(lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", escaped)


def markdown_code(text: str) -> str:
    """Give a code span for a table cell; back-quotes become apostrophes, so that nothing ends the span."""
    inner = plain(text).replace("`", "'").replace("\\", "/").replace("|", "\\|").strip()
    return f"`{inner}`" if inner else ""


def cell_text(text: str) -> str:
    """Give text for a cell of a spreadsheet that no program takes for a formula.

    One that begins with = + - @ (or their wide forms), also behind blanks and quotes, gets an apostrophe in
    front: the usual sign for "this is text".
    """
    text = plain(text)
    # "'=1" is guarded already; a second apostrophe would be added each time it is read and written.
    if _FORMULA.match(text) and not text.startswith("'"):
        text = f"'{text}"
    return text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "\N{HORIZONTAL ELLIPSIS}"


def csv_text(text: str) -> str:
    """Give `cell_text` that stays harmless when a program splits the line at another sign than the comma."""
    return _FORMULA_INSIDE.sub(r"\1'", cell_text(text))


def ascii_text(text: str) -> str:
    """Give text for a terminal that knows ASCII only; other characters are written as escapes."""
    return plain(text).encode("ascii", "backslashreplace").decode("ascii")
