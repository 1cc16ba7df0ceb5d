"""Faults that look like another one, or two at once: each was made to lead the checker astray."""

from __future__ import annotations

import asyncio
from functools import partial

from connectivity_check.failure import Failure as F
from tests.faults import proxies, world
from tests.faults.case import AT_SITE, Case, Make, both, dual_stack
from tests.faults.faults_dns import lie
from tests.faults.faults_http import plain
from tests.faults.faults_pac import PAC, forget_proxy_url, pac
from tests.faults.faults_proxy import no_way_but_the_proxy, squid
from tests.faults.faults_tcp import at, mute
from tests.faults.faults_tls import box, string
from tests.faults.lab import FaultLab
from tests.faults.middlebox import Do
from tests.faults.names import Record
from tests.faults.odd_proxy import OddProxy
from tests.faults.sockets import Peer
from tests.faults.web import Service
from tests.faults.world import BLOB, EDR, EVENTS, GW1, GW2, PLAIN, RELAY

_DEGRADED = frozenset({"degraded"})
_RESET = "REJECT --reject-with tcp-reset"
_CDN = "20.62.0.9"


def cdn(lab: FaultLab) -> None:
    """Two unrelated names have the same front end, as a CNAME chain tells."""
    for place in (GW1, BLOB):
        lab.truth[place.host] = Record((_CDN,), chain=("t-0009.t-msedge.example.net",))


def portal_host_only(lab: FaultLab) -> None:
    """A web filter redirects the connectivity test page, and nothing else, to its own page."""
    page = Service(status=302, body=b"", headers={"Location": "http://block.corp.example/?r=4"})
    plain(lambda request: page if request.header("host") == world.PORTAL_HOST else request.headers)(lab)


def every_other_mute(lab: FaultLab) -> None:
    """A busy box forgets every other connection for one name."""
    count = iter(range(10_000))
    box(lambda sni, address: Do.MUTE if sni == GW1.host and next(count) % 2 == 0 else Do.RELAY)(lab)


def rotating(lab: FaultLab) -> None:
    """A slow resolver, and a service that has another address in each answer."""
    addresses = tuple(f"20.60.2.{n}" for n in range(1, 9))
    lab.truth[GW1.host] = Record(addresses, rotating=True, delay_s=0.5)
    lab.rule(lab.site, "forward", "ip daddr 20.60.2.0/24 tcp dport 443 drop")


def slow_proxy(seconds: float) -> Make:
    """A proxy that thinks for a while before it does anything."""

    def make(lab: FaultLab) -> None:
        proxy = OddProxy(lab.stage, lab.proxy, lab.proxy_resolver, lambda host, port: None)

        async def serve(peer: Peer) -> None:
            await asyncio.sleep(seconds)
            await proxy.serve(peer)

        lab.proxy_url = f"http://{proxies.HOST}:{lab.serve(lab.proxy, serve)}"

    return make


def cut_at_own_address(lab: FaultLab) -> None:
    """The server of one address resets its own name, which is answered anywhere else."""
    box(lambda sni, address: Do.RESET if (sni, address) == (GW1.host, GW1.v4) else Do.RELAY, "isp")(lab)


def v6_behind_proxy(lab: FaultLab) -> None:
    """The proxy resolves to both families; IPv6 is rejected behind it."""
    dual_stack(lab)
    lab.rule(lab.isp, "forward", "meta nfproto ipv6 meta l4proto tcp reject")


def accept_relay(lab: FaultLab) -> None:
    """A gateway accepts the port of a relay for every address."""
    lab.truth[RELAY.host] = Record((RELAY.v4,))
    lab.divert(lab.site, f'iifname "lan0" tcp dport {RELAY.port}', mute)


def _shut_out(lab: FaultLab) -> None:
    lab.rule(lab.site, "forward", f"ip saddr {proxies.HOST} tcp dport {{ 80, 443 }} drop")


_LOOP = Record(chain=("loop.vendor.example.net", GW1.host))
_DENY_ZONE = "acl bad dstdomain .smartscreen.microsoft.com\nhttp_access deny bad"
_FALLBACKS = PAC.format('return "PROXY 192.168.50.30:3999; PROXY 192.168.50.30:3128; DIRECT";')

