"""The chain of hashes: whole, or broken at a row that is named."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.core.audit_chain import GENESIS, ChainVerdict, Link, link_hash, verify_chain


def chain(length: int) -> list[Link]:
    found: list[Link] = []
    previous = GENESIS
    for seq in range(1, length + 1):
        content = {"action": "machine.isolate", "target": str(seq)}
        found.append(Link(seq, content, previous, link_hash(seq, previous, content)))
        previous = found[-1].hash
    return found


def test_the_hash_is_what_the_documentation_says() -> None:
    import hashlib

    expected = hashlib.sha256(("0" * 64 + '\n1\n{"a":1}').encode()).hexdigest()
    assert link_hash(1, GENESIS, {"a": 1}) == expected


@pytest.mark.parametrize("length", [0, 1, 5])
def test_whole(length: int) -> None:
    links = chain(length)
    head = links[-1].hash if links else GENESIS
    for known in (None, (length, head)):
        verdict = verify_chain(links, head=known)
        assert verdict.whole
        assert verdict == ChainVerdict(length, head)


def changed(links: list[Link], index: int, **values: Any) -> list[Link]:
    found = list(links)
    found[index] = dataclasses.replace(links[index], **values)
    return found


@pytest.mark.parametrize(
    ("links", "seq", "reason"),
    [
        (chain(5)[1:], 1, "row 1 is missing"),
        (chain(5)[:2] + chain(5)[3:], 3, "row 3 is missing"),
        (list(reversed(chain(3))), 1, "row 1 is missing"),
        (chain(3) + chain(3)[-1:], 4, "row 4 is missing"),
        (changed(chain(5), 2, content={"action": "other"}), 3, "its content is not what was hashed"),
        (changed(chain(5), 2, hash="0" * 64), 3, "its content is not what was hashed"),
        (changed(chain(5), 2, previous=GENESIS), 3, "does not point to the row before it"),
        (changed(chain(5), 0, previous="f" * 64), 1, "does not point to the row before it"),
        (changed(chain(5), 2, seq=9), 3, "row 3 is missing"),
    ],
)
def test_broken(links: list[Link], seq: int, reason: str) -> None:
    verdict = verify_chain(links)
    assert not verdict.whole
    assert (verdict.broken_seq, verdict.reason) == (seq, reason)
    assert verdict.rows == seq - 1


@pytest.mark.parametrize(
    ("length", "head", "seq"),
    [
        (0, (1, "f" * 64), 1),
        (3, (5, "f" * 64), 4),
        (3, (2, chain(2)[-1].hash), 3),
        (3, (3, "f" * 64), 3),
        (3, (0, GENESIS), 1),
    ],
)
def test_the_head_says_otherwise(length: int, head: tuple[int, str], seq: int) -> None:
    verdict = verify_chain(chain(length), head=head)
    assert verdict.broken_seq == seq
    assert str(head[0]) in verdict.reason


@given(st.integers(1, 12), st.data())
def test_any_one_change_is_found_at_its_row(length: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, length - 1))
    content = data.draw(st.dictionaries(st.text("ab"), st.integers(), max_size=2))
    assert verify_chain(changed(chain(length), index, content=content)).broken_seq == index + 1


@given(st.integers(2, 12), st.data())
def test_a_missing_row_is_found(length: int, data: st.DataObject) -> None:
    links = chain(length)
    index = data.draw(st.integers(0, length - 1))
    without = links[:index] + links[index + 1 :]
    assert verify_chain(without, head=(length, links[-1].hash)).broken_seq == index + 1
