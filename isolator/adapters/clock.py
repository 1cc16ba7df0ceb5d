"""Clock of the machine."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from isolator.model.failure import FailureCode, IsolatorError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """The kernel's boot clock, the wall clock for people, and the kernel's boot id."""

    def boottime(self) -> float:
        """CLOCK_BOOTTIME in seconds: goes on during suspend, and nobody can set it."""
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        raise IsolatorError(FailureCode.NOT_SUPPORTED, "read the clock", "this system has no boot clock")

    def utc_now(self) -> str:
        """RFC 3339, UTC, whole seconds: 2024-05-01T12:00:00Z."""
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def boot_id(self) -> str:
        """The kernel's random id of this boot (random(4)); IsolatorError where /proc is missing."""
        try:
            return _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError as error:
            sentence = f"the boot id cannot be read: {error}"
            raise IsolatorError(FailureCode.NOT_SUPPORTED, "read the boot id", sentence) from error
