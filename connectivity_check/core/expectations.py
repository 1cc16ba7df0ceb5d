"""What a right answer of each endpoint looks like: the data format, and which rule holds for a host.

A file of expectations is a mapping with two keys:

    issuers:                       named sets of common names of CAs, for use below
      vendor: [Some Issuing CA 01, Some Root]
    rules:                         the first that matches holds
      - hosts: ["*.api.example", "one.example"]    a shell-like glob over the whole host, case does not count
        ports: [443]                               left out: any port
        rows: ["/pki/*"]                           a glob over the path of the list's row; left out: any
        source: where this was read
        kind: api
        path: /ping
        statuses: [200]
        issuers: vendor            a set of above, or a list of names

Every key but `hosts`, `ports`, `rows` and `source` is a field of `model.Expectation`; what is left out keeps
its default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from connectivity_check.model import Expectation, InputError, Kind

_FIELDS = frozenset(field.name for field in fields(Expectation))
_KEYS = _FIELDS | {"hosts", "ports", "rows", "source"}
_FLAGS = frozenset(("html_allowed", "h2", "upload", "ranges", "private_ok"))
_SIGN = re.compile(r"[*?\[]")
"""What makes a text a glob (fnmatch)."""
_METHODS = frozenset(("GET", "HEAD", "POST"))


@dataclass(frozen=True, slots=True)
class Hosts:
    """Globs over host names. Most have no sign in them, or one in front: those need no pattern."""

    names: frozenset[str]
    suffixes: tuple[str, ...]
    globs: tuple[str, ...]

    @classmethod
    def of(cls, globs: Sequence[str]) -> Hosts:
        """Sort the globs, all in lower case, by what it takes to match them."""
        names = [glob for glob in globs if not _SIGN.search(glob)]
        ends = [glob for glob in globs if glob.startswith("*") and not _SIGN.search(glob, 1)]
        others = tuple(glob for glob in globs if glob not in names and glob not in ends)
        return cls(frozenset(names), tuple(glob[1:] for glob in ends), others)

    def __contains__(self, host: str) -> bool:
        return (
            host in self.names
            or host.endswith(self.suffixes)
            or any(fnmatchcase(host, glob) for glob in self.globs)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: for which hosts, ports and paths of rows (none: any), what, and where that was read."""

    hosts: Hosts
    ports: tuple[int, ...]
    rows: tuple[str, ...]
    expectation: Expectation
    source: str
    has_path: bool
    """Whether the rule itself names a path."""

    def matches(self, host: str, port: int, path: str) -> bool:
        """Tell whether the rule is for this host (lower case), port and path of a row ("" without one)."""
        if self.ports and port not in self.ports:
            return False
        if self.rows and not any(fnmatchcase(path, glob) for glob in self.rows):
            return False
        return host in self.hosts


@dataclass(frozen=True, slots=True)
class Expectations:
    """The rules, in order."""

    rules: tuple[Rule, ...] = ()

    def of(self, host: str, port: int, path: str | None = None) -> Expectation:
        """Give what is expected of a host, a pattern (`*.suffix`) or an address: the first rule that fits.

        `path`: the path of the list's row. It is asked for when no rule names one and it has no wildcard.
        Without a rule anything a server may say is fine, in clear text on port 80 and in TLS elsewhere.
        """
        name = host.lower().rstrip(".")
        rule = next((rule for rule in self.rules if rule.matches(name, port, path or "")), None)
        found = rule.expectation if rule else _unknown(port)
        if path and "*" not in path and not (rule and rule.has_path):
            found = replace(found, path=path)
        return found


def _unknown(port: int) -> Expectation:
    return Expectation(kind=Kind.PLAIN if port == 80 else Kind.API, html_allowed=True)


