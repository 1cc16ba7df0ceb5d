"""P6 over HTTP in the clear: real clients, Host fields, paths, and more than one request on a connection.

Every request carries a marker in its target, and a sniffer outside the device says which of them left it.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.agent import Agent
from tests.lab.sniffer import Sniffer

pytestmark = pytest.mark.netns

WEB, PATHS, OTHER, UNLISTED = (
    "crl.vendor.example",
    "paths.vendor.example",
    "other.vendor.example",
    "www.elsewhere.example",
)
ADDRESS, PATHS_ADDRESS, OTHER_ADDRESS = "20.95.0.1", "20.95.0.2", "20.95.0.3"
PREFACE = "PRI * HTTP/2.0"
"""HTTP 2 packs its fields: this is the marker there (RFC 9113 section 3.4)."""
RUNS = (f"m{secrets.token_hex(6)}".encode(), PREFACE.encode())
"""How every marker begins."""
CURL = ("curl", "-sS", "-m", "20", "--path-as-is")


@dataclass(frozen=True, slots=True)
class Scene:
    """A device, isolated unless there is no agent."""

    lab: Lab
    sniffer: Sniffer
    agent: Agent | None = None

    def run(self, argv: Sequence[str], marker: str) -> tuple[str, bool]:
        """What a program said, and whether the marker has left the device."""
        before = self.seen(marker)
        done = self.lab.device.run(argv, 60)
        return done.stdout + done.stderr, self.seen(marker) > before

    def seen(self, marker: str) -> int:
        """How many frames with it have been on the wire."""
        report = self.sniffer.report()
        assert report.dropped == 0
        return sum(each.tail.startswith(marker.encode()) for run in RUNS for each in report.seen(run))

    def count(self, reason: str) -> int:
        """How often the gate decided so."""
        assert self.agent is not None
        counters = orders.status(self.agent)["counters"]
        return int({**counters["accepted"], **counters["dropped"]}.get(reason, 0))


@pytest.fixture(scope="module")
def free() -> Iterator[Scene]:
    with Lab() as lab:
        hosts = {WEB: ADDRESS, PATHS: PATHS_ADDRESS, OTHER: OTHER_ADDRESS}
        lab.resolver.put(*(Host(name, (address,)) for name, address in hosts.items()))
        with lab.judge.watch(*RUNS) as sniffer:
            yield Scene(lab, sniffer)


@pytest.fixture(scope="module")
def isolated(free: Scene) -> Iterator[Scene]:
    lab = free.lab
    rows = (Row(WEB, 80), Row(OTHER, 80), Row(f"{PATHS}/pki/*", 80))
    with lab.agent(f"lists: [{write_list(lab.directory / 'own.yaml', rows)}]\n") as agent:
        orders.isolate(agent)
        yield Scene(lab, free.sniffer, agent)
        orders.release(agent)


@pytest.fixture
def marker() -> str:
    return f"{RUNS[0].decode()}{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True)
class Case:
    """What curl is told (after its usual options; {m} stands for the marker), and what the gate says."""

    options: tuple[str, ...]
    reason: str
    fine: bool = False
    control: bool = True
    """Whether the lab's server answers it with a page."""
    marker: str | None = None
    """What shows on the wire, when it is not the marker."""


def _host(name: str) -> tuple[str, ...]:
    return ("-H", f"Host: {name}", f"http://{WEB}/{{m}}")


def _target(target: str, host: str = PATHS, *more: str) -> tuple[str, ...]:
    return (*more, "--request-target", target, f"http://{host}/")


CASES: dict[str, Case] = {
    "listed": Case((f"http://{WEB}/{{m}}?a=b",), "http_host_allowed", fine=True),
    "listed, in capitals": Case(_host("CRL.Vendor.Example"), "http_host_allowed", fine=True),
    "listed, with its port": Case(_host(f"{WEB}:80"), "http_host_allowed", fine=True),
    "listed, another port": Case(_host(f"{WEB}:8080"), "http_host_not_allowed"),
    "HTTP 1.0": Case(("-0", f"http://{WEB}/{{m}}"), "http_host_allowed", fine=True),
    "no Host": Case(("-H", "Host:", f"http://{WEB}/{{m}}"), "http_unreadable"),
    "not listed": Case(_host(UNLISTED), "http_host_not_allowed"),
    "listed for another address": Case(_host(OTHER), "http_host_elsewhere"),
    "an address": Case((f"http://{ADDRESS}/{{m}}",), "http_host_not_allowed"),
    "a user part": Case(_host(f"{WEB}@{UNLISTED}"), "http_unreadable"),
    "two hosts": Case(("-H", f"Host: {WEB}, {UNLISTED}", f"http://{WEB}/{{m}}"), "http_unreadable"),
    "absolute": Case(_target(f"http://{WEB}/{{m}}", WEB), "http_host_allowed", fine=True),
    "absolute, not listed": Case(_target(f"http://{UNLISTED}/{{m}}", WEB), "http_unreadable"),
    "absolute, Host not listed": Case(
        ("-H", f"Host: {UNLISTED}", *_target(f"http://{WEB}/{{m}}", WEB)), "http_unreadable"
    ),
    "absolute, both not listed": Case(
        ("-H", f"Host: {UNLISTED}", *_target(f"http://{UNLISTED}/{{m}}", WEB)), "http_host_not_allowed"
    ),
    "CONNECT": Case(("-X", "CONNECT", *_target(f"{WEB}:443", WEB), "-A", "{m}"), "http_host_not_allowed"),
    "HTTP 2 at once": Case(
        ("--http2-prior-knowledge", f"http://{WEB}/{{m}}"), "http_unreadable", control=False, marker=PREFACE
    ),
    "HTTP 2 offered": Case(("--http2", f"http://{WEB}/{{m}}"), "http_unreadable"),
    "path listed": Case(_target("/pki/{m}"), "http_host_allowed", fine=True),
    "path listed, below": Case(_target("/pki/./a/../{m}"), "http_host_allowed", fine=True),
    "path listed, absolute": Case(_target(f"http://{PATHS}/pki/{{m}}"), "http_host_allowed", fine=True),
    "path not listed": Case(_target("/{m}"), "http_path_not_allowed"),
    "path in capitals": Case(_target("/PKI/{m}"), "http_path_not_allowed"),
    "path that leaves": Case(_target("/pki/../{m}"), "http_path_not_allowed"),
    "path that leaves, escaped": Case(_target("/pki/%2e%2E/{m}"), "http_path_not_allowed"),
    "path that may leave": Case(_target("/pki/..%2f{m}"), "http_path_not_allowed"),
    "path that may leave, twice escaped": Case(_target("/pki/%252e%252e/{m}"), "http_path_not_allowed"),
    "path that may leave, parameters": Case(_target("/pki/..;/{m}"), "http_path_not_allowed"),
    "path that may leave, backslash": Case(_target("/pki/..\\{m}"), "http_path_not_allowed"),
    "path only in the query": Case(_target("/{m}?/pki/"), "http_path_not_allowed"),
    "path of two slashes": Case(_target("//pki/{m}"), "http_path_not_allowed"),
    "absolute, path not listed": Case(_target(f"http://{PATHS}/{{m}}"), "http_path_not_allowed"),
}


