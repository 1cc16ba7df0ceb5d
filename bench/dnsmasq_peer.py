"""The peer: dnsmasq with `nftset` and a short ruleset, as a model of name-based filtering without us."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.lab import Lab

_RULES = """
add table inet peer
add set inet peer dm {{ type ipv4_addr; flags timeout; timeout 10m; }}
add chain inet peer out {{ type filter hook output priority 0; policy drop; }}
add rule inet peer out oif "lo" accept
add rule inet peer out ip daddr {resolver} udp dport 53 accept
add rule inet peer out ip daddr @dm accept
"""


def available() -> str | None:
    """None when dnsmasq can do it here, else why not."""
    try:
        said = subprocess.run(["dnsmasq", "--version"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return "dnsmasq is not installed"
    words = said.split()
    return None if "nftset" in words else "this dnsmasq was built without nftset"


@contextmanager
def dnsmasq(lab: Lab, resolver: str, names: Iterable[str]) -> Iterator[str]:
    """Run it in the device with its rules; gives the address to ask. All is taken away afterwards."""
    lab.device.run(["nft", "-f", "-"], stdin=_RULES.format(resolver=resolver), check=True)
    options = [f"--nftset=/{name}/4#inet#peer#dm" for name in names]
    process = lab.device.popen(
        [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"),
            *(
                "--user=root",
                "--group=root",
                "--pid-file=",
                "--listen-address=127.0.0.1",
                "--bind-interfaces",
            ),
            *(f"--server={resolver}", "--cache-size=0", "--dns-forward-max=10000", *options),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(lab)
        if process.poll() is not None:
            raise RuntimeError("dnsmasq did not start")
        yield "127.0.0.1"
    finally:
        process.terminate()
        process.wait(5)
        lab.device.run(["nft", "delete", "table", "inet", "peer"], check=True)


def _wait(lab: Lab) -> None:
    """Until something listens on port 53 in the device."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if lab.device.run(["ss", "-Hlun", "sport = :53"]).stdout.strip():
            return
        time.sleep(0.05)
    raise RuntimeError("dnsmasq does not listen")
