"""PacketQueue on NetfilterQueue: the kernel's packets, one by one, on a thread of our own."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import struct
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from netfilterqueue import NetfilterQueue

from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Hook
from isolator.model.ruleset import APPROVED_BIT
from isolator.model.verdict import Verdict
from isolator.ports import QueueAnswer, QueuedPacket

_LOG = logging.getLogger(__name__)

_LONGEST_QUEUE = 8192
"""Packets that may wait in the kernel; more are dropped there."""

_RECEIVE_BUFFER = 32 * 1024 * 1024
"""Bytes; 8192 packets of up to 4 KB with their metadata. Taken by SO_RCVBUFFORCE (CAP_NET_ADMIN)."""

_LONGEST_MESSAGE = 72 * 1024
"""A packet of 64 KiB and what the kernel says about it."""

PAUSE_S = 0.1
"""Pause after a failed read, so that a broken socket does not eat a processor."""

_SO_RCVBUFFORCE = 33

# Absent on Windows, where the wiring refuses before it comes here.
_poll: Callable[[], Any] = getattr(select, "poll", object)
_POLLIN: int = getattr(select, "POLLIN", 1)

HOOKS = {1: Hook.INPUT, 2: Hook.FORWARD, 3: Hook.OUTPUT}
"""NF_INET_LOCAL_IN, NF_INET_FORWARD, NF_INET_LOCAL_OUT of linux/netfilter.h."""

STATISTICS = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
"""Of the network namespace of the thread that reads it; /proc/net would be the main thread's."""

Handler = Callable[[QueuedPacket], QueueAnswer]


class KernelPacket(Protocol):
    """What is used of netfilterqueue.Packet."""

    hook: int
    outdev: int

    def get_payload(self) -> bytes: ...
    def set_payload(self, payload: bytes) -> None: ...
    def retain(self) -> None: ...
    def get_mark(self) -> int: ...
    def set_mark(self, mark: int) -> None: ...
    def accept(self) -> None: ...
    def drop(self) -> None: ...


class NfqueueQueue:
    """One queue of the network namespace of the thread that opens it.

    Never fail-open: a packet that is not judged, for whatever reason, is dropped. A packet longer
    than 4,016 bytes arrives cut off; its handler sees the cut and should refuse it.
    """

    def __init__(self) -> None:
        self._binding: _Binding | None = None

    def open(self, number: int, handler: Handler) -> None:
        """Bind and start judging; IsolatorError when the queue is taken or the kernel has none."""
        if self._binding is not None:
            sentence = f"queue {self._binding.number} is open already: close it first"
            raise IsolatorError(FailureCode.INTERNAL, f"open queue {number}", sentence)
        self._binding = _Binding(number, handler)

    def close(self) -> None:
        """Stop the thread and unbind; waiting packets are dropped by the kernel. Safe to call twice."""
        binding, self._binding = self._binding, None
        if binding is not None:
            binding.close()

    def statistics(self) -> Mapping[str, int]:
        """judged, failed, dropped_full, dropped_user and waiting since open; empty when closed."""
        return {} if self._binding is None else self._binding.statistics()


