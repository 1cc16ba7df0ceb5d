"""Rules and transactions to nft's command language, and its listing back to values.

Text is what both libnftables and the `nft` program read. The JSON of a rule is what nft 1.0 and
later list for it (libnftables-json(5)); comparing it with a listing is how drift is found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from isolator.model.flow import Destination
from isolator.model.ruleset import (
    APPROVED_BIT,
    FLOW_BIT,
    TABLE,
    AcceptFirst,
    Action,
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
    Forget,
    Jump,
    NetworkKey,
    ObservedChain,
    ObservedTable,
    Operation,
    Remember,
    Rule,
    RuleAction,
    Ruleset,
    Transaction,
)
from isolator.render.nft_match import flow_json, flow_text, match_text, matches_json

_NOT_APPROVED = 0xFFFF_FFFF & ~APPROVED_BIT
_KEPT_BITS = _NOT_APPROVED & ~FLOW_BIT
_QUEUES = {Action.QUEUE: 0, Action.QUEUE_FLOW: 1}
"""What is added to the queue number."""
_ELEMENTS_A_LINE = 400
"""Elements in one `add element` command; keeps a line readable and the parser's memory small."""


def element_text(element: Element) -> str:
    """One set element as nft reads it, with its timeout and comment when it has them."""
    key = element.key
    if isinstance(key, Destination):
        text = f"{key.address} . {key.transport.value} . {key.port}"
    elif isinstance(key, NetworkKey):
        text = f"{key.network} . {key.transport.value} . {key.port}"
    else:
        text = str(key)
    return text + _options_text(element)


def _options_text(element: Element) -> str:
    timeout = "" if element.timeout_s is None else f" timeout {element.timeout_s}s"
    return timeout if element.comment is None else f'{timeout} comment "{element.comment}"'


def rule_text(rule: Rule, queue_number: int = 0) -> str:
    """One rule as nft reads it."""
    words = [match_text(match) for match in rule.matches]
    if rule.reason is not None:
        words.append(f'counter name "{rule.reason.value}"')
    words.append(_action_text(rule.action, queue_number))
    return " ".join(words)


def _action_text(action: RuleAction, queue_number: int) -> str:
    match action:
        case Jump(chain):
            return f"jump {chain}"
        case Remember(name, version, timeout_s):
            return f"update @{name} {{ {flow_text(version)} timeout {timeout_s}s }}"
        case Forget(name, version):
            return f"delete @{name} {{ {flow_text(version)} }}"
        case Action.CLEAR_MARK:
            return f"meta mark set meta mark & 0x{_KEPT_BITS:08x}"
        case Action.SET_MARK:
            return f"meta mark set meta mark | 0x{APPROVED_BIT:08x}"
        case Action.SET_KNOWN:
            return f"meta mark set meta mark & 0x{_NOT_APPROVED:08x} | 0x{FLOW_BIT:08x}"
        case Action.QUEUE | Action.QUEUE_FLOW:
            return f"queue num {queue_number + _QUEUES[action]}"
    return str(action.value)


def render_transaction(transaction: Transaction, *, native_queue: bool) -> str:
    """The whole transaction as one nft script.

    With `native_queue` False the queue rules are left out: the caller adds them by netlink
    (`queue_rules`), which is safe because the chain that holds them is not hooked yet.
    """
    lines: list[str] = []
    for operation in transaction.operations:
        if not native_queue and _is_queue(operation):
            continue
        lines.extend(_operation_lines(operation))
    return "\n".join(lines) + "\n"


def queue_rules(transaction: Transaction) -> tuple[tuple[str, int], ...]:
    """(chain, queue number) of each queue rule in the transaction."""
    return tuple(
        (operation.chain, operation.queue_number + _QUEUES[operation.rule.action])
        for operation in transaction.operations
        if isinstance(operation, AddRule) and operation.rule.action in _QUEUES
    )


def _is_queue(operation: Operation) -> bool:
    return isinstance(operation, AddRule) and operation.rule.action in _QUEUES


