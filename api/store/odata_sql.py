"""OData conditions to SQL that gives the same rows on SQLite and PostgreSQL.

What a property is comes from a table of properties (`api.store.odata_columns`). Rules, after OData 4.01 part
2 section 5.1.1: a comparison is true or false, also with null (`ne 'x'` holds for null, `gt` and its kin do
not); a text function of null is unknown, and so is its opposite; where it is unknown, the row is not in the
answer. Texts compare by code points with case; names (Kind.NAME) without the case of A to Z.
"""

from __future__ import annotations

import math
import operator
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import BigInteger, Text, and_, false, func, literal, not_, or_, select, true

from api.core import odata_ast as ast
from api.core.odata_ast import ODataError
from api.core.odata_lexer import parse_instant_literal
from api.store.odata_dialect import Column, Dialect, Elements
from api.store.tables import Utc


class Kind(Enum):
    """How a property compares."""

    TEXT = "a text"
    NAME = "a name"
    """A text whose letters A to Z have no case: identifiers, host names, addresses, enums."""
    NUMBER = "a whole number"
    BOOLEAN = "true or false"
    INSTANT = "a date"
    LIST = "a list"
    NESTED = "an object"


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a resource; `name` is the API's spelling, a path for the part of an object."""

    name: str
    kind: Kind
    column: Column | None = None
    """None for lists and objects."""
    nullable: bool = False
    small: bool = False
    """For a name: it is held without capitals, so that the column's own index finds it."""
    elements: Callable[[], Elements] | None = None
    """For a list: its elements, a fresh table at every call."""
    members: Mapping[str, Kind] = field(default_factory=dict)
    """For a list of objects: their text members. Empty for a list of texts."""


class Properties:
    """The properties of one resource, found by name in any case."""

    def __init__(self, resource: str, properties: tuple[Property, ...], key: str = "id") -> None:
        self.resource = resource
        self._by_name = {each.name.lower(): each for each in properties}
        assert len(self._by_name) == len(properties)
        self.key = self._by_name[key]

    def names(self) -> tuple[str, ...]:
        """What `$select` may name: everything that is no part of something else."""
        return tuple(each.name for each in self._by_name.values() if "/" not in each.name)

    def kinds(self) -> dict[str, Kind]:
        """The kind of every property, parts of objects too."""
        return {each.name: each.kind for each in self._by_name.values()}

    def find(self, path: ast.Path, option: str) -> Property:
        """The property; ODataError when there is none of this name."""
        found = self._by_name.get(str(path).lower())
        if found is None:
            raise ODataError(f"{self.resource} have no property {str(path)[:60]!r}", path.position, option)
        return found

    def selected(self, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The names of a `$select` in the API's spelling; None for all."""
        if names is None:
            return None
        found = (self.find(ast.Path(tuple(each.split("/"))), "$select").name for each in names)
        return tuple(dict.fromkeys(each.split("/")[0] for each in found))


@dataclass(frozen=True, slots=True)
class Resource:
    """What can be listed: its properties, in a database's words and at a moment, and its default order."""

    describe: Callable[[Dialect, datetime], Properties]
    order: tuple[ast.OrderKey, ...]


def where(condition: ast.Condition, properties: Properties, dialect: Dialect) -> Column:
    """The condition as SQL. ODataError for an unknown property, or a comparison that its kind has not."""
    return _Compiler(properties, dialect).condition(condition, None)


_ORDERED: dict[ast.Comparison, Callable[[Any, Any], Column]] = {
    ast.Comparison.GT: operator.gt,
    ast.Comparison.GE: operator.ge,
    ast.Comparison.LT: operator.lt,
    ast.Comparison.LE: operator.le,
}
_FITTING: dict[Kind, tuple[type, ...]] = {
    Kind.TEXT: (str,),
    Kind.NAME: (str,),
    Kind.NUMBER: (int, float),
    Kind.BOOLEAN: (bool,),
    Kind.INSTANT: (datetime,),
}
_EQUALITY = (ast.Comparison.EQ, ast.Comparison.NE)
_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, slots=True)
class _Scope:
    """Inside any() or all(): what its variable stands for."""

    variable: str
    elements: Elements
    members: Mapping[str, Kind]

    def find(self, path: ast.Path) -> Property | None:
        """The element, or its member; None when the path is not the variable's."""
        if path.parts[0] != self.variable:
            return None
        member = "/".join(path.parts[1:])
        if not self.members and not member:
            return Property(str(path), Kind.TEXT, self.elements.text, nullable=True)
        names = {each.lower(): each for each in self.members}
        name = names.get(member.lower())
        if name is None:
            raise ODataError(f"the elements have no {str(path)[:60]!r}", path.position)
        return Property(str(path), self.members[name], self.elements.member(name), nullable=True)


