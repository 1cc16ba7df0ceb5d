"""Variables in files of NAME=value lines and in systemd units (systemd.exec(5), pam_env(8))."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from connectivity_check.model import InputError


def parse_environment_file(text: str, name: str) -> dict[str, str]:
    """Read NAME=value lines, as in /etc/environment and EnvironmentFile=; `export` and quotes allowed."""
    variables = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip().removeprefix("export ").strip()
        if not line or line[0] in "#;":
            continue
        key, sep, value = line.partition("=")
        if not sep:
            raise InputError(f"{name}:{number}: not of the form NAME=value")
        variables[key.strip()] = _unquoted(value, f"{name}:{number}")
    return variables


def _unquoted(value: str, place: str) -> str:
    if not value.strip().startswith(("'", '"')):
        return value.strip()
    try:
        return "".join(shlex.split(value, comments=True))
    except ValueError:
        raise InputError(f"{place}: the quote is not closed") from None


def parse_unit(text: str, name: str, key: str) -> tuple[dict[str, str], list[str]]:
    """Read `key` (Environment, DefaultEnvironment) of a unit: variables, and the files of EnvironmentFile=.

    An empty assignment takes back what stood before, as systemd.exec(5) has it.
    """
    variables: dict[str, str] = {}
    paths: list[str] = []
    for number, line in _joined(text):
        setting, sep, value = line.partition("=")
        if not sep or setting.strip() not in (key, "EnvironmentFile"):
            continue
        if setting.strip() == "EnvironmentFile":
            paths = [*paths, value.strip().removeprefix("-")] if value.strip() else []
            continue
        try:
            words = shlex.split(value)
        except ValueError:
            raise InputError(f"{name}:{number}: a quote is not closed") from None
        variables = variables if words else {}
        variables |= {k: v for k, eq, v in (word.partition("=") for word in words) if eq}
    return variables, paths


def _joined(text: str) -> Iterator[tuple[int, str]]:
    pending, start = "", 1
    for number, raw in enumerate(text.splitlines(), 1):
        if raw.lstrip().startswith(("#", ";")):
            continue
        start = start if pending else number
        if raw.endswith("\\"):
            pending += raw[:-1] + " "
            continue
        yield start, pending + raw
        pending = ""
    if pending:
        yield start, pending
