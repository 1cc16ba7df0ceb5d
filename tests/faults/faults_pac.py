"""Faults of PAC files: not served, no script, a script that fails or sends a host the wrong way."""

from __future__ import annotations

from typing import Any

from connectivity_check.failure import Failure as F
from tests.faults import proxies
from tests.faults.case import UNSURE, Case, Make
from tests.faults.faults_proxy import squid
from tests.faults.lab import FaultLab
from tests.faults.sockets import Peer
from tests.faults.web import Service, read_request, response
from tests.faults.world import GW1

_ANY: dict[str, Any] = {"outcomes": UNSURE, "all_hit": True}
_TCP = frozenset({"tcp"})


def pac(script: str | None, content_type: str = "application/x-ns-proxy-autoconfig", code: int = 200) -> Make:
    """A PAC file on a server of the site; None: nobody serves it."""

    def make(lab: FaultLab) -> None:
        service = Service(status=code, body=(script or "").encode(), content_type=content_type)

        async def serve(peer: Peer) -> None:
            request = await read_request(peer)
            if request is not None:
                await peer.send(response(service, request))

        if script is not None:
            lab.serve(lab.proxy, serve, 8080)
        lab.arguments += ["--pac", f"http://{proxies.HOST}:8080/proxy.pac"]

    return make


PAC = 'function FindProxyForURL(url, host) {{ {0} return "PROXY 192.168.50.30:3128"; }}'
_SENDS_GW1_DIRECT = PAC.format(f'if (host == "{GW1.host}") return "DIRECT";')
_DEAD_FOR_GW1 = PAC.format(f'if (host == "{GW1.host}") return "PROXY 192.168.50.30:3999";')


def forget_proxy_url(lab: FaultLab) -> None:
    """Leave the way to the PAC file."""
    lab.proxy_url = ""  # the PAC file is the way


CASES = (
    Case("pac-dead", "nobody serves the PAC file", F.PROXY_PAC_ERROR, pac(None), way="pac", **_ANY),
    Case("pac-404", "the PAC file is not there", F.PROXY_PAC_ERROR, pac("not found", "text/html", 404),
         way="pac",
         **_ANY),
    Case("pac-html", "a login page instead of the PAC file", F.PROXY_PAC_ERROR,
         pac("<html><body>sign in</body></html>", "text/html"), way="pac", **_ANY),
    Case("pac-syntax", "the PAC file has a syntax error", F.PROXY_PAC_ERROR,
         pac('function FindProxyForURL(url, host) { if (host == "x" return "DIRECT"; }'), way="pac", **_ANY),
    Case("pac-throws", "the PAC file fails for one host", F.PROXY_PAC_ERROR,
         squid("", pac(PAC.format(f'if (host == "{GW1.host}") return nowhere();')), forget_proxy_url),
         way="pac"),
    Case("pac-endless", "the PAC file never ends for one host", F.PROXY_PAC_ERROR,
         squid("", pac(PAC.format(f'while (host == "{GW1.host}") {{}}')), forget_proxy_url), way="pac"),
    Case("pac-empty", "the PAC file gives nothing for one host", F.PROXY_PAC_ERROR,
         squid("", pac(PAC.format(f'if (host == "{GW1.host}") return "";')), forget_proxy_url), way="pac"),
    Case("pac-direct", "the PAC file sends one host direct, which is blocked", F.PROXY_PAC_MISMATCH,
         squid("", pac(_SENDS_GW1_DIRECT), forget_proxy_url), way="pac", also=frozenset({F.TCP_DROPPED}),
         layers=_TCP),
    Case("pac-dead-proxy", "the PAC file names a proxy that is not there for one host", F.PROXY_UNREACHABLE,
         squid("", pac(_DEAD_FOR_GW1), forget_proxy_url), way="pac", also=frozenset({F.PROXY_PAC_MISMATCH})),
)  # fmt: skip
