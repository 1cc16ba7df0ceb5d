"""P6 between OpenSSL's own client and server: every version of TLS, resumed sessions, early data."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.agent import Agent

pytestmark = pytest.mark.netns

ALLOWED, OTHER, UNLISTED = "api.vendor.example", "other.vendor.example", "www.elsewhere.example"
ADDRESS, ADDRESS6, OTHER_ADDRESS = "20.94.0.1", "2603:109a::1", "20.94.0.2"
PAGES, EARLY = 4_433, 4_434
"""Ports of two servers: one gives pages, one takes early data."""
NAMES = {
    "allowed": (ALLOWED, None),
    "not listed": (UNLISTED, "tls_name_not_allowed"),
    "listed for another address": (OTHER, "tls_name_elsewhere"),
    "absent": (None, "tls_name_missing"),
}
PAGE = "Ciphers supported in s_server"
WEAK = ("-cipher", "ALL:@SECLEVEL=0")
"""What this library wants to hear before it speaks the old versions."""
VERSIONS: dict[str, Sequence[str]] = {
    "TLSv1": ("-tls1", *WEAK),
    "TLSv1.1": ("-tls1_1", *WEAK),
    "TLSv1.2": ("-tls1_2",),
    "TLSv1.3": ("-tls1_3",),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A device, two servers, and the agent that judges once the device is isolated."""

    lab: Lab
    agent: Agent | None = None

    def say(self, name: str | None, port: int, *options: str, address: str = ADDRESS) -> str:
        """All that `openssl s_client` says of one connection: of a page, or of a second without a word."""
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        named = "-noservername" if name is None else f"-servername {name}"
        words = f"-connect {where} {named} -CAfile {self.lab.ca_pem} -verify_return_error {' '.join(options)}"
        # A server of pages ends the connection; the other waits, and its tickets come after the handshake.
        command = {
            PAGES: f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 30 openssl s_client -ign_eof {words}",
            EARLY: f"sleep 1 | timeout 30 openssl s_client {words}",
        }[port]
        done = self.lab.device.run(["sh", "-c", command], 60)
        assert done.returncode != 124, "a refusal is a reset, not silence"
        return done.stdout + done.stderr

    def judged(self, case: str, port: int, *options: str, address: str = ADDRESS) -> str:
        """The same, with its end looked at: a handshake, or a reset before the server has said anything."""
        name, reason = NAMES[case] if self.agent else (NAMES[case][0], None)
        before = self.count(reason or "tls_name_allowed")
        said = self.say(name, port, *options, address=address)
        if reason is None:
            assert "Verify return code: 0 (ok)" in said
            assert (PAGE in said) == (port == PAGES)
        else:
            assert "errno=104" in said
            assert "SSL handshake has read 0 bytes" in said
        assert self.agent is None or self.count(reason or "tls_name_allowed") == before + 1
        return said

    def count(self, reason: str) -> int:
        """How often the gate decided so."""
        if self.agent is None:
            return 0
        counters = orders.status(self.agent)["counters"]
        return int({**counters["accepted"], **counters["dropped"]}.get(reason, 0))

    def early(self, case: str) -> tuple[str, bool]:
        """Send a word of its own with the hello: what the client says, and whether the server has it."""
        word = f"word-{secrets.token_hex(8)}"
        file = self.lab.directory / "early.txt"
        file.write_text(word)
        options = ("-tls1_3", "-sess_in", str(session(self.lab, EARLY, case)), "-early_data", str(file))
        said = self.judged(case, EARLY, *options)
        return said, word in self.lab.directory.joinpath(f"{EARLY}.log").read_text(errors="replace")


def session(lab: Lab, port: int, what: str) -> Path:
    """The file of a session that was made before isolation."""
    return lab.directory / f"session-{port}-{what.replace(' ', '-')}"


def serve(lab: Lab, port: int, *options: str) -> None:
    """OpenSSL's server on every address of the internet; it ends with the lab."""
    pem = str(lab.directory / "sessions.pem")
    argv = ["openssl", "s_server", "-accept", str(port), "-cert", pem, "-key", pem, *WEAK, *options]
    with lab.directory.joinpath(f"{port}.log").open("wb") as log:
        lab.internet.popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log)
    deadline = time.monotonic() + 20
    while not lab.reach.connect(ADDRESS, port).ok:
        assert time.monotonic() < deadline, "the server is not up"


@pytest.fixture(scope="module")
def free() -> Iterator[Scene]:
    """Before isolation."""
    with Lab(servers=False) as lab:
        lab.resolver.put(Host(ALLOWED, (ADDRESS,), (ADDRESS6,)), Host(OTHER, (OTHER_ADDRESS,)))
        lab.authority.prepare()
        lab.authority.issue("sessions", (ALLOWED, OTHER, UNLISTED))
        serve(lab, PAGES, "-www")
        serve(lab, EARLY, "-early_data", "-no_anti_replay")
        yield Scene(lab)


@pytest.fixture(scope="module")
def sessions(free: Scene) -> Scene:
    """The device has sessions of every version, and one for early data under every name."""
    for version, options in VERSIONS.items():
        free.judged("allowed", PAGES, *options, "-sess_out", str(session(free.lab, PAGES, version)))
    for case in NAMES:
        free.judged(case, EARLY, "-tls1_3", "-sess_out", str(session(free.lab, EARLY, case)))
    return free


@pytest.fixture(scope="module")
def isolated(sessions: Scene) -> Iterator[Scene]:
    lab = sessions.lab
    rows = [Row(name, port) for name in (ALLOWED, OTHER) for port in (PAGES, EARLY)]
    with lab.agent(f"lists: [{write_list(lab.directory / 'own.yaml', rows)}]\n") as agent:
        orders.isolate(agent)
        for name, kind in ((ALLOWED, "A"), (ALLOWED, "AAAA"), (OTHER, "A")):
            assert lab.reach_from(lab.device, timeout_s=5).dns(name, kind).ok
        yield Scene(lab, agent)
        orders.release(agent)


@pytest.mark.parametrize("case", NAMES)
def test_without_isolation_everything_comes(sessions: Scene, case: str) -> None:
    """Positive control, with early data, which the server takes."""
    for options in VERSIONS.values():
        sessions.judged(case, PAGES, *options)
    said, heard = sessions.early(case)
    assert "Early data was accepted" in said
    assert heard


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_and_name(isolated: Scene, version: str, case: str) -> None:
    said = isolated.judged(case, PAGES, *VERSIONS[version])
    assert case != "allowed" or f"Protocol  : {version}" in said or f"New, {version}" in said


@pytest.mark.parametrize("case", NAMES)
def test_each_name_over_ipv6(isolated: Scene, case: str) -> None:
    isolated.judged(case, PAGES, address=ADDRESS6)


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_of_the_listed_name_opens_no_other(isolated: Scene, version: str, case: str) -> None:
    resumed = ("-sess_in", str(session(isolated.lab, PAGES, version)))
    said = isolated.judged(case, PAGES, *VERSIONS[version], *resumed)
    assert case != "allowed" or "Reused, " in said


@pytest.mark.parametrize("case", NAMES)
def test_early_data_goes_with_an_allowed_hello_only(isolated: Scene, case: str) -> None:
    _, heard = isolated.early(case)
    assert heard == (case == "allowed")
