"""What a UDP socket towards a resolver does with the system's errors; the system is a fake."""

from __future__ import annotations

import errno
import socket
import struct
import sys

import pytest

from connectivity_check.failure import Seen
from connectivity_check.probes.dns_question import QuestionType, make_question
from connectivity_check.probes.dns_socket import DnsSocket, Server, Ticket, family_of, socket_address
from connectivity_check.probes.dns_trouble import Trouble, trouble_of
from connectivity_check.probes.error_queue import IcmpError

SERVER = ("10.0.0.1", 53)
Queued = tuple[bytes, list[tuple[int, int, bytes]], int, object]


def icmp(datagram: bytes, code: int = errno.ECONNREFUSED, number: int = 3) -> Queued:
    """A datagram as the error queue gives it, refused by 10.0.0.9 (linux/errqueue.h)."""
    extended = struct.pack("=IBBBBII", code, 2, 3, number, 0, 0, 0)
    offender = struct.pack("=HH4s8x", socket.AF_INET, 0, bytes((10, 0, 0, 9)))
    return datagram, [(socket.IPPROTO_IP, 11, extended + offender)], 0, None


class FakeSocket(socket.socket):
    """Takes datagrams, or fails as told; has an error queue."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.errors: list[OSError] = []
        self.queue: list[Queued] = []

    def send(self, data: bytes, *_: object) -> int:  # type: ignore[override]
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(data)
        return len(data)

    def recvmsg(self, *_: object) -> Queued:  # type: ignore[override]
        if not self.queue:
            raise BlockingIOError
        return self.queue.pop(0)

    def __del__(self) -> None:
        """Nothing was opened."""


class Waiting:
    """An asker that notes what it is told."""

    def __init__(self, name: str = "a.example") -> None:
        self.question = make_question(name, QuestionType.A)
        self.messages: list[bytes] = []
        self.troubles: list[Trouble] = []

    def heard(self, message: bytes, server: Server, sender: Server) -> None:
        self.messages.append(message)

    def failed(self, trouble: Trouble, server: Server) -> None:
        assert server == SERVER
        self.troubles.append(trouble)


@pytest.fixture
def udp() -> FakeSocket:
    return FakeSocket()


@pytest.fixture
def through(udp: FakeSocket) -> DnsSocket:
    return DnsSocket(udp, SERVER)


def answer_to(query: bytes) -> bytes:
    return query[:2] + b"\x81\x80" + query[4:]


def test_answers_find_their_asker_by_id_and_question(udp: FakeSocket, through: DnsSocket) -> None:
    first, second = Waiting(), Waiting("b.example")
    through.ask(first, SERVER)
    through.ask(second, SERVER)
    to_first, to_second = (answer_to(query) for query in udp.sent)
    for message in (to_second, to_first, to_second[:2] + to_first[2:], b"", b"\0"):
        through.datagram_received(message, SERVER)
    assert first.messages == [to_first]
    assert second.messages == [to_second]


def test_ids_are_unique_and_come_back(udp: FakeSocket, through: DnsSocket) -> None:
    asker = Waiting()
    tickets = [through.ask(asker, SERVER) for _ in range(2000)]
    assert len({query[:2] for query in udp.sent}) == 2000
    for ticket in tickets:
        ticket.forget()
        ticket.forget()
    through.datagram_received(answer_to(udp.sent[0]), SERVER)
    assert not asker.messages


def test_a_full_buffer_is_as_if_lost(udp: FakeSocket, through: DnsSocket) -> None:
    udp.errors = [BlockingIOError()]
    asker = Waiting()
    through.ask(asker, SERVER)
    assert not asker.troubles


def test_this_devices_own_filter(udp: FakeSocket, through: DnsSocket) -> None:
    udp.errors = [PermissionError(errno.EPERM, "Operation not permitted")]
    asker = Waiting()
    assert isinstance(through.ask(asker, SERVER), Ticket)
    assert asker.troubles == [Trouble(Seen.PERMISSION_DENIED, "EPERM")]


@pytest.mark.skipif(sys.platform != "linux", reason="error queue")
def test_the_error_of_an_earlier_datagram_does_not_eat_the_next(udp: FakeSocket, through: DnsSocket) -> None:
    first, second = Waiting(), Waiting("b.example")
    through.ask(first, SERVER)
    udp.errors = [ConnectionRefusedError(errno.ECONNREFUSED, "")]
    udp.queue = [icmp(udp.sent[0])]
    through.ask(second, SERVER)
    assert len(udp.sent) == 2
    refused = Trouble(Seen.CONNECTION_REFUSED, "ECONNREFUSED", IcmpError("10.0.0.9", 3, 3, 4))
    assert first.troubles == [refused]
    assert not second.troubles
    udp.errors = [ConnectionRefusedError(errno.ECONNREFUSED, ""), PermissionError(errno.EPERM, "")]
    udp.queue = [icmp(udp.sent[0])]
    through.ask(second, SERVER)
    assert [each.seen for each in second.troubles] == [Seen.PERMISSION_DENIED]
    udp.errors = [ConnectionRefusedError(errno.ECONNREFUSED, ""), BlockingIOError()]
    udp.queue = [icmp(udp.sent[0])]
    through.ask(second, SERVER)
    assert len(second.troubles) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="error queue")
def test_an_error_concerns_whom_it_quotes_or_everybody(udp: FakeSocket, through: DnsSocket) -> None:
    first, second = Waiting(), Waiting("b.example")
    through.ask(first, SERVER)
    through.ask(second, SERVER)
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "")
    other = make_question("c.example", QuestionType.A).render(int.from_bytes(udp.sent[0][:2], "big"))
    udp.queue = [icmp(udp.sent[1]), icmp(other), icmp(udp.sent[0], errno.EMSGSIZE, 4)]
    through.error_received(refused)
    assert (len(first.troubles), len(second.troubles)) == (0, 1)
    assert not udp.queue, "what stays in the queue would keep the loop busy"
    udp.queue = [icmp(b"")]  # a router that quotes the UDP header only
    through.error_received(refused)
    assert (len(first.troubles), len(second.troubles)) == (1, 2)


def test_an_error_without_a_queue_concerns_everybody(through: DnsSocket) -> None:
    asker = Waiting()
    through.ask(asker, SERVER)
    through.error_received(RuntimeError("not of the socket"))
    through.error_received(ConnectionResetError(errno.ECONNRESET, "as Windows has it"))
    assert asker.troubles == [Trouble(Seen.CONNECTION_REFUSED, "ECONNRESET")]


@pytest.mark.parametrize(
    ("code", "by_icmp", "seen"),
    [
        (errno.EACCES, False, Seen.PERMISSION_DENIED),
        (errno.EACCES, True, Seen.HOST_UNREACHABLE),
        (errno.EHOSTUNREACH, True, Seen.HOST_UNREACHABLE),
        (errno.ENETUNREACH, False, Seen.NETWORK_UNREACHABLE),
        (errno.EMFILE, False, Seen.OTHER),
    ],
)
def test_names_of_errors(code: int, by_icmp: bool, seen: Seen) -> None:
    found = trouble_of(OSError(code, "words"), IcmpError("fe80::1", 1, 1, 6) if by_icmp else None)
    assert found.seen is seen
    assert found.errno == errno.errorcode[code]
    assert bool(found.error) == (seen is Seen.OTHER)


def test_addresses_of_resolvers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "if_nametoindex", lambda name: {"eth0": 7}[name])
    assert family_of(("fe80::1%eth0", 53)) == socket.AF_INET6
    assert socket_address(("10.0.0.1", 53)) == ("10.0.0.1", 53)
    assert socket_address(("fe80::1%eth0", 53)) == ("fe80::1", 53, 0, 7)
    assert socket_address(("fe80::1%3", 53)) == ("fe80::1", 53, 0, 3)
