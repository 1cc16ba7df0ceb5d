"""The wiring of the fault lab as data; lab.py runs it.

```
 device .50.10 ──┐
 names  .50.53 ──┤ lan0   site   wan0 ── 100.64.9.0/30 ── isp ── 198.18.0.0/24 ── internet (any address)
 proxy  .50.30 ──┘ .50.1  (first firewall)          (second firewall)
```
The device's resolver lives in `names` (.53; .54 is the one the proxies ask), proxies in `proxy`. The
internet answers on any address, as in tests/lab.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.lab.namespace import Addresses

DEVICE, NAMES, PROXY, SITE, ISP, INTERNET = "device", "names", "proxy", "site", "isp", "internet"
ROLES = (DEVICE, NAMES, PROXY, SITE, ISP, INTERNET)

ADDRESSES: Mapping[str, Addresses] = {
    DEVICE: Addresses("192.168.50.10", "2001:db8:50::10"),
    NAMES: Addresses("192.168.50.53", "2001:db8:50::53"),
    PROXY: Addresses("192.168.50.30", "2001:db8:50::30"),
    SITE: Addresses("192.168.50.1", "2001:db8:50::1"),
    ISP: Addresses("100.64.9.2", "2001:db8:9::2"),
    INTERNET: Addresses("198.18.0.2", "2001:db8:ffff::2"),
}
PROXY_RESOLVER = "192.168.50.54"
PUBLIC_RESOLVER = "9.9.9.9"
_ISP_WAN = Addresses("198.18.0.1", "2001:db8:ffff::1")
_SITE_WAN = Addresses("100.64.9.1", "2001:db8:9::1")
_LAN4, _LAN6 = "192.168.50.0/24", "2001:db8:50::/64"


def sysctls(role: str) -> dict[str, str]:
    """Settings of one namespace, written before it has interfaces."""
    forwards = "1" if role in (SITE, ISP) else "0"
    return {
        "net/ipv6/conf/default/accept_dad": "0",
        "net/ipv6/conf/all/accept_dad": "0",
        "net/ipv6/conf/default/dad_transmits": "0",
        "net/ipv6/conf/default/router_solicitations": "0",
        "net/ipv6/conf/default/accept_ra": "0",
        "net/ipv4/conf/all/rp_filter": "0",
        "net/ipv4/conf/default/rp_filter": "0",
        "net/ipv4/ip_forward": forwards,
        "net/ipv6/conf/all/forwarding": forwards,
        "net/ipv4/conf/all/send_redirects": "0",
        "net/ipv4/conf/default/send_redirects": "0",
        # The lab's routers answer every packet they refuse: rate limits would hide ICMP errors by chance.
        "net/ipv4/icmp_ratelimit": "0",
        "net/ipv6/icmp/ratelimit": "0",
    }


def cables(names: Mapping[str, str]) -> str:
    """The virtual cables; both ends are made in their namespaces (unequal indexes: see tests/lab)."""
    ends = [
        (DEVICE, "eth0", SITE, "port_dev"),
        (NAMES, "eth0", SITE, "port_nam"),
        (PROXY, "eth0", SITE, "port_prx"),
        (SITE, "wan0", ISP, "lan0"),
        (INTERNET, "eth0", ISP, "wan0"),
    ]
    return "".join(
        f"link add {inner} netns {names[a]} index {10 + n} type veth"
        f" peer name {outer} netns {names[b]} index {110 + n}\n"
        for n, (a, inner, b, outer) in enumerate(ends)
    )


def configuration(role: str) -> str:
    """`ip -n NAMESPACE -batch` text: addresses, links up and routes of one namespace."""
    return "".join(line + "\n" for line in ("link set lo up", *_LINES[role]))


def _host(role: str, *more: str) -> tuple[str, ...]:
    own, router = ADDRESSES[role], ADDRESSES[SITE]
    return (
        f"addr add {own.v4}/24 dev eth0",
        f"addr add {own.v6}/64 dev eth0 nodad",
        *more,
        "link set eth0 up",
        f"route add default via {router.v4}",
        f"route add default via {router.v6}",
    )


_LINES: Mapping[str, tuple[str, ...]] = {
    DEVICE: _host(DEVICE),
    NAMES: _host(NAMES, f"addr add {PROXY_RESOLVER}/24 dev eth0"),
    PROXY: _host(PROXY),
    SITE: (
        "link add lan0 type bridge forward_delay 0 mcast_snooping 0",
        *(f"link set {port} master lan0" for port in ("port_dev", "port_nam", "port_prx")),
        f"addr add {ADDRESSES[SITE].v4}/24 dev lan0",
        f"addr add {ADDRESSES[SITE].v6}/64 dev lan0 nodad",
        f"addr add {_SITE_WAN.v4}/30 dev wan0",
        f"addr add {_SITE_WAN.v6}/64 dev wan0 nodad",
        *(f"link set {link} up" for link in ("port_dev", "port_nam", "port_prx", "lan0", "wan0")),
        f"route add default via {ADDRESSES[ISP].v4}",
        f"route add default via {ADDRESSES[ISP].v6}",
    ),
    ISP: (
        f"addr add {ADDRESSES[ISP].v4}/30 dev lan0",
        f"addr add {ADDRESSES[ISP].v6}/64 dev lan0 nodad",
        f"addr add {_ISP_WAN.v4}/24 dev wan0",
        f"addr add {_ISP_WAN.v6}/64 dev wan0 nodad",
        "link set lan0 up",
        "link set wan0 up",
        f"route add {_LAN4} via {_SITE_WAN.v4}",
        f"route add {_LAN6} via {_SITE_WAN.v6}",
        f"route add default via {ADDRESSES[INTERNET].v4}",
        f"route add default via {ADDRESSES[INTERNET].v6}",
    ),
    INTERNET: (
        f"addr add {ADDRESSES[INTERNET].v4}/24 dev eth0",
        f"addr add {ADDRESSES[INTERNET].v6}/64 dev eth0 nodad",
        # One segment per packet: a filter on packet sizes must see the sizes that a cable would carry.
        "link set eth0 gso_max_segs 1",
        "link set eth0 up",
        f"route add {_LAN4} via {_ISP_WAN.v4}",
        f"route add {_LAN6} via {_ISP_WAN.v6}",
        f"route add 100.64.9.0/30 via {_ISP_WAN.v4}",
        f"route add 2001:db8:9::/64 via {_ISP_WAN.v6}",
        "route add local default dev lo table main",
        "route add local ::/0 dev lo table main",
    ),
}
