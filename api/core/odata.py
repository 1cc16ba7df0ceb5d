"""The query options of a list request, read: `$filter` to `$count`, and Microsoft's plain `pageSize`.

Sources: OData 4.01 part 2; learn.microsoft.com/defender-endpoint/api/exposed-apis-odata-samples. Nothing else
than ODataError is raised, whatever the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from api.core.odata_ast import Condition, ODataError, OrderKey
from api.core.odata_lexer import MAX_LENGTH
from api.core.odata_parser import parse_filter, parse_order

__all__ = ["MAX_LENGTH", "MAX_TOP", "ODataError", "Query", "parse_filter", "parse_order", "parse_query"]

MAX_TOP = 10_000
"""The largest `$top`, and the most rows of one answer."""
MAX_SKIP = 2**31 - 1
MAX_TOKEN = 8192
"""Characters of a `$skiptoken`; those we give stay below."""
MAX_SELECTED = 100


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller wants of a list. None: not said."""

    filter: Condition | None = None
    order: tuple[OrderKey, ...] = ()
    select: tuple[str, ...] | None = None
    """Names as the caller wrote them; None (or a star) for all."""
    top: int | None = None
    skip: int = 0
    skiptoken: str | None = None
    count: bool = False
    page_size: int = MAX_TOP


def parse_query(options: Iterable[tuple[str, str]]) -> Query:
    """The query of decoded (name, value) pairs.

    Names are read in any case and, as OData 4.01 asks, with or without `$`. An option given twice, empty, or
    of OData but not supported is an ODataError: ignoring a filter would answer with machines nobody asked
    for. Names that are not OData's are not looked at.
    """
    found: dict[str, object] = {}
    for name, value in options:
        key = name.lower().removeprefix("$")
        if key in _UNSUPPORTED:
            raise ODataError("this option is not supported", 0, f"${key}")
        if key not in _OPTIONS:
            if name.startswith("$"):
                raise ODataError("there is no such option", 0, name[:40])
            continue
        option, field, read = _OPTIONS[key]
        if field in found:
            raise ODataError("it is given twice", 0, option)
        longest = MAX_TOKEN if field == "skiptoken" else MAX_LENGTH
        if len(value) > longest:
            raise ODataError(f"it is longer than {longest} characters", longest, option)
        if not value.strip():
            raise ODataError("it is empty", 0, option)
        found[field] = read(value)
    found.pop("format", None)
    return Query(**found)  # type: ignore[arg-type]  # each reader gives its field's type


def _top(text: str) -> int:
    number = _number(text, "$top")
    if number > MAX_TOP:
        raise ODataError(f"the limit of {MAX_TOP} is exceeded", 0, "$top")
    return number


def _skip(text: str) -> int:
    return _number(text, "$skip")


def _page_size(text: str) -> int:
    """More than a page may hold is cut, not refused: clients send 50,000 to mean everything."""
    number = _number(text, "pageSize")
    if number == 0:
        raise ODataError("it must be at least 1", 0, "pageSize")
    return min(number, MAX_TOP)


def _number(text: str, option: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_SKIP):
        raise ODataError(f"it must be a whole number from 0 to {MAX_SKIP}", 0, option)
    return int(text)


def _count(text: str) -> bool:
    word = text.strip().lower()
    if word not in ("true", "false"):
        raise ODataError("it must be true or false", 0, "$count")
    return word == "true"


def _select(text: str) -> tuple[str, ...] | None:
    names = tuple(each.strip() for each in text.split(","))
    if "" in names or len(names) > MAX_SELECTED:
        raise ODataError(f"it must name 1 to {MAX_SELECTED} properties", 0, "$select")
    return None if "*" in names else names


def _format(text: str) -> str:
    if text.strip().lower().split(";")[0] not in ("json", "application/json"):
        raise ODataError("answers are JSON", 0, "$format")
    return "json"


_OPTIONS: dict[str, tuple[str, str, Callable[[str], object]]] = {
    "filter": ("$filter", "filter", parse_filter),
    "orderby": ("$orderby", "order", parse_order),
    "select": ("$select", "select", _select),
    "top": ("$top", "top", _top),
    "skip": ("$skip", "skip", _skip),
    "skiptoken": ("$skiptoken", "skiptoken", str.strip),
    "count": ("$count", "count", _count),
    "pagesize": ("pageSize", "page_size", _page_size),
    "format": ("$format", "format", _format),
}
_UNSUPPORTED = frozenset(
    {"expand", "search", "apply", "compute", "deltatoken", "index", "levels", "schemaversion"}
)
