"""One channel's queue and thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from isolator.model.event import HostEvent

QUEUE_LIMIT = 16
"""Messages that wait per channel; of more the oldest is dropped, because the newest tells the state."""

_LOG = logging.getLogger("isolator.notify")


class Lane:
    """One channel's queue; a thread exists only while something is in it, so nothing is left at the end."""

    def __init__(self, name: str, deliver: Callable[[HostEvent | None], None]) -> None:
        self._name = name
        self._deliver = deliver
        self._waiting: deque[HostEvent | None] = deque()
        self._changed = threading.Condition()
        self._working = False

    def put(self, event: HostEvent | None) -> None:
        with self._changed:
            if len(self._waiting) == QUEUE_LIMIT:
                self._waiting.popleft()
                _LOG.warning("notify %s is behind; its oldest message is dropped", self._name)
            self._waiting.append(event)
            if self._working:
                return
            try:
                threading.Thread(target=self._work, name=f"notify-{self._name}", daemon=True).start()
                self._working = True
            except RuntimeError as error:  # no thread to be had; the next message tries again
                _LOG.warning("notify %s cannot start: %s", self._name, error)

    def wait(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._working, max(0.0, timeout_s))

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._working = False
                    self._changed.notify_all()
                    return
                event = self._waiting.popleft()
            try:
                self._deliver(event)
            except OSError as error:
                _LOG.warning("notify %s failed: %s", self._name, error)
            except Exception:  # noqa: BLE001 - the next message must get its turn
                _LOG.exception("notify %s failed", self._name)
