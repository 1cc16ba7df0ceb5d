"""TLS without a network: alerts, the verdict on chains, and what a certificate says of itself."""

from __future__ import annotations

import datetime
import ssl

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from connectivity_check.failure import Seen
from connectivity_check.probes.chain_verifier import (
    X509_V_FLAG_NO_CHECK_TIME,
    server_hostname,
    verify,
    verifying_context,
)
from connectivity_check.probes.stream_error import seen_of
from connectivity_check.probes.tls_alert import ALERTS, AlertWatch, alert_of, is_tls
from connectivity_check.probes.tls_chain import certificate_facts, chain_evidence, out_of_date

NAME = "api.example"
AUTHORITY = trustme.CA()
MIDDLE = AUTHORITY.create_child_ca()
LEAF = MIDDLE.issue_cert(NAME)
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def ders(leaf: trustme.LeafCert) -> tuple[bytes, ...]:
    return tuple(ssl.PEM_cert_to_DER_cert(each.bytes().decode()) for each in leaf.cert_chain_pems)


CHAIN = ders(LEAF)


def context(*, name: bool = True, time: bool = True) -> ssl.SSLContext:
    found = verifying_context(check_name=name, check_time=time)
    AUTHORITY.configure_trust(found)
    return found


# ---- alerts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "number"),
    [
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", 40),
        ("TLSV1_ALERT_PROTOCOL_VERSION", 70),
        ("TLSV1_ALERT_INTERNAL_ERROR", 80),
        ("TLSV1_UNRECOGNIZED_NAME", 112),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", 116),
        ("TLSV1_ALERT_NO_APPLICATION_PROTOCOL", 120),
        ("TLSV1_ALERT_ACCESS_DENIED", 49),
        ("WRONG_VERSION_NUMBER", None),
        ("UNSUPPORTED_PROTOCOL", None),
        ("TLSV1_SOMETHING", None),
        ("UNEXPECTED_MESSAGE", None),
        ("", None),
    ],
)
def test_the_alerts_in_openssls_words(reason: str, number: int | None) -> None:
    assert alert_of(reason) == (number, ALERTS[number] if number else "")


def test_an_alert_in_the_clear_however_it_is_cut() -> None:
    data = b"\x16\x03\x03\x00\x05hello" + b"\x15\x03\x03\x00\x02\x01\x70"
    for size in range(1, len(data) + 1):
        watch = AlertWatch()
        for start in range(0, len(data), size):
            watch.feed(data[start : start + size])
        assert watch.number == 112
    watch = AlertWatch()
    watch.feed(b"\x15\x03\x03\x00\x13" + bytes(19))  # encrypted
    assert watch.number is None


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_a_watch_takes_anything(chunks: list[bytes]) -> None:
    watch = AlertWatch()
    for chunk in chunks:
        watch.feed(chunk)


@pytest.mark.parametrize(
    ("start", "tls"),
    [
        (b"", True),
        (b"\x16", True),
        (b"\x15\x03", True),
        (b"\x16\x03\x09", True),
        (b"\x16\x02", False),
        (b"HTTP", False),
        (b"\x80\x2e", False),
        (b"\0", False),
    ],
)
def test_the_start_of_tls(start: bytes, tls: bool) -> None:
    assert is_tls(start) is tls


@pytest.mark.parametrize(
    ("error", "seen", "facts"),
    [
        (ConnectionResetError(104, "x"), Seen.CONNECTION_RESET, {"errno": "ECONNRESET"}),
        (BrokenPipeError(32, "x"), Seen.CONNECTION_RESET, {"errno": "EPIPE"}),
        (TimeoutError(), Seen.TIMEOUT, {}),
        (TimeoutError(110, "x"), Seen.TIMEOUT, {"errno": "ETIMEDOUT"}),
        (ConnectionResetError(), Seen.CONNECTION_RESET, {}),
        (OSError(113, "x"), Seen.HOST_UNREACHABLE, {"errno": "EHOSTUNREACH"}),
        (OSError(101, "x"), Seen.NETWORK_UNREACHABLE, {"errno": "ENETUNREACH"}),
        (PermissionError(1, "x"), Seen.PERMISSION_DENIED, {"errno": "EPERM"}),
        (OSError(9, "x"), Seen.OTHER, {"errno": "EBADF"}),
        (OSError("x"), Seen.OTHER, {"error": "OSError"}),
        (ssl.SSLError(1, "x"), Seen.OTHER, {"error": "TLS error"}),
    ],
)
def test_errors_of_streams(error: OSError, seen: Seen, facts: dict[str, str]) -> None:
    assert seen_of(error) == (seen, facts)


