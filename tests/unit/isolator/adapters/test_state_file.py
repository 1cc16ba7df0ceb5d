"""The journal's file: durable, private, and never half."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from isolator.adapters import state_file
from isolator.adapters.state_file import StateFile
from isolator.model.failure import FailureCode, IsolatorError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.json"


def test_only_the_owner_may_read_it_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        StateFile(path).save({"a": 1})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_save_leaves_nothing_beside_the_file(path: Path) -> None:
    for number in range(3):
        StateFile(path).save({"n": number})
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_the_left_over_of_a_crash_is_no_obstacle(path: Path) -> None:
    store = StateFile(path)
    store.save({"n": 1})
    path.with_name(f".{path.name}.new").write_text('{"n": ')
    assert store.load() == {"n": 1}
    store.save({"n": 2})
    assert store.load() == {"n": 2}


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_when_the_disk_refuses_the_former_version_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = StateFile(path)
    store.save({"n": 1})

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    target = {"write": (state_file, "_write_durably"), "fsync": (os, "fsync"), "replace": (os, "replace")}
    with monkeypatch.context() as patched:
        patched.setattr(*target[step], refuse)
        with pytest.raises(IsolatorError) as failure:
            store.save({"n": 2})
    assert failure.value.code is FailureCode.STATE_UNWRITABLE
    assert str(path) in failure.value.sentence
    assert store.load() == {"n": 1}
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_the_data_is_on_the_disk_before_the_name_and_the_name_before_the_return(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_sync(descriptor: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def record_replace(old: Path, new: Path) -> None:
        steps.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    StateFile(path).save({"n": 1})
    assert steps == ["file", "rename", "directory"]
    StateFile(path).clear()
    assert steps[3:] == ["directory"]


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    other = tmp_path / "other.json"
    other.write_text("{}")
    path.symlink_to(other)
    with pytest.raises(IsolatorError) as failure:
        StateFile(path).load()
    assert failure.value.code is FailureCode.STATE_UNREADABLE
    StateFile(path).save({"n": 1})
    assert other.read_text() == "{}"
    assert not path.is_symlink()


def test_what_is_no_file_is_told_without_waiting(path: Path) -> None:
    path.parent.mkdir()
    for make, undo in ((path.mkdir, path.rmdir), (lambda: os.mkfifo(path), path.unlink)):
        make()
        with pytest.raises(IsolatorError) as failure:
            StateFile(path).load()
        assert failure.value.code is FailureCode.STATE_UNREADABLE
        undo()


def test_too_large_is_neither_read_nor_written(path: Path) -> None:
    StateFile(path).save({"text": "x" * 200})
    small = StateFile(path, largest=100)
    with pytest.raises(IsolatorError) as failure:
        small.load()
    assert failure.value.code is FailureCode.STATE_UNREADABLE
    with pytest.raises(IsolatorError) as failure:
        small.save({"text": "x" * 100})
    assert failure.value.code is FailureCode.STATE_UNWRITABLE
    assert StateFile(path).load() == {"text": "x" * 200}


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = StateFile(tmp_path / "file" / "journal.json")
    with pytest.raises(IsolatorError) as failure:
        store.save({})
    assert failure.value.code is FailureCode.STATE_UNWRITABLE
    with pytest.raises(IsolatorError) as failure:
        store.clear()
    assert failure.value.code is FailureCode.STATE_UNWRITABLE
