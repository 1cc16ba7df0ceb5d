"""Whether an unsafe request was made by one of our own pages.

Two independent signs: the browser's own word on where the request comes from (Origin, else Sec-Fetch-Site),
and a token that only our pages can read. Source: OWASP Cross-Site Request Forgery Prevention.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

FIELD = "csrf"
HEADER = "x-csrf-token"


def from_own_origin(headers: Mapping[str, str], public_url: str) -> bool:
    """Whether the browser says that the request comes from our own origin.

    `public_url`: the configured address, for a proxy that rewrites Host; empty when none is. A request with
    neither Origin nor Sec-Fetch-Site comes from no browser of this decade and is refused.
    """
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") == "same-origin"
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("https", "http") or not parts.netloc:
        return False  # `null`, from a sandboxed frame or a data address
    if public_url and origin.lower() == _origin_of(public_url):
        return True
    return parts.netloc.lower() == headers.get("host", "").lower()


def tokens_match(expected: str, given: str) -> bool:
    """Compare without telling by time how much fits; an empty expectation matches nothing."""
    return bool(expected) and hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
