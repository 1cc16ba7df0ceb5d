"""The process that watches one interface: AF_PACKET ring (TPACKET_V3), kernel timestamps, marker search.

The ring is memory of the kernel's, so it needs no SO_RCVBUFFORCE and works for a plain user's root too.
What was seen is written to a file as fixed headers with the frame's first bytes; ``report`` on standard
input drains the ring first. Layouts: linux/if_packet.h.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import Any, BinaryIO

from tests.lab.sniffing import HEADER, OUTGOING

_SOL_PACKET, _ETH_P_ALL = 263, 0x0003
_PACKET_ADD_MEMBERSHIP, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _PACKET_MR_PROMISC = (
    1,
    5,
    6,
    10,
    1,
)
_TPACKET_V3 = 2
_BLOCK_SIZE, _BLOCKS, _FRAME_SIZE, _RETIRE_MS = 1 << 18, 256, 2048, 8
# A block is handed over after that time however little is in it, so this process may go without a processor
# for two seconds (all blocks), and no longer, before frames are lost.
_STATUS_AT, _TP_STATUS_USER, _TP_STATUS_KERNEL = 8, 1, 0
_BLOCK_HEAD = struct.Struct("=IIII")  # status, packets, offset of the first, length; at 8 in the block
_FRAME_HEAD = struct.Struct("=IIIIIIHH")  # next, sec, nsec, snaplen, len, status, mac, net
_SLL_AT = 48  # TPACKET_ALIGN(sizeof(struct tpacket3_hdr))
_PKTTYPE_AT = _SLL_AT + 10
_QUIET_ROUNDS = 3


class Ring:
    """The capture ring of one interface."""

    def __init__(self, interface: str) -> None:
        # Protocol 0 until the ring is there: else frames queue up that no ring block will hold.
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        frames = _BLOCK_SIZE // _FRAME_SIZE * _BLOCKS
        request = struct.pack("=IIIIIII", _BLOCK_SIZE, _BLOCKS, _FRAME_SIZE, frames, _RETIRE_MS, 0, 0)
        self._sock.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        self._map = mmap.mmap(self._sock.fileno(), _BLOCK_SIZE * _BLOCKS)
        self._view = memoryview(self._map)
        self._at = 0
        self._sock.bind((interface, _ETH_P_ALL))
        index = socket.if_nametoindex(interface)
        self._sock.setsockopt(
            _SOL_PACKET, _PACKET_ADD_MEMBERSHIP, struct.pack("=iHH8s", index, _PACKET_MR_PROMISC, 0, b"")
        )

    def fileno(self) -> int:
        return self._sock.fileno()

    def next_block(self) -> memoryview | None:
        """The block whose turn it is, when the kernel has filled it; ``done`` gives it back."""
        start = self._at * _BLOCK_SIZE
        status = ctypes.c_uint32.from_buffer(self._map, start + _STATUS_AT).value
        return self._view[start : start + _BLOCK_SIZE] if status & _TP_STATUS_USER else None

    def done(self) -> None:
        """Give the current block back to the kernel and go on to the next."""
        ctypes.c_uint32.from_buffer(self._map, self._at * _BLOCK_SIZE + _STATUS_AT).value = _TP_STATUS_KERNEL
        self._at = (self._at + 1) % _BLOCKS

    def statistics(self) -> tuple[int, int]:
        """Frames that reached the socket and frames dropped for want of room, since the last call."""
        raw = self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        packets, drops = struct.unpack_from("=II", raw)
        return packets, drops


class Sniffer:
    """Looks at every frame, writes down those that carry a marker (all of them when there are no markers)."""

    def __init__(self, ring: Ring, markers: list[bytes], out: BinaryIO, snap: int, limit: int) -> None:
        self._ring = ring
        self._markers = markers
        self._out = out
        self._snap = snap
        self._limit = limit
        self._written = 0
        self._not_written = 0
        self._kinds: dict[tuple[bool, int], list[int]] = {}
        self._captured = self._dropped = 0
        self._latest_ns = 0

    def drain(self) -> None:
        """Look through all full blocks."""
        while (block := self._ring.next_block()) is not None:
            # The kernel stamps with the wall clock; the offset is taken per block, somebody may set it.
            self._look_through(block, clock_offset())
            block.release()
            self._ring.done()

    def report(self) -> dict[str, Any]:
        """Look at every frame from before the question, then say what was counted."""
        asked_ns = time.monotonic_ns()
        quiet = 0
        # Blocks come in order, so one that ends after the question closes the account; on a quiet wire the
        # kernel hands over a part-filled block after its retire time, and a few empty rounds close it.
        while quiet < _QUIET_ROUNDS and self._latest_ns < asked_ns:
            before = self._latest_ns
            select.select([self._ring.fileno()], [], [], _RETIRE_MS * 2 / 1000)
            self.drain()
            quiet = quiet + 1 if self._latest_ns == before else 0
        packets, drops = self._ring.statistics()
        self._captured += packets
        self._dropped += drops
        self._out.flush()
        kinds = [[outgoing, kind, *counts] for (outgoing, kind), counts in self._kinds.items()]
        return {
            "captured": self._captured,
            "dropped": self._dropped,
            "written": self._written,
            "not_written": self._not_written,
            "kinds": kinds,
        }

    def _look_through(self, block: memoryview, offset: int) -> None:
        _, packets, at, _ = _BLOCK_HEAD.unpack_from(block, _STATUS_AT)
        for _ in range(packets):
            following, seconds, nanos, snaplen, length, _, mac, _ = _FRAME_HEAD.unpack_from(block, at)
            frame = bytes(block[at + mac : at + mac + snaplen])
            outgoing = block[at + _PKTTYPE_AT] == OUTGOING
            counts = self._kinds.setdefault((outgoing, int.from_bytes(frame[12:14], "big")), [0, 0])
            counts[0] += 1
            counts[1] += length
            self._latest_ns = seconds * 1_000_000_000 + nanos - offset
            self._note(frame, self._latest_ns, outgoing, length)
            at += following

    def _note(self, frame: bytes, at_ns: int, outgoing: bool, length: int) -> None:
        if not self._markers:
            self._write(frame, at_ns, outgoing, length, 0xFFFF, 0)
            return
        for number, marker in enumerate(self._markers):
            where = frame.find(marker)
            if where >= 0:
                self._write(frame, at_ns, outgoing, length, number, where)

    def _write(self, frame: bytes, at_ns: int, outgoing: bool, length: int, number: int, where: int) -> None:
        if self._written >= self._limit:
            self._not_written += 1
            return
        kept = frame[: max(self._snap, min(where + 64, len(frame)))]
        self._out.write(HEADER.pack(at_ns, length, len(kept), number, where, outgoing) + kept)
        self._written += 1


def clock_offset() -> int:
    """Wall clock minus CLOCK_MONOTONIC in nanoseconds; the best of a few readings, one may be torn apart."""
    best: tuple[int, int] | None = None
    for _ in range(5):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, wall - (before + after) // 2)
    assert best is not None
    return best[1]


def main(arguments: list[str]) -> None:
    """Entry: one argument, JSON with interface, markers (hex), file, snap and limit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who then closes our input
    setting = json.loads(arguments[0])
    ring = Ring(setting["interface"])
    with open(setting["file"], "wb", buffering=1 << 20) as out:
        markers = [bytes.fromhex(marker) for marker in setting["markers"]]
        sniffer = Sniffer(ring, markers, out, setting["snap"], setting["limit"])
        _say({"ready": True})
        while True:
            ready = select.select([ring.fileno(), 0], [], [], 1.0)[0]
            sniffer.drain()
            if 0 in ready:
                if not os.read(0, 65536):
                    return
                _say(sniffer.report())


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
