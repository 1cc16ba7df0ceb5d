"""DnsClient: real datagrams on loopback, and resolvers of every temper."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from connectivity_check.failure import Seen
from connectivity_check.model import Observation, Role, Step
from connectivity_check.probes.dns_client import DnsClient

NAME = "winatp-gw-cus.microsoft.com"
Address = tuple[str, int]
Reply = dns.message.Message | bytes
Behaviour = Callable[[dns.message.Message, int], Iterable[Reply]]
"""From a query and how often it came (from 1) to what is sent back."""


class MonotonicClock:
    """The machine's clock."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def utc(self) -> float:
        """Seconds since 1970."""
        return time.time()


@dataclass
class Resolver(asyncio.DatagramProtocol):
    """A name server on loopback, UDP and (with `over_tcp`) TCP, that behaves as it is told."""

    behaviour: Behaviour
    over_tcp: Behaviour | None = None
    host: str = "127.0.0.1"
    port: int = 0
    delay_s: float = 0.0
    queries: list[dns.message.Message] = field(default_factory=list)
    peers: list[Address] = field(default_factory=list)
    counts: dict[tuple[str, int], int] = field(default_factory=dict)
    transport: asyncio.DatagramTransport | None = None
    server: asyncio.Server | None = None

    async def __aenter__(self) -> Resolver:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self.host, self.port)
        )
        self.port = self.transport.get_extra_info("sockname")[1]
        if self.over_tcp is not None:
            self.server = await asyncio.start_server(self._serve, self.host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.transport is not None
        self.transport.abort()
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()
        await asyncio.sleep(0)

    @property
    def address(self) -> Address:
        return self.host, self.port

    def asked(self, kind: dns.rdatatype.RdataType = dns.rdatatype.A) -> list[dns.message.Message]:
        return [query for query in self.queries if query.question[0].rdtype == kind]

    def datagram_received(self, data: bytes, addr: Address) -> None:
        query = dns.message.from_wire(data)
        self.queries.append(query)
        self.peers.append(addr[:2])
        question = query.question[0]
        key = (question.name.to_text(), question.rdtype)
        self.counts[key] = self.counts.get(key, 0) + 1
        for reply in self.behaviour(query, self.counts[key]):
            self._send(reply, addr)

    def _send(self, reply: Reply, addr: Address) -> None:
        assert self.transport is not None
        wire = reply if isinstance(reply, bytes) else reply.to_wire()
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, self.transport.sendto, wire, addr)
        else:
            self.transport.sendto(wire, addr)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.over_tcp is not None
        try:
            query = dns.message.from_wire(
                await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
            )
            for reply in self.over_tcp(query, 1):
                wire = reply if isinstance(reply, bytes) else reply.to_wire()
                writer.write(len(wire).to_bytes(2) + wire)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def reply(query: dns.message.Message, *addresses: str, rcode: str = "NOERROR") -> dns.message.Message:
    """An answer with those of the addresses that belong to the question's type."""
    answer = dns.message.make_response(query, our_payload=1232)
    answer.set_rcode(dns.rcode.from_text(rcode))
    kind = query.question[0].rdtype
    fitting = [each for each in addresses if (":" in each) == (kind == dns.rdatatype.AAAA)]
    if fitting:
        answer.answer.append(
            dns.rrset.from_text(query.question[0].name, 60, "IN", dns.rdatatype.to_text(kind), *fitting)
        )
    return answer


def answering(*addresses: str, rcode: str = "NOERROR") -> Behaviour:
    return lambda query, _: [reply(query, *addresses, rcode=rcode)]


def silent(_: dns.message.Message, __: int) -> list[Reply]:
    return []


def is_aaaa(query: dns.message.Message) -> bool:
    return query.question[0].rdtype == dns.rdatatype.AAAA


GOOD = answering("20.1.2.3", "2603:1030::1")


