"""Somebody asks why a program does not work: the refused name is in the status, in `explain` and in the log.

The names are whatever a program says, so they are bounded in number and length, and cannot speak to terminals.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dns.message
import pytest

from isolator.service.refusals import MAX_REFUSALS
from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.agent import Agent
from tests.lab.reach import client_hello
from tests.lab.topology import ADDRESSES, NEIGHBOUR
from tests.netns.echo_of_pieces import echo_of

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

ALLOWED, ADDRESS, ADDRESS6 = "api.vendor.example", "20.91.0.1", "2603:1098::1"
OTHER, OTHER_ADDRESS = "other.vendor.example", "20.91.0.2"
WEB, WEB_ADDRESS = "crl.vendor.example", "20.91.0.3"
EVIL = "www.evil.example"
PORT, PROXY_PORT = 8445, 3129
PROXY = ADDRESSES[NEIGHBOUR].v4


@dataclass(frozen=True, slots=True)
class Scene:
    """An isolated device that has asked for its names."""

    lab: Lab
    agent: Agent

    def refused(self) -> list[dict[str, Any]]:
        """What the status says, the last one first."""
        found = orders.status(self.agent)["refused"]
        assert isinstance(found, list)
        return found

    def says(self, data: bytes, address: str, port: int) -> str:
        """What becomes of a connection that begins so."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.lab.device.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            return echo_of(sock, (address, port), [data])

    def asks(self, *names: str, over_tcp: bool = False) -> None:
        """Ask the resolver for names that it will not hear of; each one is answered here."""
        resolver = self.lab.reach.resolvers()[0]
        queries = [dns.message.make_query(name, "A", id=7).to_wire() for name in names]
        kind = socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM
        family = socket.AF_INET6 if ":" in resolver else socket.AF_INET
        with self.lab.device.socket(family, kind) as sock:
            sock.settimeout(10)
            sock.connect((resolver, 53))
            for query in queries:
                if over_tcp:
                    sock.sendall(len(query).to_bytes(2, "big") + query)
                    with pytest.raises(ConnectionError):
                        sock.recv(1)
                else:
                    sock.send(query)
                    assert sock.recv(512)[3] & 15 == 5, "REFUSED"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        made.resolver.put(
            Host(ALLOWED, (ADDRESS,), (ADDRESS6,)), Host(OTHER, (OTHER_ADDRESS,)), Host(WEB, (WEB_ADDRESS,))
        )
        made.servers.listen(made.internet, [("tcp_echo", PORT)])
        made.servers.listen(made.neighbour, [("tcp_echo", PROXY_PORT)])
        yield made


@pytest.fixture
def scene(lab: Lab) -> Iterator[Scene]:
    rows = (Row(ALLOWED, PORT), Row(OTHER, PORT), Row(WEB, 80))
    policy = write_list(lab.directory / "own.yaml", rows)
    config = f"lists: [{policy}]\nproxies: [{{address: {PROXY}, port: {PROXY_PORT}}}]\n"
    with lab.agent(config) as agent:
        agent.log.write_text("")
        orders.isolate(agent)
        reach = lab.reach_from(lab.device, timeout_s=10)
        for name in (ALLOWED, OTHER, WEB):
            assert reach.dns(name).ok
        assert reach.dns(ALLOWED, "AAAA").ok
        yield Scene(lab, agent)
        orders.release(agent)
        assert orders.status(agent)["refused"] == []


def connect(target: str) -> bytes:
    """What a client asks a proxy for."""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


def test_each_way_to_name_a_host(scene: Scene) -> None:
    resolver = scene.lab.reach.resolvers()[0]
    assert scene.refused() == []
    assert scene.says(client_hello(EVIL), ADDRESS, PORT) == "reset"
    assert scene.says(client_hello(EVIL), ADDRESS, PORT) == "reset"
    assert scene.says(client_hello(EVIL), ADDRESS6, PORT) == "reset"
    assert scene.says(client_hello(OTHER), ADDRESS, PORT) == "reset"
    assert scene.says(client_hello(ADDRESS), ADDRESS, PORT) == "reset"
    assert scene.says(f"GET /secret HTTP/1.1\r\nHost: {EVIL}\r\n\r\n".encode(), WEB_ADDRESS, 80) == "reset"
    assert scene.says(connect(f"{EVIL}:443"), PROXY, PROXY_PORT) == "reset"
    scene.asks(EVIL)
    scene.asks(EVIL, over_tcp=True)
    rows = [
        (each["reason"], each["name"], each["destination"], each["count"])
        for each in reversed(scene.refused())
    ]
    assert rows == [
        ("tls_name_not_allowed", EVIL, f"tcp://{ADDRESS}:{PORT}", 2),
        ("tls_name_not_allowed", EVIL, f"tcp://[{ADDRESS6}]:{PORT}", 1),
        ("tls_name_elsewhere", OTHER, f"tcp://{ADDRESS}:{PORT}", 1),
        ("tls_name_missing", None, f"tcp://{ADDRESS}:{PORT}", 1),
        ("http_host_not_allowed", EVIL, f"tcp://{WEB_ADDRESS}:80", 1),
        ("proxy_target_not_allowed", f"{EVIL}:443", f"tcp://{PROXY}:{PROXY_PORT}", 1),
        ("dns_name_not_allowed", EVIL, f"udp://{resolver}:53", 1),
        ("dns_name_not_allowed", EVIL, f"tcp://{resolver}:53", 1),
    ]
    assert "secret" not in json.dumps(scene.refused())


