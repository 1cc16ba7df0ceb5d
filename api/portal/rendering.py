"""Templates to answers: one Jinja environment, with escaping always on and undefined names an error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from api.core.instant import parse_instant
from api.portal.visitor import PREFIX, Visitor
from api.portal.words import LANGUAGES, Words

HERE = Path(__file__).parent
STATIC = HERE / "static"

NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""

_STEPS = ((60, "seconds", 1), (3600, "minutes", 60), (86_400, "hours", 3600), (float("inf"), "days", 86_400))


def page(
    template: str,
    visitor: Visitor,
    now: datetime,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """A page or a fragment. Templates get the visitor, `t` (words), `now` and the values."""
    text = _environment().get_template(template).render(visitor=visitor, t=visitor.words, now=now, **values)
    return HTMLResponse(text, status, dict(headers or {}))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.globals.update(prefix=PREFIX, languages=LANGUAGES, static=static_address, query=query)
    environment.filters.update(
        ago=_ago, instant=_instant, pretty=pretty, short=short, took=_took, moment=as_instant
    )
    return environment


@cache
def static_address(name: str) -> str:
    """The address of a static file; it changes with the content, so caches never serve an old one."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"{PREFIX}/static/{name}?v={digest}"


def query(values: Mapping[str, object], **changes: object) -> str:
    """A query string of the values with some changed; empty ones are left out. Starts with `?`, or empty."""
    merged = {key: value for key, value in {**values, **changes}.items() if value not in (None, "", False)}
    return f"?{urlencode(merged, doseq=True)}" if merged else ""


def as_instant(value: object) -> datetime | None:
    """An instant of a datetime, a text or seconds since 1970; None for anything else."""
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str):
            return parse_instant(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def short(value: object, length: int = 12) -> str:
    """The first characters of an id or hash; the whole is for a title."""
    text = str(value)
    return text if len(text) <= length else f"{text[:length]}…"


def pretty(value: object) -> str:
    """JSON a person can read."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)


@pass_context
def _ago(context: Context, value: object) -> Markup:
    """How long ago, as <time> with the exact instant as its title; a dash when there is none."""
    at = as_instant(value)
    words: Words = context["t"]
    if at is None:
        return Markup("<span>{}</span>").format(words("never"))
    text = age(words, (context["now"] - at).total_seconds())
    return _time(at, text, _exact(at))


def age(words: Words, seconds: float) -> str:
    """`12 seconds ago`, `in 3 days`, in the language of the words."""
    size = abs(seconds)
    if size < 2:
        return words("age.now")
    for limit, unit, one in _STEPS:
        if size < limit:
            number = int(size // one)
            kind = unit if number != 1 else unit.removesuffix("s")
            return words(f"age.{'ago' if seconds > 0 else 'ahead'}", span=words(f"age.{kind}", n=number))
    raise AssertionError("the last step has no limit")


def _instant(value: object) -> Markup:
    """The exact instant in UTC as <time>; a dash when there is none."""
    at = as_instant(value)
    return Markup("{}").format(NOTHING) if at is None else _time(at, _exact(at), "")


@pass_context
def _took(context: Context, seconds: float | None) -> str:
    """A duration: `0.42 s`, `3 min 20 s`."""
    words: Words = context["t"]
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return words("took.s", s=f"{max(0.0, seconds):.2f}" if seconds < 10 else f"{seconds:.0f}")
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return words("took.min", m=minutes, s=rest)
    hours, minutes = divmod(minutes, 60)
    return words("took.h", h=hours, m=minutes)


def _exact(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _time(at: datetime, text: str, title: str) -> Markup:
    machine = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    titled = Markup(' title="{}"').format(title) if title else Markup("")
    return Markup('<time datetime="{}"{}>{}</time>').format(machine, titled, escape(text))
