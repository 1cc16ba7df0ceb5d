"""P6: an address that several names share opens only for connections that name a listed host.

Every row goes through the kernel: the rules queue, the agent judges, the server at the far end echoes what it
got. What echoes has passed, so a marker behind the first bytes tells on the wire what the verdict was.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from isolator.model.ruleset import TABLE
from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.agent import Agent
from tests.lab.reach import client_hello
from tests.netns.echo_of_pieces import echo_of

pytestmark = pytest.mark.netns

ALLOWED, OTHER, ABSENT_ADDRESS = "api.vendor.example", "other.vendor.example", "20.91.0.1"
OTHER_ADDRESS, ALLOWED6 = "20.91.0.2", "2603:1098::1"
WEB, WEB_ADDRESS = "crl.vendor.example", "20.91.0.3"
PORT, WEB_PORT = 8445, 80
"""An echo port under another number: what passes comes back."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An isolated device that has asked for its names."""

    lab: Lab
    agent: Agent

    def count(self, reason: str) -> int:
        """How often the gate decided so."""
        counters = orders.status(self.agent)["counters"]
        assert isinstance(counters, dict)
        return int(counters["accepted"].get(reason, 0) + counters["dropped"].get(reason, 0))


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        made.resolver.put(
            Host(ALLOWED, (ABSENT_ADDRESS,), (ALLOWED6,)),
            Host(OTHER, (OTHER_ADDRESS,)),
            Host(WEB, (WEB_ADDRESS,)),
        )
        made.servers.listen(made.internet, [("tcp_echo", PORT)])
        yield made


@pytest.fixture(scope="module")
def scene(lab: Lab) -> Iterator[Scene]:
    rows = (Row(ALLOWED, PORT), Row(OTHER, PORT), Row(WEB, WEB_PORT), Row("20.90.0.0/24", PORT))
    policy = write_list(lab.directory / "own.yaml", rows)
    with lab.agent(f"lists: [{policy}]\n") as agent:
        orders.isolate(agent)
        for name in (ALLOWED, OTHER, WEB):
            assert lab.reach_from(lab.device, timeout_s=5).dns(name).ok
        assert lab.reach_from(lab.device, timeout_s=5).dns(ALLOWED, "AAAA").ok
        yield Scene(lab, agent)
        orders.release(agent)


