from __future__ import annotations

import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from allowlists import cli

LEAST = "header: {list_id: mine}\nentries:\n- {pattern: a.example.com}\n"


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(LEAST)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = cli.main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_show_prints_every_row_and_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "show")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 100
    assert out.splitlines()[-1] == "98 rows of mde-standard-commercial 2024-12"
    code, out, _ = run(capsys, "show", "--list", "streamlined")
    assert out.splitlines()[-1] == (
        "27 rows of mde-streamlined-commercial 2024-12, 183 address prefixes (in --json)"
    )


@pytest.mark.parametrize(
    ("arguments", "rows", "networks"),
    [
        (("--list", "standard"), 98, 0),
        (("--list", "standard", "--geo", "US"), 63, 0),
        (("--list", "standard", "--geo", "us,eu"), 78, 0),
        (("--list", "standard", "--os", "linux", "--geo", "AU", "--profile", "isolation"), 15, 0),
        (("--list", "standard", "--required"), 73, 0),
        (("--list", "streamlined", "--profile", "isolation"), 5, 25),
        (("--list", "streamlined", "--profile", "isolation", "--geo", "UK"), 5, 17),
        (("--list", "streamlined@2026-09"), 28, 217),
        (("--list", "standard", "--list", "streamlined"), 125, 183),
    ],
)
def test_show_json(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], rows: int, networks: int
) -> None:
    code, out, _ = run(capsys, "show", *arguments, "--json")
    content = json.loads(out)
    assert (code, len(content["rows"]), len(content["networks"])) == (0, rows, networks)
    assert content["rows"][0].keys() >= {
        "n",
        "pattern",
        "port",
        "isolation",
        "isolation_reason",
        "known_hosts",
    }


def test_show_other_formats(capsys: pytest.CaptureFixture[str], mine: str) -> None:
    code, out, _ = run(capsys, "show", "--list", mine, "--format", "csv")
    assert code == 0
    assert out.splitlines()[0].startswith("id,list,n,pattern,host,")
    assert out.splitlines()[1].startswith("mine#1,mine,1,a.example.com,a.example.com,")
    code, out, _ = run(capsys, "show", "--list", mine, "--format", "yaml")
    assert code == 0
    assert "pattern: a.example.com" in out
    code, out, _ = run(capsys, "show", "--list", mine, "--list", "standard")
    assert code == 0
    assert "mine#1 " in out, "with several lists each row names its own"


def test_show_on_a_terminal_is_ruled(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code, out, _ = run(capsys, "show", "--list", "streamlined")
    assert code == 0
    assert "──" in out


@pytest.mark.parametrize(
    ("names", "code", "said"),
    [
        (["WDCP.microsoft.com."], 0, "wdcp.microsoft.com: yes\n  mde-standard-commercial#90  "),
        (["crl.microsoft.com:80"], 0, "crl.microsoft.com:80: yes"),
        (["crl.microsoft.com:443"], 1, "crl.microsoft.com:443: no (listed for port 80 only)\n"),
        (["go.microsoft.com:8080"], 1, "no (listed for port 80, 443 only)\n"),
        (
            ["microsoft.com"],
            1,
            "microsoft.com: no (not in mde-standard-commercial, mde-streamlined-commercial)\n",
        ),
        (["crl.microsoft.com", "evil.example"], 1, "evil.example: no"),
        (
            ["4.208.13.9:443"],
            0,
            "  MicrosoftDefenderForEndpoint  4.208.13.0/24  443/tcp  EU  open in isolation\n",
        ),
        (
            ["[2603:1000:4:2::780]"],
            0,
            "OneDsCollector  2603:1000:4:2::780/122  443/tcp  WW  shut in isolation\n",
        ),
        (["[2001:db8::1]:443"], 1, "[2001:db8::1]:443: no"),
        (["--profile", "isolation", "login.live.com"], 1, "login.live.com: no"),
        (["login.live.com"], 0, "shut in isolation"),
        (["--list", "collaboration", "52.112.0.1:3479"], 0, "52.112.0.0/14  3478,3479,3480,3481/udp"),
    ],
)
def test_match(capsys: pytest.CaptureFixture[str], names: list[str], code: int, said: str) -> None:
    found, out, err = run(capsys, "match", *names)
    assert (found, err) == (code, "")
    assert said in out


def test_match_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "match", "crl.microsoft.com:443", "4.208.13.9", "x.wd.microsoft.com", "--json")
    assert code == 1
    first, second, third = json.loads(out)["results"]
    assert first == {
        "name": "crl.microsoft.com",
        "port": 443,
        "matched": False,
        "entries": [],
        "networks": [],
        "listed_ports": [80],
    }
    assert (second["matched"], second["networks"][0]["network"]) == (True, "4.208.13.0/24")
    assert third["entries"][0]["id"] == "mde-standard-commercial#91"


