"""Whose setting is what on Windows."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.model import InputError, PathKind
from connectivity_check.settings.registry import Data, Registry
from connectivity_check.settings.setting import Setting
from connectivity_check.settings.windows_registry import Blob, from_registry, parse_blob, parse_proxy_list

INTERNET = r"software\microsoft\windows\currentversion\internet settings"
WINHTTP = (rf"hkey_local_machine\{INTERNET}\connections", "winhttpsettings")
USER = rf"hkey_current_user\{INTERNET}"
SENSOR = r"hkey_local_machine\software\policies\microsoft\windows\datacollection"
ANTIVIRUS = r"hkey_local_machine\software\policies\microsoft\windows defender"
# What `netsh winhttp reset proxy` leaves (learn.microsoft.com, "Use Group Policy to apply WinHTTP proxy settings").
RESET = bytes.fromhex("1800000000000000010000000000000000000000")


def blob(flags: int, *texts: str) -> bytes:
    packed = b"".join(struct.pack("<I", len(t)) + t.encode("ascii") for t in texts)
    return struct.pack("<III", 0x46, 7, flags) + packed


def settings(values: dict[tuple[str, str], Data]) -> dict[str, Setting]:
    return {setting.consumer: setting for setting in from_registry(Registry(values, "r"))}


def test_nothing_set_is_direct_for_everybody() -> None:
    found = settings({})
    assert set(found) == {"edr", "antivirus", "update", "user"}
    assert {s.kind for s in found.values()} == {PathKind.DIRECT}


def test_a_reset_winhttp_is_direct() -> None:
    assert settings({WINHTTP: RESET})["edr"].kind is PathKind.DIRECT


def test_winhttp_counts_for_sensor_antivirus_and_update() -> None:
    found = settings({WINHTTP: blob(3, "proxy.example:8080", "*.inside.example;<local>")})
    for consumer in ("edr", "antivirus", "update"):
        assert found[consumer].address == "http://proxy.example:8080"
        assert found[consumer].bypass.matches("a.inside.example", 443)
        assert "WinHttpSettings" in found[consumer].source
    assert found["user"].kind is PathKind.DIRECT


def test_a_switched_off_proxy_does_not_count() -> None:
    assert settings({WINHTTP: blob(1, "proxy.example:8080", "")})["update"].kind is PathKind.DIRECT


def test_the_sensors_own_proxy_wins_and_it_goes_direct_next() -> None:
    values = {
        WINHTTP: blob(3, "proxy.example:8080", ""),
        (SENSOR, "telemetryproxyserver"): "10.0.0.6:8080",
        (SENSOR, "disableenterpriseauthproxy"): 1,
    }
    edr = settings(values)["edr"]
    assert edr.address == "http://10.0.0.6:8080"
    assert edr.direct_next
    assert "DisableEnterpriseAuthProxy" not in edr.source
    del values[SENSOR, "disableenterpriseauthproxy"]
    assert "DisableEnterpriseAuthProxy is not 1" in settings(values)["edr"].source


def test_antivirus_policies() -> None:
    found = settings(
        {(ANTIVIRUS, "proxyserver"): "http://av.example:3128", (ANTIVIRUS, "proxybypass"): "*.x"}
    )
    assert found["antivirus"].address == "http://av.example:3128"
    assert found["antivirus"].bypass.matches("a.x", 443)
    assert found["edr"].kind is PathKind.DIRECT
    found = settings({(ANTIVIRUS, "proxypacurl"): "http://pac.example/p.pac"})
    assert found["antivirus"].path().proxy == "http://pac.example/p.pac"


def test_user_settings() -> None:
    values: dict[tuple[str, str], Data] = {
        (USER, "proxyenable"): 1,
        (USER, "proxyserver"): "http=a:80;https=b:443;ftp=c",
        (USER, "proxyoverride"): "<local>",
    }
    user = settings(values)["user"]
    assert user.https is not None
    assert user.http is not None
    assert (user.https.url, user.http.url) == ("http://b:443", "http://a:80")
    assert user.bypass.matches("intranet", 443)
    values[USER, "proxyenable"] = 0
    assert settings(values)["user"].kind is PathKind.DIRECT
    values[USER, "autoconfigurl"] = "http://pac/p.pac"
    assert settings(values)["user"].kind is PathKind.PAC


def test_user_settings_of_the_machine_and_of_the_blob() -> None:
    policy = r"hkey_local_machine\software\policies\microsoft\windows\currentversion\internet settings"
    values: dict[tuple[str, str], Data] = {
        (policy, "proxysettingsperuser"): 0,
        (rf"hkey_local_machine\{INTERNET}", "proxyenable"): 1,
        (rf"hkey_local_machine\{INTERNET}", "proxyserver"): "m:1",
        (USER, "autoconfigurl"): "http://pac/p.pac",
    }
    assert settings(values)["user"].address == "http://m:1"
    wpad = {(rf"{USER}\connections", "defaultconnectionsettings"): blob(9, "", "", "")}
    assert settings(wpad)["user"].wpad


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (RESET, Blob()),
        (blob(3, "p:1", "<local>"), Blob("p:1", "<local>")),
        (blob(5, "", "", "http://x/p.pac"), Blob(pac_url="http://x/p.pac")),
        (blob(9), Blob(wpad=True)),
        (blob(15, "p:1", "b", "u"), Blob("p:1", "b", "u", True)),
        (blob(1, "p:1", "b", "u"), Blob()),
        (blob(3, "p:1", "") + bytes(32), Blob("p:1")),
    ],
)
def test_blobs(data: bytes, expected: Blob) -> None:
    assert parse_blob(data, "x") == expected


@pytest.mark.parametrize(
    "data", [b"", bytes(11), struct.pack("<IIII", 0x46, 1, 3, 0xFFFFFFFF), blob(3, "p:1")[:-1]]
)
def test_blobs_that_are_cut_off(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^x: the binary value"):
        parse_blob(data, "x")


@given(st.binary(max_size=64))
def test_blobs_of_any_bytes(data: bytes) -> None:
    with contextlib.suppress(InputError):
        parse_blob(data, "x")


@pytest.mark.parametrize(
    ("text", "https", "http"),
    [
        ("p.example", "http://p.example:80", "http://p.example:80"),
        ("p.example:8080", "http://p.example:8080", "http://p.example:8080"),
        ("http://p.example:8080/", "http://p.example:8080", "http://p.example:8080"),
        ("https=s:1 http=h:2", "http://s:1", "http://h:2"),
        ("http=h:2", None, "http://h:2"),
        ("socks=s", "socks5h://s:1080", "socks5h://s:1080"),
        ("https=s:1;socks=k:9", "http://s:1", "socks5h://k:9"),
        ("ftp=f:1", None, None),
        ("", None, None),
        ("[2001:db8::1]", "http://[2001:db8::1]:80", "http://[2001:db8::1]:80"),
    ],
)
def test_proxy_lists(text: str, https: str | None, http: str | None) -> None:
    found = parse_proxy_list(text, "x")
    assert tuple(server.url if server else None for server in found) == (https, http)


def test_a_broken_proxy_names_the_value() -> None:
    with pytest.raises(InputError, match=r"TelemetryProxyServer: the port"):
        settings({(SENSOR, "telemetryproxyserver"): "p:port"})
