"""Check-ins: believed when signed and new, written when they say something new, answered with a signature.

The sequence rules: it rises strictly per key; a lower or equal one is a replay and gets 409. A new
incarnation is a restart of the agent; one that comes back after another was seen means that two hold the key:
the machine is marked, orders still go out (they are bound to the machine), and no report counts as verified.
The clock of the device is not judged here: the sequence already keeps old messages out, and a device whose
clock is wrong must still be reachable.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from api.core.check_in import CheckIn, Ordered, meaning, parse_check_in, steady
from api.core.instant import render_instant
from api.problems import Problem
from api.services.agent_rows import chunks, for_admission, locked, with_orders
from api.services.context import Services
from api.services.recording import record_one, renew, unfit_for
from api.services.sightings import Sighting, Sightings
from api.store.tables import Machine
from isolator.core.signed import decode_envelope, encode_envelope, key_id_of, open_envelope
from isolator.model.signed import Envelope, Kind, Refused

ATTEMPTS = 3
"""How often one report is tried when PostgreSQL says that others were in the way."""
GIVE_UP_AFTER = 2
"""Reports in a row that could not be kept."""

_IN_THE_WAY = ("40001", "40P01")  # serialization failure and deadlock (PostgreSQL, appendix A)

_log = logging.getLogger(__name__)


class Arrival(NamedTuple):
    """A check-in as it came."""

    body: bytes
    address: str
    own_host: bool = False
    """It comes from the controller's own host."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A check-in that is believed."""

    check: CheckIn
    arrival: Arrival
    generation: int
    """The machine's present generation: higher than the agent's, there is an order to give."""
    news: bool
    """It says something that has to be written before it is answered."""


class Asked(NamedTuple):
    """Whom an answer is for."""

    machine_id: str
    nonce: str
    generation: int
    keys_version: int | None


