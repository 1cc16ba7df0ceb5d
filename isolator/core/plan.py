"""From what the kernel holds to what is wanted: transactions, and what differs.

Isolation takes two commits. `prepare` builds sets, counters and unhooked chains: no packet meets
them. `arm` adds the base chains with their rules: the one transaction that cuts the host off.
Release takes two as well: `open_up` lets everything pass atomically, `remove` deletes the table.
Deleting an armed table at once would lose allowed packets between the moment its rules are gone
and the moment its drop policy is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import collapse_addresses

from isolator.core.compiler import QUEUE_CHAINS
from isolator.model.flow import Network, Transport
from isolator.model.ruleset import (
    AcceptFirst,
    AddChain,
    AddCounter,
    AddElements,
    AddressSet,
    AddRule,
    AddSet,
    AddTable,
    Chain,
    DeleteElements,
    DeleteTable,
    Element,
    FlushChain,
    FlushSet,
    NetworkKey,
    ObservedTable,
    Operation,
    Ruleset,
    Transaction,
)


def prepare(
    ruleset: Ruleset, learned: Mapping[str, tuple[Element, ...]], *, remnant: bool = True
) -> Transaction:
    """A table with sets, counters and regular chains, in place of any remnant; nothing is hooked.

    Without a `remnant` nothing is deleted first, which spares the kernel a wait of some 10 ms.
    """
    start = _fresh() if remnant else (AddTable(),)
    return Transaction("prepare", (*start, *_body(ruleset, learned)))


def arm(ruleset: Ruleset) -> Transaction:
    """Hook the base chains: before it everything passes, after it only what the rules accept."""
    return Transaction("arm", tuple(_hooked(ruleset)))


def replace(ruleset: Ruleset, learned: Mapping[str, tuple[Element, ...]]) -> Transaction:
    """The whole table anew in one commit, whatever is there now: the repair of a damaged table."""
    return Transaction("replace", (*_fresh(), *_body(ruleset, learned), *_hooked(ruleset)))


def mend(
    observed: ObservedTable | None,
    wanted: ObservedTable,
    held: Mapping[str, tuple[Element, ...]],
    ruleset: Ruleset,
    learned: Mapping[str, tuple[Element, ...]],
) -> Transaction | None:
    """From whatever stands to the ruleset, in one commit that never leaves a set out.

    `held` are the elements the kernel has. A table made anew would miss listed networks for an
    instant: its rules are in force with the commit, its interval sets a moment later. None when
    there is no table whose sets and hooks are ours; then only `replace` helps.
    """
    if observed is None or observed.sets != wanted.sets or not observed.chains.keys() <= wanted.chains.keys():
        return None
    for name, found in observed.chains.items():
        if (found.hook, found.priority) != (wanted.chains[name].hook, wanted.chains[name].priority):
            return None
    operations: list[Operation] = [AddCounter(reason) for reason in ruleset.reasons]
    for spec in ruleset.sets:
        operations += _set_right(spec, held.get(spec.name, ()), ruleset, learned.get(spec.name, ()))
    for chain in sorted(ruleset.chains, key=lambda each: each.hook is not None):
        if observed.chains.get(chain.name) != wanted.chains[chain.name]:
            operations += [AddChain(chain), FlushChain(chain.name), *_rules(chain, ruleset)]
    return Transaction("mend", tuple(operations))


def _set_right(
    spec: AddressSet, held: tuple[Element, ...], ruleset: Ruleset, learned: tuple[Element, ...]
) -> Iterable[Operation]:
    wanted = (*ruleset.contents.get(spec.name, ()), *learned)
    if spec.room:
        return  # what packets put there is nobody else's
    if spec.timed:
        keys = {element.key for element in wanted}
        stray = tuple(Element(element.key) for element in held if element.key not in keys)
        if stray:
            yield DeleteElements(spec, stray)
    elif contents_drift(spec, held, ruleset):
        yield FlushSet(spec)
    else:
        return
    if wanted:
        yield AddElements(spec, wanted)


def _fresh() -> tuple[Operation, ...]:
    # nft 1.0.6 has no `destroy`: add first, so that the delete cannot fail.
    return (AddTable(), DeleteTable(), AddTable())


def _body(ruleset: Ruleset, learned: Mapping[str, tuple[Element, ...]]) -> Iterable[Operation]:
    yield from (AddSet(spec) for spec in ruleset.sets)
    yield from (AddCounter(reason) for reason in ruleset.reasons)
    for spec in ruleset.sets:
        held = (*ruleset.contents.get(spec.name, ()), *learned.get(spec.name, ()))
        if held:
            yield AddElements(spec, held)
    regular = [chain for chain in ruleset.chains if chain.hook is None]
    yield from (AddChain(chain) for chain in regular)
    for chain in regular:
        yield from _rules(chain, ruleset)


def _hooked(ruleset: Ruleset) -> Iterable[Operation]:
    for chain in ruleset.chains:
        if chain.hook is not None:
            yield AddChain(chain)
            yield from _rules(chain, ruleset)


def _rules(chain: Chain, ruleset: Ruleset) -> Iterable[Operation]:
    return (AddRule(chain.name, rule, ruleset.queue_number) for rule in chain.rules)


def update(
    current: Ruleset,
    wanted: Ruleset,
    *,
    add: Mapping[str, tuple[Element, ...]] | None = None,
    forget: Mapping[str, tuple[Element, ...]] | None = None,
) -> Transaction:
    """From one armed ruleset to another in one commit, counters and learned addresses kept.

    `add` are learned elements the new policy brings, `forget` those it no longer covers. The
    chains that feed the queues are left alone: they are the same for every policy.
    """
    operations: list[Operation] = [AddCounter(reason) for reason in wanted.reasons]
    for spec in wanted.sets:
        before = set(current.contents.get(spec.name, ()))
        after = set(wanted.contents.get(spec.name, ()))
        gone = (*(e for e in current.contents.get(spec.name, ()) if e not in after),)
        gone += (forget or {}).get(spec.name, ())
        new = (*(e for e in wanted.contents.get(spec.name, ()) if e not in before),)
        new += (add or {}).get(spec.name, ())
        if gone:
            operations.append(DeleteElements(spec, gone))
        if new:
            operations.append(AddElements(spec, new))
    for chain in wanted.chains:
        if chain.name not in QUEUE_CHAINS and chain != current.chain(chain.name):
            operations.append(FlushChain(chain.name))
            operations.extend(_rules(chain, wanted))
    return Transaction("update", tuple(operations))


def open_up(ruleset: Ruleset) -> Transaction:
    """Let every packet pass: accept ahead of all rules, and as policy of each base chain."""
    operations: list[Operation] = []
    for chain in ruleset.chains:
        if chain.hook is not None:
            operations += [AddChain(chain, accepting=True), AcceptFirst(chain.name)]
    return Transaction("open_up", tuple(operations))


def remove() -> Transaction:
    """Delete the table; no error when it is gone already."""
    return Transaction("remove", (AddTable(), DeleteTable()))


def drift(observed: ObservedTable | None, wanted: ObservedTable) -> tuple[str, ...]:
    """What differs from the wanted table, one sentence each; empty when it is as it should be."""
    if observed is None:
        return ("table isolator is missing",)
    found: list[str] = []
    for name in wanted.chains.keys() | observed.chains.keys():
        here, there = observed.chains.get(name), wanted.chains.get(name)
        if here is None:
            found.append(f"chain {name} is missing")
        elif there is None:
            found.append(f"chain {name} is not ours")
        elif here != there:
            found.append(f"chain {name} was changed")
    for name in wanted.sets.keys() | observed.sets.keys():
        if observed.sets.get(name) != wanted.sets.get(name):
            found.append(f"set {name} is missing or was changed")
    return tuple(sorted(found))


def contents_drift(spec: AddressSet, held: Iterable[Element], ruleset: Ruleset) -> tuple[str, ...]:
    """What differs in a set that only orders change; how networks are cut into ranges does not matter."""
    if _normal(held) == _normal(ruleset.contents.get(spec.name, ())):
        return ()
    return (f"set {spec.name} holds other elements",)


def _normal(elements: Iterable[Element]) -> frozenset[object]:
    keys: set[object] = set()
    ranges: dict[tuple[int, Transport, int], list[Network]] = {}
    for key in (element.key for element in elements):
        if isinstance(key, NetworkKey):
            ranges.setdefault((key.network.version, key.transport, key.port), []).append(key.network)
        else:
            keys.add(key)
    for door, networks in ranges.items():
        # One version a group, which the type of the union cannot say.
        keys |= {(door, network) for network in collapse_addresses(networks)}  # type: ignore[type-var]
    return frozenset(keys)
