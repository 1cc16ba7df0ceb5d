"""The judge and the sender: every datagram is seen on the wire, none is invented, times are comparable."""

from __future__ import annotations

import socket
import time
from collections import Counter

import pytest

from tests.lab import Direction, Lab, world
from tests.lab.ports import ECHO, STREAM, STREAM_WORD

pytestmark = pytest.mark.netns

CLOCK_ERROR_NS = 200_000
"""The kernel stamps with the wall clock, everybody compares by the other: how well they are aligned."""


def datagram(lab: Lab, payload: bytes, to: str) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with lab.device.socket(family, socket.SOCK_DGRAM) as sock:
        sock.sendto(payload, (to, 40_000))


@pytest.mark.parametrize("to", [*(getattr(world.UNLISTED_ADDRESS, f) for f in ("v4", "v6")), "192.168.50.20"])
def test_a_marker_is_seen_leaving_with_its_time(module_lab: Lab, to: str) -> None:
    with module_lab.judge.watch(b"MARK-1", b"MARK-2") as sniffer:
        before = time.monotonic_ns()
        datagram(module_lab, b"......MARK-2 and more", to)
        report = sniffer.report()
        after = time.monotonic_ns()
    (seen,) = report.seen(b"MARK-2")
    assert seen.tail.startswith(b"MARK-2 and more")
    assert before - CLOCK_ERROR_NS < seen.at_ns < after
    assert report.seen(b"MARK-1") == ()
    assert report.dropped == 0


def test_nothing_is_seen_that_does_not_leave(module_lab: Lab) -> None:
    with module_lab.judge.watch(b"MARK-3") as sniffer:
        datagram(module_lab, b"MARK-3", "127.0.0.1")
        datagram(module_lab, b"MARK-3", module_lab.device.addresses.v6)
        assert sniffer.report().sightings == ()
        datagram(module_lab, b"MARK-3", world.UNLISTED_ADDRESS.v4)  # the control: the same bytes, outwards
        assert len(sniffer.report().seen(b"MARK-3")) == 1


def test_both_directions_are_told_apart(module_lab: Lab) -> None:
    with module_lab.judge.watch(STREAM_WORD, b"MARK-4") as sniffer:
        with module_lab.reach.session(world.UNLISTED_ADDRESS.v4, STREAM) as stream:
            stream.socket.send(b"MARK-4")
            assert stream.bytes_within(0.1)
        report = sniffer.report()
    assert report.seen(STREAM_WORD, Direction.TO_DEVICE)
    assert not report.seen(STREAM_WORD, Direction.FROM_DEVICE)
    assert len(report.seen(b"MARK-4", Direction.FROM_DEVICE)) == 1
    assert not report.seen(b"MARK-4", Direction.TO_DEVICE)


def test_raw_frames_of_any_ethertype_are_seen(module_lab: Lab) -> None:
    frame = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + b"\x88\xb5" + b"x" * 900 + b"MARK-5"
    with module_lab.judge.watch(b"MARK-5") as sniffer:
        with module_lab.device.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            raw.send(frame)
        report = sniffer.report()
    (seen,) = report.seen(b"MARK-5")
    assert seen.length == len(frame)
    assert seen.tail == b"MARK-5"
    assert report.frames[Direction.FROM_DEVICE, 0x88B5] == 1


def test_without_markers_every_frame_is_kept(module_lab: Lab) -> None:
    with module_lab.judge.watch() as sniffer:
        assert module_lab.reach.dns(world.EXACT).ok
        report = sniffer.report()
    assert len(report.sightings) == report.captured == sum(report.frames.values())
    assert any(b"winatp-gw-neu" in s.frame for s in report.seen(b"", Direction.TO_DEVICE))


def test_too_many_sightings_are_an_error_not_a_small_number(module_lab: Lab) -> None:
    with module_lab.judge.watch(b"MARK-6", limit=3) as sniffer:
        for _ in range(4):
            datagram(module_lab, b"MARK-6", world.UNLISTED_ADDRESS.v4)
        with pytest.raises(OverflowError, match="beyond the limit of 3"):
            sniffer.report()


