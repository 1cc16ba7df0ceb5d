"""Obeys the controller's orders, and keeps everything else on this host from undoing them.

Local orders and the controller's share one lock and never run into each other. While the controller holds
the host isolated, nothing local ends or changes that: not the command, not a new configuration, not a
missing journal, not a removed `controller` section. Only its signed word does, by the line or by file.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

from isolator.core.remote_order import read_forced_release, read_order
from isolator.core.signed import decode_envelope
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.order import HostState, IsolationOrder, ReleaseOrder
from isolator.model.remote_order import Answer, RemoteOrder
from isolator.model.signed import Envelope, Refusal, Refused
from isolator.service import journal
from isolator.service.controller import Controller, Outcome
from isolator.service.link_record import Fault
from isolator.service.link_state import LinkState

LOG = logging.getLogger(__name__)

AGAIN_S = 5.0
"""Between two tries to isolate a host whose journal was lost."""

_CLOCK_HINT = {
    Refusal.EXPIRED: "; if this device's clock is wrong, set it first",
    Refusal.NOT_YET: "; this device's clock seems to be behind, set it first",
}


class RemoteOrders:
    """One host's obedience. `lock` is held while any order, local or remote, is carried out."""

    def __init__(self, controller: Controller, state: LinkState) -> None:
        self.controller = controller
        self.state = state
        self.lock = threading.RLock()
        self._lost = False
        self._again_at = 0.0

    def check_local(self, what: str) -> None:
        """May a local `isolate` or `release` be carried out? IsolatorError when it may not."""
        if self.state.broken is not None:
            if self.controller.state is not HostState.CONNECTED:
                raise self.state.broken
        elif self.state.holds:
            raise IsolatorError(
                FailureCode.HELD_BY_CONTROLLER,
                what,
                "the controller holds this host isolated, so nothing was changed: order it in the portal, or "
                "get a file from `isolator-api forced-release` and run `isolator release --file FILE`",
            )

    def shown(self) -> dict[str, object]:
        """For `status`, without a line."""
        at = self.state.last_contact_at
        return {
            "url": None,
            "machine_id": self.state.machine_id,
            "enrolled": self.state.enrolled,
            "last_contact_at": None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "generation": self.state.generation,
            "holds": self.state.holds,
        }

    # From the line

    def read(self, answer: Answer) -> RemoteOrder | None:
        """The order in an answer, None when there is none for us; a bad one is refused for good and noted."""
        if answer.order is None:
            return None
        machine_id, generation = self.state.machine_id or "", self.state.generation
        try:
            return read_order(answer.order, answer.key_set.keys, machine_id, generation, answer.at)
        except Refused as refused:
            if refused.refusal is not Refusal.OLD_GENERATION:
                # The answer itself is genuine, so it does say which generation we shall never obey.
                LOG.error("order refused (%s): %s", refused.refusal.value, refused.sentence)
                self.state.refuse(answer.generation, Fault(refused.refusal.value, refused.sentence))
            return None

    def obey(self, order: RemoteOrder, envelope: Envelope, at: datetime) -> None:
        """Carry an order out; how it ended is in the state. Never raises: the report tells."""
        with self.lock:
            LOG.info(
                "order %d of the controller: %s (%s)", order.generation, order.desired.value, order.requestor
            )
            isolate = order.desired is HostState.ISOLATED
            try:
                self.state.begin(order.generation, envelope, at, isolate=isolate)
            except IsolatorError as error:
                self.state.refuse(order.generation, _fault(error))
                return
            self._carry_out(order)

    def _carry_out(self, order: RemoteOrder) -> None:
        fault = None
        try:
            if order.desired is HostState.ISOLATED:
                self.controller.isolate(self._isolation(order))
            else:
                self.controller.release(ReleaseOrder(order.comment))
        except IsolatorError as error:
            LOG.error("order %d failed in %s: %s", order.generation, error.operation, error.sentence)
            fault = _fault(error)
        except Exception:
            # The link must live, and the controller must hear that this did not work.
            LOG.exception("order %d met a defect", order.generation)
            fault = Fault(FailureCode.INTERNAL.value, "the agent met an error of its own, see its log")
        isolated = self.controller.state is not HostState.CONNECTED
        self.state.finish(holds=isolated and order.desired is HostState.ISOLATED, fault=fault)

    def _isolation(self, order: RemoteOrder) -> IsolationOrder:
        """The order as the host's own; what it leaves open is as agent.yaml has it."""
        config = self.controller.load_config()
        return IsolationOrder(
            scope=order.scope,
            lists=config.lists if order.lists is None else order.lists,
            geo=config.geo if order.geo is None else order.geo,
            profile=config.profile if order.profile is None else order.profile,
            duration_s=order.duration_s,
            comment=order.comment,
            on_silence=order.on_silence,
            exclusions=order.exclusions,
        )

    # By file

    def forced_release(self, document: object) -> Outcome:
        """Let the host go by a signed file. IsolatorError NOT_BELIEVED for one that is not good here."""
        with self.lock:
            record, keys = self.state.record, self.state.trusted_keys()
            try:
                release = read_forced_release(
                    decode_envelope(document),
                    keys.keys,
                    self.state.machine_id or "",
                    record.generation,
                    record.used_releases,
                    self._now(),
                )
            except Refused as refused:
                if refused.refusal is Refusal.OLD_GENERATION and self._is_free():
                    return self.controller.release(ReleaseOrder())  # the order came by the line, too
                hint = _CLOCK_HINT.get(refused.refusal, "")
                raise IsolatorError(
                    FailureCode.NOT_BELIEVED,
                    "forced_release",
                    f"the release file is not good here ({refused.refusal.value}): {refused.sentence}{hint}",
                ) from refused
            LOG.warning("forced release %s is used", release.release_id)
            self.state.use(release)
            return self.controller.release(ReleaseOrder(f"forced release {release.release_id}"))

    def _is_free(self) -> bool:
        return self.controller.state is HostState.CONNECTED and not self.state.holds

    def _now(self) -> datetime:
        """The wall clock, but not before what the controller signed: a clock set back revives no file."""
        now = datetime.fromisoformat(self.controller.outside.clock.utc_now()).astimezone(UTC)
        known = (self.state.last_contact_at, self.state.record.controller_at)
        return max([now, *(each for each in known if each is not None)])

    # At the start, and as time passes

    def settle(self) -> None:
        """After a start: end what an agent before began, and isolate again when the journal was lost."""
        with self.lock:
            if not self.state.known or self.state.record.order is None:
                return
            if self.state.record.pending:
                self._again(self.state.record.order)
            elif (
                self.state.holds and self.controller.state is HostState.CONNECTED and self._journal_is_lost()
            ):
                LOG.error("the controller holds this host, but no journal says so: it is isolated again")
                self._lost = True
                self._isolate_again()

    def watch(self) -> None:
        """After each tick: an isolation that came to its ordered end is the controller's no more."""
        if not self.state.holds or self.controller.state is not HostState.CONNECTED:
            return
        if not self.lock.acquire(blocking=False):
            return  # an order is under way; the next tick looks again
        try:
            if self._lost:
                self._isolate_again()
            elif self.state.holds and self.controller.state is HostState.CONNECTED:
                self.state.ended()
        finally:
            self.lock.release()

    def _journal_is_lost(self) -> bool:
        try:
            return journal.decode(self.controller.outside.store.load()) is None
        except IsolatorError:
            return True

    def _isolate_again(self) -> None:
        """Until it works: at boot the network and its names come late, and that must not set a host free."""
        now = self.controller.outside.clock.boottime()
        order = self.state.record.order
        if now < self._again_at or order is None:
            return
        self._again_at = now + AGAIN_S
        stored = self._stored(order)
        if stored is None:
            return
        try:
            self.controller.isolate(self._isolation(stored))
            self._lost = False
        except IsolatorError as error:
            LOG.error("it is not isolated yet (%s): %s", error.operation, error.sentence)

    def _again(self, envelope: Envelope) -> None:
        order = self._stored(envelope)
        if order is not None:
            LOG.info("order %d was begun by an agent before: once more", order.generation)
            self._carry_out(order)

    def _stored(self, envelope: Envelope) -> RemoteOrder | None:
        """The order on our disk, judged once more, by the time at which it was first believed."""
        record = self.state.record
        try:
            return read_order(
                envelope,
                self.state.trusted_keys().keys,
                self.state.machine_id or "",
                record.generation,
                record.controller_at or self._now(),
                held=envelope.payload,
            )
        except (Refused, IsolatorError) as error:
            LOG.error("the stored order is not good any more: %s", error)
            return None


def _fault(error: IsolatorError) -> Fault:
    return Fault(error.code.value, error.sentence)
