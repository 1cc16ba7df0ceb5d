"""Waking polls in one process."""

from __future__ import annotations

from collections.abc import Sequence

from api.store.wake import LocalWake


def test_machines_are_told_and_nobody_is_not() -> None:
    wake = LocalWake()
    heard: list[Sequence[str]] = []
    wake.listen(heard.append)
    wake.machines([])
    wake.machines(iter(("a", "b")))
    wake.unlisten(heard.append)
    wake.machines(["c"])
    assert heard == [["a", "b"]]
