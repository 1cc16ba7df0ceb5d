"""The listening socket, bound before anything else is started."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address
from typing import Any

from api.settings import Settings, SettingsError

_SENTENCES = {
    errno.EADDRINUSE: "somebody else listens there already",
    errno.EACCES: "this account may not listen there",
    errno.EADDRNOTAVAIL: "this host has no such address",
}


def bind(settings: Settings) -> list[socket.socket]:
    """Listening sockets on every address the configured host name has.

    SettingsError, in one sentence, when there is none, one cannot be had, or plain HTTP would leave the host.
    """
    where = f"{settings.host}:{settings.port}"
    found = _addresses(settings)
    _refuse_plain_http(settings, [str(address[0]) for _, address in found])
    bound: list[socket.socket] = []
    try:
        for family, address in found:
            bound.append(_bound(family, (str(address[0]), _port(settings, bound), *address[2:])))
    except OSError as error:
        for each in bound:
            each.close()
        reason = _SENTENCES.get(error.errno or 0, os.strerror(error.errno or 0))
        raise SettingsError(f"cannot listen on {where}: {reason}") from None
    return bound


def address_of(listener: socket.socket) -> str:
    """HOST:PORT as in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether an address is this host's own; False for what is no address."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _addresses(settings: Settings) -> list[tuple[int, tuple[Any, ...]]]:
    try:
        found = socket.getaddrinfo(
            settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        raise SettingsError(f"host: {settings.host!a} is no address of this host") from None
    return list(dict.fromkeys((int(family), tuple(address)) for family, _, _, _, address in found))


def _refuse_plain_http(settings: Settings, addresses: list[str]) -> None:
    if settings.tls_cert is not None or settings.trusted_proxies:
        return
    open_to_others = [each for each in addresses if not is_loopback(each)]
    if open_to_others:
        raise SettingsError(
            f"plain HTTP on {open_to_others[0]} would show every token to the network; "
            "give tls_cert and tls_key, or trusted_proxies when a proxy does the TLS"
        )


def _port(settings: Settings, bound: list[socket.socket]) -> int:
    """Port 0 is a free one; further addresses get the same."""
    return int(bound[0].getsockname()[1]) if bound else settings.port


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address[0] != "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        # At once: a second controller is told "in use"; callers wait in the backlog until we serve.
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener
