"""The memory of the controller survives crashes, disks that are full and files that are damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from isolator.core.remote_order import read_answer, read_enrolment, read_forced_release, read_keys
from isolator.core.signed import encode_envelope, key_id_of, machine_id_of, open_envelope
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.remote_order import Answer
from isolator.model.signed import Kind
from isolator.service.link_record import Fault, decode, encode
from isolator.service.link_state import KEPT_RELEASES, LONGEST_JUMP, SEQUENCE_BLOCK, LinkState
from tests.fakes.controller_keys import NOW, ControllerKeys, base64url
from tests.fakes.state_store import FakeStateStore

US = ControllerKeys()


@pytest.fixture
def store() -> FakeStateStore:
    return FakeStateStore()


def enrolled(store: FakeStateStore) -> LinkState:
    state = LinkState(store)
    state.make_key()
    body = {
        "machine_id": state.machine_id,
        "root": base64url(US.root_public),
        "keys": encode_envelope(US.signed_keys()),
    }
    state.enrol(read_enrolment(body, state.public_key, None))
    return state


def answer(state: LinkState, keys: ControllerKeys, version: int) -> Answer:
    machine_id = state.machine_id or ""
    signed = keys.signed_answer("n" * 16, None, keys.signed_keys(version), machine_id)
    return read_answer(signed, state.trusted_keys(), US.root_public, machine_id, "n" * 16)


def refusal(action: Callable[[], object]) -> IsolatorError:
    with pytest.raises(IsolatorError) as caught:
        action()
    return caught.value


def test_a_device_that_knows_nobody_believes_nobody(store: FakeStateStore) -> None:
    state = LinkState(store)
    assert (state.known, state.enrolled, state.holds, state.generation, state.machine_id) == (
        False, False, False, 0, None,
    )  # fmt: skip
    for action in (lambda: state.record, state.trusted_keys, lambda: state.public_key, state.next_sequence):
        assert refusal(action).code is FailureCode.NOT_BELIEVED  # type: ignore[arg-type]
    assert store.text is None


def test_the_key_is_on_the_disk_before_it_is_used_and_stays_the_same(store: FakeStateStore) -> None:
    state = LinkState(store)
    state.make_key()
    again = LinkState(store)
    again.make_key()
    assert again.machine_id == state.machine_id == machine_id_of(state.public_key)
    envelope = again.sign(Kind.CHECK_IN, {"a": 1})
    assert open_envelope(envelope, Kind.CHECK_IN, {key_id_of(state.public_key): state.public_key})["a"] == 1


def test_the_private_key_shows_in_no_repr(store: FakeStateStore) -> None:
    state = LinkState(store)
    state.make_key()
    assert repr(state.record.private_key) not in repr(state.record)


def test_a_full_disk_makes_no_key(store: FakeStateStore) -> None:
    state = LinkState(store)
    store.disk_full = True
    assert refusal(state.make_key).code is FailureCode.STATE_UNWRITABLE
    assert (state.machine_id, state.known) == (None, False)


def test_everything_survives_the_disk(store: FakeStateStore) -> None:
    state = enrolled(store)
    order = US.signed_order(state.machine_id)
    state.begin(5, order, NOW, isolate=True)
    state.finish(holds=True, fault=Fault("bad_list", "there is no such list"))
    state.use(
        read_forced_release(US.signed_release(state.machine_id), US.known, state.machine_id or "", 5, (), NOW)
    )
    state.begin(7, order, NOW, isolate=True)
    again = LinkState(store)
    assert again.record == replace(state.record)
    assert (again.generation, again.holds, again.record.pending) == (7, True, True)
    assert again.record.used_releases == ("7c9e6679",)
    assert again.record.controller_at == NOW
    assert again.trusted_keys() == state.trusted_keys()
    assert decode(json.loads(json.dumps(encode(state.record)))) == state.record


def test_numbers_never_come_twice_whatever_was_not_written(store: FakeStateStore) -> None:
    state = enrolled(store)
    used = [state.next_sequence() for _ in range(SEQUENCE_BLOCK + 5)]
    after_a_crash = LinkState(store)
    used += [after_a_crash.next_sequence() for _ in range(3)]
    assert used == sorted(set(used))
    writes = len(store.saved)
    for _ in range(SEQUENCE_BLOCK - 10):
        after_a_crash.next_sequence()
    assert len(store.saved) == writes  # one write per block, not per check-in


def test_a_full_disk_lends_no_numbers_beyond_the_block(store: FakeStateStore) -> None:
    state = enrolled(store)
    first = state.next_sequence()
    store.disk_full = True
    rest = [state.next_sequence() for _ in range(SEQUENCE_BLOCK - 1)]
    assert rest[-1] == first + SEQUENCE_BLOCK - 1
    assert refusal(state.next_sequence).code is FailureCode.STATE_UNWRITABLE


def test_a_jump_is_upwards_and_bounded(store: FakeStateStore) -> None:
    state = enrolled(store)
    state.skip_to(500)
    assert state.next_sequence() == 501
    state.skip_to(3)
    assert state.next_sequence() == 502
    state.skip_to(2**60)
    assert state.next_sequence() == 502 + LONGEST_JUMP + 1
    assert LinkState(store).next_sequence() > 502 + LONGEST_JUMP + 1


def test_newer_keys_are_kept_and_older_ones_never_come_back(store: FakeStateStore) -> None:
    state = enrolled(store)
    newer = answer(state, ControllerKeys(order=3), 2)
    newest = answer(state, ControllerKeys(order=4), 3)
    state.hear(newest)
    state.hear(newer)  # was asked before, by the other thread
    assert state.trusted_keys().version == 3
    assert LinkState(store).trusted_keys().version == 3
    state.enrol(
        read_enrolment(
            {
                "machine_id": state.machine_id,
                "root": base64url(US.root_public),
                "keys": encode_envelope(US.signed_keys()),
            },
            state.public_key,
            US.root_public,
        )
    )
    assert state.trusted_keys().version == 3


def test_how_an_order_ended_is_told_though_the_disk_is_full(
    store: FakeStateStore, caplog: pytest.LogCaptureFixture
) -> None:
    state = enrolled(store)
    store.disk_full = True
    state.refuse(9, Fault("expired", "too late"))
    assert (state.generation, state.record.fault) == (9, Fault("expired", "too late"))
    assert "No space left" in caplog.text
    assert refusal(lambda: state.begin(10, US.signed_order(), NOW, isolate=True))
    assert (state.generation, state.holds) == (9, False)


def test_an_older_refusal_changes_nothing(store: FakeStateStore) -> None:
    state = enrolled(store)
    state.begin(5, US.signed_order(), NOW, isolate=True)
    state.refuse(5, Fault("expired", "too late"))
    assert (state.generation, state.record.fault, state.holds) == (5, None, True)


def test_only_so_many_used_releases_are_kept(store: FakeStateStore) -> None:
    state = enrolled(store)
    for number in range(KEPT_RELEASES + 5):
        signed = US.signed_release(state.machine_id, release_id=str(number), generation=number + 1)
        used = state.record.used_releases
        state.use(read_forced_release(signed, US.known, state.machine_id or "", number, used, NOW))
    assert len(state.record.used_releases) == KEPT_RELEASES
    assert state.record.used_releases[-1] == str(KEPT_RELEASES + 4)


# Damage

ODD: tuple[Any, ...] = (None, True, -1, 1.5, "", "x", "AAAA", [], [1], {}, {"payload": 1})


NAMES = (
    "schema",
    "private_key",
    "root_public",
    "keys",
    "generation",
    "sequence",
    "order",
    "fault",
    "used_releases",
    "controller_at",
)


def optional(name: str) -> bool:
    return name in ("root_public", "keys", "order", "fault", "controller_at")


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_record_is_never_half_believed(store: FakeStateStore, name: str, odd: Any) -> None:
    enrolled(store)
    assert store.text is not None
    store.text = json.dumps({**json.loads(store.text), name: odd})
    state = LinkState(store)
    if state.broken is None:
        assert (odd is None and optional(name)) or (name == "used_releases" and odd == [])
        return
    assert state.broken.code is FailureCode.STATE_UNREADABLE
    assert (state.known, state.enrolled, state.holds) == (False, False, False)
    for action in (state.trusted_keys, state.make_key, lambda: state.record):
        assert refusal(action) is state.broken  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_a_file_that_is_no_record_is_not_overwritten(store: FakeStateStore, text: str) -> None:
    store.text = text
    state = LinkState(store)
    assert state.broken is not None
    assert refusal(state.make_key) is state.broken
    assert store.text == text


def test_keys_that_somebody_put_into_the_file_are_not_believed(store: FakeStateStore) -> None:
    enrolled(store)
    assert store.text is not None
    theirs = encode_envelope(ControllerKeys(root=8, order=9).signed_keys())
    store.text = json.dumps({**json.loads(store.text), "keys": theirs})
    state = LinkState(store)
    assert state.broken is not None
    assert "not the root's" in state.broken.sentence
    assert refusal(state.trusted_keys) is state.broken


def test_keys_are_those_the_root_signed(store: FakeStateStore) -> None:
    assert enrolled(store).trusted_keys() == read_keys(US.signed_keys(), US.root_public, 0, None)
