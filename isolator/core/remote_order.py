"""May this be obeyed? Orders, answers, keys and releases of a controller, judged without a doubt left.

Nothing here trusts the device's wall clock: a controller's answer is bound to the nonce of our question
and carries the time under its signature, and by that time its order is judged. A device whose clock is
years off stays reachable. Pure: keys and time are arguments; whatever is wrong is `Refused`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from datetime import datetime, timedelta
from typing import Any

from allowlists.model import ParseError, Profile
from isolator.core.signed import decode_envelope, key_id_of, machine_id_of, open_envelope
from isolator.core.signed_fields import (
    instant,
    malformed,
    matching,
    objects,
    optional_text,
    public_key,
    seconds,
    text,
    whole,
)
from isolator.model import config as rules
from isolator.model.exclusion import Direction, Exclusion
from isolator.model.flow import Transport
from isolator.model.order import HostState, IsolationScope, OnSilence
from isolator.model.remote_order import (
    Answer,
    Enrolment,
    ForcedRelease,
    KeySet,
    RemoteOrder,
)
from isolator.model.signed import Envelope, Keys, Kind, Refusal, Refused

EARLY = timedelta(minutes=10)
"""How far in the future a document may be issued: clocks of several controllers differ."""

MAX_EXCLUSIONS = 500
MAX_KEYS = 16
MAX_COMMENT = 4000
_LONGEST_S = 365 * 86_400.0
_LONGEST_POLL_S = 3600.0

_LIST = re.compile(r"[a-z][a-z0-9-]{0,31}(@[0-9]{4}-[0-9]{2}(-[0-9]{2})?)?")
"""A shipped list by name: an order from afar never names a file of this host."""
_GEO = re.compile(r"[A-Z]{2}")


def read_order(
    envelope: Envelope,
    keys: Keys,
    machine_id: str,
    generation: int,
    now: datetime,
    *,
    held: bytes | None = None,
) -> RemoteOrder:
    """The order, when it is good for this machine, newer than `generation`, and good at `now`.

    `held` is the payload of the order of that generation: the very same one may come twice, another one
    of the same generation is refused like an older one.
    """
    document = open_envelope(envelope, Kind.ORDER, keys)
    _for_machine(document, machine_id)
    number = whole(document, "generation", least=1)
    if number < generation or (number == generation and envelope.payload != held):
        raise Refused(
            Refusal.OLD_GENERATION, f"order {number} is not newer than {generation}, which was obeyed"
        )
    issued_at, not_after = _times(document, "the order", now)
    return RemoteOrder(
        generation=number,
        desired=_desired(document),
        issued_at=issued_at,
        not_after=not_after,
        scope=_scope(document),
        lists=_lists(document),
        geo=None if document.get("geo") is None else matching(document, "geo", _GEO, 50),
        profile=_profile(document),
        exclusions=_exclusions(document),
        duration_s=_duration(document),
        on_silence=_on_silence(document),
        comment=optional_text(document, "comment", MAX_COMMENT) or "",
        requestor=optional_text(document, "requestor") or "",
        action_id=optional_text(document, "action_id"),
    )


def read_answer(
    envelope: Envelope, key_set: KeySet, root_public: bytes, machine_id: str, nonce: str
) -> Answer:
    """The answer to the check-in that carried `nonce`.

    Newer keys in it are believed by the root's signature alone, before the answer's own is tried: a
    device that slept through a change of keys knows none of the new ones. Keys that are not good are left
    aside and named; the answer then has to stand on the keys that are known.
    """
    offered, refused, new_keys = _offered_keys(envelope, key_set, root_public)
    document = open_envelope(envelope, Kind.ANSWER, offered.keys)
    _for_machine(document, machine_id)
    if text(document, "nonce") != nonce:
        raise Refused(Refusal.WRONG_NONCE, "the answer is to another question: an old one was played back")
    at = instant(document, "at")
    if at > offered.expires_at:
        raise Refused(Refusal.EXPIRED, f"the order keys were good until {offered.expires_at.isoformat()}")
    order = document.get("order")
    return Answer(
        generation=whole(document, "generation"),
        at=at,
        poll_after_s=seconds(document, "poll_after_s", _LONGEST_POLL_S),
        key_set=offered,
        order=None if order is None else decode_envelope(order),
        new_keys=new_keys,
        keys_refused=refused,
    )


def read_keys(envelope: Envelope, root_public: bytes, known_version: int, now: datetime | None) -> KeySet:
    """The order keys that the root signed; never a lower version than is known.

    `now` is None while no signed time is known: then the first answer judges the end date.
    """
    roots = {key_id_of(root_public): root_public} if root_public else {}
    document = open_envelope(envelope, Kind.KEYS, roots)
    version = whole(document, "version", least=1)
    if version < known_version:
        raise Refused(Refusal.OLD_KEYS, f"version {version} of the keys is older than {known_version}")
    expires_at = instant(document, "expires_at")
    if now is not None and now > expires_at:
        raise Refused(Refusal.EXPIRED, f"these keys were good until {expires_at.isoformat()}")
    publics = [public_key(each, "public") for each in objects(document, "keys", MAX_KEYS)]
    if not publics:
        raise malformed("the set of keys is empty")
    return KeySet(version, {key_id_of(each): each for each in publics}, expires_at)


def read_forced_release(
    envelope: Envelope,
    keys: Keys,
    machine_id: str,
    generation: int,
    used_ids: Container[str],
    now: datetime,
) -> ForcedRelease:
    """The release by file: for this machine, once, within its dates, and not for an earlier isolation."""
    document = open_envelope(envelope, Kind.FORCED_RELEASE, keys)
    _for_machine(document, machine_id)
    release_id = text(document, "release_id")
    if not release_id:
        raise malformed("release_id is empty")
    if release_id in used_ids:
        raise Refused(Refusal.USED, "this release was used before, and it is good for one time")
    number = whole(document, "generation", least=1)
    if number <= generation:
        raise Refused(
            Refusal.OLD_GENERATION,
            f"this release was made before order {generation}, which is in force here; ask for a new one "
            f"(`isolator-api forced-release --above {generation}`, when the controller knows no such order)",
        )
    issued_at, not_after = _times(document, "the release", now)
    return ForcedRelease(release_id, number, issued_at, not_after)


def read_enrolment(body: object, own_public: bytes, pinned_root: bytes | None) -> Enrolment:
    """What the controller answers to an enrolment; a root other than the pinned one is refused."""
    if not isinstance(body, Mapping):
        raise malformed("the answer to an enrolment is an object")
    _for_machine(body, machine_id_of(own_public))
    root = public_key(body, "root")
    if pinned_root is not None and root != pinned_root:
        raise Refused(Refusal.UNKNOWN_KEY, "the controller shows another root key than the pinned one")
    envelope = decode_envelope(body.get("keys"))
    return Enrolment(machine_id_of(own_public), root, envelope, read_keys(envelope, root, 0, None))


def _offered_keys(
    envelope: Envelope, key_set: KeySet, root_public: bytes
) -> tuple[KeySet, Refusal | None, Envelope | None]:
    """The keys to try the answer with. Its bytes are not verified yet: only the root's signature counts."""
    try:
        document = json.loads(envelope.payload)
    except (ValueError, RecursionError):
        raise malformed("the answer is no JSON") from None
    if not isinstance(document, dict) or document.get("keys") is None:
        return key_set, None, None
    try:
        offered = decode_envelope(document["keys"])
        found = read_keys(offered, root_public, key_set.version, instant(document, "at"))
    except Refused as refused:
        return key_set, refused.refusal, None
    if found.version == key_set.version:
        return key_set, None, None
    return found, None, offered


