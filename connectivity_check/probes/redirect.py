"""Where a redirect leads: on within the host's own domain, or away to somebody else."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from connectivity_check.core.ip_text import ip_of
from connectivity_check.core.known import suffix_of

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
"""Statuses whose Location a client follows (RFC 9110 section 15.4)."""


def leads_away(url: str, status: float, location: str) -> str:
    """Give to whom an answer to `url` sends its client, "" when that is the host's own domain or nobody.

    The own domain is that of the last two labels, and for an address the address alone. A Location that
    names no server is given as it is: a service has none such.
    """
    if status not in _REDIRECTS or not location:
        return ""
    own = (urlsplit(url).hostname or "").rstrip(".")
    try:
        other = (urlsplit(urljoin(url, location)).hostname or "").rstrip(".")
    except ValueError:  # brackets that hold no address
        other = ""
    if not other:
        return location
    if own == other:
        return ""
    alike = suffix_of(own) == suffix_of(other) and not ip_of(own) and not ip_of(other)
    return "" if alike else other
