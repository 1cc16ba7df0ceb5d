"""FilterBackend: the fake, libnftables in this process, and the nft program."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import pytest

from isolator.core import plan
from isolator.core.compiler import LEARNED, SETS, compile_policy
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Destination, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import AllowedNetwork, ControlEndpoint, Policy
from isolator.model.ruleset import (
    Action,
    AddChain,
    AddElements,
    AddRule,
    AddTable,
    Chain,
    DeleteElements,
    DeleteTable,
    Element,
    NetworkKey,
    Rule,
    Transaction,
)
from isolator.ports import FilterBackend
from isolator.render.nft import expected_table
from tests.contract.own_network import own_network
from tests.fakes.clock import FakeClock
from tests.fakes.filter_backend import FakeFilterBackend

NETWORK = ip_network("203.0.113.0/24")
POLICY = Policy(
    scope=IsolationScope.FULL,
    entries=(),
    networks=(AllowedNetwork(NETWORK, Transport.TCP, 443, "x#1"),),
    resolvers=(ip_address("192.0.2.53"), ip_address("2001:db8::53")),
    control=(ControlEndpoint(8443, address=ip_address("198.51.100.7")),),
)
RULESET = compile_policy(POLICY, 17)
DOOR4 = Destination(ip_address("198.51.100.1"), Transport.TCP, 443)
DOOR6 = Destination(ip_address("2001:db8:1::1"), Transport.UDP, 443)
LEARNED4 = SETS[LEARNED[4]]


@dataclass
class Bench:
    """A backend and a way to let time pass for it."""

    backend: FilterBackend
    wait: Callable[[float], None]


def _real(name: str) -> Iterator[Bench]:
    from isolator.adapters.nftables import NftablesBackend
    from isolator.adapters.nftables.engine import Library, Program

    with own_network():
        backend = NftablesBackend(Library() if name == "library" else Program())
        yield Bench(backend, time.sleep)
        backend.close()


@pytest.fixture(
    params=["fake", *(pytest.param(name, marks=pytest.mark.netns) for name in ("library", "program"))]
)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "fake":
        clock = FakeClock()
        yield Bench(FakeFilterBackend(clock), clock.advance)
    else:
        yield from _real(request.param)


def test_nothing_is_there_at_first(bench: Bench) -> None:
    assert bench.backend.observe() is None
    assert bench.backend.elements(LEARNED4) == ()


def test_what_was_committed_is_listed_back(bench: Bench) -> None:
    backend = bench.backend
    backend.apply(plan.prepare(RULESET, {LEARNED4.name: (Element(DOOR4, 300),)}))
    backend.check(plan.arm(RULESET))
    assert plan.drift(backend.observe(), expected_table(RULESET))
    backend.apply(plan.arm(RULESET))
    assert plan.drift(backend.observe(), expected_table(RULESET)) == ()
    assert backend.elements(SETS["networks4"]) == (Element(NetworkKey(NETWORK, Transport.TCP, 443)),)
    assert {each.key for each in backend.elements(SETS["resolvers6"])} == {ip_address("2001:db8::53")}
    (learned,) = backend.elements(LEARNED4)
    assert learned.key == DOOR4
    assert learned.timeout_s is not None
    assert 0 < learned.timeout_s <= 300


def test_a_check_changes_nothing(bench: Bench) -> None:
    bench.backend.check(plan.replace(RULESET, {}))
    assert bench.backend.observe() is None


def test_replace_is_idempotent_and_release_leaves_nothing(bench: Bench) -> None:
    backend = bench.backend
    for _ in range(2):
        backend.apply(plan.replace(RULESET, {}))
        assert plan.drift(backend.observe(), expected_table(RULESET)) == ()
    backend.apply(plan.open_up(RULESET))
    observed = backend.observe()
    assert observed is not None
    assert {chain.policy for chain in observed.chains.values() if chain.hook} == {"accept"}
    for _ in range(2):
        backend.apply(plan.remove())
        assert backend.observe() is None


@pytest.mark.parametrize("call", ["check", "apply"])
def test_a_refused_transaction_leaves_nothing_behind(bench: Bench, call: str) -> None:
    broken = Transaction("broken", (AddTable(), AddRule("no_such_chain", Rule((), Action.DROP))))
    with pytest.raises(IsolatorError) as failure:
        getattr(bench.backend, call)(broken)
    assert failure.value.code is FailureCode.KERNEL_REFUSED
    assert "\n" not in failure.value.sentence
    assert bench.backend.observe() is None


def test_a_table_that_is_not_there_cannot_be_deleted(bench: Bench) -> None:
    with pytest.raises(IsolatorError) as failure:
        bench.backend.apply(Transaction("delete", (DeleteTable(),)))
    assert failure.value.code is FailureCode.KERNEL_REFUSED


@pytest.mark.parametrize(("version", "door"), [(4, DOOR4), (6, DOOR6)])
def test_learned_addresses_are_in_force_when_learn_returns(
    bench: Bench, version: int, door: Destination
) -> None:
    backend = bench.backend
    backend.apply(plan.prepare(RULESET, {}))
    spec, embedded = SETS[LEARNED[version]], SETS[f"embedded{version}"]
    backend.learn([(spec, Element(door, 600)), (embedded, Element(door.address, 900))])
    assert [each.key for each in backend.elements(spec)] == [door]
    assert [each.key for each in backend.elements(embedded)] == [door.address]


@pytest.mark.parametrize(("first", "second"), [(60, 6000), (6000, 60)])
def test_learning_again_sets_the_new_timeout(bench: Bench, first: int, second: int) -> None:
    bench.backend.apply(plan.prepare(RULESET, {}))
    for timeout in (first, second):
        bench.backend.learn([(LEARNED4, Element(DOOR4, timeout))])
    (element,) = bench.backend.elements(LEARNED4)
    assert element.timeout_s is not None
    assert second - 30 < element.timeout_s <= second


def test_learning_the_same_timeout_again_starts_it_anew(bench: Bench) -> None:
    bench.backend.apply(plan.prepare(RULESET, {}))
    bench.backend.learn([(LEARNED4, Element(DOOR4, 3))])
    for _ in range(2):
        bench.wait(2)
        bench.backend.learn([(LEARNED4, Element(DOOR4, 3))])
    # Four seconds have passed: without the new start it would have expired.
    assert [each.key for each in bench.backend.elements(LEARNED4)] == [DOOR4]


def test_an_element_expires(bench: Bench) -> None:
    bench.backend.apply(plan.prepare(RULESET, {}))
    bench.backend.learn([(LEARNED4, Element(DOOR4, 1))])
    bench.wait(1.2)
    assert bench.backend.elements(LEARNED4) == ()


def test_one_call_with_one_key_twice_keeps_the_longer_life(bench: Bench) -> None:
    bench.backend.apply(plan.prepare(RULESET, {}))
    bench.backend.learn([(LEARNED4, Element(DOOR4, 900)), (LEARNED4, Element(DOOR4, 60))])
    (element,) = bench.backend.elements(LEARNED4)
    assert element.timeout_s is not None
    assert element.timeout_s > 800


def test_many_addresses_in_one_call(bench: Bench) -> None:
    bench.backend.apply(plan.prepare(RULESET, {}))
    doors = [Destination(ip_address(0x0B00_0000 + n), Transport.TCP, 443) for n in range(3000)]
    bench.backend.learn([(LEARNED4, Element(door, 600)) for door in doors])
    assert {each.key for each in bench.backend.elements(LEARNED4)} == set(doors)


COMMENT, OTHER = "a-_=" * 30, "b"


@pytest.mark.parametrize(("version", "door"), [(4, DOOR4), (6, DOOR6)])
def test_a_comment_is_listed_back(bench: Bench, version: int, door: Destination) -> None:
    backend, spec = bench.backend, SETS[LEARNED[version]]
    backend.apply(plan.prepare(RULESET, {spec.name: (Element(door, 600, COMMENT),)}))
    assert [each.comment for each in backend.elements(spec)] == [COMMENT]
    backend.learn([(spec, Element(door, 60, OTHER))])
    (element,) = backend.elements(spec)
    assert (element.key, element.comment) == (door, OTHER)
    assert element.timeout_s is not None
    assert element.timeout_s <= 60


def test_an_element_that_is_there_keeps_its_comment_unless_it_is_learned_with_another(bench: Bench) -> None:
    backend = bench.backend
    backend.apply(plan.prepare(RULESET, {LEARNED4.name: (Element(DOOR4, 600, OTHER),)}))
    backend.apply(Transaction("add", (AddElements(LEARNED4, (Element(DOOR4, 600, COMMENT),)),)))
    assert [each.comment for each in backend.elements(LEARNED4)] == [OTHER]
    backend.learn([(LEARNED4, Element(DOOR4, 60, COMMENT)), (LEARNED4, Element(DOOR4, 600, OTHER))])
    assert [each.comment for each in backend.elements(LEARNED4)] == [OTHER], "of the one that lives longer"
    backend.apply(
        Transaction(
            "anew",
            (
                DeleteElements(LEARNED4, (Element(DOOR4),)),
                AddElements(LEARNED4, (Element(DOOR4, 600, COMMENT),)),
            ),
        )
    )
    assert [each.comment for each in backend.elements(LEARNED4)] == [COMMENT]


@pytest.mark.parametrize("count", [350, 2_000])
def test_many_comments_in_one_call(bench: Bench, count: int) -> None:
    spec = SETS[LEARNED[6]]
    bench.backend.apply(plan.prepare(RULESET, {}))
    doors = [Destination(ip_address((0x2603 << 112) + n), Transport.TCP, 443) for n in range(count)]
    bench.backend.learn([(spec, Element(door, 600, COMMENT)) for door in doors])
    assert {(each.key, each.comment) for each in bench.backend.elements(spec)} == {
        (door, COMMENT) for door in doors
    }


def test_learning_nothing_or_without_a_table(bench: Bench) -> None:
    bench.backend.learn([])
    with pytest.raises(IsolatorError) as failure:
        bench.backend.learn([(LEARNED4, Element(DOOR4, 60))])
    assert failure.value.code is FailureCode.KERNEL_REFUSED


def test_elements_come_and_go_in_one_commit(bench: Bench) -> None:
    backend = bench.backend
    control = SETS["control4"]
    backend.apply(plan.prepare(RULESET, {}))
    (old,) = backend.elements(control)
    new = Element(DOOR4)
    backend.apply(Transaction("move", (DeleteElements(control, (old,)), AddElements(control, (new,)))))
    assert backend.elements(control) == (new,)
    absent = Transaction("again", (DeleteElements(control, (old,)),))
    backend.apply(absent)
    assert backend.elements(control) == (new,)


def test_another_queue_number_shows(bench: Bench) -> None:
    chain = Chain("dns_queue", ())
    for number in (17, 18):
        rule = AddRule("dns_queue", Rule((), Action.QUEUE), number)
        bench.backend.apply(
            Transaction("queue", (AddTable(), DeleteTable(), AddTable(), AddChain(chain), rule))
        )
        observed = bench.backend.observe()
        assert observed is not None
        assert observed.chains["dns_queue"].rules == (f'[{{"queue":{{"num":{number}}}}}]',)


def test_capabilities_are_told_once_each(bench: Bench) -> None:
    told = bench.backend.capabilities()
    assert len({each.code for each in told}) == len(told)
    assert {"permission", "nftables", "fib", "queue"} <= {each.code for each in told if each.required}
    assert all(each.detail and each.lost_without for each in told)
    assert bench.backend.observe() is None