# ---- verdicts --------------------------------------------------------------------------------------------


def test_a_chain_that_verifies() -> None:
    found = verify(context(), CHAIN, NAME)
    assert found.ok
    assert found.root == ssl.PEM_cert_to_DER_cert(AUTHORITY.cert_pem.bytes().decode())


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_both_types_of_keys(key_type: trustme.KeyType) -> None:
    leaf = AUTHORITY.issue_cert(NAME, key_type=key_type)
    assert verify(context(), ders(leaf), NAME).ok
    assert verify(context(), ders(leaf), "other.example").code == 62


def test_names_and_dates_count_only_when_asked_for() -> None:
    old = ders(AUTHORITY.issue_cert(NAME, not_after=NOW - DAY))
    assert verify(context(), old, NAME).code == 10
    assert verify(context(time=False), old, NAME).ok
    assert verify(context(name=False, time=False), old, "other.example").ok
    assert context(time=False).verify_flags & X509_V_FLAG_NO_CHECK_TIME


@pytest.mark.parametrize(
    "chain",
    [
        (),
        (b"",),
        (CHAIN[0], b""),
        (b"junk",),
        (CHAIN[0] + b"x",),
        (CHAIN[0][:-1],),
        (CHAIN[1],),
        (CHAIN[0],),
        CHAIN[::-1],
        (CHAIN[0], CHAIN[0]),
    ],
)
def test_chains_that_do_not_verify(chain: tuple[bytes, ...]) -> None:
    found = verify(context(), chain, NAME)
    assert not found.ok
    assert found.reason


def test_a_chain_longer_than_a_record() -> None:
    assert verify(context(), (*CHAIN, *(CHAIN[1],) * 60), NAME).ok
    assert not verify(context(), (*CHAIN, *(CHAIN[1],) * 900), NAME).ok  # OpenSSL stops at 100 kB


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(CHAIN[0]) - 1), st.integers(1, 255))
def test_no_damaged_leaf_verifies(at: int, change: int) -> None:
    damaged = bytearray(CHAIN[0])
    damaged[at] ^= change
    found = verify(context(), (bytes(damaged), *CHAIN[1:]), NAME)
    assert not found.ok


def test_an_empty_store_believes_nobody() -> None:
    assert verify(verifying_context(), CHAIN, NAME).code == 20
    root = ssl.PEM_cert_to_DER_cert(AUTHORITY.cert_pem.bytes().decode())
    assert verify(verifying_context(), (*CHAIN, root), NAME).code == 19


@pytest.mark.parametrize("name", [".", ".example", "a..b", "x" * 300, "a\0b", "\udcff", "*", ""])
def test_odd_names_are_not_matched(name: str) -> None:
    assert not verify(context(), CHAIN, name).ok


# ---- what a certificate says -----------------------------------------------------------------------------


@given(st.text("aB9-_.*:\0 üß", max_size=70) | st.integers(0, 70).map(lambda n: "x" * n))
def test_a_name_given_as_bytes_is_what_the_codec_makes_of_it(name: str) -> None:
    given = server_hostname(name)
    assert given in (name, name.encode())
    if isinstance(given, bytes):
        assert given == name.encode("idna")


def test_names_of_hosts_need_no_codec() -> None:
    assert server_hostname("edr-01.Vendor_x.example") == b"edr-01.Vendor_x.example"


def test_certificates_that_cannot_be_read_are_named_by_their_digest() -> None:
    facts = certificate_facts(b"junk")
    assert facts.subject == facts.common_name == ""
    assert len(facts.sha256) == 64
    assert chain_evidence([b"junk"] * 99)[0] == {**facts.evidence(), "names": []}
    assert len(chain_evidence([b"junk"] * 99)) == 10
    assert out_of_date([b"junk"], 0.0) == (False, False)


def test_many_and_long_names_are_cut() -> None:
    leaf = AUTHORITY.issue_cert(*[f"n{n}.example" for n in range(50)], "2001:db8::1")
    names = chain_evidence(ders(leaf))[0]["names"]  # type: ignore[index,call-overload]
    assert names == [f"n{n}.example" for n in range(20)]


def test_dates_of_the_path_only() -> None:
    unrelated = ders(trustme.CA(organization_name="Old").issue_cert("x", not_after=NOW - DAY))[0]
    now = NOW.timestamp()
    assert out_of_date((*CHAIN, unrelated), now) == (False, False)
    assert out_of_date((unrelated, *CHAIN), now) == (True, False)
    assert out_of_date(CHAIN, 0.0) == (False, True)
    assert out_of_date(CHAIN, now + 2000 * 365 * 86400) == (True, False)
    assert out_of_date((), now) == (False, False)
