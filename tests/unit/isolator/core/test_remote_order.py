"""What a controller says is obeyed only when nothing at all speaks against it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from isolator.core.remote_order import (
    read_answer,
    read_enrolment,
    read_forced_release,
    read_keys,
    read_order,
)
from isolator.core.signed import decode_envelope, encode_envelope, machine_id_of, public_bytes, seal
from isolator.model.flow import Transport
from isolator.model.order import HostState, IsolationScope, OnSilence
from isolator.model.policy import Direction, Exclusion
from isolator.model.remote_order import KeySet, RemoteOrder
from isolator.model.signed import Envelope, Kind, Refusal, Refused
from tests.fakes.controller_keys import MACHINE, NOW, ControllerKeys, base64url, instant, private_key

US = ControllerKeys()
STRANGER = ControllerKeys(root=8, order=9)
SET = read_keys(US.signed_keys(), US.root_public, 0, None)
NONCE = "nonce-of-this-check-in"


def obey(envelope: Envelope, **changes: Any) -> RemoteOrder:
    known: dict[str, Any] = {"keys": US.known, "machine_id": MACHINE, "generation": 4, "now": NOW, **changes}
    return read_order(envelope, **known)


def refusal(action: Any, *arguments: Any, **named: Any) -> Refusal:
    with pytest.raises(Refused) as caught:
        action(*arguments, **named)
    assert caught.value.sentence
    return caught.value.refusal


# Orders


def test_an_order_as_the_controller_writes_it() -> None:
    order = obey(US.signed_order(scope="selective", lists=["standard@2025-04"], geo=["EU"], profile="all"))
    assert order == RemoteOrder(
        generation=5,
        desired=HostState.ISOLATED,
        issued_at=NOW,
        not_after=NOW + timedelta(hours=72),
        scope=IsolationScope.SELECTIVE,
        lists=("standard@2025-04",),
        geo=("EU",),
        profile="all",
        exclusions=(),
        duration_s=604_800.0,
        on_silence=OnSilence.ROLL_BACK,
        comment="INC-1",
        requestor="soc@example.com",
        action_id="2e9da30d-27f6-4208-81f2-9cd3d67893ba",
    )


def test_what_is_null_is_left_to_the_device() -> None:
    nothing = dict.fromkeys(
        ("scope", "lists", "geo", "profile", "exclusions", "duration_s", "comment", "requestor", "action_id",
         "on_silence")
    )  # fmt: skip
    order = obey(US.signed_order(desired="connected", **nothing))
    assert order.desired is HostState.CONNECTED
    assert (order.lists, order.geo, order.profile, order.exclusions, order.duration_s) == (None,) * 5
    assert (order.scope, order.on_silence) == (IsolationScope.FULL, OnSilence.ROLL_BACK)


def test_exclusions_are_read_like_those_of_agent_yaml() -> None:
    given = [
        {"name": "NTP", "direction": "out", "remote": "192.0.2.1", "port": 123, "protocol": "udp", "process": None},
        {"name": "Site", "direction": "out", "remote": "*.site.example", "port": 443, "process": {"uid": 1000}},
        {"name": "Jump", "direction": "in", "remote": "192.0.2.0/24", "port": None},
    ]  # fmt: skip
    assert obey(US.signed_order(exclusions=given)).exclusions == (
        Exclusion("NTP", Direction.OUT, Transport.UDP, 123, remote=ip_network("192.0.2.1/32")),
        Exclusion("Site", Direction.OUT, Transport.TCP, 443, pattern="*.site.example", uid=1000),
        Exclusion("Jump", Direction.IN, Transport.TCP, None, remote=ip_network("192.0.2.0/24")),
    )


def test_an_altered_order_is_refused() -> None:
    good = US.signed_order()
    altered = replace(good, payload=good.payload.replace(b'"isolated"', b'"connected"'))
    assert altered.payload != good.payload
    assert refusal(obey, altered) is Refusal.BAD_SIGNATURE


def test_an_unsigned_order_is_refused() -> None:
    assert refusal(obey, replace(US.signed_order(), signature=b"")) is Refusal.BAD_SIGNATURE


def test_an_order_of_a_stranger_is_refused() -> None:
    assert refusal(obey, STRANGER.signed_order()) is Refusal.UNKNOWN_KEY


def test_a_stranger_who_takes_our_key_id_is_refused() -> None:
    forged = replace(STRANGER.signed_order(), key_id=US.signed_order().key_id)
    assert refusal(obey, forged) is Refusal.BAD_SIGNATURE


def test_without_keys_everything_is_refused() -> None:
    assert refusal(obey, US.signed_order(), keys={}) is Refusal.NO_KEYS


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.ORDER])
def test_a_document_of_another_kind_is_no_order(kind: Kind) -> None:
    """A machine's own check-in signed by an order key, or an answer, must not be read as an order."""
    document = json.loads(US.signed_order().payload)
    assert refusal(obey, seal(kind, document, US.order)) is Refusal.WRONG_KIND


