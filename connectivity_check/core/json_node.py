"""A value of a JSON document together with its place, so that a bad one is named exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from connectivity_check.model import InputError, Json

_Choice = TypeVar("_Choice", bound=Enum)
_DEEPEST = 32
"""Evidence of ours nests four deep; more than this is nobody's report."""
LARGEST_SECONDS = 1e9
"""Longer (30 years) than any run: keeps sums of times finite."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value. Every method that finds another kind of value raises InputError with the value's place."""

    value: object
    place: str = "$"

    def wrong(self, wanted: str) -> InputError:
        """Say what should stand here."""
        return InputError(f"the report is not one of ours: {self.place} must be {wanted}")

    def child(self, key: str) -> Node:
        """Give a member that has to be there."""
        members = self._members()
        if key not in members:
            raise InputError(f"the report is not one of ours: {self.place} has no {key!r}")
        return Node(members[key], f"{self.place}.{key}")

    def member(self, key: str, default: object) -> Node:
        """Give a member, or a node of the default when it is missing."""
        return Node(self._members().get(key, default), f"{self.place}.{key}")

    def items(self) -> list[Node]:
        """Give the elements of a list."""
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return [Node(each, f"{self.place}[{index}]") for index, each in enumerate(self.value)]

    def text(self) -> str:
        """Give a text."""
        if not isinstance(self.value, str):
            raise self.wrong("a text")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """Give a list of texts."""
        return tuple(each.text() for each in self.items())

    def boolean(self) -> bool:
        """Give true or false; a number is neither."""
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def integer(self, lowest: int, highest: int) -> int:
        """Give a whole number within bounds."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.wrong("a whole number")
        if not lowest <= self.value <= highest:
            raise self.wrong(f"between {lowest} and {highest}")
        return self.value

    def seconds(self, unit_s: float = 1.0) -> float:
        """Give a time in seconds, to the microsecond, from a number of units. Negative times are refused."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            raise self.wrong("a number")
        # Compared before any arithmetic: an integer may be too large for a float.
        if not 0 <= self.value <= LARGEST_SECONDS / unit_s:
            raise self.wrong("a time that is not negative and not endless")
        return round(self.value * unit_s, 6)

    def choice(self, kind: type[_Choice]) -> _Choice:
        """Give a member of an enumeration by its value."""
        try:
            return kind(self.value)
        except ValueError:
            raise self.wrong(f"a {kind.__name__.lower()} that this version knows") from None

    def present(self) -> bool:
        """Whether it is anything but null."""
        return self.value is not None

    def json(self, depth: int = _DEEPEST) -> Json:
        """Give any value, without NaN and infinities and not nested without end."""
        if depth == 0:
            raise self.wrong("nested less deeply")
        if isinstance(self.value, dict):
            return {
                key: Node(each, f"{self.place}.{key}").json(depth - 1) for key, each in self.value.items()
            }
        if isinstance(self.value, list):
            return [each.json(depth - 1) for each in self.items()]
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise self.wrong("a finite number")
        if self.value is None or isinstance(self.value, bool | int | float | str):
            return self.value
        raise self.wrong("a value of JSON")

    def json_object(self) -> dict[str, Json]:
        """Give an object of any members."""
        return {key: self.member(key, None).json() for key in self._members()}

    def _members(self) -> dict[str, object]:
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return self.value
