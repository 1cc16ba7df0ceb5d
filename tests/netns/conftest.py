"""What the preflight's tests in the lab share: the command as the device runs it, and a router that cuts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.lab.ground import python_path

FORWARD = (
    "add table inet cut; add chain inet cut way {{ type filter hook forward priority 0; }}; "
    "add rule inet cut way {}"
)


@pytest.fixture
def command(module_lab: Lab, tmp_path: Path) -> list[str]:
    """The command, told whom the lab trusts and to expect nothing in particular."""
    expectations = tmp_path / "expectations.yaml"
    expectations.write_text("rules: []\n")
    ca = str(module_lab.ca_pem)
    return [
        "env", f"PYTHONPATH={python_path()}", "PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=error",
        sys.executable, "-m", "connectivity_check", "--direct", "--ca", ca, "--public-ca", ca,
        "--expectations", str(expectations), "--format", "json",
    ]  # fmt: skip


@pytest.fixture
def cut(module_lab: Lab) -> Iterator[Any]:
    """Gives a function that lets the router treat what it forwards by a rule."""

    def by(rule: str) -> None:
        module_lab.router.run(["nft", FORWARD.format(rule)], check=True)

    yield by
    module_lab.router.run(["nft", "delete table inet cut"], check=True)
