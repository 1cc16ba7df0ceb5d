"""Proxy settings of Windows, per consumer, out of registry values.

Which value counts for whom: learn.microsoft.com/defender-endpoint/configure-proxy-internet (sensor,
antivirus), the policy text of "Define proxy server for connecting to the network" (order of the antivirus),
learn.microsoft.com/windows/win32/winhttp (netsh winhttp, DefaultConnectionSettings).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from connectivity_check.model import InputError, ProxyAuth, ProxyServer
from connectivity_check.settings.bypass import NOTHING, parse_bypass_list
from connectivity_check.settings.pac_source import check_pac_url
from connectivity_check.settings.proxy_url import parse_proxy_url
from connectivity_check.settings.registry import Registry
from connectivity_check.settings.setting import Setting

_CONNECTIONS = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Internet Settings\Connections"
_USER = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings"
_USER_CONNECTIONS = _USER + r"\Connections"
_MACHINE_WIDE = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Internet Settings"
_PER_USER_POLICY = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\CurrentVersion\Internet Settings"
_SENSOR = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\DataCollection"
_ANTIVIRUS = (
    r"HKLM\SOFTWARE\Policies\Microsoft\Windows Defender",
    r"HKLM\SOFTWARE\Microsoft\Windows Defender",
)
_USER_NAMES = ("ProxyEnable", "ProxyServer", "ProxyOverride", "AutoConfigURL")

WANTED = {
    _CONNECTIONS: ("WinHttpSettings", "DefaultConnectionSettings"),
    _USER: _USER_NAMES,
    _USER_CONNECTIONS: ("DefaultConnectionSettings",),
    _MACHINE_WIDE: _USER_NAMES,
    _PER_USER_POLICY: ("ProxySettingsPerUser",),
    _SENSOR: ("TelemetryProxyServer", "DisableEnterpriseAuthProxy"),
    _ANTIVIRUS[0]: ("ProxyServer", "ProxyPacUrl", "ProxyBypass"),
    _ANTIVIRUS[1]: ("ProxyServer", "ProxyPacUrl", "ProxyBypass"),
}
"""The values that are read, by key."""

_PORTS = {"http": 80, "https": 443, "socks": 1080}
"""WinHTTP's and WinINET's ports where none is given: those of the protocol."""


@dataclass(frozen=True, slots=True)
class Blob:
    """WinHttpSettings or DefaultConnectionSettings, taken apart."""

    proxy: str = ""
    bypass: str = ""
    pac_url: str = ""
    wpad: bool = False


def parse_blob(data: bytes, where: str) -> Blob:
    """Read `version, counter, flags, length, proxy, length, bypass [, length, PAC URL]`, little endian.

    Flags: 2 proxy, 4 PAC file, 8 WPAD; what is switched off is left empty. Not documented by Microsoft; as
    `netsh winhttp` and the control panel write it. Raises InputError when lengths do not fit.
    """
    if len(data) < 12:
        raise InputError(f"{where}: the binary value has {len(data)} bytes, at least 12 are needed")
    flags = struct.unpack_from("<I", data, 8)[0]
    offset = 12
    texts: list[str] = []
    while len(texts) < 3 and offset + 4 <= len(data):
        size = struct.unpack_from("<I", data, offset)[0]
        offset += 4
        if offset + size > len(data):
            raise InputError(f"{where}: the binary value is cut off at byte {len(data)}")
        texts.append(data[offset : offset + size].decode("latin-1").strip("\0 "))
        offset += size
    proxy, bypass, pac = (*texts, "", "", "")[:3]
    return Blob(
        proxy if flags & 2 else "", bypass if flags & 2 else "", pac if flags & 4 else "", bool(flags & 8)
    )


def parse_proxy_list(
    text: str, where: str, auth: ProxyAuth | None = None
) -> tuple[ProxyServer | None, ProxyServer | None]:
    """Read `host:port` or `http=host:port;https=host:port;socks=host:port`; give those for https and http.

    The key names the kind of URL, not of proxy: the proxy speaks HTTP, except behind `socks=`, which stands
    in for what has no own entry. Entries for other kinds (ftp) are passed over.
    """
    by_kind: dict[str, ProxyServer] = {}
    for item in filter(None, text.replace(";", " ").split()):
        kind, _, address = item.rpartition("=")
        kind = kind.lower() or "all"
        if kind in ("all", *_PORTS):
            by_kind[kind] = _server(address, kind, where, auth)
    general = by_kind.get("all", by_kind.get("socks"))
    return by_kind.get("https", general), by_kind.get("http", general)


def _server(address: str, kind: str, where: str, auth: ProxyAuth | None) -> ProxyServer:
    scheme, _, place = address.rpartition("://")
    scheme = "socks5h" if kind == "socks" else scheme.lower() or "http"
    place = place.rstrip("/")
    if place.rpartition("]")[2].rpartition(":")[1] != ":":
        place += f":{_PORTS.get(kind, 443 if scheme == 'https' else 80)}"
    return parse_proxy_url(f"{scheme}://{place}", auth, where=where)


def from_registry(registry: Registry, auth: ProxyAuth | None = None) -> tuple[Setting, ...]:
    """Give one setting per consumer: edr, antivirus, update, user; direct where nothing is set.

    Raises InputError, with the value's name, for a setting that cannot be read.
    """
    system = _winhttp(registry, auth)
    user = _user(registry, auth)
    return (
        _sensor(registry, auth) or _for("edr", system),
        _antivirus(registry, auth) or _for("antivirus", user if user.kind != "direct" else system),
        # Windows Update scans with the system's WinHTTP proxy (SetProxyBehaviorForUpdateDetection 0).
        _for("update", system),
        user,
    )


def _for(consumer: str, setting: Setting) -> Setting:
    return Setting(
        consumer,
        setting.source,
        setting.https,
        setting.http,
        setting.bypass,
        setting.pac_url,
        setting.wpad,
        setting.direct_next,
    )


def _winhttp(registry: Registry, auth: ProxyAuth | None) -> Setting:
    where = f"{registry.source}: {_CONNECTIONS}\\WinHttpSettings"
    data = registry.blob(_CONNECTIONS, "WinHttpSettings")
    if not data:
        return Setting("system", f"{where} is not set")
    return _of_blob("system", parse_blob(data, where), where, auth)


def _of_blob(consumer: str, blob: Blob, where: str, auth: ProxyAuth | None) -> Setting:
    if blob.pac_url:
        return Setting(consumer, where, pac_url=check_pac_url(blob.pac_url, where))
    if blob.wpad and not blob.proxy:
        return Setting(consumer, where, wpad=True)
    https, http = parse_proxy_list(blob.proxy, where, auth)
    return Setting(consumer, where, https, http, parse_bypass_list(blob.bypass, where=where))


def _user(registry: Registry, auth: ProxyAuth | None) -> Setting:
    machine_wide = registry.number(_PER_USER_POLICY, "ProxySettingsPerUser") == 0
    key, connections = (_MACHINE_WIDE, _CONNECTIONS) if machine_wide else (_USER, _USER_CONNECTIONS)
    pac = registry.text(key, "AutoConfigURL")
    where = f"{registry.source}: {key}"
    if pac:
        return Setting("user", f"{where}\\AutoConfigURL", pac_url=_user_pac(pac, where))
    proxy = registry.text(key, "ProxyServer")
    if registry.number(key, "ProxyEnable") and proxy:
        https, http = parse_proxy_list(proxy, f"{where}\\ProxyServer", auth)
        override = registry.text(key, "ProxyOverride")
        bypass = parse_bypass_list(override, where=f"{where}\\ProxyOverride") if override else NOTHING
        return Setting("user", f"{where}\\ProxyServer", https, http, bypass)
    data = registry.blob(connections, "DefaultConnectionSettings")
    if data:
        where = f"{registry.source}: {connections}\\DefaultConnectionSettings"
        return _of_blob("user", parse_blob(data, where), where, auth)
    return Setting("user", f"{where}: no proxy is set")


def _user_pac(url: str, where: str) -> str:
    return check_pac_url(url, f"{where}\\AutoConfigURL")


def _sensor(registry: Registry, auth: ProxyAuth | None) -> Setting | None:
    where = f"{registry.source}: {_SENSOR}\\TelemetryProxyServer"
    proxy = registry.text(_SENSOR, "TelemetryProxyServer")
    if not proxy:
        return None
    https, http = parse_proxy_list(proxy, where, auth)
    if registry.number(_SENSOR, "DisableEnterpriseAuthProxy") != 1:
        where += " (DisableEnterpriseAuthProxy is not 1, as it should be)"
    # The sensor goes direct when the static proxy cannot be used.
    return Setting("edr", where, https, http, direct_next=True)


def _antivirus(registry: Registry, auth: ProxyAuth | None) -> Setting | None:
    for key in _ANTIVIRUS:  # policy before Set-MpPreference
        where = f"{registry.source}: {key}"
        bypass = parse_bypass_list(registry.text(key, "ProxyBypass"), where=f"{where}\\ProxyBypass")
        if proxy := registry.text(key, "ProxyServer"):
            https, http = parse_proxy_list(proxy, f"{where}\\ProxyServer", auth)
            return Setting("antivirus", f"{where}\\ProxyServer", https, http, bypass)
        if pac := registry.text(key, "ProxyPacUrl"):
            url = check_pac_url(pac, f"{where}\\ProxyPacUrl")
            return Setting("antivirus", f"{where}\\ProxyPacUrl", pac_url=url, bypass=bypass)
    return None
