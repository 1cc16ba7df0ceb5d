"""Remembers what the person was told."""

from __future__ import annotations

from isolator.model.event import HostEvent


class FakeNotifier:
    """`told` in order; `visible` is what still stands on the screen (motd)."""

    def __init__(self) -> None:
        self.told: list[HostEvent] = []
        self.visible: HostEvent | None = None

    def tell(self, event: HostEvent) -> None:
        """Remember."""
        self.told.append(event)
        self.visible = event

    def clear(self) -> None:
        """Nothing is visible any more."""
        self.visible = None
