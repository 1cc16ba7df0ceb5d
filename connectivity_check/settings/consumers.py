"""The agent's own way, and those of its neighbours: what is configured, and which way to take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from connectivity_check.model import (
    InputError,
    PathKind,
    PathSettings,
    ProxyAuth,
)
from connectivity_check.settings import linux_service, wpad
from connectivity_check.settings.environment import from_environment
from connectivity_check.settings.machine import Machine
from connectivity_check.settings.pac import PacEngine
from connectivity_check.settings.pac_source import NoPacError, check_pac_url, read_pac_file
from connectivity_check.settings.proxy_url import parse_proxy_url
from connectivity_check.settings.registry import read_export
from connectivity_check.settings.setting import Setting
from connectivity_check.settings.ways import DirectWay, PacWay, ProxyWay, Way
from connectivity_check.settings.windows_registry import from_registry

PRECEDENCE = ("edr", "user")
"""Whose setting a run takes when nobody says which way; the others' only out of `--settings`."""
_GIVEN_PRECEDENCE = (*PRECEDENCE, "arc", "antivirus", "update")
_ROOT_SIGNS = ("etc", "opt", "var")


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line; at most one of proxy, pac, wpad and direct."""

    proxy: str = ""
    pac: str = ""
    """URL or file."""
    wpad: bool = False
    direct: bool = False
    auth: ProxyAuth | None = None
    settings: tuple[str, ...] = ()
    """Files or root directories of another machine; its settings count then, and not this one's."""
    budget_s: float = 5.0
    """For fetching a PAC file."""


async def find_way(wish: Wish, machine: Machine | None = None) -> tuple[PathSettings, Way]:
    """Give the way out and what else is configured. The caller closes the way.

    Without a wish: the sensor's setting, else the environment's, else direct. A PAC file that cannot be
    fetched or run gives a way with a `fault`, and every route has it as error: a broken PAC server is
    something to report, target by target. Raises InputError for wishes that contradict each other, an address
    that cannot be read, a file that is missing or none of its kind; for settings of this machine only when
    they decide the way.
    """
    machine = machine or Machine.here()
    if sum(map(bool, (wish.proxy, wish.pac, wish.wpad, wish.direct))) > 1:
        raise InputError("--proxy, --pac, --wpad and --direct exclude each other; give one of them")
    settings, broken = _configured(wish, machine)
    chosen, way = await _wished(wish, machine) or (None, None)
    if way is None or chosen is None:
        setting = _first(_GIVEN_PRECEDENCE if wish.settings else PRECEDENCE, settings, broken)
        chosen, way = await _way_of(setting or Setting("system", "no proxy is configured"), wish, machine)
    paths = tuple(setting.path() for setting in settings)
    return PathSettings(chosen.kind, chosen.proxy, chosen.source, paths), way


def _first(
    precedence: Iterable[str], settings: Iterable[Setting], broken: Mapping[str, InputError]
) -> Setting | None:
    """Give the setting that decides; raises the error of one that would have, had it been readable."""
    by_consumer = {setting.consumer: setting for setting in settings}
    for consumer in precedence:
        if consumer in broken:
            raise broken[consumer]
        if consumer in by_consumer:
            return by_consumer[consumer]
    return None


def _configured(wish: Wish, machine: Machine) -> tuple[tuple[Setting, ...], dict[str, InputError]]:
    """Give the settings found, and by consumer the errors of those of this machine that cannot be read."""
    broken: dict[str, InputError] = {}
    if wish.settings:
        return tuple(s for path in wish.settings for s in _given(Path(path), wish.auth)), broken
    found: list[Setting] = []
    try:
        own = from_environment(machine.environ, wish.auth)
    except InputError as error:
        own = None
        broken["user"] = error
    if machine.registry is not None:
        try:
            found += from_registry(machine.registry(), wish.auth)
        except InputError as error:
            broken["edr"] = error
    else:
        found += linux_service.from_root(machine.root, wish.auth, broken=broken.__setitem__)
    if own is not None:
        # What this shell has set comes before what the machine sets for every session.
        found = [setting for setting in found if setting.consumer != "user"] + [own]
    return tuple(found), broken