def parse_expectations(data: object, source: str) -> Expectations:
    """Turn the data of a file (mappings, lists, plain values) into rules.

    Raises InputError, which names `source` and the place, for whatever is not as the format says. An empty
    list of rules is fine.
    """
    top = _mapping(data, source, "the file")
    _only(top, {"issuers", "rules"}, source, "the file")
    sets = {
        str(name): _texts(value, source, f"issuers.{name}")
        for name, value in _mapping(top.get("issuers") or {}, source, "issuers").items()
    }
    rules = top.get("rules")
    if not isinstance(rules, list):
        raise InputError(f"{source}: 'rules' is a list of rules")
    return Expectations(tuple(_rule(item, source, f"rule {n}", sets) for n, item in enumerate(rules, 1)))


def _rule(item: object, source: str, place: str, sets: Mapping[str, tuple[str, ...]]) -> Rule:
    data = _mapping(item, source, place)
    _only(data, _KEYS, source, place)
    hosts = _texts(data.get("hosts"), source, f"{place}, hosts")
    if not hosts:
        raise InputError(f"{source}: {place} names no hosts")
    values: dict[str, Any] = {}
    for key in sorted(_FIELDS & data.keys()):
        values[key] = _value(key, data[key], source, f"{place}, {key}", sets)
    return Rule(
        hosts=Hosts.of([host.lower() for host in hosts]),
        ports=_numbers(data.get("ports") or [], source, f"{place}, ports", 65535),
        rows=_texts(data.get("rows") or [], source, f"{place}, rows"),
        expectation=Expectation(**values),
        source=str(data.get("source") or ""),
        has_path="path" in data,
    )


def _value(key: str, value: object, source: str, place: str, sets: Mapping[str, tuple[str, ...]]) -> object:
    if key == "kind":
        if value not in tuple(Kind):
            raise InputError(f"{source}: {place} is one of {', '.join(Kind)}")
        return Kind(str(value))
    if key in _FLAGS or (key == "pinned" and value is not None):
        if not isinstance(value, bool):
            raise InputError(f"{source}: {place} is true or false")
        return value
    if key == "statuses":
        return _numbers(value, source, place, 599)
    if key == "issuers":
        return _issuers(value, source, place, sets)
    return _text(key, value, source, place)


def _text(key: str, value: object, source: str, place: str) -> object:
    if key == "pinned":
        return None
    if not isinstance(value, str):
        raise InputError(f"{source}: {place} is a text")
    if key == "method" and value not in _METHODS:
        raise InputError(f"{source}: {place} is one of {', '.join(sorted(_METHODS))}")
    if key == "path" and not (
        value.startswith("/") and value.isascii() and value.isprintable() and " " not in value
    ):
        raise InputError(f"{source}: {place} begins with / and holds visible ASCII characters only")
    return value


def _issuers(value: object, source: str, place: str, sets: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if not isinstance(value, str):
        return _texts(value, source, place)
    if value not in sets:
        raise InputError(f"{source}: {place} names a set {value!a} that the file does not have")
    return sets[value]


def _mapping(value: object, source: str, place: str) -> Mapping[str, object]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{source}: {place} is a mapping of names to values")
    return value


def _only(data: Mapping[str, object], known: frozenset[str] | set[str], source: str, place: str) -> None:
    unknown = sorted(data.keys() - known)
    if unknown:
        raise InputError(
            f"{source}: {place} has an unknown key {unknown[0]!a}; known are {', '.join(sorted(known))}"
        )


def _texts(value: object, source: str, place: str) -> tuple[str, ...]:
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or not all(isinstance(v, str) and v for v in value)
    ):
        raise InputError(f"{source}: {place} is a list of texts")
    return tuple(value)


def _numbers(value: object, source: str, place: str, highest: int) -> tuple[int, ...]:
    good = isinstance(value, list) and all(type(v) is int and 0 < v <= highest for v in value)
    if not good:
        raise InputError(f"{source}: {place} is a list of numbers from 1 to {highest}")
    assert isinstance(value, list)
    return tuple(value)
