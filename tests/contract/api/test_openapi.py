"""Calls made up from the OpenAPI document: no answer is a 5xx, and none is of another shape than documented."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.core.roles import Role
from api.store.database import Database
from tests.contract.api.controller import Controller, controller

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
EXAMPLES = int(os.environ.get("API_EXAMPLES", "8"))
"""Per operation and mode; more of them for a long look."""

BUDGET_S = 120.0


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path, {"calls_per_minute": 10**6, "calls_per_hour": 10**6}) as made:
        yield made


# The tool's own strategies use `random`, which Hypothesis would rather not see.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
def test_made_up_calls(world: Controller) -> None:
    headers = world.headers(Role.ADMINISTRATOR)
    machine = world.machine("pc-1")
    document = schemathesis.openapi.from_asgi("/openapi.json", world.app)
    end = time.monotonic() + BUDGET_S
    made = 0
    broken: list[str] = []

    def call(case: Any) -> None:
        nonlocal made
        made += 1
        given_id = (case.path_parameters or {}).get("machine_id")
        if given_id is not None and len(str(given_id)) % 2:
            case.path_parameters["machine_id"] = machine.id  # a made-up id is never one that exists
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS)

    operations = [each.ok() for each in document.get_all_operations()]
    assert len(operations) > 35
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        for operation in operations:
            if time.monotonic() > end:  # a slow machine looks at less; every operation is called first
                break
            strategy = operation.as_strategy(generation_mode=mode)
            run = settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(given(strategy)(call))
            try:
                run()
            except FailureGroup as failures:
                broken.extend(f"{operation.label}: {each}" for each in failures.exceptions)
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # nothing can be wrong about a call without arguments
    assert not broken, "\n\n".join(broken)
    assert made > len(operations) * 2