def _operation_lines(operation: Operation) -> Sequence[str]:
    match operation:
        case AddTable():
            return (f"add table inet {TABLE}",)
        case DeleteTable():
            return (f"delete table inet {TABLE}",)
        case AddSet(spec):
            return (f"add set inet {TABLE} {spec.name} {{ {set_text(spec)} }}",)
        case AddCounter(reason):
            return (f"add counter inet {TABLE} {reason.value}",)
        case AddChain(chain, accepting):
            return (f"add chain inet {TABLE} {chain.name}{_hook_text(chain, accepting)}",)
        case FlushSet(spec):
            return (f"flush set inet {TABLE} {spec.name}",)
        case FlushChain(name):
            return (f"flush chain inet {TABLE} {name}",)
        case AddRule(chain, rule, number):
            return (f"add rule inet {TABLE} {chain} {rule_text(rule, number)}",)
        case AcceptFirst(chain):
            return (f"insert rule inet {TABLE} {chain} accept",)
        case AddElements(spec, elements):
            return _element_lines("add", spec, elements)
        case DeleteElements(spec, elements):
            # An element may have expired since it was seen; adding it first makes the delete safe.
            keys = tuple(Element(element.key) for element in elements)
            return (*_element_lines("add", spec, keys), *_element_lines("delete", spec, keys))


def _element_lines(verb: str, spec: AddressSet, elements: Sequence[Element]) -> Sequence[str]:
    texts = [_in_set(spec, element) for element in elements]
    return [
        f"{verb} element inet {TABLE} {spec.name} {{ {', '.join(texts[start : start + _ELEMENTS_A_LINE])} }}"
        for start in range(0, len(texts), _ELEMENTS_A_LINE)
    ]


def _in_set(spec: AddressSet, element: Element) -> str:
    """An embedded-address set is keyed by a raw integer: nft has no address type for it."""
    if not spec.kind.name.startswith("EMBEDDED"):
        return element_text(element)
    if isinstance(element.key, Destination | NetworkKey):
        raise TypeError(f"set {spec.name} holds addresses, not {element.key}")
    number = f"0x{int(element.key):0{element.key.max_prefixlen // 4}x}"
    return number + _options_text(element)


def set_text(spec: AddressSet) -> str:
    """Definition of a set, without elements."""
    key = spec.kind.value if spec.kind.value.startswith("typeof") else f"type {spec.kind.value}"
    wanted = (("dynamic", spec.room), ("timeout", spec.timed), ("interval", spec.interval))
    flags = [flag for flag, given in wanted if given]
    text = f"{key};" + (f" flags {', '.join(flags)};" if flags else "")
    if spec.sweep_s:
        text += f" gc-interval {spec.sweep_s}s;"
    return f"{text} size {spec.room};" if spec.room else text


def _hook_text(chain: Chain, accepting: bool) -> str:
    if chain.hook is None:
        return ""
    policy = "accept" if accepting else "drop"
    return f" {{ type filter hook {chain.hook.value} priority {chain.priority}; policy {policy}; }}"


def rule_json(rule: Rule, queue_number: int = 0) -> str:
    """Canonical JSON text of the rule as nft lists it, without handle."""
    expressions: list[Any] = [each for match in rule.matches for each in matches_json(match)]
    if rule.reason is not None:
        expressions.append({"counter": rule.reason.value})
    expressions.append(_action_json(rule.action, queue_number))
    return canonical(expressions)


