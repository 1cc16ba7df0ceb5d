"""Refused names for whoever asks why: bounded, printable, logged ever more rarely."""

from __future__ import annotations

import logging
from ipaddress import ip_address

import pytest

from isolator.model.flow import Destination, Transport
from isolator.model.verdict import Decision, Reason, Verdict
from isolator.service.destination import parse_destination
from isolator.service.refusals import MAX_NAME, MAX_REFUSALS, Refusals, about, shown_name
from tests.fakes.clock import FakeClock

TLS = Destination(ip_address("20.1.2.3"), Transport.TCP, 443)
OTHER = Destination(ip_address("20.1.2.4"), Transport.TCP, 443)
RESOLVER = Destination(ip_address("192.0.2.53"), Transport.UDP, 53)
PROXY = Destination(ip_address("10.0.0.8"), Transport.TCP, 3128)


@pytest.fixture
def refusals(clock: FakeClock) -> Refusals:
    return Refusals(clock)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def refuse(
    refusals: Refusals,
    name: str | None,
    reason: Reason = Reason.TLS_NAME_NOT_ALLOWED,
    to: Destination = TLS,
    entry: str | None = None,
) -> None:
    refusals.note(Decision(Verdict.REJECT, reason, entry, name), to)


def names(refusals: Refusals) -> list[str | None]:
    return [each.name for each in refusals.latest()]


def test_the_same_refusal_is_counted_and_the_last_one_comes_first(
    refusals: Refusals, clock: FakeClock
) -> None:
    refuse(refusals, "evil.test")
    first = clock.utc_now()
    refuse(refusals, "other.test")
    clock.advance(60)
    refuse(refusals, "evil.test")
    newest, older = refusals.latest()
    assert (newest.name, newest.count, newest.first_at, newest.last_at) == (
        "evil.test", 2, first, clock.utc_now(),
    )  # fmt: skip
    assert first != clock.utc_now()
    assert (older.name, older.count) == ("other.test", 1)


def test_reason_name_and_destination_tell_them_apart(refusals: Refusals) -> None:
    refuse(refusals, "evil.test")
    refuse(refusals, "evil.test", to=OTHER)
    refuse(refusals, "evil.test", Reason.TLS_ECH_REFUSED)
    refuse(refusals, None, Reason.TLS_NAME_MISSING)
    assert [each.count for each in refusals.latest()] == [1, 1, 1, 1]
    refuse(refusals, "evil.test", entry="l#1")
    assert (refusals.latest()[0].count, refusals.latest()[0].entry) == (2, "l#1")


def test_another_isolation_knows_nothing_of_it(refusals: Refusals) -> None:
    for number in range(MAX_REFUSALS + 1):
        refuse(refusals, f"{number}.evil.test")
    assert refusals.forgotten == 1
    refusals.clear()
    assert (refusals.latest(), refusals.forgotten) == ((), 0)
    refuse(refusals, "evil.test")
    assert names(refusals) == ["evil.test"]


def test_a_flood_of_one_kind_pushes_out_its_own(refusals: Refusals) -> None:
    """Names made up for the resolver leave what the TLS clients and the proxy's were refused."""
    refuse(refusals, "wanted.test")
    refuse(refusals, "proxied.test:443", Reason.PROXY_TARGET_NOT_ALLOWED, PROXY)
    for number in range(10_000):
        refuse(refusals, f"{number}.evil.test", Reason.DNS_NAME_NOT_ALLOWED, RESOLVER)
    left = names(refusals)
    assert len(left) == MAX_REFUSALS
    assert {"wanted.test", "proxied.test:443"} < set(left)
    assert left[0] == "9999.evil.test"
    assert refusals.forgotten == 10_002 - MAX_REFUSALS


def test_no_flood_grows_the_tables(refusals: Refusals) -> None:
    for number in range(2_000):
        for reason in Reason:
            to = Destination(ip_address(number), Transport.TCP, 443)
            refuse(refusals, f"{number}.test", reason, to)
    assert len(refusals.latest()) == MAX_REFUSALS
    kept = [len(held) for held in vars(refusals).values() if hasattr(held, "__len__")]
    assert max(kept) <= max(MAX_REFUSALS, len(Reason))


