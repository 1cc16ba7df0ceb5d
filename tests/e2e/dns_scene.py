"""A lab and an agent for tests of DNS: two honest resolvers and one that a test may play."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.agent import Agent
from tests.lab.ports import ECHO
from tests.lab.topology import SECOND_RESOLVER

SERVICE = "edge.svc.vendor.example"
CHAINED, LINK = "chain.svc.vendor.example", "node.cdn.elsewhere.example"
SHORT = "short.svc.vendor.example"
ROWS = (Row("*.svc.vendor.example", ECHO),)
CONFIG = f'resolvers: [192.168.50.1, "2001:db8:50::1", {SECOND_RESOLVER.v4}]\nlearn: {{ttl_floor_s: 1}}\n'


@dataclass(frozen=True, slots=True)
class DnsScene:
    """The lab, its agent, and the list that the orders name."""

    lab: Lab
    agent: Agent
    policy: str

    def isolate(self) -> None:
        orders.isolate(self.agent, self.policy)

    def release(self) -> None:
        orders.release(self.agent)

    def learned(self) -> set[str]:
        """Every address that is open by a name now."""
        return {each["address"] for each in orders.status(self.agent)["learned"]}


@contextmanager
def dns_scene() -> Iterator[DnsScene]:
    """Open it; the agent runs and the host is not isolated."""
    with Lab() as lab:
        lab.resolver.put(
            Host(SERVICE, ("20.91.0.1",), ("2603:1097::1",)),
            Host(CHAINED, cname=LINK),
            Host(LINK, ("20.91.0.2",)),
            Host(SHORT, ("20.91.0.3",), ttl=1),
        )
        policy = write_list(lab.directory / "own.yaml", ROWS)
        with lab.agent(CONFIG) as agent:
            yield DnsScene(lab, agent, policy)
