"""Proxy settings of a Linux machine, per consumer, out of files under a root directory.

mdatp: learn.microsoft.com/defender-endpoint/linux-static-proxy-configuration (managed file, command-line
tool, HTTPS_PROXY of its unit); Arc: `proxy.url` of azcmagent's localconfig.json; apt.conf(5), dnf.conf(5).
"""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from connectivity_check.model import InputError, ProxyAuth, ProxyServer
from connectivity_check.settings.apt_conf import parse_apt
from connectivity_check.settings.environment import from_environment
from connectivity_check.settings.proxy_url import parse_proxy_url
from connectivity_check.settings.setting import Setting
from connectivity_check.settings.unit_file import parse_environment_file, parse_unit

MDATP = (
    "etc/opt/microsoft/mdatp/managed/mdatp_managed.json",
    "etc/opt/microsoft/mdatp/managed/mdeattach_managed.json",
    "etc/opt/microsoft/mdatp/wdavcfg",
)
"""The agent's own files, the one that wins first."""
_MDATP_SIGNS = ("opt/microsoft/mdatp", "etc/opt/microsoft/mdatp")
UNIT = "mdatp.service"
_UNIT_DIRECTORIES = (
    "lib/systemd/system",
    "usr/lib/systemd/system",
    "run/systemd/system",
    "etc/systemd/system",
)
_MANAGER = ("etc/systemd/system.conf", "etc/systemd/system.conf.d/*.conf")
ARC = "var/opt/azcmagent/localconfig.json"
_DNF = ("etc/dnf/dnf.conf", "etc/yum.conf")
_MAX_BYTES = 4 << 20


def from_root(
    root: Path, auth: ProxyAuth | None = None, *, broken: Callable[[str, InputError], None] | None = None
) -> tuple[Setting, ...]:
    """Give the settings of the machine whose files are under `root`; a consumer that is not there has none.

    A file that cannot be read or understood raises InputError with file, line and reason; with `broken`, the
    consumer and the error go there, and the consumer is left out.
    """
    found = []
    for consumer, reader in ("edr", _edr), ("arc", _arc), ("update", _update), ("user", _user):
        try:
            setting = reader(root, auth)
        except InputError as error:
            if broken is None:
                raise
            broken(consumer, error)
        else:
            if setting is not None:
                found.append(setting)
    return tuple(found)


def from_file(path: Path, auth: ProxyAuth | None = None) -> Setting:
    """Read one file, known by its name, of another machine. Raises InputError, for an unknown name too."""
    name, text = path.name, _read(path)
    shown = str(path)
    if name in (Path(p).name for p in MDATP):
        proxy = parse_mdatp(text, shown)
        return _static("edr", shown, proxy, auth)
    if name == Path(ARC).name:
        return _static("arc", shown, parse_arc(text, shown), auth)
    if name in ("dnf.conf", "yum.conf"):
        return _dnf_setting(text, shown, auth)
    if name == "apt.conf" or path.parent.name == "apt.conf.d":
        return _apt_setting([(shown, text)], auth)
    if name == "environment" or name.endswith(".env"):
        return _environment("user", parse_environment_file(text, shown), shown, auth)
    if name == UNIT or path.parent.name == f"{UNIT}.d":
        variables, _ = parse_unit(text, shown, "Environment")
        return _environment("edr", variables, shown, auth)
    raise InputError(
        f"{path}: not a settings file that is known here; give a .reg export, mdatp_managed.json, wdavcfg, "
        f"{UNIT}, localconfig.json, apt.conf, dnf.conf, environment, or a machine's root directory"
    )


def parse_mdatp(text: str, name: str) -> str:
    """Give `cloudService.proxy`, or `proxy`, of a managed file or wdavcfg; "" when there is none."""
    document = _json_object(text, name)
    service = document.get("cloudService", {})
    if not isinstance(service, dict):
        raise InputError(f"{name}: cloudService is not an object")
    for key, proxy in (("cloudService.proxy", service.get("proxy")), ("proxy", document.get("proxy"))):
        if proxy is not None and not isinstance(proxy, str):
            raise InputError(f"{name}: {key} is not a text")
        if proxy:
            return proxy
    return ""


def parse_arc(text: str, name: str) -> str:
    """Give `proxy.url` of azcmagent's localconfig.json, "" when there is none."""
    proxy = _json_object(text, name).get("proxy.url", "")
    if not isinstance(proxy, str):
        raise InputError(f"{name}: proxy.url is not a text")
    return proxy


