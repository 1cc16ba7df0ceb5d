"""A report reaches its file whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from connectivity_check.model import InputError
from connectivity_check.render import output
from connectivity_check.render.output import check_writable, write_report

DATA = b"report\n" * 1000


def test_written(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_report(str(path), DATA)
    assert path.read_bytes() == DATA
    assert os.listdir(tmp_path) == ["r.json"]


def test_overwritten_with_the_rights_it_had(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(b"old, and longer than the new one")
    path.chmod(0o640)
    write_report(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_report(str(tmp_path / "r"), DATA)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "r.json"
    link = tmp_path / "link.json"
    link.symlink_to(target)
    write_report(str(link), DATA)
    assert link.is_symlink()
    assert target.read_bytes() == DATA
    assert os.listdir(tmp_path / "real") == ["r.json"]


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    write_report("/dev/null", DATA)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_report("-", DATA)
    assert capfdbinary.readouterr().out == DATA
    assert not Path("-").exists()


@pytest.mark.parametrize(
    "check", [lambda path: write_report(path, DATA), check_writable], ids=["write", "check"]
)
@pytest.mark.parametrize(
    "name",
    ["", "folder", "folder/", "missing/r.json", "file/r.json", "nul\0", "x" * 300, "dangling/x/y", "loop"],
)
def test_refused_in_one_sentence(name: str, check: object, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(InputError) as refused:
        check(str(tmp_path / name) if name else "")  # type: ignore[operator]
    assert "\n" not in refused.value.reason
    assert "cannot be written" in refused.value.reason
    assert sorted(os.listdir(tmp_path)) == before
    assert os.listdir(tmp_path / "folder") == []


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere: this is what the system says to others.
    monkeypatch.setattr(output.os, "access", lambda _, mode: mode != os.W_OK)
    path = tmp_path / "r.json"
    path.write_bytes(b"keep")
    path.chmod(0o444)
    with pytest.raises(InputError, match="read-only"):
        write_report(str(path), DATA)
    assert path.read_bytes() == b"keep"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(b"old")

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(output.os, "fsync", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        write_report(str(path), DATA)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["r.json"]


def test_a_closed_pipe_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        class buffer:
            @staticmethod
            def write(_: bytes) -> None:
                raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed)
    with pytest.raises(BrokenPipeError):
        write_report("-", DATA)


def test_checking_leaves_the_old_report_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(b"old")
    check_writable(str(path))
    check_writable("-")
    check_writable("/dev/null")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["r.json"]


def test_a_name_that_is_taken_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / ".report-00.part"
    taken.write_bytes(b"another run's")
    names = iter(("00", "01"))
    monkeypatch.setattr(output.secrets, "token_hex", lambda _: next(names))
    write_report(str(tmp_path / "r"), DATA)
    assert taken.read_bytes() == b"another run's"
    assert (tmp_path / "r").read_bytes() == DATA


def test_names_that_are_all_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".report-00.part").write_bytes(b"another run's")
    monkeypatch.setattr(output.secrets, "token_hex", lambda _: "00")
    with pytest.raises(InputError, match="exists"):
        write_report(str(tmp_path / "r"), DATA)
    assert os.listdir(tmp_path) == [".report-00.part"]
