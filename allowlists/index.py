"""Entries by name: which rows cover a host name, in a time that does not grow with the number of rows."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from allowlists import fqdn
from allowlists.model import Entry, Match, ParseError, Protocol

_Tree: TypeAlias = dict[str, "_Node"]
_Node: TypeAlias = tuple[_Tree, tuple[Entry, ...]]
"""The labels further left, and the rows for whatever stands left of the labels so far."""


class Index:
    """A look-up of entries by host name, built once and never changed.

    Whole names are keys of a dictionary. The suffixes of `*.suffix` rows form a tree of labels that is walked
    from the top-level domain down, so the time depends on the labels of the name alone. Globs wait under the
    labels right of their last star and are compared only when those fit. Networks cover no names;
    addresses are looked up once per prefix length that occurs.
    """

    __slots__ = ("_globs", "_names", "_networks", "_tree")

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Take the entries; the order they come in is the order matches are given in, per pattern."""
        names: dict[str, list[Entry]] = {}
        suffixes: dict[str, list[Entry]] = {}
        globs: dict[str, list[Entry]] = {}
        networks: dict[tuple[int, int], dict[int, list[Entry]]] = {}
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
            elif entry.network is not None:
                by_length = networks.setdefault((entry.network.version, entry.network.prefixlen), {})
                by_length.setdefault(int(entry.network.network_address), []).append(entry)
        self._networks = networks
        self._names = {name: tuple(found) for name, found in names.items()}
        self._tree: _Tree = {}
        for suffix, found in suffixes.items():
            _plant(self._tree, suffix, tuple(found))
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
        if len(found) == 1:
            return found if _serves(found[0], port, protocol) else ()
        return tuple(entry for entry in found if _serves(entry, port, protocol))

    def match_address(
        self, address: IPv4Address | IPv6Address, port: int | None = None, protocol: Protocol | None = None
    ) -> tuple[Entry, ...]:
        """Give the NETWORK entries that hold an address, narrow before broad."""
        found: list[Entry] = []
        for (version, length), starts in sorted(self._networks.items(), reverse=True):
            if version == address.version:
                start = int(address) >> (address.max_prefixlen - length) << (address.max_prefixlen - length)
                found.extend(starts.get(start, ()))
        return tuple(entry for entry in found if _serves(entry, port, protocol))

    def covers(self, name: str) -> bool:
        """Say whether any entry covers the name, at whatever port."""
        return bool(self._find(name))

    def _find(self, name: str) -> tuple[Entry, ...]:
        # In ASCII, lower case without the last dot is all there is to the normal form of a good name.
        if name.isascii():
            text = name.lower()
            if text[-1:] == ".":
                text = text[:-1]
        else:
            try:
                text = fqdn.normalise(name)
            except ParseError:
                return ()
        found = self._names.get(text, ())
        children = self._tree
        here: tuple[Entry, ...] = ()
        under: tuple[Entry, ...] = ()
        for label in reversed(text.split(".")):
            # One more label stands left of the suffix walked so far, so its rows apply.
            if here:
                under = here + under
            node = children.get(label)
            if node is None:
                break
            children, here = node
        if under:
            # What a key matched is in normal form; what the star stands for has yet to show it.
            star = text[: 2 - len(under[0].host)]
            if not fqdn.are_labels(star) or len(text) > fqdn.MAX_NAME:
                return ()
            found += under
        return found + self._look_up_globs(text) if self._globs else found

    def _look_up_globs(self, name: str) -> tuple[Entry, ...]:
        found: tuple[Entry, ...] = ()
        if not fqdn.is_normal(name):
            return found
        for suffix in fqdn.suffixes(name):
            for entry in self._globs.get(suffix, ()):
                if fqdn.glob_matches(entry.host, name):
                    found += (entry,)
        return found


def _serves(entry: Entry, port: int | None, protocol: Protocol | None) -> bool:
    if protocol is not None and protocol is not entry.protocol:
        return False
    return port is None or port == entry.port or port in entry.extra_ports


def _plant(tree: _Tree, suffix: str, entries: tuple[Entry, ...]) -> None:
    """Put the rows of one suffix into the tree; every suffix comes once."""
    *above, last = reversed(suffix.split("."))
    for label in above:
        tree = tree.setdefault(label, ({}, ()))[0]
    children = tree[last][0] if last in tree else {}
    tree[last] = (children, entries)
