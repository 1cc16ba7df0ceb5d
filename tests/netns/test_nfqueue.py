"""The packet queue against the kernel: marks, local answers, and everything that must end in a drop."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from isolator.adapters.nfqueue import NfqueueQueue
from isolator.adapters.nftables import NftablesBackend
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.ruleset import APPROVED_BIT
from isolator.model.verdict import Verdict
from isolator.ports import QueueAnswer, QueuedPacket
from tests.contract.own_network import (
    RESOLVER4,
    RESOLVER6,
    RESOLVER_LINK,
    add_uplink,
    nft,
    own_network,
    without_capabilities,
)
from tests.contract.queue_feed import feed_queue

pytestmark = [pytest.mark.netns, pytest.mark.timeout(60)]

NUMBER = 4712
SO_MARK = 36
ASKERS = [
    pytest.param(socket.AF_INET, RESOLVER4, id="ipv4"),
    pytest.param(socket.AF_INET6, RESOLVER6, id="ipv6"),
    pytest.param(socket.AF_INET6, RESOLVER_LINK, id="link-local"),
    pytest.param(socket.AF_INET6, f"::ffff:{RESOLVER4}", id="mapped"),
]


@pytest.fixture
def queue() -> Iterator[NfqueueQueue]:
    with own_network():
        add_uplink()
        # The strictest source check there is: answers over loopback must not need it off.
        for name in ("all", "lo", "up0"):
            Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("1")
        backend = NftablesBackend()
        feed_queue(backend, NUMBER)
        # What leaves, by the gate's bit, another bit, and in all.
        nft("add chain inet isolator after { type filter hook output priority -95; }")
        for match in (f"meta mark & {APPROVED_BIT} == {APPROVED_BIT}", "meta mark & 7 == 7", ""):
            nft(f"add rule inet isolator after udp dport 53 {match} counter")
        made = NfqueueQueue()
        yield made
        made.close()
        backend.close()


def left() -> tuple[int, ...]:
    """Packets to port 53 that left: with the gate's bit, with the sender's own mark, in all."""
    words = nft("list chain inet isolator after").split()
    return tuple(int(words[place + 2]) for place, word in enumerate(words) if word == "counter")


class Gate:
    """Answers every packet the same way and can be waited for."""

    def __init__(self, answer: Callable[[QueuedPacket], QueueAnswer]) -> None:
        self._answer = answer
        self.done = threading.Semaphore(0)

    def __call__(self, packet: QueuedPacket) -> QueueAnswer:
        try:
            return self._answer(packet)
        finally:
            self.done.release()


def send(mark: int = 0, count: int = 1) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        for _ in range(count):
            asking.sendto(b"question", (RESOLVER4, 53))


def refusal(packet: QueuedPacket) -> QueueAnswer:
    """An answer in the resolver's name: addresses and ports turned round, text "no"."""
    data = packet.payload
    header = 20 if data[0] >> 4 == 4 else 40
    source_port, destination_port = struct.unpack_from(">HH", data, header)
    body = struct.pack(">HHHH", destination_port, source_port, 10, 0) + b"no"
    if header == 20:
        there, here = data[12:16], data[16:20]
        ip_header = struct.pack(">BBHHHBBH", 0x45, 0, 30, 0, 0, 64, 17, 0) + here + there
        return QueueAnswer(Verdict.DROP, ip_header + body)
    there, here = data[8:24], data[24:40]
    checksum = _checksum(here + there + struct.pack(">II", 10, 17) + body)
    body = body[:6] + struct.pack(">H", checksum) + b"no"
    return QueueAnswer(Verdict.DROP, struct.pack(">IHBB", 0x6000_0000, 10, 17, 64) + here + there + body)


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
@pytest.mark.parametrize(("family", "address"), ASKERS)
def test_an_answer_reaches_the_local_asker(
    queue: NfqueueQueue, family: int, address: str, connected: bool
) -> None:
    queue.open(NUMBER, refusal)
    scope = socket.if_nametoindex("up0") if address.startswith("fe80") else 0
    target = (address, 53) if family == socket.AF_INET else (address, 53, 0, scope)
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(10)
        if connected:
            asking.connect(target)
            asking.send(b"question")
        else:
            asking.sendto(b"question", target)
        text, sender = asking.recvfrom(100)
    assert text == b"no"
    assert (ip_address(sender[0].partition("%")[0]), sender[1]) == (ip_address(address), 53)
    assert left() == (0, 0, 0)


