"""The README's pictures: made by `UPDATE_SCREENSHOTS=1 pytest tests/e2e/portal/test_screenshots.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.portal.conftest import MakeVisitor
from tests.e2e.portal.scene import Scene
from tests.e2e.portal.tour import every_page

PICTURES = [
    ("machines", "machines", "light", "en-GB"),
    ("machines-dark-ja", "machines", "dark", "ja-JP"),
    ("machine", "machine", "light", "en-GB"),
    ("isolate", "isolate", "light", "en-GB"),
    ("action", "action", "dark", "en-GB"),
    ("audit", "audit", "light", "en-GB"),
]


@pytest.mark.skipif("UPDATE_SCREENSHOTS" not in os.environ, reason="UPDATE_SCREENSHOTS is not set")
@pytest.mark.parametrize(("name", "path", "theme", "locale"), PICTURES)
def test_picture(
    name: str, path: str, theme: str, locale: str, scene: Scene, visitors: MakeVisitor, images: Path
) -> None:
    visitor = visitors(
        "administrator", color_scheme=theme, locale=locale, viewport={"width": 1280, "height": 800}
    )
    visitor.go(every_page(scene)[path])
    images.mkdir(exist_ok=True)
    visitor.page.screenshot(path=images / f"portal-{name}.png")
