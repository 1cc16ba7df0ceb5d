"""Which way a run takes, what else is configured, and what contradicts."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import pytest

from connectivity_check.model import InputError, PathKind, PathSettings, ProxyAuth, Route
from connectivity_check.settings.consumers import Wish, find_way
from connectivity_check.settings.machine import Machine
from connectivity_check.settings.pac_source import NoPacError
from connectivity_check.settings.registry import Data, Registry

WINHTTP = r"hkey_local_machine\software\microsoft\windows\currentversion\internet settings\connections"
SENSOR = r"hkey_local_machine\software\policies\microsoft\windows\datacollection"


async def no_fetch(url: str, budget_s: float) -> str:
    raise NoPacError("its server gave no answer within 5 s")


def machine(
    root: Path, environ: dict[str, str] | None = None, registry: dict[tuple[str, str], Data] | None = None
) -> Machine:
    return Machine(
        environ or {},
        root,
        "host",
        no_fetch,
        None if registry is None else lambda: Registry(registry, "registry"),
    )


def find(
    wish: Wish, here: Machine, url: str = "https://a.example/", host: str = "a.example"
) -> tuple[PathSettings, Route, str]:
    async def run() -> tuple[PathSettings, Route, str]:
        settings, way = await find_way(wish, here)
        try:
            return settings, await way.route(url, host), way.fault
        finally:
            await way.close()
            await way.close()

    return asyncio.run(run())


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_nothing_configured_is_direct(tmp_path: Path) -> None:
    settings, route, fault = find(Wish(), machine(tmp_path))
    assert settings == PathSettings(PathKind.DIRECT, "", "no proxy is configured")
    assert route == Route(source="no proxy is configured")
    assert fault == ""


def test_the_environment_counts_where_no_agent_is(tmp_path: Path) -> None:
    here = machine(tmp_path, {"HTTPS_PROXY": "http://u:pw@p.example:3128", "NO_PROXY": "b.example"})
    settings, route, _ = find(Wish(auth=ProxyAuth.BASIC), here)
    assert (settings.kind, settings.proxy, settings.source) == (
        PathKind.PROXY,
        "http://p.example:3128",
        "HTTPS_PROXY",
    )
    assert "pw" not in repr(settings)
    assert route.proxy is not None
    assert (route.proxy.password, route.proxy.auth) == ("pw", ProxyAuth.BASIC)
    assert find(Wish(), here, "https://b.example/", "b.example")[1].proxy is None
    assert find(Wish(), here, "http://a.example/x.crl")[1].proxy is None


def test_the_sensors_setting_counts_before_the_environment(tmp_path: Path) -> None:
    write(
        tmp_path,
        "etc/opt/microsoft/mdatp/managed/mdatp_managed.json",
        '{"cloudService": {"proxy": "http://m:1"}}',
    )
    settings, route, _ = find(Wish(), machine(tmp_path, {"HTTPS_PROXY": "http://e:2"}))
    assert str(route.proxy) == "http://m:1"
    assert [(c.consumer, c.proxy) for c in settings.consumers] == [
        ("edr", "http://m:1"),
        ("user", "http://e:2"),
    ]


def test_an_option_counts_before_everything(tmp_path: Path) -> None:
    here = machine(tmp_path, {"HTTPS_PROXY": "http://e:2"})
    settings, route, _ = find(Wish(proxy="http://u:pw@o:3"), here)
    assert (settings.proxy, settings.source, str(route.proxy)) == ("http://o:3", "--proxy", "http://o:3")
    assert [c.consumer for c in settings.consumers] == ["user"]
    settings, route, _ = find(Wish(direct=True), here)
    assert (settings.kind, route.proxy) == (PathKind.DIRECT, None)


@pytest.mark.parametrize(
    "wish", [Wish(proxy="h:1", direct=True), Wish(pac="x", wpad=True), Wish(wpad=True, direct=True)]
)
def test_wishes_that_contradict(wish: Wish, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exclude each other"):
        find(wish, machine(tmp_path))


def test_a_broken_setting_stops_only_a_run_that_it_decides(tmp_path: Path) -> None:
    here = machine(tmp_path, {"HTTPS_PROXY": "http://u:hunter2"})
    with pytest.raises(InputError, match="HTTPS_PROXY: the port") as caught:
        find(Wish(), here)
    assert "hunter2" not in caught.value.reason
    assert find(Wish(direct=True), here)[0].kind is PathKind.DIRECT
    write(tmp_path, "etc/apt/apt.conf", "}")
    assert find(Wish(), machine(tmp_path))[0].kind is PathKind.DIRECT


def test_updates_proxy_decides_nothing_here(tmp_path: Path) -> None:
    write(tmp_path, "etc/apt/apt.conf", 'Acquire::http::Proxy "http://a:1";')
    settings, route, _ = find(Wish(), machine(tmp_path))
    assert route.proxy is None
    assert [c.consumer for c in settings.consumers] == ["update"]


def test_windows(tmp_path: Path) -> None:
    here = machine(tmp_path, {}, {(SENSOR, "telemetryproxyserver"): "10.0.0.6:8080"})
    settings, route, _ = find(Wish(), here)
    assert (str(route.proxy), route.fallbacks) == ("http://10.0.0.6:8080", (None,))
    assert [c.consumer for c in settings.consumers] == ["edr", "antivirus", "update", "user"]


def test_windows_settings_that_cannot_be_read(tmp_path: Path) -> None:
    here = machine(tmp_path, {}, {(SENSOR, "telemetryproxyserver"): "p:port"})
    with pytest.raises(InputError, match="TelemetryProxyServer: the port"):
        find(Wish(), here)
    assert find(Wish(direct=True), here)[0].kind is PathKind.DIRECT


@pytest.mark.parametrize(
    ("flags", "pac", "kind", "told"),
    [
        (5, b"http://pac.example/p.pac", PathKind.PAC, "WinHttpSettings"),
        (9, b"", PathKind.DIRECT, "found no PAC file"),
    ],
)
def test_winhttp_with_a_pac_file_or_wpad(
    tmp_path: Path, flags: int, pac: bytes, kind: PathKind, told: str
) -> None:
    blob = struct.pack("<IIIIII", 0x46, 1, flags, 0, 0, len(pac)) + pac
    settings, route, fault = find(Wish(), machine(tmp_path, {}, {(WINHTTP, "winhttpsettings"): blob}))
    assert settings.kind is kind
    assert told in settings.source
    assert bool(fault) == bool(route.error) == (kind is PathKind.PAC)


def test_another_machines_settings(tmp_path: Path) -> None:
    export = tmp_path / "proxy.REG"
    text = f'Windows Registry Editor Version 5.00\n\n[{SENSOR}]\n"TelemetryProxyServer"="s.example:8080"\n'
    export.write_text(text, encoding="utf-16")
    here = machine(tmp_path, {"HTTPS_PROXY": "http://not-this:1"})
    settings, route, _ = find(Wish(settings=(str(export),)), here)
    assert str(route.proxy) == "http://s.example:8080"
    assert "not-this" not in repr(settings)
    write(tmp_path, "copy/etc/environment", "HTTPS_PROXY=http://copy:1")
    assert find(Wish(settings=(str(tmp_path / "copy"),)), here)[0].proxy == "http://copy:1"
    write(tmp_path, "files/wdavcfg", '{"proxy": "http://files:1"}')
    assert find(Wish(settings=(str(tmp_path / "files"),)), here)[0].proxy == "http://files:1"
    write(tmp_path, "apt/apt.conf", 'Acquire::http::Proxy "http://apt:1";')
    assert find(Wish(settings=(str(tmp_path / "apt/apt.conf"),)), here)[0].proxy == "http://apt:1"


@pytest.mark.parametrize("name", ["none.reg", "none.json", "empty"])
def test_settings_that_are_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        find(Wish(settings=(str(tmp_path / name),)), machine(tmp_path))
    assert name in caught.value.reason


def test_a_pac_url_that_does_not_answer_is_told_for_every_target(tmp_path: Path) -> None:
    settings, route, fault = find(Wish(pac="http://pac.example/p.pac"), machine(tmp_path))
    assert (settings.kind, settings.proxy, settings.source) == (
        PathKind.PAC,
        "http://pac.example/p.pac",
        "--pac",
    )
    assert (
        fault
        == "The PAC file http://pac.example/p.pac could not be had: its server gave no answer within 5 s."
    )
    assert (route.error, route.pac) == (fault, True)


@pytest.mark.parametrize("pac", ["none.pac", "ftp://h/p.pac", "http://u:p@h/p.pac", "file:///none.pac"])
def test_a_pac_that_cannot_be_meant(tmp_path: Path, pac: str) -> None:
    with pytest.raises(InputError):
        find(Wish(pac=pac), machine(tmp_path))


def test_wpad_that_finds_nothing_goes_direct_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, "etc/resolv.conf", "search corp.example.com")
    settings, route, _ = find(Wish(wpad=True), machine(tmp_path))
    assert settings.kind is PathKind.DIRECT
    assert "http://wpad.corp.example.com/wpad.dat: its server gave no answer" in settings.source
    assert route.proxy is None
