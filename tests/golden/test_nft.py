"""Policies and transactions as nft text, reviewed like code. `make golden` writes the files anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from isolator.render.nft import render_transaction
from tests.golden.transactions import TRANSACTIONS

DIRECTORY = Path(__file__).with_name("nft")


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_text(name: str) -> None:
    text = render_transaction(TRANSACTIONS[name], native_queue=True)
    path = DIRECTORY / f"{name}.nft"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text


def test_no_file_is_left_over() -> None:
    assert {path.name for path in DIRECTORY.iterdir()} == {f"{name}.nft" for name in TRANSACTIONS}
