"""Ways as a test writes them down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from connectivity_check.model import Route


class FakeWayFinder:
    """`ports.WayFinder`: one way for all hosts, and others for some; `after_s` for every question."""

    def __init__(
        self, route: Route | None = None, of: Mapping[str, Route] | None = None, *, after_s: float = 0.0
    ) -> None:
        self._route = route or Route()
        self._of = dict(of or {})
        self._after_s = after_s
        self.asked: list[tuple[str, str]] = []
        """(url, host) of every question."""

    async def route(self, url: str, host: str) -> Route:
        """Give the way for this URL."""
        self.asked.append((url, host))
        await asyncio.sleep(self._after_s)
        return self._of.get(host, self._route)
