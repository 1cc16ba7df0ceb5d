"""What an answer of a proxy leaves in the evidence, with the credentials taken out.

An error page may show the request it refuses, headers and all: its text goes through `Secrets` first.
"""

from __future__ import annotations

import base64
import html
import re
from urllib.parse import quote

from connectivity_check.model import Json, ProxyServer
from connectivity_check.probes.http_connect import ConnectAnswer
from connectivity_check.probes.proxy_auth import parse_challenges

_HEADERS = (
    "via",
    "server",
    "x-squid-error",
    "proxy-status",
    "proxy-authenticate",
    "x-cache",
    "x-cache-lookup",
    "content-type",
    "location",
    "retry-after",
    "x-blocked-by",
    "connection",
)
_LONGEST_VALUE = 1000
_LONG_SECRET = 6
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{0,500})", re.IGNORECASE)
_INVISIBLE = re.compile(r"<(script|style|title)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]{0,2000}>")


class Secrets:
    """What must not be shown, and how it is blotted out."""

    def __init__(self, proxy: ProxyServer) -> None:
        """Takes user name, password and what basic makes of them, as they are and as pages and URLs write."""
        pair = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode("ascii")
        words = [proxy.password, proxy.username, pair if proxy.username else ""]
        forms = {form for word in words if word for form in (word, html.escape(word), quote(word, safe=""))}
        patterns = [
            # Short ones as whole words only: a user called "web" must not riddle a page that speaks of webs.
            re.escape(form) if len(form) >= _LONG_SECRET else rf"(?<!\w){re.escape(form)}(?!\w)"
            for form in sorted(forms, key=len, reverse=True)
        ]
        self._known = re.compile("|".join(patterns)) if patterns else None

    def blot(self, text: str) -> str:
        """Give the text without secrets; any login of the three schemes goes too, known or not."""
        text = re.sub(
            r"\b(basic|ntlm|negotiate|bearer)[ \t]+[A-Za-z0-9+/=_-]{8,}", r"\1 ***", text, flags=re.I
        )
        return self._known.sub("***", text) if self._known else text


def answer_evidence(answer: ConnectAnswer, secrets: Secrets) -> dict[str, Json]:
    """Give the keys `status` to `body_start` of docs/preflight-evidence.md."""
    headers: dict[str, Json] = {}
    for name in _HEADERS:
        if values := answer.values(name):
            headers[name] = secrets.blot(", ".join(values))[:_LONGEST_VALUE]
    evidence: dict[str, Json] = {
        "status": answer.status,
        "reason": secrets.blot(answer.reason)[:200],
        "headers": headers,
    }
    challenges = parse_challenges(answer.values("proxy-authenticate"))
    if challenges:
        evidence["schemes"] = list(dict.fromkeys(challenge.scheme for challenge in challenges))
    realm = next((c.parameters["realm"] for c in challenges if "realm" in c.parameters), None)
    if realm is not None:
        evidence["realm"] = secrets.blot(realm)[:200]
    if answer.body:
        evidence |= _page(answer.body, secrets)
    return evidence


def _page(body: bytes, secrets: Secrets) -> dict[str, Json]:
    """Give `title` and `body_start`; nothing for a body that is no text."""
    text = body[:16384].decode("utf-8", "replace")
    if "\0" in text:
        return {}
    evidence: dict[str, Json] = {}
    if title := _TITLE.search(text):
        evidence["title"] = secrets.blot(_one_line(html.unescape(title[1])))[:200]
    shown = _one_line(html.unescape(_TAG.sub(" ", _INVISIBLE.sub(" ", text))))
    if shown:
        # Blotted before it is cut: half a password would not be recognised.
        evidence["body_start"] = secrets.blot(shown)[:300]
    return evidence


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
