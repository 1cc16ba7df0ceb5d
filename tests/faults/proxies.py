"""The real proxies of the lab: squid (also one that inspects TLS), tinyproxy, microsocks.

Each starts in the proxy's namespace and becomes the way of the case (`lab.proxy_url`).
"""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.faults import pki
from tests.faults.lab import FaultLab
from tests.faults.odd_proxy import Judge, OddProxy
from tests.faults.topology import ADDRESSES, INTERNET, PROXY, PROXY_RESOLVER

HOST = ADDRESSES[PROXY].v4
_SQUID = """
http_port {address}:3128 {port_options}
pid_filename none
cache_log {directory}/cache.log
access_log none
cache deny all
coredump_dir {directory}
hosts_file none
pinger_enable off
icon_directory /usr/share/squid/icons
dns_nameservers {resolver}
dns_timeout 3 seconds
connect_timeout {connect_timeout} seconds
positive_dns_ttl 1 seconds
negative_dns_ttl 1 seconds
shutdown_lifetime 0 seconds
visible_hostname proxy.corp.example
acl SSL_ports port 443
acl CONNECT method CONNECT
{rules}
http_access deny CONNECT !SSL_ports
http_access allow all
"""
BUMP = """
acl step1 at_step SslBump1
ssl_bump peek step1
{exempt}
ssl_bump bump all
sslproxy_cert_error allow all
sslcrtd_program /usr/lib/squid/security_file_certgen -s {directory}/db -M 4MB
sslcrtd_children 2
tls_outgoing_options flags=DONT_VERIFY_PEER
"""


def squid(lab: FaultLab, rules: str = "", *, connect_timeout: int = 3, bump: str | None = None) -> None:
    """Start squid with more `http_access` lines in front; `bump`: inspect TLS, but for these names."""
    directory = lab.directory / "squid"
    directory.mkdir()
    port_options = ""
    if bump is not None:
        port_options, extra = _inspection(lab, bump)
        rules = extra + rules
    lab.write(
        "squid.conf",
        _SQUID.format(
            address=HOST, directory=directory, resolver=PROXY_RESOLVER, rules=rules,
            connect_timeout=connect_timeout, port_options=port_options,
        ),
    )  # fmt: skip
    subprocess.run(["chown", "-R", "proxy:proxy", str(directory)], check=True)
    service = f"fault{os.getpid()}x{lab.name.serial}"  # shared memory of the machine carries this name
    command = ["squid", "-N", "-n", service, "-f", str(lab.directory / "squid.conf")]
    lab.start(lab.proxy, command, 3128, "squid.log")
    lab.proxy_url = f"http://{HOST}:3128"


def _inspection(lab: FaultLab, exempt: str) -> tuple[str, str]:
    directory = lab.directory / "squid"
    lab.write("squid/ca.pem", pki.key_and_certificate(pki.issuer(pki.COMPANY)))
    maker = "/usr/lib/squid/security_file_certgen"
    subprocess.run([maker, "-c", "-s", str(directory / "db"), "-M", "4MB"], check=True, capture_output=True)
    lines = f"acl exempt ssl::server_name {exempt}\nssl_bump splice exempt" if exempt else ""
    options = f"ssl-bump tls-cert={directory}/ca.pem generate-host-certificates=on"
    return options, BUMP.format(exempt=lines, directory=directory)


def tinyproxy(lab: FaultLab, filtered: tuple[str, ...] = ()) -> None:
    """Start tinyproxy; hosts that match a filter expression are refused."""
    lines = [
        "User nobody", "Group nogroup", "Port 8888", f"Listen {HOST}", "Timeout 20", "MaxClients 100",
        "ConnectPort 443", 'ViaProxyName "tinyproxy"', "LogLevel Critical",
    ]  # fmt: skip
    if filtered:
        lines.append(f'Filter "{lab.write("filter", chr(10).join(filtered) + chr(10))}"')
    config = lab.write("tinyproxy.conf", "\n".join(lines) + "\n")
    lab.start(lab.proxy, ["tinyproxy", "-d", "-c", str(config)], 8888, "tinyproxy.log")
    lab.proxy_url = f"http://{HOST}:8888"


def microsocks(lab: FaultLab, credentials: tuple[str, str] | None = None) -> None:
    """Start microsocks; with credentials it accepts nobody else."""
    options = ["-u", credentials[0], "-P", credentials[1]] if credentials else []
    lab.start(lab.proxy, ["microsocks", "-i", HOST, "-p", "1080", *options], 1080, "microsocks.log")
    lab.proxy_url = f"socks5h://{HOST}:1080"


def odd(lab: FaultLab, judge: Judge) -> None:
    """Start our own proxy."""
    proxy = OddProxy(lab.stage, lab.proxy, lab.proxy_resolver, judge)
    lab.proxy_url = f"http://{HOST}:{lab.serve(lab.proxy, proxy.serve)}"


def free_way(lab: FaultLab) -> None:
    """A proxy outside, known to be free, for --control-proxy."""
    proxy = OddProxy(lab.stage, lab.internet, lab.public_resolver, lambda host, port: None)
    lab.serve(lab.internet, proxy.serve, 3199)
    lab.arguments += ["--control-proxy", f"http://{ADDRESSES[INTERNET].v4}:3199"]


def missing() -> tuple[str, ...]:
    """Programs of this module and of the peers that are not installed."""
    wanted = ("squid", "tinyproxy", "microsocks", "nmap", "prometheus-blackbox-exporter", "curl", "setpriv")
    return tuple(name for name in wanted if shutil.which(name) is None)
