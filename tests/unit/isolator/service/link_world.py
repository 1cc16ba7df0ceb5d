"""One host of fakes with a line to a controller in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from isolator.model.config import ControllerSettings
from isolator.service.agent import Agent
from isolator.service.controller_link import Chance, ControllerLink, Outgoing
from isolator.service.link_state import LinkState
from isolator.service.remote_orders import RemoteOrders
from tests.fakes.controller import TOKEN, FakeController, Line
from tests.fakes.state_store import FakeStateStore
from tests.unit.isolator.service.test_agent import Source
from tests.unit.isolator.service.test_controller import Host

SETTINGS = ControllerSettings("https://controller.example:8443", enrolment_token=TOKEN)


class Facts:
    """MachineFacts that a test may change."""

    def __init__(self) -> None:
        self.known: dict[str, object] = {"computer_name": "host-1", "os_platform": "Linux"}

    def facts(self) -> Mapping[str, object]:
        """Name and platform."""
        return dict(self.known)


@dataclass
class World:
    """A host, its stores, and the controller. `boot` starts an agent on it, as after a restart."""

    host: Host = field(default_factory=Host)
    far: FakeController = field(default_factory=FakeController)
    store: FakeStateStore = field(default_factory=FakeStateStore)
    facts: Facts = field(default_factory=Facts)
    settings: ControllerSettings | None = SETTINGS
    lines: list[Line] = field(default_factory=list)
    link: ControllerLink | None = None

    def boot(self, *, line: bool = True) -> Agent:
        """A started agent: recovered, settled, with its line running."""
        self.halt()
        self.far.draining = False
        controller = self.host.agent()
        controller.recover()
        orders = RemoteOrders(controller, LinkState(self.store))
        orders.settle()
        self.link = self._link(orders) if line else None
        if self.link is not None:
            self.link.start()
        return Agent(controller, Source(), remote=orders, link=self.link)

    def _link(self, orders: RemoteOrders) -> ControllerLink:
        def connect(_: ControllerSettings) -> Line:
            self.lines.append(Line(self.far))
            return self.lines[-1]

        def config() -> object:
            from dataclasses import replace

            return replace(self.host.config, controller=self.settings)

        outgoing = Outgoing(connect, config, self.facts)  # type: ignore[arg-type]
        return ControllerLink(orders, outgoing, Chance(between=lambda low, high: low or 0.02))

    def enrolled(self) -> Agent:
        """An agent that has enrolled, greeted, and waits in its first long poll."""
        agent = self.boot()
        self.far.wait_for(lambda: self.far.machines and len(self.far.machine.check_ins) == 2)
        return agent

    def halt(self) -> None:
        """The agent ends; the kernel and both stores stay."""
        self.far.drain()
        if self.link is not None:
            self.link.stop()
        self.link = None

    def report_of(self, generation: int) -> Mapping[str, object]:
        """The first report for that generation."""

        def found() -> list[dict[str, object]]:
            return [each for each in self.far.machine.reports if each["generation"] >= generation]

        self.far.wait_for(found)
        return found()[0]


def eventually(holds: Callable[[], object], within_s: float = 5.0) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)
