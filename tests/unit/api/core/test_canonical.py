"""One way to write a document as bytes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.core.canonical import canonical_bytes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(
        st.characters(exclude_categories=["Cs"])
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def test_examples() -> None:
    assert canonical_bytes({"b": 1, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'.encode()
    assert canonical_bytes({}) == b"{}"


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=5))
def test_order_of_keys_does_not_matter_and_nothing_is_lost(document: dict[str, Any]) -> None:
    written = canonical_bytes(document)
    assert canonical_bytes(dict(reversed(document.items()))) == written
    assert json.loads(written) == document
    assert canonical_bytes(json.loads(written)) == written


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "\ud800"])
def test_what_has_no_one_spelling_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        canonical_bytes({"a": value})


@pytest.mark.parametrize("value", [b"x", {1, 2}, datetime(2026, 1, 1, tzinfo=UTC), object()])
def test_odd_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_bytes({"a": value})
