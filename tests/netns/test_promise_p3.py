"""P3: flows from before that the policy forbids are silent on the wire and told; listed ones lose nothing.

Once with connection tracking on before, once with no rule in the device that would switch it on.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.e2e import orders
from tests.e2e.frames import Frame, frames, holes
from tests.e2e.own_list import Row, write_list
from tests.lab import Direction, Host, Lab, Session, world
from tests.lab.agent import Agent
from tests.lab.namespace import Namespace
from tests.lab.ports import ECHO, STREAM, STREAM_WORD
from tests.lab.sniffer import Sniffer

pytestmark = pytest.mark.netns

V4, V6 = socket.AF_INET, socket.AF_INET6
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
SILENT_WITHIN_NS = 100_000_000
LISTENER = 7100
NAMED = "api.vendor.example"
LISTED4, LISTED6, NAMED4 = "20.90.0.7", "2603:1099::7", "20.91.0.1"
ROWS = (
    *(Row(network, port) for network in ("20.90.0.0/24", "2603:1099::/64") for port in (ECHO, STREAM)),
    *(Row(NAMED, port) for port in (ECHO, STREAM)),
    Row("20.90.0.0/24", ECHO, "udp"),
)
NEUTRAL = """
table inet neutral {
    chain watch { type filter hook output priority 0; policy accept; ct state established counter; }
}
"""
"""Somebody's own table whose one rule switches connection tracking on, and forbids nothing."""


class Chatter:
    """Sends on an open socket every 2 ms until told to stop, and remembers what stopped it."""

    def __init__(self, session: Session) -> None:
        self.error: OSError | None = None
        self._socket = session.socket
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def stop(self) -> OSError | None:
        """End it; the error that had ended it before, if any."""
        self._stop.set()
        self._thread.join()
        return self.error

    def _talk(self) -> None:
        while not self._stop.wait(0.002):
            try:
                self._socket.send(b"still talking " * 20)
            except TimeoutError:
                continue
            except OSError as error:
                self.error = error
                return


@dataclass
class Flows:
    """Open flows by what they are, and those that keep sending."""

    sessions: dict[str, Session] = field(default_factory=dict)
    chatters: dict[str, Chatter] = field(default_factory=dict)

    def open(
        self,
        name: str,
        lab: Lab,
        there: str,
        port: int,
        *,
        source: Namespace | None = None,
        udp: bool = False,
    ) -> None:
        """Open one from the device, or another namespace, and see that it works."""
        family = V6 if ":" in there else V4
        reach = lab.reach_from(source or lab.device)
        session = reach.session(there, port, family=family, kind=UDP if udp else TCP)
        assert session.bytes_within(0.05) if port == STREAM else session.echoes(), name
        self.sessions[name] = session

    def talk(self, name: str) -> None:
        """Let one send from now on."""
        self.chatters[name] = Chatter(self.sessions[name])

    def ends(self, name: str) -> tuple[int, str, int, str, int]:
        """Protocol, own and far end of a flow opened in the device or the container."""
        sock = self.sessions[name].socket
        protocol = 17 if sock.type == UDP else 6
        return (protocol, *sock.getsockname()[:2], *sock.getpeername()[:2])

    def stop(self) -> None:
        for chatter in self.chatters.values():
            chatter.stop()
        for session in self.sessions.values():
            session.close()


@dataclass(frozen=True, slots=True)
class Scene:
    """A lab with an agent, with or without connection tracking."""

    lab: Lab
    agent: Agent
    policy: str
    tracking: bool

    def tracked(self) -> str:
        """Every tracked flow of the device as text."""
        commands = (["conntrack", "-L", "-f", family] for family in ("ipv4", "ipv6"))
        return "".join(self.lab.device.run(command, check=True).stdout for command in commands)


