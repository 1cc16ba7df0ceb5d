"""The rule that feeds the gate's queue, for kernels without nft's own `queue` statement.

nft_compat lets a rule of our own table carry the xtables target NFQUEUE, so that nobody else's
tables are touched (linux/netfilter/nf_tables_compat.h, linux/netfilter/xt_NFQUEUE.h).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from isolator.adapters.nftables.batch import (
    GETRULE,
    NEWCHAIN,
    NEWRULE,
    NEWTABLE,
    NFTABLES,
    NLM_F_APPEND,
    NLM_F_CREATE,
    attribute,
    attributes,
    batch,
    message,
    nested,
    text,
)
from isolator.model.ruleset import TABLE

_PROBE = "isolator_probe"
"""Never committed: a batch without an end mark is aborted after the kernel has judged it."""


def probe_text(rule: str) -> str:
    """Text for a dry run that tells whether nft and the kernel take a rule in a chain of family inet."""
    return f"add table inet {_PROBE}\nadd chain inet {_PROBE} probe\nadd rule inet {_PROBE} probe {rule}\n"


NATIVE_PROBE = probe_text("queue num 0")
"""Whether the kernel has the `queue` statement."""


def queue_rule(table: str, chain: str, number: int) -> tuple[int, int, bytes]:
    """Message that appends `NFQUEUE --queue-num number` to a chain; no bypass, one queue."""
    # struct xt_NFQ_info_v3: queuenum, queues_total, flags, padded to eight bytes; host order.
    info = struct.pack("=HHHH", number, 1, 0, 0)
    target = nested(2, text(1, "NFQUEUE"), attribute(2, struct.pack(">I", 3)), attribute(3, info))
    expression = nested(1, text(1, "target"), target)
    body = text(1, table) + text(2, chain) + nested(4, expression)
    return message(NEWRULE, body, NLM_F_CREATE | NLM_F_APPEND)


def add_queue_rules(rules: tuple[tuple[str, int], ...]) -> bytes:
    """One batch that appends all of them to chains of our table."""
    return batch([queue_rule(TABLE, chain, number) for chain, number in rules])


def probe_target() -> bytes:
    """A batch that is judged, never committed: succeeds where the target can be used."""
    return batch(
        [
            message(NEWTABLE, text(1, _PROBE), NLM_F_CREATE),
            message(NEWCHAIN, text(1, _PROBE) + text(3, "probe"), NLM_F_CREATE),
            queue_rule(_PROBE, "probe", 0),
        ],
        commit=False,
    )


def probe_table(flags: int = 0) -> bytes:
    """Judged, never committed: can a table of family inet with these flags be made here?"""
    body = text(1, _PROBE) + attribute(2, struct.pack(">I", flags))
    return batch([message(NEWTABLE, body, NLM_F_CREATE)], commit=False)


def list_rules(chain: str) -> tuple[int, bytes]:
    """Request that lists the rules of one chain of our table."""
    return NFTABLES << 8 | GETRULE, text(1, TABLE) + text(2, chain)


def listed_targets(rules: Iterable[bytes]) -> dict[int, dict[str, Any]]:
    """By rule handle, what each NFQUEUE target in the listed rules does, as nft's JSON puts `queue`."""
    found: dict[int, dict[str, Any]] = {}
    for rule in rules:
        fields = dict(attributes(rule))
        handle = int.from_bytes(fields[3], "big")
        for _, expression in attributes(fields.get(4, b"")):
            parts = dict(attributes(expression))
            if parts.get(1) == b"target\0":
                found[handle] = _target_json(dict(attributes(parts[2])))
    return found


def _target_json(target: Mapping[int, bytes]) -> dict[str, Any]:
    name = target[1].rstrip(b"\0").decode()
    info = target[3]
    if name != "NFQUEUE" or len(info) < 6 or target.get(2) != struct.pack(">I", 3):
        return {"xt": {"type": "target", "name": name}}
    number, total, flags = struct.unpack_from("=HHH", info)
    value: dict[str, Any] = {"num": number if total == 1 else {"range": [number, number + total - 1]}}
    words = [word for bit, word in ((1, "bypass"), (2, "fanout")) if flags & bit]
    return {"queue": {**value, "flags": words} if words else value}


def with_queue_numbers(
    listing: Mapping[str, Any], targets: Callable[[str], Mapping[int, Mapping[str, Any]]]
) -> dict[str, Any]:
    """The listing with each xtables target written out, so that a changed queue number or a bypass shows.

    `targets` gives them for a chain. nft's own JSON has only a target's name, or nothing at all,
    depending on its version.
    """
    known: dict[str, Mapping[int, Mapping[str, Any]]] = {}
    items: list[Any] = []
    for item in listing.get("nftables", ()):
        rule = item.get("rule")
        if rule is not None and any("xt" in expression for expression in rule["expr"]):
            chain = rule["chain"]
            if chain not in known:
                known[chain] = targets(chain)
            shown = known[chain].get(rule["handle"])
            expr = [shown if shown and "xt" in each else each for each in rule["expr"]]
            item = {"rule": {**rule, "expr": expr}}
        items.append(item)
    return {**listing, "nftables": items}
