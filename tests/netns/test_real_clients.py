"""P6 with clients and servers that nobody here wrote: the page comes for the listed name, and for no other.

Every client is first run without isolation, where all of its pages come.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.agent import Agent
from tests.netns.real_clients import CLIENTS, Client, Place, missing

pytestmark = pytest.mark.netns

ALLOWED, OTHER, UNLISTED = "api.vendor.example", "other.vendor.example", "www.elsewhere.example"
ADDRESS, OTHER_ADDRESS = "20.93.0.1", "20.93.0.2"
NAMES = {
    "allowed": (ALLOWED, None),
    "not listed": (UNLISTED, "tls_name_not_allowed"),
    "listed for another address": (OTHER, "tls_name_elsewhere"),
    "absent": (ADDRESS, "tls_name_missing"),
}
"""Whom the client wants at ADDRESS, and under which reason it is refused."""
LED_ASTRAY = {UNLISTED: ADDRESS, OTHER: ADDRESS}
"""What /etc/hosts says; for the listed name the client asks the resolver."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A device with clients; the pages that came before isolation are known."""

    lab: Lab
    place: Place
    agent: Agent
    free: dict[tuple[str, str], str]
    """What the clients said before isolation, by client and case."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        made.resolver.put(Host(ALLOWED, (ADDRESS,)), Host(OTHER, (OTHER_ADDRESS,)))
        certificate = made.authority.issue("real", (ALLOWED, OTHER, UNLISTED, ADDRESS))
        made.servers.present(certificate, nameless=True)
        yield made


@pytest.fixture(scope="module")
def scene(lab: Lab) -> Iterator[Scene]:
    directory = lab.directory / "clients"
    directory.mkdir()
    place = Place(lab.device, lab.ca_pem, directory)
    free: dict[tuple[str, str], str] = {}
    for name, client in CLIENTS.items():
        if missing(client) is None:
            client.prepare(place)
            for case in NAMES:
                free[name, case] = fetch(client, place, case)
    policy = write_list(lab.directory / "own.yaml", (Row(ALLOWED), Row(OTHER)))
    with lab.agent(f"lists: [{policy}]\n") as agent:
        orders.isolate(agent)
        yield Scene(lab, place, agent, free)
        orders.release(agent)


def fetch(client: Client, place: Place, case: str) -> str:
    """Let a client ask for its page."""
    return client.fetch(place, f"https://{NAMES[case][0]}/", LED_ASTRAY)


def count(agent: Agent, reason: str) -> int:
    """How often the gate decided so."""
    counters = orders.status(agent)["counters"]
    return int({**counters["accepted"], **counters["dropped"]}.get(reason, 0))


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("name", CLIENTS)
def test_each_client_and_name(scene: Scene, name: str, case: str) -> None:
    client, (host, reason) = CLIENTS[name], NAMES[case]
    if (code := missing(client)) is not None:
        pytest.skip(code)
    if client.hides and reason == "tls_name_not_allowed":
        reason = "tls_ech_refused"
    page = f"lab {host}"
    assert page in scene.free[name, case], "without isolation every page comes"
    for asked in (ALLOWED, OTHER):
        assert scene.lab.reach_from(scene.lab.device, timeout_s=5).dns(asked).ok
    before = count(scene.agent, reason or "tls_name_allowed")
    said = fetch(client, scene.place, case)
    if reason is None:
        assert page in said
    else:
        assert page not in said
        assert client.reset in said
    assert count(scene.agent, reason or "tls_name_allowed") > before


def test_a_refusal_is_counted_and_explained(scene: Scene) -> None:
    """What a person finds who asks why: the reason as a number in the status, the rule in words."""
    client, agent = CLIENTS["curl"], scene.agent
    before = json.loads(agent.isolator("status", "--json").stdout)["counters"]
    for case in NAMES:
        fetch(client, scene.place, case)
    after = json.loads(agent.isolator("status", "--json").stdout)["counters"]
    for _, reason in NAMES.values():
        kind = "accepted" if reason is None else "dropped"
        told = reason or "tls_name_allowed"
        assert after[kind][told] == before[kind].get(told, 0) + 1
    address = agent.isolator("explain", f"tcp://{ADDRESS}:443").stdout
    assert "server name that is listed" in address
    assert ALLOWED in address
    unlisted = agent.isolator("explain", f"tcp://{UNLISTED}:443").stdout
    assert "on no list in force" in unlisted
