"""P6 as a table through the kernel: recorded clients, every name and shape, and not one wrong verdict.

A device under isolation calls an echo server that remembers what it heard. An allowed hello comes back with
the marker behind it; of a refused one the server has not heard a single byte, and the wire outside the device
has not seen the marker.
"""

from __future__ import annotations

import functools
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pytest

from isolator.wire.tls_hello import parse_hello
from tests.corpus.hellos import recorded
from tests.e2e import orders
from tests.e2e.own_list import Row as ListRow
from tests.e2e.own_list import write_list
from tests.lab import Host, Lab
from tests.lab.agent import Agent
from tests.netns import hello_rows
from tests.netns.hearing_echo import HearingEcho, hearing_echo
from tests.netns.hello_rows import (
    ADDRESSES,
    ALLOWED,
    MARKER,
    NAMES,
    OTHER,
    OTHER_ADDRESSES,
    PORT,
    SHAPES,
    Row,
    flights,
)
from tests.netns.raw_tcp import Call, RawTcp, raw_tcp

pytestmark = pytest.mark.netns


@dataclass(frozen=True, slots=True)
class Scene:
    """A device that can call, and who hears it."""

    lab: Lab
    client: RawTcp
    echo: HearingEcho

    def wrong(self, rows: Iterable[Row], *, isolated: bool = True) -> tuple[int, list[str]]:
        """Make every call: how often something had to be sent again, and those that ended wrongly."""
        again, wrong = 0, []
        made: list[tuple[Row, Call]] = []
        with self.lab.judge.watch(hello_rows.RUN) as sniffer:
            report = sniffer.report()
            for batch in hello_rows.batches(rows):
                calls = [row.call() for row in batch]
                self.client.make(calls)
                made += zip(batch, calls, strict=True)
                report = sniffer.report()  # after each batch, so that it keeps up
        assert report.dropped == 0
        seen = {each.tail[:MARKER] for each in report.seen(hello_rows.RUN)}
        for row, call in made:
            again += call.again
            heard, shown = self._heard(row, call), row.marker in seen
            if row.outcome == "echo" or not isolated:
                right = call.outcome == "echo" and call.echoed() == heard == row.stream and shown
            else:
                right = call.outcome == row.outcome and heard == b"" and not shown
            if not right:
                wrong.append(f"{row.label}: {call.outcome}, {len(heard)} bytes arrived, marker seen: {shown}")
        return again, wrong

    def _heard(self, row: Row, call: Call) -> bytes:
        own = self.lab.device.addresses
        return self.echo.heard.get((own.v6 if ":" in row.server else own.v4, call.own_port), b"")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(servers=False) as made:
        made.resolver.put(
            Host(ALLOWED, (ADDRESSES[4],), (ADDRESSES[6],)),
            Host(OTHER, (OTHER_ADDRESSES[4],), (OTHER_ADDRESSES[6],)),
        )
        yield made


@pytest.fixture(scope="module")
def scene(lab: Lab) -> Iterator[Scene]:
    with raw_tcp(lab.device) as client, hearing_echo(lab.internet, PORT) as echo:
        yield Scene(lab, client, echo)


@pytest.fixture(scope="module")
def agent(lab: Lab) -> Iterator[Agent]:
    policy = write_list(lab.directory / "own.yaml", (ListRow(ALLOWED, PORT), ListRow(OTHER, PORT)))
    with lab.agent(f"lists: [{policy}]\n") as agent:
        orders.isolate(agent)
        yield agent
        orders.release(agent)


def ask(lab: Lab) -> None:
    """Let the device ask for its names, as long as their answers live."""
    for name in (ALLOWED, OTHER):
        for kind in ("A", "AAAA"):
            assert lab.reach_from(lab.device, timeout_s=5).dns(name, kind).ok


def counted(agent: Agent) -> Counter[str]:
    """What the gate has decided so far, by reason."""
    counters = orders.status(agent)["counters"]
    return Counter({**counters["accepted"], **counters["dropped"]})


def test_the_rewriter_gives_what_two_readers_read() -> None:
    """The product's reader and OpenSSL's, which is a server's."""
    for client, data in recorded("tls"):
        flight = flights()[client]
        assert flight.render() == data, "taken apart and put together is the same"
        for name in (ALLOWED, None):
            for record in (None, 160, 1):
                rewritten = flight.named(name).render(record)
                read = parse_hello(rewritten)
                assert read is not None
                assert read.server_name == name
                assert read.size == len(flight.named(name).hello(record))
            assert _as_openssl_reads(flight.named(name).render()) == name, client


def _as_openssl_reads(flight: bytes) -> str | None:
    named: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.sni_callback = lambda _, name, __: named.append(name)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(flight)
    with pytest.raises(ssl.SSLError):  # it has no certificate: the name is read before that shows
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    assert len(named) == 1
    return named[0]


def test_the_table_has_every_cell() -> None:
    clients = len(flights())
    assert clients >= 18
    assert len(list(hello_rows.table())) == clients * len(NAMES) * len(SHAPES) * len(ADDRESSES)


def test_without_isolation_every_row_arrives(scene: Scene) -> None:
    """Positive control: the same segments, nobody judging."""
    rows = [*hello_rows.table(), *hello_rows.unsound(), *hello_rows.wrapping()]
    _, wrong = scene.wrong(rows, isolated=False)
    assert wrong == []


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    **{client: functools.partial(hello_rows.table, client) for client in flights()},
    "encrypted hellos": hello_rows.encrypted,
    "names close to the listed one": hello_rows.near_names,
    "two hellos over each other": hello_rows.rewritten_on_the_way,
    "unsound": hello_rows.unsound,
    "wrapping": hello_rows.wrapping,
}


@pytest.mark.parametrize("part", PARTS)
def test_no_wrong_verdict(
    lab: Lab, agent: Agent, scene: Scene, part: str, record_property: Callable[[str, object], None]
) -> None:
    """Nothing ended wrongly, and the gate counted each connection once, under the right reason."""
    ask(lab)
    rows = list(PARTS[part]())
    before = counted(agent)
    again, wrong = scene.wrong(rows)
    record_property("rows", len(rows))
    assert wrong == []
    found = counted(agent) - before
    expected = Counter(row.reason for row in rows)
    assert {reason: found[reason] for reason in expected} == dict(expected), f"{again} sent again"
