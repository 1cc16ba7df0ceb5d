"""Faults of name resolution."""

from __future__ import annotations

from dns.rcode import REFUSED, SERVFAIL

from connectivity_check.failure import Failure as F
from tests.faults import proxies, world
from tests.faults.case import BLOCKED, UNSURE, WORKS, Case, Make, both
from tests.faults.lab import FaultLab
from tests.faults.middlebox import Posing, TlsBox
from tests.faults.names import NXDOMAIN, Record
from tests.faults.topology import ADDRESSES, NAMES
from tests.faults.web import HTML, Service
from tests.faults.world import EDR, EVENTS, GW1, GW2, GW3

_BY = frozenset({ADDRESSES[NAMES].v4})


def lie(record: Record, *names: str) -> Make:
    """The device's resolver answers these names (GW1 when none is given) in this way."""

    def make(lab: FaultLab) -> None:
        for name in names or (GW1.host,):
            lab.resolver.lies[name] = record

    return make


def second_opinion(lab: FaultLab) -> None:
    """Give the checker another resolver to compare with."""
    lab.arguments += ["--control-resolver", "9.9.9.9"]


def _no_dns(lab: FaultLab) -> None:
    lab.rule(lab.site, "input", "th dport 53 drop")
    lab.rule(lab.names, "input", f"ip saddr {lab.device.addresses.v4} th dport 53 drop")


def _resolver_closed(lab: FaultLab) -> None:
    lab.rule(lab.names, "input", f"ip saddr {lab.device.addresses.v4} th dport 53 reject")


def _block_server(lab: FaultLab) -> None:
    lab.resolver.lies |= {p.host: Record((world.BLOCK_SERVER,)) for p in (GW1, EVENTS, world.BLOB)}
    lab.rule(lab.isp, "forward", f"ip daddr {world.BLOCK_SERVER} tcp dport 443 drop")


def _wrong_server(lab: FaultLab) -> None:
    lab.resolver.lies[GW1.host] = Record((world.ELSEWHERE,))
    _stranger(lab, world.ELSEWHERE, "www.example.net")


def _stranger(lab: FaultLab, address: str, name: str) -> None:
    """At this address is a server with a certificate for another name."""
    service = Service(certificate_names=(name,), body=HTML, content_type="text/html")
    box = TlsBox(lab.stage, lab.isp, lab.web, lambda sni, aimed: Posing(service))
    lab.divert(lab.isp, f"ip daddr {address} tcp dport 443", box.serve)


def _rewrite(lab: FaultLab) -> None:
    _rewrite_only(lab)
    lab.resolver.lies[GW1.host] = lab.resolver.unknown


def _rewrite_only(lab: FaultLab) -> None:
    lab.resolver.unknown = Record(("203.1.113.9",))
    _stranger(lab, "203.1.113.9", "search.isp.example")


def _private_server(lab: FaultLab) -> None:
    lab.resolver.lies[GW1.host] = Record(("10.20.30.40",))
    _stranger(lab, "10.20.30.40", "intranet.corp.example")


def _hosts_file(lab: FaultLab) -> None:
    lab.mount_in_device(f"127.0.0.1 localhost\n127.0.0.1 {GW1.host}\n", "/etc/hosts")


def _hosts_other(lab: FaultLab) -> None:
    lab.mount_in_device(f"127.0.0.1 localhost\n{world.GW2.v4} {GW1.host}\n", "/etc/hosts")


def _everywhere_answered(lab: FaultLab) -> None:
    """An inline filter answers NXDOMAIN for the name, whichever resolver is asked."""
    lab.resolver.lies[GW1.host] = NXDOMAIN
    lab.rule(lab.site, "dstnat", f"ip saddr {lab.device.addresses.v4} udp dport 53 dnat ip to 192.168.50.53")
    lab.rule(lab.site, "dstnat", f"ip saddr {lab.device.addresses.v4} tcp dport 53 dnat ip to 192.168.50.53")
    # The device and the resolver share a segment: without this the answer would bypass the router.
    lab.nft(
        lab.site,
        "table inet back {\nchain post {\ntype nat hook postrouting priority srcnat;\n"
        "ip daddr 192.168.50.53 th dport 53 masquerade\n}\n}\n",
    )


_LINK = Record(("10.20.30.41",), chain=("automatedirstrprdneu.privatelink.blob.core.windows.net",))
_FORGED = Record((GW1.v4,), forged=NXDOMAIN)