class CheckIns:
    """Takes check-ins, many at a time. Each method runs in one thread at a time, beside the others."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.sightings = Sightings()
        keyset = services.keys.keyset
        self._keys = encode_envelope(keyset)
        self._keys_version = int(json.loads(keyset.payload)["version"])

    def admit(self, arrivals: Sequence[Arrival]) -> list[Taken | Exception]:
        """Who it is, whether it is signed and new, and whether it says anything new."""
        read = [_read(each) for each in arrivals]
        wanted = {each[0] for each in read if not isinstance(each, Problem)}
        sequences = self.sightings.sequences(wanted)  # before the database: see there
        rows = self._rows(wanted)
        found: list[Taken | Exception] = []
        for each, arrival in zip(read, arrivals, strict=True):
            if isinstance(each, Problem):
                found.append(each)
                continue
            machine_id, envelope = each
            try:
                taken = self._admit(envelope, arrival, rows.get(machine_id), sequences.get(machine_id, 0))
            except Problem as problem:
                found.append(problem)
                continue
            sequences[machine_id] = taken.check.sequence
            found.append(taken)
        return found

    def record(self, news: Sequence[Taken]) -> list[Taken | Exception]:
        """Write what is new in one transaction; each gets the machine's generation as it is then."""
        try:
            found = self._record(news)
        except DBAPIError as error:
            _log.warning("%d reports are tried one by one: %s", len(news), type(error.orig).__name__)
            found = self._record_singly(news)
        finally:
            for each in news:
                self.sightings.writing(each.check.machine_id, -1)
        return found

    def orders(self, asked: Sequence[Asked]) -> list[bytes | Exception]:
        """Signed answers with the order of the machine's generation, where it is higher than the agent's."""
        found = self._orders_of({each.machine_id for each in asked})
        now = self._services.clock.now()
        keys = self._services.keys.order_keys
        unfit = [row.id for row in found.values() if row.payload is not None and unfit_for(row, keys, now)]
        for each_id in unfit:
            renew(self._services, each_id)
        found |= self._orders_of(unfit)
        answers: list[bytes | Exception] = []
        for each in asked:
            row = found.get(each.machine_id)
            if row is None or row.unenrolled_at is not None:
                answers.append(_unenrolled())
            else:
                answers.append(self._with_order(each, row))
        return answers

    def answer(
        self, asked: Asked, generation: int, *, order: Envelope | None = None, poll_after_s: float = 0.0
    ) -> bytes:
        """The signed answer to one check-in, as JSON. The nonce binds it to the question."""
        document = {
            "machine_id": asked.machine_id,
            "nonce": asked.nonce,
            "generation": generation,
            "at": render_instant(self._services.clock.now()),
            "order": None if order is None else encode_envelope(order),
            "keys": None if asked.keys_version == self._keys_version else self._keys,
            "poll_after_s": round(poll_after_s, 3),
        }
        return json.dumps(encode_envelope(self._services.keys.seal(Kind.ANSWER, document))).encode()

    def _orders_of(self, machine_ids: Iterable[str]) -> dict[str, Row[Any]]:
        found: dict[str, Row[Any]] = {}
        with self._services.database.read() as session:
            for chunk in chunks(machine_ids):
                for row in session.execute(with_orders(chunk)):
                    found[row.id] = row
        return found

    def _with_order(self, asked: Asked, row: Row[Any]) -> bytes:
        if row.generation <= asked.generation or row.payload is None:
            return self.answer(asked, row.generation)
        return self.answer(asked, row.generation, order=Envelope(row.payload, row.key_id, row.signature))

    def _rows(self, machine_ids: Iterable[str]) -> dict[str, Row[Any]]:
        found: dict[str, Row[Any]] = {}
        with self._services.database.read() as session:
            for chunk in chunks(machine_ids):
                for row in session.execute(for_admission(chunk)):
                    found[row.id] = row
        return found

    def _admit(self, envelope: Envelope, arrival: Arrival, row: Row[Any] | None, remembered: int) -> Taken:
        if row is None:
            raise Problem("Unauthorized", "this machine is not enrolled here")
        try:
            document = open_envelope(envelope, Kind.CHECK_IN, {key_id_of(row.public_key): row.public_key})
        except Refused as refused:
            raise Problem("Unauthorized", refused.sentence, reason=refused.refusal.value) from None
        if row.unenrolled_at is not None:
            raise _unenrolled()
        try:
            check = parse_check_in(document)
        except ValueError as error:
            raise Problem("InvalidInput", f"the check-in cannot be used: {error}") from None
        latest = max(row.sequence, remembered)
        if check.sequence <= latest:
            raise replayed(latest)
        taken = Taken(check, arrival, row.generation, _is_news(check, row))
        if taken.news:
            self.sightings.writing(check.machine_id, +1)
        self._remember(taken, row)
        return taken

    def _remember(self, taken: Taken, row: Row[Any]) -> None:
        """Also for news: the next one must be higher, even before this one is written."""
        check = taken.check
        ordered = Ordered(
            row.desired, row.desired_scope, row.generation, duplicate=row.duplicate_since is not None
        )
        differs = not taken.news and check.report.document != row.observed
        self.sightings.remember(
            check.machine_id,
            Sighting(
                check.sequence,
                self._services.clock.now(),
                taken.arrival.address[:45] or None,
                check.report.document if differs else None,
                proves=not taken.news and meaning(check, ordered).proves,
            ),
        )

    def _record(self, news: Sequence[Taken]) -> list[Taken | Exception]:
        services = self._services
        steered: list[str] = []
        found: dict[int, Taken | Exception] = {}
        with services.database.write() as session:
            machines, actions = locked(session, {each.check.machine_id for each in news})
            for number, each in _by_tenant(news, machines):
                machine = machines.get(each.check.machine_id)
                if machine is None or machine.unenrolled_at is not None:
                    found[number] = _unenrolled()
                elif each.check.sequence <= machine.sequence:
                    found[number] = replayed(machine.sequence)  # another worker had it
                else:
                    before = machine.generation
                    record_one(session, services, machine, actions.get(machine.id), each.check, each.arrival)
                    if machine.generation != before:
                        steered.append(machine.id)
                    found[number] = replace(each, generation=machine.generation)
        if steered:
            services.wake.machines(steered)
        return [found[number] for number in range(len(news))]

    def _record_singly(self, news: Sequence[Taken]) -> list[Taken | Exception]:
        """So that one bad report does not take the others with it.

        When two in a row cannot be kept, it is not the reports: the rest are not made to wait for it.
        """
        found: list[Taken | Exception] = []
        failures = 0
        for each in news:
            result = _not_kept() if failures >= GIVE_UP_AFTER else self._record_alone(each)
            failures = failures + 1 if isinstance(result, Problem) and result.status == 503 else 0
            found.append(result)
        return found

    def _record_alone(self, taken: Taken) -> Taken | Exception:
        for attempt in range(ATTEMPTS):
            try:
                return self._record([taken])[0]
            except DBAPIError as error:
                _log.warning("report of %s, attempt %d: %s", taken.check.machine_id, attempt + 1, error.orig)
                if getattr(error.orig, "sqlstate", "") not in _IN_THE_WAY:
                    break
        return _not_kept()


