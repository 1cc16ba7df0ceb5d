"""Whatever goes wrong leaves as one envelope: code, message, and a target that finds the log line."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy import exc as database_errors
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app.answers import answer
from api.app.answers import log as _log
from api.app.paths import Paths
from api.problems import CODES, Problem

RETRY_AFTER_S = 5
"""When to come back while the database is away, locked or full."""

_BY_STATUS = {status: code for code, status in CODES.items() if status not in (400, 409, 500)}
_NO_BODY = frozenset({"json_invalid", "model_attributes_type", "dict_type", "model_type"})


def install_failures(app: FastAPI, paths: Paths) -> None:
    """Give the application its error handlers."""

    async def refused(request: Request, problem: Exception) -> Response:
        assert isinstance(problem, Problem)
        return answer(request.scope, problem, problem.__cause__)

    async def by_status(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(request.scope, _of_status(error, request.scope["path"], paths))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request.scope, of_validation(error.errors()))

    async def unexpected(request: Request, error: Exception) -> Response:
        return answer(request.scope, of_exception(error), error)

    app.add_exception_handler(Problem, refused)
    app.add_exception_handler(HTTPException, by_status)
    app.add_exception_handler(RequestValidationError, invalid)
    for kind in (database_errors.SQLAlchemyError, OverflowError, UnicodeEncodeError):
        app.add_exception_handler(kind, unexpected)


def of_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """The first thing wrong with a request, in a sentence; the value itself is not repeated."""
    first = errors[0]
    where, *names = first["loc"] or ("body",)
    name = ".".join(str(each) for each in names) or str(where)
    if where == "body" and first["type"] in _NO_BODY and (len(names) == 0 or first["type"] == "json_invalid"):
        return Problem("InvalidRequestBody", "the request body is no JSON object of this call")
    if first["type"] == "missing" and not names:
        return Problem("InvalidRequestBody", "the request needs a JSON body")
    if first["type"] == "missing":
        return Problem("MissingRequiredParameter", f"{name} is required")
    sentence = str(first["msg"]).removeprefix("Value error, ")
    return Problem("InvalidInput", f"{name}: {sentence}")


def of_exception(error: Exception) -> Problem:
    """What an exception nobody expected is to the caller: never its text, never a traceback."""
    wait = {"Retry-After": str(RETRY_AFTER_S)}
    match error:
        case Problem():
            return error
        case database_errors.IntegrityError():
            return Problem("Conflict", "somebody else changed the same thing just now; try again")
        case database_errors.DataError() | OverflowError() | UnicodeEncodeError():
            return Problem("InvalidInput", "a value in the request cannot be stored: too large, or no text")
        case (
            database_errors.OperationalError()
            | database_errors.InterfaceError()
            | database_errors.InternalError()
            | database_errors.TimeoutError()
        ):
            return Problem("ServiceUnavailable", "the database cannot be used just now", headers=wait)
        case database_errors.DatabaseError() if type(error) is database_errors.DatabaseError:
            return Problem("ServiceUnavailable", "the database cannot be used just now", headers=wait)
    return Problem("InternalServerError", "something went wrong here; the log has it under this target")


def of_ending() -> Problem:
    """What a caller is told whose request was not complete when the process had to end."""
    wait = {"Retry-After": str(RETRY_AFTER_S), "Connection": "close"}
    return Problem("ServiceUnavailable", "the controller is ending; try again", headers=wait)


def _of_status(error: HTTPException, path: str, paths: Paths) -> Problem:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return Problem("ResourceNotFound", "there is no such path")
        case 405:
            allowed = paths.methods(path)
            if allowed:
                headers["Allow"] = ", ".join(allowed)
            return Problem("MethodNotAllowed", "this path does not take that method", headers=headers)
        case 400:
            return Problem("InvalidRequestBody", "the request body cannot be read", headers=headers)
        case status if status in _BY_STATUS:
            return Problem(_BY_STATUS[status], str(error.detail), headers=headers)
        case status if status < 500:
            return Problem("BadRequest", str(error.detail), headers=headers)
    return Problem("InternalServerError", "something went wrong here; the log has it under this target")


class LastResort:
    """The outermost layer: an exception that no handler took becomes 500 and a line in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer in its place when it fails before its answer has begun."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = ended = False

        async def watched(message: Message) -> None:
            nonlocal begun, ended
            begun = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return  # the caller hung up before the end of its own request
        except asyncio.CancelledError:
            # The server ends and has waited long enough for this caller.
            if begun:
                raise
            await answer(scope, of_ending())(scope, receive, send)
        except Exception as error:
            if not begun:
                await answer(scope, of_exception(error), error)(scope, receive, send)
                return
            _log.exception("%s %a failed after its answer had begun", scope["method"], scope["path"])
            if not ended:
                raise  # the server cuts the connection, so that half an answer is not taken for a whole one
