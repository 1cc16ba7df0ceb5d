"""The caps on made-up names and on what they carry."""

from __future__ import annotations

from isolator.core.new_names import MAX_NEW_BYTES, MAX_NEW_NAMES, WINDOW_S, NewNames
from isolator.model.verdict import Reason


def test_a_window() -> None:
    names = NewNames(cap=2)
    assert names.refusal("e", "a", 100.0) is None
    assert names.refusal("e", "b", 100.0) is None
    assert names.refusal("e", "c", 101.0) is Reason.DNS_TOO_MANY_NAMES
    assert names.refusal("e", "a", 101.0) is None, "one that was counted may be asked for again"
    assert names.refusal("other", "c", 101.0) is None, "each wildcard has a cap of its own"
    assert names.refusal("e", "c", 100.0 + WINDOW_S - 0.001) is Reason.DNS_TOO_MANY_NAMES
    assert names.refusal("e", "c", 100.0 + WINDOW_S) is None


def test_bytes_in_names() -> None:
    names = NewNames(room=10)
    assert names.refusal("e", "a" * 6, 100.0) is None
    assert names.refusal("e", "b" * 5, 100.0) is Reason.DNS_LABEL_PAYLOAD
    assert names.refusal("e", "b" * 4, 100.0) is None, "a refused name takes no room"
    assert names.refusal("e", "a" * 6, 100.0) is None
    assert names.refusal("f", "b" * 10, 100.0) is None
    assert names.refusal("e", "c", 100.0 + WINDOW_S) is None


def test_a_tunnel_gets_the_stated_rate_and_a_service_its_names() -> None:
    """Ten minutes of names of 250 characters, and of names as the published lists have them."""
    tunnel, service = NewNames(), NewNames()
    through = sum(250 for each in range(6_000) if tunnel.refusal("e", f"{each:0250}", each / 10) is None)
    assert through <= 10 * MAX_NEW_BYTES
    names = [f"automatedirstrprdeus{each:03}.blob.core.windows.net" for each in range(MAX_NEW_NAMES)]
    assert all(service.refusal("e", name, 1.0) is None for name in names)
