"""The example settings are settings, whether their lines are commented out or not."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
import yaml

from api.settings import build_settings

PACKAGING = Path(__file__).resolve().parents[3] / "packaging/systemd"


def example() -> str:
    return (PACKAGING / "controller.yaml").read_text()


def test_the_example_is_taken_as_it_is() -> None:
    settings = build_settings(yaml.safe_load(example()), "controller.yaml")
    assert settings.tls_cert is not None


def test_so_is_every_line_that_is_commented_out() -> None:
    lines = [re.sub(r"^#((  )?\w+:)", r"\1", each) for each in example().splitlines()]
    settings = build_settings(yaml.safe_load("\n".join(lines)), "controller.yaml")
    assert settings.workers == 4
    assert settings.single_sign_on is not None
    assert settings.single_sign_on.roles["soc"] == "operator"


@pytest.mark.parametrize(
    "key", ["NoNewPrivileges", "ProtectSystem", "MemoryDenyWriteExecute", "SystemCallFilter"]
)
def test_the_unit_is_hardened(key: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(PACKAGING / "isolator-api.service")
    assert key in unit["Service"]
    assert unit["Service"]["Type"] == "notify"
