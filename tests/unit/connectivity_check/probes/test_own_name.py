"""How the program names itself: with its version, and to proxies and controllers alike."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectivity_check.probes.http_connect import ConnectDialogue
from connectivity_check.probes.own_name import user_agent
from tests.unit.connectivity_check.probes.prepared import Prepared


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No test sees the name that another has made."""
    user_agent.cache_clear()
    yield
    user_agent.cache_clear()


def test_the_version_is_the_packages() -> None:
    assert user_agent() == f"host-isolator-check/{importlib.metadata.version('host-isolator')}"


def test_the_directory_of_the_metadata_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "host_isolator-9.8rc1.dist-info").mkdir()
    (tmp_path / "host_isolator-7 X.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "missing"), str(tmp_path)])
    monkeypatch.delattr(importlib.metadata, "version")
    assert user_agent() == "host-isolator-check/9.8rc1"


def test_a_copy_in_an_archive_is_found_by_importlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(importlib.metadata, "version", {"host-isolator": "9.9"}.__getitem__)
    assert user_agent() == "host-isolator-check/9.9"


def test_a_copy_that_is_not_installed_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert user_agent() == "host-isolator-check/0"


def test_a_proxy_is_told_it_too() -> None:
    """Its log is where a network team looks for the one that asked."""
    stream = Prepared([])
    asyncio.run(ConnectDialogue(stream, "api.example:443").send(None))
    assert f"User-Agent: {user_agent()}\r\n".encode() in stream.sent
