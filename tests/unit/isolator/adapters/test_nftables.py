"""The parts of the nftables backend that need no kernel: texts, bytes and listings."""

from __future__ import annotations

import errno
import struct
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from isolator.adapters.nftables import NftablesBackend, batch, probes, queue_rule
from isolator.adapters.nftables.engine import NftError, first_error, refused
from isolator.adapters.nftables.set_elements import (
    key_bytes,
    learn_messages,
    learn_text,
    listed_elements,
)
from isolator.core import plan
from isolator.core.compiler import SETS, compile_policy
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Destination, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import Policy
from isolator.model.ruleset import Element, ElementKey, NetworkKey

RULESET = compile_policy(Policy(scope=IsolationScope.FULL, entries=()), 17)
DOOR = Destination(ip_address("192.0.2.1"), Transport.TCP, 443)
RANGE = NetworkKey(ip_network("10.0.0.0/8"), Transport.UDP, 53)


class ScriptedEngine:
    """Takes every text but those that hold `refuses`; listings come from `shown`."""

    name = "scripted"

    def __init__(self, refuses: str = "", words: str = "Operation not supported", shown: str = "") -> None:
        self.refuses, self.words, self.shown = refuses, words, shown
        self.ran: list[tuple[str, bool]] = []
        self.listed: list[tuple[str, bool]] = []
        self.closed = 0

    def run(self, text: str, *, check: bool = False) -> None:
        self.ran.append((text, check))
        if self.refuses and self.refuses in text:
            raise NftError(self.words)

    def listing(self, text: str, *, terse: bool = False) -> str:
        self.listed.append((text, terse))
        if self.refuses and self.refuses in text:
            raise NftError(self.words)
        return self.shown

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _no_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system without netfilter netlink; the kernel is asked in tests/netns."""
    nothing = probes.Kernel(errno.EPROTONOSUPPORT, errno.EPROTONOSUPPORT, errno.EPROTONOSUPPORT, 1, 1, None)
    monkeypatch.setattr("isolator.adapters.nftables.backend._open_socket", lambda: None)
    monkeypatch.setattr(probes, "kernel", lambda _netlink: nothing)


def test_with_the_queue_statement_one_text_holds_everything() -> None:
    engine = ScriptedEngine()
    NftablesBackend(engine).apply(plan.prepare(RULESET, {}))
    (probe, probe_checked), (text, checked) = engine.ran
    assert probe == queue_rule.NATIVE_PROBE
    assert (probe_checked, checked) == (True, False)
    assert "dns_queue queue num 17" in text


def test_neither_way_to_feed_the_queue_is_told_before_anything_changes() -> None:
    engine = ScriptedEngine(refuses="queue num")
    with pytest.raises(IsolatorError) as failure:
        NftablesBackend(engine).apply(plan.prepare(RULESET, {}))
    assert failure.value.code is FailureCode.NO_QUEUE
    assert all(checked for _, checked in engine.ran)


def test_a_kernel_without_fib_is_found_out_without_touching_it() -> None:
    """One sentence: what is missing, how to get it, what is lost; the other probes are not blamed for it."""
    engine = ScriptedEngine(refuses="fib daddr type local", words="Could not process rule: No such file")
    told = {each.code: each for each in NftablesBackend(engine).capabilities()}
    missing = told["fib"]
    assert (missing.available, missing.required) == (False, True)
    for word in ("fib", "modprobe nft_fib_inet", "CONFIG_NFT_FIB_INET"):
        assert word in missing.detail
    assert missing.lost_without == "this host cannot be isolated"
    assert told["queue"].available
    assert engine.ran
    assert all(checked for _, checked in engine.ran)
    whole = {each.code: each for each in NftablesBackend(ScriptedEngine()).capabilities()}
    assert whole["fib"].available


def test_without_permission_nobody_blames_the_kernel_for_fib() -> None:
    """Then each answer is no, and the first capability, permission, says why."""
    engine = ScriptedEngine(refuses="add table", words="Operation not permitted")
    told = NftablesBackend(engine).capabilities()
    assert not any(each.available for each in told if each.code in ("queue", "fib"))
    assert told[0].code == "permission"


def test_without_netlink_addresses_are_learned_by_text() -> None:
    engine = ScriptedEngine()
    NftablesBackend(engine).learn([(SETS["learned4"], Element(DOOR, 60))])
    assert [checked for _, checked in engine.ran] == [False]
    assert "192.0.2.1 . tcp . 443 timeout 60s" in engine.ran[0][0]


def test_a_listing_that_is_no_json_is_told() -> None:
    for shown in ("", "table inet isolator {", "\x00"):
        with pytest.raises(IsolatorError) as failure:
            NftablesBackend(ScriptedEngine(shown=shown)).observe()
        assert failure.value.code is FailureCode.NO_NFTABLES


def test_observing_asks_for_the_one_listing_that_leaves_elements_in_the_kernel() -> None:
    engine = ScriptedEngine(shown='{"nftables": [{"metainfo": {}}]}')
    assert NftablesBackend(engine).observe() is None
    assert engine.listed == [("list ruleset inet", True)]


def test_a_table_that_is_not_there_and_a_listing_that_fails_are_two_things() -> None:
    absent = ScriptedEngine(refuses="list", words="No such file or directory")
    assert NftablesBackend(absent).observe() is None
    failing = ScriptedEngine(refuses="list", words="Operation not permitted")
    with pytest.raises(IsolatorError) as failure:
        NftablesBackend(failing).observe()
    assert failure.value.code is FailureCode.NO_PERMISSION


def test_without_nftables_every_call_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isolator.adapters.nftables.backend.open_engine", lambda: None)
    backend = NftablesBackend()
    assert not {each.code: each.available for each in backend.capabilities()}["nftables"]
    calls = (
        lambda: backend.apply(plan.remove()),
        lambda: backend.check(plan.remove()),
        backend.observe,
        lambda: backend.elements(SETS["learned4"]),
        lambda: backend.learn([(SETS["learned4"], Element(DOOR, 60))]),
    )
    for call in calls:
        with pytest.raises(IsolatorError) as failure:
            call()
        assert failure.value.code is FailureCode.NO_NFTABLES
        assert "install" in failure.value.sentence
    backend.close()


def test_close_twice() -> None:
    backend = NftablesBackend(ScriptedEngine())
    backend.close()
    backend.close()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("Error: syntax error, unexpected newline\nadd rule\n   ^^^\n", "syntax error, unexpected newline"),
        (
            "/dev/stdin:3:1-7: Error: Could not process rule: File exists\n",
            "Could not process rule: File exists",
        ),
        (
            "netlink: Error: cache initialization failed: Operation not permitted\n",
            "cache initialization failed: Operation not permitted",
        ),
        ("something else\nmore\n", "something else"),
        ("", "no reason given"),
    ],
)
def test_the_first_line_of_nfts_own_error(output: str, expected: str) -> None:
    assert first_error(output) == expected


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Could not process rule: Operation not permitted", FailureCode.NO_PERMISSION),
        ("Could not process rule: Operation not supported", FailureCode.NO_NFTABLES),
        ("Could not process rule: Device or resource busy", FailureCode.KERNEL_REFUSED),
    ],
)
def test_nfts_words_become_a_code(words: str, code: FailureCode) -> None:
    error = refused(NftError(words), "apply arm")
    assert (error.code, error.operation) == (code, "apply arm")
    assert words in error.sentence


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EPERM, FailureCode.NO_PERMISSION),
        (errno.ENOENT, FailureCode.KERNEL_REFUSED),
    ],
)
def test_the_kernels_errno_becomes_a_code(number: int, code: FailureCode) -> None:
    assert batch.refused(OSError(number, "words"), "learn").code is code


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (DOOR, "c0000201 06000000 01bb0000"),
        (
            Destination(ip_address("2001:db8::1"), Transport.UDP, 53),
            "20010db8000000000000000000000001 11000000 00350000",
        ),
        (ip_address("192.0.2.1"), "c0000201"),
        (ip_address("2001:db8::1"), "20010db8000000000000000000000001"),
        (RANGE, None),
    ],
)
def test_the_key_as_the_kernel_compares_it(key: ElementKey, expected: str | None) -> None:
    packed = key_bytes(key)
    assert packed == (None if expected is None else bytes.fromhex(expected))


def test_ranges_are_left_to_nft() -> None:
    additions = [(SETS["networks4"], Element(RANGE))]
    assert learn_messages(additions, in_place=True) is None
    assert learn_text(additions, in_place=True) == (
        "add element inet isolator networks4 { 10.0.0.0/8 . udp . 53 }\n"
    )


def test_on_older_kernels_an_element_is_added_deleted_and_added() -> None:
    additions = [(SETS["learned4"], Element(DOOR, 60)), (SETS["embedded4"], Element(DOOR.address, 90))]
    text = learn_text(additions, in_place=False)
    assert [line.split()[0] for line in text.splitlines()] == ["add", "delete", "add"] * 2
    assert "embedded4 { 0xc0000201 timeout 90s }" in text
    messages = learn_messages(additions, in_place=False)
    assert messages is not None
    assert [kind & 0xFF for kind, _, _ in messages] == [12, 14, 12] * 2
    assert len(learn_messages(additions, in_place=True) or ()) == 2


@pytest.mark.parametrize("in_place", [True, False])
def test_an_element_that_stays_wins_over_one_that_goes(in_place: bool) -> None:
    additions = [(SETS["learned4"], Element(DOOR, 60)), (SETS["learned4"], Element(DOOR, None))]
    assert "timeout" not in learn_text(additions, in_place=in_place)
    assert learn_messages(additions, in_place=in_place) == learn_messages(additions[1:], in_place=in_place)


def listing(*elements: Any) -> dict[str, Any]:
    return {"nftables": [{"metainfo": {}}, {"set": {"name": "x", "elem": list(elements)}}]}


def timed(value: Any, **times: int) -> dict[str, Any]:
    return {"elem": {"val": value, **times}}


@pytest.mark.parametrize(
    ("name", "elements", "expected"),
    [
        (
            "learned4",
            [timed({"concat": ["192.0.2.1", "tcp", 443]}, timeout=60, expires=9)],
            [Element(DOOR, 9)],
        ),
        ("learned4", [timed({"concat": ["192.0.2.1", "tcp", 443]}, timeout=60)], [Element(DOOR, 60)]),
        ("learned4", [timed({"concat": ["192.0.2.1", "tcp", 443]}, timeout=60, expires=0)], []),
        ("learned4", [{"concat": ["192.0.2.1", "tcp", 443]}], [Element(DOOR)]),
        ("resolvers4", ["192.0.2.1"], [Element(DOOR.address)]),
        ("embedded4", [timed(0xC0000201, timeout=5, expires=5)], [Element(DOOR.address, 5)]),
        (
            "embedded6",
            [timed("0x20010db8000000000000000000000001", timeout=5, expires=5)],
            [Element(ip_address("2001:db8::1"), 5)],
        ),
        ("embedded6", [timed(1, timeout=5, expires=5)], [Element(ip_address("::1"), 5)]),
        (
            "networks4",
            [{"concat": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, "udp", 53]}],
            [Element(RANGE)],
        ),
        ("networks4", [{"concat": [{"range": ["10.0.0.0", "10.255.255.255"]}, "udp", 53]}], [Element(RANGE)]),
        (
            "networks4",
            [{"concat": [{"range": ["10.0.0.1", "10.0.0.2"]}, "udp", 53]}],
            [
                Element(NetworkKey(ip_network(each), Transport.UDP, 53))
                for each in ("10.0.0.1/32", "10.0.0.2/32")
            ],
        ),
    ],
)
def test_elements_as_nft_lists_them(name: str, elements: list[Any], expected: list[Element]) -> None:
    assert listed_elements(SETS[name], listing(*elements)) == tuple(expected)


def test_no_elements_no_set() -> None:
    assert listed_elements(SETS["learned4"], {"nftables": [{"metainfo": {}}, {"set": {"name": "x"}}]}) == ()
    assert listed_elements(SETS["learned4"], {}) == ()


@pytest.mark.parametrize("shown", [{"xt": {"type": "target", "name": "NFQUEUE"}}, {"xt": None}])
def test_a_target_is_written_out_however_nft_shows_it(shown: dict[str, Any]) -> None:
    rule = {"table": "isolator", "chain": "dns_queue", "handle": 16, "expr": [shown]}
    whole = {"nftables": [{"metainfo": {}}, {"rule": rule}]}
    asked: list[str] = []

    def targets(chain: str) -> dict[int, dict[str, Any]]:
        asked.append(chain)
        return {16: {"queue": {"num": 7}}}

    changed = queue_rule.with_queue_numbers(whole, targets)
    assert changed["nftables"][1]["rule"]["expr"] == [{"queue": {"num": 7}}]
    assert whole["nftables"][1]["rule"]["expr"] == [shown]
    unknown = queue_rule.with_queue_numbers(whole, lambda chain: {})
    assert unknown["nftables"][1]["rule"]["expr"] == [shown]
    assert asked == ["dns_queue"]


def rule_with_target(name: bytes, revision: int, info: bytes) -> bytes:
    target = batch.nested(
        2,
        batch.attribute(1, name + b"\0"),
        batch.attribute(2, struct.pack(">I", revision)),
        batch.attribute(3, info),
    )
    expression = batch.nested(1, batch.text(1, "target"), target)
    return batch.attribute(3, struct.pack(">Q", 16)) + batch.nested(4, expression)


@pytest.mark.parametrize(
    ("name", "revision", "info", "expected"),
    [
        (b"NFQUEUE", 3, struct.pack("=HHHH", 7, 1, 0, 0), {"queue": {"num": 7}}),
        (b"NFQUEUE", 3, struct.pack("=HHHH", 7, 1, 1, 0), {"queue": {"num": 7, "flags": ["bypass"]}}),
        (b"NFQUEUE", 3, struct.pack("=HHHH", 7, 2, 0, 0), {"queue": {"num": {"range": [7, 8]}}}),
        (b"NFQUEUE", 2, struct.pack("=HHHH", 7, 1, 0, 0), {"xt": {"type": "target", "name": "NFQUEUE"}}),
        (b"NFQUEUE", 3, b"", {"xt": {"type": "target", "name": "NFQUEUE"}}),
        (b"MARK", 2, bytes(8), {"xt": {"type": "target", "name": "MARK"}}),
    ],
)
def test_what_a_target_does(name: bytes, revision: int, info: bytes, expected: dict[str, Any]) -> None:
    assert queue_rule.listed_targets([rule_with_target(name, revision, info)]) == {16: expected}


def test_the_queue_rule_never_bypasses() -> None:
    _, _, body = queue_rule.queue_rule("t", "c", 65535)
    expressions = dict(batch.attributes(body[4:]))[4]
    listed = batch.attribute(3, struct.pack(">Q", 1)) + batch.nested(4, expressions)
    assert queue_rule.listed_targets([listed]) == {1: {"queue": {"num": 65535}}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24 1 0:6 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup"),
        ("1 1 0:1 / /sys rw - sysfs sysfs rw\n9 1 0:9 / /a\\040b rw shared:4 - cgroup2 none rw\n", "/a b"),
        ("24 1 0:6 / /sys/fs/cgroup rw - cgroup cgroup rw,cpu\n", None),
        ("", None),
    ],
)
def test_where_cgroup_v2_is_mounted(tmp_path: Path, text: str, expected: str | None) -> None:
    (tmp_path / "mountinfo").write_text(text)
    found = probes.cgroup2_mount(tmp_path / "mountinfo")
    assert (None if found is None else str(found)) == expected
    assert probes.cgroup2_mount(tmp_path / "missing") is None


def test_each_missing_thing_is_told_with_its_loss() -> None:
    nothing = probes.Kernel(errno.EPERM, errno.EPERM, errno.EPERM, errno.EOPNOTSUPP, errno.EPERM, None)
    told = probes.capabilities(None, nothing, native_queue=False, queue_target=False, fib=False)
    assert not any(each.available for each in told)
    assert all(each.detail and each.lost_without for each in told)
    everything = probes.Kernel(0, 0, 0, 0, 0, Path("/sys/fs/cgroup"))
    full = probes.capabilities("libnftables", everything, native_queue=True, queue_target=False, fib=True)
    assert all(each.available for each in full)
    assert [each.code for each in full] == [each.code for each in told]
