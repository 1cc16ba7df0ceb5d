"""What stands in a change request."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from connectivity_check.model import Outcome, PathKind, PathSettings, ProxyServer, Route, Row
from connectivity_check.render.columns import request_columns, row_columns, source_of, verify
from connectivity_check.render.rules import rules_of
from connectivity_check.render.texts import Lang
from tests.golden.preflight_reports import company, report_of, target, with_path


def test_the_request_for_a_silent_firewall() -> None:
    report = company()
    rule = rules_of(report)[0]
    cells = {column.key: column.value(rule, report, Lang.EN) for column in request_columns()}
    assert cells["source"] == "198.51.100.20"
    assert cells["destination"] == "*.wd.example.com"
    assert cells["tried"] == "unitedstates.cp.wd.example.com, europe.cp.wd.example.com"
    assert cells["addresses"] == "203.0.113.7, 203.0.113.8"
    assert cells["cnames"] == "wd-prod-cp.trafficmanager.example"
    assert (cells["port"], cells["protocol"], cells["direction"]) == (443, "TCP", "outgoing")
    assert (cells["action"], cells["inspect"], cells["proxy_auth"]) == ("permit", "bypass", "no proxy")
    assert cells["required"] == "required"
    assert "standard 2026-06" in str(cells["justification"])
    evidence = str(cells["evidence"])
    for part in ("tcp.dropped", "192.0.2.1", "2026-07-01T08:00:00Z", "test 20260701T080000Z-2"):
        assert part in evidence
    assert cells["verify"] == "isolator-check --target unitedstates.cp.wd.example.com:443 --direct"
    assert cells["owner"] == cells["valid"] == ""


def test_behind_a_proxy_login_is_to_be_exempt() -> None:
    report = company()
    rule = next(rule for rule in rules_of(report) if "proxy" in str(rule.blocked_by.address))
    cells = {column.key: column.value(rule, report, Lang.EN) for column in request_columns()}
    assert cells["proxy_auth"] == "exempt"
    assert str(cells["verify"]).endswith("--proxy http://proxy.corp.example:3128")


def test_the_source_is_never_any() -> None:
    recording = replace(company().recording, source_address="")
    assert source_of(recording) == "pc-7"
    assert "fill in" in source_of(replace(recording, host=""))


@pytest.mark.parametrize("lang", Lang)
def test_every_column_has_something_to_say_about_every_row(lang: Lang) -> None:
    report = company()
    for row in report.rows:
        for column in row_columns():
            assert isinstance(column.value(row, report, lang), str | int | float)
    keys = [column.key for column in row_columns()]
    assert len(set(keys)) == len(keys)


def test_a_row_without_a_host_cannot_be_verified() -> None:
    assert verify(Row(target(1, None, "*.example"), Outcome.NOT_PROBEABLE), company()) == ""


def test_the_command_is_one_word_per_value_whatever_the_names() -> None:
    evil = "a.example;touch /tmp/x $(id) `id` '"
    row = Row(target(1, evil, route=Route(ProxyServer("p;id", 1))), Outcome.BLOCKED)
    words = shlex.split(verify(row, report_of(row)))
    assert words == ["isolator-check", "--target", f"{evil}:443", "--proxy", "http://p;id:1"]


def test_a_pac_run_is_verified_by_the_pac_file() -> None:
    report = with_path(company(), PathSettings(PathKind.PAC, "http://wpad/wpad.dat"))
    assert verify(report.rows[0], report).endswith("--pac http://wpad/wpad.dat")