def _for_machine(document: Mapping[str, Any], machine_id: str) -> None:
    if text(document, "machine_id") != machine_id:
        raise Refused(Refusal.WRONG_MACHINE, "this is for another machine")


def _times(document: Mapping[str, Any], what: str, now: datetime) -> tuple[datetime, datetime]:
    issued_at, not_after = instant(document, "issued_at"), instant(document, "not_after")
    if now > not_after:
        raise Refused(
            Refusal.EXPIRED, f"{what} was good until {not_after.isoformat()}, now {now.isoformat()}"
        )
    if issued_at > now + EARLY:
        raise Refused(
            Refusal.NOT_YET, f"{what} is from the future: {issued_at.isoformat()}, now {now.isoformat()}"
        )
    return issued_at, not_after


def _desired(document: Mapping[str, Any]) -> HostState:
    states = {each.value: each for each in (HostState.CONNECTED, HostState.ISOLATED)}
    desired = states.get(text(document, "desired"))
    if desired is None:
        raise malformed("desired is neither connected nor isolated")
    return desired


def _scope(document: Mapping[str, Any]) -> IsolationScope:
    scope = optional_text(document, "scope")
    if scope is None:
        return IsolationScope.FULL
    try:
        return IsolationScope(scope)
    except ValueError:
        raise malformed("scope is neither full nor selective") from None


def _on_silence(document: Mapping[str, Any]) -> OnSilence:
    wish = optional_text(document, "on_silence")
    if wish is None:
        return OnSilence.ROLL_BACK
    try:
        return OnSilence(wish)
    except ValueError:
        raise malformed("on_silence is neither roll_back nor stay") from None


def _lists(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    if document.get("lists") is None:
        return None
    lists = matching(document, "lists", _LIST, 20)
    if not lists:
        raise malformed("lists is empty: nothing would stay open; null means the device's own")
    return lists


def _profile(document: Mapping[str, Any]) -> str | None:
    profile = optional_text(document, "profile")
    if profile is not None and profile not in tuple(Profile):
        raise malformed("profile is neither isolation nor all")
    return profile


def _duration(document: Mapping[str, Any]) -> float | None:
    if document.get("duration_s") is None:
        return None
    duration = seconds(document, "duration_s", _LONGEST_S)
    if duration == 0:
        raise malformed("duration_s is zero")
    return duration


def _exclusions(document: Mapping[str, Any]) -> tuple[Exclusion, ...] | None:
    if document.get("exclusions") is None:
        return None
    return tuple(_exclusion(each) for each in objects(document, "exclusions", MAX_EXCLUSIONS))


def _exclusion(document: Mapping[str, Any]) -> Exclusion:
    """One opening, under the rules that agent.yaml's exclusions have."""
    try:
        remote, pattern = rules.parse_remote(text(document, "remote", 300))
        return rules.check_exclusion(
            Exclusion(
                name=rules.parse_name(text(document, "name")),
                direction=Direction(text(document, "direction")),
                transport=Transport(optional_text(document, "protocol") or "tcp"),
                port=None if document.get("port") is None else whole(document, "port", 1, 65_535),
                remote=remote,
                pattern=pattern,
                uid=_uid(document.get("process")),
            )
        )
    except (ParseError, ValueError) as error:
        raise malformed(f"an exclusion cannot be used: {error}") from None


def _uid(process: object) -> int | None:
    if process is None:
        return None
    if not isinstance(process, Mapping) or set(process) != {"uid"}:
        raise malformed("an exclusion's process is limited by uid and nothing else")
    return whole(process, "uid", 0, rules.MAX_UID)
