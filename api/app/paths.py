"""How callers may spell a path: Microsoft's API takes any case and a slash at the end, so this one does.

The path is rewritten to the spelling of its route before routing. Values in it (ids, names) stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.routing import Route, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class _Template:
    pattern: re.Pattern[str]
    spelling: str
    methods: frozenset[str]
    literal: int
    """Characters that are no value; more of them is more exact."""


class Paths:
    """Every path of the API, as registered. Filled at the start, then only read."""

    def __init__(self) -> None:
        self._templates: list[_Template] = []

    def add(self, router: APIRouter, prefix: str) -> None:
        """Take a router's paths in, as they answer under a prefix."""
        for route in router.routes:
            if isinstance(route, Route):
                pattern, spelling, _ = compile_path(prefix + route.path)
                self._templates.append(
                    _Template(
                        re.compile(pattern.pattern, re.IGNORECASE),
                        spelling,
                        frozenset(route.methods or ()),
                        len(re.sub(r"\{[^}]*\}", "", spelling)),
                    )
                )
        self._templates.sort(key=lambda each: -each.literal)

    def spelled(self, path: str) -> str:
        """The path as its route spells it; unchanged when there is no such route."""
        bare = path.rstrip("/")
        for each in self._templates:
            if match := each.pattern.match(bare):
                return each.spelling.format(**match.groupdict())
        return path

    def template(self, path: str) -> str | None:
        """The route a path belongs to, with its parameters' names in braces; None when there is none."""
        bare = path.rstrip("/")
        return next((each.spelling for each in self._templates if each.pattern.match(bare)), None)

    def methods(self, path: str) -> list[str]:
        """Every method that some route takes at exactly this path, in order."""
        matching = [each for each in self._templates if each.pattern.match(path)]
        spellings = {each.spelling for each in matching[:1]}
        return sorted({method for each in matching if each.spelling in spellings for method in each.methods})


class Spelling:
    """The middleware that rewrites the path."""

    def __init__(self, app: ASGIApp, paths: Paths) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its route's spelling."""
        if scope["type"] == "http":
            scope = {**scope, "path": self._paths.spelled(scope["path"])}
        await self._app(scope, receive, send)
