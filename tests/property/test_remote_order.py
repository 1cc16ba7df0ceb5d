"""Whatever arrives: only what the controller signed for us is obeyed, and only `Refused` is ever raised."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from isolator.core.remote_order import (
    read_answer,
    read_enrolment,
    read_forced_release,
    read_keys,
    read_order,
)
from isolator.core.signed import decode_envelope, encode_envelope, seal
from isolator.model.signed import Envelope, Kind, Refused
from tests.fakes.controller_keys import MACHINE, NOW, ControllerKeys

US = ControllerKeys()
SET = read_keys(US.signed_keys(), US.root_public, 0, None)
NONCE = "nonce-of-this-check-in"

READERS: dict[Kind, Callable[[Envelope], object]] = {
    Kind.ORDER: lambda it: read_order(it, US.known, MACHINE, 4, NOW),
    Kind.ANSWER: lambda it: read_answer(it, SET, US.root_public, MACHINE, NONCE),
    Kind.KEYS: lambda it: read_keys(it, US.root_public, 1, NOW),
    Kind.FORCED_RELEASE: lambda it: read_forced_release(it, US.known, MACHINE, 5, frozenset(), NOW),
}
GOOD: dict[Kind, Envelope] = {
    Kind.ORDER: US.signed_order(),
    Kind.ANSWER: US.signed_answer(NONCE, US.signed_order(), US.signed_keys()),
    Kind.KEYS: US.signed_keys(),
    Kind.FORCED_RELEASE: US.signed_release(),
}
SIGNERS = {Kind.ORDER: US.order, Kind.ANSWER: US.order, Kind.KEYS: US.root, Kind.FORCED_RELEASE: US.order}

kinds = st.sampled_from(list(READERS))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def is_refused(kind: Kind, envelope: Envelope) -> bool:
    try:
        READERS[kind](envelope)
    except Refused:
        return True
    return False


@given(kinds, st.binary(max_size=300), st.text(max_size=20), st.binary(max_size=80))
def test_random_bytes_are_refused(kind: Kind, payload: bytes, key_id: str, signature: bytes) -> None:
    assert is_refused(kind, Envelope(payload, key_id, signature))


@given(kinds, st.binary(max_size=300), st.binary(min_size=64, max_size=64))
def test_random_bytes_under_a_known_key_id_are_refused(kind: Kind, payload: bytes, signature: bytes) -> None:
    assert is_refused(kind, Envelope(payload, GOOD[kind].key_id, signature))


@given(kinds, st.data())
def test_any_change_of_a_good_envelope_is_refused(kind: Kind, data: st.DataObject) -> None:
    good = GOOD[kind]
    part = data.draw(st.sampled_from(["payload", "signature"]))
    octets = bytearray(getattr(good, part))
    at = data.draw(st.integers(0, len(octets) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "insert", "end"]))
    if how == "flip":
        octets[at] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del octets[at : at + data.draw(st.integers(1, len(octets)))]
    elif how == "insert":
        octets[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    else:
        octets += data.draw(st.binary(min_size=1, max_size=8))
    if bytes(octets) == getattr(good, part):
        return  # the inserted bytes were those that stood there
    changed = {"payload": good.payload, "signature": good.signature, part: bytes(octets)}
    assert is_refused(kind, Envelope(changed["payload"], good.key_id, changed["signature"]))


@given(kinds, kinds)
def test_a_document_of_one_kind_is_never_read_as_another(kind: Kind, other: Kind) -> None:
    assert is_refused(kind, GOOD[other]) == (kind is not other)


@given(kinds, st.data())
def test_a_signed_document_with_any_field_of_any_value_raises_nothing_but_refused(
    kind: Kind, data: st.DataObject
) -> None:
    document: dict[str, Any] = json.loads(GOOD[kind].payload)
    names = data.draw(st.lists(st.sampled_from(sorted(document)), min_size=1, max_size=3))
    document |= {name: data.draw(json_values) for name in names}
    is_refused(kind, seal(kind, document, SIGNERS[kind]))


@given(json_values)
def test_any_value_as_envelope_or_enrolment_raises_nothing_but_refused(value: object) -> None:
    for read in (decode_envelope, lambda it: read_enrolment(it, b"x" * 32, None)):
        try:
            read(value)
        except Refused:
            continue
        raise AssertionError("believed")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(encode_envelope(GOOD[Kind.ORDER]), json_values)))
def test_any_value_as_part_of_an_envelope_raises_nothing_but_refused(changes: dict[str, object]) -> None:
    try:
        envelope = decode_envelope({**encode_envelope(GOOD[Kind.ORDER]), **changes})
    except Refused:
        return
    is_refused(Kind.ORDER, envelope)
