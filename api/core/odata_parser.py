"""`$filter` and `$orderby` to values, by recursive descent over the tokens.

Keywords in any case. Bounded in depth, nodes and items, so that no text costs more than its length; what is
wrong ends in an ODataError with its position.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from api.core import odata_ast as ast
from api.core.odata_ast import Condition, Literal, ODataError, Operand, Path
from api.core.odata_lexer import Kind, Token, tokens

MAX_DEPTH = 20
"""Brackets, not, functions and any() inside each other."""
MAX_NODES = 200
"""Conditions, operators and functions in one filter."""
MAX_ITEMS = 200
"""Values in one `in (…)`."""
MAX_ORDER_KEYS = 5
MAX_PATH = 4
"""Parts of a property's path."""

_Term = Condition | Operand | Literal
_T = TypeVar("_T")
_OPERATORS = {each.value: each for each in ast.Comparison}
_TURNED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}
_MATCHES = {each.value: each for each in ast.Match}
_CASES = {each.value: each for each in ast.Case}


def parse_filter(text: str) -> Condition:
    """The condition a `$filter` states. ODataError when it is none."""
    reader = _Reader(tokens(text), "$filter")
    found = reader.condition(reader.either())
    reader.end()
    return found


def parse_order(text: str) -> tuple[ast.OrderKey, ...]:
    """The keys of an `$orderby`; a property comes at most once. ODataError otherwise."""
    reader = _Reader(tokens(text, "$orderby"), "$orderby")
    keys = [reader.order_key()]
    while reader.take(Kind.COMMA):
        keys.append(reader.order_key())
    reader.end()
    named = [str(each.path).lower() for each in keys]
    if len(set(named)) < len(named) or len(named) > MAX_ORDER_KEYS:
        raise ODataError(f"it may name up to {MAX_ORDER_KEYS} properties, each once", 0, "$orderby")
    return tuple(keys)


