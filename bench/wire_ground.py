"""The ground for the figures on gated connections: a cable, a server behind it, an agent, a client.

The addresses of the listed name are reached over a cable of its own, so that the lab's router and bridge do
not hide what the gate costs. Client and server are plain: the least that a connection can cost here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import one_core
from bench.cable import FAR_END, Counters, lay
from bench.dns_client import isolate, release
from bench.models import queue_everything
from tests.corpus import hellos
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.agent import Agent
from tests.lab.reach import client_hello
from tests.lab.service import Service

NAME = "gate.vendor.example"
ADDRESSES = tuple(f"20.92.0.{n}" for n in range(1, 17))
"""Enough that the client's ports do not run out while its closed connections wait (RFC 9293, TIME-WAIT)."""
PORT, DISCARD_PORT, FLOOD_PORT = 8450, 8451, 8452
WORKERS = 12
_SETTINGS = {"net/ipv4/ip_local_port_range": "1024 65535", "net/ipv4/tcp_max_tw_buckets": "262144"}
_KEY_SHARE = 1216 + 8
"""X25519MLKEM768: 1,184 and 32 bytes, with their heads (RFC 8446 section 4.2.8)."""
_TICK = os.sysconf("SC_CLK_TCK")


def openssl_hello() -> bytes:
    """What Python's OpenSSL says: 517 bytes, one segment."""
    return client_hello(NAME)


def large_hello() -> bytes:
    """A hello with a post-quantum key share, as large as browsers' are: two segments at an MTU of 1,500."""
    share = (51, hellos.vector(2, b"\x11\xec" + hellos.vector(2, bytes(_KEY_SHARE - 8))))
    filled = (21, bytes(450))
    more = (hellos.versions(0x0304, 0x0303), hellos.alpn(b"h2", b"http/1.1"), share, filled)
    return hellos.hello(NAME, *more)


@dataclass(frozen=True, slots=True)
class Carried:
    """Connections a second, and the agent's processor time for one of them."""

    per_second: float
    agent_us: float


class Ground:
    """What is measured on. Use `ground()`; it begins not isolated."""

    def __init__(self, lab: Lab, agent: Agent, client: Service) -> None:
        self.lab = lab
        self.agent = agent
        self._client = client
        self.receivers = {True: Counters(lab.internet), False: Counters(lab.device)}
        """IP statistics of the end that receives bulk: of an upload, and of a download."""

    @contextlib.contextmanager
    def way(self, name: str) -> Iterator[None]:
        """`isolated`, `queued` (the model that queues every packet out), or else: nothing in between."""
        if name == "isolated":
            isolate(self.agent)
            try:
                # The kernel gets the addresses, and the agent knows for which name.
                assert self.lab.reach_from(self.lab.device, timeout_s=5).dns(NAME).ok
                yield
            finally:
                release(self.agent)
        elif name == "queued":
            # Its process has the number of the agent's queue, so they cannot be there at a time.
            with queue_everything(self.lab) as queue:
                queue.on()
                try:
                    yield
                finally:
                    queue.off()
        else:
            yield

    def latency(self, hello: bytes, count: int) -> list[float]:
        """Milliseconds from connect to the answer of each of so many connections, one after the other."""
        told = self._ask("latency", addresses=ADDRESSES, port=PORT, hello=hello.hex(), count=count)
        return list(told["ms"])

    def rate(self, hello: bytes, seconds: float) -> Carried:
        """What all workers together carry; RuntimeError when one connection fails."""
        before = self._agent_seconds()
        options = {"workers": WORKERS, "warm_s": 0.3, "seconds": seconds}
        told = self._ask("rate", addresses=ADDRESSES, port=PORT, hello=hello.hex(), **options)
        if told["failed"]:
            raise RuntimeError(f"{told['failed']} of {told['done']} connections failed")
        spent = self._agent_seconds() - before
        return Carried(told["done"] / told["took_s"], spent / max(1, told["all"]) * 1e6)

    def bulk(self, hello: bytes, *, upload: bool, settle_s: float, seconds: float) -> float:
        """Bytes a second at the receiving kernel, over a connection that began with a hello."""
        port = DISCARD_PORT if upload else FLOOD_PORT
        more = {"upload": upload, "seconds": settle_s + seconds + 0.1}
        self._ask("bulk", address=ADDRESSES[0], port=port, hello=hello.hex(), **more)
        with one_core.beside_it():
            self._settle(settle_s)
            rate = self.receivers[upload].rate("IpExt", "InOctets", seconds)
        self._client.hear()
        return rate

    def _agent_seconds(self) -> float:
        """Processor time of the agent so far, the kernel's work for it included."""
        assert self.agent.process is not None
        fields = Path(f"/proc/{self.agent.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def _settle(self, seconds: float) -> None:
        self.receivers[True].rate("IpExt", "InOctets", seconds)

    def _ask(self, what: str, **more: Any) -> dict[str, Any]:
        return self._client.ask({"do": what, **more}, timeout_s=120)


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """Build it, and remove it afterwards."""
    hosts = (Host(NAME, ADDRESSES, ttl=3_600),)
    with Lab(servers=False, hosts=hosts) as lab, contextlib.ExitStack() as held:
        lay(lab)
        route = ("route", "add", "20.92.0.0/24", "via", FAR_END)
        subprocess.run(["ip", "-n", lab.device.name, *route], check=True, capture_output=True)
        lab.device.write_sysctls(_SETTINGS)
        ports = (PORT, DISCARD_PORT, FLOOD_PORT)
        rows = tuple(Row(NAME, port) for port in ports)
        policy = write_list(lab.directory / "bench-wire.yaml", rows)
        log = lab.directory / "wire.log"
        server = Service(lab.internet, "bench.wire_server_process", [str(port) for port in ports], log)
        held.callback(server.close)
        client = Service(lab.device, "bench.wire_client_process", [], log)
        held.callback(client.close)
        server.hear()
        client.hear()
        agent = held.enter_context(lab.agent(f"lists: [{policy}]\n"))
        yield Ground(lab, agent, client)
