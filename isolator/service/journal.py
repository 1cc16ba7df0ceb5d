"""What the agent writes before and after it touches the kernel, and reads when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isolator.core.policy_document import decode_order, decode_policy, encode_order, encode_policy
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.order import HostState, IsolationOrder
from isolator.model.policy import Policy
from isolator.service.policy_builder import ListInForce

SCHEMA = 1

KEY_LENGTH = 16
"""Bytes of an isolation's key."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """When isolation ends by itself: `remaining_s` as of `boottime` in the boot named `boot_id`.

    After a reboot the time the host was down does not count: nobody can say how long it was.
    """

    remaining_s: float
    boottime: float
    boot_id: str

    def left(self, boottime: float, boot_id: str) -> float:
        """Seconds left now; never more than was left when it was written."""
        if boot_id != self.boot_id:
            return self.remaining_s
        return self.remaining_s - max(0.0, boottime - self.boottime)


@dataclass(frozen=True, slots=True)
class Isolation:
    """An isolation that is ordered or in force: enough to rebuild it without any other file."""

    order: IsolationOrder
    policy: Policy
    lists: tuple[ListInForce, ...]
    since: str
    expiry: Expiry | None = None
    key: bytes = field(default=b"", repr=False)
    """What `core.purpose_seal` takes; empty in journals of agents that had none, and for a damaged one."""


@dataclass(frozen=True, slots=True)
class Record:
    """One state of the journal. `isolation` is None only for `connected`."""

    state: HostState
    generation: int
    isolation: Isolation | None = None


def encode(record: Record) -> dict[str, Any]:
    """The record as JSON values."""
    return {
        "schema": SCHEMA,
        "state": record.state.value,
        "generation": record.generation,
        "isolation": None if record.isolation is None else _encode_isolation(record.isolation),
    }


def _encode_isolation(isolation: Isolation) -> dict[str, Any]:
    expiry = isolation.expiry
    return {
        "order": encode_order(isolation.order),
        "policy": encode_policy(isolation.policy),
        "lists": [[each.id, each.version, each.entries] for each in isolation.lists],
        "since": isolation.since,
        "expiry": None
        if expiry is None
        else {
            "remaining_s": expiry.remaining_s,
            "boottime": expiry.boottime,
            "boot_id": expiry.boot_id,
        },
        "key": isolation.key.hex(),
    }


def decode(document: Mapping[str, Any] | None) -> Record | None:
    """The record of a stored document, None for none. IsolatorError when it is not a journal of ours."""
    if document is None:
        return None
    try:
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']} is not {SCHEMA}")
        state = HostState(document["state"])
        isolation = document["isolation"]
        record = Record(
            state, int(document["generation"]), None if isolation is None else _decode_isolation(isolation)
        )
        if record.isolation is None and state is not HostState.CONNECTED:
            raise ValueError(f"state {state.value} without an isolation")
    except (KeyError, ValueError, TypeError, OverflowError) as error:  # int() of a JSON Infinity overflows
        raise IsolatorError(
            FailureCode.STATE_UNREADABLE,
            "read_journal",
            f"the journal is damaged ({error}); the kernel's rules stay as they are: "
            "order `isolator release` or `isolator isolate` anew",
        ) from error
    return record


def _decode_isolation(document: Mapping[str, Any]) -> Isolation:
    expiry = document["expiry"]
    return Isolation(
        order=decode_order(document["order"]),
        policy=decode_policy(document["policy"]),
        lists=tuple(ListInForce(str(i), str(v), int(n)) for i, v, n in document["lists"]),
        since=str(document["since"]),
        expiry=None
        if expiry is None
        else Expiry(float(expiry["remaining_s"]), float(expiry["boottime"]), str(expiry["boot_id"])),
        key=_decode_key(document.get("key")),
    )


def _decode_key(text: object) -> bytes:
    """A key that is too short to be one is none: what was written with it is not believed then."""
    try:
        key = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
    return key if len(key) >= KEY_LENGTH else b""