def _json_object(text: str, name: str) -> dict[str, object]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{name}:{error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{name}: not JSON that anybody means: nested too deeply") from None
    if not isinstance(document, dict):
        raise InputError(f"{name}: not a JSON object")
    return document


def _edr(root: Path, auth: ProxyAuth | None) -> Setting | None:
    hidden = []
    for path in (root / name for name in MDATP):
        try:
            text = _optional(path)
        except _NotPermittedError:
            hidden.append(str(path))  # the preflight goes on with what it may read, and says so
            continue
        if text is not None and (proxy := parse_mdatp(text, str(path))):
            return _static("edr", str(path), proxy, auth)
    found = _unit_variables(root)
    if found is None and not hidden and not any(os.path.exists(root / sign) for sign in _MDATP_SIGNS):
        return None
    setting = _environment("edr", found or {}, UNIT, auth)
    return (
        replace(setting, source=f"{setting.source}; not readable: {', '.join(hidden)}") if hidden else setting
    )


def _unit_variables(root: Path) -> dict[str, str] | None:
    """The environment of mdatp's unit: of the manager, of the unit, of its drop-ins; None without a unit."""
    variables: dict[str, str] = {}
    for pattern in _MANAGER:
        for path in sorted(root.glob(pattern)):
            variables |= parse_unit(_read(path), str(path), "DefaultEnvironment")[0]
    units = [root / d / UNIT for d in reversed(_UNIT_DIRECTORIES) if os.path.isfile(root / d / UNIT)]
    drop_ins = {p.name: p for d in _UNIT_DIRECTORIES for p in (root / d / f"{UNIT}.d").glob("*.conf")}
    if not units and not drop_ins:
        return None
    files: list[str] = []
    for path in units[:1] + [drop_ins[name] for name in sorted(drop_ins)]:
        own, paths = parse_unit(_read(path), str(path), "Environment")
        variables |= own
        files += paths
    for name in files:  # they win over Environment= (systemd.exec(5))
        text = _optional(root / name.lstrip("/"))
        if text is not None:
            variables |= parse_environment_file(text, str(root / name.lstrip("/")))
    return variables


def _arc(root: Path, auth: ProxyAuth | None) -> Setting | None:
    text = _optional(root / ARC)
    return None if text is None else _static("arc", str(root / ARC), parse_arc(text, str(root / ARC)), auth)


def _update(root: Path, auth: ProxyAuth | None) -> Setting | None:
    directory = root / "etc/apt"
    if os.path.isdir(directory):
        paths = sorted(p for p in directory.glob("apt.conf.d/*") if p.suffix in ("", ".conf") and p.is_file())
        texts = [(str(path), _optional(path)) for path in [*paths, directory / "apt.conf"]]
        return _apt_setting([(name, text) for name, text in texts if text is not None], auth)
    for path in (root / name for name in _DNF):
        text = _optional(path)
        if text is not None:
            return _dnf_setting(text, str(path), auth)
    return None


def _apt_setting(files: list[tuple[str, str]], auth: ProxyAuth | None) -> Setting:
    proxies: dict[str, ProxyServer | None] = {}
    source = "apt.conf: no proxy is set"
    for name, text in files:
        for kind, proxy in parse_apt(text, name).items():
            proxies[kind] = None if proxy in ("DIRECT", "") else parse_proxy_url(proxy, auth, where=name)
            source = name
    http = proxies.get("http")
    return Setting("update", source, proxies.get("https", http), http)


def _dnf_setting(text: str, name: str, auth: ProxyAuth | None) -> Setting:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text, source=name)
    except configparser.Error as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"{name}:{line or 1}: not of the form [section] and name=value") from None
    proxy = parser.get("main", "proxy", fallback="").strip()
    if proxy.lower() in ("", "_none_"):
        return Setting("update", f"{name}: no proxy is set")
    return _static("update", name, proxy, auth)


def _user(root: Path, auth: ProxyAuth | None) -> Setting | None:
    shown = str(root / "etc/environment")
    text = _optional(root / "etc/environment")
    return None if text is None else from_environment(parse_environment_file(text, shown), auth, file=shown)


def _static(consumer: str, source: str, proxy: str, auth: ProxyAuth | None) -> Setting:
    if not proxy:
        return Setting(consumer, f"{source}: no proxy is set")
    server = parse_proxy_url(proxy, auth, where=source)
    return Setting(consumer, source, server, server)


def _environment(consumer: str, variables: dict[str, str], source: str, auth: ProxyAuth | None) -> Setting:
    found = from_environment(variables, auth, consumer=consumer, file=source)
    return found or Setting(consumer, f"{source}: no proxy is set")


class _NotPermittedError(InputError):
    """A file is there, or may be, and this user may not read it."""


def _optional(path: Path) -> str | None:
    """Give a file's text, None when it is not there."""
    return _read(path) if os.path.lexists(path) or not _searchable(path.parent) else None


def _searchable(directory: Path) -> bool:
    return os.access(directory, os.X_OK) or not os.path.exists(directory)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except PermissionError as error:
        raise _NotPermittedError(f"{path}: cannot be read: {error.strerror}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path}: larger than 4 MiB, no settings file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