def _action_json(action: RuleAction, queue_number: int) -> dict[str, Any]:
    match action:
        case Jump(chain):
            return {"jump": {"target": chain}}
        case Remember(name, version, timeout_s):
            element = {"elem": {"val": flow_json(version), "timeout": timeout_s}}
            return {"set": {"op": "update", "elem": element, "set": f"@{name}"}}
        case Forget(name, version):
            return {"set": {"op": "delete", "elem": flow_json(version), "set": f"@{name}"}}
        case Action.QUEUE | Action.QUEUE_FLOW:
            return {"queue": {"num": queue_number + _QUEUES[action]}}
    mark = {"meta": {"key": "mark"}}
    table: dict[Action, dict[str, Any]] = {
        Action.ACCEPT: {"accept": None},
        Action.DROP: {"drop": None},
        Action.RESET: {"reject": {"type": "tcp reset"}},
        Action.UNREACHABLE: {"reject": {"type": "icmpx", "expr": "admin-prohibited"}},
        Action.PORT_UNREACHABLE: {"reject": {"type": "icmpx", "expr": "port-unreachable"}},
        Action.CLEAR_MARK: {"mangle": {"key": mark, "value": {"&": [mark, _KEPT_BITS]}}},
        Action.SET_MARK: {"mangle": {"key": mark, "value": {"|": [mark, APPROVED_BIT]}}},
        Action.SET_KNOWN: {"mangle": {"key": mark, "value": {"|": [{"&": [mark, _NOT_APPROVED]}, FLOW_BIT]}}},
    }
    return table[action]


def canonical(value: object) -> str:
    """JSON text with one spelling for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def expected_table(ruleset: Ruleset) -> ObservedTable:
    """What a listing shows when exactly this ruleset is in force."""
    chains = {
        chain.name: ObservedChain(
            hook=chain.hook.value if chain.hook else None,
            priority=chain.priority if chain.hook else None,
            policy="drop" if chain.hook else None,
            rules=tuple(rule_json(rule, ruleset.queue_number) for rule in chain.rules),
        )
        for chain in ruleset.chains
    }
    return ObservedTable(chains=chains, sets={spec.name: _set_shape(spec) for spec in ruleset.sets})


def _set_shape(spec: AddressSet) -> str:
    parts: Any = spec.kind.value.split(" . ")
    if spec.kind.value.startswith("typeof"):
        parts = "integer"
    elif len(parts) == 1:
        parts = parts[0]
    flags = [flag for flag, wanted in (("interval", spec.interval), ("timeout", spec.timed)) if wanted]
    return canonical([parts, flags])


def parse_listing(listing: Mapping[str, Any]) -> ObservedTable | None:
    """Values of `nft -j list table inet isolator`; None when the table is not in it."""
    items = [item for item in listing.get("nftables", ()) if isinstance(item, dict)]
    ours = [
        (kind, body)
        for item in items
        for kind, body in item.items()
        if isinstance(body, dict) and TABLE in (body.get("table"), body.get("name"))
    ]
    if not any(kind == "table" for kind, _ in ours):
        return None
    rules: dict[str, list[str]] = {}
    for kind, body in ours:
        if kind == "rule":
            rules.setdefault(body["chain"], []).append(canonical(_listed_rule(body["expr"])))
    chains = {
        body["name"]: ObservedChain(
            hook=body.get("hook"),
            priority=body.get("prio"),
            policy=body.get("policy"),
            rules=tuple(rules.get(body["name"], ())),
        )
        for kind, body in ours
        if kind == "chain"
    }
    sets = {
        # Which flags nft lists for a set that packets write to depends on its version.
        body["name"]: canonical([body["type"], sorted(set(body.get("flags", ())) - {"dynamic"})])
        for kind, body in ours
        if kind in ("set", "map")
    }
    counters = {body["name"]: int(body["packets"]) for kind, body in ours if kind == "counter"}
    return ObservedTable(chains=chains, sets=sets, counters=counters)


def _listed_rule(expressions: Sequence[Any]) -> list[Any]:
    """Listing details that say nothing: numbers of anonymous counters, `flags: null`."""
    kept: list[Any] = []
    for expression in expressions:
        if isinstance(expression, dict) and isinstance(expression.get("queue"), dict):
            queue = {key: value for key, value in expression["queue"].items() if value not in (None, [])}
            kept.append({"queue": queue})
        else:
            kept.append(expression)
    return kept
