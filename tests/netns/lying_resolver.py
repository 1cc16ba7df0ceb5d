"""A configured resolver that lies: what it is made to say, and what the device then has open."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator

from isolator.core.compiler import LEARNED
from isolator.model.ruleset import TABLE
from tests.e2e import orders
from tests.lab import Lab, topology
from tests.lab.rogue import Asked, Reply
from tests.netns.bypass_scene import PORT, Stage
from tests.netns.test_promise_p7_answers import answer_to
from tests.netns.told_bytes import hello, say

NAME = "asked.svc.vendor.example"
RIGHT, EVIL = "20.93.0.1", "93.184.216.201"
SECOND = topology.SECOND_RESOLVER
Answer = Callable[[Asked], Iterable[Reply]]


def told(lab: Lab, answer: Answer, name: str = NAME, *, server: str = SECOND.v4, tcp: bool = False) -> str:
    """Ask a resolver that answers so; the addresses it gave, or one word."""
    with lab.rogue_resolver(answer, server):
        return lab.reach_from(lab.device, 5.0).dns(name, server=server, tcp=tcp).detail


def honest(*addresses: str, ttl: int = 60) -> Answer:
    """The answer with these addresses."""

    def answer(asked: Asked) -> Iterator[Reply]:
        yield Reply(answer_to(asked, *addresses, ttl=ttl).to_wire())

    return answer


def learned(stage: Stage, name: str = NAME) -> dict[str, int]:
    """Addresses that the name has opened, and for how many seconds yet."""
    rows = orders.status(stage.agent)["learned"]
    return {each["address"]: each["expires_in_s"] for each in rows if each["name"] == name}


def in_kernel(stage: Stage) -> dict[str, int]:
    """Addresses in the kernel's set at the TLS port, and for how many seconds yet."""
    shown = stage.lab.device.run(["nft", "-j", "list", "set", "inet", TABLE, LEARNED[4]], check=True).stdout
    elements = next(each["set"] for each in json.loads(shown)["nftables"] if "set" in each)["elem"]
    rows = [each["elem"] for each in elements]
    return {row["val"]["concat"][0]: row["expires"] for row in rows if PORT in row["val"]["concat"]}


def reaches(lab: Lab, address: str, name: str) -> bool:
    """Does a connection that names a host get its first bytes to the address? Judged on the wire."""
    marker = secrets.token_hex(8).encode()
    with lab.judge.watch(marker) as sniffer:
        say(lab, address, PORT, [hello(name, marker)])
        return bool(sniffer.report().seen(marker))


def arrives(lab: Lab, play: Callable[[Lab, bytes], None]) -> bool:
    """Does an attempt's marker get out?"""
    marker = secrets.token_hex(8).encode()
    with lab.judge.watch(marker) as sniffer:
        play(lab, marker)
        return bool(sniffer.report().seen(marker))
