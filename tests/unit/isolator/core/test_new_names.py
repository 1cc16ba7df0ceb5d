"""The cap on made-up names."""

from __future__ import annotations

from isolator.core.new_names import WINDOW_S, NewNames


def test_a_window() -> None:
    names = NewNames(cap=2)
    assert names.admit("e", "a", 100.0)
    assert names.admit("e", "b", 100.0)
    assert not names.admit("e", "c", 101.0)
    assert names.admit("e", "a", 101.0), "one that was counted may be asked for again"
    assert names.admit("other", "c", 101.0), "each wildcard has a cap of its own"
    assert not names.admit("e", "c", 100.0 + WINDOW_S - 0.001)
    assert names.admit("e", "c", 100.0 + WINDOW_S)
