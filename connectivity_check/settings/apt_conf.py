"""`Acquire::http::Proxy` and `Acquire::https::Proxy` of apt's configuration (apt.conf(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator

from connectivity_check.model import InputError

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/|\#(?!clear|include)[^\n]*)
      | (?P<mark>[{};])
      | "(?P<quoted>[^"\n]*)"
      | (?P<word>[^\s{};"]+)""",
    re.VERBOSE | re.DOTALL,
)
_WANTED = {"acquire::http::proxy": "http", "acquire::https::proxy": "https"}


def parse_apt(text: str, name: str) -> dict[str, str]:
    """Give the proxies by kind of URL, "DIRECT" and "" among them; the last word counts.

    Both forms are read: `Acquire::http::Proxy "x";` and blocks. Proxies for single hosts are passed over.
    Raises InputError for a brace or quote that does not fit.
    """
    found: dict[str, str] = {}
    path: list[str] = []
    words: list[str] = []
    for item, number in _tokens(text, name):
        if item == "{":
            path.append(words[0] if words else "")
        elif item == "}":
            if not path:
                raise InputError(f"{name}:{number}: a closing brace without an opening one")
            path.pop()
        elif item != ";":
            words.append(item)
            continue
        if item == ";" and len(words) == 2:
            kind = _WANTED.get("::".join([*path, words[0]]).lower())
            if kind is not None:
                found[kind] = words[1]
        words = []
    if path:
        raise InputError(f"{name}:{text.count(chr(10)) + 1}: a brace is not closed")
    return found


def _tokens(text: str, name: str) -> Iterator[tuple[str, int]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        number = text.count("\n", 0, position) + 1
        if match is None:
            raise InputError(f"{name}:{number}: a quote is not closed")
        position = match.end()
        if match["skip"] is None:
            yield match["mark"] or (match["quoted"] if match["quoted"] is not None else match["word"]), number