def test_diff(capsys: pytest.CaptureFixture[str], mine: str) -> None:
    code, out, _ = run(capsys, "diff", "streamlined@2024-12", "streamlined@2026-09")
    assert code == 0
    assert out.splitlines()[0] == "mde-streamlined-commercial 2024-12 -> mde-streamlined-commercial 2026-09"
    signs = [line[0] for line in out.splitlines()[2:] if "OneDsCollector" not in line]
    assert signs == ["+", "+", "+", "-", "-", "+", "+"]
    code, out, _ = run(capsys, "diff", mine, mine)
    assert (code, out) == (0, "mine undated -> mine undated: no difference\n")
    code, out, _ = run(capsys, "diff", "standard", "standard@2026-03", "--json")
    content = json.loads(out)
    assert code == 0
    assert [row["n"] for row in content["added"]] == [99, 100, 101, 102]
    assert (content["removed"], content["changed"], content["b"]["version"]) == ([], [], "2026-03")


def test_diff_shows_changed_facts(capsys: pytest.CaptureFixture[str], tmp_path: Path, mine: str) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(LEAST.replace("com}", "com, os: [linux, macos], isolation: false}"))
    code, out, _ = run(capsys, "diff", mine, str(other))
    assert code == 0
    assert out.splitlines()[-1] == "~  a.example.com  443/tcp  os:  -> linux,macos; isolation: True -> False"
    code, out, _ = run(capsys, "diff", mine, str(other), "--json")
    assert json.loads(out)["changed"][0]["fields"] == ["os", "isolation"]


