"""curl, blackbox_exporter and nmap on the same fault, each given what it needs to do well.

How their words are read (a layer is what somebody who knows the tool would conclude at best):

curl      exit 5 proxy; 6 dns; 7 tcp (proxy, when it was connecting to one); 28 the stage its own timers show;
          35 51 53 54 58 59 60 66 77 80 82 83 90 91 98 tls; 52 56 http, or proxy when its text names CONNECT;
          97 proxy; exit 0 with a status that is not among the expected ones http (407: proxy). It gets the
          device's system store, the expected statuses of the endpoint and the proxy.
blackbox  probe_success, and the last error of its debug log by its words. It gets valid_status_codes and, for
          CRL, OCSP and CTL, fail_if_header_not_matches on the content type; proxy_url; the system store. It
          could also match bodies; that needs the data of expected answers that is what is compared here.
nmap      -sT on the port with --reason: open passes; no host address dns; filtered, closed, reset tcp. It has
          no CONNECT: with a proxy it scans the proxy's port.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from tests.faults.lab import UNPRIVILEGED, FaultLab
from tests.faults.said import Said
from tests.faults.world import BLOB, CRL, CTL, EDR, LOGIN, OCSP, UPDATE, Place

SECONDS = 8
_STATUSES = {BLOB.host: (400,), EDR.host: (200, 404), UPDATE.host: (200, 206), LOGIN.host: (200, 302)}
_CONTENT = {
    CRL.host: "application/pkix-crl",
    OCSP.host: "application/ocsp-response",
    CTL.host: "application/vnd.ms-cab-compressed",
}
_CURL_TLS = frozenset({35, 51, 53, 54, 58, 59, 60, 66, 77, 80, 82, 83, 90, 91, 98})
_WRITE = "%{exitcode} %{http_code} %{time_namelookup} %{time_connect} %{time_appconnect} %{http_connect}"


@dataclass(frozen=True, slots=True)
class Peers:
    """The three answers for one endpoint."""

    curl: Said
    blackbox: Said
    nmap: Said


def ask(lab: FaultLab, place: Place) -> Peers:
    """Run all three, one after the other."""
    return Peers(curl(lab, place), blackbox(lab, place), nmap(lab, place))


def statuses(place: Place) -> tuple[int, ...]:
    """Statuses that a right answer has."""
    return _STATUSES.get(place.host, (200,))


def curl(lab: FaultLab, place: Place) -> Said:
    """`curl URL`, through the proxy when there is one."""
    proxy = ["-x", lab.proxy_url] if lab.proxy_url else []
    command = [
        "curl",
        "-sS",
        "--http1.1",
        "-m",
        str(SECONDS),
        "-o",
        "/dev/null",
        "-w",
        _WRITE,
        *proxy,
        place.url,
    ]
    done = lab.device.run([*UNPRIVILEGED, *command], timeout=SECONDS + 10, env=lab.checker_environment())
    code, status, lookup, connect, tls, tunnel = (float(each) for each in done.stdout.split()[-6:])
    error = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
    words = f"exit {code:.0f}, status {status:.0f}; {error}".strip("; ")
    if code == 0:
        passes = int(status) in statuses(place)
        return Said(passes, "" if passes else "proxy" if status == 407 else "http", words)
    return Said(False, _curl_layer(int(code), error, (lookup, connect, tls, tunnel), bool(proxy)), words)


def _curl_layer(code: int, error: str, timers: tuple[float, ...], proxied: bool) -> str:
    lookup, connect, tls, tunnel = timers
    if code == 28:
        if connect == 0:
            return "dns" if lookup == 0 else "proxy" if proxied else "tcp"
        if proxied and tunnel == 0:
            return "proxy"
        return "tls" if tls == 0 else "http"
    if code in (5, 97) or "CONNECT" in error or "from proxy" in error or "SOCKS" in error:
        return "proxy"
    if code == 7:
        return "proxy" if proxied else "tcp"
    if code in (52, 56):
        return "tls" if tls == 0 and not proxied else "http"
    return "dns" if code == 6 else "tls" if code in _CURL_TLS else "http"


def blackbox(lab: FaultLab, place: Place) -> Said:
    """One probe by blackbox_exporter, started for it in the device."""
    http: dict[str, object] = {
        "valid_status_codes": list(statuses(place)),
        "enable_http2": False,
        "follow_redirects": False,
        "preferred_ip_protocol": "ip4",
        "tls_config": {"ca_file": str(lab.system_store)},
    }
    if place.host in _CONTENT:
        wanted = {"header": "Content-Type", "regexp": _CONTENT[place.host]}
        http["fail_if_header_not_matches"] = [wanted]
    if lab.proxy_url:
        http["proxy_url"] = lab.proxy_url.replace("socks5h:", "socks5:")
    module = {"prober": "http", "timeout": f"{SECONDS}s", "http": http}
    config = lab.write("blackbox.json", json.dumps({"modules": {"m": module}}))
    argv = ["prometheus-blackbox-exporter", f"--config.file={config}", "--web.listen-address=127.0.0.1:9115"]
    process = lab.device.popen(
        [*UNPRIVILEGED, *argv], env=lab.checker_environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:9115/probe?debug=true&module=m&target={quote(place.url, safe='')}"
        fetch = ["curl", "-s", "--retry", "30", "--retry-connrefused", "--retry-delay", "1", "-m", "25", url]
        text = lab.device.run(
            ["env", "-u", "http_proxy", *fetch], timeout=30, env=lab.checker_environment()
        ).stdout
    finally:
        process.terminate()
        process.wait(5)
    return _read_blackbox(text)


def _read_blackbox(text: str) -> Said:
    if re.search(r"^probe_success 1$", text, re.MULTILINE):
        return Said(True, "", "probe_success 1")
    errors = [
        line for line in text.splitlines() if "err=" in line or "level=error" in line or "Invalid" in line
    ]
    last = next(
        (line for line in reversed(errors) if "Probe failed" not in line), errors[-1] if errors else ""
    )
    words = re.sub(r"^.*?module=m target=\S* ", "", last)
    return Said(False, _blackbox_layer(words), words or "probe_success 0")


def _blackbox_layer(words: str) -> str:
    low = words.lower()
    if (
        "proxyconnect" in low
        or "socks connect" in low
        or re.search(r'err="?\S* \S*: (forbidden|proxy auth)', low)
    ):
        return "proxy"
    if "resol" in low or "no such host" in low or "lookup" in low:
        return "dns"
    if "status code" in low or "header" in low or "body" in low:
        return "http"
    if "dial tcp" in low or "connect:" in low:
        return "tcp"
    if "x509" in low or "tls:" in low or "certificate" in low or "tls handshake" in low:
        return "tls"
    if re.search(r"(forbidden|proxy authentication|service unavailable|bad gateway|internal server error|"
                 r"gateway timeout|unable to connect|method not allowed)", low):  # fmt: skip
        return "proxy"
    return "http" if "malformed" in low or "eof" in low else ""


def nmap(lab: FaultLab, place: Place) -> Said:
    """`nmap -sT -Pn --reason -p PORT HOST`."""
    host, port = place.host, place.port
    if lab.proxy_url:
        parts = urlsplit(lab.proxy_url)
        host, port = parts.hostname or "", parts.port or 3128
    command = ["nmap", "-Pn", "-sT", "--reason", "--host-timeout", f"{2 * SECONDS}s", "-p", str(port), host]
    done = lab.device.run([*UNPRIVILEGED, *command], timeout=60, env=lab.checker_environment())
    found = re.search(rf"^{port}/tcp\s+(\S+)\s+\S+\s+(.*)$", done.stdout, re.MULTILINE)
    if found is None:
        unresolved = "Failed to resolve" in done.stderr + done.stdout or "0 hosts" in done.stdout
        layer = ("proxy" if lab.proxy_url else "dns") if unresolved else ""
        return Said(False, layer, "no address" if unresolved else "host timeout")
    state, reason = found.groups()
    words = f"{'proxy ' if lab.proxy_url else ''}{state} ({reason})"
    return Said(state == "open", "" if state == "open" else "proxy" if lab.proxy_url else "tcp", words)
