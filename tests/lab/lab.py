"""The lab: a device behind a router, an internet with servers under real names, a neighbour, and a judge.

with Lab() as lab:
    assert lab.reach.tls("winatp-gw-neu.microsoft.com").ok
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

from tests.lab import ground, topology, world
from tests.lab.agent import Agent
from tests.lab.authority import Authority
from tests.lab.failure import LabError
from tests.lab.leftovers import own_name, remove_namespaces, sweep
from tests.lab.namespace import Namespace
from tests.lab.ports import ON_THE_INTERNET, ON_THE_NEIGHBOUR
from tests.lab.reach import Reach
from tests.lab.resolver import Resolver
from tests.lab.rogue import Answer, RogueResolver
from tests.lab.sender import Sender
from tests.lab.servers import Servers
from tests.lab.sniffer import Judge
from tests.lab.topology import CONTAINER, DEVICE, INTERNET, NEIGHBOUR, ROUTER, Topology
from tests.lab.zone import Host

T = TypeVar("T")
_serials = itertools.count(1)


class Lab:
    """A set of namespaces with all that is in them, made on entering, removed on leaving, however one leaves.

    ``container`` adds a namespace routed behind the device. ``servers=False`` leaves out the TLS, HTTP and
    echo servers (and their certificates), ``resolver=False`` the resolver: for tests that need packets
    only.
    """

    def __init__(
        self,
        *,
        container: bool = False,
        servers: bool = True,
        resolver: bool = True,
        hosts: Iterable[Host] | None = None,
        rp_filter: int = 2,
    ) -> None:
        self.topology = Topology(container=container, rp_filter=rp_filter)
        self.name = own_name(next(_serials))
        self._with_servers = servers
        self._with_resolver = resolver
        self._hosts = tuple(world.default_hosts() if hosts is None else hosts)
        self._spaces: dict[str, Namespace] = {}
        self._open = contextlib.ExitStack()
        self._counter = itertools.count(1)
        self._resolver: Resolver | None = None
        self._servers: Servers | None = None
        self._judge: Judge | None = None
        self._directory: Path | None = None

    def __enter__(self) -> Lab:
        found = ground.probe()
        if found.code is not None:
            raise LabError(found.code, "make a lab", found.detail)
        if self._directory is not None and self._directory.exists():
            raise RuntimeError("this lab is open already")
        sweep()
        try:
            self._open.enter_context(_ended_by_signals())
            atexit.register(self.close)
            self._open.callback(atexit.unregister, self.close)
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process and remove every trace; a second call does nothing."""
        if os.getpid() != self.name.pid:
            return  # a forked child on its way out: the lab is its parent's
        self._open.close()

    @property
    def device(self) -> Namespace:
        """The host under test."""
        return self._space(DEVICE)

    @property
    def router(self) -> Namespace:
        """The device's gateway; its resolver and the switch of the LAN are in here."""
        return self._space(ROUTER)

    @property
    def internet(self) -> Namespace:
        """Every other address of the world is answered in here."""
        return self._space(INTERNET)

    @property
    def neighbour(self) -> Namespace:
        """Another host on the device's LAN."""
        return self._space(NEIGHBOUR)

    @property
    def container(self) -> Namespace:
        """The namespace routed behind the device; only with ``Lab(container=True)``."""
        return self._space(CONTAINER)

    @property
    def resolver(self) -> Resolver:
        """The resolver in the router: zone and log."""
        return _present(self._resolver, "resolver")

    @property
    def servers(self) -> Servers:
        """The servers of the internet and the neighbour."""
        return _present(self._servers, "servers")

    @property
    def judge(self) -> Judge:
        """Watches the wire outside the device: ``with lab.judge.watch(b"marker") as sniffer``."""
        return _present(self._judge, "judge")

    @property
    def directory(self) -> Path:
        """A directory that goes with the lab."""
        return _present(self._directory, "directory")

    @property
    def authority(self) -> Authority:
        """Issues more certificates: ``lab.servers.present(lab.authority.issue("label", ["name"]))``."""
        return Authority(self.directory)

    @property
    def ca_pem(self) -> Path:
        """The CA file that verifies the servers."""
        return self.authority.ca_pem

    @property
    def reach(self) -> Reach:
        """Probes out of the device."""
        return Reach(self.device, self.ca_pem, known=self._known())

    def _known(self) -> Mapping[str, str]:
        return {} if self._resolver is None else self._resolver.known

    def reach_from(self, namespace: Namespace, timeout_s: float = 1.0) -> Reach:
        """Probes out of another namespace."""
        return Reach(namespace, self.ca_pem, timeout_s, self._known())

    def set_resolvers(self, addresses: Sequence[str]) -> None:
        """What /etc/resolv.conf names inside the namespaces, from now on; none is allowed."""
        text = "".join(f"nameserver {address}\n" for address in addresses)
        # In place: the file is bind-mounted, a new one would not be seen.
        (self.directory / "resolv.conf").write_text(text + "options timeout:1 attempts:1\n")

    def sender(
        self,
        destinations: Sequence[tuple[str, int]],
        *,
        rate: float = 20_000,
        count: int = 1_000_000,
        seconds: float = 30.0,
        namespace: Namespace | None = None,
    ) -> Sender:
        """A paced UDP sender in the device (or another namespace), ready to start; ends with the lab."""
        log = self.directory / f"sender-{next(self._counter)}.log"
        sender = Sender(namespace or self.device, destinations, log, rate=rate, count=count, seconds=seconds)
        self._open.callback(sender.close)
        return sender

    def agent(
        self,
        config: str = "{}\n",
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "isolator"),
    ) -> Agent:
        """An agent for the device, not started yet, with a directory of its own; ends with the lab."""
        directory = self.directory / f"agent-{next(self._counter)}"
        agent = Agent(self.device, directory, dict(environment or {}), command)
        agent.prepare(config)
        return agent

    def rogue_resolver(self, answer: Answer, address: str = topology.SECOND_RESOLVER.v4) -> RogueResolver:
        """A resolver in the router that answers as the test says; use ``with`` and ``set_resolvers``."""
        return RogueResolver(self.router, address, answer)

    def _build(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix=self.name.of("dir") + "_"))
        self._open.callback(shutil.rmtree, self._directory, ignore_errors=True)
        router = topology.ADDRESSES[ROUTER]
        self.set_resolvers([router.v4, router.v6])
        # The servers' process needs no namespace to start: let Python start up while the wiring is made.
        if self._with_servers:
            self._servers = Servers(self._directory / "servers.log")
            self._open.callback(self._servers.close)
        self._wire()
        if self._with_resolver:
            self._resolver = Resolver(
                self.router, (router.v4, router.v6), self._hosts, self._directory / "resolver.log"
            )
            self._open.callback(self._resolver.close)
        self._judge = Judge(self.router, topology.JUDGE_PORT, self._directory)
        self._open.callback(self._judge.close)
        if self._servers is not None:
            self._serve(self._servers)
        if self._resolver is not None:
            self._resolver.ready()

    def _wire(self) -> None:
        names = {role: self.name.of(role) for role in self.topology.roles}
        self._open.callback(remove_namespaces, tuple(names.values()))
        _batch("".join(f"netns add {name}\n" for name in names.values()), "add namespaces")
        for role, name in names.items():
            space = Namespace(name, role, topology.ADDRESSES[role], self.directory / "resolv.conf")
            self._open.callback(space.close)
            self._spaces[role] = space
            space.write_sysctls(topology.sysctls(self.topology, role))
        _batch(topology.cables(self.topology, names), "lay cables")
        for role, name in names.items():
            _batch(topology.configuration(self.topology, role), f"configure {role}", "-n", name)
        for space in self._spaces.values():
            space.wait_for_carrier()

    def _serve(self, servers: Servers) -> None:
        authority = self.authority
        authority.prepare()
        names = sorted(host.name for host in self._hosts)
        unlisted = (*world.UNLISTED_HOSTS, world.UNLISTED_SHARED)
        certificates = [
            authority.issue("unlisted", unlisted),  # the first one also serves unknown names
            authority.issue(
                "listed", [name for name in names if name not in unlisted] or ["lab.example.test"]
            ),
        ]
        servers.ready()
        for certificate in certificates:
            servers.present(certificate)
        servers.listen(self.internet, ON_THE_INTERNET)
        servers.listen(self.neighbour, ON_THE_NEIGHBOUR)

    def _space(self, role: str) -> Namespace:
        space = self._spaces.get(role)
        if space is None:
            raise RuntimeError(f"this lab has no {role}; it has {', '.join(self._spaces) or 'nothing yet'}")
        return space


def _present(thing: T | None, what: str) -> T:
    if thing is None:
        raise RuntimeError(f"this lab has no {what}: it is not open, or was made without")
    return thing


def _batch(text: str, operation: str, *options: str) -> None:
    done = subprocess.run(
        ["ip", *options, "-batch", "-"], input=text, text=True, capture_output=True, check=False, timeout=30
    )
    if done.returncode != 0:
        raise LabError("lab.ip_refused", operation, done.stderr.strip())


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """While a lab is open, SIGTERM and SIGHUP raise SystemExit, so that leaving the ``with`` tidies up.

    A handler somebody else has set is left alone, and so is a lab outside the main thread (Python allows
    handlers there only); those labs are tidied by the next one's sweep.
    """
    ours = [
        number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL
    ]
    if threading.current_thread() is not threading.main_thread():
        ours = []

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in ours:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
