"""A device, two routers and a host in a row, to see what a connection attempt tells about each of them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

from tests.lab.leftovers import own_name
from tests.lab.namespace import Addresses, Namespace

_SERIALS = count(9000)
"""Apart from the numbers of the big labs; the names follow the same pattern, so leftovers are found."""
_ROLES = ("device", "near", "far", "host")
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv6/icmp/ratelimit": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/all/accept_dad": "0",
}


@dataclass(frozen=True, slots=True)
class RouterChain:
    """device 10.9.0.1 - 10.9.0.2 near 10.9.1.1 - 10.9.1.2 far 10.9.2.1 - 10.9.2.2 host; IPv6 alike."""

    device: Namespace
    near: Namespace
    far: Namespace
    host: Namespace

    @staticmethod
    def target(family: int) -> str:
        """The host's address."""
        return "10.9.2.2" if family == 4 else "2001:db8:9:2::2"

    @staticmethod
    def near_router(family: int) -> str:
        """The address with which the first router answers the device."""
        return "10.9.0.2" if family == 4 else "2001:db8:9::2"

    @staticmethod
    def far_router(family: int) -> str:
        """The address with which the second router answers the device."""
        return "10.9.1.2" if family == 4 else "2001:db8:9:1::2"

    @staticmethod
    def own(family: int) -> str:
        """The device's address."""
        return "10.9.0.1" if family == 4 else "2001:db8:9::1"

    def load(self, namespace: Namespace, rules: str) -> None:
        """Replace the namespace's whole ruleset."""
        argv = ["ip", "netns", "exec", namespace.name, "nft", "-f", "-"]
        subprocess.run(argv, input="flush ruleset\n" + rules, text=True, check=True, timeout=10)

    def filter(self, namespace: Namespace, statement: str, *, hook: str = "forward") -> None:
        """Apply one nft statement to everything at a hook, such as `tcp dport 443 drop`."""
        rules = f"table inet t {{\nchain c {{\ntype filter hook {hook} priority 0;\n{statement}\n}}\n}}\n"
        self.load(namespace, rules)

    def clear(self) -> None:
        """Take every rule away again."""
        for namespace in (self.device, self.near, self.far, self.host):
            self.load(namespace, "")


@contextmanager
def router_chain(directory: Path) -> Iterator[RouterChain]:
    """Make the chain, and remove it whatever happens."""
    name = own_name(next(_SERIALS))
    spaces = {
        role: Namespace(name.of(role), role, Addresses("", ""), directory / f"{role}.conf") for role in _ROLES
    }
    try:
        for space in spaces.values():
            _ip("netns", "add", space.name)
            space.write_sysctls(_SYSCTLS)
        _wire([space.name for space in spaces.values()])
        for space in spaces.values():
            space.wait_for_carrier()
        yield RouterChain(**spaces)
    finally:
        for space in spaces.values():
            space.close()
            subprocess.run(["ip", "netns", "del", space.name], check=False, capture_output=True, timeout=10)


def _wire(names: Sequence[str]) -> None:
    for n, (left, right) in enumerate(pairwise(names)):
        # Unequal indexes: see tests/lab/topology.py, cables.
        _ip(
            *("link", "add", "right", "netns", left, "index", str(20 + n), "type", "veth"),
            *("peer", "name", "left", "netns", right, "index", str(120 + n)),
        )
        net6 = f"2001:db8:9:{n}::" if n else "2001:db8:9::"
        for name, side, last in ((left, "right", 1), (right, "left", 2)):
            _ip("-n", name, "addr", "add", f"10.9.{n}.{last}/24", "dev", side)
            _ip("-n", name, "addr", "add", f"{net6}{last}/64", "dev", side, "nodad")
            _ip("-n", name, "link", "set", side, "up")
    for name in names:
        _ip("-n", name, "link", "set", "lo", "up")
    device, near, far, host = names
    for name, hop4, hop6 in (
        (device, "10.9.0.2", "2001:db8:9::2"),
        (near, "10.9.1.2", "2001:db8:9:1::2"),
        (far, "10.9.1.1", "2001:db8:9:1::1"),
        (host, "10.9.2.1", "2001:db8:9:2::1"),
    ):
        _ip("-n", name, "route", "add", "default", "via", hop4)
        _ip("-n", name, "route", "add", "default", "via", hop6)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)
