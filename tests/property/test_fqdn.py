"""Names of every kind: the normal form is a fixed point, nothing but ParseError comes out, globs agree."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from allowlists import fqdn
from allowlists.model import Match, ParseError

LABELS = st.text("abz019_-", min_size=1, max_size=4)
NAMES = st.lists(st.one_of(LABELS, st.sampled_from(["xn--bcher-kva", "com"])), min_size=1, max_size=5).map(
    ".".join
)
GLOB_LABELS = st.text("ab*", min_size=1, max_size=4)
GLOBS = st.lists(GLOB_LABELS, min_size=1, max_size=4).map(".".join)


@given(st.one_of(st.text(max_size=300), NAMES, NAMES.map(str.upper), NAMES.map(lambda name: name + ".")))
@example("\u212a.example")  # KELVIN SIGN, which lowers to k
@example("İ.example")
@example("faß.de")
@example("a\u00ad.example")  # a soft hyphen maps to nothing
def test_the_normal_form_is_a_fixed_point(text: str) -> None:
    try:
        normal = fqdn.normalise(text)
    except ParseError:
        normal = ""
    if not normal:
        assert not fqdn.is_normal(text)
        return
    assert fqdn.normalise(normal) == normal
    assert fqdn.is_normal(normal)
    assert normal.isascii()
    assert normal == normal.lower()
    assert 0 < len(normal) <= 253
    assert all(0 < len(label) <= 63 for label in normal.split("."))


@given(NAMES)
def test_case_and_the_last_dot_make_no_difference(name: str) -> None:
    try:
        normal = fqdn.normalise(name)
    except ParseError:
        return
    assert fqdn.normalise(name.upper()) == normal
    assert fqdn.normalise(name + ".") == normal


@given(st.one_of(st.text(max_size=80), GLOBS, NAMES))
def test_patterns_raise_nothing_but_parse_error_and_keep_their_form(text: str) -> None:
    try:
        host, match = fqdn.parse_host(text)
    except ParseError:
        return
    assert fqdn.parse_host(host) == (host, match)
    assert ("*" in host) is (match is not Match.EXACT)


def as_expression(pattern: str) -> re.Pattern[str]:
    """Say in another way what a glob means: a whole-label star is labels, another star stays in its label."""
    labels = []
    for label in pattern.split("."):
        inner = re.escape(label).replace(r"\*", "[^.]*")
        labels.append(r"[^.]+(?:\.[^.]+)*" if label == "*" else inner)
    return re.compile(r"\.".join(labels))


@given(GLOBS, st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=6).map(".".join))
def test_globs_agree_with_a_regular_expression(pattern: str, name: str) -> None:
    assert fqdn.glob_matches(pattern, name) is (as_expression(pattern).fullmatch(name) is not None)
