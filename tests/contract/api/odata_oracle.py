"""OData judged in plain Python on the answers' own documents: both databases must agree with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from api.core import odata_ast as ast
from api.core.instant import parse_instant
from api.store.odata_sql import Kind

Document = Mapping[str, Any]
Kinds = Mapping[str, Kind]
"""The kind of each property by its name in small letters."""


def small(text: str) -> str:
    """A to Z made small and nothing else: str.lower() knows more letters than the databases."""
    return "".join(chr(ord(each) + 32) if "A" <= each <= "Z" else each for each in text)


def large(text: str) -> str:
    """a to z made large and nothing else."""
    return "".join(chr(ord(each) - 32) if "a" <= each <= "z" else each for each in text)


def holds(node: ast.Condition, row: Document, kinds: Kinds) -> bool:
    """Whether the row is in the answer: an unknown is not."""
    return _judge(node, _Row(row, kinds)) is True


def order_value(path: ast.Path, row: Document, kinds: Kinds) -> tuple[bool, Any]:
    """What rows are sorted by: null before everything else."""
    value = _Row(row, kinds).value(path)
    return (value is not None, value)


class _Row:
    """A document and, inside any() and all(), the element that a variable stands for."""

    def __init__(self, row: Document, kinds: Kinds, variable: str = "", element: Any = None) -> None:
        self.row, self.kinds, self._variable, self._element = row, kinds, variable, element

    def within(self, variable: str, element: Any) -> _Row:
        return _Row(self.row, self.kinds, variable, element)

    def value(self, node: ast.Operand) -> Any:
        """The operand's value: None, int, bool, instant or a text in the case its kind compares in."""
        if isinstance(node, ast.Cased):
            value = self.value(node.of)
            if value is None:
                return None
            changed = small(value) if node.case is ast.Case.LOWER else large(value)
            return small(changed) if self.is_name(node) else changed
        if self._variable and node.parts[0] == self._variable:
            value = self._element
            for part in node.parts[1:]:
                value = value[part]
        else:
            value = find(self.row, node)
        if value is None:
            return None
        if self.kind(node) is Kind.INSTANT:
            return parse_instant(value)
        return small(value) if self.is_name(node) else value

    def kind(self, node: ast.Operand) -> Kind:
        if isinstance(node, ast.Cased):
            return self.kind(node.of)
        if self._variable and node.parts[0] == self._variable:
            return Kind.NAME if len(node.parts) > 1 else Kind.TEXT
        return self.kinds[str(node).lower()]

    def is_name(self, node: ast.Operand) -> bool:
        return self.kind(node) is Kind.NAME

    def constant(self, node: ast.Operand, literal: ast.Literal) -> Any:
        value = literal.value
        return small(value) if isinstance(value, str) and self.is_name(node) else value


def find(row: Document, path: ast.Path) -> Any:
    """The value at a path, its names in any case."""
    value: Any = row
    for part in path.parts:
        value = {name.lower(): each for name, each in value.items()}[part.lower()]
    return value


def _judge(node: ast.Condition, row: _Row) -> bool | None:
    match node:
        case ast.And(conditions):
            found = [_judge(each, row) for each in conditions]
            return False if False in found else None if None in found else True
        case ast.Or(conditions):
            found = [_judge(each, row) for each in conditions]
            return True if True in found else None if None in found else False
        case ast.Not(condition):
            found_one = _judge(condition, row)
            return None if found_one is None else not found_one
        case ast.Constant(value):
            return value
        case ast.Holds(path):
            return bool(row.value(path))
        case ast.Compare(op, left, right):
            return _COMPARE[op](row.value(left), row.constant(left, right))
        case ast.OneOf(left, values):
            return any(row.value(left) == row.constant(left, each) for each in values)
        case ast.TextMatch(match, left, right):
            text, part = row.value(left), row.constant(left, right)
            return None if text is None else _MATCH[match](text, part)
        case ast.Quantified():
            return _over_elements(node, row)


def _over_elements(node: ast.Quantified, row: _Row) -> bool:
    elements = find(row.row, node.path)
    if node.condition is None:
        return bool(elements)
    found = [_judge(node.condition, row.within(node.variable, each)) is True for each in elements]
    return all(found) if node.every else any(found)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: left is not None and right is not None and compare(left, right)


_COMPARE: dict[ast.Comparison, Callable[[Any, Any], bool]] = {
    ast.Comparison.EQ: lambda left, right: left == right,
    ast.Comparison.NE: lambda left, right: left != right,
    ast.Comparison.GT: _ordered(lambda left, right: left > right),
    ast.Comparison.GE: _ordered(lambda left, right: left >= right),
    ast.Comparison.LT: _ordered(lambda left, right: left < right),
    ast.Comparison.LE: _ordered(lambda left, right: left <= right),
}
_MATCH: dict[ast.Match, Callable[[str, str], bool]] = {
    ast.Match.CONTAINS: lambda text, part: part in text,
    ast.Match.STARTS: str.startswith,
    ast.Match.ENDS: str.endswith,
}


def render(node: ast.Condition | ast.Operand | ast.Literal) -> str:
    """The text of an expression, with every bracket that may be needed."""
    match node:
        case ast.And(conditions):
            return " and ".join(f"({render(each)})" for each in conditions)
        case ast.Or(conditions):
            return " or ".join(f"({render(each)})" for each in conditions)
        case ast.Not(condition):
            return f"not ({render(condition)})"
        case ast.Constant(value):
            return str(value).lower()
        case ast.Holds(path):
            return str(path)
        case ast.Compare(op, left, right):
            return f"{render(left)} {op.value} {render(right)}"
        case ast.OneOf(left, values):
            return f"{render(left)} in ({', '.join(map(render, values))})"
        case ast.TextMatch(match, left, right):
            return f"{match.value}({render(left)},{render(right)})"
        case ast.Quantified(path, every, variable, condition):
            body = "" if condition is None else f"{variable}: {render(condition)}"
            return f"{path}/{'all' if every else 'any'}({body})"
        case ast.Cased(change, of):
            return f"{change.value}({render(of)})"
        case ast.Path():
            return str(node)
        case ast.Literal(value):
            return _render_value(value)


def _render_value(value: ast.Value) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return repr(value)
