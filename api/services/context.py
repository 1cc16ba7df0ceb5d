"""The controller as wired: what every service gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from api.ports import Clock, Wake
from api.services.keys import KeyRing
from api.services.limits import Limits
from api.settings import Settings
from api.store.database import Database


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """Settings, database, clock, keys, the wake-up of long polls, and the counters of calls."""

    settings: Settings
    database: Database
    clock: Clock
    keys: KeyRing
    wake: Wake
    limits: Limits = field(default_factory=Limits)
