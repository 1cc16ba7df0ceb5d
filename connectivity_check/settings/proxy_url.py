"""Proxy addresses as people write them: URLs of curl's kind, `host:port`, lists of WinHTTP's kind."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote_to_bytes

from allowlists.fqdn import normalise
from allowlists.model import ParseError
from connectivity_check.model import InputError, ProxyAuth, ProxyScheme, ProxyServer

_SCHEMES = {
    "http": ProxyScheme.HTTP,
    "https": ProxyScheme.HTTPS,
    "socks5h": ProxyScheme.SOCKS5H,
    # With socks5 the client resolves the names. The check asks resolver and proxy separately and reports
    # both, so the tunnel itself is always asked for by name.
    "socks5": ProxyScheme.SOCKS5H,
}
DEFAULT_PORTS = {ProxyScheme.HTTP: 1080, ProxyScheme.HTTPS: 443, ProxyScheme.SOCKS5H: 1080}
"""Where no port is given, as curl has it (curl.se/docs/manpage.html, --proxy)."""
_WRITE = "write http://host:port"
_BRACKETED = re.compile(r"\[([^\]]*)\](?::(.*))?").fullmatch
_BARE_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*").fullmatch


def parse_proxy_url(text: str, auth: ProxyAuth | None = None, *, where: str = "--proxy") -> ProxyServer:
    """Read `[scheme://][user[:password]@]host[:port][/]`.

    Scheme http when absent; ports by `DEFAULT_PORTS`; user and password percent-decoded (UTF-8); host in
    A-labels, IPv6 in brackets. `where` names the setting in messages. Raises InputError with one sentence,
    which never repeats any part of the text: a password may stand where nobody expects it.
    """
    scheme, rest = _scheme(text.strip(), where)
    authority, _, tail = rest.partition("/")
    if "@" in tail or "?" in authority or "#" in authority:
        raise InputError(
            f"{where}: a character of the credentials is not escaped; write / as %2F, ? as %3F, # as %23"
        )
    if tail:
        raise InputError(f"{where}: a proxy has no path; {_WRITE}")
    credentials, _, place = authority.rpartition("@")
    host, port_text = _split_port(place, where)
    user, _, password = credentials.partition(":")
    return ProxyServer(
        host=_host(host, where),
        port=_port(port_text, where) if port_text is not None else DEFAULT_PORTS[scheme],
        scheme=scheme,
        username=_decoded(user, where),
        password=_decoded(password, where),
        auth=auth,
    )


def strip_credentials(url: str) -> str:
    """Give a URL without `user:password@`, for messages and reports."""
    head, sep, rest = url.partition("://")
    if not sep:
        return url.rpartition("@")[2]
    authority, slash, tail = rest.partition("/")
    return head + sep + authority.rpartition("@")[2] + slash + tail


def _scheme(text: str, where: str) -> tuple[ProxyScheme, str]:
    if not text:
        raise InputError(f"{where}: the address is empty; {_WRITE}")
    if any(ord(c) <= 0x20 or ord(c) == 0x7F for c in text):
        raise InputError(f"{where}: the address has a space or a control character in it; {_WRITE}")
    head, sep, rest = text.partition("://")
    if not sep:
        return ProxyScheme.HTTP, text
    scheme = _SCHEMES.get(head.lower())
    if scheme is None:
        shown = f"{head[:20]!r} is" if _BARE_SCHEME(head) else "this is"
        raise InputError(f"{where}: {shown} not a kind of proxy; use http, https, socks5h or socks5")
    return scheme, rest


def _split_port(place: str, where: str) -> tuple[str, str | None]:
    bracketed = _BRACKETED(place)
    if bracketed is not None:
        host, port = bracketed.groups()
        return f"[{host}]", port or None
    host, colon, port = place.partition(":")
    if ":" in port:
        raise InputError(f"{where}: an IPv6 address needs brackets; write http://[address]:port")
    return host, port if colon and port else None


def _host(host: str, where: str) -> str:
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise InputError(f"{where}: what stands in the brackets is not an IPv6 address") from None
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    try:
        return normalise(host)
    except ParseError:
        raise InputError(f"{where}: the host is neither a name nor an address; {_WRITE}") from None


def _port(text: str, where: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    raise InputError(f"{where}: the port is not a number from 1 to 65535; {_WRITE}")


def _decoded(text: str, where: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise InputError(f"{where}: a % in the credentials is not followed by two hex digits; write % as %25")
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        raise InputError(f"{where}: the credentials are not UTF-8 once decoded") from None
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in decoded):
        raise InputError(f"{where}: the credentials hold a control character")
    return decoded
