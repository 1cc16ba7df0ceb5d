"""Settings of a Linux machine, read from a copy of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.model import InputError, PathKind
from connectivity_check.settings.apt_conf import parse_apt
from connectivity_check.settings.linux_service import (
    from_file,
    from_root,
    parse_arc,
    parse_mdatp,
)
from connectivity_check.settings.unit_file import parse_unit

MANAGED = "etc/opt/microsoft/mdatp/managed/mdatp_managed.json"


def machine(root: Path, files: dict[str, str]) -> dict[str, str]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return {setting.consumer: setting.address for setting in from_root(root)}


def test_an_empty_machine_has_no_consumers(tmp_path: Path) -> None:
    assert machine(tmp_path, {}) == {}


def test_the_managed_file_wins(tmp_path: Path) -> None:
    files = {
        MANAGED: '{"cloudService": {"enabled": true, "proxy": "http://managed.example:3128/"}}',
        "etc/opt/microsoft/mdatp/wdavcfg": '{"proxy": "http://cli.example:1"}',
        "lib/systemd/system/mdatp.service": "[Service]\nEnvironment=HTTPS_PROXY=http://unit.example:2\n",
    }
    assert machine(tmp_path, files) == {"edr": "http://managed.example:3128"}
    (tmp_path / MANAGED).write_text("{}")
    assert machine(tmp_path, {}) == {"edr": "http://cli.example:1"}


def test_an_installed_agent_without_a_proxy_goes_direct(tmp_path: Path) -> None:
    (tmp_path / "opt/microsoft/mdatp").mkdir(parents=True)
    assert machine(tmp_path, {"etc/environment": "HTTPS_PROXY=http://u:1"}) == {
        "edr": "",
        "user": "http://u:1",
    }


def test_units_and_drop_ins(tmp_path: Path) -> None:
    files = {
        "usr/lib/systemd/system/mdatp.service": '[Service]\nEnvironment="HTTPS_PROXY=http://unit:1" OTHER=x\n',
        "etc/systemd/system/mdatp.service.d/20-proxy.conf": "[Service]\nEnvironment=HTTPS_PROXY=http://drop:2\n",
        "etc/systemd/system/mdatp.service.d/10-first.conf": "[Service]\nEnvironment=HTTPS_PROXY=http://first:3\n",
    }
    assert machine(tmp_path, files) == {"edr": "http://drop:2"}
    extra = {
        "etc/systemd/system/mdatp.service.d/30-file.conf": "[Service]\nEnvironmentFile=-/etc/default/mdatp\n",
        "etc/default/mdatp": "HTTPS_PROXY='http://file:4'\n",
    }
    assert machine(tmp_path, extra) == {"edr": "http://file:4"}
    reset = {"etc/systemd/system/mdatp.service.d/40-none.conf": "[Service]\nEnvironmentFile=\n"}
    machine(tmp_path, reset)


def test_a_drop_in_of_the_administrator_hides_the_vendors_of_the_same_name(tmp_path: Path) -> None:
    files = {
        "usr/lib/systemd/system/mdatp.service.d/p.conf": "[Service]\nEnvironment=HTTPS_PROXY=http://vendor:1\n",
        "etc/systemd/system/mdatp.service.d/p.conf": "[Service]\n",
    }
    assert machine(tmp_path, files) == {"edr": ""}


def test_the_administrators_unit_replaces_the_vendors(tmp_path: Path) -> None:
    files = {
        "usr/lib/systemd/system/mdatp.service": "[Service]\nEnvironment=HTTPS_PROXY=http://vendor:1\n",
        "etc/systemd/system/mdatp.service": "[Service]\nEnvironment=NO_PROXY=x\n",
    }
    assert machine(tmp_path, files) == {"edr": ""}
    files["etc/systemd/system/mdatp.service"] = "[Service]\nEnvironment=HTTPS_PROXY=http://own:2\n"
    assert machine(tmp_path, files) == {"edr": "http://own:2"}


def test_the_managers_environment(tmp_path: Path) -> None:
    files = {
        "etc/systemd/system.conf": "[Manager]\nDefaultEnvironment=HTTPS_PROXY=http://all:1\n",
        "lib/systemd/system/mdatp.service": "[Service]\n",
    }
    assert machine(tmp_path, files) == {"edr": "http://all:1"}


def test_apt_dnf_and_arc(tmp_path: Path) -> None:
    files = {
        "etc/apt/apt.conf.d/10proxy": 'Acquire::http::Proxy "http://a:1";',
        "etc/apt/apt.conf.d/20proxy.conf": 'Acquire::http::Proxy "http://b:2";',
        "etc/apt/apt.conf.d/30proxy.bak": 'Acquire::http::Proxy "http://ignored:3";',
        "var/opt/azcmagent/localconfig.json": '{"proxy.url": "http://arc:4"}',
    }
    assert machine(tmp_path, files) == {"update": "http://b:2", "arc": "http://arc:4"}
    other = tmp_path / "other"
    assert machine(other, {"etc/dnf/dnf.conf": "[main]\nproxy=http://d:5\n"}) == {"update": "http://d:5"}
    assert machine(other, {"etc/dnf/dnf.conf": "[main]\nproxy=_none_\n"}) == {"update": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'Acquire { http { Proxy "http://a:1"; }; https::Proxy "DIRECT"; };',
            {"http": "http://a:1", "https": "DIRECT"},
        ),
        ('acquire::HTTP::proxy "http://a:1"; // comment "', {"http": "http://a:1"}),
        ('/* Acquire::http::Proxy "x"; */ # "\nDir "/";', {}),
        ('Acquire::http::Proxy::host.example "DIRECT";', {}),
        ('Acquire::http::Proxy "http://a:1";\nAcquire::http::Proxy "";', {"http": ""}),
        ("Acquire::http::Proxy http://a:1;", {"http": "http://a:1"}),
        ("", {}),
    ],
)
def test_apt_forms(text: str, expected: dict[str, str]) -> None:
    assert parse_apt(text + "\n;", "x") == expected


@pytest.mark.parametrize(("text", "line"), [("Acquire {\n", 2), ("\n}", 2), ('\n\nDir "x', 3)])
def test_apt_that_does_not_fit(text: str, line: int) -> None:
    with pytest.raises(InputError, match=rf"^x:{line}: "):
        parse_apt(text, "x")


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ('{\n"cloudService": {"proxy": "x",}}', "m.json:2", "not JSON"),
        ("", "m.json:1", "not JSON"),
        ("[]", "m.json:", "not a JSON object"),
        ('{"cloudService": 5}', "m.json:", "cloudService is not an object"),
        ('{"cloudService": {"proxy": ["x"]}}', "m.json:", "cloudService.proxy is not a text"),
        ('{"proxy": 1}', "m.json:", "proxy is not a text"),
        ("[" * 100000, "m.json", "nested too deeply"),
    ],
)
def test_managed_files_that_are_none(text: str, place: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_mdatp(text, "m.json")
    assert caught.value.reason.startswith(place)
    assert reason in caught.value.reason


def test_arc_values() -> None:
    assert parse_arc("{}", "x") == ""
    with pytest.raises(InputError, match=r"proxy.url is not a text"):
        parse_arc('{"proxy.url": {}}', "x")


@given(st.text(max_size=80))
def test_parsers_raise_nothing_but_input_errors(text: str) -> None:
    for parse in (
        parse_mdatp,
        parse_arc,
        parse_apt,
        lambda t, n: parse_unit(t, n, "Environment"),
    ):
        reason = "x:"
        try:
            parse(text, "x")
        except InputError as error:
            reason = error.reason
        assert reason.startswith("x:")


@pytest.mark.parametrize(
    ("name", "text", "consumer", "address"),
    [
        ("mdatp_managed.json", '{"cloudService": {"proxy": "http://p:1"}}', "edr", "http://p:1"),
        ("wdavcfg", "{}", "edr", ""),
        ("localconfig.json", '{"proxy.url": "http://p:1"}', "arc", "http://p:1"),
        ("apt.conf", 'Acquire::https::Proxy "http://p:1";', "update", "http://p:1"),
        ("apt.conf.d/99x", 'Acquire::http::Proxy "http://p:1";', "update", "http://p:1"),
        ("yum.conf", "[main]\nproxy = http://p:1", "update", "http://p:1"),
        ("environment", "https_proxy=http://p:1", "user", "http://p:1"),
        ("mdatp.service", "Environment=HTTPS_PROXY=http://p:1", "edr", "http://p:1"),
        ("mdatp.service.d/x.conf", "Environment=HTTPS_PROXY=http://p:1", "edr", "http://p:1"),
    ],
)
def test_single_files(tmp_path: Path, name: str, text: str, consumer: str, address: str) -> None:
    machine(tmp_path, {name: text})
    setting = from_file(tmp_path / name)
    assert (setting.consumer, setting.address) == (consumer, address)
    assert str(tmp_path / name) in setting.source or setting.kind is PathKind.DIRECT


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("notes.txt", b"", "not a settings file that is known here"),
        ("mdatp_managed.json", b"\xff\xfe\x00", "not UTF-8"),
        ("dnf.conf", b"proxy=x\n", ":1: not of the form"),
        ("dnf.conf", b"[main\n", "not of the form"),
        ("environment", b"HTTPS_PROXY=http://u:hunter2", "the port"),
    ],
)
def test_single_files_that_are_none(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        from_file(tmp_path / name)
    assert reason in caught.value.reason
    assert name in caught.value.reason
    assert "hunter2" not in caught.value.reason


def test_a_broken_file_leaves_the_others(tmp_path: Path) -> None:
    broken: list[str] = []
    machine(tmp_path, {"etc/environment": "HTTPS_PROXY=http://u:1"})
    (tmp_path / "etc/apt").mkdir()
    (tmp_path / "etc/apt/apt.conf").write_text("}")
    found = from_root(tmp_path, broken=lambda consumer, _: broken.append(consumer))
    assert ([s.consumer for s in found], broken) == (["user"], ["update"])


def test_a_file_that_one_may_not_read_is_told_and_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(tmp_path, {MANAGED: '{"proxy": "http://hidden:1"}'})
    opened = Path.open

    def refused(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "mdatp_managed.json":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refused)
    (setting,) = from_root(tmp_path)
    assert (setting.consumer, setting.kind) == ("edr", PathKind.DIRECT)
    assert setting.source.endswith(f"not readable: {tmp_path / MANAGED}")
