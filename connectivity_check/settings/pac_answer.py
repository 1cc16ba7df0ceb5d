"""What a PAC file is asked, and what its answers mean."""

from __future__ import annotations

import re
from dataclasses import dataclass

from allowlists.fqdn import normalise
from allowlists.model import ParseError
from connectivity_check.model import InputError, ProxyAuth, ProxyScheme, ProxyServer, Route
from connectivity_check.settings.proxy_url import parse_proxy_url

_PROXIES = {
    "PROXY": (ProxyScheme.HTTP, 80),
    "HTTP": (ProxyScheme.HTTP, 80),
    "HTTPS": (ProxyScheme.HTTPS, 443),
    "SOCKS": (ProxyScheme.SOCKS5H, 1080),
    "SOCKS5": (ProxyScheme.SOCKS5H, 1080),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the script gave for one target; `error` is one clause without the file's name."""

    text: str | None = None
    error: str = ""


def question_for(url: str, host: str) -> tuple[str, str]:
    """Give what a browser hands to the script: host in A-labels and lower case, and for https no more of the
    URL than `https://host[:port]/`, as path and query are nobody's business (Chrome and Edge since 2016,
    Firefox since 2017)."""
    try:
        host = normalise(host)
    except ParseError:
        host = host.lower()  # an address
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    authority = authority.rpartition("@")[2]
    port = authority.rpartition(":")[2] if not authority.endswith("]") and ":" in authority else ""
    shown = f"[{host}]" if ":" in host else host
    default = {"https": "443", "http": "80"}.get(scheme.lower())
    place = f"{shown}:{port}" if port.isdigit() and port != default else shown
    tail = path.partition("#")[0] if scheme.lower() == "http" else ""
    return f"{scheme.lower()}://{place}/{tail}", host


def read_answer(answer: Answer, source: str, auth: ProxyAuth | None = None) -> Route:
    """Make a route of the script's answer: entries by semicolons, each DIRECT or a kind and `host:port`.

    Entries that mean nothing are passed over, as browsers do, and named in the route's source; when none is
    left, or the answer is empty or null, the route has an error. SOCKS is taken for version 5.
    """
    if answer.error:
        return _failed(source, f"fails for this target: {answer.error}")
    if answer.text is None or not answer.text.strip(" ;"):
        return _failed(
            source, f"gives {'nothing' if answer.text is None else 'an empty text'} for this target"
        )
    hops: list[ProxyServer | None] = []
    bad: list[str] = []
    for entry in filter(None, (part.strip() for part in answer.text.split(";"))):
        try:
            hops.append(_hop(entry, auth))
        except InputError:
            bad.append(_shown(entry))
    if not hops:
        return _failed(source, f"gives {', '.join(bad[:3])} for this target, which is no way out")
    shown = source + (f" (passed over: {', '.join(bad[:3])})" if bad else "")
    return Route(hops[0], shown, pac=True, fallbacks=tuple(hops[1:]))


def _shown(entry: str) -> str:
    """Quote an entry for a message: no control characters, no credentials, not long."""
    entry = re.sub(r"\S+@", "***@", entry)
    return ascii(entry if len(entry) <= 60 else entry[:57] + "...")


def _failed(source: str, reason: str) -> Route:
    return Route(source=source, pac=True, error=f"The PAC file {source} {reason}.")


def _hop(entry: str, auth: ProxyAuth | None) -> ProxyServer | None:
    words = entry.split()
    if [w.upper() for w in words] == ["DIRECT"]:
        return None
    if len(words) != 2 or words[0].upper() not in _PROXIES or "@" in words[1] or "/" in words[1]:
        raise InputError("not an entry of a PAC answer")
    scheme, port = _PROXIES[words[0].upper()]
    place = words[1]
    has_port = place.rpartition("]")[2].rpartition(":")[1] == ":"
    return parse_proxy_url(f"{scheme}://{place}" + ("" if has_port else f":{port}"), auth, where="PAC")
