"""The agent's answers as a person at a terminal reads them."""

from __future__ import annotations

from typing import Any

import pytest

from isolator.render.answers import (
    shown_doctor,
    shown_explanation,
    shown_isolated,
    shown_preview,
    shown_released,
    shown_status,
)


def refusal(name: str | None, count: int = 1, reason: str = "tls_name_not_allowed") -> dict[str, Any]:
    return {
        "reason": reason, "name": name, "destination": "tcp://20.1.2.3:443", "entry": None, "count": count,
        "first_at": "2026-01-01T00:00:00Z", "last_at": "2026-01-01T00:01:00Z",
    }  # fmt: skip


def status(**more: Any) -> dict[str, Any]:
    return {
        "state": "isolated", "isolation_type": "full", "since": "2026-01-01T00:00:00Z", "expires_at": None,
        "comment": None, "lists": [{"id": "own", "version": "1"}], "learned": [], "alerts": [],
        "refused": [], "refused_forgotten": 0,
        "enforcement": {"verified": True, "repairs": 0}, "control_channel": {"ok": True},
        "counters": {"accepted": {}, "dropped": {}}, **more,
    }  # fmt: skip


class TestStatus:
    def test_without_refusals_there_is_no_table(self) -> None:
        assert "refused" not in shown_status(status())

    def test_an_agent_of_before_the_upgrade_has_no_such_key(self) -> None:
        answer = status()
        del answer["refused"], answer["refused_forgotten"]
        assert shown_status(answer).startswith("isolated: full, verified in the kernel\n")

    def test_the_latest_refusals_are_a_table(self) -> None:
        refused = [refusal("www.evil.test", 12), refusal(None, 3, "tls_name_missing")]
        assert shown_status(status(refused=refused)).splitlines()[-4:] == [
            "  refused   lately (`isolator explain NAME` says more):",
            "    times  name           reason                to                  last",
            "       12  www.evil.test  tls_name_not_allowed  tcp://20.1.2.3:443  2026-01-01T00:01:00Z",
            "        3  -              tls_name_missing      tcp://20.1.2.3:443  2026-01-01T00:01:00Z",
        ]

    def test_of_many_a_few_are_shown_and_the_rest_is_told(self) -> None:
        """One of each reason at least: a flood of one does not hide the others."""
        flood = [refusal(f"{number}.{'x' * 60}.evil.test") for number in range(48)]
        others = [refusal("b.test", 1, "dns_name_not_allowed"), refusal("c.test", 1, "tls_name_elsewhere")]
        answer = status(refused=[*flood[:30], others[0], *flood[30:], others[1]], refused_forgotten=7)
        lines = shown_status(answer).splitlines()
        assert lines[-10] == (
            "  refused   lately, 8 of 50 shown, 7 older ones forgotten (`isolator explain NAME` says more):"
        )
        assert [line.split()[2] for line in lines[-8:]] == [
            *["tls_name_not_allowed"] * 6, "dns_name_not_allowed", "tls_name_elsewhere",
        ]  # fmt: skip
        assert lines[-8].split()[1] == "..." + "x" * 27 + ".evil.test"

    def test_more_reasons_than_rows(self) -> None:
        refused = [refusal("a.test", 1, f"reason_{number}") for number in range(12)]
        lines = shown_status(status(refused=refused)).splitlines()
        assert [line.split()[2] for line in lines[-8:]] == [f"reason_{number}" for number in range(8)]

    def test_the_controller_stays_the_last_word(self) -> None:
        controller = {"enrolled": False, "url": "https://c"}
        text = shown_status(status(refused=[refusal("a.test")], controller=controller))
        assert text.splitlines()[-1] == "  managed   by https://c, not enrolled yet"

    def test_what_an_agent_before_had_learned(self) -> None:
        inherited = [{"address": "20.1.1.1", "port": 443, "entry": "l#1", "expires_in_s": 9}]
        text = shown_status(status(inherited=inherited))
        assert "  learned   0 addresses, 1 from before the agent's restart\n" in text
        assert "  learned   0 addresses\n" in shown_status(status(inherited=[]))

    @pytest.mark.parametrize(
        ("comment", "shown"),
        [
            (None, "-"),
            ("", "-"),
            ("INC-1, 監視", "INC-1, 監視"),
            ("\x1b[2Jx\n  control   answers", "x control answers"),
        ],
    )
    def test_an_operators_comment_puts_up_no_line_of_ours(self, comment: str | None, shown: str) -> None:
        lines = shown_status(status(comment=comment, control_channel={"ok": False})).splitlines()
        assert [line for line in lines if line.startswith("  reason")] == [f"  reason    {shown}"]
        assert [line for line in lines if line.startswith("  control")] == ["  control   SILENT"]

    def test_the_reasons_met_most_often_come_first(self) -> None:
        assert "  dropped   1 packets (a 1), repairs 0" in shown_status(
            status(counters={"accepted": {}, "dropped": {"a": 1, "b": 0, "c": 0, "d": 0, "e": 0}})
        )
        dropped = {"a": 1, "b": 5, "c": 3, "d": 2, "e": 4, "f": 0}
        text = shown_status(status(counters={"accepted": {}, "dropped": dropped}))
        assert "  dropped   15 packets (b 5, e 4, c 3, d 2, ...), repairs 0" in text


