"""A controller in memory: enrolment, check-ins that are held, signed orders; it believes only what is signed.

It speaks the protocol that `tests/fakes/controller_server.py` puts on a socket. `Line` is a ControllerClient
that asks it without one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from isolator.core.signed import (
    decode_envelope,
    encode_envelope,
    key_id_of,
    machine_id_of,
    open_envelope,
)
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.signed import Envelope, Kind, Refused
from isolator.ports import Reply
from tests.fakes.controller_keys import ControllerKeys, base64url, instant

TOKEN = "iso_token-of-the-test"


@dataclass
class Machine:
    """What the controller knows of one machine. `check_ins` are all the documents it took."""

    public: bytes
    generation: int = 0
    sequence: int = 0
    order: Envelope | None = None
    check_ins: list[dict[str, Any]] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    """CLOCK_MONOTONIC of each check-in."""
    unenrolled: bool = False

    @property
    def reports(self) -> list[dict[str, Any]]:
        """What was observed, oldest first."""
        return [each["observed"] for each in self.check_ins]


class FakeController:
    """`ahead` is how far its clock is from the real one. `answers` may replace the next answer's envelope."""

    def __init__(self, keys: ControllerKeys | None = None) -> None:
        self.keys = keys or ControllerKeys()
        self.key_set = self.keys.signed_keys(expires_at=instant(datetime.now(UTC) + timedelta(days=1000)))
        self.keys_version = 1
        self.machines: dict[str, Machine] = {}
        self.tokens = {TOKEN}
        self.enrolled: list[dict[str, Any]] = []
        self.ahead = timedelta()
        self.answers: list[Envelope] = []
        self.draining = False
        self._kicks = 0
        self.changed = threading.Condition()

    def now(self) -> datetime:
        """The controller's clock."""
        return datetime.now(UTC) + self.ahead

    @property
    def machine(self) -> Machine:
        """The only machine."""
        (machine,) = self.machines.values()
        return machine

    def order(self, desired: str, **changes: object) -> int:
        """The only machine shall be so; gives the generation. Polls that wait are answered."""
        with self.changed:
            ((machine_id, machine),) = self.machines.items()
            machine.generation += 1
            document = {"generation": machine.generation, "desired": desired, **changes}
            machine.order = self.keys.signed_order(machine_id, at=self.now(), **document)
            self.changed.notify_all()
            return machine.generation

    def rotate(self, order_key: int) -> None:
        """Another order key in place of the present one."""
        with self.changed:
            self.keys = ControllerKeys(order=order_key)
            self.keys_version += 1
            self.key_set = self.keys.signed_keys(
                self.keys_version, expires_at=instant(self.now() + timedelta(days=1000))
            )

    def drain(self) -> None:
        """Answer every poll that waits, and hold none from now on."""
        with self.changed:
            self.draining = True
            self.changed.notify_all()

    def kick(self) -> None:
        """Answer every poll that waits now."""
        with self.changed:
            self._kicks += 1
            self.changed.notify_all()

    def release_file(self, machine_id: str, **changes: object) -> dict[str, str]:
        """A forced release, with the order to be connected that belongs to it."""
        generation = self.order("connected")
        document = {"generation": generation, **changes}
        return encode_envelope(self.keys.signed_release(machine_id, at=self.now(), **document))

    def wait_for(self, found: Any, within_s: float = 10.0) -> None:
        """Until `found()` is true; AssertionError when it does not become so in time."""
        with self.changed:
            assert self.changed.wait_for(found, within_s), "it did not come about"

    # The two calls

    def post(self, path: str, body: object) -> tuple[int, object]:
        """Status and body."""
        if path == "/agent/v1/enrol":
            return self._enrol(body)
        if path == "/agent/v1/checkin":
            return self._check_in(body)
        return 404, _error("ResourceNotFound")

    def _enrol(self, body: Any) -> tuple[int, object]:
        envelope = decode_envelope(body["envelope"])
        claimed = json.loads(envelope.payload)["public_key"]
        public = _unbase64url(claimed)
        document = open_envelope(envelope, Kind.ENROL, {key_id_of(public): public})
        if body["token"] not in self.tokens:
            return 401, _error("Unauthorized")
        with self.changed:
            machine = self.machines.setdefault(machine_id_of(public), Machine(public))
            machine.unenrolled = False
            self.enrolled.append(document)
            self.changed.notify_all()
        return 201, {
            "machine_id": machine_id_of(public),
            "tenant_id": "t",
            "root": base64url(self.keys.root_public),
            "keys": encode_envelope(self.key_set),
        }

    def _check_in(self, body: Any) -> tuple[int, object]:
        envelope = decode_envelope(body)
        machine = self.machines.get(json.loads(envelope.payload)["machine_id"])
        if machine is None:
            return 401, _error("Unauthorized")
        try:
            document = open_envelope(envelope, Kind.CHECK_IN, {key_id_of(machine.public): machine.public})
        except Refused:
            return 401, _error("Unauthorized")
        with self.changed:
            if machine.unenrolled:
                return 409, _error("Unenrolled")
            if document["sequence"] <= machine.sequence:
                return 409, _error("Replay", sequence=machine.sequence)
            machine.sequence = document["sequence"]
            machine.check_ins.append(document)
            machine.arrived.append(time.monotonic())
            self.changed.notify_all()
            kicks = self._kicks
            self.changed.wait_for(
                lambda: (
                    self.draining
                    or bool(self.answers)
                    or self._kicks > kicks
                    or machine.generation > document["generation"]
                ),
                document["wait_s"],
            )
            return 200, encode_envelope(self._answer(machine, document))

    def _answer(self, machine: Machine, document: Mapping[str, Any]) -> Envelope:
        if self.answers:
            return self.answers.pop(0)
        wanted = machine.order if machine.generation > document["generation"] else None
        keys = None if document["keys_version"] == self.keys_version else self.key_set
        return self.keys.signed_answer(
            document["nonce"],
            wanted,
            keys,
            document["machine_id"],
            generation=machine.generation,
            at=instant(self.now()),
        )


class Line:
    """A ControllerClient to a FakeController. `down` lets every call fail; `close` ends those that wait."""

    def __init__(self, controller: FakeController) -> None:
        self.controller = controller
        self.down = False
        self.calls = 0

    def post(self, path: str, body: Mapping[str, object], deadline_s: float) -> Reply:
        """Through JSON, as over a socket."""
        self.calls += 1
        if self.down:
            raise IsolatorError(FailureCode.CONTROLLER_UNREACHABLE, "ask", "the line is down")
        status, answer = self.controller.post(path, json.loads(json.dumps(body)))
        return Reply(status, json.loads(json.dumps(answer)))

    def close(self) -> None:
        """Nothing is kept."""


def _error(code: str, **extra: object) -> dict[str, object]:
    return {"error": {"code": code, "message": f"fake: {code}", "target": "0", **extra}}


def _unbase64url(text: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
