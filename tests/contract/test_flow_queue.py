"""FlowQueue: the fake and NetfilterQueue in a namespace of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Hook
from isolator.ports import FlowAnswer, FlowQueue, QueuedPacket
from tests.contract.own_network import RESOLVER4, add_uplink, nft, own_network
from tests.fakes.packet_queue import FakeFlowQueue

NUMBER = 4713
PATIENCE_S = 10.0


@dataclass
class Bench:
    """`make` gives another queue object of the same kernel, `send` has a packet queued, `tick` lets a second pass."""

    make: Callable[[], FlowQueue]
    send: Callable[[FlowQueue, bytes], None]
    tick: Callable[[FlowQueue], None]


def _real() -> Iterator[Bench]:
    from isolator.adapters.nfqueue import FlowNfqueue
    from isolator.adapters.nftables import NftablesBackend
    from tests.contract.queue_feed import feed_queue

    with own_network():
        add_uplink()
        backend = NftablesBackend()
        feed_queue(backend, NUMBER)
        made: list[FlowNfqueue] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

            def send(_queue: FlowQueue, text: bytes) -> None:
                sender.sendto(text, (RESOLVER4, 53))

            def make() -> FlowQueue:
                made.append(FlowNfqueue())
                return made[-1]

            yield Bench(make, send, lambda _queue: None)
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

    def feed(queue: FlowQueue, text: bytes) -> None:
        assert isinstance(queue, FakeFlowQueue)
        queue.feed(text)

    def tick(queue: FlowQueue) -> None:
        assert isinstance(queue, FakeFlowQueue)
        queue.tick()

    yield Bench(lambda: FakeFlowQueue(taken), feed, tick)  # noqa: PT022 - the other way tears down


@dataclass
class Gate:
    """Answers by the text's end: good passes alone, last passes all that is held, fail is a defect, else hold."""

    numbers: list[int] = field(default_factory=list)
    hooks: set[Hook] = field(default_factory=set)
    held: list[int] = field(default_factory=list)
    give_up: bool = False
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def handle(self, packet: QueuedPacket, number: int) -> FlowAnswer:
        self.numbers.append(number)
        self.hooks.add(packet.hook)
        self.arrived.release()
        end = packet.payload[-4:]
        if end == b"fail":
            raise RuntimeError("a bug in the gate")
        if end == b"good":
            return FlowAnswer(passed=(number,))
        if end == b"last":
            held, self.held = self.held, []
            return FlowAnswer(passed=(*held, number), whole=True)
        self.held.append(number)
        return FlowAnswer()

    def tick(self) -> FlowAnswer:
        if not self.give_up:
            return FlowAnswer()
        held, self.held = self.held, []
        return FlowAnswer(dropped=tuple(held))

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self.arrived.acquire(timeout=PATIENCE_S)


def settled(queue: FlowQueue, **expected: int) -> None:
    """The statistics become so: they are counted once the answer has been carried out."""
    deadline = time.monotonic() + PATIENCE_S
    while {name: queue.statistics()[name] for name in expected} != expected:
        assert time.monotonic() < deadline, dict(queue.statistics())
        time.sleep(0.005)


def test_segments_wait_for_each_other(bench: Bench) -> None:
    queue, gate = bench.make(), Gate()
    queue.open_flows(NUMBER, gate.handle, gate.tick)
    for text in (b"hold", b"hold", b"good"):
        bench.send(queue, text)
    gate.wait(3)
    settled(queue, judged=3, held=2, waiting=2)
    bench.send(queue, b"last")
    gate.wait(1)
    settled(queue, judged=4, held=0, waiting=0)
    assert len(set(gate.numbers)) == 4
    assert gate.hooks == {Hook.OUTPUT}


def test_a_failure_drops_that_packet_only(bench: Bench) -> None:
    queue, gate = bench.make(), Gate()
    queue.open_flows(NUMBER, gate.handle, gate.tick)
    for text in (b"hold", b"fail", b"good"):
        bench.send(queue, text)
    gate.wait(3)
    settled(queue, judged=3, failed=1, held=1, waiting=1)


def test_the_tick_may_give_up_what_is_held(bench: Bench) -> None:
    queue, gate = bench.make(), Gate()
    queue.open_flows(NUMBER, gate.handle, gate.tick)
    bench.send(queue, b"hold")
    gate.wait(1)
    settled(queue, held=1)
    gate.give_up = True
    bench.tick(queue)
    settled(queue, held=0, waiting=0)


def test_close_drops_what_is_held_and_no_number_comes_again(bench: Bench) -> None:
    queue, gate = bench.make(), Gate()
    queue.open_flows(NUMBER, gate.handle, gate.tick)
    for _ in range(3):
        bench.send(queue, b"hold")
    gate.wait(3)
    queue.close()
    queue.close()
    assert queue.statistics() == {}
    queue.open_flows(NUMBER, gate.handle, gate.tick)
    assert queue.statistics()["held"] == 0
    bench.send(queue, b"hold")
    gate.wait(1)
    settled(queue, judged=1, held=1)
    assert len(set(gate.numbers)) == 4
    # An answer that still names packets of then lets go what is held now and nothing else.
    bench.send(queue, b"last")
    gate.wait(1)
    settled(queue, judged=2, held=0, waiting=0)


def test_a_taken_number_is_refused_and_free_again_after_close(bench: Bench) -> None:
    first, second, gate = bench.make(), bench.make(), Gate()
    first.open_flows(NUMBER, gate.handle, gate.tick)
    with pytest.raises(IsolatorError) as failure:
        second.open_flows(NUMBER, gate.handle, gate.tick)
    assert failure.value.code is FailureCode.NO_QUEUE
    with pytest.raises(IsolatorError):
        first.open_flows(NUMBER + 1, gate.handle, gate.tick)
    first.close()
    second.open_flows(NUMBER, gate.handle, gate.tick)
    bench.send(second, b"good")
    gate.wait(1)
    second.close()


def test_statistics_count_from_the_opening(bench: Bench) -> None:
    queue, gate = bench.make(), Gate()
    assert queue.statistics() == {}
    queue.open_flows(NUMBER, gate.handle, gate.tick)
    assert queue.statistics()["judged"] == 0
    bench.send(queue, b"good")
    gate.wait(1)
    settled(queue, judged=1, failed=0, held=0, waiting=0, dropped_full=0, dropped_user=0)