class _Compiler:
    """One walk over a condition."""

    def __init__(self, properties: Properties, dialect: Dialect) -> None:
        self._properties = properties
        self._dialect = dialect

    def condition(self, node: ast.Condition, scope: _Scope | None) -> Column:
        """The node as SQL; `scope` is that of the innermost any() or all()."""
        match node:
            case ast.And(conditions):
                return and_(*(self.condition(each, scope) for each in conditions))
            case ast.Or(conditions):
                return or_(*(self.condition(each, scope) for each in conditions))
            case ast.Not(condition):
                return not_(self.condition(condition, scope))
            case ast.Constant(value):
                return true() if value else false()
            case ast.Holds(path):
                return self._compare(ast.Compare(ast.Comparison.EQ, path, ast.Literal(True)), scope)
            case ast.Compare():
                return self._compare(node, scope)
            case ast.OneOf(left, values):
                return self._one_of(left, values, scope)
            case ast.TextMatch(match, left, right):
                return self._match(match, left, right, scope)
            case ast.Quantified():
                return self._quantified(node, scope)

    # Operands

    def _operand(self, node: ast.Operand, scope: _Scope | None) -> Property:
        """The operand as a property that has a column, ready to be compared."""
        if isinstance(node, ast.Cased):
            of = self._operand(node.of, scope)
            change = self._dialect.lower if node.case is ast.Case.LOWER else self._dialect.upper
            if of.kind not in (Kind.TEXT, Kind.NAME):
                raise ODataError(f"{of.name} is no text", _position(node))
            return Property(of.name, of.kind, change(_column(of)), of.nullable)
        found = (scope.find(node) if scope else None) or self._properties.find(node, "$filter")
        if found.column is None:
            raise ODataError(f"{found.name} is {found.kind.value} and cannot be compared", node.position)
        return found

    def _text(self, of: Property, text: str) -> tuple[Column, str]:
        """Column and text as the property's kind compares them, for equality and search."""
        if of.kind is Kind.NAME:
            return folded(of, self._dialect), text.translate(_SMALL)
        return _column(of), text

    # Comparisons

    def _compare(self, node: ast.Compare, scope: _Scope | None) -> Column:
        of = self._operand(node.left, scope)
        if node.op in _EQUALITY:
            equal = self._equal(of, node.right)
            return equal if node.op is ast.Comparison.EQ else not_(equal)
        if of.kind is Kind.BOOLEAN:
            raise ODataError(f"{of.name} is true or false: only eq and ne fit", node.right.position)
        if node.right.value is None:
            return false()
        column, value = self._ordered(of, node.right, node.op)
        return _known(of, _ORDERED[node.op](column, value))

    def _ordered(self, of: Property, right: ast.Literal, op: ast.Comparison) -> tuple[Column, Column]:
        value = _fitting(of, right)
        if isinstance(value, str):
            column, value = self._text(of, value)
            return self._dialect.bytewise(column), literal(value, Text())
        if isinstance(value, float):
            # Numbers are whole: beyond 5.5 is beyond 5, from 5.5 on is from 6 on. So no database has to
            # compare whole with broken numbers, which they do differently.
            down = op in (ast.Comparison.GT, ast.Comparison.LE)
            value = math.floor(value) if down else math.ceil(value)
        return _column(of), _bound(value)

    def _equal(self, of: Property, right: ast.Literal) -> Column:
        if right.value is None:
            return _column(of).is_(None) if of.nullable else false()
        value = _fitting(of, right)
        if isinstance(value, bool):
            return _known(of, _column(of) if value else not_(_column(of)))
        if isinstance(value, str):
            column, value = self._text(of, value)
            return _known(of, column == literal(value, Text()))
        if isinstance(value, float) and not value.is_integer():
            return false()
        return _known(of, _column(of) == _bound(int(value) if isinstance(value, float) else value))

    def _one_of(self, left: ast.Operand, values: tuple[ast.Literal, ...], scope: _Scope | None) -> Column:
        of = self._operand(left, scope)
        texts = [_fitting(of, each) for each in values if each.value is not None]
        if len(texts) == len(values) and all(isinstance(each, str) for each in texts):
            column, _ = self._text(of, "")
            wanted = [self._text(of, str(each))[1] for each in texts]
            return _known(of, column.in_([literal(each, Text()) for each in dict.fromkeys(wanted)]))
        return or_(*(self._equal(of, each) for each in values))

    def _match(self, match: ast.Match, left: ast.Operand, right: ast.Literal, scope: _Scope | None) -> Column:
        of = self._operand(left, scope)
        if of.kind not in (Kind.TEXT, Kind.NAME):
            raise ODataError(f"{of.name} is no text", _position(left))
        column, part = self._text(of, str(right.value))
        if match is ast.Match.CONTAINS:
            return self._dialect.contains(column, part)
        size = func.length(column)
        start = 1 if match is ast.Match.STARTS else size - len(part) + 1
        # The first half keeps the start from going below 1, which the two count differently.
        return and_(size >= len(part), func.substr(column, start, len(part)) == literal(part, Text()))

    # Lists

    def _quantified(self, node: ast.Quantified, scope: _Scope | None) -> Column:
        found = self._properties.find(node.path, "$filter")
        if found.elements is None:
            raise ODataError(f"{found.name} is no list", node.path.position)
        if scope is not None:
            raise ODataError("any and all cannot be inside each other", node.path.position)
        elements = found.elements()
        asked = select(literal(1)).select_from(elements.table)
        if node.condition is None:
            return asked.exists()
        inner = self.condition(node.condition, _Scope(node.variable, elements, found.members))
        if not node.every:
            return asked.where(inner).exists()
        return not_(asked.where(func.coalesce(inner, false()).is_(false())).exists())


def folded(of: Property, dialect: Dialect) -> Column:
    """A name's column, its capitals made small."""
    return _column(of) if of.small else dialect.lower(_column(of))


def _column(of: Property) -> Column:
    assert of.column is not None
    return of.column


def _known(of: Property, comparison: Column) -> Column:
    """False instead of unknown when the property is null, so that its opposite is true."""
    return and_(_column(of).is_not(None), comparison) if of.nullable else comparison


def _bound(value: object) -> Column:
    return literal(value, Utc() if isinstance(value, datetime) else BigInteger())


def _position(node: ast.Operand) -> int:
    return _position(node.of) if isinstance(node, ast.Cased) else node.position


def _fitting(of: Property, right: ast.Literal) -> str | int | float | bool | datetime:
    """The constant, when it is of the property's kind. A date may also come in quotes."""
    value = right.value
    if isinstance(value, str) and of.kind is Kind.INSTANT:
        try:
            return parse_instant_literal(value)
        except ValueError as error:
            raise ODataError(str(error), right.position) from None
    if value is not None and type(value) in _FITTING[of.kind]:
        return value
    raise ODataError(f"{of.name} is {of.kind.value}, which this value is not", right.position)
