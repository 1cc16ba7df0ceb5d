"""The agent: answers requests, and does what time brings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from isolator.core.policy_document import decode_order
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.order import HostState, ReleaseOrder
from isolator.ports import OrderSource, Request, Response
from isolator.service import report
from isolator.service.controller import Controller, Outcome
from isolator.service.controller_link import ControllerLink
from isolator.service.remote_orders import RemoteOrders

LOG = logging.getLogger(__name__)

TICK_S = 1.0

IDLE_S = 2.0
"""How long a standalone agent waits for the next request on a host that is not isolated."""


class Agent:
    """One host's agent. `standalone`: it was started for an order and ends when the host is free again.

    `remote` stands for the controller's word, which counts with and without a `link` to it.
    """

    def __init__(
        self,
        controller: Controller,
        source: OrderSource,
        *,
        remote: RemoteOrders,
        link: ControllerLink | None = None,
        standalone: bool = False,
    ) -> None:
        self.controller = controller
        self.source = source
        self.remote = remote
        self.link = link
        self.standalone = standalone
        self._stop = threading.Event()
        self._asked_at = time.monotonic()
        self._answers: dict[str, Callable[[Request], Mapping[str, Any]]] = {
            "isolate": self._isolate,
            "release": self._release,
            "forced_release": self._forced_release,
            "status": self._status,
            "explain": lambda request: report.explanation(self.controller, _text(request, "destination")),
        }

    def run(self) -> None:
        """Converge to the last order, then serve until stopped. The host's isolation outlives the agent."""
        self.controller.recover()
        self.remote.settle()
        self.source.serve(self.answer)
        LOG.info("agent ready, host is %s", self.controller.state.value)
        if self.link is not None:
            self.link.start()
        try:
            while not self._stop.wait(TICK_S):
                self._tick()
        finally:
            self.source.stop()
            if self.link is not None:
                self.link.stop()

    def stop(self) -> None:
        """Let `run` return; what is in the kernel stays as it is."""
        self._stop.set()

    def _tick(self) -> None:
        try:
            self.controller.tick()
            self.remote.watch()
            self._look()
        except IsolatorError as error:
            LOG.error("%s: %s", error.operation, error.sentence)
        except Exception:
            # The agent must live: a defect in one tick must not end the watch over the rules.
            LOG.exception("tick failed")
        self._end_if_done()

    def _end_if_done(self) -> None:
        """An agent that was started for an order has nothing left to do on a host that is free."""
        idle = time.monotonic() - self._asked_at > IDLE_S
        if self.standalone and idle and self.controller.state is HostState.CONNECTED:
            self.stop()

    def answer(self, request: Request) -> Response:
        """One request's answer; never raises."""
        self._asked_at = time.monotonic()
        try:
            handler = self._answers.get(str(request.get("do")))
            if handler is None:
                raise IsolatorError(
                    FailureCode.BAD_ORDER, "answer", f"the agent does not know {request.get('do')!r}"
                )
            result = handler(request)
            self._look()
            return {"ok": True, "result": result}
        except IsolatorError as error:
            LOG.warning("%s: %s", error.operation, error.sentence)
            return error.response()
        except Exception:
            LOG.exception("request failed")
            sentence = "the agent met an error of its own; what was in force stays, see its log"
            return IsolatorError(FailureCode.INTERNAL, "answer", sentence).response()

    def _isolate(self, request: Request) -> Mapping[str, Any]:
        try:
            body = request["order"]
            if not isinstance(body, Mapping):
                raise TypeError("order is not an object")
            order = decode_order(self._with_defaults(body))
        except (KeyError, ValueError, TypeError) as error:
            raise IsolatorError(
                FailureCode.BAD_ORDER, "read_order", f"the order cannot be read: {error}"
            ) from error
        if request.get("dry_run") is True:
            return self.controller.preview(order)
        with self.remote.lock:
            self.remote.check_local("isolate")
            return self._done(self.controller.isolate(order))

    def _with_defaults(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the order leaves open, as agent.yaml has it."""
        if all(body[key] is not None for key in ("lists", "geo", "profile")):
            return body
        config = self.controller.load_config()
        defaults = {"lists": config.lists, "geo": config.geo, "profile": config.profile}
        return {**body, **{key: value for key, value in defaults.items() if body[key] is None}}

    def _release(self, request: Request) -> Mapping[str, Any]:
        order = ReleaseOrder(_text(request, "comment", ""))
        with self.remote.lock:
            self.remote.check_local("release")
            return self._released(self.controller.release(order))

    def _forced_release(self, request: Request) -> Mapping[str, Any]:
        with self.remote.lock:
            return self._released(self.remote.forced_release(request.get("document")))

    def _released(self, outcome: Outcome) -> Mapping[str, Any]:
        if self.standalone:
            threading.Timer(0.2, self.stop).start()
        return self._done(outcome)

    def _status(self, _: Request) -> Mapping[str, Any]:
        return {**report.status(self.controller), "controller": self._controller_shown()}

    def _controller_shown(self) -> Mapping[str, Any] | None:
        """Where the controller's word comes from; None on a host that belongs to none."""
        if self.link is not None:
            return self.link.shown()
        return self.remote.shown() if self.remote.state.known else None

    def _look(self) -> None:
        if self.link is not None:
            self.link.look()

    def _done(self, outcome: Outcome) -> Mapping[str, Any]:
        return {
            "changed": outcome.changed,
            "ended": {"tracked": outcome.ended.tracked, "sockets": outcome.ended.sockets},
            "took_ms": dict(outcome.took_ms),
            "status": report.status(self.controller, just_verified=True),
        }


def _text(request: Request, key: str, default: str | None = None) -> str:
    value = request.get(key, default)
    if not isinstance(value, str):
        raise IsolatorError(FailureCode.BAD_ORDER, "read_request", f"{key} is missing or no text")
    return value