def asking(
    *resolvers: Resolver,
    name: str = NAME,
    budget_s: float = 2.0,
    tcp: bool = False,
    linger_s: float = 0.0,
    source: str | None = None,
) -> Observation:
    """Run the resolvers, and ask once."""

    async def scenario() -> Observation:
        async with contextual(resolvers):
            client = DnsClient(
                [each.address for each in resolvers], source_address=source, clock=MonotonicClock()
            )
            try:
                return await client.resolve(name, budget_s=budget_s, tcp=tcp, linger_s=linger_s)
            finally:
                await client.close()

    return asyncio.run(scenario())


class contextual:
    """Several resolvers at once."""

    def __init__(self, resolvers: Iterable[Resolver]) -> None:
        self.resolvers = list(resolvers)

    async def __aenter__(self) -> None:
        for each in self.resolvers:
            await each.__aenter__()

    async def __aexit__(self, *_: object) -> None:
        for each in self.resolvers:
            await each.__aexit__()


def with_client(
    scenario: Callable[[DnsClient], Awaitable[None]], *resolvers: Resolver, servers: Iterable[Address] = ()
) -> None:
    async def run() -> None:
        async with contextual(resolvers):
            addresses = [*(each.address for each in resolvers), *servers]
            client = DnsClient(addresses, source_address=None, clock=MonotonicClock())
            try:
                await scenario(client)
            finally:
                await client.close()

    asyncio.run(run())


