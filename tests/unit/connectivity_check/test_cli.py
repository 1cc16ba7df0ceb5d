"""The command from arguments to exit code, with the measuring and the rendering replaced."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from allowlists.model import ListError
from connectivity_check import cli, wiring
from connectivity_check.cli_options import Wish
from connectivity_check.core.document import report_document
from connectivity_check.failure import Failure
from connectivity_check.model import (
    Finding,
    InputError,
    MeasureError,
    Outcome,
    Recording,
    Report,
    Row,
    Target,
)


def report(*outcomes: Outcome, interrupted: bool = False) -> Report:
    targets = tuple(Target(n, f"h{n}.example", f"h{n}.example") for n, _ in enumerate(outcomes, 1))
    finding = Finding(Failure.TCP_DROPPED, None, ("silence",))
    rows = tuple(
        Row(target, outcome, finding=finding if outcome is Outcome.BLOCKED else None)
        for target, outcome in zip(targets, outcomes, strict=True)
    )
    recording = Recording(targets, tuple(() for _ in targets), started_at="2026-01-02T03:04:05Z", took_s=1.0)
    return Report(recording, rows, (), interrupted)


@dataclass
class Measured:
    """What the fake measuring gives, and what it was asked."""

    report: Report = field(default_factory=lambda: report(Outcome.REACHABLE))
    error: BaseException | None = None
    signals: tuple[int, ...] = ()
    wishes: list[Wish] = field(default_factory=list)

    async def measure(self, wish: Wish, stop: asyncio.Event) -> Report:
        self.wishes.append(wish)
        for number in self.signals:
            os.kill(os.getpid(), number)
            await asyncio.wait_for(stop.wait(), 5)
        if self.error:
            raise self.error
        return self.report


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    found = Measured()
    monkeypatch.setattr(wiring, "measure", found.measure)
    return found


Captured = pytest.CaptureFixture[str]


def refused(capsys: Captured, code: int, *words: str) -> str:
    """One sentence on standard error, nothing on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("isolator-check: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    return err


@pytest.mark.parametrize(("outcomes", "options", "code"), [
    ((Outcome.REACHABLE,), (), 0), ((Outcome.BLOCKED,), (), 1), ((Outcome.UNEXPLAINED,), (), 3),
    ((Outcome.DEGRADED,), (), 0), ((Outcome.DEGRADED,), ("--strict",), 1),
])  # fmt: skip
def test_exit_codes(
    measured: Measured, capsys: Captured, outcomes: tuple[Outcome, ...], options: tuple[str, ...], code: int
) -> None:
    measured.report = report(*outcomes)
    assert cli.main([*options, "--format", "json"]) == code
    out, err = capsys.readouterr()
    assert len(json.loads(out)["rows"]) == len(outcomes)
    assert err == ""


def test_a_file_gets_the_report_and_the_person_one_line(
    measured: Measured, capsys: Captured, tmp_path: Path
) -> None:
    measured.report = report(Outcome.REACHABLE, Outcome.BLOCKED)
    file = tmp_path / "report.json"
    assert cli.main(["-o", str(file)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("isolator-check: blocked: 1 of 2 required endpoints")
    assert len(json.loads(file.read_text())["rows"]) == 2


def test_the_gate_prints_one_line_and_keeps_a_report(
    measured: Measured, capsys: Captured, tmp_path: Path
) -> None:
    file = tmp_path / "report.json"
    assert cli.main(["--gate", "-o", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out == f"open: 1 of 1 required endpoints reachable (1.0 s); see {file}\n"
    assert err == ""
    assert json.loads(file.read_text())["schema"] == 1


def test_the_gate_needs_no_file(measured: Measured, capsys: Captured) -> None:
    measured.report = report(Outcome.BLOCKED)
    assert cli.main(["--gate"]) == 1
    assert capsys.readouterr().out == (
        "blocked: 1 of 1 required endpoints (1.0 s); first: h1.example:443 tcp.dropped\n"
    )


@pytest.mark.parametrize(("error", "code"), [
    (InputError("the PAC file is HTML"), 2), (ListError("bad row", file="my.yaml", line=3), 2),
    (MeasureError("no network"), 3), (KeyboardInterrupt(), 3),
])  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(
    measured: Measured, capsys: Captured, error: BaseException, code: int
) -> None:
    measured.error = error
    assert cli.main([]) == code
    refused(capsys, code, str(error) or "interrupted")


def test_a_crash_is_not_blocked(measured: Measured, capsys: Captured) -> None:
    measured.error = ZeroDivisionError("oh")
    assert cli.main([]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "ZeroDivisionError" in err
    assert "fault of the program" in err


def test_control_characters_of_a_message_do_not_reach_the_terminal(
    measured: Measured, capsys: Captured
) -> None:
    measured.error = InputError("bad name \x1b[2J\n second line\r")
    assert cli.main([]) == 2
    assert "\\x1b[2J\\n" in refused(capsys, 2)


def test_credentials_do_not_reach_the_terminal(capsys: Captured) -> None:
    assert cli.main(["--proxi", "http://user:hunter2@proxy.example"]) == 2
    assert "hunter2" not in refused(capsys, 2, "proxy.example")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_gives_a_partial_report(measured: Measured, capsys: Captured, number: int) -> None:
    measured.signals = (number,)
    measured.report = report(Outcome.BLOCKED, Outcome.REACHABLE, interrupted=True)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        assert cli.main(["--format", "json"]) == 3
        assert signal.getsignal(number) is signal.SIG_DFL, "the second one ends the process at once"
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    out, err = capsys.readouterr()
    assert len(json.loads(out)["rows"]) == 2
    assert "stopping" in err
    assert "PARTIAL" in err


def test_handlers_are_put_back(measured: Measured) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    cli.main(["--gate"])
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("bad", ["no/such/place/r.json", "."])
def test_an_output_that_cannot_be_is_refused_before_the_run(
    measured: Measured, capsys: Captured, tmp_path: Path, bad: str
) -> None:
    assert cli.main(["--format", "json", "-o", str(tmp_path / bad)]) == 2
    refused(capsys, 2, "the report cannot be written to")
    assert measured.wishes == []


def test_a_replay_measures_nothing(measured: Measured, capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps(report_document(report(Outcome.REACHABLE))))
    cli.main(["--replay", str(file), "--format", "json"])
    assert measured.wishes == []
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema": 2}', '{"schema": 1}', "\x00\xff", "[" * 100_000]
)
@pytest.mark.parametrize("option", ["--replay", "--baseline"])
def test_garbage_in_place_of_a_report(
    measured: Measured, capsys: Captured, tmp_path: Path, option: str, text: str
) -> None:
    file = tmp_path / "old.json"
    file.write_bytes(text.encode("latin-1"))
    assert cli.main([option, str(file)]) == 2
    refused(capsys, 2, "old.json")
    assert measured.wishes == []


def test_a_pipe_in_place_of_a_report_does_not_hang(capsys: Captured, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert cli.main(["--replay", str(tmp_path / "pipe")]) == 2
    refused(capsys, 2, "no regular file")


def test_a_baseline_says_what_changed(measured: Measured, capsys: Captured, tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps(report_document(report(Outcome.REACHABLE))))
    measured.report = report(Outcome.BLOCKED)
    assert cli.main(["--baseline", str(file), "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["changes"]


@pytest.mark.parametrize("options", [("--nagios",), ("--format", "nagios"), ("--format=nagios",)])
def test_monitoring_has_its_own_codes(measured: Measured, capsys: Captured, options: tuple[str, ...]) -> None:
    """0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; whatever goes wrong is UNKNOWN, on standard output."""
    for outcome, code, word in [
        (Outcome.REACHABLE, 0, "OK"), (Outcome.DEGRADED, 1, "WARNING"), (Outcome.BLOCKED, 2, "CRITICAL"),
        (Outcome.UNEXPLAINED, 3, "UNKNOWN"),
    ]:  # fmt: skip
        measured.report = report(outcome)
        assert cli.main(list(options)) == code
        out = capsys.readouterr().out
        assert word in out
        assert out.count("\n") == 1
    assert cli.main([*options, "--timeout", "x"]) == 3
    assert "UNKNOWN" in capsys.readouterr().out


def test_the_controller_that_does_not_answer_changes_nothing(
    measured: Measured, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connectivity_check import delivery

    sent: list[tuple[bytes, str, str]] = []

    def deliver(document: bytes, url: str, token: str, *, ca_file: str) -> str:
        sent.append((document, url, token))
        return "no answer in 15 s"

    monkeypatch.setattr(delivery, "deliver", deliver)
    monkeypatch.setenv("ISOLATOR_TOKEN", "t0ken")
    measured.report = report(Outcome.BLOCKED)
    assert cli.main(["--gate", "--report-to", "https://controller.example/reports"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("blocked: ")
    assert err.count("warning") == 1
    assert "t0ken" not in err
    assert [(json.loads(document)["schema"], url, token) for document, url, token in sent] == [
        (1, "https://controller.example/reports", "t0ken")
    ]


def test_the_controller_needs_a_token(
    measured: Measured, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ISOLATOR_TOKEN", raising=False)
    assert cli.main(["--report-to", "https://controller.example/"]) == 2
    refused(capsys, 2, "ISOLATOR_TOKEN")
    assert measured.wishes == []


class Broken(io.StringIO):
    """A standard output that fails."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, _: str) -> int:
        raise OSError(self.number, os.strerror(self.number))

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


def test_a_reader_that_went_away_is_no_failure(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Broken(errno.EPIPE))
        assert cli.main(["--gate"]) == 0


def test_a_full_disk_is_one(measured: Measured, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Broken(errno.ENOSPC))
        assert cli.main(["--gate"]) == 2
    refused(capsys, 2, "No space left")


def test_a_closed_standard_output_is_no_crash(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        assert cli.main(["--gate"]) == 0


def test_help_and_usage_errors_load_nothing_heavy() -> None:
    """`isolator-check --help` comes at once, on a slow machine too."""
    script = (
        "import sys; from connectivity_check.cli import main\n"
        "code = main(['--timeout', 'x'])\n"
        "heavy = {'rich', 'openpyxl', 'cryptography', 'dukpy', 'spnego', 'scapy', 'asyncio', 'ssl', 'yaml', 'dns'}\n"
        "print(code, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "2 []\n"