def echoed(lab: Lab, pieces: list[bytes], address: str = ABSENT_ADDRESS, port: int = PORT) -> str:
    """Send the pieces one by one, then a marker: "echo" when all came back, else what ended it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.device.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return echo_of(sock, (address, port), (*pieces, secrets.token_bytes(16)))


def whole(hello: bytes) -> list[bytes]:
    """One segment."""
    return [hello]


def halves(hello: bytes) -> list[bytes]:
    """Two segments, cut inside the name's extension or near it."""
    return [hello[: len(hello) // 2], hello[len(hello) // 2 :]]


def every_sixteen(hello: bytes) -> list[bytes]:
    """Small segments."""
    return [hello[at : at + 16] for at in range(0, len(hello), 16)]


def first_bytes(hello: bytes) -> list[bytes]:
    """The record's head byte by byte."""
    return [*(hello[at : at + 1] for at in range(6)), hello[6:]]


def two_records(hello: bytes) -> list[bytes]:
    """One handshake message over two TLS records."""
    body, cut = hello[5:], 40
    head = hello[:3]
    first = head + cut.to_bytes(2, "big") + body[:cut]
    return [first + head + (len(body) - cut).to_bytes(2, "big") + body[cut:]]


SHAPES = (whole, halves, every_sixteen, first_bytes, two_records)
NAMES = {
    "allowed": (ALLOWED, "echo", "tls_name_allowed"),
    "not listed": ("www.example.com", "reset", "tls_name_not_allowed"),
    "listed for another address": (OTHER, "reset", "tls_name_elsewhere"),
    "absent": (None, "reset", "tls_name_missing"),
}


def hello(name: str | None) -> bytes:
    """OpenSSL's hello, as Python sends it; for None a hello to an address, which names nobody."""
    return client_hello(name if name is not None else "20.91.0.1")


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("address", [ABSENT_ADDRESS, ALLOWED6], ids=["v4", "v6"])
def test_each_shape_and_name(scene: Scene, address: str, shape: object, case: str) -> None:
    name, outcome, reason = NAMES[case]
    assert callable(shape)
    before = scene.count(reason)
    assert echoed(scene.lab, shape(hello(name)), address) == outcome
    assert scene.count(reason) == before + 1


def test_without_isolation_every_row_passes(lab: Lab, scene: Scene) -> None:
    """Positive control: from a host that is not isolated the same bytes come back."""
    del scene
    for name, _, _ in NAMES.values():
        for shape in SHAPES:
            pieces = shape(hello(name))
            with lab.internet.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                sock.settimeout(5)
                sock.connect((ABSENT_ADDRESS, PORT))
                for piece in pieces:
                    sock.sendall(piece)
                got = b""
                while len(got) < sum(map(len, pieces)):
                    got += sock.recv(65536)
                assert got == b"".join(pieces)


@pytest.mark.parametrize(
    "data",
    [
        b"raw bytes, no TLS at all",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\r\nHost: api.vendor.example\r\n\r\n",
    ],
    ids=["raw", "ssh", "http"],
)
def test_what_is_no_hello_is_refused(scene: Scene, data: bytes) -> None:
    """Bypass row 33: a tunnel of raw bytes to an allowed address."""
    assert echoed(scene.lab, [data]) == "reset"


@pytest.mark.parametrize(
    ("host", "ok"),
    [(WEB, True), (ALLOWED, False), ("www.example.com", False)],
    ids=["listed", "port", "fronted"],
)
def test_http_by_host(scene: Scene, host: str, ok: bool) -> None:
    with scene.lab.device.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect((WEB_ADDRESS, WEB_PORT))
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        if ok:
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
            # Keep-alive does not smuggle a second host.
            sock.sendall(b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
            with pytest.raises(ConnectionError):
                _read_to_the_end(sock)
        else:
            with pytest.raises(ConnectionError):
                sock.recv(100)


def _read_to_the_end(sock: socket.socket) -> None:
    while sock.recv(1000):
        pass


def test_a_listed_network_needs_no_name(scene: Scene) -> None:
    assert echoed(scene.lab, [b"anything"], "20.90.0.7") == "echo"


def test_quic_is_refused_at_once(scene: Scene) -> None:
    """The send itself fails, and the socket is told by ICMP."""
    before = scene.count("quic_refused")
    with scene.lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((ABSENT_ADDRESS, 443))
        with pytest.raises(PermissionError):
            sock.send(b"initial")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(10)
    assert scene.count("quic_refused") == before + 1


def test_the_ends_of_an_approved_connection_are_no_approval_for_the_next(scene: Scene) -> None:
    """A new connection between the same two ends, while the old one is still known to the kernel."""
    lab = scene.lab
    own = 45_671

    def connect() -> socket.socket:
        sock = lab.device.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Abort instead of TIME_WAIT, so that the ends are free at once.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4))
        sock.bind(("", own))
        sock.connect((ABSENT_ADDRESS, PORT))
        return sock

    with connect() as sock:
        sock.sendall(hello(ALLOWED))
        assert sock.recv(10)
    known = lab.device.run(["nft", "list", "set", "inet", TABLE, "approved4"], check=True).stdout
    assert f". {own} . {ABSENT_ADDRESS}" in known
    with connect() as sock:
        sock.sendall(hello("www.example.com"))
        with pytest.raises(ConnectionError):
            sock.recv(10)


def test_a_killed_agent_leaves_approved_connections_and_opens_nothing(lab: Lab, scene: Scene) -> None:
    with lab.reach_from(lab.device, timeout_s=5).session(ALLOWED, PORT) as old:
        assert old.echoes(5)
        scene.agent.kill()
        try:
            assert old.echoes(5)
            with lab.device.socket(socket.AF_INET, socket.SOCK_STREAM) as new:
                new.settimeout(1)
                with pytest.raises(OSError):
                    new.connect((ABSENT_ADDRESS, PORT))
            assert old.echoes(5)
        finally:
            scene.agent.start(60)
        assert old.echoes(5)
    assert echoed(scene.lab, [hello("www.example.com")]) == "reset"
