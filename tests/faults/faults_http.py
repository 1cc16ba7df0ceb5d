"""Faults of the answer: pages, portals, statuses, cut bodies, revocation files; healthy networks."""

from __future__ import annotations

import ssl
from dataclasses import replace

from connectivity_check.failure import Failure as F
from tests.faults import revocation_files, world
from tests.faults.case import UNSURE, WORKS, Case, Make, both, dual_stack
from tests.faults.delay import slow_path
from tests.faults.faults_pac import PAC, forget_proxy_url, pac
from tests.faults.faults_proxy import SQUID_AUTH, socks, squid, tiny
from tests.faults.faults_tls import box, change, change_all, only
from tests.faults.lab import FaultLab
from tests.faults.middlebox import Change, Do, Headers, HttpBox, Posing
from tests.faults.names import Record
from tests.faults.web import Request, Service
from tests.faults.world import BLOB, CRL, CTL, EDR, GW1, GW2, LOGIN, OCSP, PLAIN, UPDATE

_FORTIGUARD = (
    b"<html><head><title>Web Page Blocked</title></head><body>"
    b"<h1>FortiGuard Intrusion Prevention - Access Blocked</h1>"
    b"<p>You have tried to access a web page that is in violation of your Internet usage policy.</p>"
    b"</body></html>"
)
_PLAIN_PAGE = b"<html><head><title>Notice</title></head><body>This site is not available.</body></html>"
_ZSCALER = (
    b"<html><head><title>Internet Security by Zscaler</title></head>"
    b"<body>Sorry, you don't have permission to visit this site.</body></html>"
)
_REV_ROWS = (*world.USUAL, OCSP, CTL)
_CUT = frozenset({"blocked", "degraded"})


def portal(status: int = 302, tls: bool = True) -> Make:
    """A hotel network: port 80 is answered by the portal, TLS by its certificate."""
    location = {"Location": "http://portal.hotel.example/login"} if status == 302 else {}
    page = Service(status=status, body=b"<html><title>Sign in</title></html>", content_type="text/html",
                   headers=location)  # fmt: skip

    def make(lab: FaultLab) -> None:
        lab.divert(
            lab.site, 'iifname "lan0" tcp dport 80', HttpBox(lab.stage, lab.site, lambda r: page).serve
        )
        posing = Posing(Service(certificate_names=("portal.hotel.example",), body=page.body))
        if tls:
            box(lambda sni, address: posing)(lab)
        else:
            lab.rule(lab.site, "forward", "tcp dport 443 drop")

    return make


def plain(change_request: Change, match: str = "tcp dport 80") -> Make:
    """A transparent proxy for port 80."""

    def make(lab: FaultLab) -> None:
        handler = HttpBox(lab.stage, lab.site, change_request)
        lab.divert(lab.site, f'iifname "lan0" {match}', handler.serve)

    return make


def _with_via(request: Request) -> tuple[tuple[str, str], ...]:
    kept = [(key.title(), value) for key, value in request.headers]
    return (*kept, ("Via", "1.1 wall.corp.example"), ("X-Forwarded-For", "192.168.50.10"))


def _blocked_host(host: str, page: Service | Do) -> Change:
    def judge(request: Request) -> Service | Do | Headers:
        return page if request.header("host") == host else request.headers

    return judge


def _sent_to(location: str) -> Service:
    return Service(status=302, body=b"", content_type="", headers={"Location": location})


def portal_by_header(lab: FaultLab) -> None:
    """A portal that shows nothing by itself: each plain request is sent to its login, TLS is dropped."""
    plain(lambda request: _sent_to("http://portal.hotel.example/login"))(lab)
    lab.rule(lab.site, "forward", "tcp dport 443 drop")


def _echo(lab: FaultLab) -> None:
    lab.arguments += ["--control-host", f"{world.ECHO_HOST}:80"]


_PAGE_403 = Service(status=403, body=_FORTIGUARD, content_type="text/html")

