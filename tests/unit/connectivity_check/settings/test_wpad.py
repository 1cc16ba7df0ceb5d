"""Where WPAD looks, and where it must not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from connectivity_check.settings.pac_source import NoPacError
from connectivity_check.settings.wpad import lease_urls, parse_lease, search, search_domains, wpad_hosts

URL = "http://wpad.corp.example/wpad.dat"


@pytest.mark.parametrize(
    ("domains", "hosts"),
    [
        (["a.b.example.com"], ("wpad.a.b.example.com", "wpad.b.example.com", "wpad.example.com")),
        (["example.com"], ("wpad.example.com",)),
        (["x.example.co.uk"], ("wpad.x.example.co.uk", "wpad.example.co.uk")),
        (["co.uk"], ()),
        (["com"], ()),
        (["corp.local"], ("wpad.corp.local",)),
        (["a.corp.local"], ("wpad.a.corp.local", "wpad.corp.local")),
        (["local"], ()),
        (
            ["b.example.com", "a.example.com"],
            ("wpad.b.example.com", "wpad.example.com", "wpad.a.example.com"),
        ),
        ([], ()),
    ],
)
def test_hosts(domains: list[str], hosts: tuple[str, ...]) -> None:
    assert wpad_hosts(domains) == hosts


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f'lease {{\n  option wpad "{URL}";\n}}', URL),
        (f'lease {{\n  option wpad-url "{URL}\\000";\n}}', URL),
        (f'lease {{\n  option unknown-252 "{URL}\\012";\n}}', URL),
        (
            "  option unknown-252 " + ":".join(f"{b:x}" if b > 15 else f"0{b:x}" for b in URL.encode()) + ";",
            URL,
        ),
        ("ADDRESS=192.0.2.1\nOPTION_252=" + URL.encode().hex() + "\n", URL),
        ("OPTION_252=" + URL.encode().hex() + "00\n", URL),
        (f"[dhcp4]\nwpad={URL}\n", URL),
        (f'option wpad "http://old/";\n option wpad "{URL}";', URL),
        ('option wpad "";', None),
        ('option wpad "ftp://h/wpad.dat";', None),
        ('option wpad "http://u:p@h/wpad.dat";', None),
        ('option domain-name "wpad.example";', None),
        ("OPTION_251=" + URL.encode().hex(), None),
        ("OPTION_252=zz", None),
        ("", None),
    ],
)
def test_leases(text: str, url: str | None) -> None:
    assert parse_lease(text) == url


def test_lease_files_newest_first(tmp_path: Path) -> None:
    for name, url, age in (
        ("run/systemd/netif/leases/2", "http://a/", 50),
        ("var/lib/dhcp/dhclient.leases", "http://b/", 10),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(f"wpad={url}\n\xff".encode("latin-1"))
        os.utime(path, (1000 - age, 1000 - age))
    assert lease_urls(tmp_path) == ("http://b/", "http://a/")
    assert lease_urls(tmp_path / "nothing") == ()


def test_search_domains(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text("# c\nnameserver 192.0.2.1\nsearch B.example. a.example\n")
    assert search_domains(tmp_path, "host.c.example") == ("c.example", "b.example", "a.example")
    assert search_domains(tmp_path / "none", "host") == ()


def test_dhcp_comes_before_dns_however_slow() -> None:
    async def fetch(url: str, budget_s: float) -> str:
        await asyncio.sleep(0.02 if "dhcp" in url else 0)
        return url

    result = asyncio.run(search(["http://dhcp/p.pac"], ["a.example.com"], fetch, 1))
    assert result.found is not None
    assert (result.found.url, result.found.by) == ("http://dhcp/p.pac", "DHCP")
    assert len(result.places) == 3


def test_a_place_that_is_refused_is_passed_over_and_told() -> None:
    async def fetch(url: str, budget_s: float) -> str:
        if "a.example" in url:
            raise NoPacError("it is a web page")
        return "function FindProxyForURL() {}"

    result = asyncio.run(search([], ["a.example.com"], fetch, 1))
    assert result.found is not None
    assert result.found.url == "http://wpad.example.com/wpad.dat"
    assert result.refused == ("http://wpad.a.example.com/wpad.dat: it is a web page",)


def test_nowhere_to_look() -> None:
    async def fetch(url: str, budget_s: float) -> str:
        raise AssertionError

    assert asyncio.run(search([], [], fetch, 1)).found is None
