"""The agent's memory of its controller: every change is on the disk before it counts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from isolator.core.remote_order import read_keys
from isolator.core.signed import machine_id_of, public_bytes, seal
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.remote_order import Answer, Enrolment, ForcedRelease, KeySet
from isolator.model.signed import Envelope, Kind, Refused
from isolator.ports import StateStore
from isolator.service import link_record
from isolator.service.link_record import Fault, LinkRecord

LOG = logging.getLogger(__name__)

SEQUENCE_BLOCK = 1000
"""Check-ins that one write is enough for; after a crash the rest of the block is skipped."""

LONGEST_JUMP = 10_000_000
"""How far an unsigned word of the controller may move the sequence: years of check-ins, far from its end."""

KEPT_RELEASES = 64
"""Used releases that are remembered; older ones are refused by their generation anyway."""


class LinkState:
    """Keys, generation and sequence of one device. May be used from any thread."""

    def __init__(self, store: StateStore) -> None:
        """Read the store. One that is damaged is not an error here: then `broken` says so and nothing is
        believed, obeyed or released."""
        self._store = store
        self._lock = threading.RLock()
        self._record: LinkRecord | None = None
        self._key: Ed25519PrivateKey | None = None
        self._next = 0
        self.key_set: KeySet | None = None
        self.broken: IsolatorError | None = None
        self.last_contact_at: datetime | None = None
        try:
            self._take_up(link_record.decode(store.load()))
        except IsolatorError as error:
            self.broken = error

    def _take_up(self, record: LinkRecord | None) -> None:
        if record is None:
            return
        self._record, self._next = record, record.sequence
        self._key = Ed25519PrivateKey.from_private_bytes(record.private_key)
        if record.keys is not None and record.root_public is not None:
            try:
                # No date is judged here: the next answer brings the time by which they are.
                self.key_set = read_keys(record.keys, record.root_public, 0, None)
            except Refused as refused:
                raise IsolatorError(
                    FailureCode.STATE_UNREADABLE,
                    "read_link",
                    f"the stored order keys are not the root's ({refused.sentence}); nothing is obeyed",
                ) from refused

    # What is known

    @property
    def record(self) -> LinkRecord:
        """The present record; IsolatorError when it is damaged or there is none."""
        if self.broken is not None:
            raise self.broken
        if self._record is None:
            raise IsolatorError(
                FailureCode.NOT_BELIEVED,
                "read_link",
                "this device belongs to no controller: it knows no key, so it believes no order",
            )
        return self._record

    @property
    def known(self) -> bool:
        """Is there a record that can be used?"""
        return self._record is not None and self.broken is None

    @property
    def enrolled(self) -> bool:
        """Was a root pinned?"""
        return self.known and self.record.root_public is not None

    @property
    def holds(self) -> bool:
        """Is the controller's isolation in force here?"""
        return self.known and self.record.holds

    @property
    def generation(self) -> int:
        """The highest order obeyed or refused for good; 0 before the first."""
        return self.record.generation if self.known else 0

    @property
    def public_key(self) -> bytes:
        """This device's public key."""
        return public_bytes(self._private())

    @property
    def machine_id(self) -> str | None:
        """This device's name at the controller; None before a key was made."""
        return None if self._key is None else machine_id_of(public_bytes(self._key))

    def trusted_keys(self) -> KeySet:
        """The order keys; IsolatorError when there are none, and then nothing is believed."""
        if self.key_set is None:
            raise self.broken or IsolatorError(
                FailureCode.NOT_BELIEVED, "read_link", "this device has no order keys: it believes nothing"
            )
        return self.key_set

    # Signing

    def make_key(self) -> None:
        """This device's own key, made and written before anybody hears of it; an existing one stays."""
        with self._lock:
            if self.broken is not None:
                raise self.broken
            if self._record is None:
                key = Ed25519PrivateKey.generate()
                self._save(LinkRecord(key.private_bytes_raw()))
                self._key = key

    def sign(self, kind: Kind, document: Mapping[str, Any]) -> Envelope:
        """The document under this device's signature."""
        return seal(kind, document, self._private())

    def next_sequence(self) -> int:
        """A number that no check-in had before, after a crash and a restart too."""
        with self._lock:
            if self._next >= self.record.sequence:
                self._next = self.record.sequence
                self._save(replace(self.record, sequence=self._next + SEQUENCE_BLOCK))
            self._next += 1
            return self._next

    @property
    def last_sequence(self) -> int:
        """The number of the latest check-in of this run."""
        return self._next

    def skip_to(self, sequence: int) -> None:
        """The controller has seen higher numbers than we remember (a restored disk): go on above them."""
        with self._lock:
            ahead = min(sequence, self._next + LONGEST_JUMP)
            if ahead > self._next:
                self._save(replace(self.record, sequence=ahead + SEQUENCE_BLOCK))
                self._next = ahead

    # What the controller said

    def enrol(self, enrolment: Enrolment) -> None:
        """Pin the root at the first enrolment, take the order keys unless newer ones are known."""
        with self._lock:
            record = replace(self.record, root_public=enrolment.root_public)
            if self.key_set is None or enrolment.key_set.version > self.key_set.version:
                record = replace(record, keys=enrolment.keys)
                self._save(record)
                self.key_set = enrolment.key_set
            else:
                self._save(record)

    def hear(self, answer: Answer) -> None:
        """An answer that is believed: its time, and its keys when they are new."""
        with self._lock:
            self.last_contact_at = answer.at
            known = 0 if self.key_set is None else self.key_set.version
            if answer.new_keys is not None and answer.key_set.version > known:
                self._save(replace(self.record, keys=answer.new_keys, controller_at=answer.at))
                self.key_set = answer.key_set

    def begin(self, generation: int, envelope: Envelope, at: datetime, *, isolate: bool) -> None:
        """Before the kernel is touched. An isolation is the controller's from here on."""
        with self._lock:
            record = replace(
                self.record,
                generation=generation,
                order=envelope,
                pending=True,
                holds=self.record.holds or isolate,
                controller_at=at,
            )
            self._save(record)

    def finish(self, *, holds: bool, fault: Fault | None = None) -> None:
        """How the order ended."""
        with self._lock:
            self._note(replace(self.record, pending=False, holds=holds, fault=fault))

    def refuse(self, generation: int, fault: Fault) -> None:
        """An order of that generation is refused for good; what is in force stays."""
        with self._lock:
            if generation > self.record.generation:
                self._note(replace(self.record, generation=generation, fault=fault))

    def ended(self) -> None:
        """The controller's isolation came to its ordered end."""
        with self._lock:
            self._save(replace(self.record, holds=False))

    def use(self, release: ForcedRelease) -> None:
        """A forced release counts as used before the host is let go."""
        with self._lock:
            used = (*self.record.used_releases, release.release_id)[-KEPT_RELEASES:]
            record = replace(self.record, used_releases=used, generation=release.generation, holds=False)
            self._save(replace(record, pending=False, fault=None, order=None))

    def _private(self) -> Ed25519PrivateKey:
        if self._key is None:
            raise self.broken or IsolatorError(
                FailureCode.NOT_BELIEVED, "sign", "this device has no key of its own yet"
            )
        return self._key

    def _note(self, record: LinkRecord) -> None:
        """What has happened has happened: a full disk keeps it out of the file, not out of our reports."""
        try:
            self._save(record)
        except IsolatorError as error:
            LOG.error("%s", error.sentence)
            self._record = record

    def _save(self, record: LinkRecord) -> None:
        """On the disk first; when the disk refuses, nothing has changed."""
        self._store.save(link_record.encode(record))
        self._record = record
