"""The journal's document."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.order import HostState, IsolationOrder
from isolator.service.journal import Expiry, Isolation, Record, decode, encode
from isolator.service.policy_builder import ListInForce
from tests.golden.transactions import BY_ADDRESS

ISOLATION = Isolation(
    IsolationOrder(comment="INC-1", duration_s=60.0),
    BY_ADDRESS,
    (ListInForce("own", "undated", 3),),
    "2026-11-24T06:00:00Z",
    Expiry(60.0, 1000.0, "boot-1"),
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


def test_no_document_is_no_record() -> None:
    assert decode(None) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"schema": 2},
        {"state": "half"},
        {"generation": "many"},
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
