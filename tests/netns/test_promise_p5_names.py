"""P4 and P5 for connections: the agent is killed or stopped at any moment of theirs, and starts again.

Approved ones go on, new ones are refused, and of a hello that waited when the agent died nothing goes out,
neither then nor later.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import orders
from tests.e2e.forge import Forge
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.reach import client_hello

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

NAME, ADDRESSES = "api.vendor.example", {socket.AF_INET: "20.91.0.1", socket.AF_INET6: "2603:1098::1"}
OTHER, OTHER_ADDRESS = "other.vendor.example", "20.91.0.2"
WILD, WILD_ADDRESS = "node7.fleet.vendor.example", "20.91.0.3"
UNLISTED = "www.example.com"
PORT = 8445
SHORT_S, LONG_S = 1.0, 15.0


@dataclass(frozen=True, slots=True)
class Scene:
    """An isolated device whose agent a test may kill."""

    lab: Lab
    forge: Forge

    def ask(self, name: str, qtype: str = "A") -> None:
        """Look a name up as programs do; the gate learns from it."""
        assert self.lab.reach_from(self.lab.device, timeout_s=5).dns(name, qtype).ok

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The agent stands still, each of its threads."""
        pid = self.forge.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + LONG_S
            while any(_state(task) != "T" for task in Path(f"/proc/{pid}/task").iterdir()):
                assert time.monotonic() < deadline, "it does not stop"
                time.sleep(0.005)
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def restart(self) -> None:
        """Kill the agent and start another."""
        self.forge.kill()
        assert self.forge.wait() == -signal.SIGKILL
        self.forge.start()


def _state(task: Path) -> str:
    """One letter (proc(5))."""
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Lab() as lab:
        lab.resolver.put(
            Host(NAME, (ADDRESSES[socket.AF_INET],), (ADDRESSES[socket.AF_INET6],)),
            Host(OTHER, (OTHER_ADDRESS,)),
            Host(WILD, (WILD_ADDRESS,), ttl=3600),
        )
        lab.servers.listen(lab.internet, [("tcp_echo", PORT)])
        rows = (Row(NAME, PORT), Row(OTHER, PORT), Row("*.fleet.vendor.example", PORT))
        with Forge(lab, f"lists: [{write_list(lab.directory / 'own.yaml', rows)}]\n") as forge:
            orders.isolate(forge.agent)
            made = Scene(lab, forge)
            for name in (NAME, OTHER, WILD):
                made.ask(name)
            made.ask(NAME, "AAAA")
            yield made
            orders.release(forge.agent)


