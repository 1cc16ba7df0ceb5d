"""The nftables backend against the kernel: what the contract suite cannot ask of a fake."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from isolator.adapters.nftables import NftablesBackend, batch, queue_rule
from isolator.adapters.nftables.engine import Library
from isolator.core import plan
from isolator.core.compiler import LEARNED, SETS
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Destination, Hook, Transport
from isolator.model.ruleset import (
    Action,
    AddChain,
    AddRule,
    AddSet,
    AddTable,
    Chain,
    Element,
    EndInSet,
    FlushChain,
    Rule,
    Side,
    Transaction,
)
from isolator.render.nft import expected_table
from tests.contract.own_network import RESOLVER4, add_uplink, nft, own_network, without_capabilities
from tests.contract.test_filter_backend import RULESET

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

SPEC = SETS[LEARNED[4]]
DOOR = Destination(ip_address(RESOLVER4), Transport.UDP, 443)


@pytest.fixture
def backend() -> Iterator[NftablesBackend]:
    with own_network():
        made = NftablesBackend()
        yield made
        made.close()


def test_a_whole_cycle_leaves_the_tables_of_others_as_they_were(backend: NftablesBackend) -> None:
    nft("add table ip other")
    nft("add chain ip other c { type filter hook output priority 0; policy accept; }")
    nft("add rule ip other c ip daddr 192.0.2.0/24 counter accept")
    before = nft("-j", "list", "ruleset")
    for _ in range(5):
        backend.capabilities()
        backend.apply(plan.prepare(RULESET, {}))
        backend.apply(plan.arm(RULESET))
        backend.learn([(SPEC, Element(DOOR, 60))])
        backend.apply(plan.open_up(RULESET))
        backend.apply(plan.remove())
    assert nft("-j", "list", "ruleset") == before


def test_probing_and_checking_leave_the_ruleset_untouched(backend: NftablesBackend) -> None:
    backend.apply(plan.replace(RULESET, {}))
    before = nft("-a", "-j", "list", "ruleset")
    backend.capabilities()
    backend.check(plan.replace(RULESET, {}))
    with pytest.raises(IsolatorError):
        backend.check(Transaction("bad", (AddRule("nowhere", Rule((), Action.DROP)),)))
    assert nft("-a", "-j", "list", "ruleset") == before


def test_observing_does_not_list_elements_and_sees_our_table_only() -> None:
    with own_network():
        engine = Library()
        backend = NftablesBackend(engine)
        backend.apply(plan.replace(RULESET, {}))
        empty = engine.listing("list ruleset inet", terse=True)
        elements = [
            (SPEC, Element(Destination(ip_address(0x0B00_0000 + n), Transport.TCP, 443), 600))
            for n in range(1500)
        ]
        backend.learn(elements)
        assert engine.listing("list ruleset inet", terse=True) == empty
        assert len(backend.elements(SPEC)) == 1500
        # Namesakes: a chain called like our table, our table's name in another family.
        nft("add table inet other")
        nft("add chain inet other isolator")
        nft("add counter inet other isolator")
        nft("add table ip isolator")
        nft("add chain ip isolator dns_queue")
        assert plan.drift(backend.observe(), expected_table(RULESET)) == ()
        backend.apply(plan.remove())
        assert backend.observe() is None
        backend.close()


@pytest.mark.parametrize("in_place", [True, False], ids=["kernel-6.12", "older-kernels"])
@pytest.mark.parametrize("way", ["netlink", "text"])
def test_learning_again_loses_no_packet(backend: NftablesBackend, way: str, in_place: bool) -> None:
    """Under policy drop, a program that sends all the time is never refused meanwhile."""
    if in_place and not backend._in_place:
        pytest.skip("no_update_in_place: this kernel keeps the timeout of an element that is there")
    add_uplink()
    out = Chain("out", (), Hook.OUTPUT, 0)
    rule = Rule((EndInSet(Side.DESTINATION, SPEC.name, 4),), Action.ACCEPT)
    backend.apply(Transaction("tight", (AddTable(), AddSet(SPEC))))
    backend.learn([(SPEC, Element(DOOR, 60))])
    backend.apply(Transaction("tight", (AddChain(out), AddRule("out", rule))))
    backend._in_place = in_place
    if way == "text":
        assert backend._socket is not None
        backend._socket.close()
        backend._socket = None
    stop = threading.Event()
    refused: list[OSError] = []
    sent = 0

    def flood() -> None:
        nonlocal sent
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.connect((str(DOOR.address), DOOR.port))
            while not stop.is_set():
                try:
                    sending.send(b"x")
                    sent += 1
                except PermissionError as error:  # what an output chain that drops gives the sender
                    refused.append(error)
                except OSError:  # the device's own queue is full
                    continue

    sender = threading.Thread(target=flood)
    sender.start()
    for number in range(3000 if way == "netlink" else 500):
        backend.learn([(SPEC, Element(DOOR, 60 + number % 3))])
    stop.set()
    sender.join()
    assert sent > 0
    assert refused == []
    nft("flush set inet isolator learned4")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending,
        pytest.raises(PermissionError),
    ):
        sending.sendto(b"x", (str(DOOR.address), DOOR.port))


def test_a_stream_of_learned_addresses_does_not_starve_orders(backend: NftablesBackend) -> None:
    backend.apply(plan.replace(RULESET, {}))
    stop = threading.Event()
    learned = 0

    def learn() -> None:
        nonlocal learned
        while not stop.is_set():
            door = Destination(ip_address(0x0B00_0000 + learned % 500), Transport.TCP, 443)
            backend.learn([(SPEC, Element(door, 60))])
            learned += 1

    learner = threading.Thread(target=learn)
    learner.start()
    try:
        while not learned:
            time.sleep(0.001)
        for _ in range(30):
            assert plan.drift(backend.observe(), expected_table(RULESET)) == ()
            backend.apply(Transaction("update", (FlushChain("filter_forward"), *_forward_rules())))
    finally:
        stop.set()
        learner.join()


def _forward_rules() -> tuple[AddRule, ...]:
    return tuple(AddRule("filter_forward", rule) for rule in RULESET.chain("filter_forward").rules)


@pytest.mark.parametrize("threads", [4])
def test_many_threads_learn_at_once(backend: NftablesBackend, threads: int) -> None:
    backend.apply(plan.prepare(RULESET, {}))

    def learn(base: int) -> None:
        for n in range(200):
            door = Destination(ip_address(0x0B00_0000 + base * 1000 + n), Transport.TCP, 443)
            backend.learn([(SPEC, Element(door, 600))])

    started = [threading.Thread(target=learn, args=(number,)) for number in range(threads)]
    for each in started:
        each.start()
    for each in started:
        each.join()
    assert len(backend.elements(SPEC)) == 200 * threads


def _tampered_rule(flags: int, number: int = RULESET.queue_number) -> bytes:
    kind, asked, body = queue_rule.queue_rule("isolator", "dns_queue", number)
    good = number.to_bytes(2, "little") + b"\1\0\0\0\0\0"
    assert good in body
    return batch.batch([(kind, asked, body.replace(good, good[:4] + bytes([flags]) + good[5:]))])


@pytest.mark.parametrize(("flags", "number"), [(1, RULESET.queue_number), (0, RULESET.queue_number + 1)])
def test_a_queue_rule_that_was_changed_shows_as_drift(
    backend: NftablesBackend, flags: int, number: int
) -> None:
    """An intruder's NFQUEUE with --queue-bypass, or to another queue, lists like ours in nft's JSON."""
    backend.apply(plan.replace(RULESET, {}))
    nft("flush chain inet isolator dns_queue")
    netlink = batch.NetfilterSocket()
    netlink.send(_tampered_rule(flags, number))
    netlink.close()
    assert plan.drift(backend.observe(), expected_table(RULESET)) == ("chain dns_queue was changed",)


def test_a_failed_queue_rule_leaves_no_table(
    backend: NftablesBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend._queue_ways()[0]:
        pytest.skip("native_queue: here the queue rule is part of the one commit")
    monkeypatch.setattr(
        queue_rule,
        "add_queue_rules",
        lambda rules: batch.batch([queue_rule.queue_rule("isolator", "nowhere", 1)]),
    )
    with pytest.raises(IsolatorError) as failure:
        backend.apply(plan.prepare(RULESET, {}))
    assert failure.value.code is FailureCode.KERNEL_REFUSED
    assert backend.observe() is None


def test_foreign_elements_in_our_sets_are_told(backend: NftablesBackend) -> None:
    backend.apply(plan.prepare(RULESET, {}))
    nft("add element inet isolator learned4 { 192.0.2.1 . sctp . 443 timeout 60s }")
    with pytest.raises(IsolatorError) as failure:
        backend.elements(SPEC)
    assert failure.value.code is FailureCode.NOT_AS_WANTED


def test_without_permission_it_says_so_and_can_still_be_probed() -> None:
    with own_network():

        def attempt() -> tuple[FailureCode, ...]:
            backend = NftablesBackend()
            told = {each.code: each.available for each in backend.capabilities()}
            assert not told["permission"]
            codes: list[FailureCode] = []
            for act in (
                lambda: backend.apply(plan.prepare(RULESET, {})),
                lambda: backend.check(plan.remove()),
                lambda: backend.learn([(SPEC, Element(DOOR, 60))]),
            ):
                with pytest.raises(IsolatorError) as failure:
                    act()
                codes.append(failure.value.code)
            backend.close()
            return tuple(codes)

        assert set(without_capabilities(attempt)) == {FailureCode.NO_PERMISSION}


def test_another_namespace_is_another_table(backend: NftablesBackend) -> None:
    backend.apply(plan.replace(RULESET, {}))
    with own_network():
        other = NftablesBackend()
        assert other.observe() is None
        other.close()
    assert backend.observe() is not None
    assert json.loads(nft("-j", "list", "tables"))["nftables"][1]["table"]["name"] == "isolator"
