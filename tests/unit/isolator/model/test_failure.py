"""Failures and their exit codes."""

from __future__ import annotations

from isolator.model.failure import EXIT_CODES, FailureCode, IsolatorError


def test_every_failure_has_a_documented_exit_code() -> None:
    assert set(EXIT_CODES) == set(FailureCode)
    assert set(EXIT_CODES.values()) <= {1, 2, 3, 4}


def test_an_error_carries_code_operation_and_sentence() -> None:
    error = IsolatorError(FailureCode.NO_QUEUE, "open queue", "there is no queue")
    assert (str(error), error.exit_code) == ("there is no queue", 4)
    assert error.response() == {
        "ok": False,
        "error": {"code": "no_queue", "operation": "open queue", "sentence": "there is no queue"},
    }