def explanation(**more: Any) -> dict[str, Any]:
    return {
        "destination": "a.svc.test", "state": "isolated", "during": "isolation", "verdict": "accept",
        "reason": "learned_address", "rule": "gate: name allowed", "entry": "own#1", "pattern": "*.svc.test",
        "addresses": [], "sentence": "a.svc.test is open", "first_bytes": [], "refused": [], **more,
    }  # fmt: skip


class TestExplain:
    def test_what_has_to_be_said_and_what_was_refused(self) -> None:
        first = [
            {"at": "tcp/443", "how": "tls_server_name", "sentence": "name it", "through": None},
            {"at": "tcp/443", "how": "proxy_connect", "sentence": "CONNECT", "through": "10.0.0.8:3128"},
        ]
        refused = [refusal("a.svc.test", 12, "tls_name_elsewhere"), refusal(None, 1, "tls_name_missing")]
        last = "last at 2026-01-01T00:01:00Z"
        where = " at tcp://20.1.2.3:443"
        assert shown_explanation(explanation(first_bytes=first, refused=refused)).splitlines() == [
            "a.svc.test is open",
            "  verdict  accept (learned_address)",
            "  rule     gate: name allowed",
            "  entry    own#1 (*.svc.test)",
            "  on wire  tcp/443: name it",
            "  on wire  tcp/443 through the proxy 10.0.0.8:3128: CONNECT",
            f"  refused  12 times, {last}: tls_name_elsewhere, a.svc.test{where}",
            f"  refused  once, {last}: tls_name_missing, no name{where}",
            "           which process asked is not known",
        ]

    def test_of_many_refusals_the_latest_are_shown(self) -> None:
        answer = explanation(refused=[refusal(f"{number}.test") for number in range(50)])
        lines = shown_explanation(answer).splitlines()
        assert "7.test at" in lines[-3]
        assert lines[-2] == "           and 42 others (all with --json)"

    def test_outside_an_isolation_it_is_about_one(self) -> None:
        inside = explanation(verdict="reject", reason="dns_name_not_allowed", entry=None)
        answer = {"sentence": "the host is not isolated; if it were: ...", "if_isolated": inside}
        assert shown_explanation(answer).splitlines()[1:] == [
            "  verdict  reject (dns_name_not_allowed)",
            "  rule     gate: name allowed",
        ]

    def test_an_agent_of_before_the_upgrade(self) -> None:
        answer = explanation()
        del answer["first_bytes"], answer["refused"]
        assert shown_explanation(answer).count("\n") == 3


def test_doctor() -> None:
    def capability(code: str, available: bool, required: bool) -> dict[str, Any]:
        return {
            "code": code, "available": available, "required": required, "detail": f"about {code}",
            "lost_without": "something",
        }  # fmt: skip

    found = [
        capability("nftables", True, True),
        capability("fib", False, True),
        capability("cgroup2", False, False),
    ]
    assert shown_doctor({"ok": False, "capabilities": found}).splitlines() == [
        "yes  nftables               about nftables",
        "NO   fib                    about fib; without it: something",
        "no   cgroup2                about cgroup2; without it: something",
        "this host cannot be isolated yet",
    ]
    assert shown_doctor({"ok": True, "capabilities": []}) == "this host can be isolated"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"changed": False}, "already released: this host was not isolated"),
        (
            {"changed": True, "took_ms": {"commit_ms": 1.5}},
            "released and verified: nothing of the isolator is left in the kernel (commit 1.5 ms)",
        ),
        (
            {"changed": True, "took_ms": {}},
            "released and verified: nothing of the isolator is left in the kernel",
        ),
    ],
)
def test_release(answer: dict[str, Any], said: str) -> None:
    assert shown_released(answer) == said


def test_isolation_and_its_preview() -> None:
    lists = [{"id": "own", "version": "1", "entries": 3}]
    answer = {
        "changed": True, "took_ms": {}, "ended": {"sockets": 2, "tracked": 1},
        "status": status(lists=lists, expires_at="2026-01-02T00:00:00Z"),
    }  # fmt: skip
    assert shown_isolated(answer).splitlines() == [
        "isolated and verified: full, until 2026-01-02T00:00:00Z",
        "  open   own 1 (3 rows)",
        "  ended  2 connections of local programs, 1 tracked flows",
    ]
    preview = {
        "state": "connected",
        "open_names": [{"pattern": "*.svc.test", "ports": [80, 443], "entry": "own#1"}],
        "open_networks": [{"network": "20.9.0.0/16", "port": 443, "entry": "own#2"}],
        "open_proxies": ["10.0.0.8:3128"],
        "resolvers": ["10.0.0.53"],
    }
    assert shown_preview(preview).splitlines()[1:] == [
        "  *.svc.test  port 80,443  (own#1)",
        "  20.9.0.0/16  port 443  (own#2)",
        "  proxy 10.0.0.8:3128  for requests that name one of these",
        "  DNS about these names to 10.0.0.53",
    ]
