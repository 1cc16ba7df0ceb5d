"""Proxy variables of the environment, with the names and the precedence of curl and Go."""

from __future__ import annotations

from collections.abc import Mapping

from connectivity_check.model import ProxyAuth, ProxyServer
from connectivity_check.settings.bypass import parse_no_proxy
from connectivity_check.settings.proxy_url import parse_proxy_url
from connectivity_check.settings.setting import Setting


def from_environment(
    environ: Mapping[str, str], auth: ProxyAuth | None = None, *, consumer: str = "user", file: str = ""
) -> Setting | None:
    """Give what the variables say, None when no variable names a proxy.

    Lower case wins over upper case, the scheme's own variable over ALL_PROXY; an empty value is as good as
    none. HTTP_PROXY in capitals is not read where REQUEST_METHOD is set: in a CGI program it is the client's
    `Proxy:` header (CVE-2016-5385). `file` goes before the variable's name in `source`. Raises InputError for
    an address that cannot be read.
    """
    https, https_name = _read(environ, ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), auth, file)
    names = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
    if "REQUEST_METHOD" in environ:
        names.remove("HTTP_PROXY")
    http, http_name = _read(environ, names, auth, file)
    if https is None and http is None:
        return None
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY", "")
    source = _source(https_name or http_name, file)
    return Setting(consumer, source, https, http, parse_no_proxy(no_proxy))


def _read(
    environ: Mapping[str, str], names: list[str] | tuple[str, ...], auth: ProxyAuth | None, file: str
) -> tuple[ProxyServer | None, str]:
    for name in names:
        value = environ.get(name, "").strip()
        if value:
            return parse_proxy_url(value, auth, where=_source(name, file)), name
    return None, ""


def _source(name: str, file: str) -> str:
    return f"{file}: {name}" if file else name
