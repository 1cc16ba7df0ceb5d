"""Attack table rows 33 and 34 inside a connection: what the gate reads and the server does not, or the reverse.

Root makes segments of a connection beside those of the kernel's socket, so that the gate hears a listed name while
the server takes another one. Every marker is in bytes that name a foreign host or come behind them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, PadN

from tests.netns.bypass_scene import ALLOWED, AT, PORT, NotHeld, Played, Trick, played
from tests.netns.odd_packets import Connection, InConnection, network, send_raw, within
from tests.netns.told_bytes import hello

pytestmark = pytest.mark.netns

GOOD = hello(ALLOWED, b"-" * 16)
"""A listed name without a marker: what the gate is meant to hear."""


def evil(marker: bytes) -> bytes:
    """A foreign one with the marker: as long as the good one, so that both fit the same numbers."""
    return hello("www.hostil.example", marker)


def decoy(**fields: Any) -> InConnection:
    """The good hello in a packet that does not arrive, then the true one on the socket."""

    def act(opened: Connection, marker: bytes) -> None:
        opened.inject(opened.head() / GOOD, **fields)
        opened.say(evil(marker), marker)

    return act


def wrong_sum(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head(chksum=0x1234) / GOOD)
    opened.say(evil(marker), marker)


def before_the_beginning(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head(at=-len(GOOD)) / GOOD)
    opened.say(evil(marker), marker)


def beyond_the_window(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head(at=1 << 20) / GOOD)
    opened.say(evil(marker), marker)


def urgent(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head("PAU", urgptr=5) / GOOD)
    opened.say(evil(marker), marker)


def without_acknowledgement(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head("P") / GOOD)
    opened.say(evil(marker), marker)


def overlap(opened: Connection, marker: bytes) -> None:
    """The end of one hello waits for its beginning, which is another's."""
    opened.inject(opened.head(at=60) / evil(marker)[60:])
    opened.inject(opened.head() / GOOD)
    opened.say(evil(marker), marker)


def overlap_from_behind(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head() / GOOD[:60])
    opened.inject(opened.head(at=20) / evil(marker)[20:])
    opened.say(evil(marker), marker)


def reset_and_go_on(opened: Connection, marker: bytes) -> None:
    """The gate hears the end of the connection; the socket knows nothing of it."""
    opened.inject(opened.head("R") / b"")
    opened.say(evil(marker), marker)


def reset_beside(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head("R", at=1000) / b"")
    opened.say(evil(marker), marker)


def end_and_go_on(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head("FA") / b"")
    opened.say(evil(marker), marker)


def a_loaded_end(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head("FPA") / (GOOD[:50] + marker))


def a_loaded_reset(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head("R") / marker, opened.head("RA") / marker)


def a_second_beginning(opened: Connection, marker: bytes) -> None:
    """Other numbers for the same ends: the gate would read from there, the server goes on where it was."""
    opened.inject(opened.head("S", at=99_999, ack=0) / b"")
    opened.inject(opened.head(at=100_000) / GOOD)
    opened.say(evil(marker), marker)


def a_loaded_beginning(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head("S", at=-1, ack=0) / marker)


def an_answer_for_a_beginning(opened: Connection, marker: bytes) -> None:
    opened.inject(opened.head("SA", at=-1) / marker)


def fast_open(opened: Connection, marker: bytes) -> None:
    """Data in the SYN of a new connection (RFC 7413), as a program without privileges sends it."""
    with opened.lab.device.socket(opened.socket.family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, 34, 1)  # TCP_FASTOPEN_NO_COOKIE
        sock.settimeout(0.5)
        try:
            sock.sendto(evil(marker), socket.MSG_FASTOPEN, (opened.there, opened.port))
            sock.recv(1)
        except OSError:
            return


DECOYS: dict[str, tuple[InConnection, str]] = {
    "a hello with a wrong checksum": (wrong_sum, "tcp_malformed"),
    "a hello before the beginning": (before_the_beginning, "tcp_outside_window"),
    "a hello beyond the window": (beyond_the_window, "tcp_outside_window"),
    "an urgent hello": (urgent, "tcp_malformed"),
    "a hello without acknowledgement": (without_acknowledgement, "tcp_malformed"),
    "other bytes at the same place": (overlap, "tcp_overlap"),
    "other bytes at the same place, from behind": (overlap_from_behind, "tcp_overlap"),
    "a reset, and on": (reset_and_go_on, "flow_unknown"),
    "a reset beside the numbers, and on": (reset_beside, "tcp_outside_window"),
    "an end, and on": (end_and_go_on, "tls_name_not_allowed"),
    "an end with bytes": (a_loaded_end, "flow_cut_short"),
    "a reset with bytes": (a_loaded_reset, "tcp_outside_window"),
    "a second beginning": (a_second_beginning, "tcp_overlap"),
    "a beginning with bytes": (a_loaded_beginning, "tcp_syn_data"),
    "an answer for a beginning": (an_answer_for_a_beginning, "tcp_malformed"),
    "fast open": (fast_open, "tcp_syn_data"),
}
"""Before the first bytes are judged."""


