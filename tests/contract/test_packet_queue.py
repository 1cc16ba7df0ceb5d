"""PacketQueue: the fake and NetfilterQueue in a namespace of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Hook
from isolator.model.verdict import Verdict
from isolator.ports import PacketQueue, QueueAnswer, QueuedPacket
from tests.contract.own_network import RESOLVER4, add_uplink, nft, own_network
from tests.fakes.packet_queue import FakeQueue

NUMBER = 4711
ACCEPT, DROP = QueueAnswer(Verdict.ACCEPT), QueueAnswer(Verdict.DROP)


@dataclass
class Bench:
    """`make` gives another queue object of the same kernel; `send` has a packet with this text queued."""

    make: Callable[[], PacketQueue]
    send: Callable[[PacketQueue, bytes], None]


def _real() -> Iterator[Bench]:
    from isolator.adapters.nfqueue import NfqueueQueue
    from isolator.adapters.nftables import NftablesBackend
    from tests.contract.queue_feed import feed_queue

    with own_network():
        add_uplink()
        backend = NftablesBackend()
        feed_queue(backend, NUMBER)
        made: list[NfqueueQueue] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

            def send(_queue: PacketQueue, text: bytes) -> None:
                sender.sendto(text, (RESOLVER4, 53))

            def make() -> PacketQueue:
                made.append(NfqueueQueue())
                return made[-1]

            yield Bench(make, send)
        for queue in made:
            queue.close()
        nft("delete", "table", "inet", "isolator")
        backend.close()


@pytest.fixture(params=["fake", pytest.param("nfqueue", marks=pytest.mark.netns)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "nfqueue":
        yield from _real()
        return
    taken: set[int] = set()

    def feed(queue: PacketQueue, text: bytes) -> None:
        assert isinstance(queue, FakeQueue)
        queue.feed(text)

    yield Bench(lambda: FakeQueue(taken), feed)  # noqa: PT022 - the other way tears down


class Recorder:
    """A handler that remembers, answers by the text, and can be waited for."""

    def __init__(self) -> None:
        self.seen: list[QueuedPacket] = []
        self._arrived = threading.Semaphore(0)

    def __call__(self, packet: QueuedPacket) -> QueueAnswer:
        self.seen.append(packet)
        self._arrived.release()
        if packet.payload.endswith(b"fail"):
            raise RuntimeError("a bug in the gate")
        return ACCEPT if packet.payload.endswith(b"good") else DROP

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self._arrived.acquire(timeout=10)


def test_each_packet_reaches_the_handler_and_failures_do_not_stop_it(bench: Bench) -> None:
    queue, handler = bench.make(), Recorder()
    queue.open(NUMBER, handler)
    for text in (b"good", b"fail", b"bad", b"good"):
        bench.send(queue, text)
    handler.wait(4)
    assert [packet.payload[-3:] for packet in handler.seen] == [b"ood", b"ail", b"bad", b"ood"]
    assert {packet.hook for packet in handler.seen} == {Hook.OUTPUT}


def test_a_taken_number_is_refused_and_free_again_after_close(bench: Bench) -> None:
    first, second = bench.make(), bench.make()
    first.open(NUMBER, Recorder())
    with pytest.raises(IsolatorError) as failure:
        second.open(NUMBER, Recorder())
    assert failure.value.code is FailureCode.NO_QUEUE
    first.close()
    handler = Recorder()
    second.open(NUMBER, handler)
    bench.send(second, b"good")
    handler.wait(1)
    second.close()


def test_open_twice_is_an_error_and_keeps_the_first(bench: Bench) -> None:
    queue, handler = bench.make(), Recorder()
    queue.open(NUMBER, handler)
    with pytest.raises(IsolatorError):
        queue.open(NUMBER + 1, Recorder())
    bench.send(queue, b"good")
    handler.wait(1)


def test_close_is_final_and_safe_to_repeat(bench: Bench) -> None:
    queue, handler = bench.make(), Recorder()
    queue.close()
    queue.open(NUMBER, handler)
    queue.close()
    queue.close()
    assert queue.statistics() == {}
    queue.open(NUMBER, handler)
    bench.send(queue, b"good")
    handler.wait(1)
    queue.close()
    assert len(handler.seen) == 1


def test_statistics_count_from_the_opening(bench: Bench) -> None:
    queue, handler = bench.make(), Recorder()
    assert queue.statistics() == {}
    queue.open(NUMBER, handler)
    assert queue.statistics()["judged"] == 0
    for _ in range(3):
        bench.send(queue, b"good")
    handler.wait(3)
    counted = queue.statistics()
    assert {"judged", "dropped_full", "dropped_user", "waiting"} <= counted.keys()
    assert counted["dropped_full"] == counted["dropped_user"] == 0