CASES = (
    Case("mix-cdn-dropped", "an address that unrelated names share is dropped", F.TCP_DROPPED,
         both(cdn, at("site", "drop", match=f"ip daddr {_CDN} tcp dport 443")), hits=(GW1, BLOB),
         blocked_by=AT_SITE),
    Case("mix-no-portal", "the portal test page is filtered, one host is dropped", F.TCP_DROPPED,
         both(portal_host_only, at("site", "drop")), blocked_by=AT_SITE),
    Case("mix-every-other-mute", "every other handshake is left without an answer", F.META_FLAKY,
         every_other_mute, outcomes=_DEGRADED, layers=frozenset({"tls"})),
    Case("mix-rotating-dns", "addresses that rotate, a slow resolver, and a drop", F.TCP_DROPPED, rotating,
         blocked_by=AT_SITE),
    Case("mix-cname-loop", "a CNAME that leads back to the name", F.DNS_NODATA, lie(_LOOP),
         also=frozenset({F.DNS_SERVFAIL})),
    Case("mix-v4-dropped", "IPv4 of one host dropped, IPv6 passes", F.META_FLAKY,
         both(dual_stack, at("site", "drop")), outcomes=_DEGRADED, layers=frozenset({"tcp"})),
    Case("mix-slow-proxy", "a proxy that takes 1.8 s for each tunnel", F.NET_SLOW,
         both(slow_proxy(1.8), no_way_but_the_proxy), way="odd proxy", all_hit=True,
         outcomes=_DEGRADED, layers=frozenset({"proxy", "http"})),
    Case("mix-slower-proxy", "a proxy that takes longer than a row has, for every name", F.PROXY_TIMEOUT,
         both(slow_proxy(4.0), no_way_but_the_proxy), way="odd proxy", all_hit=True),
    Case("mix-shut-proxy", "squid whose way out is dropped as a whole", F.PROXY_TIMEOUT,
         squid("", _shut_out, connect_timeout=60), way="squid", all_hit=True,
         also=frozenset({F.PROXY_UPSTREAM_TIMEOUT})),
    Case("mix-wildcard-denied", "squid denies a wildcard without a known host", F.PROXY_DENIED,
         squid(_DENY_ZONE), way="squid", hits=(), patterns=("*.smartscreen.microsoft.com",),
         pattern_hit="*.smartscreen.microsoft.com", outcomes=frozenset({"blocked", "unexplained"})),
    Case("mix-fake-accept-opaque", "a gateway accepts a port that speaks no TLS", F.TCP_FAKE_ACCEPT,
         accept_relay, hits=(RELAY,),
         outcomes=frozenset({"blocked", "unexplained"})),
    Case("mix-plain-403", "a box answers 403 without a page on port 80", F.HTTP_BLOCK_PAGE,
         plain(lambda request: Service(status=403, body=b"")
               if request.header("host") == PLAIN.host else request.headers),
         hits=(PLAIN,), also=frozenset({F.HTTP_STATUS}), outcomes=frozenset({"blocked", "degraded"})),
    Case("mix-two-rules", "one name reset, another host dropped", F.TLS_SNI_RESET,
         both(string(_RESET), at("site", "drop", match=f"ip daddr {EDR.v4} tcp dport 443")),
         hits=(GW1, EDR)),
    Case("mix-dns-and-proxy", "squid denies one name that does not resolve here either", F.PROXY_DENIED,
         squid(f"acl bad dstdomain {GW1.host}\nhttp_access deny bad", lie(Record(rcode=3))), way="squid"),
    Case("mix-cut-at-address", "a name is reset at its own address, and answered elsewhere", F.TLS_SNI_RESET,
         cut_at_own_address),
)  # fmt: skip

HEALTHY = (
    Case("ok-many-addresses", "60 addresses for one name", None,
         lie(Record(tuple(f"20.60.3.{n}" for n in range(1, 61))))),
    Case("ok-pac-fallback", "a PAC file whose first proxy is not there", None,
         squid("", pac(_FALLBACKS), forget_proxy_url), way="pac"),
    Case("ok-v6-behind-proxy", "squid with names of both families and no IPv6 behind it", None,
         both(partial(proxies.squid), v6_behind_proxy, no_way_but_the_proxy), way="squid"),
    Case("ok-proxy-thinks", "a proxy that takes 0.6 s for each tunnel", None,
         both(slow_proxy(0.6), no_way_but_the_proxy), way="odd proxy", hits=(GW2, EVENTS)),
)  # fmt: skip