CASES = (
    Case("dns-nxdomain", "resolver policy: NXDOMAIN for one name", F.DNS_NXDOMAIN, lie(NXDOMAIN),
         blocked_by=_BY),
    Case("dns-nxdomain-ede", "NXDOMAIN with extended error 15 (blocked)", F.DNS_NXDOMAIN,
         lie(Record(rcode=3, ede=(15, "blocked by policy"))), blocked_by=_BY),
    Case("dns-nxdomain-zone", "no forwarder for a whole zone", F.DNS_NXDOMAIN,
         lie(NXDOMAIN, "*.endpoint.security.microsoft.com"), hits=(EDR,), blocked_by=_BY),
    Case("dns-nxdomain-all", "resolver knows no outside name", F.DNS_NXDOMAIN, lie(NXDOMAIN, "*"),
         all_hit=True, outcomes=UNSURE, blocked_by=_BY),
    Case("dns-nxdomain-control", "NXDOMAIN, another resolver to compare", F.DNS_NXDOMAIN,
         both(lie(NXDOMAIN), second_opinion), blocked_by=_BY),
    Case("dns-nodata", "empty answer for one name", F.DNS_NODATA, lie(Record()), blocked_by=_BY),
    Case("dns-refused", "resolver refuses one name", F.DNS_REFUSED, lie(Record(rcode=REFUSED)),
         blocked_by=_BY),
    Case("dns-refused-all", "resolver refuses this client", F.DNS_REFUSED, lie(Record(rcode=REFUSED), "*"),
         all_hit=True, outcomes=UNSURE, blocked_by=_BY),
    Case("dns-servfail", "SERVFAIL with extended error 6 (DNSSEC bogus)", F.DNS_SERVFAIL,
         lie(Record(rcode=SERVFAIL, ede=(6, "DNSSEC bogus"))), blocked_by=_BY),
    Case("dns-timeout-name", "forwarder drops one zone", F.DNS_TIMEOUT, lie(Record(silent=True)),
         blocked_by=_BY),
    Case("dns-timeout-udp", "one name: UDP lost, TCP answered", F.DNS_TIMEOUT, lie(Record(silent_udp=True)),
         outcomes=frozenset({"blocked", "degraded"}), blocked_by=_BY),
    Case("dns-timeout-all", "port 53 to the resolver dropped", F.DNS_TIMEOUT, _no_dns, all_hit=True,
         outcomes=UNSURE, blocked_by=_BY),
    Case("dns-refused-port", "nothing listens on the resolver (ICMP port unreachable)", F.DNS_TIMEOUT,
         _resolver_closed, all_hit=True, outcomes=UNSURE, blocked_by=_BY),
    Case("dns-sinkhole-zero", "sinkhole 0.0.0.0", F.DNS_SINKHOLE, lie(Record(("0.0.0.0",), ("::",))),
         blocked_by=_BY),
    Case("dns-sinkhole-loopback", "sinkhole 127.0.0.1", F.DNS_SINKHOLE, lie(Record(("127.0.0.1",))),
         blocked_by=_BY),
    Case("dns-sinkhole-shared", "one block server for unrelated names", F.DNS_SINKHOLE, _block_server,
         hits=(GW1, EVENTS, world.BLOB), places=(*world.USUAL, GW3, world.SETTINGS), blocked_by=_BY),
    Case("dns-private", "private address without Private Link", F.DNS_PRIVATE_ANSWER,
         lie(Record(("10.20.30.40",))), blocked_by=_BY),
    Case("dns-private-link", "Private Link zone for a resource that is not there", F.DNS_PRIVATE_ANSWER,
         lie(_LINK, world.BLOB.host), hits=(world.BLOB,), blocked_by=_BY),
    Case("dns-private-server", "private address of a server of the site", F.DNS_PRIVATE_ANSWER,
         _private_server,
         blocked_by=_BY, layers=frozenset({"tls"})),
    Case("dns-inconsistent", "forged address of another server", F.DNS_INCONSISTENT,
         both(_wrong_server, second_opinion), blocked_by=_BY),
    Case("dns-injected", "inline filter answers first", F.DNS_INJECTED, lie(_FORGED)),
    Case("dns-injected-any", "inline filter answers for every resolver", F.DNS_INJECTED,
         _everywhere_answered),
    Case("dns-nx-rewrite", "unknown names resolve to a search page", F.DNS_NX_REWRITE, _rewrite,
         layers=frozenset({"tls"})),
    Case("dns-nx-rewrite-only", "unknown names resolve, listed ones are right", F.DNS_NX_REWRITE,
         _rewrite_only,
         outcomes=WORKS, anywhere=True),
    Case("dns-hosts-file", "hosts file points to loopback", F.DNS_LOCAL_OVERRIDE, _hosts_file,
         outcomes=BLOCKED, layers=frozenset({"tcp"})),
    Case("dns-hosts-other", "hosts file points to another server", F.DNS_LOCAL_OVERRIDE, _hosts_other,
         outcomes=frozenset({"blocked", "degraded"})),
    Case("dns-proxy-only", "no DNS here, the proxy resolves", F.DNS_PROXY_ONLY, both(proxies.squid, _no_dns),
         way="squid", outcomes=WORKS, anywhere=True),
    Case("dns-nxdomain-squid", "NXDOMAIN here, the proxy resolves", F.DNS_PROXY_ONLY,
         both(proxies.squid, lie(NXDOMAIN)), way="squid", outcomes=WORKS),
    Case("dns-wpad-sibling", "NXDOMAIN for the second gateway only", F.DNS_NXDOMAIN, lie(NXDOMAIN, GW2.host),
         hits=(GW2,), blocked_by=_BY),
)  # fmt: skip
