"""What the DNS gate costs and what it believes."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from ipaddress import ip_address
from typing import Any

import dns.message
import dns.rrset

from bench.figure import Figure, Spread, at_least, at_most
from bench.orders import ISOLATE, RELEASE
from isolator.adapters.order_socket import ask
from isolator.model.datagram import Datagram
from isolator.wire.dns_render import render_query
from isolator.wire.ip_packet import render_udp
from tests.lab import Lab, topology, world
from tests.lab.agent import Agent
from tests.lab.ground import python_path

RESOLVER = topology.ADDRESSES[topology.ROUTER].v4
DEVICE = topology.ADDRESSES[topology.DEVICE].v4
FORGED = "203.0.113.66"
"""The address that forged answers offer."""

RATE, SECONDS = 5_000, 10


def run(*, quick: bool) -> list[Figure]:
    """All of it on one lab with one agent."""
    with Lab() as lab:
        agent = lab.agent()
        agent.start()
        time.sleep(1.5)
        figures = [_latency(lab, agent, 300 if quick else 1500)]
        figures.append(_peer(lab, 500 if quick else 10_000))
        ask(agent.socket, ISOLATE, 30.0)
        figures.append(_first_syn(lab, 500 if quick else 10_000))
        figures += _sustained(lab, 3 if quick else SECONDS)
        figures.append(_forged(lab, agent, 5_000 if quick else 100_000))
        ask(agent.socket, RELEASE, 30.0)
        agent.stop()
    return figures


def _latency(lab: Lab, agent: Agent, count: int) -> Figure:
    """One client, one query after the other; isolated and free in turn."""
    samples: dict[str, list[float]] = {"free": [], "isolated": []}
    with lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect((RESOLVER, 53))
        asker.settimeout(1.0)
        for _ in range(3):
            samples["free"] += _ask_often(asker, count)
            ask(agent.socket, ISOLATE, 30.0)
            samples["isolated"] += _ask_often(asker, count)
            ask(agent.socket, RELEASE, 30.0)
    free, isolated = Spread.of(samples["free"]), Spread.of(samples["isolated"])
    added = isolated.median - free.median
    return Figure(
        "DNS gate, p50 added to a look-up",
        Spread.exactly(added),
        "ms",
        at_most(1.0),
        f"p50 {free.median:.3f} ms free, {isolated.median:.3f} ms isolated",
    )


def _ask_often(asker: socket.socket, count: int) -> list[float]:
    taken = []
    for number in range(count):
        query = render_query(number & 0xFFFF, world.WILDCARD, 1)
        started = time.perf_counter()
        asker.send(query)
        asker.recv(512)
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def _in_device(lab: Lab, module: str, *arguments: object) -> Any:
    done = lab.device.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        120.0,
        env={**os.environ, "PYTHONPATH": python_path()},
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def _sustained(lab: Lab, seconds: int) -> list[Figure]:
    counts = _in_device(lab, "bench.dns_load_process", RESOLVER, world.WILDCARD, RATE, seconds)
    lost = counts["sent"] - counts["answered"]
    return [
        Figure(
            f"DNS gate, queries a second over {seconds} s",
            Spread.exactly(counts["sent"] / seconds),
            "q/s",
            at_least(RATE * 0.99),
            "from 64 ports, allowed name",
        ),
        Figure("DNS gate, allowed answers lost meanwhile", Spread.exactly(lost), "", at_most(0)),
    ]


def _first_syn(lab: Lab, lookups: int) -> Figure:
    counts = _in_device(lab, "bench.first_syn_process", RESOLVER, world.ROTATING, lookups)
    wrong = lookups - counts["connected"]
    return Figure(
        f"first SYNs dropped in {lookups:,} look-ups",
        Spread.exactly(wrong),
        "",
        at_most(0),
        f"200 addresses in turn, TTL 1 s: {counts}",
    )


def _peer(lab: Lab, lookups: int) -> Figure:
    """dnsmasq with nftset, the name-based baseline, under the same look-ups."""
    table = (
        "table inet peer { set open { type ipv4_addr; flags timeout; timeout 60s; }\n"
        "chain out { type filter hook output priority 0; policy drop; oif lo accept;"
        f" ip daddr {RESOLVER} udp dport 53 accept; ip daddr @open tcp dport 443 accept; }}\n}}\n"
    )
    lab.device.run(["nft", "-f", "-"], 10.0, stdin=table, check=True)
    process = lab.device.popen(
        [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
            "--pid-file=", "--user=root", "--listen-address=127.0.0.1", "--bind-interfaces",
            f"--server={RESOLVER}", f"--nftset=/{world.ROTATING}/4#inet#peer#open",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        time.sleep(0.5)
        if process.poll() is not None:
            said = process.stderr.read().decode().strip() if process.stderr else ""
            raise RuntimeError(f"dnsmasq does not run: {said}")
        counts = _in_device(lab, "bench.first_syn_process", "127.0.0.1", world.ROTATING, lookups)
    finally:
        process.kill()
        process.wait()
        lab.device.run(["nft", "delete", "table", "inet", "peer"], 10.0)
    return Figure(
        f"first SYNs dropped in {lookups:,} look-ups, dnsmasq with nftset (peer)",
        Spread.exactly(lookups - counts["connected"]),
        "",
        None,
        str(counts),
    )


def _forged(lab: Lab, agent: Agent, count: int) -> Figure:
    """Half from the resolver's address off the path, half self-sent over loopback; queries are under way."""
    chance = random.Random(7)
    name = world.WILDCARD
    with (
        lab.router.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as off_path,
        lab.device.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as own,
        lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker,
    ):
        asker.connect((RESOLVER, 53))
        asker.setblocking(False)
        port = asker.getsockname()[1]
        for number in range(count):
            if number % 100 == 0:
                asker.send(render_query(chance.randrange(1 << 16), name, 1))
            packet = _forgery(
                name, chance.randrange(1 << 16), port if number % 3 else 40_000 + number % 9_000
            )
            (off_path if number % 2 else own).sendto(packet, (DEVICE, 0))
    time.sleep(0.5)
    listing = lab.device.run(["nft", "list", "table", "inet", "isolator"], 30.0, check=True).stdout
    status: Any = ask(agent.socket, {"do": "status"}, 30.0)
    believed = listing.count(FORGED) + sum(each["address"] == FORGED for each in status["learned"])
    refused = {key: value for key, value in status["counters"]["dropped"].items() if key.startswith("dns")}
    return Figure(
        f"forged or self-sent answers believed, of {count:,}",
        Spread.exactly(believed),
        "",
        at_most(0),
        f"gate refused {refused}",
    )


_TEMPLATES: dict[str, bytes] = {}


def _forgery(name: str, number: int, port: int) -> bytes:
    """A well-formed answer to a query that was not asked, or not with this id and port."""
    if name not in _TEMPLATES:
        answer = dns.message.make_response(dns.message.make_query(name, "A"))
        answer.answer.append(dns.rrset.from_text(f"{name}.", 300, "IN", "A", FORGED))
        _TEMPLATES[name] = answer.to_wire()[2:]
    payload = number.to_bytes(2, "big") + _TEMPLATES[name]
    return render_udp(Datagram(ip_address(RESOLVER), 53, ip_address(DEVICE), port, payload))
