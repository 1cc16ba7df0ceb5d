"""Typed values out of a document's mappings, each fault with its line."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from datetime import date

from allowlists.document import Mapping, Node, Scalar, Sequence
from allowlists.model import ListError

_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}").fullmatch
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])").fullmatch
_FLAGS = {"true": True, "false": False}


class Fields:
    """One mapping of a list file, read key by key.

    `what` names the mapping in messages ("the header", "row 7"). A key that is absent and one that is null
    are told apart only where a reader says so.
    """

    __slots__ = ("_fields", "_source", "line", "what")

    def __init__(self, node: Node, source: str, what: str, known: Container[str]) -> None:
        """Take a mapping; raises ListError when the node is none or has a key that is not known."""
        self._source = source
        self.what = what
        self.line = node.line
        if not isinstance(node, Mapping):
            raise self.error(f"{what} must be a mapping of keys to values")
        self._fields = node.fields
        unknown = [key for key in self._fields if key not in known]
        if unknown:
            raise self.error(f"{what} has the unknown key {unknown[0]!a}", self._fields[unknown[0]])

    def error(self, reason: str, node: Node | None = None) -> ListError:
        """Give an error at the node's line, else at the mapping's."""
        return ListError(reason, file=self._source, line=self.line if node is None else node.line)

    def error_at(self, key: str, reason: str) -> ListError:
        """Give an error at the line of a key's value, else at the mapping's."""
        return self.error(reason, self._fields.get(key))

    def has(self, key: str) -> bool:
        """Say whether the key is there, null included."""
        return key in self._fields

    def node(self, key: str) -> Node | None:
        """Give the value as it is; None when absent or null."""
        node = self._fields.get(key)
        return None if isinstance(node, Scalar) and node.text is None else node

    def text(self, key: str, default: str = "") -> str:
        """Give text on one line; the default when absent or null. Unprintable characters are refused."""
        node = self.node(key)
        return default if node is None else self._text(key, node)

    def texts(self, key: str) -> tuple[str, ...]:
        """Give a list of texts; one text is a list of one, absent and null are none."""
        return tuple(self._text(key, item) for item in self.items(key))

    def items(self, key: str) -> Iterator[Node]:
        """Give the items of a list; one value is a list of one, absent and null are none."""
        node = self.node(key)
        if isinstance(node, Mapping):
            raise self.error(f"`{key}` of {self.what} must be a list", node)
        if isinstance(node, Sequence):
            yield from node.items
        elif node is not None:
            yield node

    def flag(self, key: str, default: bool) -> bool:
        """Give true or false; the default when absent. Null is refused."""
        if key not in self._fields:
            return default
        value = self.optional_flag(key, default)
        if value is None:
            raise self.error_at(key, f"`{key}` of {self.what} must be true or false")
        return value

    def optional_flag(self, key: str, default: bool) -> bool | None:
        """Give true or false; the default when absent, None when null: nobody says."""
        node = self._fields.get(key)
        if node is None:
            return default
        if isinstance(node, Scalar):
            if node.text is None:
                return None
            if node.plain and node.text in _FLAGS:
                return _FLAGS[node.text]
        raise self.error(f"`{key}` of {self.what} must be true or false", node)

    def whole(self, key: str, default: int) -> int:
        """Give a whole number, decimal without sign; the default when absent or null."""
        node = self.node(key)
        return default if node is None else self._whole(key, node)

    def wholes(self, key: str) -> tuple[int, ...]:
        """Give a list of whole numbers; one number is a list of one."""
        return tuple(self._whole(key, item) for item in self.items(key))

    def day(self, key: str, *, month_is_enough: bool = False) -> str:
        """Give a date as YYYY-MM-DD, or YYYY-MM where that is enough; '' when absent or null."""
        text = self.text(key)
        if not text or (month_is_enough and _MONTH(text)):
            return text
        try:
            if len(text) == len("2024-12-31"):
                return date.fromisoformat(text).isoformat()
        except ValueError:
            pass
        form = "YYYY-MM or YYYY-MM-DD" if month_is_enough else "YYYY-MM-DD"
        raise self.error_at(key, f"`{key}` of {self.what} must be a date like {form}, not {text!a}")

    def one_of(self, key: str, known: Iterable[str], default: str) -> str:
        """Give one of the known words; the default when absent or null."""
        text = self.text(key, default)
        if text not in known:
            wanted = ", ".join(known)
            raise self.error_at(key, f"`{key}` of {self.what} is {text!a}; known are {wanted}")
        return text

    def _text(self, key: str, node: Node) -> str:
        if not isinstance(node, Scalar) or node.text is None:
            raise self.error(f"`{key}` of {self.what} must be text", node)
        text = " ".join(node.text.split()) if "\n" in node.text else node.text
        if not text.isprintable():
            # A terminal obeys escape sequences, and direction marks make a name look like another.
            raise self.error(f"`{key}` of {self.what} has a character that cannot be shown", node)
        return text

    def _whole(self, key: str, node: Node) -> int:
        if isinstance(node, Scalar) and node.plain and node.text is not None and _WHOLE(node.text):
            return int(node.text)
        raise self.error(f"`{key}` of {self.what} must be a whole number", node)
