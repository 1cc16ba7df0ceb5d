"""The wiring of the lab as data: addresses, interfaces, sysctls, and the ``ip -batch`` text that makes them.

The drawing is in README.md. Everything here is pure; lab.py runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.lab.namespace import Addresses

DEVICE, ROUTER, INTERNET, NEIGHBOUR, CONTAINER = "device", "router", "internet", "neighbour", "container"

UPLINK = "eth0"
"""The device's interface towards the LAN."""
JUDGE_PORT = "port_dev"
"""The router's end of that cable: what is seen here is on the wire, outside the device."""

LAN_PREFIX4, LAN_PREFIX6 = "192.168.50.0/24", "2001:db8:50::/64"
CONTAINER_PREFIX4, CONTAINER_PREFIX6 = "10.88.0.0/24", "2001:db8:88::/64"

ADDRESSES: Mapping[str, Addresses] = {
    DEVICE: Addresses("192.168.50.10", "2001:db8:50::10"),
    ROUTER: Addresses("192.168.50.1", "2001:db8:50::1"),
    NEIGHBOUR: Addresses("192.168.50.20", "2001:db8:50::20"),
    INTERNET: Addresses("198.18.0.2", "2001:db8:ffff::2"),
    CONTAINER: Addresses("10.88.0.2", "2001:db8:88::2"),
}
SECOND_RESOLVER = Addresses("192.168.50.53", "2001:db8:50::53")
"""Two more addresses of the router, free for a resolver that a test brings along."""

_ROUTER_WAN = Addresses("198.18.0.1", "2001:db8:ffff::1")
_DEVICE_INNER = Addresses("10.88.0.1", "2001:db8:88::1")


@dataclass(frozen=True, slots=True)
class Topology:
    """Which optional parts this lab has."""

    container: bool = False
    rp_filter: int = 2
    """The device's reverse path filter; 2 (loose) is what Debian's systemd sets."""

    @property
    def roles(self) -> tuple[str, ...]:
        base = (DEVICE, ROUTER, INTERNET, NEIGHBOUR)
        return (*base, CONTAINER) if self.container else base


def sysctls(topology: Topology, role: str) -> dict[str, str]:
    """Settings of one namespace, written before it has interfaces (those take the defaults when made)."""
    forwards = role == ROUTER or (role == DEVICE and topology.container)
    rp_filter = str(topology.rp_filter) if role == DEVICE else "0"
    settings = {
        # No duplicate address detection and no router solicitations: addresses are usable at once.
        "net/ipv6/conf/default/accept_dad": "0",
        "net/ipv6/conf/all/accept_dad": "0",
        "net/ipv6/conf/default/dad_transmits": "0",
        "net/ipv6/conf/default/router_solicitations": "0",
        "net/ipv6/conf/default/accept_ra": "0",
        "net/ipv4/conf/all/rp_filter": rp_filter,
        "net/ipv4/conf/default/rp_filter": rp_filter,
        "net/ipv4/ip_forward": "1" if forwards else "0",
        "net/ipv6/conf/all/forwarding": "1" if forwards else "0",
    }
    if role == ROUTER:
        # A redirect would tell the device about the neighbour's address and change what a test measures.
        settings |= {"net/ipv4/conf/all/send_redirects": "0", "net/ipv4/conf/default/send_redirects": "0"}
    return settings


def cables(topology: Topology, names: Mapping[str, str]) -> str:
    """The virtual cables; each end is made in its namespace, so nothing appears in the machine's own."""
    ends = [
        (DEVICE, UPLINK, ROUTER, JUDGE_PORT),
        (NEIGHBOUR, "eth0", ROUTER, "port_nbr"),
        (INTERNET, "eth0", ROUTER, "wan0"),
    ]
    if topology.container:
        ends.append((CONTAINER, "eth0", DEVICE, "ctr0"))
    # Unequal indexes on purpose: a link whose own index equals its peer's (both 2, say) is taken for one
    # without a peer, and the kernel's link watcher then lets up to a second pass before the carrier counts.
    return "".join(
        f"link add {inner} netns {names[a]} index {10 + n} type veth"
        f" peer name {outer} netns {names[b]} index {110 + n}\n"
        for n, (a, inner, b, outer) in enumerate(ends)
    )


