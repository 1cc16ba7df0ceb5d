"""Dated editions of a list, and what differs between two lists."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

from allowlists.model import ChangeKind, EndpointList, Entry, ListError, StaticPrefix

_EDITION = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12][0-9]|3[01]))?").fullmatch
_UNCOMPARED = frozenset(("list_id", "line", "known_host_facts"))


def edition(original: EndpointList, date: str) -> EndpointList:
    """Give the list as it stood at a date: YYYY-MM (the end of that month) or YYYY-MM-DD.

    `version` and `as_of` of the result name the last publication that changed something. Raises ListError
    for text that is no date, for a date before the list begins, and for one after all that is known of it.
    """
    if _EDITION(date) is None:
        raise ListError(f"{date!a} is no edition; write YYYY-MM or YYYY-MM-DD", file=original.file)
    last = original.known_until or original.as_of
    if not original.as_of or date[:7] < original.as_of[:7] or date[: len(last)] > last:
        known = ", ".join(editions(original)) or "none"
        reason = f"there is no edition {date}; dated editions are {known}"
        raise ListError(f"{reason} (known until {last})" if last else reason, file=original.file)
    current = {entry.n: entry for entry in original.entries}
    version = original.as_of
    for change in original.changes:
        if change.date[: len(date)] > date:
            break
        version = change.date[:7]
        if change.kind is ChangeKind.ADDED:
            current[change.entry.n] = change.entry
        else:
            del current[change.entry.n]
    came = tuple(prefix for prefix in original.later_networks if prefix.as_of[: len(date)] <= date)
    version = max([version, *(prefix.as_of[:7] for prefix in came)])
    return replace(
        original,
        entries=tuple(current.values()),
        version=version,
        as_of=version,
        networks=original.networks + came,
        later_networks=tuple(prefix for prefix in original.later_networks if prefix not in came),
    )


def editions(original: EndpointList) -> tuple[str, ...]:
    """Give the months in which the list is known to have changed, its first edition included."""
    months = {change.date[:7] for change in original.changes}
    months.update(prefix.as_of[:7] for prefix in original.later_networks)
    if original.as_of:
        months.add(original.as_of)
    return tuple(sorted(months))


@dataclass(frozen=True, slots=True)
class Changed:
    """One destination that both lists have with different facts; `fields` names the facts."""

    before: Entry
    after: Entry
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What turns list A into list B; all empty when they say the same."""

    added: tuple[Entry, ...]
    removed: tuple[Entry, ...]
    changed: tuple[Changed, ...]
    added_networks: tuple[StaticPrefix, ...]
    removed_networks: tuple[StaticPrefix, ...]


def diff(a: EndpointList, b: EndpointList) -> Difference:
    """Compare two lists by destination: pattern, protocol and published port, the first with the first.

    Rows are the same row when they print the same pattern for the same port; their numbers do not matter,
    so that editions, other lists and files can be compared. Which file a row stands in is no difference.
    """
    before, after = _by_destination(a), _by_destination(b)
    networks_a = {(p.name, p.network): p for p in a.networks}
    networks_b = {(p.name, p.network): p for p in b.networks}
    same_list = a.list_id == b.list_id
    changed: list[Changed] = []
    for key, old in before.items():
        new = after.get(key)
        names = () if new is None else _changed_fields(old, new, same_list)
        if new is not None and names:
            changed.append(Changed(old, new, names))
    return Difference(
        added=tuple(entry for key, entry in after.items() if key not in before),
        removed=tuple(entry for key, entry in before.items() if key not in after),
        changed=tuple(changed),
        added_networks=tuple(p for key, p in networks_b.items() if key not in networks_a),
        removed_networks=tuple(p for key, p in networks_a.items() if key not in networks_b),
    )


def _by_destination(each: EndpointList) -> dict[object, Entry]:
    """Give the rows by destination; a pattern that is printed twice is told apart by how often it came."""
    found: dict[object, Entry] = {}
    for entry in each.entries:
        times = 0
        while (key := (entry.host, entry.path, entry.protocol, entry.port, times)) in found:
            times += 1
        found[key] = entry
    return found


def _changed_fields(old: Entry, new: Entry, same_list: bool) -> tuple[str, ...]:
    # Across lists numbers, sources and remarks differ by nature; what the row opens and for whom counts.
    ignored = (
        _UNCOMPARED if same_list else _UNCOMPARED | {"n", "source", "notes", "certainty", "duplicate_of"}
    )
    names = (field.name for field in fields(Entry) if field.name not in ignored)
    return tuple(name for name in names if getattr(old, name) != getattr(new, name))
