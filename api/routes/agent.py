"""What agents call: enrol and check in. Their calls are signed with their own keys; no token of the API."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from types import FrameType
from typing import Any

from fastapi import APIRouter, FastAPI
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.problems import Problem
from api.services.checkin import Arrival
from api.services.context import Services
from api.services.enrolment import enrol as enrol_device
from api.services.polls import Agents

CHECK_IN = "/agent/v1/checkin"
MAX_BODY = 64 * 1024
FAILURES_WINDOW_S = 60.0
MAX_ADDRESSES = 10_000
"""How many addresses with failures are remembered; the oldest give way."""

_log = logging.getLogger(__name__)


class Failures:
    """Failed enrolments per address: a token cannot be guessed by trying, nor the processor kept busy."""

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._now = now
        self._lock = threading.Lock()
        self._failed: dict[str, deque[float]] = {}

    def refuse(self, address: str) -> None:
        """Problem (429) while the address has too many failures; costs next to nothing."""
        with self._lock:
            recent = self._failed.get(address)
            while recent and recent[0] <= self._now() - FAILURES_WINDOW_S:
                recent.popleft()
            if recent and len(recent) >= self._per_minute:
                wait_s = max(1, round(recent[0] + FAILURES_WINDOW_S - self._now()))
                raise Problem(
                    "TooManyRequests",
                    "too many failed enrolments from this address",
                    headers={"Retry-After": str(wait_s)},
                )

    def count(self, address: str) -> None:
        """One more failure."""
        with self._lock:
            recent = self._failed.pop(address, deque(maxlen=self._per_minute))
            recent.append(self._now())
            self._failed[address] = recent  # last in the order of the table
            if len(self._failed) > MAX_ADDRESSES:
                del self._failed[next(iter(self._failed))]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    agents = Agents(services)
    app.state.agents = agents
    app.state.enrolment_failures = Failures(services.settings.logins_per_minute)
    await agents.start()
    with _draining_on_signals(agents):
        try:
            yield
        finally:
            await agents.stop()


router = APIRouter(lifespan=_lifespan)


async def enrol(request: Request) -> Response:
    """POST /agent/v1/enrol {"token", "envelope"} -> 201 {"machine_id", "tenant_id", "root", "keys"}."""
    address = _address(request)
    failures: Failures = request.app.state.enrolment_failures
    try:
        failures.refuse(address)
        body = _json(await _body(request))
        answer = await asyncio.to_thread(
            enrol_device, request.app.state.services, body, address, own_host=_own_host(request)
        )
    except Problem as problem:
        if problem.status < 429:
            failures.count(address)
        return _refusal(request, problem, address)
    except DBAPIError as error:
        return _refusal(request, _no_database(error), address)
    return JSONResponse(answer, 201)


async def check_in(request: Request) -> Response:
    """POST /agent/v1/checkin ENVELOPE -> 200 ENVELOPE(answer), at once or when there is an order."""
    agents: Agents = request.app.state.agents
    address = _address(request)
    try:
        # Not kept in a variable: the body must not wait with the poll.
        answer = await agents.check_in(Arrival(await _body(request), address, _own_host(request)))
    except Problem as problem:
        return _refusal(request, problem, address)
    return Response(answer, media_type="application/json")


# Plain routes: thousands of polls wait here, and what FastAPI holds per request adds up. They are described
# in docs/controller-agents.md, not in the OpenAPI of the portal's API.
router.add_route("/agent/v1/enrol", enrol, methods=["POST"], include_in_schema=False)
router.add_route(CHECK_IN, check_in, methods=["POST"], include_in_schema=False)


async def _body(request: Request) -> bytes:
    """The body, of at most 64 KiB; a longer one is refused before it is read."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > MAX_BODY:
        raise _too_large()
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > MAX_BODY:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Problem("InvalidRequestBody", "the body is no JSON") from None


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _own_host(request: Request) -> bool:
    """Whether the caller is this very host: a loopback address, or the one the call was made to."""
    address = _address(request)
    server = request.scope.get("server") or ("",)
    try:
        return ip_address(address).is_loopback or address == server[0]
    except ValueError:
        return False


def _refusal(request: Request, problem: Problem, address: str) -> Response:
    request.state.target, request.state.reason = problem.target, problem.reason
    _log.info("agent refused: %s %s (%s, %s)", problem.code, problem.message, address, problem.target)
    return JSONResponse(problem.envelope(), problem.status, headers=problem.headers)


def _too_large() -> Problem:
    return Problem("RequestTooLarge", f"at most {MAX_BODY} bytes", headers={"Connection": "close"})


def _no_database(error: DBAPIError) -> Problem:
    _log.error("the database did not answer an enrolment: %s", type(error.orig).__name__)
    sentence = "the database does not answer; try again"
    return Problem("ServiceUnavailable", sentence, headers={"Retry-After": "2"})


@contextmanager
def _draining_on_signals(agents: Agents) -> Iterator[None]:
    """Send the agents home as soon as the process is told to end.

    The server waits for its open requests before it ends the lifespan; without this, that is a poll's length.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # under a test client; nobody sends us signals here
        return
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def drain(number: int, frame: FrameType | None) -> None:
        agents.drain()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for each in before:
        signal.signal(each, drain)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