def approved_tricks() -> dict[str, tuple[InConnection, str]]:
    """After them: what the hot path must not pass."""

    def opening(flags: str) -> InConnection:
        def act(opened: Connection, marker: bytes) -> None:
            opened.inject(opened.head(flags, at=7, ack=0) / marker)

        return act

    def other_ends(opened: Connection, marker: bytes) -> None:
        """The same numbers from another port."""
        opened.inject(opened.head(sport=opened.own_port ^ 1) / marker)

    return {
        "a new beginning with bytes on approved ends": (opening("S"), "tcp_syn_data"),
        "an urgent beginning with bytes on approved ends": (opening("SPU"), "tcp_malformed"),
        "beside approved ends": (other_ends, "flow_unknown"),
    }


def tricks() -> Iterator[Trick]:
    """Every attempt, IPv4 and IPv6."""
    for v in ("v4", "v6"):
        there = getattr(AT[ALLOWED], v)
        for name, (act, reason) in DECOYS.items():
            yield Trick(f"{name}, {v}", within(there, PORT, act), reason)
        short = within(there, PORT, decoy(**{"ttl" if v == "v4" else "hlim": 1}))
        yield Trick(f"a hello that dies on the way, {v}", short, "tcp_malformed")
        for name, (act, reason) in approved_tricks().items():
            yield Trick(f"{name}, {v}", within(there, PORT, act, GOOD), reason)
        on_the_way = within(there, PORT, lambda opened, marker: opened.say(marker), GOOD)
        yield Trick(f"bytes after a listed name, {v}", on_the_way, None)
    four, six = AT[ALLOWED].v4, AT[ALLOWED].v6
    yield Trick("options", within(four, PORT, decoy(options=[IPOption_NOP()] * 4)), "tcp_malformed")
    yield Trick("a recorded route", within(four, PORT, decoy(options=[IPOption_RR()])), "tcp_malformed")
    for name, extension in (
        ("destination options", IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])),
        ("hop-by-hop options", IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])),
        ("the only fragment", IPv6ExtHdrFragment(offset=0, m=0, id=7)),
    ):
        reason = "fragment" if "fragment" in name else "tcp_malformed"
        yield Trick(name, within(six, PORT, behind(extension)), reason)


def behind(extension: Any) -> InConnection:
    """The decoy behind an extension header."""

    def act(opened: Connection, marker: bytes) -> None:
        head = network(opened.lab, opened.there)
        send_raw(opened.lab, opened.there, [head / extension / opened.head() / GOOD])
        opened.say(evil(marker), marker)

    return act


def never_taken(**fields: Any) -> InConnection:
    """A good hello that this server reads and throws away."""

    def act(opened: Connection, marker: bytes) -> None:
        opened.inject(opened.head(**fields) / GOOD)
        opened.say(evil(marker), marker)

    return act


def stated_as_open() -> Iterator[Trick]:
    """Residual risk "desynchronisation by root" of ADR 0009: the far end is still a learned address."""
    for v in ("v4", "v6"):
        for name, fields in (
            ("is signed with a key that the server has not", {"options": [("MD5", b"0" * 16)]}),
            ("acknowledges what was never sent", {"ack": 0x1234_5678}),
        ):
            act = within(getattr(AT[ALLOWED], v), PORT, never_taken(**fields))
            yield Trick(f"a hello that {name}, {v}", act, "tls_name_not_allowed")


TRICKS, RESIDUAL = tuple(tricks()), tuple(stated_as_open())


@pytest.fixture(scope="module")
def made() -> Iterator[Played]:
    with played((*TRICKS, *RESIDUAL)) as opened:
        yield opened


@pytest.mark.parametrize("trick", TRICKS, ids=str)
def test_each_attempt(made: Played, trick: Trick) -> None:
    made.judge(trick)


@pytest.mark.xfail(
    strict=True, raises=NotHeld, reason="docs/adr/0009: root can desynchronise the gate from the server"
)
@pytest.mark.parametrize("trick", RESIDUAL, ids=str)
def test_what_is_stated_as_open(made: Played, trick: Trick) -> None:
    made.judge(trick)
