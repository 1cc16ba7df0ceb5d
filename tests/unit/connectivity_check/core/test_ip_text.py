"""What is an address and what is a name: one answer for the whole package."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import connectivity_check
from connectivity_check.core.ip_text import ip_of


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", IPv4Address("192.0.2.7")),
        ("0.0.0.0", IPv4Address(0)),
        ("::", IPv6Address(0)),
        ("2001:DB8::7", IPv6Address("2001:db8::7")),
        ("::ffff:192.0.2.7", IPv6Address("::ffff:c000:207")),
        ("fe80::1%eth0", IPv6Address("fe80::1%eth0")),
    ],
)
def test_addresses(text: str, address: IPv4Address | IPv6Address) -> None:
    assert ip_of(text) == address
    assert ip_of(text), "usable as a condition, the unspecified address too"


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "api.example", "[::1]", "192.0.2.7:443", " 192.0.2.7", "192.0.2.7\n", "192.0.2.7/32",
        "127.1", "2130706433", "0x7f000001", "192.0.2.07", "1.2.3.4.5", "1.2.3.256", "1.2.3.4.",
        "\u0661.2.3.4", "12345::", ":", "1::2::3", "\0",
    ],
)  # fmt: skip
def test_names_and_nonsense(text: str) -> None:
    """Short, octal and hexadecimal forms are no addresses: a proxy or a resolver would read them as names."""
    assert ip_of(text) is None


@given(st.one_of(st.ip_addresses().map(str), st.text(max_size=30)))
def test_it_never_raises_and_what_it_gives_reads_back(text: str) -> None:
    found = ip_of(text)
    assert found is None or ip_address(str(found)) == found


def test_nobody_decides_it_by_himself() -> None:
    """A `try` around ip_address that falls back to "it is a name" is this function written once more."""
    package = Path(connectivity_check.__file__).parent
    again = re.compile(r"try:\n\s+.*\bip_address\(.*\n\s+except ValueError:")
    found = [path.name for path in package.rglob("*.py") if again.search(path.read_text(encoding="utf-8"))]
    assert found == ["ip_text.py"]