CASES = (
    Case("http-block-page", "an inspection box with a public certificate shows a vendor's page",
         F.HTTP_BLOCK_PAGE,
         change(body=_FORTIGUARD, content_type="text/html")),
    Case("http-block-page-plain", "an unknown page instead of the service", F.HTTP_BLOCK_PAGE,
         change(body=_PLAIN_PAGE, content_type="text/html")),
    Case("http-block-page-403", "403 with a vendor's page", F.HTTP_BLOCK_PAGE,
         change(status=403, body=_ZSCALER, content_type="text/html")),
    Case("http-block-page-redirect", "redirect to a block page", F.HTTP_BLOCK_PAGE,
         change(status=302, body=_PLAIN_PAGE, content_type="text/html",
                headers={"Location": "https://block.corp.example/?cat=9"})),
    Case("http-block-page-squid", "a vendor's page in the tunnel", F.HTTP_BLOCK_PAGE,
         squid("", change(body=_FORTIGUARD, content_type="text/html")), way="squid"),
    Case("http-block-page-any", "page for a row whose answer is any status", F.HTTP_BLOCK_PAGE,
         change(EDR.host, status=200, body=_FORTIGUARD, content_type="text/html"), hits=(EDR,)),
    Case("http-redirect-away", "a box sends plain requests for one name to its own page, by header alone",
         F.HTTP_BLOCK_PAGE, plain(_blocked_host(PLAIN.host, _sent_to("http://block.corp.example/?r=4"))),
         hits=(PLAIN,)),
    Case("http-redirect-portal", "a portal that has no page and cuts TLS: redirects on port 80 alone",
         F.HTTP_CAPTIVE_PORTAL, portal_by_header, hits=(PLAIN,), all_hit=True, outcomes=UNSURE),
    Case("http-portal", "captive portal: redirect and its own certificate", F.HTTP_CAPTIVE_PORTAL, portal(),
         all_hit=True, outcomes=UNSURE),
    Case("http-portal-511", "captive portal: status 511, TLS dropped", F.HTTP_CAPTIVE_PORTAL, portal(511,
         tls=False),
         hits=(CRL,), all_hit=True, outcomes=UNSURE),
    Case("http-status", "500 from the real service", F.HTTP_STATUS, change(status=500, body=b"error"),
         outcomes=_CUT),
    Case("http-status-squid", "503 from the real service through squid", F.HTTP_STATUS,
         squid("", change(status=503, body=b"busy")), way="squid", outcomes=_CUT),
    Case("http-body-limit", "bodies over 16 KiB are reset", F.HTTP_METHOD_OR_SIZE,
         change(BLOB.host, largest_body=16384), hits=(BLOB,), outcomes=_CUT),
    Case("http-body-limit-squid", "the same behind squid", F.HTTP_METHOD_OR_SIZE,
         squid("", change(BLOB.host, largest_body=16384)), way="squid", hits=(BLOB,), outcomes=_CUT),
    Case("http-range", "Range is ignored", F.HTTP_METHOD_OR_SIZE, change(UPDATE.host, ranges=False),
         hits=(UPDATE,),
         outcomes=_CUT),
    Case("http-version", "HTTP/2 taken away", F.HTTP_VERSION, change(UPDATE.host, alpn=("http/1.1",)),
         hits=(UPDATE,), outcomes=WORKS),
    Case("http-headers", "a transparent proxy changes headers on port 80", F.HTTP_HEADER_TAMPER,
         both(plain(_with_via), _echo), outcomes=WORKS, anywhere=True),
    Case("http-mute", "the request is never answered", F.META_UNEXPLAINED,
         change(delay_s=30.0), also=frozenset({F.HTTP_CUT, F.META_SERVICE_DOWN}), outcomes=UNSURE,
         layers=frozenset({"http"})),
    Case("http-cut", "a box resets plain requests for one name", F.HTTP_CUT,
         plain(_blocked_host(PLAIN.host, Do.RESET)), hits=(PLAIN,)),
    Case("http-cut-mute", "a box swallows plain requests for one name", F.HTTP_CUT,
         plain(_blocked_host(PLAIN.host, Do.MUTE)), hits=(PLAIN,)),
    Case("rev-crl-reset", "a box resets requests for the CRL host", F.REV_CRL,
         plain(_blocked_host(CRL.host, Do.RESET)), hits=(CRL,), also=frozenset({F.HTTP_CUT})),
    Case("rev-crl-html", "a page instead of the CRL", F.REV_CRL,
         change(CRL.host, body=_PLAIN_PAGE, content_type="text/html"), hits=(CRL,)),
    Case("rev-crl-stale", "a cached CRL that ran out", F.REV_CRL, change(CRL.host,
         body=revocation_files.crl(9)),
         hits=(CRL,)),
    Case("rev-crl-block-page", "a box blocks the CRL host on port 80", F.REV_CRL,
         plain(_blocked_host(CRL.host, _PAGE_403)), hits=(CRL,), also=frozenset({F.HTTP_BLOCK_PAGE})),
    Case("rev-crl-404", "the CRL is not there", F.REV_CRL, change(CRL.host, status=404, body=b"none"),
         hits=(CRL,)),
    Case("rev-crl-cut", "half a CRL", F.REV_CRL, change(CRL.host, body=revocation_files.crl()[:100]),
         hits=(CRL,)),
    Case("rev-crl-squid", "squid denies the CRL host", F.PROXY_DENIED,
         squid(f"acl bad dstdomain {CRL.host}\nhttp_access deny bad"), way="squid", hits=(CRL,),
         also=frozenset({F.REV_CRL}), layers=frozenset({"http"})),
    Case("rev-crl-auth", "squid wants a password for the CRL host", F.PROXY_AUTH,
         squid(SQUID_AUTH + f"acl crl dstdomain {CRL.host}\nhttp_access deny crl !known"), way="squid",
         hits=(CRL,),
         also=frozenset({F.REV_CRL}), layers=frozenset({"http"})),
    Case("rev-ocsp-html", "a page instead of the OCSP answer", F.REV_OCSP,
         change(OCSP.host, body=_PLAIN_PAGE, content_type="text/html"), hits=(OCSP,), places=_REV_ROWS),
    Case("rev-ctl-html", "a page instead of the trust list", F.REV_CTL,
         change(CTL.host, body=_PLAIN_PAGE, content_type="text/html"), hits=(CTL,), places=_REV_ROWS),
    Case("rev-ctl-dropped", "the trust-list host dropped", F.REV_CTL, lambda lab: lab.rule(
        lab.site, "forward", f"ip daddr {CTL.v4} drop"), hits=(CTL,), places=_REV_ROWS,
        also=frozenset({F.TCP_DROPPED}), layers=frozenset({"tcp"})),
    Case("meta-no-sample", "a wildcard without a known host", F.META_NOT_TESTABLE, lambda lab: None,
         hits=(), patterns=("*.smartscreen.microsoft.com",), pattern_hit="*.smartscreen.microsoft.com",
         outcomes=frozenset({"not_probeable"})),
)  # fmt: skip