def test_an_order_for_another_machine_is_refused() -> None:
    assert refusal(obey, US.signed_order(), machine_id="cd" * 20) is Refusal.WRONG_MACHINE


@pytest.mark.parametrize(("obeyed", "fine"), [(3, True), (4, True), (5, False), (6, False)])
def test_an_older_or_equal_generation_is_refused(obeyed: int, fine: bool) -> None:
    if fine:
        assert obey(US.signed_order(), generation=obeyed).generation == 5
    else:
        assert refusal(obey, US.signed_order(), generation=obeyed) is Refusal.OLD_GENERATION


def test_the_very_same_order_may_come_again() -> None:
    good = US.signed_order()
    assert obey(good, generation=5, held=good.payload).generation == 5
    other = US.signed_order(desired="connected")
    assert refusal(obey, other, generation=5, held=good.payload) is Refusal.OLD_GENERATION
    assert refusal(obey, good, generation=6, held=good.payload) is Refusal.OLD_GENERATION


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        (timedelta(minutes=-10), None),
        (timedelta(minutes=-10, seconds=-1), Refusal.NOT_YET),
        (timedelta(hours=72), None),
        (timedelta(hours=72, seconds=1), Refusal.EXPIRED),
    ],
)
def test_an_order_is_good_within_its_dates(passed: timedelta, expected: Refusal | None) -> None:
    if expected is None:
        assert obey(US.signed_order(), now=NOW + passed)
    else:
        assert refusal(obey, US.signed_order(), now=NOW + passed) is expected


ODD: tuple[object, ...] = (None, True, 0, -1, 1.5, 10**30, "", "x", "\ud800", [], [1], [None], {}, {"a": 1})
OPTIONAL = {"scope", "lists", "geo", "profile", "exclusions", "duration_s", "on_silence", "comment", "requestor", "action_id"}  # fmt: skip
FINE: dict[str, tuple[object, ...]] = {
    "comment": ("", "x"),
    "requestor": ("", "x"),
    "action_id": ("", "x"),
    "duration_s": (1.5,),
    "geo": ([],),
    "exclusions": ([],),
}
"""Which of the odd values make sense after all."""


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize(
    "name", ["machine_id", "generation", "desired", "issued_at", "not_after", *sorted(OPTIONAL)]
)
def test_a_field_of_another_type_is_refused(name: str, odd: object) -> None:
    envelope = US.signed_order(**{name: odd})
    if any(type(odd) is type(each) and odd == each for each in FINE.get(name, ())) or (
        odd is None and name in OPTIONAL
    ):
        assert obey(envelope)
    else:
        expected = {Refusal.MALFORMED, Refusal.WRONG_MACHINE}
        assert refusal(obey, envelope) in expected


@pytest.mark.parametrize(
    "changes",
    [
        {"lists": ["/etc/shadow"]},
        {"lists": ["../streamlined"]},
        {"lists": ["own.yaml"]},
        {"lists": ["streamlined"] * 21},
        {"geo": ["eu"]},
        {"geo": ["EUR"]},
        {"profile": "everything"},
        {"scope": "Full"},
        {"desired": "isolating"},
        {"duration_s": 0},
        {"duration_s": 366 * 86_400},
        {"comment": "x" * 4001},
        {"issued_at": "2024-05-01T12:00:00"},
        {"issued_at": "2024-05-01"},
        {"issued_at": "2024-13-01T12:00:00Z"},
        {"issued_at": "\u0662024-05-01T12:00:00Z"},
        {"not_after": "9999-12-31T23:59:59-23:59"},
        {"not_after": "0001-01-01T00:00:00+23:59"},
        {"generation": 2**31},
        {"exclusions": [{"name": "a"}] * 501},
    ],
    ids=repr,
)
def test_values_out_of_bounds_are_refused(changes: dict[str, Any]) -> None:
    assert refusal(obey, US.signed_order(**changes)) is Refusal.MALFORMED


