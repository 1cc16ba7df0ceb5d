from __future__ import annotations

import pytest

from allowlists import document
from allowlists.document import Mapping, Scalar, Sequence
from allowlists.model import ListError


def test_tree_keeps_lines_spelling_and_nulls() -> None:
    node = document.read("a: 010\nb:\n- 'x'\n- ~\nc: ''\n", "f.yaml")
    assert node == Mapping(
        {
            "a": Scalar("010", True, 1),
            "b": Sequence([Scalar("x", False, 3), Scalar(None, True, 4)], 3),
            "c": Scalar("", False, 5),
        },
        1,
    )


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "the file is empty"),
        ("# only a remark\n", 1, "the file is empty"),
        ("a: 1\n---\nb: 2\n", 2, "second YAML document"),
        ("a: &x 1\nb: *x\n", 2, "the alias 'x'"),
        ("a: &x [*x]\n", 1, "the alias 'x'"),
        ("a: *nobody\n", 1, "the alias 'nobody'"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "the tag"),
        ("a: !x 1\n", 1, "the tag"),
        ("!!str a: 1\n", 1, "plain text"),
        ("? [a]\n: 1\n", 1, "plain text"),
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' appears twice"),
        ("a: [1\nb: 2\n", 2, "not YAML"),
        ("a: 1\n\tb: 2\n", 2, "not YAML"),
        ('a: 1\nb: "\0"\n', 2, "a character that YAML does not allow"),
        ("a: 1\nb: \x07\n", 2, "a character that YAML does not allow"),
        ("a: 1\nb: \ud800\n", 2, "half a character"),
        ("[" * 100_000, 1, "nested more than 32 deep"),
        ("- " * 100_000, 1, "nested more than 32 deep"),
        ("".join(" " * i + "a:\n" for i in range(2000)), 33, "nested more than 32 deep"),
        ("{a: " * 100_000, 1, "nested more than 32 deep"),
    ],
)
def test_what_is_refused(text: str, line: int, reason: str) -> None:
    with pytest.raises(ListError, match=reason) as caught:
        document.read(text, "f.yaml")
    assert (caught.value.file, caught.value.line) == ("f.yaml", line)


def test_aliases_are_refused_before_they_multiply() -> None:
    rows = "\n".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" for i in range(1, 30))
    with pytest.raises(ListError, match="alias"):
        document.read("x0: &x0 [lol]\n" + rows, "f.yaml")


def test_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_CHARACTERS", 10)
    with pytest.raises(ListError, match="longer than 10"):
        document.read("a: 1234567890", "f.yaml")
    assert document.read("a: 1234567", "f.yaml") == Mapping({"a": Scalar("1234567", True, 1)}, 1)
