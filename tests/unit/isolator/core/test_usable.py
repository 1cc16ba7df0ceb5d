"""Which addresses an answer may open."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from isolator.core.usable import UsableAddresses, embedded_ipv4, unscoped

OWN = (ip_address("203.0.113.9"), ip_address("2001:db8:9::9"), ip_address("2001:db8:9::8%eth0"))
PLAIN = UsableAddresses(OWN, ())

USABLE = [
    "20.1.2.3",
    "13.107.6.171",
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "223.255.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.0.1.255",
    "2603:1000::1",
    "2001:db8::1",
    "2a01:111::1",
    "fbff::1",
    "2620:1ec::1",
    "64:ff9b::20.1.2.3",
    "64:ff9b:1::20.1.2.3",
    "2002:1401:0203::1",
    "2001:0:1401:203::ebfe:fdfc",
]

NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.255",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::20.1.2.3",
    "::127.0.0.1",
    "::ffff:20.1.2.3",
    "::ffff:127.0.0.1",
    "ff02::1",
    "ff00::",
    "203.0.113.9",
    "2001:db8:9::9",
    "2001:db8:9::8",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::127.0.0.1",
    "64:ff9b::203.0.113.9",
    "2002:7f00:1::1",
    "2001:0:7f00:1::ebfe:fdfc",
    "2001:0:1401:203::80ff:fffe",
]

SITE = [
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "169.254.0.1",
    "169.254.255.255",
    "192.0.0.1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "feff::1",
    "64:ff9b::10.0.0.1",
    "2002:c0a8:1::1",
]

METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
]

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))


@pytest.mark.parametrize("address", USABLE)
def test_usable(address: str) -> None:
    assert ip_address(address) in PLAIN


@pytest.mark.parametrize("address", NEVER)
def test_never_usable_whatever_is_named(address: str) -> None:
    assert ip_address(address) not in PLAIN
    assert ip_address(address) not in UsableAddresses(OWN, EVERYTHING)


@pytest.mark.parametrize("address", SITE)
def test_usable_where_the_range_is_named(address: str) -> None:
    assert ip_address(address) not in PLAIN
    assert ip_address(address) in UsableAddresses(OWN, EVERYTHING)


@pytest.mark.parametrize("address", METADATA)
def test_usable_where_that_very_address_is_named(address: str) -> None:
    assert ip_address(address) not in PLAIN
    assert ip_address(address) not in UsableAddresses(OWN, EVERYTHING)
    assert ip_address(address) in UsableAddresses(OWN, (ip_network(address),))


def test_a_named_range_opens_itself_only() -> None:
    named = UsableAddresses((), (ip_network("10.1.0.0/16"), ip_network("fd01::/16")))
    assert ip_address("10.1.2.3") in named
    assert ip_address("fd01::1") in named
    assert ip_address("64:ff9b::10.1.2.3") in named
    assert ip_address("10.2.0.1") not in named
    assert ip_address("fd02::1") not in named
    assert ip_address("192.168.0.1") not in named
    assert ip_address("64:ff9b::10.2.0.1") not in named


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("2603:1000::1", []),
        ("2002:1401:203::1", ["20.1.2.3"]),
        ("64:ff9b::20.1.2.3", ["20.1.2.3"]),
        ("64:ff9b:1:ffff::20.1.2.3", ["20.1.2.3"]),
        ("64:ff9b:2::20.1.2.3", []),
        # The example of RFC 4380 section 4.
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", ["65.54.227.120", "192.0.2.45"]),
        ("2001:1::1", []),
    ],
)
def test_embedded(address: str, inside: list[str]) -> None:
    assert [str(each) for each in embedded_ipv4(ip_address(address))] == inside  # type: ignore[arg-type]


def test_unscoped() -> None:
    assert unscoped(ip_address("fe80::1%eth0")) == ip_address("fe80::1")
    assert unscoped(ip_address("192.0.2.1")) == ip_address("192.0.2.1")