GOOD_EXCLUSION = {"name": "a", "direction": "out", "remote": "192.0.2.1", "port": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"remote": "*.com"},
        {"remote": "https://site.example"},
        {"remote": 7},
        {"direction": "both"},
        {"direction": None},
        {"protocol": "icmp"},
        {"port": 0},
        {"port": "443"},
        {"name": "a\nb"},
        {"name": None},
        {"direction": "in", "remote": "site.example"},
        {"direction": "in", "process": {"uid": 0}},
        {"process": {"user": "root"}},
        {"process": {"uid": True}},
        {"process": {"uid": 2**32 - 1}},
        {"process": [0]},
    ],
    ids=repr,
)
def test_an_exclusion_that_agent_yaml_could_not_hold_is_refused(changes: dict[str, Any]) -> None:
    assert obey(US.signed_order(exclusions=[GOOD_EXCLUSION]))
    envelope = US.signed_order(exclusions=[{**GOOD_EXCLUSION, **changes}])
    assert refusal(obey, envelope) is Refusal.MALFORMED


# Answers


def hear(envelope: Envelope, key_set: KeySet = SET, **changes: Any) -> Any:
    known: dict[str, Any] = {"root_public": US.root_public, "machine_id": MACHINE, "nonce": NONCE, **changes}
    return read_answer(envelope, key_set, **known)


def test_an_answer_with_an_order() -> None:
    order = US.signed_order()
    answer = hear(US.signed_answer(NONCE, order))
    assert (answer.generation, answer.at, answer.order, answer.key_set) == (5, NOW, order, SET)
    assert (answer.new_keys, answer.keys_refused, answer.poll_after_s) == (None, None, 0.0)


def test_an_old_answer_is_refused_whatever_it_says() -> None:
    """Freeze and replay: an answer is good for the one question that carried its nonce."""
    assert refusal(hear, US.signed_answer("nonce-of-an-older-one")) is Refusal.WRONG_NONCE


def test_the_answer_to_another_machine_is_refused() -> None:
    assert refusal(hear, US.signed_answer(NONCE), machine_id="cd" * 20) is Refusal.WRONG_MACHINE


def test_an_answer_of_a_stranger_is_refused() -> None:
    assert refusal(hear, STRANGER.signed_answer(NONCE)) is Refusal.UNKNOWN_KEY


def test_an_answer_signed_after_the_end_of_the_keys_is_refused() -> None:
    late = instant(NOW + timedelta(days=1001))
    assert refusal(hear, US.signed_answer(NONCE, at=late)) is Refusal.EXPIRED


def test_a_device_that_slept_through_a_change_of_keys_follows_the_root() -> None:
    fresh = ControllerKeys(root=1, order=7)
    answer = hear(fresh.signed_answer(NONCE, keys=fresh.signed_keys(version=2)))
    assert answer.key_set.version == 2
    assert dict(answer.key_set.keys) == fresh.known
    assert answer.new_keys == fresh.signed_keys(version=2)


def test_a_retired_key_signs_no_more_once_the_new_set_is_known() -> None:
    fresh = ControllerKeys(root=1, order=7)
    new_set = read_keys(fresh.signed_keys(version=2), US.root_public, 1, NOW)
    old = US.signed_answer(NONCE, keys=US.signed_keys(version=1))
    assert refusal(hear, old, new_set) is Refusal.UNKNOWN_KEY


def test_keys_of_another_root_change_nothing() -> None:
    answer = hear(US.signed_answer(NONCE, keys=STRANGER.signed_keys(version=9)))
    assert (answer.key_set, answer.keys_refused) == (SET, Refusal.UNKNOWN_KEY)
    forged = STRANGER.signed_answer(NONCE, keys=STRANGER.signed_keys(version=9))
    assert refusal(hear, forged) is Refusal.UNKNOWN_KEY


def test_older_keys_change_nothing_and_do_not_cut_the_device_off() -> None:
    """A controller restored from a backup offers older keys; its answers are good all the same."""
    newer = replace(SET, version=3)
    answer = hear(US.signed_answer(NONCE, keys=US.signed_keys(version=2)), newer)
    assert (answer.key_set, answer.keys_refused) == (newer, Refusal.OLD_KEYS)


