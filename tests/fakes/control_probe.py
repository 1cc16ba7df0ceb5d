"""A control channel that a test opens and closes."""

from __future__ import annotations

from collections.abc import Iterable

from isolator.model.flow import Destination


class FakeProbe:
    """`listening` are the destinations that accept."""

    def __init__(self, listening: Iterable[Destination] = ()) -> None:
        self.listening = set(listening)
        self.tried: list[Destination] = []

    def reachable(self, destinations: Iterable[Destination], deadline_s: float) -> bool:
        """Is any of them listening?"""
        given = list(destinations)
        self.tried += given
        return any(each in self.listening for each in given)