class _Binding:
    def __init__(self, number: int, handler: Handler) -> None:
        self.number = number
        self._handler = handler
        self._judged = 0
        self._failed = 0
        self._replies = LocalReplies()
        try:
            self._queue = bind_queue(number, self._judge)
        except IsolatorError:
            self._replies.close()
            raise
        self._source = QueueSource(self._queue.get_fd())
        self._thread = threading.Thread(target=self._run, name=f"queue-{number}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._source.stop()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        # The kernel drops what still waits when the queue is unbound.
        self._queue.unbind()
        self._source.close()
        self._replies.close()

    def statistics(self) -> dict[str, int]:
        counted = {"judged": self._judged, "failed": self._failed}
        return counted | kernel_counts(self.number, STATISTICS)

    def _run(self) -> None:
        while not self._source.stopped:
            try:
                self._queue.run_socket(self._source)  # type: ignore[arg-type]  # only recv() is used
            except Exception:  # noqa: BLE001 - the loop must go on: without it no name resolves any more
                _LOG.exception("queue %d: reading failed", self.number)
                self._source.wait_stopped(PAUSE_S)

    def _judge(self, packet: KernelPacket) -> None:
        """Whatever happens, the packet is answered: accepted with the mark, or dropped."""
        reply: bytes | None = None
        accepted = False
        try:
            answer = self._handler(QueuedPacket(packet.get_payload(), HOOKS[packet.hook]))
            reply = answer.local_reply
            accepted = answer.verdict is Verdict.ACCEPT
        except Exception:  # noqa: BLE001 - the loop must go on and the kernel must get an answer
            self._failed += 1
            if worth_a_line(self._failed):
                _LOG.exception("queue %d: judging failed %d times", self.number, self._failed)
        if accepted:
            packet.set_mark(packet.get_mark() | APPROVED_BIT)
            packet.accept()
        else:
            packet.drop()
        self._judged += 1
        if reply is not None:
            self._replies.send(reply, packet.outdev)


def bind_queue(number: int, judge: Callable[[KernelPacket], None]) -> NetfilterQueue:
    """Take a queue of this thread's network namespace; IsolatorError when there is none or it is taken."""
    operation = f"open queue {number}"
    try:
        queue = NetfilterQueue()
    except OSError as error:
        raise _unusable(error, operation) from error
    try:
        with warnings.catch_warnings():
            # It warns that the buffer is capped by net.core.rmem_max; QueueSource enlarges it for real.
            warnings.simplefilter("ignore", RuntimeWarning)
            queue.bind(number, judge, max_len=_LONGEST_QUEUE)
    except OSError as error:
        sentence = f"queue {number} cannot be opened: another program, perhaps a second agent, has it"
        raise IsolatorError(FailureCode.NO_QUEUE, operation, sentence) from error
    return queue


def _unusable(error: OSError, operation: str) -> IsolatorError:
    if error.errno in (errno.EPERM, errno.EACCES):
        sentence = "packets cannot be queued: CAP_NET_ADMIN is needed in this network namespace"
        return IsolatorError(FailureCode.NO_PERMISSION, operation, sentence)
    sentence = f"this kernel cannot queue packets to a program (nfnetlink_queue): {error}"
    return IsolatorError(FailureCode.NO_QUEUE, operation, sentence)


class QueueSource:
    """What NetfilterQueue reads from: gives one message at a time until told to stop.

    NetfilterQueue's own loop cannot be left while packets keep coming; this one can, and with `every_s` it
    is left that often. `wider` asks for whole packets, however long: NetfilterQueue asks for 4,016 bytes.
    """

    def __init__(self, fd: int, *, every_s: float | None = None, wider: int | None = None) -> None:
        # A copy of the descriptor: the original one is NetfilterQueue's to close.
        self._socket = socket.socket(fileno=os.dup(fd))
        self._socket.setblocking(False)
        with contextlib.suppress(
            OSError
        ):  # without CAP_NET_ADMIN in the initial namespace: the smaller buffer
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        if wider is not None:
            self._socket.send(_copy_whole(wider))
        self._every_s = every_s
        self._leave_at = time.monotonic()
        self._wake, self._woken = socket.socketpair()
        # Not a selector: for a packet that comes alone it would cost as much as judging it.
        self._ready = _poll()
        self._ready.register(self._socket, _POLLIN)
        self._ready.register(self._woken, _POLLIN)
        self._stopping = threading.Event()
        self.stopped = False

    def recv(self, _size: int) -> bytes:
        """The next netlink message; OSError with EAGAIN, which ends the reader's loop, once it is time."""
        while not self.stopped:
            if self._every_s is not None and time.monotonic() >= self._leave_at:
                self._leave_at = time.monotonic() + self._every_s
                break
            try:
                return self._socket.recv(_LONGEST_MESSAGE)
            except BlockingIOError:
                self._ready.poll(None if self._every_s is None else self._left_ms())
        raise BlockingIOError(errno.EAGAIN, "stopped, or time to do something else")

    def leave_within(self, seconds: float) -> None:
        """End the reader's loop once after that time at the latest, if it is one that is left."""
        self._leave_at = min(self._leave_at, time.monotonic() + seconds)

    def _left_ms(self) -> float:
        return max(0.0, self._leave_at - time.monotonic()) * 1000 + 1

    def wait_stopped(self, timeout_s: float) -> None:
        """Wait until told to stop, or for that long."""
        self._stopping.wait(timeout_s)

    def stop(self) -> None:
        """End the reader's loop now, whichever thread it is on."""
        self.stopped = True
        self._stopping.set()
        self._wake.send(b"\0")

    def close(self) -> None:
        """Give the descriptors back, once nobody reads any more."""
        for each in (self._socket, self._wake, self._woken):
            each.close()


class LocalReplies:
    """Whole IP packets handed to programs on this host, in the name of whoever is their source.

    They go to an address of our own, so they never leave: the kernel routes them over loopback,
    where the source is not checked against the routing table (rp_filter). For a link-local IPv6
    address the scope is the interface that the question was leaving by.
    """

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}
        self._failed = 0
        try:
            for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
                self._sockets[version] = _raw_socket(family)
        except OSError as error:
            self.close()
            sentence = f"answers cannot be handed to local programs: {error}; CAP_NET_RAW is needed"
            raise IsolatorError(FailureCode.NO_PERMISSION, "open a raw socket", sentence) from error

    def send(self, packet: bytes, outgoing_interface: int) -> None:
        """Deliver; a failure is logged, the asker then waits for its timeout."""
        try:
            version = packet[0] >> 4
            if version == 4:
                target: tuple[object, ...] = (socket.inet_ntop(socket.AF_INET, packet[16:20]), 0)
            else:
                address = packet[24:40]
                scope = outgoing_interface if address[:2] == b"\xfe\x80" else 0
                target = (socket.inet_ntop(socket.AF_INET6, address), 0, 0, scope)
            self._sockets[version].sendto(packet, target)
        except (OSError, ValueError, LookupError) as error:
            self._failed += 1
            if worth_a_line(self._failed):
                _LOG.warning("%d local answers could not be delivered: %s", self._failed, error)

    def close(self) -> None:
        """Close the sockets."""
        for each in self._sockets.values():
            each.close()


