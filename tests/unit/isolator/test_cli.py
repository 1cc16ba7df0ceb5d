"""The command's own part in releasing by file, and what `status` says of the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isolator import cli, wiring
from isolator.model.failure import FailureCode, IsolatorError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    requests: list[Any] = []

    def ask(_: object, request: Any, timeout_s: float = 60.0) -> dict[str, Any]:
        requests.append(request)
        return {"changed": True, "took_ms": {}}

    monkeypatch.setattr(wiring, "ask_or_start_agent", ask)
    return requests


def test_a_release_file_is_handed_to_the_agent_as_it_is(tmp_path: Path, asked: list[Any]) -> None:
    path = tmp_path / "release.json"
    path.write_text('{"payload": "p", "key_id": "k", "signature": "s"}\n')
    assert cli.main(["release", "--file", str(path)]) == 0
    document = {"payload": "p", "key_id": "k", "signature": "s"}
    assert asked == [{"do": "forced_release", "document": document}]


def test_without_a_file_it_is_a_plain_release(asked: list[Any]) -> None:
    assert cli.main(["release", "--comment", "over"]) == 0
    assert asked == [{"do": "release", "comment": "over"}]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 30_000, b" " * 40_000])
def test_what_is_no_release_file_is_bad_input(
    tmp_path: Path, asked: list[Any], content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "release.json"
    path.write_bytes(content)
    assert cli.main(["release", "--file", str(path)]) == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert said.count("\n") == 1
    assert asked == []


def test_a_release_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsolatorError) as caught:
        cli.read_release(tmp_path / "missing")
    assert caught.value.code is FailureCode.BAD_ORDER


@pytest.mark.parametrize(
    ("controller", "said"),
    [
        (None, "connected: this host is not isolated"),
        ({"enrolled": False, "url": "https://c"}, "managed   by https://c, not enrolled yet"),
        (
            {"enrolled": True, "url": "https://c", "holds": True, "last_contact_at": None},
            "which holds this host isolated; last answer not since this agent started",
        ),
        (
            {"enrolled": True, "url": None, "holds": False, "last_contact_at": "2026-01-01T00:00:00Z"},
            "by a controller without a line; last answer 2026-01-01T00:00:00Z",
        ),
    ],
)
def test_status_says_who_rules(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], controller: object, said: str
) -> None:
    answer = {"state": "connected", "controller": controller}
    monkeypatch.setattr(wiring, "ask_agent", lambda *_: answer)
    assert cli.main(["status"]) == 0
    assert capsys.readouterr().out.rstrip().endswith(said)


def test_status_says_what_somebody_should_look_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alert = {
        "reason": "dns_label_payload", "entry": "own#2", "pattern": "*.svc.example", "count": 12,
        "first_at": "2026-01-01T00:00:00Z", "last_at": "2026-01-01T00:01:00Z",
    }  # fmt: skip
    answer = {
        "state": "isolated", "isolation_type": "full", "since": "2026-01-01T00:00:00Z", "expires_at": None,
        "comment": None, "lists": [], "learned": [], "alerts": [alert],
        "enforcement": {"verified": True, "repairs": 0}, "control_channel": {"ok": True},
        "counters": {"accepted": {}, "dropped": {"dns_label_payload": 12}},
    }  # fmt: skip
    monkeypatch.setattr(wiring, "ask_agent", lambda *_: answer)
    assert cli.main(["status"]) == 0
    said = capsys.readouterr().out
    line = "dns_label_payload under *.svc.example: 12 queries refused since 2026-01-01T00:00:00Z"
    assert f"  ALERT     {line}\n" in said
    answer["alerts"] = []
    assert cli.main(["status"]) == 0
    assert "ALERT" not in capsys.readouterr().out
