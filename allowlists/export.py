"""Rows as external dynamic lists, the plain texts that firewalls fetch by URL: one destination a line.

Formats: Palo Alto Networks "Formatting Guidelines for an External Dynamic List" (domains, URLs, addresses);
Fortinet's external threat feeds read the same domain and address lists. Lines with # are comments there.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from allowlists.model import Entry, Match, StaticPrefix


class Feed(StrEnum):
    """What an external dynamic list holds."""

    DOMAINS = "edl-domains"
    """Names and `*.suffix`; a star elsewhere is widened to the suffix behind it, and a comment says so."""
    URLS = "edl-urls"
    """Names with path and a closing slash, so that `example.com/` does not cover `example.com.evil`."""
    ADDRESSES = "edl-addresses"
    """Networks in CIDR form; names have no place in it."""


def render_feed(
    feed: Feed, entries: Iterable[Entry], networks: Iterable[StaticPrefix], *, head: str = ""
) -> str:
    """Give the list, sorted, each line once. `head` becomes a first comment line; it must be one line.

    A list without a line that fits the feed is only its comments; a firewall then allows nothing more.
    """
    lines: dict[str, None] = {}
    widened: dict[str, str] = {}
    for entry in entries:
        for line in _lines(feed, entry):
            if entry.match is Match.GLOB and feed is Feed.DOMAINS:
                widened[line] = entry.host
            lines[line] = None
    if feed is Feed.ADDRESSES:
        lines.update((str(each.network), None) for each in networks)
    text = [f"# {head}"] if head else []
    text += [f"# {line} stands for {host}" for line, host in sorted(widened.items())]
    return "".join(line + "\n" for line in (*text, *sorted(lines)))


def _lines(feed: Feed, entry: Entry) -> tuple[str, ...]:
    if entry.match is Match.NETWORK:
        return (str(entry.network),) if feed is Feed.ADDRESSES else ()
    if feed is Feed.ADDRESSES:
        return ()
    if feed is Feed.URLS:
        return tuple(f"{host}{entry.path or '/'}" for host in _names(entry))
    if entry.match is Match.GLOB:
        return (f"*.{entry.host.rpartition('*')[2].partition('.')[2]}",)
    return _names(entry)


def _names(entry: Entry) -> tuple[str, ...]:
    bare = entry.host.removeprefix("*.")
    return (entry.host, bare) if entry.apex and entry.match is Match.SUBDOMAINS else (entry.host,)
