"""A refusal as an HTTP answer, and its line in the log."""

from __future__ import annotations

import logging

from starlette.responses import JSONResponse
from starlette.types import Scope

from api.problems import Problem

log = logging.getLogger("api.refusals")


def answer(scope: Scope, problem: Problem, cause: BaseException | None = None) -> JSONResponse:
    """The envelope, and a log line with the same `target`. A cause's traceback is in the log only.

    The line names no header, no query and no body: they may hold secrets.
    """
    client = scope.get("client")
    scope.setdefault("state", {})["target"] = problem.target
    log.log(
        logging.ERROR if problem.status >= 500 else logging.INFO,
        "%s %a refused: %d %s: %a; from %s; target %s",
        scope.get("method", "?"),
        scope.get("path", ""),
        problem.status,
        problem.code,
        problem.message,
        client[0] if client else "-",
        problem.target,
        exc_info=cause,
    )
    return JSONResponse(problem.envelope(), problem.status, problem.headers)