def test_an_empty_marker_is_refused(module_lab: Lab) -> None:
    with pytest.raises(ValueError, match="empty marker"):
        module_lab.judge.watch(b"")


def test_a_report_comes_while_the_wire_is_busy(module_lab: Lab) -> None:
    with (
        module_lab.sender([(world.UNLISTED_ADDRESS.v4, 40_000)], rate=5_000, seconds=10) as sender,
        module_lab.judge.watch(sender.marker) as sniffer,
    ):
        sender.start()
        while not sniffer.report().sightings:
            pass
        first = len(sniffer.report().seen(sender.marker))
        sent = sender.stop()
        assert first <= len(sniffer.report().seen(sender.marker)) == sum(sent.attempted)


def test_every_datagram_of_a_fast_sender_is_judged(module_lab: Lab) -> None:
    """As in the proofs: 20,000 a second to two destinations, and as many echoes coming back: none is lost."""
    targets = [(world.UNLISTED_ADDRESS.v4, ECHO), (world.UNLISTED_ADDRESS.v6, 40_000)]
    with (
        module_lab.sender(targets, rate=20_000, count=20_000) as sender,
        module_lab.judge.watch(sender.marker) as sniffer,
    ):
        sender.start()
        sent = sender.wait()
        report = sniffer.report()
    assert sent.attempted == (10_000, 10_000)
    assert sent.refused == ({}, {})
    assert report.dropped == 0
    stamps = sender.stamps(report)
    for destination in (0, 1):
        numbers = [s.number for _, s in stamps if s.destination == destination]
        assert numbers == list(range(10_000))
    assert all(s.sent_ns - CLOCK_ERROR_NS < seen for seen, s in stamps)


def test_what_the_filter_refuses_is_counted_and_not_seen(lab: Lab) -> None:
    there = world.UNLISTED_ADDRESS.v4
    rule = f"table ip t {{\nchain o {{ type filter hook output priority 0; ip daddr {there} drop; }}\n}}\n"
    targets = [(there, 40_000), (world.STATIC_US, 40_000)]
    with (
        lab.sender(targets, rate=4_000, seconds=10) as sender,
        lab.judge.watch(sender.marker) as sniffer,
    ):
        sender.start()
        while len((report := sniffer.report()).sightings) < 2:
            assert report.dropped == 0
        lab.device.run(["nft", "-f", "-"], stdin=rule, check=True)
        cut_ns = time.monotonic_ns()
        while len(sniffer.report().sightings) < len(report.sightings) + 50:
            pass
        sent = sender.stop()
        stamps = sender.stamps(sniffer.report())
    counted = Counter(stamp.destination for _, stamp in stamps)
    assert sent.refused[0]["EPERM"] == sent.attempted[0] - counted[0] > 0
    assert sent.refused[1] == {}
    assert counted[1] == sent.attempted[1]
    assert not [seen for seen, stamp in stamps if stamp.destination == 0 and stamp.sent_ns > cut_ns]


def test_a_sender_ends_by_time_and_needs_a_destination(module_lab: Lab) -> None:
    with pytest.raises(ValueError, match="destination"):
        module_lab.sender([])
    with module_lab.sender([(world.UNLISTED_ADDRESS.v4, 40_000)], rate=1_000, seconds=0.1) as sender:
        sender.start()
        sent = sender.wait()
    assert 0 < sum(sent.attempted) <= 102  # 0.1 s at 1,000/s, the first at once


def test_a_neighbours_traffic_passes_the_judge_only_when_it_is_for_the_device(module_lab: Lab) -> None:
    lab = module_lab
    lab.reach.tcp(lab.neighbour.addresses.v4)  # the bridge now knows both stations: no flooding
    with lab.judge.watch(b"MARK-7") as sniffer:
        with lab.neighbour.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"MARK-7 past", (world.UNLISTED_ADDRESS.v4, 40_000))
            sock.sendto(b"MARK-7 here", (lab.device.addresses.v4, 40_000))
        # The device answers the second with an ICMP error that quotes it: also on the wire, the other way.
        seen = sniffer.report().seen(b"MARK-7", Direction.TO_DEVICE)
    assert [s.tail for s in seen] == [b"MARK-7 here"]