def command(case: Case, marker: str) -> list[str]:
    """The whole command line."""
    return [*CURL, *(option.replace("{m}", marker) for option in case.options)]


@pytest.mark.parametrize("case", CASES)
def test_without_isolation_it_leaves(free: Scene, marker: str, case: str) -> None:
    """Positive control."""
    said, left = free.run(command(CASES[case], marker), CASES[case].marker or marker)
    assert left
    assert ("lab " in said) == CASES[case].control


@pytest.mark.parametrize("case", CASES)
def test_curl(isolated: Scene, marker: str, case: str) -> None:
    expected = CASES[case]
    before = isolated.count(expected.reason)
    said, left = isolated.run(command(expected, marker), expected.marker or marker)
    assert ("lab " in said) == left == expected.fine, said
    assert expected.fine or "reset by peer" in said
    assert isolated.count(expected.reason) == before + 1


@pytest.mark.parametrize(
    "program",
    [
        ("wget", "-nv", "-O-", "-t1", "-T20"),
        (
            sys.executable,
            "-c",
            "import sys, urllib.request as w; print(w.urlopen(sys.argv[1]).read().decode())",
        ),
    ],
    ids=["wget", "python"],
)
@pytest.mark.parametrize(("url", "fine"), [(f"http://{PATHS}/pki/", True), (f"http://{PATHS}/", False)])
def test_other_clients(isolated: Scene, marker: str, program: Sequence[str], url: str, fine: bool) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"lab.program_missing: {program[0]}")
    said, left = isolated.run([*program, url + marker], marker)
    assert (f"lab {PATHS}" in said) == left == fine
    assert fine or "reset by peer" in said


def test_a_second_request_on_the_connection(isolated: Scene, marker: str) -> None:
    """Keep-alive: fine for the listed host as often as one likes, the end of it for another."""
    again = [f"http://{WEB}/{number}" for number in range(5)]
    said, _ = isolated.run([*CURL, "-v", *again], marker)
    assert said.count(f"lab {WEB}") == 5
    assert said.count("Re-using existing connection") == 4
    first = [*CURL, "-v", f"http://{WEB}/first"]
    then = ["--next", "-sS", "-m", "20", "-H", f"Host: {UNLISTED}", f"http://{WEB}/{marker}"]
    said, left = isolated.run([*first, *then], marker)
    assert said.count("lab ") == 1
    assert "reset by peer" in said
    assert not left


def request(host: str, target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


@pytest.mark.parametrize("number", range(4))
def test_pipelined_requests(isolated: Scene, marker: str, number: int) -> None:
    """Several in one segment: with one for another host among them, that one does not leave."""
    lab = isolated.lab
    assert lab.reach_from(lab.device, timeout_s=5).dns(WEB).ok
    requests = [request(WEB, f"/{n}") for n in range(3)]
    refused = number < 3
    if refused:
        requests[number] = request(UNLISTED, f"/{marker}")
    with lab.device.socket() as sock:
        sock.settimeout(20)
        sock.connect((ADDRESS, 80))
        sock.sendall(b"".join(requests))
        got = b""
        try:
            while got.count(f"lab {WEB}\n".encode()) < 3:
                piece = sock.recv(4096)
                assert piece
                got += piece
            reset = False
        except ConnectionResetError:
            reset = True
    assert not isolated.seen(marker)
    assert reset == refused


@pytest.mark.parametrize("cut", [1, 3, 7, 20])
def test_a_request_in_small_pieces(isolated: Scene, marker: str, cut: int) -> None:
    lab = isolated.lab
    assert lab.reach_from(lab.device, timeout_s=5).dns(WEB).ok
    for host, fine in ((WEB, True), (UNLISTED, False)):
        data = request(host, f"/{marker}")
        with lab.device.socket() as sock:
            sock.settimeout(20)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((ADDRESS, 80))
            try:
                for at in range(0, len(data), cut):
                    sock.sendall(data[at : at + cut])
                came = b"lab " in sock.recv(4096)
            except ConnectionError:
                came = False
        assert came == fine
