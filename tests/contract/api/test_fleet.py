"""A small fleet in earnest: real processes, sockets, restarts and kills. `python -m tests.fleet` does more."""

from __future__ import annotations

import pytest

from tests.contract.api import postgresql
from tests.fleet.__main__ import kill, measure

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(autouse=True)
def _possible(request: pytest.FixtureRequest) -> None:
    backend = request.node.callspec.params["backend"]
    missing = postgresql.probe() if backend == "postgresql" else None
    if isinstance(missing, postgresql.Missing):
        pytest.skip(f"{missing.code}: {missing.detail}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_hundred_agents_are_isolated_and_survive_a_restart(backend: str) -> None:
    found = measure(200, isolate=60, backend=backend)
    assert found.wrong == []
    assert found.disbelieved == []
    # What this costs is measured by the benchmark; here the machine may be busy with other tests.
    assert found.verified_s < 60
    assert found.back_s < 180
    assert found.memory_mib < 250


@pytest.mark.parametrize(("backend", "kills"), [("sqlite", 5), ("postgresql", 5)])
def test_no_acknowledged_order_is_lost_or_doubled_by_kills(backend: str, kills: int) -> None:
    result = kill(kills, backend=backend)
    assert result.wrong == []
    assert sum(result.kills.values()) == kills
    assert result.acknowledged > kills
