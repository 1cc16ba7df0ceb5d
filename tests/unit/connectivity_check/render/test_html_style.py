"""The style sheet can be read: contrast by WCAG 2.2, criterion 1.4.3."""

from __future__ import annotations

import re

import pytest

from connectivity_check.model import Outcome
from connectivity_check.render.html_style import STYLE
from connectivity_check.render.overview import Verdict

PALETTES = dict(
    zip(
        ("light", "dark", "print"),
        (
            dict(re.findall(r"--([a-z_-]+): (#[0-9a-f]+);", part))
            for part in re.split(r"@media \((?=prefers)|@media print", STYLE)
        ),
        strict=True,
    )
)
OUTCOMES = ("open", "blocked", "degraded", "unexplained", "not_probeable")
PAIRS = [
    *((name, f"{name}-ground") for name in OUTCOMES),
    *(("text", ground) for ground in ("ground", "card")),
    *(("dim", ground) for ground in ("ground", "card")),
    ("accent", "card"),
]


def luminance(colour: str) -> float:
    """Relative luminance of #rgb or #rrggbb."""
    digits = colour[1:] if len(colour) == 7 else "".join(each * 2 for each in colour[1:])
    values = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_contrast(palette: str, text: str, ground: str) -> None:
    colours = PALETTES[palette]
    one, other = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
    assert (one + 0.05) / (other + 0.05) >= 4.5


@pytest.mark.parametrize("name", [*Outcome, *Verdict])
def test_every_verdict_has_a_colour(name: str) -> None:
    assert re.search(rf"\.{name}[ ,{{]", STYLE)


def test_the_style_sheet_is_whole() -> None:
    assert STYLE.count("{") == STYLE.count("}")
