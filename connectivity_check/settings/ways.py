"""The ways a target can go, as `ports.WayFinder`: direct, by a proxy that is written down, by a PAC file."""

from __future__ import annotations

from typing import Protocol

from connectivity_check.model import ProxyAuth, ProxyServer, Route
from connectivity_check.settings.bypass import NOTHING, Bypass
from connectivity_check.settings.pac import PacEngine
from connectivity_check.settings.pac_answer import question_for, read_answer
from connectivity_check.settings.setting import Setting


class Way(Protocol):
    """A `ports.WayFinder` that may hold a process."""

    fault: str
    """Why no target has a way at all: a sentence that every route has as its error; "" when all is well."""

    async def route(self, url: str, host: str) -> Route:
        """Give the way for this URL."""

    async def close(self) -> None:
        """Let go of what it holds; twice does nothing."""


class DirectWay:
    """Everything goes direct."""

    fault = ""

    def __init__(self, source: str = "") -> None:
        self._route = Route(source=source)

    async def route(self, url: str, host: str) -> Route:
        """Give the way for this URL."""
        return self._route

    async def close(self) -> None:
        """Nothing to let go of."""


class ProxyWay:
    """A proxy for https, one for http (None: direct), and what goes past them."""

    fault = ""

    def __init__(
        self,
        https: ProxyServer | None,
        http: ProxyServer | None,
        bypass: Bypass = NOTHING,
        source: str = "",
        *,
        direct_next: bool = False,
    ) -> None:
        self._https = https
        self._http = http
        self._bypass = bypass
        self._source = source
        self._fallbacks: tuple[ProxyServer | None, ...] = (None,) if direct_next else ()

    @classmethod
    def of(cls, setting: Setting) -> ProxyWay:
        """Make it from what was found."""
        return cls(
            setting.https, setting.http, setting.bypass, setting.source, direct_next=setting.direct_next
        )

    async def route(self, url: str, host: str) -> Route:
        """Give the way for this URL."""
        plain = url.lower().startswith("http:")
        if self._bypass.matches(host, _port(url, 80 if plain else 443)):
            return Route(source=f"{self._source} (bypass list)")
        proxy = self._http if plain else self._https
        return Route(proxy, self._source, fallbacks=self._fallbacks if proxy is not None else ())

    async def close(self) -> None:
        """Nothing to let go of."""


class PacWay:
    """A PAC file that is asked for each target; `fault` when there is none to ask."""

    def __init__(
        self, engine: PacEngine | None, source: str, auth: ProxyAuth | None = None, fault: str = ""
    ) -> None:
        self._engine = engine
        self._source = source
        self._auth = auth
        self.fault = fault

    async def load(self) -> None:
        """Run the file's own statements; `fault` says what is wrong with it."""
        if self._engine is not None and (reason := await self._engine.load()):
            self.fault = f"The PAC file {self._source} cannot be used: {reason}."

    async def route(self, url: str, host: str) -> Route:
        """Give the way for this URL."""
        if self.fault or self._engine is None:
            return Route(source=self._source, pac=True, error=self.fault)
        answer = await self._engine.ask(*question_for(url, host))
        return read_answer(answer, self._source, self._auth)

    async def close(self) -> None:
        """End the process that runs the file."""
        if self._engine is not None:
            await self._engine.close()


def _port(url: str, default: int) -> int:
    authority = url.partition("://")[2].partition("/")[0]
    port = authority.rpartition("]")[2].rpartition(":")[2] if ":" in authority.rpartition("]")[2] else ""
    return int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else default
