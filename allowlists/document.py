"""YAML text as a small tree that knows its lines and holds nothing but mappings, lists and text.

Built from parser events instead of PyYAML's own objects: those recurse in C, so a thousand nested brackets
end the process, and they have lost aliases, duplicate keys and the spelling of numbers by the time we look.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from allowlists.model import ListError

MAX_CHARACTERS = 16 * 1024 * 1024
"""A list of 100,000 rows takes about 4 million; anything much larger is not a list."""
MAX_DEPTH = 32

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # without libyaml some eight times slower
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))


@dataclass(slots=True)
class Scalar:
    """One value as it was written; `text` is None for an empty value, `~` or null."""

    text: str | None
    plain: bool
    """Written without quotes; only such a value may be a number or a flag."""
    line: int


@dataclass(slots=True)
class Sequence:
    """A list of values."""

    items: list[Node]
    line: int


@dataclass(slots=True)
class Mapping:
    """Keys with their values, in order; no key twice."""

    fields: dict[str, Node]
    line: int


Node: TypeAlias = Scalar | Sequence | Mapping


def read(text: str, source: str) -> Node:
    """Give the tree of one YAML document.

    Raises ListError with file and line for text that is no YAML, empty, more than one document, longer than
    MAX_CHARACTERS or deeper than MAX_DEPTH, and for aliases, tags, keys that are not plain text and keys
    that appear twice.
    """
    if len(text) > MAX_CHARACTERS:
        raise ListError(f"the file is longer than {MAX_CHARACTERS} characters", file=source)
    events = _events(text, source)
    next(events)  # stream start
    if isinstance(next(events), yaml.StreamEndEvent):
        raise ListError("the file is empty; a list needs a header and entries", file=source, line=1)
    node = _build(next(events), events, source)
    next(events)  # document end
    following = next(events)
    if not isinstance(following, yaml.StreamEndEvent):
        raise ListError(
            "a second YAML document begins here; a file holds one list", file=source, line=_line(following)
        )
    return node


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _events(text: str, source: str) -> Iterator[Any]:
    """Give the parser's events; its complaints become ours."""
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.reader.ReaderError as error:
        place = text.find(chr(error.character)) if isinstance(error.character, int) else 0
        line = text.count("\n", 0, max(place, 0)) + 1
        raise ListError("the file has a character that YAML does not allow", file=source, line=line) from None
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise ListError("the file has half a character (a surrogate)", file=source, line=line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ListError(
            f"the file is not YAML: {error.problem or error.context}",
            file=source,
            line=None if mark is None else mark.line + 1,
        ) from None


def _build(event: Any, events: Iterator[Any], source: str, depth: int = 0) -> Node:
    line = _line(event)
    if isinstance(event, yaml.AliasEvent):
        raise ListError(
            f"the alias {event.anchor!a} is not allowed; write the value out", file=source, line=line
        )
    if event.tag is not None:
        raise ListError(f"the tag {event.tag!a} is not allowed", file=source, line=line)
    if isinstance(event, yaml.ScalarEvent):
        plain = event.implicit[0]
        text = None if plain and event.value in _NULLS else event.value
        return Scalar(text, plain, line)
    if depth == MAX_DEPTH:
        raise ListError(f"values are nested more than {MAX_DEPTH} deep", file=source, line=line)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_build(event, events, source, depth + 1))
        return Sequence(items, line)
    fields: dict[str, Node] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = _key(event, fields, source)
        fields[key] = _build(next(events), events, source, depth + 1)
    return Mapping(fields, line)


def _key(event: Any, fields: dict[str, Node], source: str) -> str:
    line = _line(event)
    if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
        raise ListError("a key must be plain text", file=source, line=line)
    if event.value in fields:
        raise ListError(f"the key {event.value!a} appears twice", file=source, line=line)
    return str(event.value)
