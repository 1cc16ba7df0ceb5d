"""The real clock."""

from __future__ import annotations

import time


class SystemClock:
    """Time as the system tells it."""

    def now(self) -> float:
        """Give monotonic seconds."""
        return time.monotonic()

    def utc(self) -> float:
        """Give seconds since 1970."""
        return time.time()
