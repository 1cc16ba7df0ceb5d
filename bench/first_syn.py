"""Is the address in the kernel before the answer is with the asker? Counted by connections that fail.

Every look-up gets an address that no answer had before, and is followed by a connection to it at once.
"""

from __future__ import annotations

from typing import Any

from bench.cable import Counters
from bench.dns_client import RESOLVER, DnsClient, dns_client, isolate, release
from bench.dnsmasq_peer import available, dnsmasq
from bench.figure import Figure, Spread, at_most
from tests.lab import Lab
from tests.lab.service import Service
from tests.lab.zone import Host

LOOK_UPS = 10_000
_NAMES = 40
_PORT = 443
_NEVER_ANSWERED = "20.240.0.1"


def pool(count: int, second_octet: int) -> list[Host]:
    """Listed names whose answers rotate through addresses, one an answer, TTL 1 and 2 s by turns."""
    each = -(-count // _NAMES)
    addresses = [
        f"20.{second_octet + n // 65_000}.{n % 65_000 // 250}.{1 + n % 250}" for n in range(each * _NAMES)
    ]
    return [
        Host(
            f"edr-{n}.eu.endpoint.security.microsoft.com",
            tuple(addresses[n * each : (n + 1) * each]),
            ttl=1 + n % 2,
            per_answer=1,
        )
        for n in range(_NAMES)
    ]


def run(*, quick: bool) -> list[Figure]:
    """Ours, then dnsmasq with addresses of its own, the same client and servers."""
    count = 1_000 if quick else LOOK_UPS
    with Lab(servers=False) as lab:
        acceptor = Service(
            lab.internet, "bench.acceptor_process", [str(_PORT)], lab.directory / "acceptor.log"
        )
        acceptor.hear()
        try:
            with dns_client(lab) as client:
                counters = Counters(lab.device)
                figures = [_ours(lab, client, counters, count)]
                figures.append(_peer(lab, client, counters, count))
                counters.close()
        finally:
            acceptor.close()
    return figures


def _ours(lab: Lab, client: DnsClient, counters: Counters, count: int) -> Figure:
    hosts = pool(count, 70)
    # The lowest floor, so that elements also expire while it runs.
    agent = lab.agent("lists: [streamlined]\nlearn: {ttl_floor_s: 1}\n")
    agent.start()
    isolate(agent)
    lab.resolver.put(*hosts)
    found = _connected(lab, client, counters, [host.name for host in hosts], count, RESOLVER)
    release(agent)
    agent.stop()
    return _figure(f"first SYNs dropped in {count:,} look-ups", found, at_most(0))


def _peer(lab: Lab, client: DnsClient, counters: Counters, count: int) -> Figure:
    missing = available()
    if missing:
        return Figure("first SYNs dropped, dnsmasq nftset (peer)", Spread.exactly(-1), "of 0", None, missing)
    hosts = pool(count, 90)
    lab.resolver.put(*hosts)
    names = [host.name for host in hosts]
    with dnsmasq(lab, RESOLVER, names) as server:
        found = _connected(lab, client, counters, names, count, server)
    return _figure(f"first SYNs dropped in {count:,} look-ups, dnsmasq nftset (peer)", found, None)


def _connected(
    lab: Lab, client: DnsClient, counters: Counters, names: list[str], count: int, server: str
) -> dict[str, Any]:
    _must_be_shut(lab)
    before = counters.read("Tcp", "RetransSegs")
    found = client.connect(names, count, _PORT, server)
    found["again"] = counters.read("Tcp", "RetransSegs") - before
    return found


def _must_be_shut(lab: Lab) -> None:
    """An address that nobody answered with: were it open, the count could not be anything but zero."""
    with lab.device.socket() as probe:
        probe.settimeout(0.3)
        try:
            probe.connect((_NEVER_ANSWERED, _PORT))
        except OSError:
            return
    raise RuntimeError("the filter under measurement lets everything pass")


def _figure(name: str, found: dict[str, Any], bound: Any) -> Figure:
    dropped = found["late"] + found["refused"]
    return Figure(
        name,
        Spread.exactly(max(dropped, found["again"]) + found["unanswered"]),
        "",
        bound,
        f"{found['refused']} refused, {found['late']} late, {found['again']} segments sent again, "
        f"{found['unanswered']} look-ups without address, {found['addresses']:,} addresses; "
        f"slowest connection {found['slowest_ms']:.1f} ms, "
        f"look-up p50 {found['look_up_ms']:.2f} ms",
    )
