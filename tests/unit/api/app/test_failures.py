"""What each exception and each validation error is to the caller."""

from __future__ import annotations

import pytest
from sqlalchemy import exc

from api.app.failures import of_exception, of_validation
from api.problems import Problem


def wrapped(kind: type[exc.DBAPIError]) -> exc.DBAPIError:
    return kind("SELECT secret", {"password": "hunter2"}, Exception("hunter2"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (wrapped(exc.OperationalError), "ServiceUnavailable"),
        (wrapped(exc.InterfaceError), "ServiceUnavailable"),
        (wrapped(exc.InternalError), "ServiceUnavailable"),
        (wrapped(exc.DatabaseError), "ServiceUnavailable"),
        (exc.TimeoutError("hunter2"), "ServiceUnavailable"),
        (wrapped(exc.ProgrammingError), "InternalServerError"),
        (wrapped(exc.IntegrityError), "Conflict"),
        (wrapped(exc.DataError), "InvalidInput"),
        (OverflowError("hunter2"), "InvalidInput"),
        (UnicodeEncodeError("utf-8", "hunter2", 0, 1, "hunter2"), "InvalidInput"),
        (exc.StatementError("hunter2", None, None, ValueError("hunter2")), "InternalServerError"),
        (exc.NoResultFound("hunter2"), "InternalServerError"),
        (MemoryError(), "InternalServerError"),
        (RuntimeError("hunter2"), "InternalServerError"),
        (Problem("Forbidden", "no"), "Forbidden"),
    ],
)
def test_of_exception(error: Exception, code: str) -> None:
    problem = of_exception(error)
    assert problem.code == code
    assert "hunter2" not in problem.message
    assert ("Retry-After" in problem.headers) == (problem.status == 503)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"type": "json_invalid", "loc": ("body", 17), "msg": "JSON decode error"}, "InvalidRequestBody", "no JSON object"),
        ({"type": "missing", "loc": ("body",), "msg": "Field required"}, "InvalidRequestBody", "needs a JSON body"),
        ({"type": "model_attributes_type", "loc": ("body",), "msg": "m"}, "InvalidRequestBody", "no JSON object"),
        ({"type": "model_attributes_type", "loc": ("body", "spec"), "msg": "m"}, "InvalidInput", "spec: m"),
        ({"type": "missing", "loc": ("body", "Comment"), "msg": "Field required"}, "MissingRequiredParameter", "Comment is required"),
        ({"type": "missing", "loc": ("query", "ip"), "msg": "Field required"}, "MissingRequiredParameter", "ip is required"),
        ({"type": "value_error", "loc": ("body", "at"), "msg": "Value error, too late"}, "InvalidInput", "at: too late"),
        ({"type": "enum", "loc": ("body", "rows", 3, "kind"), "msg": "m"}, "InvalidInput", "rows.3.kind: m"),
        ({"type": "value_error", "loc": (), "msg": "m"}, "InvalidInput", "body: m"),
    ],
)  # fmt: skip
def test_of_validation(error: dict[str, object], code: str, message: str) -> None:
    problem = of_validation([error, {"type": "other", "loc": ("x",), "msg": "later"}])
    assert problem.code == code
    assert message in problem.message