def closed_port() -> Address:
    """A port where nothing listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return "127.0.0.1", found.getsockname()[1]


def test_both_families_in_one_observation() -> None:
    resolver = Resolver(GOOD)
    seen = asking(resolver)
    assert seen.ok
    assert (seen.step, seen.role) == (Step.RESOLVE, Role.PROBE)
    assert seen.evidence == {
        "name": NAME,
        "resolver": "127.0.0.1",
        "transport": "udp",
        "rcode": "NOERROR",
        "addresses": ["20.1.2.3", "2603:1030::1"],
        "ttl": 60,
        "sent": 2,
    }
    assert 0 < seen.took_s < 1
    query = resolver.asked()[0]
    assert query.flags & dns.flags.RD
    assert (query.edns, query.payload) == (0, 1232)


@pytest.mark.parametrize(
    ("rcode", "addresses", "seen"),
    [
        ("NXDOMAIN", (), Seen.DNS_NXDOMAIN),
        ("NOERROR", (), Seen.DNS_NO_ANSWER),
        ("REFUSED", (), Seen.DNS_REFUSED),
        ("SERVFAIL", (), Seen.DNS_SERVFAIL),
        ("YXDOMAIN", (), Seen.OTHER),
        ("NOERROR", ("0.0.0.0", "::"), Seen.DNS_BOGON),
        ("NOERROR", ("127.0.0.1",), Seen.DNS_BOGON),
        ("NOERROR", ("10.1.2.3",), None),
    ],
)
def test_every_kind_of_answer_has_its_name(rcode: str, addresses: tuple[str, ...], seen: Seen | None) -> None:
    found = asking(Resolver(answering(*addresses, rcode=rcode)))
    assert found.seen is seen
    assert found.evidence["rcode"] == rcode
    assert found.evidence["addresses"] == list(addresses)
    assert ("error" in found.evidence) == (seen is Seen.OTHER)


def test_silence_costs_the_budget_and_no_more() -> None:
    resolver = Resolver(silent)
    found = asking(resolver, budget_s=0.4)
    assert found.seen is Seen.TIMEOUT
    assert 0.39 <= found.took_s < 1.5
    assert "rcode" not in found.evidence
    assert "addresses" not in found.evidence
    assert found.evidence["sent"] == len(resolver.queries) == 8
    assert resolver.asked()[-1].edns == -1, "the last try is without EDNS"


def test_a_lost_datagram_is_sent_again() -> None:
    found = asking(Resolver(lambda query, n: [reply(query, "20.1.2.3")] if n > 1 else []), budget_s=1)
    assert found.ok
    assert 0.1 < found.took_s < 0.9


def test_a_slow_answer_counts_whichever_datagram_it_belongs_to() -> None:
    found = asking(Resolver(GOOD, delay_s=0.5), budget_s=1)
    assert found.ok
    assert found.evidence["sent"] == 6


def test_extended_errors_are_kept_and_made_printable() -> None:
    def blocked(query: dns.message.Message, _: int) -> list[Reply]:
        answer = dns.message.make_response(query)
        answer.use_edns(0, options=[dns.edns.EDEOption(15, "policy \x1b[31m7")])
        answer.set_rcode(dns.rcode.NXDOMAIN)
        return [answer]

    assert asking(Resolver(blocked)).evidence["ede"] == [{"code": 15, "text": "policy ?[31m7"}]


def test_the_chain_of_aliases_is_kept() -> None:
    def alias(query: dns.message.Message, _: int) -> list[Reply]:
        answer = reply(query)
        for owner, target in (("b.privatelink.Net.", "c.net."), (f"{NAME}.", "b.privatelink.net.")):
            answer.answer.append(dns.rrset.from_text(owner, 7, "IN", "CNAME", target))
        kind, address = ("AAAA", "2603:1030::9") if is_aaaa(query) else ("A", "10.0.0.9")
        answer.answer.append(dns.rrset.from_text("c.net.", 300, "IN", kind, address))
        answer.answer.append(dns.rrset.from_text("other.net.", 1, "IN", kind, address[:-1] + "1"))
        return [answer]

    found = asking(Resolver(alias))
    assert found.evidence["cnames"] == ["b.privatelink.net", "c.net"]
    assert found.evidence["addresses"] == ["10.0.0.9", "2603:1030::9"]
    assert found.evidence["ttl"] == 7


def test_a_dropped_aaaa_costs_a_short_grace() -> None:
    resolver = Resolver(lambda q, _: [] if is_aaaa(q) else [reply(q, "20.1.2.3")])
    found = asking(resolver, budget_s=5)
    assert found.ok
    assert (found.evidence["rcode4"], found.evidence["rcode6"]) == ("NOERROR", "timeout")
    assert found.took_s < 2
    asked = resolver.asked(dns.rdatatype.AAAA)
    assert len(asked) >= 2, "AAAA was asked for once more"


def test_a_lost_aaaa_answer_is_not_called_dropped() -> None:
    found = asking(Resolver(lambda q, n: [] if is_aaaa(q) and n == 1 else list(GOOD(q, n))), budget_s=5)
    assert found.evidence["addresses"] == ["20.1.2.3", "2603:1030::1"]
    assert "rcode6" not in found.evidence


def test_an_empty_a_answer_waits_for_aaaa() -> None:
    found = asking(
        Resolver(lambda q, n: [reply(q, "2603:1030::1")] if n > 1 or not is_aaaa(q) else []), budget_s=5
    )
    assert found.ok
    assert found.evidence["addresses"] == ["2603:1030::1"]


def test_an_empty_aaaa_answer_does_not_hide_that_a_was_dropped() -> None:
    found = asking(Resolver(lambda q, _: [reply(q)] if is_aaaa(q) else []), budget_s=0.5)
    assert found.seen is Seen.TIMEOUT
    assert (found.evidence["rcode4"], found.evidence["rcode6"]) == ("timeout", "NOERROR")


def test_a_failed_aaaa_does_not_spoil_the_addresses() -> None:
    found = asking(
        Resolver(lambda q, _: [reply(q, "20.1.2.3", rcode="SERVFAIL" if is_aaaa(q) else "NOERROR")])
    )
    assert found.ok
    assert (found.evidence["rcode"], found.evidence["rcode6"]) == ("NOERROR", "SERVFAIL")


def truncated(query: dns.message.Message, _: int) -> list[Reply]:
    answer = reply(query)
    answer.flags |= dns.flags.TC
    return [answer]


def test_truncated_goes_to_tcp() -> None:
    found = asking(Resolver(truncated, over_tcp=GOOD))
    assert found.ok
    assert found.evidence["truncated"] is True
    assert found.evidence["transport"] == "tcp"
    assert found.evidence["addresses"] == ["20.1.2.3", "2603:1030::1"]


def test_truncated_and_tcp_refused_is_no_answer_in_time() -> None:
    found = asking(Resolver(truncated))
    assert found.seen is Seen.TIMEOUT
    assert found.evidence["truncated"] is True
    assert found.took_s < 1


def test_what_a_truncated_answer_holds_counts_when_tcp_is_refused() -> None:
    def partly(query: dns.message.Message, _: int) -> list[Reply]:
        answer = reply(query, "20.1.2.3")
        answer.flags |= dns.flags.TC
        return [answer]

    found = asking(Resolver(partly))
    assert found.ok
    assert found.evidence["addresses"] == ["20.1.2.3"]


def test_tcp_on_request() -> None:
    resolver = Resolver(silent, over_tcp=GOOD)
    found = asking(resolver, tcp=True)
    assert found.ok
    assert found.evidence["transport"] == "tcp"
    assert "sent" not in found.evidence
    assert not resolver.queries


@pytest.mark.parametrize(
    ("over_tcp", "words"),
    [
        (silent, "closed before an answer"),
        (lambda query, _: [b"HTTP/1.1 400 Bad Request\r\n\r\n"] * 9, "no answer to the question"),
        (lambda query, _: [reply(query, "20.1.2.3").to_wire()[:-3]], "unreadable"),
    ],
)
def test_tcp_that_gives_no_answer_says_why(over_tcp: Behaviour, words: str) -> None:
    found = asking(Resolver(silent, over_tcp=over_tcp), tcp=True)
    assert found.seen is Seen.OTHER
    assert words in str(found.evidence["error"])


def test_tcp_refused() -> None:
    found = asking(Resolver(silent), tcp=True)
    assert found.seen is Seen.CONNECTION_REFUSED
    assert found.took_s < 1


def test_tcp_goes_to_the_next_server_too() -> None:
    found = asking(Resolver(silent), Resolver(silent, over_tcp=GOOD, host="127.0.0.2"), tcp=True)
    assert found.ok
    assert found.evidence["resolver"] == "127.0.0.2"
    assert found.took_s < 0.9


def test_a_silent_server_is_passed_over_and_named() -> None:
    found = asking(Resolver(silent), Resolver(GOOD, host="127.0.0.2"), budget_s=3)
    assert found.ok
    assert found.evidence["resolver"] == "127.0.0.2"
    assert found.evidence["passed_over"] == [{"from": "127.0.0.1", "instead": "generic_timeout_error"}]
    assert found.took_s < 1


@pytest.mark.parametrize("rcode", ["REFUSED", "SERVFAIL"])
def test_a_server_that_will_not_is_passed_over_at_once(rcode: str) -> None:
    found = asking(Resolver(answering(rcode=rcode)), Resolver(GOOD, host="127.0.0.2"), budget_s=5)
    assert found.ok
    assert found.evidence["passed_over"] == [{"from": "127.0.0.1", "instead": rcode}]
    assert found.took_s < 1


def test_the_first_refusal_stands_when_nobody_knows_better() -> None:
    found = asking(Resolver(answering(rcode="REFUSED")), Resolver(silent, host="127.0.0.2"), budget_s=0.5)
    assert found.seen is Seen.DNS_REFUSED
    assert found.evidence["resolver"] == "127.0.0.1"


def test_a_denied_name_is_not_asked_for_elsewhere() -> None:
    second = Resolver(GOOD, host="127.0.0.2")
    assert asking(Resolver(answering(rcode="NXDOMAIN")), second).seen is Seen.DNS_NXDOMAIN
    assert not second.queries


@pytest.mark.skipif(sys.platform != "linux", reason="error queue")
def test_a_closed_port_is_seen_by_its_icmp() -> None:
    async def scenario(client: DnsClient) -> None:
        found = await client.resolve(NAME, budget_s=5)
        assert found.seen is Seen.CONNECTION_REFUSED
        assert found.evidence["icmp"] == {"from": "127.0.0.1", "type": 3, "code": 3, "family": 4}
        assert found.evidence["errno"] == "ECONNREFUSED"
        assert found.took_s < 1
        many = await asyncio.gather(*(client.resolve(f"n{i}.example", budget_s=3) for i in range(50)))
        assert {each.seen for each in many} == {Seen.CONNECTION_REFUSED}

    with_client(scenario, servers=[closed_port()])


def test_a_closed_port_leads_to_the_next_server_at_once() -> None:
    resolver = Resolver(GOOD, host="127.0.0.2")

    async def scenario(client: DnsClient) -> None:
        ported = DnsClient([closed_port(), resolver.address], source_address=None, clock=MonotonicClock())
        found = await ported.resolve(NAME, budget_s=5)
        await ported.close()
        assert found.ok
        assert found.evidence["passed_over"] == [{"from": "127.0.0.1", "instead": "connection_refused"}]
        assert found.took_s < 1

    with_client(scenario, resolver)


def test_a_resolver_that_starts_late_is_still_heard() -> None:
    port = closed_port()[1]

    async def scenario(client: DnsClient) -> None:
        asked = asyncio.ensure_future(client.resolve(NAME, budget_s=3))
        await asyncio.sleep(0.03)
        async with Resolver(GOOD, port=port):
            assert (await asked).ok

    with_client(scenario, servers=[("127.0.0.1", port)])


def test_two_different_answers_are_both_kept_when_listening() -> None:
    def injected(query: dns.message.Message, _: int) -> list[Reply]:
        return [reply(query, "10.10.34.35"), reply(query, "20.1.2.3")]

    found = asking(Resolver(injected), linger_s=0.2)
    answers = found.evidence["answers"]
    assert isinstance(answers, list)
    of_a = [(each["from"], each["addresses"]) for each in answers if each["type"] == "A"]
    assert of_a == [("127.0.0.1", ["10.10.34.35"]), ("127.0.0.1", ["20.1.2.3"])]
    assert found.evidence["addresses"] == ["10.10.34.35"]
    assert found.took_s >= 0.2


def test_without_listening_the_first_answer_ends_it() -> None:
    found = asking(Resolver(lambda q, _: [reply(q, "10.10.34.35"), reply(q, "20.1.2.3")]))
    assert "answers" not in found.evidence
    assert found.took_s < 1


def test_an_answer_from_elsewhere_is_noted_and_not_believed() -> None:
    other = Resolver(silent, host="127.0.0.9")

    def inject(query: dns.message.Message, _: int) -> list[Reply]:
        other._send(reply(query, "10.10.34.34"), real.peers[-1])
        return [reply(query, "20.1.2.3")]

    real = Resolver(inject)

    async def scenario(client: DnsClient) -> None:
        found = await client.resolve(NAME, budget_s=2, linger_s=0.1, server=f"127.0.0.1:{real.port}")
        assert found.evidence["addresses"] == ["20.1.2.3"]
        assert found.evidence["wrong_source"] == ["127.0.0.9"]

    with_client(scenario, real, other)


def test_only_an_answer_from_elsewhere_is_silence() -> None:
    other = Resolver(silent, host="127.0.0.9")

    def inject(query: dns.message.Message, _: int) -> list[Reply]:
        other._send(reply(query, "10.10.34.34"), real.peers[-1])
        return []

    real = Resolver(inject)

    async def scenario(client: DnsClient) -> None:
        server = f"127.0.0.1:{real.port}"
        found = await client.resolve(NAME, budget_s=0.3, linger_s=0.1, server=server)
        assert found.seen is Seen.TIMEOUT
        assert found.evidence["wrong_source"] == ["127.0.0.9"]
        found = await client.resolve(NAME, budget_s=0.3, server=server)
        assert found.seen is Seen.TIMEOUT

    with_client(scenario, real, other)


def wrong_id(query: dns.message.Message) -> dns.message.Message:
    answer = reply(query, "6.6.6.6", "2603::666")
    answer.id ^= 1
    return answer


def wrong_question(query: dns.message.Message) -> dns.message.Message:
    other = dns.message.make_query("evil.example", query.question[0].rdtype)
    other.id = query.id
    return reply(other, "6.6.6.6", "2603::666")


def other_type(query: dns.message.Message) -> dns.message.Message:
    other = dns.message.make_query(NAME, "TXT")
    other.id = query.id
    return dns.message.make_response(other)


@pytest.mark.parametrize("forged", [wrong_id, wrong_question, other_type, lambda query: query])
def test_what_does_not_answer_the_question_is_dropped(
    forged: Callable[[dns.message.Message], dns.message.Message],
) -> None:
    alone = asking(Resolver(lambda query, _: [forged(query)]), budget_s=0.3)
    assert alone.seen is Seen.TIMEOUT
    first = asking(Resolver(lambda query, _: [forged(query), reply(query, "20.1.2.3")]))
    assert first.evidence["addresses"] == ["20.1.2.3"]


def cut(query: dns.message.Message) -> bytes:
    return reply(query, "20.1.2.3", "2603:1030::1").to_wire()[:-13]


def test_an_unreadable_answer_counts_only_when_nothing_better_comes() -> None:
    alone = asking(Resolver(lambda query, _: [cut(query)]), budget_s=0.3)
    assert alone.seen is Seen.OTHER
    assert "unreadable" in str(alone.evidence["error"])
    better = asking(Resolver(lambda query, _: [cut(query), reply(query, "20.1.2.3")]))
    assert better.evidence["addresses"] == ["20.1.2.3"]


@pytest.mark.parametrize("noise", [b"", b"\0", b"\xff" * 12, b"\xff" * 1200, b"HTTP/1.1 400\r\n\r\n"])
def test_noise_is_no_answer(noise: bytes) -> None:
    assert asking(Resolver(lambda _, __: [noise]), budget_s=0.2).seen is Seen.TIMEOUT


def test_a_server_that_does_not_know_edns_is_asked_without() -> None:
    def old(query: dns.message.Message, _: int) -> list[Reply]:
        if query.edns >= 0:
            return [query.to_wire()[:2] + b"\x80\x01" + bytes(8)]  # FORMERR, nothing but the header
        return [reply(query, "20.1.2.3")]

    found = asking(Resolver(old), budget_s=5)
    assert found.ok
    assert found.took_s < 1


def test_formerr_for_good_is_named() -> None:
    found = asking(Resolver(answering(rcode="FORMERR")), budget_s=5)
    assert found.seen is Seen.OTHER
    assert found.evidence["rcode"] == "FORMERR"
    assert found.took_s < 1


def test_over_ipv6_and_from_a_chosen_address() -> None:
    assert asking(Resolver(GOOD, host="::1")).ok
    resolver = Resolver(GOOD)
    assert asking(resolver, source="127.0.0.7").ok
    assert {peer[0] for peer in resolver.peers} == {"127.0.0.7"}
    tcp = asking(Resolver(silent, over_tcp=GOOD), source="127.0.0.7", tcp=True)
    assert tcp.ok


def test_a_source_address_that_is_not_ours_is_an_observation() -> None:
    found = asking(Resolver(GOOD), source="198.51.100.77", budget_s=1)
    assert found.seen is Seen.OTHER
    assert found.evidence["errno"] == "EADDRNOTAVAIL"


def test_names_that_cannot_be_asked_are_observations_without_packets() -> None:
    resolver = Resolver(GOOD)

    async def scenario(client: DnsClient) -> None:
        for name in ("", ".", "a..b", "x" * 64, "a." * 127 + "b", "a b", "a\n.b", "\udcff.example", "a/b"):
            found = await client.resolve(name, budget_s=1)
            assert found.seen is Seen.OTHER, name
            assert found.evidence["error"]
        found = await client.resolve(NAME, budget_s=1, server="resolver.example")
        assert found.seen is Seen.OTHER
        assert not resolver.queries

    with_client(scenario, resolver)


def test_addresses_answer_for_themselves_and_other_spellings_are_names() -> None:
    resolver = Resolver(GOOD)

    async def scenario(client: DnsClient) -> None:
        for address in ("20.1.2.3", "2603:1030::1"):
            found = await client.resolve(address, budget_s=1)
            assert found.ok
            assert found.evidence["addresses"] == [address]
        assert not resolver.queries
        for name in (f"{NAME}.", "bücher.example"):
            assert (await client.resolve(name, budget_s=1)).ok
        asked = {query.question[0].name.to_text() for query in resolver.queries}
        assert asked == {f"{NAME}.", "xn--bcher-kva.example."}

    with_client(scenario, resolver)


def test_no_resolver_at_all() -> None:
    async def scenario(client: DnsClient) -> None:
        found = await client.resolve(NAME, budget_s=1)
        assert found.seen is Seen.OTHER
        assert "no resolver" in str(found.evidence["error"])

    with_client(scenario)


def test_another_resolver_for_one_question() -> None:
    first, second = Resolver(GOOD), Resolver(answering("20.9.9.9"), host="127.0.0.2")

    async def scenario(client: DnsClient) -> None:
        found = await client.resolve(NAME, budget_s=1, server="127.0.0.2", role=Role.OTHER_RESOLVER)
        assert found.evidence["resolver"] == "127.0.0.2"
        assert found.evidence["addresses"] == ["20.9.9.9"]
        assert found.role is Role.OTHER_RESOLVER
        assert not first.queries

    with_client(scenario, first, second)


def test_a_thousand_names_and_dead_ones_among_them() -> None:
    def some(query: dns.message.Message, n: int) -> Iterable[Reply]:
        return [] if query.question[0].name.to_text().startswith("dead") else GOOD(query, n)

    async def scenario(client: DnsClient) -> None:
        started_at = time.monotonic()
        names = [f"{'dead' if i % 10 == 0 else 'n'}{i}.example" for i in range(1000)]
        found = await asyncio.gather(*(client.resolve(name, budget_s=4) for name in names))
        for name, each in zip(names, found, strict=True):
            assert each.ok != name.startswith("dead"), (name, each)
        assert time.monotonic() - started_at < 12

    with_client(scenario, Resolver(some))


def test_cancelling_leaves_nothing_behind() -> None:
    resolver = Resolver(silent)

    async def scenario(client: DnsClient) -> None:
        before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
        with socket.create_server(resolver.address):  # takes connections, says nothing
            for tcp, linger_s in ((False, 0.0), (True, 0.0), (False, 1.0)):
                asked = client.resolve(NAME, budget_s=30, tcp=tcp, linger_s=linger_s)
                running = asyncio.ensure_future(asked)
                await asyncio.sleep(0.05)
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await client.close()
        await asyncio.sleep(0)
        if sys.platform == "linux":
            assert len(os.listdir("/proc/self/fd")) == before

    with_client(scenario, resolver)


def test_ended_questions_give_their_ids_back() -> None:
    resolver = Resolver(lambda query, _: [] if is_aaaa(query) else [reply(query, "20.1.2.3")])

    async def scenario(client: DnsClient) -> None:
        await asyncio.gather(*(client.resolve(f"n{i}.example", budget_s=1) for i in range(20)))
        pool = client._pools[resolver.address]
        assert pool._sockets
        assert not any(each._tickets for each in pool._sockets)

    with_client(scenario, resolver)


def test_close_twice_and_go_on_afterwards() -> None:
    async def scenario(client: DnsClient) -> None:
        assert (await client.resolve(NAME, budget_s=1)).ok
        await client.close()
        await client.close()
        assert (await client.resolve(NAME, budget_s=1)).ok

    with_client(scenario, Resolver(GOOD))


def test_the_systems_own_look_up() -> None:
    async def scenario(client: DnsClient) -> None:
        found = await client.look_up("localhost", budget_s=5)
        assert found.role is Role.GETADDRINFO
        assert found.evidence["transport"] == "system"
        assert "127.0.0.1" in list(found.evidence["addresses"])  # type: ignore[arg-type]
        assert found.seen is Seen.DNS_BOGON
        assert (await client.look_up("20.1.2.3", budget_s=1)).evidence["addresses"] == ["20.1.2.3"]

    with_client(scenario)


def test_a_look_up_that_hangs_does_not_keep_the_program() -> None:
    program = """
import asyncio, socket, time
from connectivity_check.probes.system_lookup import look_up
socket.getaddrinfo = lambda *a, **k: time.sleep(60)
print(asyncio.run(look_up("hangs.example", budget_s=0.2)).seen)
"""
    started_at = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "generic_timeout_error", done.stderr
    assert done.stderr == ""
    assert time.monotonic() - started_at < 10
