"""One page of a list: filter, order, count, and the token that continues after its last row.

Paging is by key: a token holds the ordering values of the last row given, and the next page is what comes
after them. Rows that are inserted or deleted between the pages shift nothing: none comes twice, none is lost,
as long as the values of the order do not change; those of the default order never do.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Row, Select, Text, and_, case, func, literal, or_
from sqlalchemy.orm import Session

from api.core import odata_ast as ast
from api.core.instant import parse_instant, render_instant
from api.core.odata import MAX_TOP, ODataError, Query
from api.core.odata_lexer import MAX_INTEGER
from api.store.odata_dialect import Column, Dialect, dialect_of
from api.store.odata_sql import Kind, Properties, Property, Resource, folded, where
from api.store.tables import Utc

ORDERED_LENGTH = 128
"""Texts are ordered by this many characters, so that a token stays short whatever they hold."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a list request gets."""

    rows: Sequence[Row[Any]]
    """As the statement selects them, with the ordering values behind."""
    count: int | None
    """How many there are on all pages; None when nobody asked."""
    skiptoken: str | None
    """What continues after these rows; None when they are the last, or `$top` is reached."""
    select: tuple[str, ...] | None
    """The properties to show, in the API's spelling; None for all."""


@dataclass(frozen=True, slots=True)
class _Key:
    """One part of the order."""

    column: Column
    kind: Kind
    descending: bool
    nullable: bool


def fetch(session: Session, statement: Select[Any], resource: Resource, query: Query, now: datetime) -> Page:
    """The page of `statement` (already limited to what the caller may see) that the query asks for.

    The statement selects from the resource's table, for example `select(Machine).where(…)`. It may join
    others, as long as a row stays one row. The resource's key always breaks ties of the order.
    ODataError when the query does not fit the resource, or its token belongs to another query.
    """
    dialect = dialect_of(session.get_bind().dialect.name)
    properties = resource.describe(dialect, now)
    selected = properties.selected(query.select)
    if query.filter is not None:
        statement = statement.where(where(query.filter, properties, dialect))
    keys = _keys(query.order or resource.order, properties, dialect)
    count = session.scalar(_counting(statement)) if query.count else None

    mark = _mark(properties, query)
    left = query.top
    page = statement.add_columns(*(each.column for each in keys)).order_by(*(_order(each) for each in keys))
    if query.skiptoken is None:
        page = page.offset(query.skip) if query.skip else page
    else:
        values, left = _open(query.skiptoken, mark, keys)
        page = page.where(_after(keys, values))
    size = query.page_size if left is None else min(query.page_size, left)
    rows = session.execute(page.limit(size + 1)).all()
    more = len(rows) > size and size != left and size > 0
    token = None
    if more:
        token = _seal(mark, keys, rows[size - 1][-len(keys) :], None if left is None else left - size)
    return Page(rows[:size], count, token, selected)


def _counting(statement: Select[Any]) -> Select[Any]:
    return statement.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)


# The order


def _keys(order: tuple[ast.OrderKey, ...], properties: Properties, dialect: Dialect) -> tuple[_Key, ...]:
    found = [(properties.find(each.path, "$orderby"), each) for each in order]
    keys = [_key(each, wanted.path, wanted.descending, dialect) for each, wanted in found]
    if not any(each is properties.key for each, _ in found):
        path = ast.Path((properties.key.name,))
        keys.append(_key(properties.key, path, keys[-1].descending if keys else False, dialect))
    return tuple(keys)


def _key(of: Property, path: ast.Path, descending: bool, dialect: Dialect) -> _Key:
    if of.column is None:
        raise ODataError(f"{of.name} is {of.kind.value} and has no order", path.position, "$orderby")
    column = of.column
    if of.kind is Kind.BOOLEAN:
        column = case((column, 1), else_=0)
    elif of.kind in (Kind.NAME, Kind.TEXT):
        column = func.substr(folded(of, dialect) if of.kind is Kind.NAME else column, 1, ORDERED_LENGTH)
        column = dialect.bytewise(column)
    return _Key(column, of.kind, descending, of.nullable)


def _order(key: _Key) -> Column:
    """Null is smaller than everything (OData 4.01 part 2, 5.1.4); PostgreSQL would put it last."""
    order = key.column.desc() if key.descending else key.column.asc()
    if key.nullable:
        order = order.nulls_last() if key.descending else order.nulls_first()
    return order


def _after(keys: tuple[_Key, ...], values: Sequence[Any]) -> Column:
    """Rows behind the one with these values: the first difference decides."""
    found: list[Column] = []
    same: list[Column] = []
    for key, value in zip(keys, values, strict=True):
        beyond = _beyond(key, value)
        if beyond is not None:
            found.append(and_(*same, beyond))
        same.append(key.column.is_(None) if value is None else key.column == _bound(key, value))
    return or_(*found)


def _beyond(key: _Key, value: Any) -> Column | None:
    if value is None:
        return None if key.descending else key.column.is_not(None)
    if not key.descending:
        return key.column > _bound(key, value)
    smaller = key.column < _bound(key, value)
    return or_(smaller, key.column.is_(None)) if key.nullable else smaller


def _bound(key: _Key, value: Any) -> Column:
    type_: Any = {Kind.INSTANT: Utc(), Kind.TEXT: Text(), Kind.NAME: Text()}.get(key.kind, BigInteger())
    return literal(value, type_)


# The token


def _mark(properties: Properties, query: Query) -> str:
    """What of the query a token depends on; how it was spelled is no part of it."""
    bare = replace(query, skip=0, skiptoken=None, count=False, select=None, page_size=MAX_TOP)
    return hashlib.sha256(f"{properties.resource}\n{bare!r}".encode()).hexdigest()[:16]


def _seal(mark: str, keys: tuple[_Key, ...], values: Sequence[Any], left: int | None) -> str:
    after = [
        render_instant(each) if key.kind is Kind.INSTANT else each
        for key, each in zip(keys, values, strict=True)
    ]
    body = json.dumps([_check(mark, after, left), left, after], ensure_ascii=False, separators=(",", ":"))
    return _encoded(body.encode())


def _encoded(body: bytes) -> str:
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def _check(mark: str, after: list[Any], left: int | None) -> str:
    """Finds what was changed by accident or curiosity. No secret is needed: whoever computes it anew gets
    another place in the same list, which is filtered to what he may see like every list."""
    return hashlib.sha256(json.dumps([mark, left, after]).encode()).hexdigest()[:16]


def _open(token: str, mark: str, keys: tuple[_Key, ...]) -> tuple[list[Any], int | None]:
    """The ordering values, and how many rows `$top` leaves; ODataError when it is no token of this query."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        check, left, after = json.loads(raw)
        if _encoded(raw) != token:
            raise ValueError
        if check != _check(mark, after, left):
            raise ValueError
        if left is not None and not 0 < left <= MAX_TOP:
            raise ValueError
        return [_value(key, each) for key, each in zip(keys, after, strict=True)], left
    except (ValueError, TypeError, RecursionError):
        raise ODataError("it is damaged, or belongs to another query", 0, "$skiptoken") from None


def _value(key: _Key, value: Any) -> Any:
    """The value, when the key can have it; ValueError or TypeError otherwise."""
    if value is None and key.nullable:
        return None
    if key.kind is Kind.INSTANT:
        return parse_instant(value)
    if type(value) is not (str if key.kind in (Kind.TEXT, Kind.NAME) else int):
        raise TypeError
    if isinstance(value, str):
        value.encode()
        if "\0" in value:
            raise ValueError
    elif abs(value) > MAX_INTEGER:
        raise ValueError
    return value
