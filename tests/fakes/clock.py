"""Time that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """`advance` moves both clocks; `set_wall` moves what people see only."""

    def __init__(self, boottime: float = 1000.0, boot: str = "boot-1") -> None:
        self._boottime = boottime
        self._wall = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)
        self._boot = boot

    def boottime(self) -> float:
        """Seconds since boot."""
        return self._boottime

    def utc_now(self) -> str:
        """RFC 3339."""
        return self._wall.strftime("%Y-%m-%dT%H:%M:%SZ")

    def boot_id(self) -> str:
        """Of this boot."""
        return self._boot

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._boottime += seconds
        self._wall += timedelta(seconds=seconds)

    def set_wall(self, moment: datetime) -> None:
        """Somebody sets the wall clock."""
        self._wall = moment

    def reboot(self) -> None:
        """A new boot: the boot clock starts at zero."""
        self._boottime = 0.0
        self._boot += "'"