class Client:
    """One connection of the device's to the echo behind the door, and what it sends."""

    def __init__(self, lab: Lab, address: str, name: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.hello = client_hello(name)
        self.marker = self.hello[11:27]
        """Of the hello's random field, so it is in the first segment and nowhere else."""
        self._sock = lab.device.socket(family, socket.SOCK_STREAM)
        try:
            self._sock.settimeout(LONG_S)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.connect((address, PORT))
        except BaseException:
            self._sock.close()
            raise

    def say(self, data: bytes) -> None:
        """Send; a reset shows when the answer is read."""
        with contextlib.suppress(ConnectionError):
            self._sock.sendall(data)

    def half(self) -> None:
        """The first part of the hello, without its name's end."""
        self.say(self.hello[:60])

    def rest(self) -> None:
        """The other part."""
        self.say(self.hello[60:])

    def hears(self, expected: bytes, patience_s: float = LONG_S) -> str:
        """What comes back: "echo" of what is expected, "reset", or "nothing"."""
        self._sock.settimeout(patience_s)
        got = b""
        try:
            while len(got) < len(expected):
                part = self._sock.recv(65_536)
                if not part:
                    return "closed"
                got += part
        except ConnectionError:
            return "reset"
        except TimeoutError:
            return "nothing" if not got else "part"
        return "echo" if got == expected else "other bytes"

    def goes_on(self) -> bool:
        """Does a word come back?"""
        word = secrets.token_bytes(16)
        self.say(word)
        return self.hears(word) == "echo"

    def close(self) -> None:
        self._sock.close()


def outcome(lab: Lab, address: str, name: str) -> str:
    """Of a new connection with one whole hello."""
    with contextlib.closing(Client(lab, address, name)) as client:
        client.say(client.hello)
        return client.hears(client.hello)


def cannot_open(lab: Lab, address: str) -> bool:
    """Does a new connection get no answer to its SYN?"""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.device.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(SHORT_S)
        try:
            sock.connect((address, PORT))
        except TimeoutError:
            return True
    return False


@pytest.fixture(params=ADDRESSES, ids=["v4", "v6"])
def address(request: pytest.FixtureRequest) -> str:
    return ADDRESSES[request.param]


def test_the_marker_is_seen_where_the_hello_passes(scene: Scene, address: str) -> None:
    """Positive control of the tests below."""
    with (
        contextlib.closing(Client(scene.lab, address, NAME)) as client,
        scene.lab.judge.watch(client.marker) as sniffer,
    ):
        client.say(client.hello)
        assert client.hears(client.hello) == "echo"
        assert sniffer.report().seen(client.marker)


def test_killed(scene: Scene, address: str) -> None:
    lab = scene.lab
    with contextlib.ExitStack() as stack:
        old, half, mute = (
            stack.enter_context(contextlib.closing(Client(lab, address, NAME))) for _ in range(3)
        )
        old.say(old.hello)
        assert old.hears(old.hello) == "echo"
        sniffer = stack.enter_context(lab.judge.watch(half.marker, mute.marker))
        half.half()
        assert half.hears(b"?", SHORT_S) == "nothing"
        scene.forge.kill()
        assert scene.forge.wait() == -signal.SIGKILL
        assert old.goes_on()
        assert cannot_open(lab, address)
        half.rest()
        mute.say(mute.hello)
        assert half.hears(b"?", SHORT_S) == "nothing"
        assert mute.hears(b"?", SHORT_S) == "nothing"
        assert old.goes_on()
        scene.forge.start()
        # Where their bytes begin, the new agent has not seen.
        assert half.hears(b"?") == "reset"
        assert mute.hears(b"?") == "reset"
        assert old.goes_on()
        report = sniffer.report()
        assert not report.seen(half.marker)
        assert not report.seen(mute.marker)
    assert outcome(lab, address, NAME) == "echo"
    assert outcome(lab, address, UNLISTED) == "reset"


def test_stopped(scene: Scene, address: str) -> None:
    """An agent that stands still judges nothing, and goes on where it stood."""
    lab = scene.lab
    with contextlib.ExitStack() as stack:
        names = (NAME, NAME, UNLISTED)
        old, half, wrong = (
            stack.enter_context(contextlib.closing(Client(lab, address, name))) for name in names
        )
        old.say(old.hello)
        assert old.hears(old.hello) == "echo"
        sniffer = stack.enter_context(lab.judge.watch(half.marker, wrong.marker))
        half.half()
        wrong.half()
        assert half.hears(b"?", SHORT_S) == "nothing"
        with scene.stopped():
            half.rest()
            wrong.rest()
            assert old.goes_on()
            assert cannot_open(lab, address)
            assert half.hears(b"?", SHORT_S) == "nothing"
            assert not sniffer.report().sightings
        assert wrong.hears(b"?") == "reset"
        # After more than ten seconds, on a slow machine, what is held is given up.
        assert half.hears(half.hello) in ("echo", "reset")
        assert old.goes_on()
        assert not sniffer.report().seen(wrong.marker)


class TestRestart:
    """What an agent knows of the doors that the one before had opened (`test_promise_p5_learned` has more)."""

    def test_unlisted_names_are_refused_and_listed_ones_pass_where_they_are(self, scene: Scene) -> None:
        scene.restart()
        for at in (*ADDRESSES.values(), OTHER_ADDRESS, WILD_ADDRESS):
            assert outcome(scene.lab, at, UNLISTED) == "reset"
        for at in ADDRESSES.values():
            assert outcome(scene.lab, at, NAME) == "echo"
        assert outcome(scene.lab, OTHER_ADDRESS, OTHER) == "echo"
        assert outcome(scene.lab, WILD_ADDRESS, WILD) == "echo"

    def test_every_address_is_for_its_own_entry(self, scene: Scene) -> None:
        scene.restart()
        assert outcome(scene.lab, WILD_ADDRESS, NAME) == "reset"
        assert outcome(scene.lab, ADDRESSES[socket.AF_INET], OTHER) == "reset"
        assert outcome(scene.lab, OTHER_ADDRESS, NAME) == "reset"
        assert outcome(scene.lab, OTHER_ADDRESS, WILD) == "reset"

    def test_a_connection_that_said_nothing_under_the_agent_before_cannot_speak_now(
        self, scene: Scene
    ) -> None:
        """However soon: an agent that starts again has nothing older to spare."""
        with contextlib.closing(Client(scene.lab, OTHER_ADDRESS, OTHER)) as client:
            scene.restart()
            client.say(b"anything but a hello")
            assert client.hears(b"?") == "reset"


class TestTamper:
    """Somebody takes away what says which connections are approved."""

    def test_an_emptied_set_is_filled_again(self, scene: Scene, address: str) -> None:
        with contextlib.closing(Client(scene.lab, address, NAME)) as old:
            old.say(old.hello)
            assert old.hears(old.hello) == "echo"
            for version in "46":
                scene.lab.device.run(
                    ["nft", "flush", "set", "inet", "isolator", f"approved{version}"], check=True
                )
            assert old.goes_on()

    def test_a_table_that_was_away_ends_them(self, scene: Scene, address: str) -> None:
        """Anything passed in between, another connection with the same ends too."""
        lab, agent = scene.lab, scene.forge.agent
        with contextlib.closing(Client(lab, address, NAME)) as old:
            old.say(old.hello)
            assert old.hears(old.hello) == "echo"
            before = orders.status(agent)["enforcement"]["repairs"]
            lab.device.run(["nft", "delete", "table", "inet", "isolator"], check=True)
            deadline = time.monotonic() + LONG_S
            while orders.status(agent)["enforcement"]["repairs"] == before:
                assert time.monotonic() < deadline, "the rules did not come back"
                time.sleep(0.02)
            assert old.hears(b"?") == "reset"
        assert outcome(lab, address, NAME) == "echo"
        assert outcome(lab, address, UNLISTED) == "reset"
