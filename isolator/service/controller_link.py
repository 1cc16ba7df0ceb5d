"""The line to the controller: enrol, check in by long poll, obey, report.

Two threads. The first holds the long poll, carries orders out and reports with its next poll. The second
says what must not wait for that: that an order has arrived, and what changed on this host by itself. What
is said without a good signature changes nothing here, whatever the HTTP status.
"""

from __future__ import annotations

import base64
import logging
import queue
import random
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from isolator.core.remote_order import read_answer, read_enrolment
from isolator.core.signed import decode_envelope, encode_envelope
from isolator.model.config import AgentConfig, ControllerSettings
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.remote_order import Answer, RemoteOrder
from isolator.model.signed import Envelope, Kind, Refused
from isolator.ports import ControllerClient, MachineFacts, Reply
from isolator.service.link_state import LinkState
from isolator.service.remote_orders import RemoteOrders
from isolator.service.remote_report import remote_report

LOG = logging.getLogger(__name__)

ENROL, CHECK_IN = "/agent/v1/enrol", "/agent/v1/checkin"

WAIT_S = (45.0, 55.0)
"""How long a poll asks to be held: about 50 s, each time another, so that a fleet does not come in step."""

PATIENCE_S = 15.0
"""How much longer than it asked to be held a call may take."""

LONGEST_PAUSE_S = 30.0
FIRST_PAUSE_S = 1.0
LONGEST_ASKED_S = 60.0
"""The longest pause a controller can ask for: a host it cannot reach for an hour is lost to it."""

HELD_S = 1.0
UNHELD_PAUSE_S = (0.2, 1.0)
"""The pause after a poll that was answered in less than HELD_S with nothing for us to do."""