def test_the_keys_that_are_known_may_come_along() -> None:
    answer = hear(US.signed_answer(NONCE, keys=US.signed_keys()))
    assert (answer.key_set, answer.new_keys, answer.keys_refused) == (SET, None, None)


def test_expired_keys_are_left_aside() -> None:
    over = US.signed_keys(version=2, expires_at=instant(NOW - timedelta(days=1)))
    assert hear(US.signed_answer(NONCE, keys=over)).keys_refused is Refusal.EXPIRED


@pytest.mark.parametrize("payload", [b"no JSON", b"[]"])
def test_signed_bytes_that_are_no_json_object_are_refused(payload: bytes) -> None:
    signed = Envelope(payload, US.signed_order().key_id, US.order.sign(payload))
    assert refusal(obey, signed) is Refusal.MALFORMED


@pytest.mark.parametrize("payload", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"9" * 5000])
def test_an_answer_that_is_no_json_is_refused(payload: bytes) -> None:
    assert refusal(hear, replace(US.signed_answer(NONCE), payload=payload)) is Refusal.MALFORMED


def test_an_answer_that_is_no_object_is_refused() -> None:
    signed = Envelope(b"[]", US.signed_answer(NONCE).key_id, US.order.sign(b"[]"))
    assert refusal(hear, signed) is Refusal.MALFORMED


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", ["machine_id", "nonce", "generation", "at", "poll_after_s"])
def test_a_field_of_an_answer_of_another_type_is_refused(name: str, odd: object) -> None:
    fine = {"generation": (0,), "poll_after_s": (0, 1.5)}.get(name, ())
    envelope = US.signed_answer(NONCE, **{name: odd})
    if any(type(odd) is type(each) and odd == each for each in fine):
        assert hear(envelope)
    else:
        expected = {Refusal.MALFORMED, Refusal.WRONG_MACHINE, Refusal.WRONG_NONCE}
        assert refusal(hear, envelope) in expected


@pytest.mark.parametrize("odd", [each for each in ODD if each is not None], ids=repr)
def test_a_broken_order_or_key_set_inside_an_answer(odd: object) -> None:
    assert refusal(hear, _answer_with("order", odd)) is Refusal.MALFORMED
    assert hear(_answer_with("keys", odd)).keys_refused is Refusal.MALFORMED


def _answer_with(name: str, value: object) -> Envelope:
    document = json.loads(US.signed_answer(NONCE).payload)
    return seal(Kind.ANSWER, {**document, name: value}, US.order)


# Keys


def test_keys_of_the_root() -> None:
    both = US.signed_keys(version=4, orders=[US.order, private_key(3)])
    found = read_keys(both, US.root_public, 4, NOW)
    assert found.version == 4
    assert len(found.keys) == 2
    assert US.known.items() <= found.keys.items()


@pytest.mark.parametrize(
    ("envelope", "known_version", "root", "expected"),
    [
        (STRANGER.signed_keys(), 0, US.root_public, Refusal.UNKNOWN_KEY),
        (US.signed_keys(), 0, b"", Refusal.NO_KEYS),
        (US.signed_keys(), 2, US.root_public, Refusal.OLD_KEYS),
        (US.signed_keys(orders=[]), 0, US.root_public, Refusal.MALFORMED),
        (US.signed_keys(version=0), 0, US.root_public, Refusal.MALFORMED),
        (US.signed_keys(keys=None), 0, US.root_public, Refusal.MALFORMED),
        (US.signed_keys(keys=[7]), 0, US.root_public, Refusal.MALFORMED),
        (US.signed_keys(keys=[{}]), 0, US.root_public, Refusal.MALFORMED),
        (US.signed_keys(keys=[{"public": "AAAA"}]), 0, US.root_public, Refusal.MALFORMED),
        (US.signed_keys(keys=[{"public": "A"}]), 0, US.root_public, Refusal.MALFORMED),
        (US.signed_keys(keys=[{"public": "ä" * 43}]), 0, US.root_public, Refusal.MALFORMED),
        (US.signed_keys(keys=[{"public": base64url(bytes(32))}] * 17), 0, US.root_public, Refusal.MALFORMED),
        (US.signed_keys(expires_at=None), 0, US.root_public, Refusal.MALFORMED),
        (US.signed_keys(expires_at=instant(NOW - timedelta(seconds=1))), 0, US.root_public, Refusal.EXPIRED),
        (US.signed_order(), 0, public_bytes(US.order), Refusal.WRONG_KIND),
    ],
)
def test_keys_that_are_not_believed(
    envelope: Envelope, known_version: int, root: bytes, expected: Refusal
) -> None:
    assert refusal(read_keys, envelope, root, known_version, NOW) is expected


