"""How the program names itself: with its version, and to proxies and controllers alike."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Iterator

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


def test_a_copy_that_is_not_installed_still_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", unknown)
    assert user_agent() == "host-isolator-check/0"


def test_a_proxy_is_told_it_too() -> None:
    """Its log is where a network team looks for the one that asked."""
    stream = Prepared([])
    asyncio.run(ConnectDialogue(stream, "api.example:443").send(None))
    assert f"User-Agent: {user_agent()}\r\n".encode() in stream.sent