def test_what_passes_is_not_among_them(scene: Scene) -> None:
    """Positive control: the same ways with listed names."""
    assert scene.says(client_hello(ALLOWED), ADDRESS, PORT) == "echo"
    assert scene.says(client_hello(ALLOWED), ADDRESS6, PORT) == "echo"
    assert scene.says(connect(f"{ALLOWED}:{PORT}"), PROXY, PROXY_PORT) == "echo"
    assert scene.refused() == []


def test_the_person_who_asks_is_told(scene: Scene) -> None:
    for _ in range(3):
        assert scene.says(client_hello(EVIL), ADDRESS, PORT) == "reset"
    shown = scene.agent.isolator("status").stdout
    (line,) = [each for each in shown.splitlines() if EVIL in each]
    assert line.split()[:4] == ["3", EVIL, "tls_name_not_allowed", f"tcp://{ADDRESS}:{PORT}"]
    for asked in (EVIL, f"tcp://{EVIL}:443", f"tcp://{ADDRESS}:{PORT}"):
        told = scene.agent.isolator("explain", asked).stdout
        assert "  refused  3 times, last at 20" in told, told
        assert f": tls_name_not_allowed, {EVIL} at tcp://{ADDRESS}:{PORT}\n" in told
        assert told.splitlines()[-1].strip() == "which process asked is not known"
    assert "refused  " not in scene.agent.isolator("explain", OTHER).stdout
    log = scene.agent.log.read_text()
    assert f"refused tls_name_not_allowed: {EVIL} to tcp://{ADDRESS}:{PORT}, 1 so far" in log
    assert log.count(EVIL) == 2, "once and twice; the third is told with the fourth"


def test_explain_says_what_the_gate_wants_to_hear(scene: Scene) -> None:
    """What it asks for is what passes, and QUIC is named as no way."""
    told = scene.agent.isolator("explain", f"tcp://{ALLOWED}:{PORT}").stdout
    assert f"  on wire  tcp/{PORT}: the TLS hello has to name {ALLOWED} (server name, SNI)\n" in told
    assert f"  on wire  tcp/{PORT} through the proxy {PROXY}:{PROXY_PORT}: CONNECT {ALLOWED}:{PORT}," in told
    answer = orders.explain(scene.agent, f"tcp://{WEB_ADDRESS}:80")
    (first,) = answer["first_bytes"]
    assert (first["at"], first["how"], first["through"]) == ("tcp/80", "http_host", None)
    assert scene.says(client_hello(EVIL), ADDRESS, PORT) == "reset"
    assert scene.says(client_hello(ALLOWED), ADDRESS, PORT) == "echo"


def test_names_cannot_speak_to_a_terminal(scene: Scene) -> None:
    """Octets of a DNS name are free: escape sequences, line ends, bytes that begin no character."""
    scene.asks(r"\027[2J\013\010\155fake.evil.example")
    (refusal,) = scene.refused()
    assert refusal["name"] == r"\027\0912j\013\010\155fake.evil.example"
    for text in (
        scene.agent.isolator("status").stdout,
        scene.agent.isolator("status", "--json").stdout,
        scene.agent.log.read_text(),
    ):
        assert "fake.evil.example" in text
        assert all(each.isprintable() or each == "\n" for each in text)
        assert not [line for line in text.splitlines() if line.startswith("fake")]


def test_a_flood_of_made_up_names_is_bounded(scene: Scene) -> None:
    """The table keeps its size and what other programs were refused; the log hears of it ever more rarely."""
    assert scene.says(client_hello(EVIL), ADDRESS, PORT) == "reset"
    before = len(scene.agent.log.read_text().splitlines())
    scene.asks(*(f"{number:060}.{'x' * 60}.tunnel.example" for number in range(1_000)))
    status = orders.status(scene.agent)
    refused = status["refused"]
    assert len(refused) == MAX_REFUSALS
    assert status["refused_forgotten"] == 1_001 - MAX_REFUSALS
    assert (refused[-1]["reason"], refused[-1]["name"]) == ("tls_name_not_allowed", EVIL)
    assert all(each["name"].endswith("tunnel.example") for each in refused[:-1])
    assert max(len(each["name"]) for each in refused) <= 100
    assert len(scene.agent.log.read_text().splitlines()) - before <= 2 * 10


def test_after_a_restart_explain_knows_what_is_open(lab: Lab) -> None:
    """The kernel has the address, and only its entry is known: that is what explain and status go by."""
    name, address = "a.svc.vendor.example", "20.91.0.9"
    lab.resolver.put(Host(name, (address,)))
    policy = write_list(lab.directory / "wild.yaml", [Row("*.svc.vendor.example", PORT)])
    with lab.agent(f"lists: [{policy}]\n") as agent:
        scene = Scene(lab, agent)
        orders.isolate(agent)
        assert lab.reach_from(lab.device, timeout_s=10).dns(name).ok
        agent.kill()
        agent.start(60)
        status = orders.status(agent)
        assert [(each["address"], each["port"], each["entry"]) for each in status["inherited"]] == [
            (address, PORT, "wild#1")
        ]
        assert scene.says(client_hello(name), address, PORT) == "echo"
        told = orders.explain(agent, f"tcp://{address}:{PORT}")
        assert (told["verdict"], told["reason"], told["entry"]) == ("accept", "learned_address", "wild#1")
        assert "*.svc.vendor.example" in told["first_bytes"][0]["sentence"]
        assert "1 from before the agent's restart" in agent.isolator("status").stdout
        assert lab.reach_from(lab.device, timeout_s=10).dns(name).ok
        assert orders.status(agent)["inherited"] == []
        orders.release(agent)
        assert orders.status(agent)["inherited"] == []
