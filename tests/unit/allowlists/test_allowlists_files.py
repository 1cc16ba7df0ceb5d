from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from allowlists import files
from allowlists.model import ListError

LEAST = "header: {list_id: mine}\nentries: [{pattern: a.example}]\n"


def test_shipped_lists_and_editions() -> None:
    assert files.load("standard").count == 98
    assert files.load("streamlined").count == 27
    assert files.load("streamlined@2025-04").version == "2025-04"
    assert files.load("standard") is files.load("standard")


def test_everything_available_can_be_loaded() -> None:
    names = files.available()
    assert {"standard", "streamlined", "collaboration", "standard@2026-03", "streamlined@2026-09"} <= set(
        names
    )
    for name in names:
        assert files.load(name).count > 0


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())
    each = files.load(str(path))
    assert (each.list_id, each.file, each.entries[0].line) == ("mine", str(path), 2)


def test_a_shipped_name_wins_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("standard").write_text(LEAST)
    assert files.load("standard").count == 98
    assert files.load("./standard").count == 1


def test_an_at_sign_in_a_path_is_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a@b.yaml"
    path.write_text(LEAST)
    assert files.load(str(path)).count == 1


def refusal(name: str) -> ListError:
    with pytest.raises(ListError) as caught:
        files.load(name)
    return caught.value


def test_what_is_not_there(tmp_path: Path) -> None:
    error = refusal(str(tmp_path / "none.yaml"))
    assert error.reason == "the list cannot be read: No such file or directory"
    assert "shipped lists are collaboration, standard, streamlined" in refusal("standrad").reason
    assert "cannot be read" in refusal("").reason
    assert "no edition" in refusal("standard@2031-01").reason
    assert "is no edition" in refusal("standard@").reason
    assert "NUL" in refusal("a\0b").reason


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    assert "Is a directory" in refusal(str(tmp_path)).reason


@pytest.mark.skipif(sys.platform == "win32", reason="no_fifo: Windows has no named pipes in the file system")
def test_pipes_and_devices_do_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refusal(str(pipe)).reason == "this is no regular file"
    assert refusal("/dev/zero").reason == "this is no regular file"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(LEAST.encode() + b"# caf\xe9\n")
    error = refusal(str(path))
    assert (error.line, error.reason) == (3, "the file is not UTF-8 text")
    path.write_bytes(LEAST.encode("utf-16"))
    assert refusal(str(path)).line == 1


def test_a_file_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_CHARACTERS", 20)
    path = tmp_path / "mine.yaml"
    path.write_text(LEAST)
    assert "longer than 20 bytes" in refusal(str(path)).reason


def test_faults_in_a_file_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(LEAST + "networks: [x]\n")
    assert str(refusal(str(path))) == f"{path}:3: a network must be a mapping of keys to values"
