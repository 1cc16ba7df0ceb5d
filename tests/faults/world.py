"""The lab's share of the real lists: names, addresses, and what stands behind each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A listed host of the lab's internet. `pattern` is the list's row when that is a wildcard."""

    host: str
    v4: str
    v6: str
    port: int = 443
    pattern: str = ""
    path: str = "/"

    @property
    def addresses(self) -> tuple[str, str]:
        return self.v4, self.v6

    @property
    def url(self) -> str:
        scheme, usual = ("http", 80) if self.port == 80 else ("https", 443)
        port = "" if self.port == usual else f":{self.port}"
        return f"{scheme}://{self.host}{port}{self.path}"


def _place(n: int, host: str, port: int = 443, pattern: str = "", path: str = "/") -> Place:
    return Place(host, f"20.60.0.{n}", f"2603:1061::{n:x}", port, pattern, path)


GW1 = _place(11, "winatp-gw-neu.microsoft.com", path="/test")
GW2 = _place(12, "winatp-gw-weu.microsoft.com", path="/test")
GW3 = _place(13, "winatp-gw-uks.microsoft.com", path="/test")
EDR = _place(
    14, "edr-neu.eu.endpoint.security.microsoft.com", pattern="*.endpoint.security.microsoft.com", path="/edr"
)
EVENTS = _place(15, "eu-v20.events.data.microsoft.com", pattern="*.events.data.microsoft.com", path="/ping")
BLOB = _place(16, "automatedirstrprdneu.blob.core.windows.net", path="/")
SETTINGS = _place(17, "settings-win.data.microsoft.com", path="/qos")
LOGIN = _place(18, "login.microsoftonline.com")
UPDATE = _place(19, "definitionupdates.microsoft.com", path="/update.bin")
GW1_ALT = Place(GW1.host, GW1.v4, GW1.v6, 8443, path="/test")
CRL = _place(20, "crl.microsoft.com", port=80, path="/pki/crl/products/lab.crl")
OCSP = _place(21, "oneocsp.microsoft.com", port=80, path="/ocsp")
CTL = _place(22, "ctldl.windowsupdate.com", port=80, path="/msdownload/update/authroot.cab")
PLAIN = _place(23, "go.microsoft.com", port=80, path="/fwlink/")
RELAY = _place(24, "relay.communication.microsoft.com", port=3478)
"""Speaks neither TLS nor HTTP; nobody in the lab listens there. Only for faults, so not in PLACES."""

PLACES = (GW1, GW2, GW3, EDR, EVENTS, BLOB, SETTINGS, LOGIN, UPDATE, CRL, OCSP, CTL, PLAIN)
USUAL = (GW1, GW2, EDR, EVENTS, BLOB, CRL)
"""The rows of most cases: one to break, siblings, unrelated ones as natural controls."""

PORTAL_HOST, PORTAL_ADDRESS = "www.msftconnecttest.com", "20.60.0.80"
PORTAL_BODY = b"Microsoft Connect Test"
CONTROL_HOST, CONTROL_ADDRESS = "www.microsoft.com", "20.60.0.81"
ECHO_HOST, ECHO_ADDRESS = "echo.lab.example.net", "20.60.0.82"
OTHERS = {PORTAL_HOST: PORTAL_ADDRESS, CONTROL_HOST: CONTROL_ADDRESS, ECHO_HOST: ECHO_ADDRESS}

ELSEWHERE = "20.61.7.7"
"""An address whose server has a certificate for another name."""
BLOCK_SERVER = "146.112.61.104"
"""Where a DNS filter sends what it blocks."""


def list_text(places: tuple[Place, ...], patterns: tuple[str, ...] = ()) -> str:
    """A list file with these rows; `patterns` are further rows without a known host."""
    lines = ["header: {list_id: fault-lab}", "entries:"]
    for place in places:
        lines.append(f"- pattern: '{place.pattern or place.host}'")
        lines.append(f"  port: {place.port}")
        if place.pattern:
            lines.append(f"  known_hosts: ['{place.host}']")
    lines += [f"- pattern: '{pattern}'" for pattern in patterns]
    return "\n".join(lines) + "\n"
