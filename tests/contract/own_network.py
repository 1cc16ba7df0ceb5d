"""A network namespace for one test: entered by the test's own thread, gone with it."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.lab import kernel

T = TypeVar("T")

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


def on_thread(action: Callable[[], T]) -> T:
    """The action's result or exception, from a thread that may change its namespace or rights."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(action).result()


@contextmanager
def far_host() -> Iterator[Callable[[Callable[[], object]], object]]:
    """The far end of the uplink as a host of its own, with the resolvers' addresses.

    Gives a function that runs an action over there; what the action opens stays there. Only inside
    `own_network`, after `add_uplink`.
    """
    far = on_thread(_fresh_namespace)
    try:
        ip(f"link set far0 netns /proc/{os.getpid()}/fd/{far}")
        for neighbour in (RESOLVER4, RESOLVER6, RESOLVER_LINK):
            ip(f"neigh del {neighbour} dev up0")

        def there(action: Callable[[], object]) -> object:
            def enter() -> object:
                kernel.setns(far, kernel.CLONE_NEWNET)
                return action()

            return on_thread(enter)

        there(_configure_far)
        yield there
    finally:
        os.close(far)


def _fresh_namespace() -> int:
    kernel.unshare(kernel.CLONE_NEWNET)
    return os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)


def _configure_far() -> None:
    ip("link set lo up")
    for address in (f"{RESOLVER4}/24", f"{RESOLVER6}/64 nodad", f"{RESOLVER_LINK}/64 nodad"):
        ip(f"addr add {address} dev far0")
    ip("link set far0 up")


def without_capabilities(action: Callable[[], T]) -> T:
    """Run the action on a thread that has no capability at all, whoever its user is (capset(2))."""

    def drop() -> T:
        header = struct.pack("=Ii", 0x2008_0522, 0)
        if ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)) != 0:
            raise OSError(ctypes.get_errno(), "capset")
        return action()

    return on_thread(drop)
