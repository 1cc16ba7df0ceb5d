"""Multipath TCP lets bytes be read in another order than they are sent: it is taken out of every SYN."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.reach import client_hello

pytestmark = pytest.mark.netns

_PROTOCOL = 262
"""IPPROTO_MPTCP."""
_LEVEL, _INFO = 284, 1
"""SOL_MPTCP and MPTCP_INFO of linux/mptcp.h: refused for a connection that has fallen back to TCP."""
NAME, ADDRESS, ADDRESS6, PORT = "api.vendor.example", "20.91.0.1", "2603:1098::1", 8446


def _kernel_has_it() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, _PROTOCOL).close()
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EINVAL):
            return False
        raise
    return True


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if not _kernel_has_it():
        pytest.skip("this kernel has no Multipath TCP: socket(IPPROTO_MPTCP) is refused")
    with Lab() as made:
        made.resolver.put(Host(NAME, (ADDRESS,), (ADDRESS6,)))
        yield made


def exchange(lab: Lab, address: str) -> tuple[bool, bytes]:
    """Connect with Multipath TCP and say a hello: is it used, and what has arrived?"""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        lab.internet.socket(family, socket.SOCK_STREAM, _PROTOCOL) as server,
        lab.device.socket(family, socket.SOCK_STREAM, _PROTOCOL) as client,
    ):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("::" if ":" in address else "", PORT))
        server.listen()
        for each in (server, client):
            each.settimeout(5)
        client.connect((address, PORT))
        client.sendall(client_hello(NAME))
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(5)
            got = accepted.recv(65536)
            try:
                accepted.getsockopt(_LEVEL, _INFO, 256)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENOPROTOOPT):
                    raise
                return False, got
            return True, got


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6], ids=["v4", "v6"])
def test_an_allowed_connection_falls_back_to_tcp(lab: Lab, address: str) -> None:
    used, got = exchange(lab, address)
    assert (used, got[:1]) == (True, b"\x16")  # positive control: both kernels speak it
    policy = write_list(lab.directory / "own.yaml", [Row(NAME, PORT)])
    with lab.agent(f"lists: [{policy}]\n") as agent:
        orders.isolate(agent)
        for kind in ("A", "AAAA"):
            assert lab.reach_from(lab.device, timeout_s=5).dns(NAME, kind).ok
        used, got = exchange(lab, address)
        assert (used, got[:1]) == (False, b"\x16")
        orders.release(agent)
    assert exchange(lab, address)[0]