def test_lint(capsys: pytest.CaptureFixture[str], tmp_path: Path, mine: str) -> None:
    code, out, _ = run(capsys, "lint", mine)
    assert (code, out) == (
        0,
        f"{mine}: note undated: The header has no as_of; nobody can tell how old the list is.\n",
    )
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "header: {list_id: bad, as_of: 9999-12}\nentries:\n- {pattern: '*.com', known_hosts: [a.com]}\n"
    )
    code, out, _ = run(capsys, "lint", str(bad))
    assert code == 1
    assert out.startswith(f"{bad}:3: error public_suffix: Row 1 (*.com) covers a public suffix")
    code, out, _ = run(capsys, "lint", str(bad), "--json")
    assert (code, json.loads(out)["findings"][0]["code"]) == (1, "public_suffix")
    good = tmp_path / "good.yaml"
    good.write_text("header: {list_id: good, as_of: 9999-12}\nentries:\n- {pattern: a.example.com}\n")
    assert run(capsys, "lint", str(good))[:2] == (0, f"{good}: nothing found\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "isolator-lists: the following arguments are required"),
        (["explode"], "isolator-lists: argument {show,match,diff,lint,export}: invalid choice: 'explode'"),
        (["show", "--os", "beos"], "isolator-lists show: argument --os: invalid choice: 'beos'"),
        (["show", "--geo", "XX"], "isolator-lists: the geography 'XX' is unknown; known are AU, EU, UK, US"),
        (["show", "--geo", ""], "isolator-lists: the geography '' is unknown"),
        (["show", "--list", "none.yaml"], "isolator-lists: none.yaml: the list cannot be read"),
        (["show", "--list", "standard", "--list", "streamlined", "--format", "yaml"], "give --list once"),
        (
            ["show", "--list", "standard@2031-01"],
            "isolator-lists: standard.yaml: there is no edition 2031-01",
        ),
        (["match"], "isolator-lists match: the following arguments are required: NAME[:PORT]"),
        (["match", "a..b"], "isolator-lists: 'a..b' is not a host name: it has an empty label; write NAME"),
        (["match", "https://a.example/"], "is a URL; write NAME or NAME:PORT"),
        (["match", "a.example:0"], "'0' is no port; ports go from 1 to 65535"),
        (["diff", "standard"], "isolator-lists diff: the following arguments are required: B"),
        (["lint", "none.yaml"], "isolator-lists: none.yaml: the list cannot be read"),
    ],
)
def test_bad_input_is_one_sentence_on_stderr(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_malformed_list_names_file_and_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(LEAST + "- {pattern: a..b}\n")
    for command in (["show", "--list"], ["match", "a.example", "--list"], ["diff", "standard"], ["lint"]):
        code, out, err = run(capsys, *command, str(path))
        assert (code, out) == (2, "")
        assert err == f"isolator-lists: {path}:4: 'a..b' is not a host name: it has an empty label\n"


@pytest.mark.parametrize("command", [[], ["show"], ["match"], ["diff"], ["lint"]])
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    assert f"  isolator-lists {command[0] if command else 'show'}" in out


def call(
    *arguments: str, environment: dict[str, str] | None = None, pipe: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, through a shell when it is to be piped."""
    command = [sys.executable, "-m", "allowlists", *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})}
    if pipe:
        script = f'"$@" {pipe}; echo "code ${{PIPESTATUS[0]}}"'
        command = ["bash", "-c", script, "bash", *command]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_module_runs_as_a_command() -> None:
    done = call("match", "crl.microsoft.com:80")
    assert (done.returncode, done.stderr) == (0, "")
    assert call("match", "evil.example").returncode == 1
    assert call("match").returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no_bash: the pipe is set up with bash")
def test_a_reader_that_stops_early_changes_nothing() -> None:
    done = call("show", "--list", "standard", "--json", pipe="| head -1")
    assert done.stdout == "{\ncode 0\n"
    assert done.stderr == ""


def test_an_ascii_terminal_is_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        LEAST.replace("}\n", ", purpose: é}\n", 2).replace(", purpose: é", "", 1), encoding="utf-8"
    )
    done = call("show", "--list", str(path), environment={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xe9" in done.stdout


def test_the_entry_point_of_the_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["isolator-lists", "match", "evil.example"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("allowlists", run_name="__main__")
    assert ended.value.code == 1
    assert capsys.readouterr().out.startswith("evil.example: no")


def test_a_closed_pipe_keeps_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody_reads:
        monkeypatch.setattr(sys, "stdout", nobody_reads)
        assert cli.main(["match", "crl.microsoft.com"]) == 0
        assert cli.main(["match", "evil.example"]) == 1


def test_output_to_something_else_than_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main(["match", "crl.microsoft.com"]) == 0
    assert out.getvalue().startswith("crl.microsoft.com: yes")


def test_completion_is_asked_only_by_a_shell_that_completes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("argcomplete.autocomplete", lambda parser: asked.append(parser.prog))
    run(capsys, "match", "evil.example")
    assert asked == []
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    run(capsys, "match", "evil.example")
    assert asked == ["isolator-lists"]


@pytest.mark.skipif(sys.platform == "win32", reason="no_fd_8: argcomplete answers on file descriptor 8")
def test_completion_offers_commands_and_lists(tmp_path: Path) -> None:
    def complete(line: str) -> list[str]:
        answer = tmp_path / "answer"
        environment = {
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\n",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        }
        call(environment=environment)
        return [word.strip() for word in answer.read_text().split("\n")]

    assert "match" in complete("isolator-lists m")
    assert "streamlined@2025-04" in complete("isolator-lists lint streamlined")


def test_match_starts_without_what_only_other_commands_need() -> None:
    script = (
        "import sys; from allowlists.cli import main; main(['match', 'crl.microsoft.com']);"
        "print(sorted({'rich', 'tldextract', 'idna', 'argcomplete', 'csv'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
