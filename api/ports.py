"""What the services need from outside the process."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time as an argument."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        ...


class Wake(Protocol):
    """Tells the long polls, in every worker, that machines have a new order. A lost call costs a sweep."""

    def machines(self, machine_ids: Iterable[str]) -> None:
        """Wake the polls of these machines. Called after the commit, from any thread; never raises."""
        ...