def _given(path: Path, auth: ProxyAuth | None) -> tuple[Setting, ...]:
    """Read a file or directory of `--settings`."""
    if path.is_dir():
        if any((path / sign).is_dir() for sign in _ROOT_SIGNS):
            return linux_service.from_root(path, auth)
        files = sorted(item for item in path.iterdir() if item.is_file())
        if not files:
            raise InputError(
                f"{path}: neither a machine's root directory nor a directory with settings files"
            )
        return tuple(setting for item in files for setting in _given(item, auth))
    if path.suffix.lower() == ".reg":
        return from_registry(read_export(path), auth)
    return (linux_service.from_file(path, auth),)


@dataclass(frozen=True, slots=True)
class _Chosen:
    kind: PathKind
    proxy: str
    source: str


async def _wished(wish: Wish, machine: Machine) -> tuple[_Chosen, Way] | None:
    """Give the way that an option names; None without one."""
    if wish.direct:
        return _Chosen(PathKind.DIRECT, "", "--direct"), DirectWay("--direct")
    if wish.proxy:
        server = parse_proxy_url(wish.proxy, wish.auth)
        return _Chosen(PathKind.PROXY, server.url, "--proxy"), ProxyWay(server, server, source="--proxy")
    if wish.wpad:
        return await _by_wpad(wish, machine, "--wpad")
    if wish.pac:
        return await _by_pac(wish.pac, wish, machine, "--pac")
    return None


async def _way_of(setting: Setting, wish: Wish, machine: Machine) -> tuple[_Chosen, Way]:
    if setting.pac_url:
        return await _by_pac(setting.pac_url, wish, machine, setting.source)
    if setting.wpad:
        return await _by_wpad(wish, machine, setting.source)
    chosen = _Chosen(setting.kind, setting.address, setting.source)
    if setting.kind is PathKind.DIRECT:
        return chosen, DirectWay(setting.source)
    return chosen, ProxyWay.of(setting)


async def _by_pac(place: str, wish: Wish, machine: Machine, source: str) -> tuple[_Chosen, Way]:
    """Ask the PAC file at a URL, or in a file (path or file: URL)."""
    if "://" in place and not place.lower().startswith("file:"):
        url = check_pac_url(place, source)
        try:
            text = await machine.fetch(url, wish.budget_s)
        except NoPacError as error:
            fault = f"The PAC file {url} could not be had: {error.reason}."
            return _Chosen(PathKind.PAC, url, source), PacWay(None, url, wish.auth, fault)
        return _Chosen(PathKind.PAC, url, source), await _loaded(text, url, wish.auth)
    path = _file_of(place)
    return _Chosen(PathKind.PAC, str(path), source), await _loaded(read_pac_file(path), str(path), wish.auth)


def _file_of(place: str) -> Path:
    if not place.lower().startswith("file:"):
        return Path(place)
    path = unquote(urlsplit(place).path)
    return Path(path[1:] if re.match(r"/[A-Za-z]:", path) else path)  # file:///C:/proxy.pac


async def _loaded(text: str, source: str, auth: ProxyAuth | None) -> PacWay:
    way = PacWay(PacEngine(text), source, auth)
    try:
        await way.load()
    except BaseException:
        await way.close()
        raise
    return way


async def _by_wpad(wish: Wish, machine: Machine, source: str) -> tuple[_Chosen, Way]:
    """Look for a PAC file; where there is none, clients go direct, and so does the run."""
    domains = wpad.search_domains(machine.root, machine.hostname)
    result = await wpad.search(wpad.lease_urls(machine.root), domains, machine.fetch, wish.budget_s)
    if result.found is not None:
        chosen = _Chosen(PathKind.PAC, result.found.url, f"{source}, by {result.found.by}")
        return chosen, await _loaded(result.found.text, result.found.url, wish.auth)
    tried = "; ".join(result.refused[:3]) or "neither a DHCP lease nor a DNS domain to look in"
    told = f"{source} found no PAC file ({tried}), so direct"
    return _Chosen(PathKind.DIRECT, "", told), DirectWay(told)
