"""OData expressions as values: what the parser gives and the database side turns into SQL.

Source: OData 4.01 part 2 (URL conventions), sections 5.1.1 and 5.1.2. Positions are kept for messages and are
no part of a node's equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

Value = str | int | float | bool | datetime | None
"""What a literal can be. Instants are in UTC; a GUID is its text."""


class ODataError(Exception):
    """A query option that is wrong: the sentence for the caller, the option, and where in it."""

    def __init__(self, sentence: str, position: int = 0, option: str = "$filter") -> None:
        super().__init__(f"{option}, position {position + 1}: {sentence}")
        self.sentence = sentence
        self.position = position
        """Counted in characters from 0, in the option's decoded text."""
        self.option = option


class Comparison(Enum):
    """How two values are compared."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GE = "ge"
    LT = "lt"
    LE = "le"


class Match(Enum):
    """How a text is searched for another."""

    CONTAINS = "contains"
    STARTS = "startswith"
    ENDS = "endswith"


class Case(Enum):
    """A change of the letters A to Z (and no others: the databases do not agree on more)."""

    LOWER = "tolower"
    UPPER = "toupper"


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    value: Value
    position: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Path:
    """A property, `observed/state` in parts; inside any() and all() the first part may be its variable."""

    parts: tuple[str, ...]
    position: int = field(default=0, compare=False, repr=False)

    def __str__(self) -> str:
        return "/".join(self.parts)


@dataclass(frozen=True, slots=True)
class Cased:
    """A text with its letters changed."""

    case: Case
    of: Operand


@dataclass(frozen=True, slots=True)
class Compare:
    """`left op right`; turned round by the parser when the constant came first."""

    op: Comparison
    left: Operand
    right: Literal


@dataclass(frozen=True, slots=True)
class OneOf:
    """`left in (…)`; never empty."""

    left: Operand
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class TextMatch:
    """`contains(left, 'right')` and its kin."""

    match: Match
    left: Operand
    right: Literal


@dataclass(frozen=True, slots=True)
class Quantified:
    """`path/any(variable: condition)`, or all(). any() without a condition: the list is not empty."""

    path: Path
    every: bool
    variable: str = ""
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Holds:
    """A boolean property standing alone."""

    path: Path


@dataclass(frozen=True, slots=True)
class Constant:
    """`true` or `false` standing alone."""

    value: bool


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite; of unknown it is unknown."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more."""

    conditions: tuple[Condition, ...]


Operand = Path | Cased
Condition = Compare | OneOf | TextMatch | Quantified | Holds | Constant | Not | And | Or


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One part of `$orderby`."""

    path: Path
    descending: bool = False
