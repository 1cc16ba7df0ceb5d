"""Faults at, in and behind proxies. The device has no other way out, as on most sites with a proxy."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from connectivity_check.failure import Failure as F
from tests.faults import pki, proxies, world
from tests.faults.case import UNSURE, WORKS, Case, Make, both
from tests.faults.faults_tcp import at, mute
from tests.faults.lab import FaultLab
from tests.faults.names import NXDOMAIN, Record
from tests.faults.odd_proxy import Judge, Reply, status
from tests.faults.sockets import Peer
from tests.faults.topology import ADDRESSES, DEVICE, NAMES
from tests.faults.web import Service, read_request, response
from tests.faults.world import EDR, EVENTS, GW1, GW1_ALT, GW2

_TLS, _TCP = frozenset({"tls"}), frozenset({"tcp"})
_ANY: dict[str, Any] = {"outcomes": UNSURE, "all_hit": True}


def no_way_but_the_proxy(lab: FaultLab) -> None:
    """The first firewall lets only the proxies out."""
    lab.rule(lab.site, "forward", f'oifname "wan0" ip saddr {ADDRESSES[DEVICE].v4} meta l4proto tcp drop')


def through(start: Make, *faults: Make) -> Make:
    """A site with this proxy and these faults."""
    return both(start, no_way_but_the_proxy, *faults)


def squid(rules: str = "", *faults: Make, connect_timeout: int = 3) -> Make:
    """A site with squid."""
    return through(partial(proxies.squid, rules=rules, connect_timeout=connect_timeout), *faults)


def tiny(*faults: Make, filtered: tuple[str, ...] = ()) -> Make:
    """A site with tinyproxy."""
    return through(partial(proxies.tinyproxy, filtered=filtered), *faults)


def socks(*faults: Make) -> Make:
    """A site with microsocks."""
    return through(proxies.microsocks, *faults)


def odd(judge: Judge, *faults: Make) -> Make:
    """A site with our own proxy."""
    return through(partial(proxies.odd, judge=judge), *faults)


def for_gw1(reply: Reply) -> Judge:
    """The proxy answers so for GW1 and tunnels for the rest."""
    return lambda host, port: reply if host in (GW1.host, GW1.v4) else None


def for_all(reply: Reply) -> Judge:
    """The proxy answers so for everything."""
    return lambda host, port: reply


def proxy_lie(record: Record, *names: str) -> Make:
    """The proxies' resolver answers these names (GW1 when none is given) in this way."""

    def make(lab: FaultLab) -> None:
        for name in names or (GW1.host,):
            lab.proxy_resolver.lies[name] = record

    return make


def instead_of_proxy(first: bytes | None, port: int = 3128) -> Make:
    """Something else listens where the proxy is said to be; None: it is silent."""

    async def serve(peer: Peer) -> None:
        if first is None:
            await mute(peer)
            return
        await peer.send(first)
        await peer.receive()
        await asyncio.sleep(0.2)

    def make(lab: FaultLab) -> None:
        lab.serve(lab.proxy, serve, port)
        lab.proxy_url = f"http://{proxies.HOST}:{port}"

    return make


def _web_server(lab: FaultLab) -> None:
    async def serve(peer: Peer) -> None:
        request = await read_request(peer)
        if request is not None:
            page = Service(
                status=405, body=b"<html><title>405 Not Allowed</title></html>", content_type="text/html"
            )
            await peer.send(response(page, request))

    lab.serve(lab.proxy, serve, 8081)
    lab.proxy_url = f"http://{proxies.HOST}:8081"


def _tls_server(lab: FaultLab) -> None:
    context = pki.server_context(lab.directory, pki.Leaf(("proxy.corp.example",)))

    async def serve(peer: Peer) -> None:
        await peer.start_tls(context)

    lab.serve(lab.proxy, serve, 8443)
    lab.proxy_url = f"http://{proxies.HOST}:8443"


def named(url: str) -> Make:
    """The proxy is configured by this URL."""

    def make(lab: FaultLab) -> None:
        lab.proxy_url = url

    return make


def _mdatp(proxy: str) -> Make:
    def make(lab: FaultLab) -> None:
        text = json.dumps({"cloudService": {"enabled": True, "proxy": proxy}})
        lab.write("machine/etc/opt/microsoft/mdatp/managed/mdatp_managed.json", text)
        lab.write("machine/etc/environment", f"https_proxy=http://{proxies.HOST}:3128\n")
        lab.arguments += ["--settings", str(lab.directory / "machine")]

    return make


_DENY = "acl bad dstdomain {0}\nhttp_access deny bad"
SQUID_AUTH = (
    "auth_param basic program /usr/lib/squid/basic_ncsa_auth /dev/null\nauth_param basic realm corp\n"
    "acl known proxy_auth REQUIRED\n"
)
_EXEMPT = "acl free dstdomain {0}\nhttp_access allow free\nhttp_access deny !known"
_BLOCK_PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html><title>Access Denied</title>policy</html>"
)
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_NTLM = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\n"
    b"Proxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"
)
_DROP = at("isp", "drop")
_REFUSE = at("internet", "reject with tcp reset", chain="input")
_NO_ROUTE = at("isp", "reject with icmp host-unreachable")
_ADMIN = at("isp", "reject with icmpx admin-prohibited")


