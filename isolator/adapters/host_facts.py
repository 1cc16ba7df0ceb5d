"""HostInspector for Linux: what files and the kernel say about this host."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Address
from isolator.ports import HostFacts

_AF_NETLINK = 16
_GET_ADDRESSES = 22
_DUMP_REQUEST = 0x301
_ERROR, _DONE = 2, 3
_LONGEST_FILE = 1024 * 1024
"""Bytes read of a lease or resolver file; the newest entries are at the end."""

_SERVER_LINE = re.compile(r"^SERVER_ADDRESS=(\S+)$", re.MULTILINE)
"""systemd-networkd and NetworkManager's internal client."""

_LEASE = re.compile(r"\blease\s*\{(.*?)\n\}", re.DOTALL)
_LEASE_INTERFACE = re.compile(r'^\s*interface\s+"([^"]*)"', re.MULTILINE)
_LEASE_SERVER = re.compile(r"^\s*option\s+dhcp-server-identifier\s+([0-9.]+)\s*;", re.MULTILINE)
"""dhclient.leases(5)."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look."""

    resolver_file: Path = Path("/etc/resolv.conf")
    upstream_files: tuple[Path, ...] = (
        Path("/run/systemd/resolve/resolv.conf"),
        Path("/run/NetworkManager/no-stub-resolv.conf"),
    )
    key_value_leases: tuple[tuple[Path, str], ...] = (
        (Path("/run/systemd/netif/leases"), "*"),
        (Path("/var/lib/NetworkManager"), "internal-*.lease"),
    )
    dhclient_leases: tuple[tuple[Path, str], ...] = (
        (Path("/var/lib/dhcp"), "dhclient*.leases"),
        (Path("/var/lib/dhclient"), "dhclient*.leases"),
        (Path("/var/lib/NetworkManager"), "dhclient-*.lease"),
    )


class LinuxHostInspector:
    """Facts about the calling thread's network namespace. Files that are missing say nothing."""

    def __init__(self, places: Places | None = None) -> None:
        self._places = places or Places()

    def facts(self) -> HostFacts:
        """As of now. IsolatorError when the kernel does not list this host's addresses."""
        return HostFacts(
            resolvers=resolvers(self._places),
            own_addresses=own_addresses(),
            dhcp_servers=dhcp_servers(self._places),
        )


def resolvers(places: Places) -> tuple[Address, ...]:
    """Name servers in their order, without stubs on this host; empty when none is known.

    Where a stub is all there is, what systemd-resolved or NetworkManager say they ask upstream.
    Link-local IPv6 addresses keep their scope (fe80::1%eth0).
    """
    listed = _name_servers(places.resolver_file)
    real = _remote(listed)
    if real:
        return real
    for path in places.upstream_files:
        upstream = _remote(_name_servers(path))
        if upstream:
            return upstream
    return ()


def _remote(addresses: Iterable[Address]) -> tuple[Address, ...]:
    kept = (each for each in addresses if not (each.is_loopback or each.is_unspecified or each.is_multicast))
    return tuple(dict.fromkeys(kept))


def _name_servers(path: Path) -> Iterator[Address]:
    """The `nameserver` lines of a resolv.conf(5); a line that is not an address is passed over."""
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            yield from _addresses(words[1])


def _addresses(word: str) -> Iterator[Address]:
    try:
        address = ip_address(word)
    except ValueError:
        return
    mapped = address.ipv4_mapped if address.version == 6 else None
    yield mapped or address


def dhcp_servers(places: Places) -> tuple[Address, ...]:
    """Servers that gave this host its leases, by systemd-networkd, NetworkManager or dhclient.

    Of a dhclient file the last lease of each interface counts. Broadcast is no server.
    """
    found: list[str] = []
    for path in _matching(places.key_value_leases):
        found += _SERVER_LINE.findall(_text(path))
    for path in _matching(places.dhclient_leases):
        newest: dict[str, str] = {}
        for lease in _LEASE.findall(_text(path)):
            interface, server = _LEASE_INTERFACE.search(lease), _LEASE_SERVER.search(lease)
            if server:
                newest[interface.group(1) if interface else ""] = server.group(1)
        found += newest.values()
    servers = _remote(address for word in found for address in _addresses(word))
    return tuple(each for each in servers if str(each) != "255.255.255.255")


def _matching(places: Iterable[tuple[Path, str]]) -> Iterator[Path]:
    for directory, pattern in places:
        try:
            yield from sorted(directory.glob(pattern))
        except OSError:
            continue


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LONGEST_FILE))
            return file.read(_LONGEST_FILE).decode("utf-8", "replace")
    except OSError:
        return ""


def own_addresses() -> tuple[Address, ...]:
    """Every address of this network namespace but the loopback ones, by rtnetlink(7); no scopes."""
    request = struct.pack("=IHHII", 20, _GET_ADDRESSES, _DUMP_REQUEST, 1, 0) + bytes(4)
    try:
        with socket.socket(_AF_NETLINK, socket.SOCK_RAW, 0) as asking:
            asking.setblocking(False)
            asking.send(request)
            found = list(_dumped(asking))
    except OSError as error:
        sentence = f"the kernel does not list this host's addresses: {error}"
        raise IsolatorError(FailureCode.NOT_SUPPORTED, "read own addresses", sentence) from error
    return tuple(dict.fromkeys(each for each in found if not each.is_loopback))


def _dumped(asking: socket.socket) -> Iterator[Address]:
    while True:
        data, offset = asking.recv(262144), 0
        while offset + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, offset)
            if kind in (_ERROR, _DONE):
                return
            fields = _attributes(data[offset + 24 : offset + length])
            # IFA_LOCAL is ours where a point-to-point link has the peer in IFA_ADDRESS.
            packed = fields.get(2, fields.get(1))
            if packed is not None:
                yield ip_address(packed)
            offset += max(16, length + 3 & ~3)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        found[kind] = data[offset + 4 : offset + length]
        offset += max(4, length + 3 & ~3)
    return found
