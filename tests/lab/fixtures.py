"""pytest fixtures: a lab for one test, or one for all tests of a module. Imported by tests/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A fresh lab with servers and resolver; for tests that change it."""
    with Lab() as made:
        yield made


@pytest.fixture
def container_lab() -> Iterator[Lab]:
    """A fresh lab with a container routed behind the device."""
    with Lab(container=True) as made:
        yield made


@pytest.fixture(scope="module")
def module_lab() -> Iterator[Lab]:
    """One lab for the whole module; for tests that leave it as they found it."""
    with Lab() as made:
        yield made
