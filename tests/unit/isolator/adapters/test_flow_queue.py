"""The queue of segments over a netfilterqueue that a test feeds: every packet is answered, once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from isolator.adapters.nfqueue import FlowNfqueue, flows
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Hook
from isolator.model.ruleset import APPROVED_BIT, FLOW_BIT
from isolator.ports import FlowAnswer, QueuedPacket

NUMBER = 9
BOTH = APPROVED_BIT | FLOW_BIT


class Packet:
    """A packet as netfilterqueue gives it; the kernel counts it from 1 in each binding."""

    def __init__(self, payload: bytes, hook: int = 3, mark: int = 0, outdev: int = 2) -> None:
        self.payload, self.hook, self.mark, self.outdev = payload, hook, mark, outdev
        self.verdict: str | None = None
        self.retained = False

    def get_payload(self) -> bytes:
        return self.payload

    def set_payload(self, payload: bytes) -> None:
        self.payload = payload

    def retain(self) -> None:
        self.retained = True

    def get_mark(self) -> int:
        return self.mark

    def set_mark(self, mark: int) -> None:
        self.mark = mark

    def accept(self) -> None:
        assert self.verdict is None, "answered twice"
        self.verdict = "accept"
        LOG.append(self.payload)

    def drop(self) -> None:
        assert self.verdict is None, "answered twice"
        self.verdict = "drop"


LOG: list[bytes] = []
"""What went on, in order."""


class Kernel:
    """Stands for netfilterqueue, its source and the raw sockets; a test puts packets in."""

    def __init__(self) -> None:
        self.coming: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.judge: Callable[[Any], None] | None = None
        self.replies: list[tuple[bytes, int]] = []
        self.closed = 0
        self.stopped = False
        self.broken = False
        self.unbound = 0

    # netfilterqueue

    def bind(self, _number: int, judge: Callable[[Any], None]) -> Kernel:
        if self.broken:
            raise IsolatorError(FailureCode.NO_QUEUE, "open queue", "taken")
        self.judge, self.stopped = judge, False
        return self

    def get_fd(self) -> int:
        return -1

    def run_socket(self, _source: object) -> None:
        found = self.coming.get()
        if isinstance(found, Exception):
            raise found
        if isinstance(found, Packet):
            assert self.judge is not None
            self.judge(found)
            self.done.put(found)

    def leave_within(self, seconds: float) -> None:
        self.hurried = seconds

    def unbind(self) -> None:
        self.unbound += 1

    # the source

    def stop(self) -> None:
        self.stopped = True
        self.coming.put(None)

    def wait_stopped(self, _seconds: float) -> None:
        self.done.put("paused")

    # the raw sockets

    def send(self, packet: bytes, device: int) -> None:
        self.replies.append((packet, device))

    def close(self) -> None:
        self.closed += 1

    # the test

    def meet(self, packet: Packet) -> Packet:
        """A packet comes, and has been judged when this returns."""
        self.coming.put(packet)
        assert self.done.get(timeout=10) is packet
        return packet

    def second(self, seen: threading.Semaphore) -> None:
        """A second passes; the tick has been carried out when this returns."""
        for _ in range(2):  # the first of the two has been carried out when the other is asked
            self.coming.put(None)
            assert seen.acquire(timeout=10)


class Gate:
    """Answers as a test says, one answer for each packet."""

    def __init__(self) -> None:
        self.answers: list[FlowAnswer | Exception] = []
        self.ticks: list[FlowAnswer | Exception] = []
        self.seen: list[tuple[QueuedPacket, int]] = []
        self.ticked = threading.Semaphore(0)

    def handle(self, packet: QueuedPacket, number: int) -> FlowAnswer:
        self.seen.append((packet, number))
        return self._next(self.answers)

    def tick(self) -> FlowAnswer:
        try:
            return self._next(self.ticks)
        finally:
            self.ticked.release()

    @staticmethod
    def _next(given: list[FlowAnswer | Exception]) -> FlowAnswer:
        found = given.pop(0) if given else FlowAnswer()
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    LOG.clear()
    monkeypatch.setattr(flows, "bind_queue", made.bind)
    monkeypatch.setattr(flows, "QueueSource", lambda *_, **__: made)
    monkeypatch.setattr(flows, "LocalReplies", lambda: made)
    monkeypatch.setattr(flows, "kernel_counts", lambda number: {"waiting": number})
    return made


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def opened(kernel: Kernel, gate: Gate) -> Iterator[FlowNfqueue]:
    made = FlowNfqueue()
    made.open_flows(NUMBER, gate.handle, gate.tick)
    yield made
    made.close()


@pytest.mark.parametrize(("whole", "mark"), [(False, APPROVED_BIT), (True, BOTH)])
def test_what_passes_has_the_marks_and_keeps_its_own(
    opened: FlowNfqueue, kernel: Kernel, gate: Gate, whole: bool, mark: int
) -> None:
    gate.answers = [FlowAnswer(passed=(1,), whole=whole)]
    packet = kernel.meet(Packet(b"syn", mark=0x4))
    assert (packet.verdict, packet.mark, packet.retained) == ("accept", mark | 0x4, False)
    assert gate.seen == [(QueuedPacket(b"syn", Hook.OUTPUT), 1)]


def test_held_packets_go_in_the_order_of_the_answer(opened: FlowNfqueue, kernel: Kernel, gate: Gate) -> None:
    first, second = kernel.meet(Packet(b"1")), kernel.meet(Packet(b"2"))
    assert (first.verdict, first.retained, second.retained) == (None, True, True)
    assert opened.statistics() == {"judged": 2, "failed": 0, "held": 2, "waiting": NUMBER}
    gate.answers = [FlowAnswer(passed=(2, 1, 3), whole=True)]
    third = kernel.meet(Packet(b"3"))
    assert b"".join(LOG) == b"213"
    assert {each.mark for each in (first, second, third)} == {BOTH}
    assert opened.statistics()["held"] == 0


def test_a_replaced_packet_goes_as_another_without_the_flows_mark(
    opened: FlowNfqueue, kernel: Kernel, gate: Gate
) -> None:
    held = kernel.meet(Packet(b"hello", outdev=7))
    gate.answers = [FlowAnswer(whole=True, dropped=(2,), replaced=((1, b"reset"),), local_replies=(b"told",))]
    last = kernel.meet(Packet(b"rest", outdev=8))
    assert (held.verdict, held.payload, held.mark) == ("accept", b"reset", APPROVED_BIT)
    assert (last.verdict, last.mark) == ("drop", 0)
    assert kernel.replies == [(b"told", 8)]


def test_what_only_we_can_send_again_is_sent_again_when_it_is_due(
    opened: FlowNfqueue, kernel: Kernel, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "_AGAIN_S", (0.0, 3600.0))
    gate.answers = [FlowAnswer(), FlowAnswer(passed=(1, 2), again=(1, 99))]
    kernel.meet(Packet(b"hello", outdev=7))
    kernel.meet(Packet(b"rest", outdev=7))
    kernel.second(gate.ticked)
    kernel.second(gate.ticked)
    assert kernel.replies == [(b"hello", 7)]


def test_a_reply_goes_by_the_replaced_packets_interface(
    opened: FlowNfqueue, kernel: Kernel, gate: Gate
) -> None:
    gate.answers = [FlowAnswer(replaced=((1, b"reset"),), local_replies=(b"told",))]
    kernel.meet(Packet(b"hello", outdev=7))
    assert kernel.replies == [(b"told", 7)]


def test_numbers_that_are_not_there_do_no_harm(opened: FlowNfqueue, kernel: Kernel, gate: Gate) -> None:
    gate.answers = [
        FlowAnswer(passed=(77,), dropped=(78, 1, 1), replaced=((79, b"x"),), local_replies=(b"y",))
    ]
    assert kernel.meet(Packet(b"1")).verdict == "drop"
    assert LOG == []


@pytest.mark.parametrize("late", [False, True], ids=["handler", "answer"])
def test_a_failure_drops_the_packet_and_the_queue_goes_on(
    opened: FlowNfqueue, kernel: Kernel, gate: Gate, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    gate.answers = [FlowAnswer(passed=(None,), replaced=(1,)) if late else RuntimeError("a bug")]  # type: ignore[arg-type]
    assert kernel.meet(Packet(b"1")).verdict == "drop"
    gate.answers = [FlowAnswer(passed=(2,))]
    assert kernel.meet(Packet(b"2")).verdict == "accept"
    assert opened.statistics()["failed"] == 1
    assert "judging failed 1 times" in caplog.text


def test_an_unknown_hook_is_a_failure(opened: FlowNfqueue, kernel: Kernel) -> None:
    assert kernel.meet(Packet(b"1", hook=4)).verdict == "drop"


def test_failures_do_not_fill_the_log(
    opened: FlowNfqueue, kernel: Kernel, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.answers = [RuntimeError("a bug")] * 100
    for _ in range(100):
        kernel.meet(Packet(b"1"))
    assert opened.statistics()["failed"] == 100
    assert len(caplog.records) == 7


def test_a_tick_gives_up_what_is_held(opened: FlowNfqueue, kernel: Kernel, gate: Gate) -> None:
    held, other = kernel.meet(Packet(b"1")), kernel.meet(Packet(b"2"))
    for _ in range(2):
        assert gate.ticked.acquire(timeout=10)
    gate.ticks = [FlowAnswer(dropped=(1,))]
    kernel.second(gate.ticked)
    assert (held.verdict, other.verdict) == ("drop", None)


def test_a_failing_tick_or_read_is_followed_by_a_pause_and_the_loop_goes_on(
    opened: FlowNfqueue, kernel: Kernel, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.ticks = [RuntimeError("a bug")]
    kernel.coming.put(None)
    assert kernel.done.get(timeout=10) == "paused"
    kernel.coming.put(OSError("the socket broke"))
    assert kernel.done.get(timeout=10) == "paused"
    gate.answers = [FlowAnswer(passed=(1,))]
    assert kernel.meet(Packet(b"1")).verdict == "accept"
    assert opened.statistics()["failed"] == 2
    assert "reading failed" in caplog.text


def test_what_is_held_at_the_end_is_the_kernels_to_drop(opened: FlowNfqueue, kernel: Kernel) -> None:
    held = kernel.meet(Packet(b"1"))
    opened.close()
    opened.close()
    assert (held.verdict, kernel.unbound, kernel.closed) == (None, 1, 2)
    assert opened.statistics() == {}


def test_a_number_does_not_come_again(opened: FlowNfqueue, kernel: Kernel, gate: Gate) -> None:
    """What an answer names of the binding before must not let another's packet go."""
    kernel.meet(Packet(b"held then"))
    opened.close()
    opened.open_flows(NUMBER, gate.handle, gate.tick)
    other = kernel.meet(Packet(b"held now"))
    gate.answers = [FlowAnswer(passed=(1,), whole=True)]
    kernel.meet(Packet(b"completes the hello of then"))
    assert other.verdict is None
    assert [number for _, number in gate.seen] == [1, 2, 3]


def test_the_handler_may_close_the_queue(kernel: Kernel) -> None:
    made = FlowNfqueue()

    def close(_packet: QueuedPacket, _number: int) -> FlowAnswer:
        made.close()
        return FlowAnswer(passed=(1,))

    made.open_flows(NUMBER, close, FlowAnswer)
    packet = kernel.meet(Packet(b"1"))
    assert packet.verdict is None
    assert made.statistics() == {}


def test_open_twice_is_an_error_and_keeps_the_first(opened: FlowNfqueue, kernel: Kernel, gate: Gate) -> None:
    with pytest.raises(IsolatorError, match="open already"):
        opened.open_flows(NUMBER + 1, gate.handle, gate.tick)
    gate.answers = [FlowAnswer(passed=(1,))]
    assert kernel.meet(Packet(b"1")).verdict == "accept"


def test_a_queue_that_is_taken_leaves_nothing_open(kernel: Kernel, gate: Gate) -> None:
    kernel.broken = True
    made = FlowNfqueue()
    with pytest.raises(IsolatorError):
        made.open_flows(NUMBER, gate.handle, gate.tick)
    assert kernel.closed == 1
    kernel.broken = False
    made.open_flows(NUMBER, gate.handle, gate.tick)
    made.close()
