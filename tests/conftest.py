"""What every test shares: the lab's fixtures, and the skip of what this host cannot do, with its code."""

from __future__ import annotations

import sys

import pytest
from hypothesis import settings

# No deadline for an example: these machines are noisy, and the bounds that matter are counted, not timed.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

if sys.platform == "linux":
    from tests.lab.fixtures import container_lab, lab, module_lab

    __all__ = ["container_lab", "lab", "module_lab"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need network namespaces where none can be made; the reason is the probe's code."""
    needing = [item for item in items if item.get_closest_marker("netns") or item.get_closest_marker("e2e")]
    if not needing:
        return
    from tests.lab import ground

    found = ground.probe()
    if found.code is None:
        return
    skip = pytest.mark.skip(reason=f"{found.code}: {found.detail}")
    for item in needing:
        item.add_marker(skip)