@pytest.fixture(params=["tracking_off", "tracking_on"], scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with Lab(container=True) as lab:
        lab.resolver.put(Host(NAMED, (NAMED4,)))
        lab.servers.listen(lab.device, [("tcp_echo", LISTENER)])
        lab.servers.listen(lab.container, [("tcp_echo", LISTENER)])
        tracking = request.param == "tracking_on"
        if tracking:
            lab.device.run(["nft", "-f", "-"], stdin=NEUTRAL, check=True)
        policy = write_list(lab.directory / "own.yaml", ROWS)
        with lab.agent() as agent:
            yield Scene(lab, agent, policy, tracking)


@pytest.fixture
def scene(stage: Scene) -> Iterator[Scene]:
    """The stage, released again afterwards."""
    yield stage
    orders.release(stage.agent)


@pytest.fixture
def flows() -> Iterator[Flows]:
    opened = Flows()
    yield opened
    opened.stop()


def open_forbidden(scene: Scene, flows: Flows) -> None:
    """Flows of the device to where it must not go."""
    lab, far = scene.lab, world.UNLISTED_ADDRESS
    for family, there in (("v4", far.v4), ("v6", far.v6)):
        flows.open(f"idle {family}", lab, there, ECHO)
        flows.open(f"download {family}", lab, there, STREAM)
        flows.open(f"upload {family}", lab, there, ECHO)
        flows.open(f"udp idle {family}", lab, there, ECHO, udp=True)
        flows.open(f"udp {family}", lab, there, ECHO, udp=True)
        for busy in ("upload", "udp"):
            flows.talk(f"{busy} {family}")
    flows.open("neighbour", lab, lab.neighbour.addresses.v4, 445)
    flows.talk("neighbour")


def open_forwarded(scene: Scene, flows: Flows) -> None:
    """Flows through the device: out of the container, and into it."""
    lab, far = scene.lab, world.UNLISTED_ADDRESS
    inner = lab.container
    for family, there in (("v4", far.v4), ("v6", far.v6)):
        flows.open(f"container download {family}", lab, there, STREAM, source=inner)
        flows.open(f"container upload {family}", lab, there, ECHO, source=inner)
        flows.open(f"container udp {family}", lab, there, ECHO, source=inner, udp=True)
        flows.talk(f"container upload {family}")
        flows.talk(f"container udp {family}")
    flows.open("container to listed", lab, LISTED4, ECHO, source=inner)
    flows.talk("container to listed")


def from_device(seen: list[Frame], ends: tuple[int, str, int, str, int]) -> list[Frame]:
    """The frames of one flow that left the device."""
    return [f for f in seen if f.direction is Direction.FROM_DEVICE and f.ends == ends]


def isolate_and_watch(scene: Scene, sniffer: Sniffer) -> tuple[int, list[Frame]]:
    """Order it and let half a second pass: when it was verified, and all that was on the wire."""
    orders.isolate(scene.agent, scene.policy)
    verified_ns = time.monotonic_ns()
    time.sleep(0.5)
    report = sniffer.report()
    assert report.dropped == 0
    return verified_ns, frames(report.sightings)


def assert_silent(seen: list[Frame], names: list[str], flows: Flows, verified_ns: int) -> None:
    """Each flow was on the wire before and is not any more."""
    for name in names:
        left = [frame.at_ns for frame in from_device(seen, flows.ends(name))]
        assert left, f"{name} was never on the wire: it proves nothing"
        assert max(left) <= verified_ns + SILENT_WITHIN_NS, name


def test_forbidden_flows_of_the_device_end(scene: Scene, flows: Flows) -> None:
    """No byte more on the wire, and every local socket was told when the order came back."""
    with scene.lab.judge.watch(snap=96) as sniffer:
        open_forbidden(scene, flows)
        ends = {name: flows.ends(name) for name in flows.sessions}
        tracked_before = scene.tracked()
        orders.isolate(scene.agent, scene.policy)
        verified_ns = time.monotonic_ns()
        told = {
            name: session.told(0.01) if name not in flows.chatters else None
            for name, session in flows.sessions.items()
        }
        time.sleep(0.5)
        report = sniffer.report()
    errors = {name: chatter.stop() for name, chatter in flows.chatters.items()}
    assert report.dropped == 0
    seen = frames(report.sightings)
    for name, flow in ends.items():
        left = [frame.at_ns for frame in from_device(seen, flow)]
        assert left, f"{name} was never on the wire: it proves nothing"
        assert max(left) <= verified_ns + SILENT_WITHIN_NS, name
        assert told[name] or errors.get(name), f"{name} was not told"
    far = world.UNLISTED_ADDRESS
    assert (far.v4 in tracked_before) is (far.v6 in tracked_before) is scene.tracking
    assert far.v4 not in scene.tracked()
    assert far.v6 not in scene.tracked()


def test_a_flow_somebody_opened_to_the_device_ends(scene: Scene, flows: Flows) -> None:
    flows.open("inbound", scene.lab, scene.lab.device.addresses.v4, LISTENER, source=scene.lab.neighbour)
    flows.talk("inbound")
    sock = flows.sessions["inbound"].socket
    ends = (6, *sock.getpeername(), *sock.getsockname())
    with scene.lab.judge.watch(snap=96) as sniffer:
        assert flows.sessions["inbound"].bytes_within(0.05)
        verified_ns, seen = isolate_and_watch(scene, sniffer)
    left = [frame.at_ns for frame in from_device(seen, ends)]
    assert left
    assert max(left) <= verified_ns + SILENT_WITHIN_NS


def test_forwarded_flows_end(scene: Scene, flows: Flows) -> None:
    with scene.lab.judge.watch(snap=96) as sniffer:
        open_forwarded(scene, flows)
        flows.open("into", scene.lab, scene.lab.container.addresses.v4, LISTENER, source=scene.lab.internet)
        flows.talk("into")
        tracked_before = scene.tracked()
        verified_ns, seen = isolate_and_watch(scene, sniffer)
    assert_silent(seen, [n for n in flows.sessions if n != "into"], flows, verified_ns)
    into = flows.sessions["into"].socket
    left = [frame.at_ns for frame in from_device(seen, (6, *into.getpeername(), *into.getsockname()))]
    assert left
    assert max(left) <= verified_ns + SILENT_WITHIN_NS
    inner = scene.lab.container.addresses
    assert (inner.v4 in tracked_before) is scene.tracking
    assert inner.v4 not in scene.tracked()
    assert inner.v6 not in scene.tracked()


def out_of_order(lab: Lab) -> int:
    """TCP segments that came to the device ahead of lost ones (TCPOFOQueue of netstat)."""
    text = lab.device.run(["cat", "/proc/net/netstat"], check=True).stdout
    names, values = (line.split() for line in text.splitlines()[:2])
    return int(dict(zip(names, values, strict=True))["TCPOFOQueue"])


def test_listed_flows_go_on_and_lose_nothing(scene: Scene, flows: Flows) -> None:
    """Idle and then active, uploading, and a stream that only the server feeds; to listed networks."""
    lab = scene.lab
    with lab.judge.watch(snap=96) as sniffer:
        for name, there in (("v4", LISTED4), ("v6", LISTED6)):
            flows.open(f"idle {name}", lab, there, ECHO)
            flows.open(f"download {name}", lab, there, STREAM)
            flows.open(f"upload {name}", lab, there, ECHO)
            flows.talk(f"upload {name}")
        flows.open("udp", lab, LISTED4, ECHO, udp=True)
        before = out_of_order(lab)
        streams = {n: b"" for n in flows.sessions if n.startswith("download")}
        _, seen = isolate_and_watch(scene, sniffer)
        for name in streams:
            streams[name] = read_stream(flows.sessions[name].socket, 0.2)
    for name, chatter in flows.chatters.items():
        assert chatter.stop() is None, name
    for name in [n for n in flows.sessions if n.startswith("idle") or n == "udp"]:
        assert flows.sessions[name].echoes(), name
    for name, data in streams.items():
        assert numbers(data) == list(range(numbers(data)[0], numbers(data)[0] + len(numbers(data)))), name
        assert len(numbers(data)) > 50, name
    assert out_of_order(lab) == before
    assert {name: holes(from_device(seen, flows.ends(name))) for name in flows.chatters} == dict.fromkeys(
        flows.chatters, 0
    )
    assert (LISTED4 in scene.tracked()) is scene.tracking


def test_flows_to_a_shared_address_end_because_nobody_heard_whom_they_named(
    scene: Scene, flows: Flows
) -> None:
    """The far end may be anybody behind that address; the client is told and comes back by name."""
    lab = scene.lab
    with lab.judge.watch(snap=96) as sniffer:
        flows.open("idle", lab, NAMED, ECHO)
        flows.open("download", lab, NAMED, STREAM)
        flows.open("upload", lab, NAMED, ECHO)
        flows.talk("upload")
        ends = [flows.ends(name) for name in flows.sessions]
        verified_ns, seen = isolate_and_watch(scene, sniffer)
    for each in ends:
        left = [frame.at_ns for frame in from_device(seen, each)]
        assert left
        assert max(left) <= verified_ns + SILENT_WITHIN_NS
    for name in ("idle", "download"):
        assert flows.sessions[name].told(), name
    assert flows.chatters["upload"].stop() is not None
    with lab.reach.session(NAMED) as again:
        assert again.echoes()


def read_stream(sock: socket.socket, seconds: float) -> bytes:
    """What has arrived, and arrives in the next seconds."""
    data = b""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            data += sock.recv(65536)
    return data


def numbers(stream: bytes) -> list[int]:
    """The numbers of the whole lines; the first may be cut off and the last too."""
    lines = stream.split(b"\n")[1:-1]
    return [int(line.removeprefix(STREAM_WORD + b" ")) for line in lines]
