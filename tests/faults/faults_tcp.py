"""Faults of connecting: packets dropped, reset, refused, prohibited, limited; IPv6 and path MTU."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from connectivity_check.failure import Failure as F
from tests.faults import world
from tests.faults.case import AT_ISP, AT_SITE, BLOCKED, UNSURE, WORKS, Case, Make, both, dual_stack
from tests.faults.lab import FaultLab
from tests.faults.names import Record
from tests.faults.proxies import free_way
from tests.faults.sockets import Peer
from tests.faults.topology import ADDRESSES, DEVICE
from tests.faults.world import BLOB, CRL, EDR, EVENTS, GW1, GW2, GW3, LOGIN, SETTINGS, UPDATE

_MANY = (GW1, GW2, GW3, EDR, EVENTS, BLOB, SETTINGS, LOGIN, UPDATE)
_DEGRADED = frozenset({"degraded"})
_V6 = frozenset({"2001:db8:50::1"})


def at(
    where: str, verdict: str, *, chain: str = "forward", match: str = f"ip daddr {GW1.v4} tcp dport 443"
) -> Make:
    """A packet rule in one of the namespaces."""

    def make(lab: FaultLab) -> None:
        lab.rule(getattr(lab, where), chain, f"{match} {verdict}")

    return make


def route(where: str, text: str) -> Make:
    """A route in one of the namespaces."""

    def make(lab: FaultLab) -> None:
        lab.command(getattr(lab, where), "ip", "route", "add", *text.split())

    return make


async def mute(peer: Peer) -> None:
    """Accept, read, never answer."""
    while await peer.receive():
        pass
    await asyncio.sleep(60)


def _accept_all(lab: FaultLab) -> None:
    lab.divert(lab.site, 'iifname "lan0" tcp dport { 80, 443 }', mute)


def _limit(lab: FaultLab) -> None:
    lab.nft(
        lab.site,
        "table inet fault { set blocked { type ipv4_addr; flags dynamic,timeout; }\n"
        " chain forward { type filter hook forward priority 0;\n"
        f'  oifname != "wan0" accept\n  ip saddr != {ADDRESSES[DEVICE].v4} accept\n'
        "  tcp flags & (syn | ack) != syn accept\n"
        "  ip saddr @blocked drop\n"
        "  limit rate over 4/second burst 4 packets add @blocked { ip saddr timeout 4s } drop\n }\n}",
    )


def _slow_server(lab: FaultLab) -> None:
    lab.web.services[GW1.host] = replace(lab.web.services[GW1.host], handshake_delay_s=1.6, delay_s=1.6)


def _thin_line(lab: FaultLab) -> None:
    lab.web.services = {name: replace(service, padding=3000) for name, service in lab.web.services.items()}
    command = "tc qdisc add dev lan0 root tbf rate 96kbit burst 3000 latency 20s"
    lab.command(lab.isp, *command.split())


def _pmtu(lab: FaultLab) -> None:
    lab.web.services[GW1.host] = replace(lab.web.services[GW1.host], padding=3000)
    lab.rule(lab.isp, "forward", f"ip saddr {GW1.v4} ip length > 1000 drop")


def _pmtu_all(lab: FaultLab) -> None:
    lab.web.services = {name: replace(service, padding=3000) for name, service in lab.web.services.items()}
    lab.rule(lab.isp, "forward", "tcp sport 443 ip length > 1000 drop")


def _two_addresses(lab: FaultLab) -> None:
    lab.truth[GW1.host] = Record((GW1.v4, "20.60.1.11"))
    lab.rule(lab.isp, "forward", "ip daddr 20.60.1.11 tcp dport 443 drop")


_V6_RULE = f"ip6 daddr {GW1.v6} tcp dport 443"

CASES = (
    Case("tcp-drop-site", "first firewall drops one host", F.TCP_DROPPED, at("site", "drop"),
         blocked_by=AT_SITE),
    Case("tcp-drop-isp", "second firewall drops one host", F.TCP_DROPPED, at("isp", "drop"),
         blocked_by=AT_ISP),
    Case("tcp-drop-blackhole", "second firewall: blackhole route", F.TCP_DROPPED,
         route("isp", f"blackhole {GW1.v4}"), blocked_by=AT_SITE | AT_ISP),
    Case("tcp-drop-most", "all but one host dropped", F.TCP_DROPPED,
         at("site", "drop", match=f"ip daddr != {GW2.v4} tcp dport 443"), hits=(GW1, EDR, EVENTS, BLOB),
         blocked_by=AT_SITE),
    Case("tcp-drop-all", "everything to 80 and 443 dropped", F.TCP_DROPPED,
         at("site", "drop", match="tcp dport { 80, 443 }"), all_hit=True, outcomes=UNSURE,
         also=frozenset({F.META_UNEXPLAINED}), layers=frozenset({"meta"})),
    Case("tcp-drop-80", "port 80 dropped: certificate checks", F.REV_CRL,
         at("site", "drop", match="tcp dport 80"), hits=(CRL,), also=frozenset({F.TCP_DROPPED}),
         layers=frozenset({"tcp"}), blocked_by=AT_SITE),
    Case("tcp-drop-8443", "443 open, 8443 dropped", F.TCP_DROPPED,
         at("site", "drop", match="tcp dport 8443"), hits=(world.GW1_ALT,), blocked_by=AT_SITE),
    Case("tcp-drop-return", "answers dropped on the way back", F.TCP_DROPPED,
         at("isp", "drop", match=f"ip saddr {GW1.v4} tcp sport 443")),
    Case("tcp-reset-site", "first firewall resets", F.TCP_RESET_MIDDLEBOX, at("site",
         "reject with tcp reset"),
         blocked_by=AT_SITE),
    Case("tcp-reset-isp", "second firewall resets", F.TCP_RESET_MIDDLEBOX, at("isp", "reject with tcp reset"),
         blocked_by=AT_ISP),
    Case("tcp-reset-whole-host", "second firewall resets every port of the host", F.TCP_RESET_MIDDLEBOX,
         at("isp", "reject with tcp reset", match=f"ip daddr {GW1.v4} meta l4proto tcp"), blocked_by=AT_ISP),
    Case("tcp-refused-port", "server: nothing listens on 443", F.TCP_REFUSED_HOST,
         at("internet", "reject with tcp reset", chain="input")),
    Case("tcp-refused-host", "server: nothing listens at all", F.TCP_REFUSED_HOST,
         at("internet", "reject with tcp reset", chain="input", match=f"ip daddr {GW1.v4} meta l4proto tcp")),
    Case("tcp-icmp-admin-site", "ICMP 3/13 by the first firewall", F.TCP_ICMP_ADMIN,
         at("site", "reject with icmpx admin-prohibited"), blocked_by=AT_SITE),
    Case("tcp-icmp-admin-isp", "ICMP 3/13 by the second firewall", F.TCP_ICMP_ADMIN,
         at("isp", "reject with icmpx admin-prohibited"), blocked_by=AT_ISP),
    Case("tcp-icmp-net-prohibited", "ICMP 3/9", F.TCP_ICMP_ADMIN, at("site",
         "reject with icmp net-prohibited"),
         blocked_by=AT_SITE),
    Case("tcp-icmp-host-prohibited", "ICMP 3/10", F.TCP_ICMP_ADMIN, at("isp",
         "reject with icmp host-prohibited"),
         blocked_by=AT_ISP),
    Case("tcp-icmp-prohibit-route", "prohibit route", F.TCP_ICMP_ADMIN, route("isp", f"prohibit {GW1.v4}"),
         blocked_by=AT_ISP),
    Case("tcp-icmp-port-site", "default iptables REJECT, first firewall", F.TCP_ICMP_PORT,
         at("site", "reject with icmp port-unreachable"), blocked_by=AT_SITE),
    Case("tcp-icmp-port-isp", "default iptables REJECT, second firewall", F.TCP_ICMP_PORT,
         at("isp", "reject with icmp port-unreachable"), blocked_by=AT_ISP),
    Case("tcp-icmp6-admin", "dual stack, both families prohibited", F.TCP_ICMP_ADMIN,
         both(dual_stack, at("site", "reject with icmpx admin-prohibited"),
              at("site", "reject with icmpx admin-prohibited", match=_V6_RULE)), blocked_by=AT_SITE | _V6),
    Case("tcp-host-unreachable", "ICMP 3/1", F.TCP_NO_ROUTE, at("isp", "reject with icmp host-unreachable"),
         blocked_by=AT_ISP),
    Case("tcp-net-unreachable", "ICMP 3/0", F.TCP_NO_ROUTE, at("site", "reject with icmp net-unreachable"),
         blocked_by=AT_SITE),
    Case("tcp-unreachable-route", "no route at the second firewall", F.TCP_NO_ROUTE,
         route("isp", f"unreachable {GW1.v4}"), blocked_by=AT_ISP),
    Case("tcp-no-route-here", "this device has no route", F.TCP_NO_ROUTE, route("device", f"throw {GW1.v4}")),
    Case("tcp-unreachable-here", "this device: unreachable route", F.TCP_NO_ROUTE,
         route("device", f"unreachable {GW1.v4}")),
    Case("tcp-local-drop", "this device's own filter drops", F.TCP_LOCAL_BLOCK,
         at("device", "drop", chain="output")),
    Case("tcp-local-prohibit", "this device: prohibit route", F.TCP_LOCAL_BLOCK,
         route("device", f"prohibit {GW1.v4}")),
    Case("tcp-local-most", "this device's own filter: all but one", F.TCP_LOCAL_BLOCK,
         at("device", "drop", chain="output", match=f"ip daddr != {GW2.v4} tcp dport 443"),
         hits=(GW1, EDR, EVENTS, BLOB)),
    Case("tcp-fake-accept", "a gateway accepts everything and says nothing", F.TCP_FAKE_ACCEPT, _accept_all,
         all_hit=True, outcomes=UNSURE, layers=frozenset({"tls"})),
    Case("tcp-rate-limit", "a flow limit blocks the source for seconds", F.TCP_RATE_LIMITED, _limit,
         places=_MANY, anywhere=True, outcomes=BLOCKED | WORKS),
    Case("ip-v6-broken", "IPv6 of one host dropped", F.IP_V6_BROKEN,
         both(dual_stack, at("isp", "drop", match=_V6_RULE)), outcomes=_DEGRADED),
    Case("ip-v6-broken-all", "IPv6 dropped everywhere", F.IP_V6_BROKEN,
         both(dual_stack, at("isp", "drop", match="meta nfproto ipv6 meta l4proto tcp")), all_hit=True,
         outcomes=_DEGRADED),
    Case("ip-v6-rejected", "IPv6 of one host rejected by ICMPv6", F.IP_V6_BROKEN,
         both(dual_stack, at("site", "reject with icmpv6 no-route", match=_V6_RULE)), outcomes=_DEGRADED),
    Case("ip-pmtu-one", "big packets of one host vanish", F.IP_PMTU_HOLE, _pmtu, layers=frozenset({"tls"})),
    Case("ip-pmtu-all", "big packets vanish", F.IP_PMTU_HOLE, _pmtu_all, layers=frozenset({"tls"}),
         hits=(GW1, GW2, EDR, EVENTS, BLOB)),
    Case("net-slow-server", "one endpoint takes seconds a step", F.NET_SLOW, _slow_server,
         outcomes=_DEGRADED | {"reachable"}, layers=frozenset({"http", "tls"})),
    Case("net-slow-line", "a line of 96 kbit/s", F.NET_SLOW, _thin_line, anywhere=True,
         outcomes=BLOCKED | WORKS | {"unexplained"}, layers=frozenset({"http", "tls"})),
    Case("meta-flaky-address", "one of two addresses dropped", F.META_FLAKY, _two_addresses,
         outcomes=_DEGRADED, layers=frozenset({"tcp"})),
    Case("meta-service-down", "silent server, a free way to compare", F.META_SERVICE_DOWN,
         both(at("internet", "drop", chain="input"), free_way), layers=frozenset({"tcp"}),
         outcomes=frozenset({"blocked", "unexplained"})),
    Case("tcp-drop-control", "drop here, a free way to compare", F.TCP_DROPPED,
         both(at("site", "drop"), free_way), blocked_by=AT_SITE),
)  # fmt: skip
