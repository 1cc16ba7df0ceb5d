"""A network namespace for one test: entered by the test's own thread, gone with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import kernel

_HERE = Path("/proc/thread-self/ns/net")

RESOLVER4, RESOLVER6, RESOLVER_LINK = "192.0.2.53", "2001:db8::53", "fe80::53"
OWN4, OWN6, OWN_LINK = "192.0.2.10", "2001:db8::10", "fe80::10"


@contextmanager
def own_network() -> Iterator[None]:
    """The calling thread, and what it starts meanwhile, live in a fresh namespace with loopback up."""
    with _HERE.open() as before:
        kernel.unshare(kernel.CLONE_NEWNET)
        try:
            ip("link set lo up")
            yield
        finally:
            kernel.setns(before.fileno(), kernel.CLONE_NEWNET)


def ip(command: str) -> None:
    """Run ip(8) here."""
    subprocess.run(["ip", *command.split()], check=True, capture_output=True, timeout=10)


def nft(*arguments: str) -> str:
    """Run nft(8) here and give its output."""
    command = ["nft", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout


def add_uplink() -> None:
    """An interface `up0` with addresses of both families; packets to the resolvers leave and vanish."""
    ip("link add up0 type veth peer name far0")
    for address in (f"{OWN4}/24", f"{OWN6}/64 nodad", f"{OWN_LINK}/64 nodad"):
        ip(f"addr add {address} dev up0")
    ip("link set far0 up")
    ip("link set up0 up")
    for neighbour in (RESOLVER4, RESOLVER6, RESOLVER_LINK):
        ip(f"neigh add {neighbour} lladdr 02:00:00:00:00:53 dev up0 nud permanent")
