"""FlowQueue on NetfilterQueue: segments that wait until their connection's first bytes are whole."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from isolator.adapters.nfqueue.datagrams import (
    HOOKS,
    PAUSE_S,
    KernelPacket,
    LocalReplies,
    QueueSource,
    bind_queue,
    kernel_counts,
    worth_a_line,
)
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.ruleset import APPROVED_BIT, FLOW_BIT
from isolator.ports import FlowAnswer, QueuedPacket

_LOG = logging.getLogger(__name__)

_TICK_S = 1.0
_AGAIN_S = (0.3, 1.0, 3.0)
"""When a packet is sent once more that no client would send again: as late as a retransmission would be."""

_HOLDING_TICK_S = 0.02
"""While packets are held: clients are told then that their bytes have arrived (`FlowLimits.patience_s`)."""

Handler = Callable[[QueuedPacket, int], FlowAnswer]
Tick = Callable[[], FlowAnswer]


class FlowNfqueue:
    """One queue of the network namespace of the thread that opens it. Never fail-open."""

    def __init__(self) -> None:
        self._binding: _Binding | None = None
        # The kernel's own count from 1 in each binding: what somebody still remembers of the one before
        # would let another's packet go.
        self._numbers = itertools.count(1)

    def open_flows(self, number: int, handler: Handler, tick: Tick) -> None:
        """Bind and start judging; IsolatorError when the queue is taken or the kernel has none."""
        if self._binding is not None:
            sentence = f"queue {self._binding.number} is open already: close it first"
            raise IsolatorError(FailureCode.INTERNAL, f"open queue {number}", sentence)
        self._binding = _Binding(number, handler, tick, self._numbers)

    def close(self) -> None:
        """Stop the thread and unbind; waiting packets are dropped by the kernel. Safe to call twice."""
        binding, self._binding = self._binding, None
        if binding is not None:
            binding.close()

    def statistics(self) -> Mapping[str, int]:
        """judged, failed, held, dropped_full, dropped_user and waiting since open; empty when closed."""
        return {} if self._binding is None else self._binding.statistics()


class _Binding:
    def __init__(self, number: int, handler: Handler, tick: Tick, numbers: Iterator[int]) -> None:
        self.number = number
        self._numbers = numbers
        self._handler = handler
        self._tick = tick
        self._judged = 0
        self._failed = 0
        self._held: dict[int, KernelPacket] = {}
        self._again: list[tuple[float, bytes, int]] = []
        self._replies = LocalReplies()
        try:
            self._queue = bind_queue(number, self._judge)
        except IsolatorError:
            self._replies.close()
            raise
        self._source = QueueSource(self._queue.get_fd(), every_s=_TICK_S, wider=number)
        self._thread = threading.Thread(target=self._run, name=f"queue-{number}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._source.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        # The kernel drops what still waits when the queue is unbound.
        self._queue.unbind()
        self._held.clear()
        self._source.close()
        self._replies.close()

    def statistics(self) -> dict[str, int]:
        counted = {"judged": self._judged, "failed": self._failed, "held": len(self._held)}
        return counted | kernel_counts(self.number)

    def _run(self) -> None:
        while not self._source.stopped:
            try:
                self._queue.run_socket(self._source)  # type: ignore[arg-type]  # only recv() is used
                self._carry_out(self._tick())
                self._send_again()
                if self._held:
                    self._source.leave_within(_HOLDING_TICK_S)
            except Exception:  # noqa: BLE001 - the loop must go on: without it no connection is judged
                self._fail("reading")
                self._source.wait_stopped(PAUSE_S)

    def _judge(self, packet: KernelPacket) -> None:
        """Whatever happens, the packet is answered now or waits in its place."""
        number = next(self._numbers)
        self._held[number] = packet
        try:
            answer = self._handler(QueuedPacket(packet.get_payload(), HOOKS[packet.hook]), number)
            self._carry_out(answer)
            if number in self._held:
                packet.retain()
                self._source.leave_within(_HOLDING_TICK_S)
        except Exception:  # noqa: BLE001 - the loop must go on and the kernel must get an answer
            self._fail("judging")
            self._drop(number)
        self._judged += 1

    def _carry_out(self, answer: FlowAnswer) -> None:
        mark = APPROVED_BIT | FLOW_BIT if answer.whole else APPROVED_BIT
        device = 0
        for number in answer.again:
            self._keep(number)
        for number in answer.passed:
            self._accept(number, mark)
        for number, payload in answer.replaced:
            packet = self._held.get(number)
            if packet is not None:
                device = packet.outdev
                packet.set_payload(payload)
                self._accept(number, APPROVED_BIT)
        for number in answer.dropped:
            device = self._drop(number) or device
        for reply in answer.local_replies:
            self._replies.send(reply, device)

    def _keep(self, number: int) -> None:
        packet = self._held.get(number)
        if packet is None:
            return
        now = time.monotonic()
        payload, device = packet.get_payload(), packet.outdev
        self._again += [(now + delay, payload, device) for delay in _AGAIN_S]
        self._source.leave_within(_AGAIN_S[0])

    def _send_again(self) -> None:
        """Send what is due; it meets our rules like any packet, and the server has it already or wants it."""
        if not self._again:
            return
        now = time.monotonic()
        for at, packet, device in self._again:
            if at <= now:
                self._replies.send(packet, device)
        self._again = [each for each in self._again if each[0] > now]
        if self._again:
            self._source.leave_within(min(at for at, _, _ in self._again) - now)

    def _accept(self, number: int, mark: int) -> None:
        packet = self._held.pop(number, None)
        if packet is not None:
            packet.set_mark(packet.get_mark() | mark)
            packet.accept()

    def _drop(self, number: int) -> int:
        """Drop a packet; gives the interface it was leaving by, 0 when it is not there any more."""
        packet = self._held.pop(number, None)
        if packet is None:
            return 0
        packet.drop()
        return packet.outdev

    def _fail(self, doing: str) -> None:
        self._failed += 1
        if worth_a_line(self._failed):
            _LOG.exception("queue %d: %s failed %d times", self.number, doing, self._failed)
