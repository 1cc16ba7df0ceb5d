"""What allowed traffic keeps of its speed: TCP bulk and 64-byte UDP, as delivered at the receiver.

One iperf3 stream runs all the time; the filter is switched on and off under it every tenth of a second, and
what arrives is read from the receiving kernel. So each ratio is of two neighbouring instants. The TCP streams
are connections that the gate has approved: no packet of theirs meets it any more.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from bench import one_core
from bench.cable import DEVICE_END, FAR_END, Counters, lay
from bench.figure import Figure, at_least
from bench.learned_table import LearnedTable
from bench.models import LINEAR_RULES, LinearList, queue_everything
from bench.pairs import Rounds, in_turn
from isolator.model.flow import Destination, Transport
from isolator.model.segment import FlowKey
from tests.lab import Lab
from tests.lab.ground import python_path
from tests.lab.namespace import Namespace

LEARNED = 100_000
_PORT, _COST_PORT = 5201, 5202
_OWN_PORTS = range(40_000, 40_064)
"""Ports that iperf3's connections come from; those between them and its port are approved ones."""
_SETTLE_S = 0.02
_PATIENCE_S = 5.0
BOUND = at_least(0.97)

Switch = Callable[[], None]
Stream = tuple[str, tuple[str, ...], str, str]
STREAMS: tuple[tuple[str, tuple[str, ...], tuple[str, str], bool], ...] = (
    ("TCP bulk, sent", (), ("IpExt", "InOctets"), False),
    ("TCP bulk, received", ("-R",), ("IpExt", "InOctets"), True),
    ("64-byte UDP, sent", ("-u", "-b", "0", "-l", "64"), ("Udp", "InDatagrams"), False),
)
"""Name, iperf3's options, the receiving kernel's counter, whether the device is the receiver."""


def run(*, quick: bool) -> list[Figure]:
    """All streams, then the sender's cost, then the models."""
    rounds = 10 if quick else 150
    with Lab(servers=False, resolver=False) as lab, contextlib.ExitStack() as held:
        lay(lab)
        doors = [
            Destination(ip_address(FAR_END), transport, port)
            for transport in Transport
            for port in (_PORT, _COST_PORT)
        ]
        table = LearnedTable(lab, LEARNED, *doors)
        held.callback(table.close)
        lab.device.write_sysctls({"net/ipv4/ip_local_port_range": f"{_OWN_PORTS[0]} {_OWN_PORTS[-1]}"})
        far, near = ip_address(FAR_END), ip_address(DEVICE_END)
        table.approve(FlowKey(near, own, far, _PORT) for own in _OWN_PORTS)
        counters = {space.role: Counters(space) for space in (lab.device, lab.internet)}
        for each in counters.values():
            held.callback(each.close)
        figures = []
        for name, options, counter, inward in STREAMS:
            receiver = counters[lab.device.role if inward else lab.internet.role]
            with _stream(lab, options), one_core.beside_it():
                ways = {"ours": table.on, "none": table.off, "control": table.off}
                measured = _sliced(receiver, counter, ways, table.off, rounds)
            figures.append(_ratio(name, measured))
        figures += _sender_cost(lab, table, 10 if quick else 40)
        figures += _models(lab, counters[lab.internet.role], 2 if quick else 5)
    return figures


def _ratio(name: str, measured: Rounds) -> Figure:
    unit = "Gbit/s" if name.startswith("TCP") else "k packets/s"
    scale = 8e-9 if name.startswith("TCP") else 1e-3
    plain = measured.spread("none").median * scale
    return Figure(
        f"{name}, ours to unfiltered",
        measured.ratios("ours", "none"),
        "x",
        BOUND,
        f"{LEARNED:,} learned addresses; unfiltered {plain:.3g} {unit} at the receiver, "
        f"to itself {measured.ratios('control', 'none').median:.3f} x",
    )


def _sliced(
    receiver: Counters, counter: tuple[str, str], ways: dict[str, Switch], off: Switch, rounds: int
) -> Rounds:
    """Rates in turn under one running stream, each after its switch and a moment to settle."""

    def sample(switch: Switch) -> float:
        switch()
        time.sleep(_SETTLE_S)
        return receiver.rate(*counter, 0.1)

    measured = in_turn({way: partial(sample, switch) for way, switch in ways.items()}, rounds)
    off()
    return measured


