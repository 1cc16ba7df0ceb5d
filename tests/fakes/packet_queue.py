"""A packet queue that a test feeds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Hook
from isolator.model.verdict import Verdict
from isolator.ports import FlowAnswer, QueueAnswer, QueuedPacket


class FakeQueue:
    """`feed` is the kernel meeting a packet: what comes back is what the kernel would do.

    Queues made with the same `taken` set live in the same kernel.
    """

    def __init__(self, taken: set[int] | None = None) -> None:
        self._taken = taken if taken is not None else set()
        self._open: tuple[int, Callable[[QueuedPacket], QueueAnswer]] | None = None
        self._judged = 0
        self.replies: list[bytes] = []

    @property
    def number(self) -> int | None:
        """Of the open queue."""
        return self._open[0] if self._open else None

    def open(self, number: int, handler: Callable[[QueuedPacket], QueueAnswer]) -> None:
        """Bind; an error when this or another queue object has the number."""
        if self._open is not None:
            raise IsolatorError(FailureCode.INTERNAL, f"open queue {number}", "a queue is open already")
        if number in self._taken:
            raise IsolatorError(FailureCode.NO_QUEUE, f"open queue {number}", f"queue {number} is taken")
        self._taken.add(number)
        self._open = (number, handler)
        self._judged = 0

    def close(self) -> None:
        """Unbind; twice is fine."""
        if self._open is not None:
            self._taken.discard(self._open[0])
            self._open = None

    def statistics(self) -> Mapping[str, int]:
        """Counts of the real one; nothing waits here."""
        if self._open is None:
            return {}
        return {"judged": self._judged, "waiting": 0, "dropped_full": 0, "dropped_user": 0}

    def feed(self, payload: bytes, hook: Hook = Hook.OUTPUT) -> Verdict:
        """ACCEPT (with the gate's mark) or DROP; DROP also when nobody listens or the handler fails."""
        if self._open is None:
            return Verdict.DROP
        self._judged += 1
        try:
            answer = self._open[1](QueuedPacket(payload, hook))
        except Exception:  # noqa: BLE001 - the real loop goes on as well
            return Verdict.DROP
        if answer.local_reply is not None:
            self.replies.append(answer.local_reply)
        return Verdict.ACCEPT if answer.verdict is Verdict.ACCEPT else Verdict.DROP


class FakeFlowQueue:
    """The queue of segments: `feed` gives what the gate said, `held` is what waits."""

    def __init__(self, taken: set[int] | None = None) -> None:
        self._taken = taken if taken is not None else set()
        self._open: tuple[int, Callable[[QueuedPacket, int], FlowAnswer], Callable[[], FlowAnswer]] | None
        self._open = None
        self._judged = self._failed = 0
        self._numbers = itertools.count(1)
        self.held: set[int] = set()

    @property
    def number(self) -> int | None:
        """Of the open queue."""
        return self._open[0] if self._open else None

    def open_flows(
        self, number: int, handler: Callable[[QueuedPacket, int], FlowAnswer], tick: Callable[[], FlowAnswer]
    ) -> None:
        """Bind; an error when this or another queue object has the number."""
        if self._open is not None:
            raise IsolatorError(FailureCode.INTERNAL, f"open queue {number}", "a queue is open already")
        if number in self._taken:
            raise IsolatorError(FailureCode.NO_QUEUE, f"open queue {number}", f"queue {number} is taken")
        self._taken.add(number)
        self._open = (number, handler, tick)
        self._judged = self._failed = 0

    def close(self) -> None:
        """Unbind; twice is fine."""
        if self._open is not None:
            self._taken.discard(self._open[0])
            self._open = None
            self.held.clear()

    def statistics(self) -> Mapping[str, int]:
        """Counts of the real one."""
        if self._open is None:
            return {}
        return {
            "judged": self._judged,
            "failed": self._failed,
            "held": len(self.held),
            "waiting": len(self.held),
            "dropped_full": 0,
            "dropped_user": 0,
        }

    def feed(self, payload: bytes, hook: Hook = Hook.OUTPUT) -> FlowAnswer:
        """A segment arrives; one that nobody judges is dropped."""
        number = next(self._numbers)
        if self._open is None:
            return FlowAnswer(dropped=(number,))
        self._judged += 1
        self.held.add(number)
        try:
            return self._settle(self._open[1](QueuedPacket(payload, hook), number))
        except Exception:  # noqa: BLE001 - the real loop goes on as well
            self._failed += 1
            return self._settle(FlowAnswer(dropped=(number,)))

    def tick(self) -> FlowAnswer:
        """A second has passed."""
        return FlowAnswer() if self._open is None else self._settle(self._open[2]())

    def _settle(self, answer: FlowAnswer) -> FlowAnswer:
        self.held -= {*answer.passed, *answer.dropped, *(number for number, _ in answer.replaced)}
        return answer