class _Reader:
    """A place in the tokens, and how much of the bounds is used up."""

    def __init__(self, found: list[Token], option: str) -> None:
        self._tokens = found
        self._at = 0
        self._option = option
        self._depth = 0
        self._nodes = 0

    # The tokens

    @property
    def _here(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._here
        self._at += 1
        return token

    def _word(self, *words: str) -> str | None:
        """Take the next token when it is one of these words; give the word."""
        here = self._here
        if here.kind is not Kind.NAME or here.text.lower() not in words:
            return None
        self._at += 1
        return here.text.lower()

    def take(self, kind: Kind) -> bool:
        """Take the next token when it is of this kind."""
        if self._here.kind is not kind:
            return False
        self._at += 1
        return True

    def _need(self, kind: Kind) -> Token:
        if self._here.kind is not kind:
            raise self._wrong(f"{kind.value} is expected, not {self._here}")
        return self._next()

    def end(self) -> None:
        """Nothing may follow."""
        if self._here.kind is not Kind.END:
            raise self._wrong(f"{self._here} is not expected here")

    def _wrong(self, sentence: str, token: Token | None = None) -> ODataError:
        return ODataError(sentence, (token or self._here).position, self._option)

    # The bounds

    def _count(self, node: _T) -> _T:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._wrong(f"it has more than {MAX_NODES} conditions and operators")
        return node

    def _inside(self, read: Callable[[], _T]) -> _T:
        """Read something one level deeper."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"it is nested deeper than {MAX_DEPTH}")
        found = read()
        self._depth -= 1
        return found

    # The grammar

    def either(self) -> _Term:
        """`a or b or …`"""
        return self._chain("or", self._both, ast.Or)

    def _both(self) -> _Term:
        return self._chain("and", self._negated, ast.And)

    def _chain(
        self, word: str, read: Callable[[], _Term], node: Callable[[tuple[Condition, ...]], Condition]
    ) -> _Term:
        first = read()
        if not (self._here.kind is Kind.NAME and self._here.text.lower() == word):
            return first
        found = [self.condition(first)]
        while self._word(word):
            found.append(self._count(self.condition(read())))
        return node(tuple(found))

    def _negated(self) -> _Term:
        if self._word("not"):
            return self._count(ast.Not(self.condition(self._inside(self._negated))))
        return self._compared()

    def _compared(self) -> _Term:
        left = self._term()
        if self._word("in"):
            return self._one_of(left)
        at = self._here
        word = self._word(*_OPERATORS)
        if word is None:
            return left
        right = self._term()
        if isinstance(left, Literal):
            left, right, word = right, left, _TURNED.get(word, word)
        if not isinstance(right, Literal) or isinstance(left, Literal):
            raise self._wrong("one side must be a property and the other a value", at)
        return self._count(self._comparison(_OPERATORS[word], left, right, at))

    def _comparison(self, op: ast.Comparison, left: _Term, right: Literal, at: Token) -> Condition:
        if isinstance(left, Path | ast.Cased):
            return ast.Compare(op, left, right)
        assert not isinstance(left, Literal)
        # startswith(…) eq true: what OData 2 and 3 wanted, and clients still send.
        if op not in (ast.Comparison.EQ, ast.Comparison.NE) or not isinstance(right.value, bool):
            raise self._wrong("a condition can only be compared with eq or ne, and true or false", at)
        return left if right.value is (op is ast.Comparison.EQ) else ast.Not(left)

    def _one_of(self, left: _Term) -> Condition:
        if not isinstance(left, Path | ast.Cased):
            raise self._wrong("a property is expected before in", self._tokens[self._at - 1])
        self._need(Kind.OPEN)
        values = [self._literal()]
        while self.take(Kind.COMMA):
            values.append(self._literal())
            if len(values) > MAX_ITEMS:
                raise self._wrong(f"in takes up to {MAX_ITEMS} values")
        self._need(Kind.CLOSE)
        return self._count(ast.OneOf(left, tuple(values)))

    def _term(self) -> _Term:
        if self.take(Kind.OPEN):
            found = self._inside(self.either)
            self._need(Kind.CLOSE)
            return found
        if self._here.kind is Kind.LITERAL:
            return self._literal()
        name = self._need(Kind.NAME)
        if self.take(Kind.OPEN):
            return self._inside(partial(self._function, name))
        return self._path(name)

    def _function(self, name: Token) -> _Term:
        word = name.text.lower()
        if word in _CASES:
            of = self._operand()
            self._need(Kind.CLOSE)
            return self._count(ast.Cased(_CASES[word], of))
        if word not in _MATCHES:
            raise self._wrong(f"the function {name.text[:40]} is not supported", name)
        left = self._operand()
        self._need(Kind.COMMA)
        right = self._literal()
        if not isinstance(right.value, str):
            raise ODataError(f"{word} searches for a text in quotes", right.position, self._option)
        self._need(Kind.CLOSE)
        return self._count(ast.TextMatch(_MATCHES[word], left, right))

    def _path(self, name: Token) -> Path | Condition:
        parts = [name.text]
        while self.take(Kind.SLASH):
            part = self._need(Kind.NAME)
            if part.text.lower() in ("any", "all") and self.take(Kind.OPEN):
                return self._inside(partial(self._quantified, Path(tuple(parts), name.position), part))
            parts.append(part.text)
            if len(parts) > MAX_PATH:
                raise self._wrong(f"a path has up to {MAX_PATH} parts", part)
        return Path(tuple(parts), name.position)

    def _quantified(self, path: Path, word: Token) -> Condition:
        every = word.text.lower() == "all"
        if not every and self.take(Kind.CLOSE):
            return self._count(ast.Quantified(path, every))
        variable = self._need(Kind.NAME)
        self._need(Kind.COLON)
        condition = self.condition(self.either())
        self._need(Kind.CLOSE)
        return self._count(ast.Quantified(path, every, variable.text, condition))

    def _operand(self) -> Operand:
        at = self._here
        found = self._term()
        if not isinstance(found, Path | ast.Cased):
            raise self._wrong("a property is expected", at)
        return found

    def _literal(self) -> Literal:
        token = self._need(Kind.LITERAL)
        return Literal(token.value, token.position)

    def condition(self, term: _Term) -> Condition:
        """The term as a condition; ODataError when it is only a value or a text."""
        if isinstance(term, Path):
            return self._count(ast.Holds(term))
        if isinstance(term, Literal) and isinstance(term.value, bool):
            return self._count(ast.Constant(term.value))
        if isinstance(term, Literal | ast.Cased):
            raise self._wrong("a condition is expected, such as status eq 'Pending'")
        return term

    def order_key(self) -> ast.OrderKey:
        """`name`, `name asc` or `name desc`."""
        path = self._path(self._need(Kind.NAME))
        if not isinstance(path, Path):
            raise self._wrong("it takes properties only")
        return ast.OrderKey(path, self._word("asc", "desc") == "desc")
