"""The system's own look-up: its resolvers, and getaddrinfo with hosts file, NSS and NRPT behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from connectivity_check.core.ip_text import ip_of
from connectivity_check.failure import Seen
from connectivity_check.model import Json
from connectivity_check.probes.dns_evidence import Result, seen_of_addresses
from connectivity_check.probes.dns_question import PORT, parse_name
from connectivity_check.probes.dns_socket import Server

_RESOLV_CONF = Path("/etc/resolv.conf")

_MOST_THREADS = 64
"""Look-ups that may hang at once; the C library can take half a minute over one, and cannot be stopped."""

_threads = threading.BoundedSemaphore(_MOST_THREADS)

_NOT_FOUND = frozenset(
    getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
) - {None}
_NAMES = {
    getattr(socket, name): name
    for name in ("EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_NONAME", "EAI_SYSTEM", "EAI_MEMORY")
    if hasattr(socket, name)
}

_Found = Sequence[str] | OSError


def system_servers(resolv_conf: Path = _RESOLV_CONF) -> tuple[Server, ...]:
    """Give this system's resolvers in its order; on Windows those of the registry.

    As the C library reads it: lines it cannot use are passed over, and without any server (or file) the
    answer is the local host, which is what getaddrinfo asks then.
    """
    return _servers_of_registry() if sys.platform == "win32" else _servers_of_file(resolv_conf)


def _servers_of_file(resolv_conf: Path) -> tuple[Server, ...]:
    try:
        text = resolv_conf.read_text("utf-8", "replace")
    except OSError:
        text = ""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            address = ip_of(words[1])
            if address:
                found.append((str(address), PORT))
    return tuple(dict.fromkeys(found)) or (("127.0.0.1", PORT),)


def _servers_of_registry() -> tuple[Server, ...]:
    import dns.exception
    import dns.resolver

    try:
        configured = dns.resolver.Resolver(configure=True).nameservers
    except (dns.exception.DNSException, OSError):
        return ()
    return tuple(dict.fromkeys((str(server), PORT) for server in configured if isinstance(server, str)))


async def look_up(text: str, *, budget_s: float) -> Result:
    """Ask the system for a name's addresses.

    Each look-up has a thread of its own that the program's end does not wait for; one that hangs holds up
    nobody else until `_MOST_THREADS` of them hang.
    """
    evidence: dict[str, Json] = {"name": text, "resolver": "hosts", "transport": "system"}
    try:
        name = parse_name(text)
    except ValueError as error:
        return Result(Seen.OTHER, evidence | {"error": str(error)})
    if not _threads.acquire(blocking=False):
        return Result(Seen.TIMEOUT, evidence | {"error": f"{_MOST_THREADS} system look-ups hang already"})
    try:
        async with asyncio.timeout(budget_s):
            found = await _in_own_thread(name)
    except TimeoutError:
        return Result(Seen.TIMEOUT, evidence)
    if isinstance(found, OSError):
        seen = Seen.DNS_NXDOMAIN if found.errno in _NOT_FOUND else Seen.OTHER
        return Result(seen, evidence | {"addresses": [], "error": _reason(found)})
    addresses = sorted(dict.fromkeys(found), key=lambda address: ":" in address)
    if not addresses:
        return Result(Seen.DNS_NO_ANSWER, evidence | {"addresses": []})
    return Result(seen_of_addresses(addresses), evidence | {"addresses": list(addresses)})


def _in_own_thread(name: str) -> asyncio.Future[_Found]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Found] = loop.create_future()

    def deliver(found: _Found) -> None:
        if not future.done():  # nobody waits any more after the budget
            future.set_result(found)

    def work() -> None:
        found: _Found
        try:
            found = [str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
        except OSError as error:
            found = error
        finally:
            _threads.release()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
            loop.call_soon_threadsafe(deliver, found)

    try:
        threading.Thread(target=work, name=f"look-up of {name}", daemon=True).start()
    except RuntimeError:  # no more threads on this host
        _threads.release()
        future.set_result(OSError(0, "no thread could be started"))
    return future


def _reason(error: OSError) -> str:
    name = _NAMES.get(error.errno or 0, "")
    return f"{name}: {error.strerror}" if name else str(error.strerror)
