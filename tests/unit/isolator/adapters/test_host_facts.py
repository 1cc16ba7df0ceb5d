"""Resolvers and DHCP servers out of the files of different systems."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from isolator.adapters.host_facts import Places, dhcp_servers, resolvers


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(
        resolver_file=tmp_path / "resolv.conf",
        upstream_files=(tmp_path / "resolved.conf", tmp_path / "manager.conf"),
        key_value_leases=((tmp_path / "netif", "*"), (tmp_path / "manager", "internal-*.lease")),
        dhclient_leases=((tmp_path / "dhcp", "dhclient*.leases"),),
    )


STUB = "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver 192.0.2.1\nnameserver 2001:db8::1\n", ("192.0.2.1", "2001:db8::1")),
        ("nameserver\t192.0.2.1   # the router\n", ("192.0.2.1",)),
        ("nameserver 192.0.2.1\nnameserver 192.0.2.1\n", ("192.0.2.1",)),
        ("nameserver fe80::1%eth0\n", ("fe80::1%eth0",)),
        ("nameserver ::ffff:192.0.2.1\n", ("192.0.2.1",)),
        ("nameserver 127.0.0.1\nnameserver 192.0.2.1\n", ("192.0.2.1",)),
        ("#nameserver 192.0.2.1\n;nameserver 192.0.2.2\nnameservers 192.0.2.3\n", ()),
        ("nameserver\nnameserver not-an-address\nnameserver 192.0.2.300\n", ()),
        ("nameserver 0.0.0.0\nnameserver ::\nnameserver 224.0.0.1\n", ()),
        ("nameserver 192.0.2.1\r\n", ("192.0.2.1",)),
        ("", ()),
    ],
)
def test_what_a_resolver_file_says(places: Places, text: str, expected: tuple[str, ...]) -> None:
    places.resolver_file.write_text(text)
    assert resolvers(places) == tuple(ip_address(each) for each in expected)


def test_no_file_no_resolver(places: Places) -> None:
    assert resolvers(places) == ()


@pytest.mark.parametrize("name", ["resolved.conf", "manager.conf"])
def test_behind_a_stub_the_upstream_counts(places: Places, tmp_path: Path, name: str) -> None:
    places.resolver_file.write_text(STUB)
    assert resolvers(places) == ()
    (tmp_path / name).write_text("nameserver 192.0.2.53\n")
    assert resolvers(places) == (ip_address("192.0.2.53"),)


def test_an_upstream_that_is_a_stub_too_is_passed_over(places: Places, tmp_path: Path) -> None:
    places.resolver_file.write_text(STUB)
    (tmp_path / "resolved.conf").write_text(STUB)
    (tmp_path / "manager.conf").write_text("nameserver 192.0.2.54\n")
    assert resolvers(places) == (ip_address("192.0.2.54"),)


def test_a_file_that_is_no_text_says_nothing(places: Places) -> None:
    places.resolver_file.write_bytes(b"\xff\xfe\x00nameserver" * 100)
    assert resolvers(places) == ()


DHCLIENT = """
lease {
  interface "eth0";
  fixed-address 192.0.2.10;
  option dhcp-server-identifier 192.0.2.1;
  expire 2 2024/01/02 00:00:00;
}
lease {
  interface "eth1";
  option dhcp-server-identifier 198.51.100.1;
}
lease {
  interface "eth0";
  fixed-address 192.0.2.10;
  option dhcp-server-identifier 192.0.2.2;
}
"""


def test_dhcp_servers_of_every_client(places: Places, tmp_path: Path) -> None:
    for name in ("netif", "manager", "dhcp"):
        (tmp_path / name).mkdir()
    (tmp_path / "netif" / "2").write_text("# private\nADDRESS=203.0.113.9\nSERVER_ADDRESS=203.0.113.1\n")
    (tmp_path / "manager" / "internal-x-eth0.lease").write_text("SERVER_ADDRESS=203.0.113.2\n")
    (tmp_path / "manager" / "timestamps").write_text("SERVER_ADDRESS=6.6.6.6\n")
    (tmp_path / "dhcp" / "dhclient.leases").write_text(DHCLIENT)
    assert set(dhcp_servers(places)) == {
        ip_address(each) for each in ("203.0.113.1", "203.0.113.2", "192.0.2.2", "198.51.100.1")
    }


@pytest.mark.parametrize("server", ["255.255.255.255", "0.0.0.0", "127.0.0.1", "224.0.0.1", "nonsense", ""])
def test_what_is_no_server(places: Places, tmp_path: Path, server: str) -> None:
    (tmp_path / "netif").mkdir()
    (tmp_path / "netif" / "2").write_text(f"SERVER_ADDRESS={server}\n")
    assert dhcp_servers(places) == ()


def test_no_leases_no_servers(places: Places) -> None:
    assert dhcp_servers(places) == ()


def test_of_a_file_that_grew_huge_the_end_counts(places: Places, tmp_path: Path) -> None:
    (tmp_path / "dhcp").mkdir()
    old = DHCLIENT.replace("192.0.2.2;", "192.0.2.7;") * 6000
    (tmp_path / "dhcp" / "dhclient.leases").write_text(old + DHCLIENT)
    assert set(dhcp_servers(places)) == {ip_address("192.0.2.2"), ip_address("198.51.100.1")}
