"""StateStore: the fake and the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from isolator.adapters.state_file import StateFile
from isolator.model.failure import FailureCode, IsolatorError
from isolator.ports import StateStore
from tests.fakes.state_store import FakeStateStore


@dataclass
class Bench:
    store: StateStore
    damage: Callable[[str], None]


@pytest.fixture(params=["fake", "file"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "fake":
        fake = FakeStateStore()
        return Bench(fake, lambda text: setattr(fake, "text", text))
    path = tmp_path / "made" / "journal.json"
    return Bench(StateFile(path), lambda text: (path.parent.mkdir(exist_ok=True), path.write_text(text))[0])


def test_nothing_saved_is_none(bench: Bench) -> None:
    assert bench.store.load() is None
    bench.store.clear()
    assert bench.store.load() is None


def test_the_last_version_is_loaded(bench: Bench) -> None:
    bench.store.save({"state": "isolating", "n": 1})
    bench.store.save({"state": "isolated", "names": ["例え", None, 1.5], "deep": {"x": True}})
    assert bench.store.load() == {"state": "isolated", "names": ["例え", None, 1.5], "deep": {"x": True}}
    bench.store.clear()
    assert bench.store.load() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1}{', "\x00", "[" * 100_000])
def test_damage_is_told_and_not_taken_for_nothing(bench: Bench, text: str) -> None:
    bench.damage(text)
    with pytest.raises(IsolatorError) as failure:
        bench.store.load()
    assert failure.value.code is FailureCode.STATE_UNREADABLE


def test_what_is_no_json_is_not_saved(bench: Bench) -> None:
    bench.store.save({"good": 1})
    with pytest.raises(ValueError):
        bench.store.save({"bad": float("nan")})
    assert bench.store.load() == {"good": 1}
