"""The codes: each has a layer, a severity and a hint, and says its layer in its name."""

from __future__ import annotations

import re

import pytest

from connectivity_check.core.hints import hint
from connectivity_check.failure import Failure, Layer, Seen, Severity
from connectivity_check.model import Blocker, Target


@pytest.mark.parametrize("code", Failure)
def test_every_code_is_complete(code: Failure) -> None:
    layer, _, name = code.value.partition(".")
    assert code.layer is Layer(layer)
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name)
    assert code.name == f"{layer}_{name}".upper()
    assert code.severity in Severity
    said = hint(code, Target(1, "*.vendor.example/path", "api.vendor.example"), Blocker())
    assert said.endswith((".", "known host to try."))
    assert "{" not in said


@pytest.mark.parametrize(
    ("code", "severity"),
    [
        (Failure.TCP_DROPPED, Severity.BLOCKING),
        (Failure.TLS_INTERCEPT_TRUSTED, Severity.BLOCKING),
        (Failure.HTTP_STATUS, Severity.WARNING),
        (Failure.HTTP_VERSION, Severity.INFO),
        (Failure.META_UNEXPLAINED, Severity.UNKNOWN),
    ],
)
def test_how_bad_it_is(code: Failure, severity: Severity) -> None:
    assert code.severity is severity


def test_every_layer_has_a_code() -> None:
    assert {code.layer for code in Failure} == set(Layer)


def test_what_was_seen_is_no_cause() -> None:
    assert not {seen.value for seen in Seen} & {code.value for code in Failure}
