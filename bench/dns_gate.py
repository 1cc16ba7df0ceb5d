"""What the gate adds to a look-up, and how many look-ups a second it carries."""

from __future__ import annotations

from functools import partial

from bench.dns_client import DnsClient, dns_client, isolate, release
from bench.figure import Figure, Spread, at_least, at_most
from bench.pairs import in_turn, median, percentile
from tests.lab import Lab, world
from tests.lab.agent import Agent

PER_SECOND = 5_000

NAMES = [
    world.WILDCARD,
    world.CERTIFICATES,
    "edr-cus.us.endpoint.security.microsoft.com",
    "edr-eus.us.endpoint.security.microsoft.com",
    "edr-uks.uk.endpoint.security.microsoft.com",
    "edr-aus.au.endpoint.security.microsoft.com",
    "mdav.us.endpoint.security.microsoft.com",
    "ctldl.windowsupdate.com",
]
"""Names of the streamlined list that an isolated host may ask for."""


def run(*, quick: bool) -> list[Figure]:
    """Latency isolated and direct by turns, then the rate, once direct and once isolated."""
    with Lab(servers=False) as lab:
        agent = lab.agent("lists: [streamlined]\n")
        agent.start()
        with dns_client(lab) as client:
            figures = _latency(agent, client, 4 if quick else 10, 300 if quick else 1_000)
            direct = client.rate(NAMES, PER_SECOND, 2)
            isolate(agent)
            figures += _rate(client, 3 if quick else 10, direct)
            release(agent)
        agent.stop()
    return figures


def _latency(agent: Agent, client: DnsClient, rounds: int, count: int) -> list[Figure]:
    tails: dict[str, list[float]] = {"direct": [], "isolated": []}

    def measured(way: str) -> float:
        if way == "isolated":
            isolate(agent)
        try:
            client.latency(NAMES, 50)  # the first of each name adds its addresses: not what is asked here
            took = client.latency(NAMES, count)
        finally:
            if way == "isolated":
                release(agent)
        tails[way].append(percentile(took, 99))
        return median(took)

    in_rounds = in_turn({way: partial(measured, way) for way in tails}, rounds)
    direct, isolated = in_rounds.spread("direct"), in_rounds.spread("isolated")
    return [
        Figure(
            "DNS gate, added to a look-up, p50",
            in_rounds.differences("isolated", "direct"),
            "ms",
            at_most(1.0),
            f"{isolated.median:.3f} ms isolated, {direct.median:.3f} ms direct; p99 "
            f"{median(tails['isolated']):.2f} and {median(tails['direct']):.2f} ms",
        )
    ]


def _rate(client: DnsClient, seconds: float, direct: dict[str, float]) -> list[Figure]:
    answer = client.rate(NAMES, PER_SECOND, seconds)
    if answer["empty"]:
        raise RuntimeError("a name that the measurement takes for allowed was refused")
    reached = answer["sent"] / answer["took_s"]
    return [
        Figure(
            f"DNS gate, answered at {PER_SECOND:,} queries/s for {seconds:g} s",
            Spread.exactly(100 * answer["answered"] / answer["sent"]),
            "%",
            at_least(100),
            f"{answer['answered']:,} of {answer['sent']:,}; direct, for 2 s: "
            f"{100 * direct['answered'] / direct['sent']:.2f} %",
        ),
        Figure(
            "DNS gate, queries/s that the asker got rid of",
            Spread.exactly(reached),
            "/s",
            at_least(0.995 * PER_SECOND),
            f"asked for {PER_SECOND:,}; direct {direct['sent'] / direct['took_s']:,.0f}",
        ),
    ]