@dataclass(frozen=True, slots=True)
class Chance:
    """Randomness as an argument: hex text of so many bytes, and a number between two."""

    token: Callable[[int], str] = secrets.token_hex
    between: Callable[[float, float], float] = random.SystemRandom().uniform


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The ports of the line. `connect` opens nothing yet: the first call on the client does."""

    connect: Callable[[ControllerSettings], ControllerClient]
    load_config: Callable[[], AgentConfig]
    machine: MachineFacts


class ControllerLink:
    """One host's line to its controller."""

    def __init__(self, orders: RemoteOrders, outgoing: Outgoing, chance: Chance | None = None) -> None:
        self.orders = orders
        self.state: LinkState = orders.state
        self._outgoing = outgoing
        self._chance = chance or Chance()
        self._incarnation = self._chance.token(16)
        self._stop = threading.Event()
        self._news: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._settings: ControllerSettings | None = None
        self._clients: list[ControllerClient] = []
        self._threads: list[threading.Thread] = []
        self._must_enrol = False
        self._greeted = False
        self._overtaken = False
        self._last_report: dict[str, Any] | None = None
        self._fresh: dict[str, Any] | None = None  # of the order just carried out; the next poll brings it
        self._told: object = None
        self._facts: Mapping[str, object] | None = None

    # Life

    def start(self) -> None:
        """Start both threads."""
        for name, run in (("controller", self._run), ("controller-news", self._run_news)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, patience_s: float = 2.0) -> None:
        """Give the line up; what is in force stays in force. An order under way is finished by its thread."""
        self._stop.set()
        self._news.put(None)
        for client in self._clients:
            client.close()
        for thread in self._threads:
            thread.join(patience_s)

    def look(self) -> None:
        """A local order, a repair or an end may have changed something: if so, it is told at once."""
        if not self.state.enrolled or not self.orders.lock.acquire(blocking=False):
            return  # an order is under way, and its report will tell
        try:
            if self._told is not None and self._fingerprint() != self._told:
                self._told = self._fingerprint()
                self._news.put(None)
        finally:
            self.orders.lock.release()

    def shown(self) -> dict[str, Any]:
        """For `status`: where the controller is and when it last answered."""
        return {**self.orders.shown(), "url": self._settings.url if self._settings else None}

    # The first thread

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                pause_s = self._round()
                failures = 0
            except (IsolatorError, Refused) as error:
                failures += 1
                pause_s = 0.0 if self._overtaken and failures == 1 else self._backoff(failures)
                self._overtaken = False
                if not self._stop.is_set():
                    LOG.warning("controller: %s (next try in %.1f s)", error, pause_s)
            except Exception:
                # The line must live: without it nobody could release this host.
                failures += 1
                pause_s = self._backoff(failures)
                LOG.exception("controller: a defect")
            self._stop.wait(pause_s)

    def _backoff(self, failures: int) -> float:
        """Full jitter: a fleet whose controller comes back must not come back as one."""
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 10))
        return self._chance.between(0.0, longest)

    def _round(self) -> float:
        """One poll and what follows from it; gives how long to wait before the next."""
        report, self._fresh = self._fresh, None
        if report is None:
            self._connect()
        main = self._clients[0]
        if self._must_enrol or not self.state.enrolled:
            self._must_enrol = False
            self._enrol(main)
        asked_at = self._boottime()
        # The first one asks for an answer at once: it shows that the line is good, and brings new keys.
        wait_s = self._chance.between(*WAIT_S) if self._greeted else 0.0
        answer = self._check_in(main, report or self._observe(), wait_s)
        greeting, self._greeted = not self._greeted, True
        order = self.orders.read(answer)
        if order is None or answer.order is None:
            held = greeting or self._boottime() - asked_at > HELD_S
            pause_s = 0.0 if held else self._chance.between(*UNHELD_PAUSE_S)
            return max(pause_s, min(answer.poll_after_s, LONGEST_ASKED_S))
        self._carry_out(order, answer.order, answer.at)
        return 0.0

    def _carry_out(self, order: RemoteOrder, envelope: Envelope, at: datetime) -> None:
        self._news.put(order.generation)  # "delivered", said while the order is being carried out
        with self.orders.lock:
            self.orders.obey(order, envelope, at)
            self._fresh = self._observe(just_verified=self.state.record.fault is None)

    def _connect(self) -> None:
        """Both lines; new ones when agent.yaml names another controller or certificate now."""
        settings = self._wanted_settings()
        if settings != self._settings:
            for client in self._clients:
                client.close()
            self._clients = [self._outgoing.connect(settings), self._outgoing.connect(settings)]
            self._settings = settings

    def _wanted_settings(self) -> ControllerSettings:
        """As agent.yaml has them. A bad file, or a removed section on a held host, costs no line."""
        try:
            settings = self._outgoing.load_config().controller
        except IsolatorError as error:
            if self._settings is None:
                raise
            LOG.warning("the line stays as it was: %s", error)
            return self._settings
        if settings is not None:
            return settings
        if self._settings is not None and self.state.holds:
            return self._settings
        raise IsolatorError(FailureCode.BAD_CONFIG, "connect", "agent.yaml names no `controller` any more")

    # The second thread

    def _run_news(self) -> None:
        while True:
            delivered = self._news.get()
            if self._stop.is_set():
                return
            try:
                self._tell(delivered)
            except (IsolatorError, Refused) as error:
                LOG.info("the next poll will tell it: %s", error)
            except Exception:
                LOG.exception("controller: a defect")

    def _tell(self, delivered: int | None) -> None:
        if len(self._clients) < 2 or not self.state.enrolled:
            return
        if delivered is not None and self._last_report and self._last_report["generation"] >= delivered:
            return  # it is carried out already, and its report is on the way
        # While an order is carried out the kernel is not asked: what was reported last is still the news.
        report = self._last_report if delivered is not None else self._observe()
        if report is not None:
            self._check_in(self._clients[1], report, 0.0, delivered)

    # Messages

    def _enrol(self, client: ControllerClient) -> None:
        token = self._settings.enrolment_token if self._settings else None
        if token is None:
            raise IsolatorError(
                FailureCode.BAD_CONFIG,
                "enrol",
                "this device is not enrolled and agent.yaml has no `controller.enrolment_token`",
            )
        self.state.make_key()
        facts = dict(self._outgoing.machine.facts())
        document = {
            "public_key": _base64url(self.state.public_key),
            "computer_name": facts.get("computer_name", "unknown"),
            "facts": facts,
            "nonce": self._chance.token(16),
            "sent_at": self._now(),
        }
        body = {"token": token, "envelope": encode_envelope(self.state.sign(Kind.ENROL, document))}
        reply = client.post(ENROL, body, PATIENCE_S)
        if reply.status != 201:
            raise _refused(reply, "enrol")
        pinned = self.state.record.root_public
        self.state.enrol(read_enrolment(reply.body, self.state.public_key, pinned))
        LOG.info("enrolled as machine %s", self.state.machine_id)

    def _check_in(
        self,
        client: ControllerClient,
        report: dict[str, Any],
        wait_s: float,
        delivered: int | None = None,
    ) -> Answer:
        nonce = self._chance.token(16)
        key_set, root = self.state.trusted_keys(), self.state.record.root_public or b""
        facts = None if delivered is not None else self._changed_facts()
        document = {
            "machine_id": self.state.machine_id,
            "sequence": self.state.next_sequence(),
            "incarnation": self._incarnation,
            "nonce": nonce,
            "sent_at": self._now(),
            "generation": report["generation"],
            "wait_s": round(wait_s, 1),
            "delivered": delivered,
            "observed": report,
            "facts": facts,
            "keys_version": key_set.version,
        }
        envelope = self.state.sign(Kind.CHECK_IN, document)
        reply = client.post(CHECK_IN, encode_envelope(envelope), wait_s + PATIENCE_S)
        if reply.status != 200:
            raise self._not_taken(reply)
        answer = read_answer(decode_envelope(reply.body), key_set, root, self.state.machine_id or "", nonce)
        if answer.keys_refused is not None:
            LOG.warning("order keys were offered that are not good (%s)", answer.keys_refused.value)
        self.state.hear(answer)
        if facts is not None:
            self._facts = facts
        return answer

    def _not_taken(self, reply: Reply) -> IsolatorError:
        """A refusal by HTTP carries no signature: it may make us ask again, and does nothing else."""
        code, error = _error_of(reply)
        if code == "Replay":
            latest = error.get("sequence")
            # Our other line may have been quicker with a later number: then there is nothing to wait for.
            self._overtaken = type(latest) is int and 0 < latest <= self.state.last_sequence
            self.state.skip_to(latest if type(latest) is int else self.state.next_sequence() + 1000)
        elif (
            (code == "Unenrolled" or reply.status == 401)
            and self._settings
            and self._settings.enrolment_token
        ):
            self._must_enrol = True
        return _refused(reply, "check_in")

    def _observe(self, *, just_verified: bool = False) -> dict[str, Any]:
        with self.orders.lock:
            report = remote_report(self.orders.controller, self.state, just_verified=just_verified)
            self._told = self._fingerprint()
            self._last_report = report
            return report

    def _fingerprint(self) -> object:
        controller = self.orders.controller
        isolation = controller.isolation
        ordered = None if isolation is None else (isolation.since, isolation.order)
        alerts = len(controller.gate.alerts())
        return controller.state, ordered, controller.enforcement.repairs, self.state.generation, alerts

    def _changed_facts(self) -> dict[str, object] | None:
        facts = dict(self._outgoing.machine.facts())
        return None if facts == self._facts else facts

    def _boottime(self) -> float:
        return self.orders.controller.outside.clock.boottime()

    def _now(self) -> str:
        return self.orders.controller.outside.clock.utc_now()


def _error_of(reply: Reply) -> tuple[str, Mapping[str, Any]]:
    error = reply.body.get("error") if isinstance(reply.body, Mapping) else None
    if not isinstance(error, Mapping):
        return "", {}
    return str(error.get("code", ""))[:60], error


def _refused(reply: Reply, operation: str) -> IsolatorError:
    code, error = _error_of(reply)
    said = str(error.get("message", "no reason"))[:200]
    sentence = f"the controller did not take it: HTTP {reply.status} {code!a}, {said!a}"
    return IsolatorError(FailureCode.CONTROLLER_REFUSED, operation, sentence)


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