def _by_tenant(news: Sequence[Taken], machines: Mapping[str, Machine]) -> list[tuple[int, Taken]]:
    """The reports with their places, tenant by tenant and each tenant's as they came.

    What a report changes locks its tenant's audit head, and heads are locked in one order by everybody: two
    workers with reports of the same two tenants would wait for each other otherwise.
    """

    def tenant(numbered: tuple[int, Taken]) -> str:
        machine = machines.get(numbered[1].check.machine_id)
        return "" if machine is None else machine.tenant_id

    return sorted(enumerate(news), key=tenant)


def replayed(latest: int) -> Problem:
    """409. `sequence` lets the rightful holder of a restored disk go on: it signs with a higher one."""
    sentence = f"sequence {latest} was already taken"
    return Problem("Replay", sentence, extra={"sequence": latest}, reason="replayed")


def _not_kept() -> Problem:
    sentence = "the report could not be kept; send it again"
    return Problem("ServiceUnavailable", sentence, headers={"Retry-After": "2"})


def _unenrolled() -> Problem:
    return Problem("Unenrolled", "this machine is no longer enrolled")


def _read(arrival: Arrival) -> tuple[str, Envelope] | Problem:
    """The envelope and whom it claims to be from; nothing is verified yet."""
    try:
        envelope = decode_envelope(json.loads(arrival.body))
        document = json.loads(envelope.payload)
    except Refused as refused:
        return Problem("InvalidRequestBody", refused.sentence, reason=refused.refusal.value)
    except (ValueError, RecursionError):
        return Problem("InvalidRequestBody", "a check-in is an envelope in JSON")
    machine_id = document.get("machine_id") if isinstance(document, dict) else None
    if not isinstance(machine_id, str) or len(machine_id) != 40 or not machine_id.isalnum():
        return Problem("Unauthorized", "this machine is not enrolled here")
    return machine_id, envelope


def _is_news(check: CheckIn, row: Row[Any]) -> bool:
    """Whether anything has to be written at once; a plain poll has not."""
    under_way = row.action_id is not None and (
        check.generation >= row.generation or check.report.generation >= row.generation
    )
    ended = row.desired == "isolated" and check.report.state == "connected"  # when, the record judges
    return (
        under_way
        or ended
        or check.delivered is not None
        or check.incarnation != row.incarnation
        or check.generation > row.generation
        or row.observed is None
        or check.report.steady != steady(row.observed)
        or (check.facts is not None and _facts_differ(check.facts, row))
    )


def _facts_differ(facts: dict[str, Any], row: Row[Any]) -> bool:
    known = {**row.facts, "computer_name": row.computer_name}
    return any(known.get(name) != value for name, value in facts.items() if name != "is_controller_host")
