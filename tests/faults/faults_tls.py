"""Faults of TLS: cut by server name, inspected, wrong certificates, wrong versions, wrong clocks."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import Any

from connectivity_check.failure import Failure as F
from tests.faults import pki, proxies, world
from tests.faults.case import BLOCKED, UNSURE, WORKS, Case, Make
from tests.faults.faults_proxy import odd, socks, squid, through, tiny
from tests.faults.lab import FaultLab
from tests.faults.middlebox import Do, Judge, Posing, TlsBox
from tests.faults.web import Service
from tests.faults.world import BLOB, EDR, EVENTS, GW1, GW2, GW3, SETTINGS

_TLS = frozenset({"tls"})
_ALL_TLS = (GW1, GW2, EDR, EVENTS, BLOB)


def string(verdict: str, text: str = GW1.host, where: str = "site") -> Make:
    """An iptables rule that looks for a text in TCP segments to 443."""

    def make(lab: FaultLab) -> None:
        match = ["--hex-string", text] if text.startswith("|") else ["--string", text]
        rule = ["-A", "FORWARD", "-p", "tcp", "--dport", "443", "-m", "string", *match, "--algo", "bm", "-j"]
        lab.command(getattr(lab, where), "iptables", *rule, *verdict.split())

    return make


def box(judge: Judge, where: str = "site") -> Make:
    """A middlebox that takes over TLS connections, whoever makes them."""

    def make(lab: FaultLab) -> None:
        space = getattr(lab, where)
        arrives = {"site": "lan0", "isp": "lan0"}[where]
        lab.divert(
            space, f'iifname "{arrives}" tcp dport 443', TlsBox(lab.stage, space, lab.web, judge).serve
        )

    return make


def only(name: str, todo: Do | Posing) -> Judge:
    """Do this to one server name and relay the rest."""
    return lambda sni, address: todo if sni == name else Do.RELAY


def change(host: str = GW1.host, **values: Any) -> Make:
    """Change what stands behind one name."""

    def make(lab: FaultLab) -> None:
        lab.web.services[host] = replace(lab.web.service(host), **values)

    return make


def change_all(**values: Any) -> Make:
    """Change every service, unknown names included."""

    def make(lab: FaultLab) -> None:
        lab.web.services = {name: replace(service, **values) for name, service in lab.web.services.items()}
        lab.web.unknown = replace(lab.web.unknown, **values)

    return make


def inspect(*names: str, issuer: str = pki.COMPANY, trusted: bool = False) -> Make:
    """The first firewall inspects these names (all when none is given) with its own CA."""

    def make(lab: FaultLab) -> None:
        if trusted:
            lab.trust_company()

        def judge(sni: str, address: str) -> Do | Posing:
            if names and sni not in names:
                return Do.RELAY
            return Posing(replace(lab.web.service(sni), issuer=issuer))

        box(judge)(lab)

    return make


def _every_other(lab: FaultLab) -> None:
    count = iter(range(10_000))

    def judge(sni: str, address: str) -> Do | Posing:
        return Do.RESET if sni == GW1.host and next(count) % 2 == 0 else Do.RELAY

    box(judge)(lab)


def _sample_only(todo: Do) -> Judge:
    return lambda sni, address: todo if sni.endswith(EDR.pattern[1:]) and sni != EDR.host else Do.RELAY


def _bumping(trusted: bool, exempt: str = "") -> Make:
    def make(lab: FaultLab) -> None:
        if trusted:
            lab.trust_company()
        proxies.squid(lab, bump=exempt)

    return through(make)


def _alert(number: int) -> bytes:
    return bytes((21, 3, 3, 0, 2, 2, number))


_RESET = "REJECT --reject-with tcp-reset"
_TLS13_HELLO = "|002b0005040304|"
_FUTURE: dict[str, Any] = {"from_days": 370, "to_days": 460, "date_shift_s": 400 * 86400.0}
_PAST: dict[str, Any] = {"from_days": -460, "to_days": -370, "date_shift_s": -400 * 86400.0}
_PAGE = b"HTTP/1.1 302 Found\r\nLocation: http://block.corp.example/?r=1\r\nContent-Length: 0\r\n\r\n"
_WARN = frozenset({"degraded", "reachable"})

CASES = (
    Case("tls-sni-reset", "reset for the server name, first firewall", F.TLS_SNI_RESET, string(_RESET)),
    Case("tls-sni-reset-isp", "reset for the server name, second firewall", F.TLS_SNI_RESET,
         string(_RESET, where="isp")),
    Case("tls-sni-reset-zone", "reset for every name of a zone", F.TLS_SNI_RESET,
         string(_RESET, ".endpoint.security.microsoft.com"), hits=(EDR,)),
    Case("tls-sni-fin", "orderly end after the ClientHello", F.TLS_SNI_RESET, box(only(GW1.host, Do.CLOSE))),
    Case("tls-sni-drop", "ClientHello with the name dropped", F.TLS_SNI_DROP, string("DROP")),
    Case("tls-sni-drop-isp", "the same at the second firewall", F.TLS_SNI_DROP, string("DROP", where="isp")),
    Case("tls-sni-mute", "a box takes the connection over and is silent", F.TLS_SNI_DROP,
         box(only(GW1.host, Do.MUTE))),
    Case("tls-sni-sample-only", "only the sample host of a wildcard passes", F.TLS_SNI_RESET,
         box(_sample_only(Do.RESET)), hits=(EDR,), outcomes=frozenset({"degraded", "blocked"})),
    Case("tls-sni-sample-drop", "the same by silence", F.TLS_SNI_DROP, box(_sample_only(Do.MUTE)), hits=(EDR,
         ),
         outcomes=frozenset({"degraded", "blocked"})),
    Case("tls-sni-reset-squid", "reset for the name behind squid", F.PROXY_TUNNEL_CUT, squid("",
         string(_RESET)),
         way="squid", layers=_TLS, also=frozenset({F.TLS_SNI_RESET})),
    Case("tls-sni-reset-tiny", "reset for the name behind tinyproxy", F.PROXY_TUNNEL_CUT,
         tiny(string(_RESET)),
         way="tinyproxy", layers=_TLS, also=frozenset({F.TLS_SNI_RESET})),
    Case("tls-sni-reset-socks", "reset for the name behind microsocks", F.PROXY_TUNNEL_CUT,
         socks(string(_RESET)),
         way="socks", layers=_TLS, also=frozenset({F.TLS_SNI_RESET})),
    Case("tls-sni-drop-squid", "silence for the name behind squid", F.TLS_SNI_DROP, squid("", string("DROP")),
         way="squid"),
    Case("tls-inspect-one", "one name inspected, CA unknown here", F.TLS_INTERCEPT_UNTRUSTED,
         inspect(GW1.host)),
    Case("tls-inspect-all", "everything inspected, CA unknown here", F.TLS_INTERCEPT_UNTRUSTED, inspect(),
         hits=_ALL_TLS),
    Case("tls-inspect-trusted", "one name inspected, CA in the system store", F.TLS_INTERCEPT_TRUSTED,
         inspect(GW1.host, trusted=True)),
    Case("tls-inspect-trusted-all", "everything inspected, CA in the system store", F.TLS_INTERCEPT_TRUSTED,
         inspect(trusted=True), hits=(GW1, GW2, EDR, EVENTS)),
    Case("tls-inspect-squid", "squid inspects, CA unknown here", F.TLS_INTERCEPT_UNTRUSTED, _bumping(False),
         way="squid", hits=_ALL_TLS),
    Case("tls-inspect-squid-trusted", "squid inspects, CA in the system store", F.TLS_INTERCEPT_TRUSTED,
         _bumping(True), way="squid", hits=(GW1, GW2, EDR, EVENTS)),
    Case("tls-inspect-squid-forgot", "squid inspects, one row was forgotten in the bypass",
         F.TLS_INTERCEPT_TRUSTED,
         _bumping(True, " ".join(p.host for p in _ALL_TLS[1:])), way="squid"),
    Case("tls-issuer", "another public CA than the list's data knows", F.TLS_ISSUER_CHANGED,
         change(issuer=pki.OTHER_ISSUER), outcomes=_WARN),
    Case("tls-issuer-squid", "another public CA, through squid", F.TLS_ISSUER_CHANGED,
         squid("", change(issuer=pki.OTHER_ISSUER)), way="squid", outcomes=_WARN),
    Case("tls-expired", "expired certificate", F.TLS_EXPIRED, change(from_days=-90, to_days=-2)),
    Case("tls-expired-squid", "expired certificate through squid", F.TLS_EXPIRED,
         squid("", change(from_days=-90, to_days=-2)), way="squid"),
    Case("tls-not-yet", "certificate not valid yet", F.TLS_NOT_YET, change(from_days=2, to_days=90)),
    Case("clock-behind", "this device's clock is 400 days behind", F.CLOCK_SKEW, change_all(**_FUTURE),
         hits=_ALL_TLS, layers=_TLS),
    Case("clock-ahead", "this device's clock is 400 days ahead", F.CLOCK_SKEW, change_all(**_PAST),
         hits=_ALL_TLS,
         layers=_TLS),
    Case("clock-behind-squid", "the same through squid", F.CLOCK_SKEW, squid("", change_all(**_FUTURE)),
         way="squid", hits=_ALL_TLS, layers=_TLS),
    Case("clock-hour", "this device's clock is an hour off", F.CLOCK_SKEW, change_all(date_shift_s=3600.0),
         outcomes=WORKS, anywhere=True),
    Case("tls-hostname", "certificate for another name", F.TLS_HOSTNAME,
         change(certificate_names=("portal.hotel.example",))),
    Case("tls-hostname-squid", "certificate for another name through squid", F.TLS_HOSTNAME,
         squid("", change(certificate_names=("portal.hotel.example",))), way="squid"),
    Case("tls-alert-40", "handshake_failure", F.TLS_ALERT, change(instead=_alert(40))),
    Case("tls-alert-112", "unrecognized_name from a box in the path", F.TLS_ALERT,
         box(only(GW1.host, Posing(Service(instead=_alert(112)))))),
    Case("tls-alert-80-squid", "internal_error through squid", F.TLS_ALERT, squid("",
         change(instead=_alert(80))),
         way="squid"),
    Case("tls-version-1.1", "a box that speaks TLS 1.1 at most", F.TLS_VERSION_LOW,
         change(newest_tls=ssl.TLSVersion.TLSv1_1)),
    Case("tls-version-13-cut", "TLS 1.3 hellos reset, 1.2 passes", F.TLS_VERSION_LOW, string(_RESET,
         _TLS13_HELLO),
         hits=_ALL_TLS, outcomes=BLOCKED | {"degraded", "unexplained"}),
    Case("tls-not-tls", "a redirect in plain text on port 443", F.TLS_NOT_TLS, change(instead=_PAGE)),
    Case("tls-not-tls-box", "a box shows plain text for one name", F.TLS_NOT_TLS,
         box(only(GW1.host, Posing(Service(instead=_PAGE))))),
    Case("tls-not-tls-squid", "plain text behind squid", F.TLS_NOT_TLS, squid("", change(instead=_PAGE)),
         way="squid"),
    Case("meta-flaky-tls", "every other handshake is reset", F.META_FLAKY, _every_other,
         outcomes=frozenset({"degraded", "reachable"}), layers=_TLS),
    Case("tls-reset-all", "every ClientHello is reset", F.TLS_SNI_RESET, box(lambda sni, address: Do.RESET),
         hits=_ALL_TLS, outcomes=UNSURE, also=frozenset({F.META_UNEXPLAINED}), layers=frozenset({"meta"})),
    Case("tls-self-signed", "self-signed certificate of a box's set-up page", F.TLS_INTERCEPT_UNTRUSTED,
         change(issuer="firewall.local")),
    Case("tls-inspect-odd", "inspection behind our own proxy", F.TLS_INTERCEPT_UNTRUSTED,
         odd(lambda host, port: None, inspect(GW1.host)), way="odd proxy"),
    Case("tls-settings-row", "reset for the name of an extra row", F.TLS_SNI_RESET, string(_RESET,
         SETTINGS.host),
         hits=(SETTINGS,), places=(*world.USUAL, GW3)),
)  # fmt: skip
