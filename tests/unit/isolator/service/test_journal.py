"""The journal's document."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from isolator.core.compiler import compile_policy
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.order import HostState, IsolationOrder
from isolator.service.journal import KEY_LENGTH, Expiry, Isolation, Record, decode, encode
from isolator.service.policy_builder import ListInForce
from tests.golden.transactions import BY_ADDRESS, SELECTIVE

ISOLATION = Isolation(
    IsolationOrder(comment="INC-1", duration_s=60.0),
    BY_ADDRESS,
    (ListInForce("own", "undated", 3),),
    "2026-11-24T06:00:00Z",
    Expiry(60.0, 1000.0, "boot-1"),
    bytes(range(KEY_LENGTH)),
)


def _through_json(record: Record) -> Any:
    return json.loads(json.dumps(encode(record)))


@pytest.mark.parametrize(
    "record",
    [
        Record(HostState.CONNECTED, 7),
        Record(HostState.ISOLATED, 8, ISOLATION),
        Record(HostState.ISOLATING, 8, replace(ISOLATION, expiry=None)),
        Record(HostState.RELEASING, 9, ISOLATION),
    ],
)
def test_a_record_survives(record: Record) -> None:
    assert decode(_through_json(record)) == record


def _places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value inside a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in inside:
        yield (*way, key)
        yield from _places(member, (*way, key))


WHOLE = _through_json(Record(HostState.ISOLATED, 8, replace(ISOLATION, policy=SELECTIVE)))
PLACES = list(_places(WHOLE))
JUNK = (None, True, -1, 1e400, float("nan"), 10**400, "", "x", "nan", [], ["x"], {}, {"a": 1})


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk)[:12])
def test_one_wrong_value_anywhere_is_read_or_refused_never_worse(junk: object) -> None:
    """Every place with every wrong value: drawn at random, one that mattered was missed for days."""
    for way in PLACES:
        document = copy.deepcopy(WHOLE)
        holder = document
        for key in way[:-1]:
            holder = holder[key]
        holder[way[-1]] = junk
        with suppress(IsolatorError):
            record = decode(document)
            assert record is not None
            if record.isolation is not None:
                compile_policy(record.isolation.policy, 1)


@pytest.mark.parametrize("key", [None, "", 7, [], "no hex", "ab", "ab" * (KEY_LENGTH - 1)])
def test_a_damaged_key_is_none_and_harms_nothing_else(key: object) -> None:
    document = _through_json(Record(HostState.ISOLATED, 8, ISOLATION))
    document["isolation"]["key"] = key
    assert decode(document) == Record(HostState.ISOLATED, 8, replace(ISOLATION, key=b""))


def test_a_journal_of_an_agent_that_had_no_keys() -> None:
    document = _through_json(Record(HostState.ISOLATED, 8, ISOLATION))
    del document["isolation"]["key"]
    assert decode(document) == Record(HostState.ISOLATED, 8, replace(ISOLATION, key=b""))


def test_a_key_shows_in_no_log() -> None:
    assert "key" not in repr(ISOLATION)


def test_no_document_is_no_record() -> None:
    assert decode(None) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": 2},
        {"state": "half"},
        {"generation": "many"},
        {"generation": float("inf")},
        {"isolation": None},
        {"isolation": {}},
        {"isolation": []},
    ],
)
def test_a_damaged_document_is_refused_and_says_what_stays(damage: dict[str, object]) -> None:
    document = {**_through_json(Record(HostState.ISOLATED, 8, ISOLATION)), **damage}
    with pytest.raises(IsolatorError, match="the kernel's rules stay as they are") as caught:
        decode(document)
    assert caught.value.code is FailureCode.STATE_UNREADABLE


@pytest.mark.parametrize(
    ("boottime", "boot_id", "left"),
    [
        (1000.0, "boot-1", 60.0),
        (1050.0, "boot-1", 10.0),
        (1100.0, "boot-1", -40.0),
        (5.0, "boot-2", 60.0),
        (900.0, "boot-1", 60.0),
    ],
    ids=["at once", "later", "over", "another boot", "clock went back"],
)
def test_what_is_left(boottime: float, boot_id: str, left: float) -> None:
    assert Expiry(60.0, 1000.0, "boot-1").left(boottime, boot_id) == left
