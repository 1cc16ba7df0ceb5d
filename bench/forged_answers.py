"""Are forged answers believed? 100,000 of them against one look-up that waits, from outside and from within.

The resolver asked is silent, so the look-up stays open. From the router come 65,535 answers in its name with
the right address, port and question and every id but the right one. From the device itself come perfect
answers, id included, which reach the asker over the loopback interface. At the end a perfect answer comes
from the router: that one must be believed, or the measurement would prove nothing.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from bench.dns_client import gate_counts, isolate, release
from bench.figure import Figure, Spread, at_most
from isolator.adapters.nftables import NftablesBackend
from isolator.core.compiler import EMBEDDED, LEARNED, SEEN, SETS
from tests.lab import Lab, topology
from tests.lab.agent import Agent
from tests.lab.namespace import Namespace
from tests.lab.service import Service
from tests.lab.zone import A, ask

TOTAL = 100_000
_WRONG_IDS = 65_535
_RESOLVER = topology.SECOND_RESOLVER.v4
_DEVICE = topology.ADDRESSES[topology.DEVICE].v4
_NAME = "edr-forged.eu.endpoint.security.microsoft.com"
_IDENT = 0x4D2
_FORGED, _FORGED_WITHIN, _GENUINE = "20.99.0.1", "20.99.0.2", "20.99.0.3"
_PER_SECOND = 9_000
"""What the gate judges without its queue running full; the count of judged ones is reported."""


def run(*, quick: bool) -> list[Figure]:
    """Both kinds of forgery, then the genuine answer, then what the kernel's sets hold."""
    own = 1_000 if quick else TOTAL - _WRONG_IDS
    with Lab(servers=False) as lab, lab.rogue_resolver(lambda _: (), _RESOLVER):
        agent = lab.agent(f"lists: [streamlined]\nresolvers: [{_RESOLVER}]\n")
        agent.start()
        isolate(agent)
        before = gate_counts(agent)
        with _forger(lab, lab.router) as outside, _forger(lab, lab.device) as inside, _waiting(lab) as asker:
            sent = _tell(outside, asker, "wrong_ids", _FORGED)
            sent_within = _tell(inside, asker, "right", _FORGED_WITHIN, count=own)
            _drain(asker)
            _tell(outside, asker, "right", _GENUINE, count=1)
            asker.settimeout(2)
            told = _heard(asker)
        believed = _held(lab)
        counts = gate_counts(agent)
        judged = counts.get("dns_unasked_answer", 0) - before.get("dns_unasked_answer", 0)
        _end(agent)
    if _GENUINE not in believed or not told:
        raise RuntimeError("the genuine answer was not believed, so the count of forged ones proves nothing")
    return [
        Figure(
            f"forged answers believed, of {sent + sent_within:,}",
            Spread.exactly(len(believed & {_FORGED, _FORGED_WITHIN})),
            "",
            at_most(0),
            f"{sent:,} from outside with every wrong id ({judged:,} judged and refused by the gate), "
            f"{sent_within:,} perfect ones from the device itself; the genuine one after them was believed",
        )
    ]


def _heard(asker: socket.socket) -> bool:
    """Was the genuine answer delivered to the asker (the self-sent ones may have been, over loopback)?"""
    genuine = socket.inet_aton(_GENUINE)
    while True:
        try:
            answer = asker.recv(4096)
        except TimeoutError:
            return False
        if answer.endswith(genuine):
            return True


def _drain(asker: socket.socket) -> None:
    """Read away what came over loopback, so that there is room for the genuine answer."""
    asker.setblocking(False)
    try:
        while True:
            asker.recv(4096)
    except BlockingIOError:
        return


@contextmanager
def _waiting(lab: Lab) -> Iterator[socket.socket]:
    """A socket with one look-up that is open all the time: asked again every second, its answers read."""
    query = ask(_NAME, A, _IDENT)
    over = threading.Event()
    with lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect((_RESOLVER, 53))
        asker.send(query)

        def again() -> None:
            while not over.wait(1.0):
                asker.send(query)

        thread = threading.Thread(target=again, daemon=True)
        thread.start()
        try:
            yield asker
        finally:
            over.set()
            thread.join()


@contextmanager
def _forger(lab: Lab, space: Namespace) -> Iterator[Service]:
    service = Service(space, "bench.forger_process", [], lab.directory / f"forger-{space.role}.log")
    service.hear()
    try:
        yield service
    finally:
        service.close()


def _tell(forger: Service, asker: socket.socket, what: str, forged: str, **more: Any) -> int:
    message = {
        "do": what,
        "query": ask(_NAME, A, _IDENT).hex(),
        "source": _RESOLVER,
        "to": _DEVICE,
        "to_port": asker.getsockname()[1],
        "forged": forged,
        "right": _IDENT,
        "per_second": _PER_SECOND,
        **more,
    }
    return int(forger.ask(message, timeout_s=60.0)["sent"])


def _held(lab: Lab) -> set[str]:
    """Those of the three addresses that any of the kernel's learned sets holds."""
    backend = lab.device.in_namespace(NftablesBackend)
    wanted = {ip_address(text) for text in (_FORGED, _FORGED_WITHIN, _GENUINE)}
    found: set[str] = set()
    for names in (LEARNED, SEEN, EMBEDDED):
        for element in backend.elements(SETS[names[4]]):
            address = getattr(element.key, "address", element.key)
            if address in wanted:
                found.add(str(address))
    backend.close()
    return found


def _end(agent: Agent) -> None:
    release(agent)
    agent.stop()