def configuration(topology: Topology, role: str) -> str:
    """``ip -n NAMESPACE -batch`` text: addresses, links up and routes of one namespace."""
    lines = ["link set lo up", *_BASE[role]]
    if topology.container:
        lines += _WITH_CONTAINER.get(role, ())
    return "".join(line + "\n" for line in lines)


def _host(role: str) -> tuple[str, ...]:
    own, router = ADDRESSES[role], ADDRESSES[ROUTER]
    return (
        f"addr add {own.v4}/24 dev eth0",
        f"addr add {own.v6}/64 dev eth0 nodad",
        "link set eth0 up",
        f"route add default via {router.v4}",
        f"route add default via {router.v6}",
    )


_BASE: Mapping[str, tuple[str, ...]] = {
    DEVICE: _host(DEVICE),
    NEIGHBOUR: _host(NEIGHBOUR),
    ROUTER: (
        "link add lan0 type bridge forward_delay 0 mcast_snooping 0",
        f"link set {JUDGE_PORT} master lan0",
        "link set port_nbr master lan0",
        f"addr add {ADDRESSES[ROUTER].v4}/24 dev lan0",
        f"addr add {SECOND_RESOLVER.v4}/24 dev lan0",
        f"addr add {ADDRESSES[ROUTER].v6}/64 dev lan0 nodad",
        f"addr add {SECOND_RESOLVER.v6}/64 dev lan0 nodad",
        f"addr add {_ROUTER_WAN.v4}/24 dev wan0",
        f"addr add {_ROUTER_WAN.v6}/64 dev wan0 nodad",
        f"link set {JUDGE_PORT} up",
        "link set port_nbr up",
        "link set lan0 up",
        "link set wan0 up",
        f"route add default via {ADDRESSES[INTERNET].v4}",
        f"route add default via {ADDRESSES[INTERNET].v6}",
    ),
    INTERNET: (
        f"addr add {ADDRESSES[INTERNET].v4}/24 dev eth0",
        f"addr add {ADDRESSES[INTERNET].v6}/64 dev eth0 nodad",
        "link set eth0 up",
        f"route add {LAN_PREFIX4} via {_ROUTER_WAN.v4}",
        f"route add {LAN_PREFIX6} via {_ROUTER_WAN.v6}",
        # Every other address of the world is local here: a server answers on any without adding it.
        # In table main, or the local table (looked up first) would swallow the routes back to the LAN too.
        "route add local default dev lo table main",
        "route add local ::/0 dev lo table main",
    ),
    CONTAINER: (
        f"addr add {ADDRESSES[CONTAINER].v4}/24 dev eth0",
        f"addr add {ADDRESSES[CONTAINER].v6}/64 dev eth0 nodad",
        "link set eth0 up",
        f"route add default via {_DEVICE_INNER.v4}",
        f"route add default via {_DEVICE_INNER.v6}",
    ),
}

_WITH_CONTAINER: Mapping[str, tuple[str, ...]] = {
    DEVICE: (
        f"addr add {_DEVICE_INNER.v4}/24 dev ctr0",
        f"addr add {_DEVICE_INNER.v6}/64 dev ctr0 nodad",
        "link set ctr0 up",
    ),
    ROUTER: (
        f"route add {CONTAINER_PREFIX4} via {ADDRESSES[DEVICE].v4}",
        f"route add {CONTAINER_PREFIX6} via {ADDRESSES[DEVICE].v6}",
    ),
    INTERNET: (
        f"route add {CONTAINER_PREFIX4} via {_ROUTER_WAN.v4}",
        f"route add {CONTAINER_PREFIX6} via {_ROUTER_WAN.v6}",
    ),
    NEIGHBOUR: (
        f"route add {CONTAINER_PREFIX4} via {ADDRESSES[DEVICE].v4}",
        f"route add {CONTAINER_PREFIX6} via {ADDRESSES[DEVICE].v6}",
    ),
}