def test_an_order_key_cannot_vouch_for_order_keys() -> None:
    document = json.loads(US.signed_keys().payload)
    assert (
        refusal(read_keys, seal(Kind.KEYS, document, US.order), US.root_public, 0, NOW) is Refusal.UNKNOWN_KEY
    )


# Forced release


def let_go(envelope: Envelope, **changes: Any) -> Any:
    known: dict[str, Any] = {
        "keys": US.known, "machine_id": MACHINE, "generation": 5, "used_ids": frozenset(), "now": NOW, **changes
    }  # fmt: skip
    return read_forced_release(envelope, **known)


def test_a_forced_release() -> None:
    release = let_go(US.signed_release())
    assert (release.release_id, release.generation) == ("7c9e6679", 6)
    assert release.not_after - release.issued_at == timedelta(hours=72)


@pytest.mark.parametrize(
    ("envelope", "changes", "expected"),
    [
        (US.signed_release(), {"used_ids": {"7c9e6679"}}, Refusal.USED),
        (US.signed_release(), {"generation": 6}, Refusal.OLD_GENERATION),
        (US.signed_release(), {"generation": 7}, Refusal.OLD_GENERATION),
        (US.signed_release(), {"machine_id": "cd" * 20}, Refusal.WRONG_MACHINE),
        (US.signed_release(), {"now": NOW + timedelta(hours=73)}, Refusal.EXPIRED),
        (US.signed_release(), {"now": NOW - timedelta(hours=1)}, Refusal.NOT_YET),
        (US.signed_release(), {"keys": {}}, Refusal.NO_KEYS),
        (US.signed_release(release_id=""), {}, Refusal.MALFORMED),
        (US.signed_release(release_id=7), {}, Refusal.MALFORMED),
        (US.signed_release(generation="6"), {}, Refusal.MALFORMED),
        (STRANGER.signed_release(), {}, Refusal.UNKNOWN_KEY),
        (US.signed_order(desired="connected"), {}, Refusal.WRONG_KIND),
    ],
)
def test_a_forced_release_that_is_not_obeyed(
    envelope: Envelope, changes: dict[str, Any], expected: Refusal
) -> None:
    assert refusal(let_go, envelope, **changes) is expected


# Enrolment

OWN = public_bytes(private_key(5))


def enrolled(**changes: object) -> dict[str, object]:
    return {
        "machine_id": machine_id_of(OWN),
        "tenant_id": "t",
        "root": base64url(US.root_public),
        "keys": encode_envelope(US.signed_keys()),
        **changes,
    }


def test_an_enrolment_pins_the_root() -> None:
    found = read_enrolment(enrolled(), OWN, None)
    assert (found.root_public, found.key_set, found.keys) == (US.root_public, SET, US.signed_keys())
    assert read_enrolment(enrolled(), OWN, US.root_public) == found


@pytest.mark.parametrize(
    ("body", "pinned", "expected"),
    [
        (None, None, Refusal.MALFORMED),
        (enrolled(machine_id=MACHINE), None, Refusal.WRONG_MACHINE),
        (enrolled(root="x"), None, Refusal.MALFORMED),
        (enrolled(keys={}), None, Refusal.MALFORMED),
        (enrolled(keys=encode_envelope(STRANGER.signed_keys())), None, Refusal.UNKNOWN_KEY),
        (enrolled(), STRANGER.root_public, Refusal.UNKNOWN_KEY),
    ],
)
def test_an_enrolment_that_is_not_believed(body: object, pinned: bytes | None, expected: Refusal) -> None:
    assert refusal(read_enrolment, body, OWN, pinned) is expected


@pytest.mark.parametrize("name", ["payload", "signature"])
@pytest.mark.parametrize("text", ["A", "ä", "\ud800", "a b"])
def test_an_envelope_that_is_no_base64url_is_refused(name: str, text: str) -> None:
    assert refusal(decode_envelope, {**encode_envelope(US.signed_order()), name: text}) is Refusal.MALFORMED
