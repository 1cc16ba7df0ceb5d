"""Who is really calling: the peer itself, or whom a configured proxy says it speaks for.

Forwarded headers of anybody else are as if they were not there. Plain HTTP is for loopback and those proxies.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from api.app.answers import answer
from api.problems import Problem
from api.settings import Settings, SettingsError

_SCHEMES = (b"http", b"https")


class Edge:
    """The outermost layer of the served application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        for each in settings.trusted_proxies:
            if each.prefixlen == 0:
                raise SettingsError(f"trusted_proxies: {each} would let anybody say who they are")
        self._app = app
        self._proxies = settings.trusted_proxies
        self._trusts = lru_cache(maxsize=4096)(self._is_proxy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its true client and scheme; refuse plain HTTP from the network."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer, port = scope.get("client") or ("", 0)
        peer = _plain(peer)
        by_proxy = self._trusts(peer)
        scope["client"] = (self._forwarded_for(scope, peer), 0) if by_proxy else (peer, port)
        if by_proxy:
            scope["scheme"] = _forwarded_scheme(scope)
        elif scope["scheme"] == "http" and not _is_loopback(peer):
            problem = Problem(
                "Forbidden", "plain HTTP is not spoken here; use the controller's https address"
            )
            await answer(scope, problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _forwarded_for(self, scope: Scope, peer: str) -> str:
        """The last address in X-Forwarded-For that is no proxy of ours; the peer when there is none."""
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        client = peer
        for each in reversed(b",".join(lines).decode("latin-1").split(",") if lines else []):
            address = _address(each.strip())
            if address is None:
                break  # whatever stands further left was not written by a proxy of ours
            client = address
            if not self._trusts(address):
                break
        return client

    def _is_proxy(self, peer: str) -> bool:
        address = _parsed(peer)
        return address is not None and any(address in each for each in self._proxies)


def _forwarded_scheme(scope: Scope) -> str:
    """What the proxy was spoken to with; the last word counts, it is the proxy's own."""
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
    said = lines[-1].rpartition(b",")[2].strip().lower() if lines else b""
    return said.decode() if said in _SCHEMES else str(scope["scheme"])


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket for both families shows IPv4 peers as ::ffff:192.0.2.1.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _plain(peer: str) -> str:
    address = _parsed(peer)
    return peer if address is None else str(address)


def _is_loopback(peer: str) -> bool:
    address = _parsed(peer)
    return address is not None and address.is_loopback


def _address(text: str) -> str | None:
    """The address in `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = _parsed(text)
    return None if address is None else str(address)