def _copy_whole(number: int) -> bytes:
    """NFQNL_MSG_CONFIG with NFQA_CFG_PARAMS (linux/netfilter/nfnetlink_queue.h): copy mode, whole packets."""
    parameters = struct.pack("=HH", 9, 2) + struct.pack(">IB", 0xFFFF, 2) + bytes(3)
    body = struct.pack("=BB", 0, 0) + struct.pack(">H", number) + parameters
    return struct.pack("=IHHII", 16 + len(body), 3 << 8 | 2, 1, 0, 0) + body


def worth_a_line(count: int) -> bool:
    """The 1st, 2nd, 4th, 8th ... time: whoever provokes failures must not fill the disk."""
    return count & (count - 1) == 0


def _raw_socket(family: int) -> socket.socket:
    # IPPROTO_RAW implies that we write the header, in both families (raw(7), ipv6(7)).
    made = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    made.setblocking(False)
    # Nothing is ever read from it, so nothing shall pile up in it.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    return made


def kernel_counts(number: int, path: Path = STATISTICS) -> dict[str, int]:
    """The kernel's line: number, portid, waiting, copy mode, copy range, dropped, dropped by user, ..."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        words = line.split()
        if len(words) >= 7 and words[0] == str(number):
            return {"waiting": int(words[2]), "dropped_full": int(words[5]), "dropped_user": int(words[6])}
    return {}
