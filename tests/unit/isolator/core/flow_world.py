"""A client that speaks TCP to the flow gate, and a table of learned names to judge it by."""

from __future__ import annotations

from ipaddress import ip_address

from isolator.core.doors import opening
from isolator.core.flow_gate import FlowGate
from isolator.core.flow_table import FlowLimits
from isolator.core.flow_talk import Readers
from isolator.core.name_check import FlowPolicy, networks_by_port
from isolator.core.names import LearnedNames
from isolator.model.flow import Address
from isolator.model.policy import LearnLimits
from isolator.model.segment import FlowKey, FlowRuling, Segment
from isolator.wire.first_bytes import Hellos, Requests
from tests.unit.isolator.core.test_name_check import NETWORKS, POLICY

CLIENT = ip_address("198.51.100.7")
SHARED = ip_address("20.1.2.3")
"""Learned for www.listed.test and crl.listed.test."""
OTHER = ip_address("20.1.2.4")
"""Learned for a.wild.test."""
PROXY = ip_address("192.0.2.8")
READERS = Readers(Hellos, Requests)
T0 = 1_000.0
FIRST = 0xFFFF_FF00


def learned() -> LearnedNames:
    names = LearnedNames()
    learn(names, "www.listed.test", SHARED)
    learn(names, "crl.listed.test", SHARED)
    learn(names, "a.wild.test", OTHER)
    return names


def learn(names: LearnedNames, name: str, address: Address, *, ttl: int = 600, now: float = T0) -> None:
    assert POLICY.index is not None
    found = opening(POLICY.index, name)
    assert found is not None
    names.add(names.propose(found, [(address, ttl)], LearnLimits(), now))


def gate(limits: FlowLimits | None = None, names: LearnedNames | None = None) -> FlowGate:
    policy = FlowPolicy(POLICY.index, networks_by_port(NETWORKS), frozenset({(PROXY, 3128)}))
    return FlowGate(names or learned(), READERS, policy, limits)


class Client:
    """One connection; every segment gets the next token."""

    tokens = 0

    def __init__(
        self, server: Address, port: int = 443, *, own_port: int = 40_000, first: int = FIRST
    ) -> None:
        self.key = FlowKey(CLIENT, own_port, server, port)
        self.first = first

    def segment(self, offset: int, payload: bytes = b"", flags: str = "ack psh") -> Segment:
        """A segment whose first byte is at an offset of the stream."""
        Client.tokens += 1
        sequence = (self.first + 1 + offset) % (1 << 32)
        return Segment(self.key, sequence, 77, frozenset(flags.split()), payload, Client.tokens)

    def syn(self) -> Segment:
        return self.segment(-1, flags="syn")

    def open(self, gate: FlowGate, now: float = T0) -> FlowRuling:
        """The handshake."""
        gate.judge(self.syn(), now)
        return gate.judge(self.segment(0, flags="ack"), now)

    def say(self, gate: FlowGate, data: bytes, offset: int = 0, now: float = T0) -> FlowRuling:
        return gate.judge(self.segment(offset, data), now)
