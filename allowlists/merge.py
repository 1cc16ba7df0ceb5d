"""Which rows of several lists hold for one host: by geography, operating system and profile, each once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from allowlists.model import (
    GEOGRAPHIES,
    OPERATING_SYSTEMS,
    WORLDWIDE,
    EndpointList,
    Entry,
    ListError,
    Profile,
    StaticPrefix,
)


def select(
    lists: Sequence[EndpointList],
    *,
    geo: Iterable[str] = (),
    os: str | None = None,
    profile: Profile | str = Profile.ISOLATION,
    required_only: bool = False,
) -> tuple[Entry, ...]:
    """Give the rows of all lists that hold, as `rows` does, but of equal destinations only the first."""
    seen: dict[object, Entry] = {}
    for entry in rows(lists, geo=geo, os=os, profile=profile, required_only=required_only):
        seen.setdefault(destination(entry), entry)
    return tuple(seen.values())


def rows(
    lists: Sequence[EndpointList],
    *,
    geo: Iterable[str] = (),
    os: str | None = None,
    profile: Profile | str = Profile.ALL,
    required_only: bool = False,
) -> tuple[Entry, ...]:
    """Give the rows of all lists that hold, in the order of the lists.

    WW rows always hold, others when `geo` names their geography; an empty `geo` means every geography. `os`
    keeps rows for that system and rows that name none; None keeps all. Raises ListError for a geography,
    system or profile that nobody knows.
    """
    wanted, profile = _geographies(lists, geo), _profile(profile)
    if os is not None and os not in OPERATING_SYSTEMS:
        raise ListError(f"the operating system {os!a} is unknown; known are {', '.join(OPERATING_SYSTEMS)}")
    found: list[Entry] = []
    for entry in (entry for each in lists for entry in each.entries):
        if wanted is not None and entry.geography not in wanted:
            continue
        if os is not None and entry.os and os not in entry.os:
            continue
        if profile is Profile.ISOLATION and not entry.isolation:
            continue
        if required_only and entry.required is False:
            continue
        found.append(entry)
    return tuple(found)


def select_networks(
    lists: Sequence[EndpointList],
    *,
    geo: Iterable[str] = (),
    profile: Profile | str = Profile.ISOLATION,
) -> tuple[StaticPrefix, ...]:
    """Give the static prefixes of all lists that hold, by the same rules as `select`.

    A prefix whose geography no publication prints is WW: it belongs to the service wherever it stands, and
    leaving it out could cut off a tenant of that place.
    """
    wanted, profile = _geographies(lists, geo), _profile(profile)
    seen: dict[object, StaticPrefix] = {}
    for prefix in (prefix for each in lists for prefix in each.networks):
        if wanted is not None and prefix.geography not in wanted:
            continue
        if profile is Profile.ISOLATION and not prefix.isolation:
            continue
        seen.setdefault((prefix.network, prefix.port, prefix.protocol), prefix)
    return tuple(seen.values())


def destination(entry: Entry) -> tuple[object, ...]:
    """Give what makes two rows the same destination: host, ports, protocol, path and the apex flag."""
    return (entry.host, entry.match, frozenset(entry.ports), entry.protocol, entry.path, entry.apex)


def known_geographies(lists: Iterable[EndpointList]) -> tuple[str, ...]:
    """Give the geographies that may be named: the published ones and those the lists have, sorted."""
    found = set(GEOGRAPHIES)
    for each in lists:
        found.update(entry.geography for entry in each.entries)
        found.update(prefix.geography for prefix in each.networks)
    return tuple(sorted(found - {WORLDWIDE}))


def _geographies(lists: Sequence[EndpointList], geo: Iterable[str]) -> frozenset[str] | None:
    """Give the geographies to keep; None for all."""
    wanted = frozenset(name.strip().upper() for name in geo)
    if not wanted:
        return None
    known = known_geographies(lists)
    for name in sorted(wanted - {WORLDWIDE}):
        if name not in known:
            raise ListError(f"the geography {name!a} is unknown; known are {', '.join(known)}")
    return wanted | {WORLDWIDE}


def _profile(profile: Profile | str) -> Profile:
    try:
        return Profile(profile)
    except ValueError:
        known = ", ".join(Profile)
        raise ListError(f"the profile {profile!a} is unknown; known are {known}") from None
