"""Secrets out of a report, before anybody writes or prints it.

A report quotes what strangers sent: URLs with signatures, error pages that repeat a header, PAC files with a
password. Every text of the report is rewritten by the rules below, and what a proxy's route knows as its
password is removed wherever else it stands.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import lru_cache, partial
from typing import Any, TypeVar
from urllib.parse import quote

from connectivity_check.model import Observation, ProxyServer, Report, Target

HIDDEN = "REDACTED"
_SHORTEST_SECRET = 4
"""Shorter ones stand in too many innocent words to be searched for."""

_Value = TypeVar("_Value")

_HEADERS = r"(?:proxy-)?authorization|(?:set-)?cookie2?|x-api-key|api-key|x-auth-token|authentication-info"
_SECRET_KEY = re.compile(
    rf"(?:{_HEADERS}|password|passwd|pwd|secret|client_secret|token|access_token|credentials?|username)", re.I
)
_PARAMETER = (
    r"(?:sig|signature|token|code|key|api_?key|subscription-key|secret|client_secret|password|passwd|pwd|pass"
    r"|sas|jwt|auth|sid|session(?:_?id)?|assertion|saml(?:request|response|art)|ticket|nonce"
    r"|(?:access|id|refresh|auth|bearer|security|session)_?token|x-(?:amz|goog)-(?:signature|credential|security-token))"
)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host. The password may hold "/" and "@" when nobody encoded it; what follows a
    # colon as a port and a slash is no password.
    (re.compile(r"(://)[^\s/?#\"'<>@:]{0,256}:(?!\d{1,5}(?:[/?#]|$))[^\s\"'<>]{0,256}@"), r"\1"),
    (re.compile(r"(://)[^\s/?#\"'<>]{1,256}@"), r"\1"),
    # The same without a scheme, as HTTPS_PROXY may be written.
    (re.compile(r"(?<![\w/.@:-])[^\s:@/\"'<>=]{1,256}:[^\s@\"'<>]{1,256}@(?=[\w.\[\]:-]{1,256}:\d)"), ""),
    # ?sig=..., &token=..., #access_token=..., also when the URL stands encoded in another URL.
    (re.compile(rf"([?&;#](?:amp;)?{_PARAMETER}=)[^&\s\"'<>#]{{1,8192}}", re.I), rf"\1{HIDDEN}"),
    (
        re.compile(rf"(%(?:3f|26|23){_PARAMETER}%3d)(?:(?!%26|%23)[^&\s\"'<>#]){{1,8192}}", re.I),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            r"(?<![\w-])((?:client_secret|access_token|password|passwd|pwd)\s?[=:]\s?)[^\s&;,\"'<>]+", re.I
        ),
        rf"\1{HIDDEN}",
    ),
    # A header with its value, to the end of the line.
    (re.compile(rf"(?<![\w-])((?:{_HEADERS})\s?:\s?)[^\r\n]+", re.I), rf"\1{HIDDEN}"),
    # A scheme with credentials that look like base64: not every letter behind the first in lower case.
    (
        re.compile(
            r"\b((?i:basic|bearer|ntlm|negotiate))(\s+)(?=[A-Za-z0-9+/][a-z]*[A-Z0-9+/=])"
            r"[A-Za-z0-9+/=_~.-]{8,}"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"), HIDDEN),
)
_SUSPECT = re.compile(r"[@=:%]|eyJ|basic|bearer|ntlm|negotiate", re.I)
"""Without one of these no rule matches: most texts of a report are names and addresses. Nor does one without
anything but letters and digits, such as a fingerprint."""


def redact(report: Report) -> Report:
    """Give the report without secrets. Twice is as once; a report without secrets comes back equal."""
    secrets = sorted(set(_secrets(report)), key=len, reverse=True)
    # Between word characters a short password would be found in the middle of innocent words.
    literal = "|".join(map(re.escape, secrets))
    known = re.compile(rf"(?<![A-Za-z0-9])(?:{literal})(?![A-Za-z0-9])") if secrets else None
    return _Redaction(known).value(report)


def redact_text(text: str) -> str:
    """Give one text without what looks like a secret."""
    if text.isalnum() or not _SUSPECT.search(text):
        return text
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def _secrets(report: Report) -> Iterator[str]:
    """What the routes know, in each spelling in which it may turn up."""
    for target in report.recording.targets + tuple(row.target for row in report.rows):
        for proxy in (target.route.proxy, *target.route.fallbacks):
            if proxy is None:
                continue
            pair = f"{proxy.username}:{proxy.password}"
            encoded = base64.b64encode(pair.encode(errors="surrogatepass")).decode()
            # User names are left alone outside of addresses: "proxy" is one, and a word of every sentence.
            for secret in (proxy.password, encoded if pair != ":" else ""):
                if len(secret) >= _SHORTEST_SECRET and secret != HIDDEN:
                    yield secret
                    yield quote(secret, safe="", errors="replace")


class _Redaction:
    """One pass over a report; remembers texts, since the same names come thousands of times.

    Also targets and observations, which a report holds twice: in the recording and in the rows. By their
    identity, which is theirs as long as the report is there.
    """

    def __init__(self, known: re.Pattern[str] | None) -> None:
        self._known = known
        self._texts: dict[str, str] = {}
        self._done: dict[int, Any] = {}
        self._ways: dict[type, Callable[[Any], Any]] = {}

    def value(self, value: _Value) -> _Value:
        """Give any value of a report without secrets, of the same type."""
        return self._any(value)  # type: ignore[no-any-return]  # each branch keeps the type

    def _any(self, value: Any) -> Any:
        way = self._ways.get(type(value))
        if way is None:
            way = self._ways[type(value)] = self._way(type(value))
        return way(value)

    def _way(self, kind: type) -> Callable[[Any], Any]:
        """Give what is to be done with values of a type."""
        if issubclass(kind, Enum):
            return _as_it_is
        if issubclass(kind, str):
            return self._text
        if issubclass(kind, ProxyServer):
            return lambda value: replace(value, username="", password="")
        if is_dataclass(kind):
            do = self._target if issubclass(kind, Target) else self._fields
            whole = partial(do, tuple(each.name for each in fields(kind)))
            return partial(self._once, whole) if issubclass(kind, Target | Observation) else whole
        if issubclass(kind, Mapping):
            return self._mapping
        return self._items if issubclass(kind, list | tuple) else _as_it_is

    def _once(self, do: Callable[[Any], Any], value: Any) -> Any:
        if id(value) not in self._done:
            self._done[id(value)] = do(value)
        return self._done[id(value)]

    def _fields(self, names: tuple[str, ...], value: Any) -> Any:
        return replace(value, **{name: self._any(getattr(value, name)) for name in names})

    def _target(self, names: tuple[str, ...], target: Target) -> Target:
        # Name and pattern are what rows are matched by: only what looks like a secret goes, not a word that
        # happens to be somebody's password.
        host = None if target.host is None else redact_text(target.host)
        changed = {name: self._any(getattr(target, name)) for name in names}
        return replace(target, **changed | {"host": host, "pattern": redact_text(target.pattern)})

    def _items(self, value: Any) -> Any:
        return type(value)([self._any(each) for each in value])

    def _mapping(self, value: Mapping[str, Any]) -> dict[str, Any]:
        # {"header": "Authorization", "sent": ..., "got": ...} is how an echo helper's answer is recorded.
        header = value.get("header")
        all_secret = isinstance(header, str) and _names_a_secret(header)
        return {
            self._text(key): HIDDEN
            if isinstance(each, str) and each and (_names_a_secret(key) or (all_secret and key != "header"))
            else self._any(each)
            for key, each in value.items()
        }

    def _text(self, text: str) -> str:
        found = self._texts.get(text)
        if found is None:
            found = redact_text(text)
            if self._known:
                found = self._known.sub(HIDDEN, found)
            self._texts[text] = found
        return found


def _as_it_is(value: Any) -> Any:
    return value


@lru_cache(maxsize=1024)
def _names_a_secret(key: str) -> bool:
    return _SECRET_KEY.fullmatch(key) is not None
