"""Entries by name: which rows cover a host name, in a time that does not grow with the number of rows."""

from __future__ import annotations

from collections.abc import Iterable

from allowlists import fqdn
from allowlists.model import Entry, Match, ParseError, Protocol


class Index:
    """A look-up of entries by host name, built once and never changed.

    Names are kept in two dictionaries: whole names, and the suffixes of `*.suffix` rows. A name is looked up
    once as a whole and once for each of its suffixes, so the time depends on its labels alone. Globs wait
    under the labels right of their last star and are compared only when those fit. Networks cover no names.
    """

    __slots__ = ("_globs", "_names", "_suffixes")

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Take the entries; the order they come in is the order matches are given in, per pattern."""
        names: dict[str, list[Entry]] = {}
        suffixes: dict[str, list[Entry]] = {}
        globs: dict[str, list[Entry]] = {}
        for entry in entries:
            if entry.match is Match.EXACT:
                names.setdefault(entry.host, []).append(entry)
            elif entry.match is Match.SUBDOMAINS:
                suffixes.setdefault(entry.host[2:], []).append(entry)
                if entry.apex:
                    names.setdefault(entry.host[2:], []).append(entry)
            elif entry.match is Match.GLOB:
                fixed = entry.host[entry.host.rindex("*") :]
                globs.setdefault(fixed[fixed.index(".") + 1 :], []).append(entry)
        self._names = {name: tuple(found) for name, found in names.items()}
        self._suffixes = {name: tuple(found) for name, found in suffixes.items()}
        self._globs = {name: tuple(found) for name, found in globs.items()}

    def match(
        self, name: str, port: int | None = None, protocol: Protocol | None = None
    ) -> tuple[Entry, ...]:
        """Give the entries that cover a name: exact ones, then wildcards from narrow to broad, then globs.

        The name may be in any case and end with a dot. Without `port` or `protocol` any will do. Text that is
        not a host name is covered by nothing.
        """
        found = self._find(name)
        if not found or (port is None and protocol is None):
            return found
        return tuple(
            entry
            for entry in found
            if (port is None or port == entry.port or port in entry.extra_ports)
            and (protocol is None or protocol is entry.protocol)
        )

    def covers(self, name: str) -> bool:
        """Say whether any entry covers the name, at whatever port."""
        return bool(self._find(name))

    def _find(self, name: str) -> tuple[Entry, ...]:
        found = self._look_up(name)
        if not found:
            # Most names come in normal form; only one that does not deserves the work of a second look.
            if name.islower() and name.isascii() and name[-1] != ".":
                return ()
        elif fqdn.is_normal(name):
            return found
        try:
            return self._look_up(fqdn.normalise(name))
        except ParseError:
            return ()

    def _look_up(self, name: str) -> tuple[Entry, ...]:
        found = self._names.get(name, ())
        suffixes = self._suffixes
        dot = name.find(".")
        while dot >= 0:
            suffix = name[dot + 1 :]
            if suffix in suffixes:
                found += suffixes[suffix]
            dot = name.find(".", dot + 1)
        return found + self._look_up_globs(name) if self._globs else found

    def _look_up_globs(self, name: str) -> tuple[Entry, ...]:
        found: tuple[Entry, ...] = ()
        for suffix in fqdn.suffixes(name):
            for entry in self._globs.get(suffix, ()):
                if fqdn.glob_matches(entry.host, name):
                    found += (entry,)
        return found
