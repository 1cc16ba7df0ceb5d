"""CRLs, OCSP answers and trust lists: read as what they are, and told from what stands in their place."""

from __future__ import annotations

import asyncio
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from connectivity_check.failure import Seen
from connectivity_check.model import Expectation, Kind, Observation, Step
from connectivity_check.ports import HttpRequest
from connectivity_check.probes.http import HttpProbe
from connectivity_check.probes.revocation import ocsp_request
from tests.unit.connectivity_check.probes.prepared import UTC, Prepared, StillClock, answer

NOW = datetime.datetime.fromtimestamp(UTC, datetime.UTC)
DAY = datetime.timedelta(days=1)
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])


def fetch(
    kind: Kind, body: bytes, status: str = "200 OK", *headers: str, stream: Prepared | None = None
) -> Observation:
    stream = stream or Prepared([answer(body, status, *headers)])
    request = HttpRequest("http://crl.example/x")
    return asyncio.run(HttpProbe(StillClock()).exchange(stream, request, Expectation(kind=kind), budget_s=2))


def crl(
    this: datetime.datetime = NOW - DAY,
    following: datetime.datetime = NOW + DAY,
    *,
    pem: bool = False,
    entries: int = 1,
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(this).next_update(following)
    )
    for n in range(entries):
        revoked = x509.RevokedCertificateBuilder().serial_number(n + 10**30).revocation_date(this).build()
        builder = builder.add_revoked_certificate(revoked)
    encoding = serialization.Encoding.PEM if pem else serialization.Encoding.DER
    return builder.sign(KEY, hashes.SHA256()).public_bytes(encoding)


def ocsp_answer(following: datetime.datetime = NOW + DAY) -> bytes:
    certificate = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(KEY.public_key())
        .serial_number(5)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .sign(KEY, hashes.SHA256())
    )
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            certificate,
            certificate,
            hashes.SHA1(),
            ocsp.OCSPCertStatus.GOOD,
            NOW - DAY,
            following,
            None,
            None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.NAME, certificate)
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def cab(
    name: bytes = b"authroot.stl", *, content: bytes = b"x" * 50, major: int = 1, files: int = 1, lie: int = 0
) -> bytes:
    size = 36 + 16 + len(name) + 1 + len(content)
    header = (
        b"MSCF"
        + bytes(4)
        + (size + lie).to_bytes(4, "little")
        + bytes(4)
        + (36).to_bytes(4, "little")
        + bytes(4)
    )
    header += bytes([3, major]) + (1).to_bytes(2, "little") + files.to_bytes(2, "little") + bytes(6)
    return header + bytes(16) + name + b"\0" + content


@pytest.mark.parametrize("pem", [True, False])
def test_a_crl(pem: bool) -> None:
    seen = fetch(Kind.CRL, crl(pem=pem))
    assert (seen.step, seen.seen) == (Step.REVOCATION, None)
    evidence = seen.evidence
    assert (evidence["kind"], evidence["parsed"], evidence["issuer"]) == ("crl", True, "CN=Test CA")
    assert (evidence["this_update"], evidence["next_update"], evidence["stale"]) == (
        "2025-12-31T00:00:00Z",
        "2026-01-02T00:00:00Z",
        False,
    )


def test_a_big_crl_is_read_whole() -> None:
    body = crl(entries=4000)
    assert len(body) > 100_000
    seen = fetch(Kind.CRL, body)
    assert (seen.seen, seen.evidence["length"]) == (None, len(body))


def test_a_list_out_of_date() -> None:
    seen = fetch(Kind.CRL, crl(NOW - 9 * DAY, NOW - DAY))
    assert (seen.seen, seen.evidence["parsed"], seen.evidence["stale"]) == (
        Seen.REVOCATION_CONTENT,
        True,
        True,
    )
    seen = fetch(Kind.OCSP, ocsp_answer(NOW - DAY / 2))
    assert (seen.seen, seen.evidence["stale"]) == (Seen.REVOCATION_CONTENT, True)


def test_ocsp_is_asked_by_post() -> None:
    stream = Prepared([answer(ocsp_answer())])
    seen = fetch(Kind.OCSP, b"", stream=stream)
    assert (seen.seen, seen.evidence["method"], seen.evidence["ocsp_status"]) == (None, "POST", 0)
    assert seen.evidence["issuer"] == "CN=Test CA"
    head, _, body = stream.sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /x HTTP/1.1")
    assert b"Content-Type: application/ocsp-request" in head
    asked = ocsp.load_der_ocsp_request(body)
    assert asked.serial_number == 0x0A43A9509B01352F899579EC7208BA50
    assert ocsp_request() == body


@pytest.mark.parametrize("status", [status for status in ocsp.OCSPResponseStatus if status.value])
def test_a_responder_that_refuses_is_a_responder(status: ocsp.OCSPResponseStatus) -> None:
    body = ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(serialization.Encoding.DER)
    seen = fetch(Kind.OCSP, body)
    assert (seen.seen, seen.evidence["parsed"], seen.evidence["ocsp_status"]) == (None, True, status.value)


@pytest.mark.parametrize("body", [cab(), cab(b"DisallowedCert.STL"), cab() + b"signature"])
def test_a_trust_list(body: bytes) -> None:
    seen = fetch(Kind.CTL, body)
    assert (seen.seen, seen.evidence["parsed"]) == (None, True)


@pytest.mark.parametrize(
    "body",
    [
        b"MSCF",
        b"MSCF" + bytes(100),
        cab()[:-1],
        cab(b"setup.exe"),
        cab(b""),
        cab(major=9),
        cab(files=0),
        cab(lie=-10_000_000 % 2**32),
        b"PK\3\4" + bytes(100),
        crl(),
    ],
)
def test_what_is_no_trust_list(body: bytes) -> None:
    seen = fetch(Kind.CTL, body)
    assert (seen.seen, seen.evidence["parsed"]) == (Seen.REVOCATION_CONTENT, False)
    assert seen.evidence["error"]


@pytest.mark.parametrize("kind", [Kind.CRL, Kind.OCSP, Kind.CTL])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><title>Sign in</title>",
        b"\x30\x03\x02\x01\x05",
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        b"0" * 5000,
        ocsp_answer()[:-3],
        crl()[:-3],
    ],
)
def test_what_stands_in_their_place(kind: Kind, body: bytes) -> None:
    seen = fetch(kind, body)
    assert (seen.seen, seen.evidence["parsed"]) == (Seen.REVOCATION_CONTENT, False)
    assert isinstance(seen.evidence["error"], str)


def test_other_statuses_are_said_as_such() -> None:
    seen = fetch(Kind.CRL, b"<html><title>Blocked</title>", "403 Forbidden")
    assert (seen.seen, seen.evidence["html"], seen.evidence["title"]) == (Seen.HTTP_STATUS, True, "Blocked")
    assert fetch(Kind.CRL, b"", "302 Found", "Location: http://portal.example/").seen is Seen.HTTP_STATUS
    assert fetch(Kind.CTL, cab(), "404 Not Found").seen is Seen.HTTP_STATUS


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([Kind.CRL, Kind.OCSP, Kind.CTL]),
    st.sampled_from([crl(), ocsp_answer(), cab()]),
    st.integers(0, 400),
    st.binary(max_size=4),
)
def test_damaged_bytes_are_an_observation(kind: Kind, body: bytes, at: int, junk: bytes) -> None:
    at = min(at, len(body))
    fetch(kind, body[:at] + junk + body[at + len(junk) :])
