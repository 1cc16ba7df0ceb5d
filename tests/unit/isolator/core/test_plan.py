"""Transactions, applied by the fake kernel that keeps the real one's contract; and drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from isolator.core import plan
from isolator.core.compiler import SEEN, compile_policy
from isolator.core.learned_elements import by_set, doors_of, elements_of
from isolator.model.failure import IsolatorError
from isolator.model.flow import Destination, LearnedAddress, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import AllowedNetwork, ControlEndpoint, Direction, Exclusion, Policy
from isolator.model.ruleset import AddressSet, AddTable, Element, ObservedChain, Ruleset, SetKind
from isolator.model.segment import FlowKey
from isolator.model.verdict import Reason
from isolator.render.nft import expected_table
from tests.fakes.filter_backend import FakeFilterBackend

EMPTY = Policy(IsolationScope.FULL, (), resolvers=(ip_address("192.0.2.53"),))
RICH = replace(
    EMPTY,
    scope=IsolationScope.SELECTIVE,
    networks=(AllowedNetwork(ip_network("20.15.141.0/24"), Transport.TCP, 443, "l#1"),),
    control=(ControlEndpoint(8443, address=ip_address("198.51.100.9")),),
    exclusions=(Exclusion("ssh", Direction.IN, Transport.TCP, 22, ip_network("10.9.0.0/16")),),
)
A, B = compile_policy(EMPTY, 7), compile_policy(RICH, 7)
DOOR = Destination(ip_address("20.1.1.1"), Transport.TCP, 443)
LEARNED = by_set(elements_of([LearnedAddress(DOOR, "a.test", "l#1", 1060.0)], now=1000.0))


@pytest.fixture
def kernel() -> FakeFilterBackend:
    return FakeFilterBackend()


def test_prepare_hooks_nothing(kernel: FakeFilterBackend) -> None:
    kernel.apply(plan.prepare(A, LEARNED))
    observed = kernel.observe()
    assert observed is not None
    assert all(chain.hook is None for chain in observed.chains.values())


def test_prepare_then_arm_gives_what_is_wanted(kernel: FakeFilterBackend) -> None:
    kernel.apply(plan.prepare(A, LEARNED))
    kernel.apply(plan.arm(A))
    assert plan.drift(kernel.observe(), expected_table(A)) == ()


def test_prepare_takes_the_place_of_a_remnant(kernel: FakeFilterBackend) -> None:
    kernel.apply(plan.replace(B, {}))
    kernel.apply(plan.prepare(A, {}))
    kernel.apply(plan.arm(A))
    assert plan.drift(kernel.observe(), expected_table(A)) == ()


@pytest.mark.parametrize(("before", "after"), [(A, B), (B, A), (A, A)], ids=["grow", "shrink", "same"])
def test_an_update_gives_what_is_wanted_and_keeps_what_is_learned(
    kernel: FakeFilterBackend, before: object, after: object
) -> None:
    kernel.apply(plan.replace(before, LEARNED))  # type: ignore[arg-type]
    kernel.apply(plan.update(before, after))  # type: ignore[arg-type]
    assert plan.drift(kernel.observe(), expected_table(after)) == ()  # type: ignore[arg-type]
    for spec in after.sets:  # type: ignore[attr-defined]
        held = {element.key for element in kernel.elements(spec)}
        fixed = {element.key for element in after.contents.get(spec.name, ())}  # type: ignore[attr-defined]
        assert held == fixed | {element.key for element in LEARNED.get(spec.name, ())}


def test_an_update_shuts_doors_and_opens_others(kernel: FakeFilterBackend) -> None:
    other = Destination(ip_address("20.1.1.2"), Transport.TCP, 443)
    add = by_set(elements_of([LearnedAddress(other, "b.test", "l#2", 1060.0)], now=1000.0))
    kernel.apply(plan.replace(A, LEARNED))
    kernel.apply(plan.update(A, B, add=add, forget=doors_of([DOOR])))
    seen = next(spec for spec in B.sets if spec.name == SEEN[4])
    assert {element.key for element in kernel.elements(seen)} == {other}


def test_an_update_forgets_what_expired_meanwhile(kernel: FakeFilterBackend) -> None:
    kernel.apply(plan.replace(A, {}))
    kernel.apply(plan.update(A, B, forget=doors_of([DOOR])))
    assert plan.drift(kernel.observe(), expected_table(B)) == ()


def test_an_update_leaves_the_queue_chains_alone() -> None:
    flushed = {op.name for op in plan.update(A, B).operations if hasattr(op, "name")}
    assert flushed == {"flow_out", "filter_output", "filter_input"}


def test_opening_up_lets_every_base_chain_accept(kernel: FakeFilterBackend) -> None:
    kernel.apply(plan.replace(A, {}))
    kernel.apply(plan.open_up(A))
    observed = kernel.observe()
    assert observed is not None
    for chain in observed.chains.values():
        if chain.hook is not None:
            assert chain.policy == "accept"
            assert chain.rules[0] == '[{"accept":null}]'


def test_removal_is_safe_twice(kernel: FakeFilterBackend) -> None:
    kernel.apply(plan.replace(A, {}))
    kernel.apply(plan.remove())
    kernel.apply(plan.remove())
    assert kernel.observe() is None


def test_a_refused_transaction_leaves_what_was(kernel: FakeFilterBackend) -> None:
    kernel.apply(plan.replace(A, {}))
    with pytest.raises(IsolatorError):
        kernel.apply(plan.Transaction("broken", (*plan.open_up(A).operations, plan.FlushChain("absent"))))
    assert plan.drift(kernel.observe(), expected_table(A)) == ()


def _mended(kernel: FakeFilterBackend, ruleset: Ruleset, learned: Mapping[str, tuple[Element, ...]]) -> None:
    held = {spec.name: kernel.elements(spec) for spec in ruleset.sets}
    transaction = plan.mend(kernel.observe(), expected_table(ruleset), held, ruleset, learned)
    assert transaction is not None
    assert AddTable() not in transaction.operations
    kernel.apply(transaction)
    assert plan.drift(kernel.observe(), expected_table(ruleset)) == ()
    for spec in ruleset.sets:
        wanted = (*ruleset.contents.get(spec.name, ()), *learned.get(spec.name, ()))
        assert {each.key for each in kernel.elements(spec)} == {each.key for each in wanted}


@pytest.mark.parametrize(("before", "after"), [(A, B), (B, A), (A, A)], ids=["grow", "shrink", "same"])
def test_mending_leads_from_any_order_to_the_wanted_one(
    kernel: FakeFilterBackend, before: Ruleset, after: Ruleset
) -> None:
    kernel.apply(plan.replace(before, LEARNED))
    _mended(kernel, after, {})
    _mended(kernel, after, LEARNED)


def test_mending_puts_back_chains_rules_policies_and_elements(kernel: FakeFilterBackend) -> None:
    kernel.apply(plan.replace(B, LEARNED))
    assert kernel.table is not None
    del kernel.table.chains["filter_forward"]
    kernel.table.chains["filter_output"].rules.clear()
    kernel.table.chains["filter_input"].policy = "accept"
    kernel.table.elements["networks4"].clear()
    kernel.table.elements["control4"][Destination(ip_address("203.0.113.9"), Transport.TCP, 22)] = None
    _mended(kernel, B, LEARNED)


def test_only_a_new_table_helps_when_sets_or_hooks_are_not_ours(kernel: FakeFilterBackend) -> None:
    wanted = expected_table(A)
    chains = {**wanted.chains, "backdoor": ObservedChain(None, None, None, ())}
    moved = {**wanted.chains, "filter_input": replace(wanted.chains["filter_input"], priority=300)}
    for observed in (
        None,
        replace(wanted, sets={**wanted.sets, "extra": "x"}),
        replace(wanted, chains=chains),
        replace(wanted, chains=moved),
    ):
        assert plan.mend(observed, wanted, {}, A, {}) is None


def test_drift_names_each_difference() -> None:
    wanted = expected_table(A)
    assert plan.drift(None, wanted) == ("table isolator is missing",)
    assert plan.drift(wanted, wanted) == ()
    chains = dict(wanted.chains)
    del chains["filter_forward"]
    chains["filter_input"] = replace(chains["filter_input"], policy="accept")
    chains["backdoor"] = ObservedChain(None, None, None, ())
    sets = {**wanted.sets, "extra": "x"}
    assert plan.drift(replace(wanted, chains=chains, sets=sets), wanted) == (
        "chain backdoor is not ours",
        "chain filter_forward is missing",
        "chain filter_input was changed",
        "set extra is missing or was changed",
    )


def test_any_rule_that_is_missing_doubled_or_moved_is_drift() -> None:
    wanted = expected_table(B)
    for name, chain in wanted.chains.items():
        for position, rule in enumerate(chain.rules):
            without = chain.rules[:position] + chain.rules[position + 1 :]
            for rules in (without, (*chain.rules, rule), (rule, *chain.rules)):
                changed = {**wanted.chains, name: replace(chain, rules=rules)}
                assert plan.drift(replace(wanted, chains=changed), wanted) == (f"chain {name} was changed",)


def test_counters_are_no_drift() -> None:
    wanted = expected_table(A)
    assert plan.drift(replace(wanted, counters={Reason.NOT_LISTED.value: 9}), wanted) == ()


def test_a_ruleset_s_chain_must_exist() -> None:
    with pytest.raises(KeyError):
        A.chain("absent")


def test_kinds_know_their_version() -> None:
    assert AddressSet("x", SetKind.EMBEDDED6).kind.version == 6
    assert AddressSet("x", SetKind.ADDRESS4).kind.version == 4


def test_mending_leaves_alone_what_packets_put_into_a_set(kernel: FakeFilterBackend) -> None:
    flows = AddressSet("approved4", SetKind.FLOW4, timed=True, room=100)
    ruleset = replace(A, sets=(*(each for each in A.sets if each.name != flows.name), flows))
    kernel.apply(plan.replace(ruleset, {}))
    observed = kernel.observe()
    assert observed is not None
    flow = FlowKey(ip_address("192.0.2.10"), 50_000, DOOR.address, 443)
    held = {"approved4": (Element(flow, 60.0),), "learned4": (Element(DOOR, 60.0),)}
    mending = plan.mend(observed, expected_table(ruleset), held, ruleset, {})
    assert mending is not None
    touched = {op.spec.name for op in mending.operations if hasattr(op, "spec")}
    assert "learned4" in touched  # a stray there is taken out
    assert "approved4" not in touched
