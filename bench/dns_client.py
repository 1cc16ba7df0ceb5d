"""The handle on the client process, and the agent it measures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.orders import ORDER, RELEASE
from isolator.adapters.order_socket import ask
from tests.lab import Lab, topology
from tests.lab.agent import Agent
from tests.lab.service import Service

RESOLVER = topology.ADDRESSES[topology.ROUTER].v4
_PATIENCE_S = 120.0


class DnsClient:
    """Asks from within the device."""

    def __init__(self, lab: Lab) -> None:
        self._service = Service(lab.device, "bench.dns_client_process", [], lab.directory / "dns-client.log")
        self._service.hear()

    def latency(self, names: list[str], count: int, server: str = RESOLVER) -> list[float]:
        """Milliseconds of each look-up; RuntimeError when one was lost."""
        answer = self._ask("latency", server, names, count=count)
        if answer["lost"]:
            raise RuntimeError(f"{answer['lost']} of {count} look-ups had no answer")
        return list(answer["ms"])

    def rate(self, names: list[str], per_second: int, seconds: float) -> dict[str, Any]:
        """How many of the paced queries were answered."""
        return self._ask("rate", RESOLVER, names, per_second=per_second, seconds=seconds)

    def connect(self, names: list[str], count: int, port: int, server: str = RESOLVER) -> dict[str, Any]:
        """How the connections after look-ups went."""
        return self._ask("connect", server, names, count=count, port=port)

    def close(self) -> None:
        """End the process."""
        self._service.close()

    def _ask(self, what: str, server: str, names: list[str], **more: Any) -> dict[str, Any]:
        message = {"do": what, "server": server, "names": names, **more}
        return self._service.ask(message, timeout_s=_PATIENCE_S)


@contextmanager
def dns_client(lab: Lab) -> Iterator[DnsClient]:
    """A client that ends with the block."""
    client = DnsClient(lab)
    try:
        yield client
    finally:
        client.close()


def isolate(agent: Agent) -> dict[str, Any]:
    """Order isolation and wait until it is verified."""
    return dict(ask(agent.socket, ORDER, 30.0))


def release(agent: Agent) -> dict[str, Any]:
    """Order release."""
    return dict(ask(agent.socket, RELEASE, 30.0))


def gate_counts(agent: Agent) -> dict[str, int]:
    """What the agent counts, accepted and dropped together."""
    status: Any = ask(agent.socket, {"do": "status"}, 30.0)
    return {**status["counters"]["accepted"], **status["counters"]["dropped"]}
