"""The few places where SQLite and PostgreSQL say the same thing in different words.

What is read out of JSON is what an agent wrote: every reading looks at the type first, so that a wrong one is
NULL instead of an error that would spoil the list for everybody. Texts are searched without LIKE, which on
SQLite ignores case and everywhere has wildcards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import BigInteger, ColumnElement, FromClause, Text, case, cast, collate, func, literal, null
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

Column = ColumnElement[Any]

_LARGEST = 10**18
"""Beyond this a number in JSON is no whole number to us; all below fits both databases."""


@dataclass(frozen=True, slots=True)
class Elements:
    """The elements of an array in a row: a table to select from."""

    table: FromClause
    text: Column
    """The element when it is a text, else NULL."""
    member: Callable[[str], Column]
    """The text member of that name when the element is an object that has one, else NULL."""


class Dialect(Protocol):
    """What the two differ in."""

    def bytewise(self, text: Column) -> Column:
        """The text, ordered by code points, whatever the database's locale is."""

    def lower(self, text: Column) -> Column:
        """The text with A to Z made small, and no other letter touched."""

    def upper(self, text: Column) -> Column:
        """The text with a to z made large, and no other letter touched."""

    def contains(self, text: Column, part: str) -> Column:
        """Whether the part is in the text; unknown for NULL."""

    def text_member(self, document: Column, key: str) -> Column:
        """The member of an object when it is a text, else NULL."""

    def integer_member(self, document: Column, key: str) -> Column:
        """The member of an object when it is a whole number of up to 18 digits, else NULL."""

    def elements(self, document: Column, key: str | None = None) -> Elements:
        """The elements of the array, or of the member `key` that is one; what is no array has none."""


class Sqlite:
    """SQLite: orders texts by their bytes, and its lower() and upper() know ASCII only."""

    def bytewise(self, text: Column) -> Column:
        """See Dialect."""
        return collate(text, "BINARY")

    def lower(self, text: Column) -> Column:
        """See Dialect."""
        return func.lower(text)

    def upper(self, text: Column) -> Column:
        """See Dialect."""
        return func.upper(text)

    def contains(self, text: Column, part: str) -> Column:
        """See Dialect."""
        return func.instr(text, literal(part, Text())) > 0

    def text_member(self, document: Column, key: str) -> Column:
        """See Dialect."""
        return self._member(document, key, "text", Text())

    def integer_member(self, document: Column, key: str) -> Column:
        """See Dialect."""
        value = self._member(document, key, "integer", BigInteger())
        return case((value.between(1 - _LARGEST, _LARGEST - 1), value), else_=null())

    def elements(self, document: Column, key: str | None = None) -> Elements:
        """See Dialect."""
        path = "$" if key is None else f"$.{key}"
        array = case(
            (func.json_type(document, path) == "array", func.json_extract(document, path)), else_=null()
        )
        table = func.json_each(array).table_valued("value", "type").alias()
        value, kind = table.c.value, table.c.type

        def member(name: str) -> Column:
            # Of json_each's values only objects are JSON again; CASE keeps the others away from json_extract.
            return case((kind == "object", self._member(value, name, "text", Text())), else_=null())

        return Elements(table, case((kind == "text", cast(value, Text())), else_=null()), member)

    def _member(self, document: Column, key: str, kind: str, type_: Any) -> Column:
        path = f"$.{key}"
        found = func.json_extract(document, path, type_=type_)
        return case((func.json_type(document, path) == kind, found), else_=null())


class Postgresql:
    """PostgreSQL: the collation C orders by bytes and changes ASCII letters only."""

    def bytewise(self, text: Column) -> Column:
        """See Dialect."""
        return collate(text, "C")

    def lower(self, text: Column) -> Column:
        """See Dialect."""
        return func.lower(collate(text, "C"))

    def upper(self, text: Column) -> Column:
        """See Dialect."""
        return func.upper(collate(text, "C"))

    def contains(self, text: Column, part: str) -> Column:
        """See Dialect."""
        return func.strpos(text, literal(part, Text())) > 0

    def text_member(self, document: Column, key: str) -> Column:
        """See Dialect."""
        found = self._at(document, key)
        return case((func.jsonb_typeof(found) == "string", self._text(found)), else_=null())

    def integer_member(self, document: Column, key: str) -> Column:
        """See Dialect. 5.0 is no whole number here, as on SQLite; the pattern sees how it was written."""
        found = self._at(document, key)
        whole = cast(found, Text()).op("~", is_comparison=True)(literal("^-?[0-9]{1,18}$", Text()))
        return case((whole, cast(self._text(found), BigInteger())), else_=null())

    def elements(self, document: Column, key: str | None = None) -> Elements:
        """See Dialect."""
        found = document if key is None else self._at(document, key)
        array = case((func.jsonb_typeof(found) == "array", found), else_=cast(null(), JSONB()))
        table = func.jsonb_array_elements(array).table_valued("value").alias()
        value = table.c.value
        text = case((func.jsonb_typeof(value) == "string", self._text(value)), else_=null())
        return Elements(table, text, lambda name: self.text_member(value, name))

    def _at(self, document: Column, key: str) -> Column:
        return document.op("->", return_type=JSONB())(literal(key, Text()))

    def _text(self, value: Column) -> Column:
        return value.op("#>>", return_type=Text())(cast(literal("{}", Text()), ARRAY(Text())))


def dialect_of(name: str) -> Dialect:
    """The dialect of a SQLAlchemy dialect's name."""
    return Sqlite() if name == "sqlite" else Postgresql()