def _latency(lab: FaultLab) -> None:
    slow_path(lab, lab.isp, 0.075)


def _cname(lab: FaultLab) -> None:
    chain = tuple(f"gw{n}.trafficmanager.example.net" for n in range(6))
    lab.truth[GW1.host] = Record((GW1.v4,), chain=chain)


def _private_link(lab: FaultLab) -> None:
    lab.rule(lab.site, "dstnat", f"ip daddr 10.20.30.41 dnat ip to {BLOB.v4}")
    lab.resolver.lies[BLOB.host] = Record(
        ("10.20.30.41",), chain=("automatedirstrprdneu.privatelink.blob.core.windows.net",)
    )


def _truncated(lab: FaultLab) -> None:
    lab.truth.update({name: replace(record, truncated=True) for name, record in lab.truth.items()})


def _slow_dns(lab: FaultLab) -> None:
    lab.truth.update({name: replace(record, delay_s=0.6) for name, record in lab.truth.items()})


def _strict_names(lab: FaultLab) -> None:
    lab.web.unknown = replace(lab.web.unknown, instead=bytes((21, 3, 3, 0, 2, 2, 112)))


def _no_icmp(lab: FaultLab) -> None:
    for space in (lab.site, lab.isp):
        lab.rule(space, "output", "meta l4proto icmp drop")


def _exact_proxy_dns(lab: FaultLab) -> None:
    lab.resolver.lies["*"] = Record(rcode=3)


def _sinkhole_telemetry(lab: FaultLab) -> None:
    lab.resolver.lies["ads.example.net"] = Record(("0.0.0.0",))


_ALL_ROWS = world.PLACES
HEALTHY = (
    Case("ok-direct", "a plain healthy network, all rows", None, lambda lab: None, places=_ALL_ROWS),
    Case("ok-squid", "squid", None, squid(), way="squid", places=_ALL_ROWS),
    Case("ok-tiny", "tinyproxy", None, tiny(), way="tinyproxy"),
    Case("ok-socks", "microsocks", None, socks(), way="socks"),
    Case("ok-pac", "a PAC file and squid", None, squid("", pac(PAC.format("")), forget_proxy_url),
         way="pac"),
    Case("ok-latency", "150 ms round trip", None, _latency),
    Case("ok-dual-stack", "IPv4 and IPv6", None, dual_stack),
    Case("ok-cname", "a chain of six CNAMEs", None, _cname),
    Case("ok-private-link", "Private Link that works", None, _private_link, hits=(BLOB,)),
    Case("ok-proxy-dns", "names resolve at the proxy only", None, squid("", _exact_proxy_dns), way="squid"),
    Case("ok-tc", "DNS answers truncated, TCP asked", None, _truncated),
    Case("ok-slow-dns", "a resolver that takes 0.6 s", None, _slow_dns),
    Case("ok-big-chain", "certificates of 12 KiB", None, change_all(padding=12_000)),
    Case("ok-tls12", "servers with TLS 1.2 only", None, change_all(newest_tls=ssl.TLSVersion.TLSv1_2)),
    Case("ok-strict-sni", "servers that refuse unknown names", None, _strict_names),
    Case("ok-no-icmp", "routers that send no ICMP", None, _no_icmp),
    Case("ok-http10", "servers that speak HTTP/1.0", None, change_all(http_version="1.0")),
    Case("ok-redirect-to-tls", "port 80 redirects to https on the same host", None,
         change(PLAIN.host, status=302, body=b"", headers={"Location": f"https://{PLAIN.host}/fwlink/"}),
         hits=(PLAIN,)),
    Case("ok-login-page", "a sign-in page of a service that has one", None, lambda lab: None, hits=(LOGIN,)),
    Case("ok-filtering-resolver", "a resolver that blocks other names", None, _sinkhole_telemetry),
    Case("ok-transparent-relay", "a box that relays every connection", None,
         box(only("nobody.example", Posing(Service())))),
    Case("ok-shared-address", "all names on one CDN address", None, lambda lab: lab.truth.update(
        {name: Record((GW2.v4,)) for name in lab.truth if not name.endswith(".net")})),
)  # fmt: skip