def test_the_log_hears_of_a_flood_ever_more_rarely(
    refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for number in range(5_000):
            refuse(refusals, f"{number}.evil.test")
            refuse(refusals, f"{number}.evil.test")
    assert 10 < len(caplog.records) <= 2 * 14
    assert caplog.messages[0].startswith("refused tls_name_not_allowed: 0.evil.test to tcp://20.1.2.3:443")


def test_a_new_name_among_many_repeats_is_logged(
    refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(1_000):
            refuse(refusals, "often.test")
        refuse(refusals, "new.test")
    assert "new.test" in caplog.messages[-1]


@pytest.mark.parametrize("reason", [Reason.DNS_TYPE_WITHHELD, Reason.FLOW_CLOSED])
def test_what_takes_nothing_from_anybody_is_left_out(refusals: Refusals, reason: Reason) -> None:
    refuse(refusals, "fine.test", reason)
    assert refusals.latest() == ()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (None, None),
        ("", "."),
        ("evil.test", "evil.test"),
        (r"a\032b.test", r"a\032b.test"),
        ("\x1b[2J\r\nfake line", r"\u{1b}[2J\u{d}\u{a}fake\u{20}line"),
        ("b\u202egnp.exe\x9b", r"b\u{202e}gnp.exe\u{9b}"),
        ("x" * MAX_NAME, "x" * MAX_NAME),
        ("x" * MAX_NAME + ".evil.test", "..." + "x" * (MAX_NAME - 13) + ".evil.test"),
        ("\n" * MAX_NAME, "..." + (r"\u{a}" * MAX_NAME)[3 - MAX_NAME :]),
    ],
)
def test_a_name_is_text_that_can_be_printed(said: str | None, shown: str | None) -> None:
    found = shown_name(said)
    assert found == shown
    assert found is None or (len(found) <= MAX_NAME and found.isascii() and found.isprintable())


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("evil.test", {Reason.TLS_NAME_NOT_ALLOWED, Reason.DNS_NAME_NOT_ALLOWED, Reason.PROXY_TARGET_NOT_ALLOWED}),
        ("udp://EVIL.test.:9", {Reason.TLS_NAME_NOT_ALLOWED, Reason.DNS_NAME_NOT_ALLOWED, Reason.PROXY_TARGET_NOT_ALLOWED}),
        ("20.1.2.3", {Reason.TLS_NAME_NOT_ALLOWED, Reason.TLS_NAME_MISSING}),
        ("tcp://20.1.2.3:443", {Reason.TLS_NAME_NOT_ALLOWED, Reason.TLS_NAME_MISSING}),
        ("tcp://20.1.2.3:80", set()),
        ("udp://20.1.2.3:443", set()),
        ("2603:8::1", {Reason.PROXY_REQUEST_REFUSED, Reason.HTTP_HOST_NOT_ALLOWED}),
        ("tcp://10.0.0.8:3128", {Reason.PROXY_TARGET_NOT_ALLOWED, Reason.PROXY_REQUEST_REFUSED}),
        ("test", set()),
        ("l" * 60 + "." + "l" * 60 + ".long.test", {Reason.TLS_ECH_REFUSED}),
    ],
)  # fmt: skip
def test_what_a_person_asks_about(refusals: Refusals, asked: str, found: set[Reason]) -> None:
    refuse(refusals, "evil.test")
    refuse(refusals, "evil.test", Reason.DNS_NAME_NOT_ALLOWED, RESOLVER)
    refuse(refusals, "evil.test:8443", Reason.PROXY_TARGET_NOT_ALLOWED, PROXY)
    refuse(refusals, "[2603:8::1]:22", Reason.PROXY_REQUEST_REFUSED, PROXY)
    refuse(refusals, "2603:8::1", Reason.HTTP_HOST_NOT_ALLOWED, OTHER)
    refuse(refusals, None, Reason.TLS_NAME_MISSING)
    refuse(refusals, "l" * 60 + "." + "l" * 60 + ".long.test", Reason.TLS_ECH_REFUSED, OTHER)
    told = about(refusals.latest(), parse_destination(asked))
    assert {each.reason for each in told} == found