def _socks_reply(code: int) -> Make:
    async def serve(peer: Peer) -> None:
        await peer.receive()
        await peer.send(b"\x05\x00")
        await peer.receive()
        await peer.send(bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0)))

    def make(lab: FaultLab) -> None:
        lab.proxy_url = f"socks5h://{proxies.HOST}:{lab.serve(lab.proxy, serve)}"

    return make


CASES = (
    Case("proxy-unresolved", "the proxy's name does not exist", F.PROXY_UNRESOLVED,
         both(no_way_but_the_proxy, named("http://proxy.corp.example:3128")), way="proxy", **_ANY),
    Case("proxy-dropped", "packets to the proxy are dropped", F.PROXY_UNREACHABLE,
         squid("", at("proxy", "drop", chain="input", match="tcp dport 3128")), way="squid", **_ANY),
    Case("proxy-refused", "nothing listens on the proxy's port", F.PROXY_UNREACHABLE,
         both(no_way_but_the_proxy, named(f"http://{proxies.HOST}:3128")), way="proxy", **_ANY),
    Case("proxy-elsewhere", "proxy behind a firewall that prohibits it (ICMP)", F.PROXY_UNREACHABLE,
         both(at("site", "reject with icmpx admin-prohibited", match="tcp dport 3128"),
              named("http://20.60.0.77:3128")), way="proxy", **_ANY),
    Case("proxy-ssh", "an SSH server where the proxy should be", F.PROXY_NOT_PROXY,
         both(no_way_but_the_proxy, instead_of_proxy(b"SSH-2.0-OpenSSH_9.2\r\n", 2222)), way="proxy", **_ANY),
    Case("proxy-mute", "a silent port where the proxy should be", F.PROXY_TIMEOUT,
         both(no_way_but_the_proxy, instead_of_proxy(None)), way="proxy", **_ANY),
    Case("proxy-web-server", "a web server where the proxy should be", F.PROXY_NOT_PROXY,
         both(no_way_but_the_proxy, _web_server), way="proxy", **_ANY),
    Case("proxy-tls-port", "an HTTPS port given as an http proxy", F.PROXY_NOT_PROXY,
         both(no_way_but_the_proxy, _tls_server), way="proxy", **_ANY),
    Case("proxy-auth-basic", "squid wants a password, one row is not exempt", F.PROXY_AUTH,
         squid(SQUID_AUTH + _EXEMPT.format(" ".join(p.host for p in world.USUAL[1:]))), way="squid"),
    Case("proxy-auth-all", "squid wants a password for everything", F.PROXY_AUTH,
         squid(SQUID_AUTH + "http_access deny !known"), way="squid", **_ANY),
    Case("proxy-auth-ntlm", "NTLM and Negotiate wanted for one row", F.PROXY_AUTH, odd(for_gw1(Reply(_NTLM))),
         way="odd proxy"),
    Case("proxy-auth-socks", "SOCKS server wants a password", F.PROXY_AUTH,
         through(partial(proxies.microsocks, credentials=("u", "p"))), way="socks", **_ANY),
    Case("proxy-denied-squid", "squid policy denies one name", F.PROXY_DENIED, squid(_DENY.format(GW1.host)),
         way="squid"),
    Case("proxy-denied-zone", "squid policy denies a zone", F.PROXY_DENIED,
         squid(_DENY.format(".endpoint.security.microsoft.com")), way="squid", hits=(EDR,)),
    Case("proxy-denied-all", "squid policy denies everything", F.PROXY_DENIED, squid("http_access deny all"),
         way="squid", **_ANY),
    Case("proxy-denied-tiny", "tinyproxy filter", F.PROXY_DENIED, tiny(filtered=("winatp-gw-neu",)),
         way="tinyproxy"),
    Case("proxy-denied-odd", "403 with a vendor's page", F.PROXY_DENIED,
         odd(for_gw1(status("403 Forbidden", "<html><title>Blocked</title>category: unknown</html>"))),
         way="odd proxy"),
    Case("proxy-denied-rfc9209", "Proxy-Status: http_request_denied", F.PROXY_DENIED,
         odd(for_gw1(status("403 Forbidden", Proxy_Status="gw; error=http_request_denied"))),
         way="odd proxy"),
    Case("proxy-denied-sample-only", "only the sample host of a wildcard is allowed", F.PROXY_DENIED,
         squid(f"acl good dstdomain {EDR.host}\nhttp_access allow good\n"
               + _DENY.format(".endpoint.security.microsoft.com")), way="squid", hits=(EDR,),
         outcomes=frozenset({"degraded", "blocked"})),
    Case("proxy-port", "CONNECT to 8443 not allowed", F.PROXY_PORT_DENIED, squid(), way="squid",
         hits=(GW1_ALT,)),
    Case("proxy-port-tiny", "tinyproxy: CONNECT to 8443 not allowed", F.PROXY_PORT_DENIED, tiny(),
         way="tinyproxy",
         hits=(GW1_ALT,)),
    Case("proxy-dns-squid", "squid's resolver: NXDOMAIN", F.PROXY_DNS, squid("", proxy_lie(NXDOMAIN)),
         way="squid"),
    Case("proxy-dns-squid-silent", "squid's resolver is silent for one name", F.PROXY_DNS,
         squid("", proxy_lie(Record(silent=True))), way="squid"),
    Case("proxy-dns-squid-all", "squid's resolver is dead", F.PROXY_DNS,
         squid("", at("names", "drop", chain="input", match=f"ip daddr {ADDRESSES[NAMES].v4[:-2]}54")),
         way="squid", **_ANY),
    Case("proxy-dns-tiny", "tinyproxy's resolver: NXDOMAIN", F.PROXY_DNS, tiny(proxy_lie(NXDOMAIN)),
         way="tinyproxy"),
    Case("proxy-dns-rfc9209", "Proxy-Status: dns_error", F.PROXY_DNS,
         odd(for_gw1(status("502 Bad Gateway", Proxy_Status="gw; error=dns_error"))), way="odd proxy"),
    Case("proxy-socks-name", "SOCKS: name does not resolve there", F.PROXY_SOCKS, socks(proxy_lie(NXDOMAIN)),
         way="socks"),
    Case("proxy-timeout-squid", "drop behind squid (connect_timeout 3 s)", F.PROXY_UPSTREAM_TIMEOUT, squid("",
         _DROP),
         way="squid"),
    Case("proxy-timeout-squid-60", "drop behind squid (connect_timeout 60 s)", F.PROXY_UPSTREAM_TIMEOUT,
         squid("", _DROP, connect_timeout=60), way="squid"),
    Case("proxy-timeout-tiny", "drop behind tinyproxy", F.PROXY_UPSTREAM_TIMEOUT, tiny(_DROP),
         way="tinyproxy"),
    Case("proxy-timeout-socks", "drop behind microsocks", F.PROXY_UPSTREAM_TIMEOUT, socks(_DROP), way="socks",
         also=frozenset({F.PROXY_SOCKS})),
    Case("proxy-timeout-rfc9209", "Proxy-Status: connection_timeout", F.PROXY_UPSTREAM_TIMEOUT,
         odd(for_gw1(status("504 Gateway Timeout", Proxy_Status="gw; error=connection_timeout"))),
         way="odd proxy"),
    Case("proxy-refused-squid", "refused behind squid", F.PROXY_UPSTREAM_REFUSED, squid("", _REFUSE),
         way="squid"),
    Case("proxy-refused-tiny", "refused behind tinyproxy", F.PROXY_UPSTREAM_REFUSED, tiny(_REFUSE),
         way="tinyproxy"),
    Case("proxy-refused-socks", "refused behind microsocks (reply 5)", F.PROXY_SOCKS, socks(_REFUSE),
         way="socks",
         also=frozenset({F.PROXY_UPSTREAM_REFUSED})),
    Case("proxy-unreachable-squid", "no route behind squid", F.PROXY_UPSTREAM_UNREACHABLE, squid("",
         _NO_ROUTE),
         way="squid"),
    Case("proxy-prohibited-squid", "prohibited behind squid", F.PROXY_UPSTREAM_UNREACHABLE, squid("", _ADMIN),
         way="squid"),
    Case("proxy-unreachable-socks", "no route behind microsocks (reply 4)", F.PROXY_SOCKS, socks(_NO_ROUTE),
         way="socks", also=frozenset({F.PROXY_UPSTREAM_UNREACHABLE})),
    Case("proxy-unroutable-rfc9209", "Proxy-Status: destination_ip_unroutable", F.PROXY_UPSTREAM_UNREACHABLE,
         odd(for_gw1(status("502 Bad Gateway", Proxy_Status="gw; error=destination_ip_unroutable"))),
         way="odd proxy"),
    Case("proxy-socks-rule", "SOCKS reply 2: not allowed by ruleset", F.PROXY_SOCKS, _socks_reply(2),
         way="socks",
         also=frozenset({F.PROXY_DENIED}), **_ANY),
    Case("proxy-tunnel-block-page", "200 to CONNECT, then a page instead of TLS", F.TLS_NOT_TLS,
         odd(for_gw1(Reply(_ESTABLISHED, _BLOCK_PAGE))), way="odd proxy", layers=frozenset({"proxy"})),
    Case("proxy-tunnel-cut-odd", "200 to CONNECT, closed after the ClientHello", F.PROXY_TUNNEL_CUT,
         odd(for_gw1(Reply(_ESTABLISHED, cut=True))), way="odd proxy", layers=_TLS),
    Case("consumers-differ", "the agent and the rest of the machine use different proxies",
         F.PROXY_CONSUMER_CONFLICT, squid("", _mdatp(f"http://{proxies.HOST}:3999")), way="squid",
         anywhere=True, outcomes=WORKS | {"blocked"}),
    Case("proxy-two-names", "squid denies two rows of six", F.PROXY_DENIED,
         squid(_DENY.format(f"{GW2.host} {EVENTS.host}")), way="squid", hits=(GW2, EVENTS)),
)  # fmt: skip