@contextlib.contextmanager
def _stream(lab: Lab, options: tuple[str, ...]) -> Iterator[None]:
    """One iperf3 stream from the device to the far end, up and running.

    Both ends of TCP share a core. A sender of datagrams never waits and would starve its receiver, so these
    have one each.
    """
    several = len(os.sched_getaffinity(0)) > 1
    ends = "0,1" if "-u" in options else f"{one_core.CORE},{one_core.CORE}"
    pinned = ("-A", ends) if several else ()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = lab.internet.popen(["iperf3", "-s", "-1", "-p", str(_PORT)], **quiet)
    _wait_for_port(lab.internet)
    client = lab.device.popen(
        ["iperf3", "-c", FAR_END, "-p", str(_PORT), "-t", "120", *pinned, *options], **quiet
    )
    time.sleep(0.5)
    try:
        yield
        if client.poll() is not None:
            raise RuntimeError(f"iperf3 {' '.join(options)} ended while it was measured")
    finally:
        for process in (client, server):
            process.kill()
            process.wait()


def _wait_for_port(space: Namespace) -> None:
    """Wait until the server listens; its socket table says so, a trial connection would be its only one."""
    deadline = time.monotonic() + _PATIENCE_S
    listening = f":{_PORT:04X}"
    while time.monotonic() < deadline:
        tables = space.in_namespace(
            lambda: [Path(f"/proc/thread-self/net/{name}").read_text() for name in ("tcp", "tcp6")]
        )
        # State 0A is LISTEN; the local address is the second column (proc_pid_net(5)).
        rows = [line.split() for table in tables for line in table.splitlines()[1:]]
        if any(row[1].endswith(listening) and row[3] == "0A" for row in rows):
            return
        time.sleep(0.02)
    raise RuntimeError("the iperf3 server does not listen")


def _sender_cost(lab: Lab, table: LearnedTable, rounds: int) -> list[Figure]:
    """Processor time per datagram, which hides nothing behind a receiver that is slower."""
    with lab.internet.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        receiver.bind((FAR_END, _COST_PORT))
        process = lab.device.popen(
            [sys.executable, "-m", "bench.sender_process", FAR_END, str(_COST_PORT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": python_path()},
        )

        def cost(switch: Switch) -> float:
            switch()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("25000\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        cost(table.off)
        measured = in_turn({"ours": lambda: cost(table.on), "none": lambda: cost(table.off)}, rounds)
        table.off()
        assert process.stdin is not None
        process.stdin.close()
        process.wait(5)
    added = measured.differences("ours", "none")
    plain = measured.spread("none")
    return [
        Figure(
            "64-byte UDP, sender's cost, unfiltered to ours",
            measured.ratios("none", "ours"),
            "x",
            None,
            f"a sender that does nothing else: {plain.median:.0f} ns a packet unfiltered, "
            f"{added.median:+.0f} ns with ours",
        )
    ]


def _models(lab: Lab, receiver: Counters, rounds: int) -> list[Figure]:
    """The same streams through the models; they disturb the stream, so they come last and apart."""
    linear = LinearList(lab, FAR_END)
    figures = []
    with queue_everything(lab) as queue:
        for name, options, counter, inward in STREAMS:
            if inward:
                continue
            for label, model in ((f"linear list of {LINEAR_RULES:,}", linear), ("queue to Python", queue)):
                measured = _switched(lab, receiver, options, counter, (model.on, model.off), rounds)
                figures.append(
                    Figure(
                        f"{name}, {label} to unfiltered (model)",
                        measured.ratios("model", "none"),
                        "x",
                        None,
                        "for comparison",
                    )
                )
    return figures


def _switched(
    lab: Lab,
    receiver: Counters,
    options: tuple[str, ...],
    counter: tuple[str, str],
    switches: tuple[Switch, Switch],
    rounds: int,
) -> Rounds:
    on, off = switches

    def with_model() -> float:
        on()
        try:
            time.sleep(0.15)
            return receiver.rate(*counter, 0.15)
        finally:
            off()

    def without() -> float:
        time.sleep(0.15)
        return receiver.rate(*counter, 0.15)

    with _stream(lab, options):
        return in_turn({"model": with_model, "none": without}, rounds)