def test_an_approved_packet_leaves_with_the_mark_and_keeps_its_own(queue: NfqueueQueue) -> None:
    gate = Gate(lambda _packet: QueueAnswer(Verdict.ACCEPT))
    queue.open(NUMBER, gate)
    send(mark=7)
    assert gate.done.acquire(timeout=10)
    queue.close()
    assert left() == (1, 1, 1)


@pytest.mark.parametrize("verdict", [Verdict.DROP, Verdict.REJECT, Verdict.QUEUE])
def test_everything_but_accept_drops(queue: NfqueueQueue, verdict: Verdict) -> None:
    gate = Gate(lambda _packet: QueueAnswer(verdict))
    queue.open(NUMBER, gate)
    send()
    assert gate.done.acquire(timeout=10)
    queue.close()
    assert left() == (0, 0, 0)


def test_a_failing_handler_drops_and_fills_no_log(
    queue: NfqueueQueue, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_packet: QueuedPacket) -> QueueAnswer:
        raise RuntimeError("a bug in the gate")

    gate = Gate(fail)
    queue.open(NUMBER, gate)
    send(count=100)
    for _ in range(100):
        assert gate.done.acquire(timeout=10)
    assert queue.statistics()["failed"] >= 99
    queue.close()
    assert left() == (0, 0, 0)
    assert 1 <= len(caplog.records) <= 8


@pytest.mark.parametrize("reply", [b"", b"\x45", b"\x45" * 20, b"\x60" * 10, b"\xff" * 60])
def test_a_reply_that_is_no_packet_harms_nothing(queue: NfqueueQueue, reply: bytes) -> None:
    gate = Gate(lambda _packet: QueueAnswer(Verdict.DROP, reply))
    queue.open(NUMBER, gate)
    send(count=2)
    for _ in range(2):
        assert gate.done.acquire(timeout=10)


def test_nobody_listens_nothing_leaves(queue: NfqueueQueue) -> None:
    send(count=5)
    assert left() == (0, 0, 0)


def test_waiting_packets_are_dropped_by_close(queue: NfqueueQueue) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(_packet: QueuedPacket) -> QueueAnswer:
        entered.set()
        go_on.wait(30)
        return QueueAnswer(Verdict.ACCEPT)

    queue.open(NUMBER, hold)
    send(count=50)
    assert entered.wait(10)
    closing = threading.Thread(target=queue.close)
    closing.start()
    go_on.set()
    closing.join()
    # The one under judgement may still pass; what waited behind it may not.
    assert left()[2] <= 50 - 1
    assert left()[0] == left()[2]


def test_a_full_queue_drops_and_counts(queue: NfqueueQueue) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(_packet: QueuedPacket) -> QueueAnswer:
        entered.set()
        go_on.wait(30)
        return QueueAnswer(Verdict.ACCEPT)

    queue.open(NUMBER, hold)
    sent = 9000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        # The kernel counts a waiting packet against its sender: the sender's buffer must not be the limit.
        asking.setsockopt(socket.SOL_SOCKET, 32, 64 * 1024 * 1024)
        for _ in range(sent):
            asking.sendto(b"question", (RESOLVER4, 53))
    assert entered.wait(10)
    counted = queue.statistics()
    lost = counted["dropped_full"] + counted["dropped_user"]
    assert lost > 0
    assert lost + counted["waiting"] == sent
    go_on.set()
    while queue.statistics()["judged"] < sent - lost:
        time.sleep(0.01)
    assert left() == (sent - lost, 0, sent - lost)


def test_close_ends_while_packets_keep_coming(queue: NfqueueQueue) -> None:
    gate = Gate(lambda _packet: QueueAnswer(Verdict.DROP))
    queue.open(NUMBER, gate)
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            send(count=20)

    sender = threading.Thread(target=flood)
    sender.start()
    try:
        for _ in range(50):
            assert gate.done.acquire(timeout=10)
        queue.close()
        assert queue.statistics() == {}
    finally:
        stop.set()
        sender.join()
    assert not [each for each in threading.enumerate() if each.name == f"queue-{NUMBER}"]


def test_the_handler_may_close_the_queue(queue: NfqueueQueue) -> None:
    gate = Gate(lambda _packet: (queue.close(), QueueAnswer(Verdict.DROP))[1])
    queue.open(NUMBER, gate)
    send()
    assert gate.done.acquire(timeout=10)
    assert queue.statistics() == {}


def test_without_permission_it_says_so(queue: NfqueueQueue) -> None:
    with pytest.raises(IsolatorError) as failure:
        without_capabilities(lambda: queue.open(NUMBER, refusal))
    assert failure.value.code in (FailureCode.NO_PERMISSION, FailureCode.NO_QUEUE)
