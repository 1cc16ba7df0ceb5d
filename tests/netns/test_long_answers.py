"""Answers over TCP that are longer than what a resolver sends unasked, up to the longest there are.

A resolver sends some ten segments (RFC 6928) and waits for an acknowledgement, so nothing of an answer can
be held until all of it is there; only its end waits for the judgement.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab, topology
from tests.lab.agent import Agent

pytestmark = pytest.mark.netns

NAME, OTHER, PORT = "many.vendor.example", "www.elsewhere.example", 8448
SERVERS = {"v4": topology.SECOND_RESOLVER.v4, "v6": topology.SECOND_RESOLVER.v6}
LONGEST = 0xFFFF
Talk = Callable[[socket.socket, bytes], None]
"""What the resolver does with a connection and the first query it reads there."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        made.resolver.put(Host(NAME, ("20.94.0.1",)))
        yield made


@pytest.fixture(scope="module")
def agent(lab: Lab) -> Iterator[Agent]:
    policy = write_list(lab.directory / "own.yaml", [Row(NAME, PORT)])
    with lab.agent(f"lists: [{policy}]\nresolvers: {list(SERVERS.values())}\n") as running:
        orders.isolate(running)
        yield running
        orders.release(running)


@contextlib.contextmanager
def resolver(lab: Lab, address: str, talk: Talk) -> Iterator[None]:
    """A resolver over TCP that does as the test says, one connection after the other."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    failed: list[Exception] = []
    with lab.router.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, 53))
        listener.listen(8)
        listener.settimeout(0.1)
        over = threading.Event()
        taken: list[socket.socket] = []

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                taken.append(connection)
                with connection:
                    connection.settimeout(40)
                    try:
                        talk(connection, framed(connection))
                    except OSError:  # the asker hung up, or was made to
                        continue
                    except Exception as error:  # noqa: BLE001 - raised below, where the test sees it
                        failed.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            over.set()
            for each in taken:  # whoever waits for a client that was sent away waits no more
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert failed == []


def framed(connection: socket.socket) -> bytes:
    """One message off a connection."""
    (size,) = struct.unpack("!H", exactly(connection, 2))
    return exactly(connection, size)


def exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError(f"ended after {len(data)} of {size} bytes")
        data += piece
    return data


def long_answer(query: bytes, size: int, first: str = "20.95", name: str = NAME) -> bytes:
    """An answer of just that many bytes or a few less: as many addresses as fit."""
    answer = dns.message.make_response(dns.message.from_wire(query))
    answer.flags |= dns.flags.RA
    head = len(answer.to_wire())
    many = (size - head) // 16
    texts = [f"{first}.{n >> 8}.{n & 255}" for n in range(many)]
    answer.answer = [dns.rrset.from_text(f"{name}.", 60, "IN", "A", *texts)]
    data = answer.to_wire(max_size=LONGEST)
    assert size - 16 < len(data) <= size
    return data


def answering(size: int, first: str = "20.95") -> Talk:
    """Answers every query on the connection with that many bytes."""

    def talk(connection: socket.socket, query: bytes) -> None:
        while True:
            message = long_answer(query, size, first)
            connection.sendall(struct.pack("!H", len(message)) + message)
            query = framed(connection)

    return talk


def question(ident: int = 7, name: str = NAME) -> bytes:
    asked = dns.message.make_query(name, dns.rdatatype.A)
    asked.id = ident
    data = asked.to_wire()
    return struct.pack("!H", len(data)) + data


@contextlib.contextmanager
def connected(lab: Lab, address: str, buffer: int = 0) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.device.socket(family) as sock:
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.settimeout(40)
        sock.connect((address, 53))
        yield sock


def until_reset(sock: socket.socket) -> bytes:
    """All that a program gets before it is told that the connection is no more."""
    got = bytearray()
    try:
        while piece := sock.recv(65536):
            got += piece
    except ConnectionResetError:
        return bytes(got)
    raise AssertionError(f"it ended in peace after {len(got)} bytes")


def dropped(agent: Agent, reason: str) -> int:
    return int(orders.status(agent)["counters"]["dropped"].get(reason, 0))


@pytest.mark.parametrize("version", SERVERS)
@pytest.mark.parametrize("size", [1_000, 14_000, 20_000, 40_000, LONGEST])
def test_an_answer_of_that_size_arrives_and_opens(lab: Lab, agent: Agent, version: str, size: int) -> None:
    first = {"v4": "20.95", "v6": "20.96"}[version]
    with resolver(lab, SERVERS[version], answering(size, first)), connected(lab, SERVERS[version]) as sock:
        sock.sendall(question())
        got = dns.message.from_wire(framed(sock))
    addresses = {record.address for record in got.answer[0]}
    assert len(addresses) > size // 16 - 6
    learned = {each["address"] for each in orders.status(agent)["learned"] if each["name"] == NAME}
    assert len(learned & addresses) >= 60, "as many of one answer as are ever taken"


@pytest.mark.parametrize("version", SERVERS)
def test_several_on_one_connection(lab: Lab, agent: Agent, version: str) -> None:
    with resolver(lab, SERVERS[version], answering(LONGEST)), connected(lab, SERVERS[version]) as sock:
        sock.sendall(b"".join(question(ident) for ident in (1, 2, 3, 4)))
        assert [dns.message.from_wire(framed(sock)).id for _ in range(4)] == [1, 2, 3, 4]


def test_a_client_that_takes_its_time(lab: Lab, agent: Agent) -> None:
    """Its window closes in the middle of the answer, and opens again: that is between the two ends."""
    with (
        resolver(lab, SERVERS["v4"], answering(LONGEST)),
        connected(lab, SERVERS["v4"], buffer=4_096) as sock,
    ):
        sock.sendall(question())
        time.sleep(2)
        assert len(framed(sock)) > LONGEST - 16


def test_answers_that_lose_segments_on_the_way(lab: Lab, agent: Agent) -> None:
    """One packet in nine is lost before the device; both sides, so that acknowledgements are lost too."""
    lose = """table inet lossy {
      chain out { type filter hook output priority 0; tcp sport 53 numgen random mod 9 == 0 drop; }
      chain in { type filter hook input priority 0; tcp dport 53 numgen random mod 9 == 0 drop; }
    }"""
    lab.router.run(["nft", "-f", "-"], stdin=lose, check=True)
    try:
        for size in (20_000, LONGEST):
            with (
                resolver(lab, SERVERS["v4"], answering(size)),
                connected(lab, SERVERS["v4"]) as sock,
            ):
                sock.sendall(question())
                assert len(framed(sock)) > size - 16
    finally:
        lab.router.run(["nft", "delete", "table", "inet", "lossy"], check=True)


@pytest.mark.parametrize("version", SERVERS)
@pytest.mark.parametrize("sent", [1, 9, 30_000])
def test_a_resolver_that_stops_in_the_middle(lab: Lab, agent: Agent, version: str, sent: int) -> None:
    def talk(connection: socket.socket, query: bytes) -> None:
        message = long_answer(query, LONGEST)
        connection.sendall((struct.pack("!H", len(message)) + message)[:sent])
        connection.recv(1)

    before = dropped(agent, "flow_timed_out")
    with resolver(lab, SERVERS[version], talk), connected(lab, SERVERS[version]) as sock:
        sock.sendall(question())
        assert len(until_reset(sock)) <= sent
    assert dropped(agent, "flow_timed_out") == before + 1


@pytest.mark.parametrize("version", SERVERS)
@pytest.mark.parametrize("what", ["another question", "no DNS", "rebinding", "twice"])
def test_what_is_no_answer_does_not_arrive(lab: Lab, agent: Agent, version: str, what: str) -> None:
    """And nobody can go on sending: the connection ends, however much more the resolver would say."""

    def talk(connection: socket.socket, query: bytes) -> None:
        other = question(name=OTHER)[2:]
        fine = long_answer(query, 3_000)
        first = {
            "another question": long_answer(other, 60_000, name=OTHER),
            "no DNS": b"\xfe" * 60_000,
            "rebinding": long_answer(query, 30_000, "10.0"),
            "twice": fine + struct.pack("!H", len(fine)) + fine,
        }[what]
        size = len(fine) if what == "twice" else len(first)
        connection.sendall(struct.pack("!H", size) + first)
        while True:
            connection.sendall(b"\0" * 100_000)

    with resolver(lab, SERVERS[version], talk), connected(lab, SERVERS[version]) as sock:
        sock.sendall(question())
        got = until_reset(sock)
    assert len(got) < {"rebinding": 30_000, "twice": 2 * 3_002}.get(what, 2 + 1), "never to its end"
    status = orders.status(agent)
    assert not [each for each in status["learned"] if each["address"].startswith("10.")]


def test_the_gate_held_nothing_of_all_that(agent: Agent) -> None:
    counters = orders.status(agent)["counters"]["dropped"]
    assert not counters.get("flow_table_full")
    assert not counters.get("tcp_malformed")
