"""What certificate checks fetch over port 80: CRLs, OCSP answers, trust lists. Are they what they say?

Signatures are not checked: what counts here is whether the way is open and nobody put something else in its
place; an attacker who keeps back revocations is out of reach of this check.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connectivity_check.failure import Seen
from connectivity_check.model import Expectation, Json, Kind
from connectivity_check.probes.http_answer import Answer
from connectivity_check.probes.page import Page

if TYPE_CHECKING:
    from cryptography import x509

MAX_LIST = 2 * 1024 * 1024
"""Bytes of a list that are read; the vendor's are below 1 MB."""
OCSP_TYPE = "application/ocsp-request"

# What we ask about: serial number and issuer of a CA that many of Azure's certificates come from. The issuer
# hashes (SHA-1, RFC 6960 section 4.1.1) are of DigiCert Global Root G2. Another CA's responder answers
# "unauthorized" (RFC 5019 section 2.2.3), which is an OCSP answer as well.
_SERIAL = 0x0A43A9509B01352F899579EC7208BA50
_ISSUER_NAME_HASH = bytes.fromhex("39d28b71fe1d19b65fb3f1288f23bc04595c4395")
_ISSUER_KEY_HASH = bytes.fromhex("4e2254201895e6e36ee60ffafab912ed06178f39")

# [MS-CAB] section 2.1: CFHEADER and, at coffFiles, CFFILE with the file's name behind 16 bytes.
_CAB_HEADER = 36


def ocsp_request() -> bytes:
    """Give a request (DER) for one certificate, without a nonce, so that caches can answer."""
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import ocsp

    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        _ISSUER_NAME_HASH,
        _ISSUER_KEY_HASH,
        _SERIAL,
        SHA1(),  # noqa: S303 - names an issuer, protects nothing (RFC 5019 section 2.1.1)
    )
    return builder.build().public_bytes(Encoding.DER)


def judge_revocation(
    answer: Answer, expectation: Expectation, page: Page, utc: float, evidence: dict[str, Json]
) -> Seen | None:
    """Read the body as what it should be, note the facts, and say what is wrong with it.

    A status other than 200 (or the expected ones) is said as such, whatever the body; a 200 with a body
    that is no such list, or with one that is out of date, is `REVOCATION_CONTENT`.
    """
    evidence["kind"] = expectation.kind.value
    if answer.status not in (expectation.statuses or (200,)):
        return Seen.HTTP_STATUS
    body = bytes(answer.body)
    evidence["parsed"] = False
    if page.html or not body:
        evidence["error"] = "the body is HTML" if page.html else "the body is empty"
        return Seen.REVOCATION_CONTENT
    if not answer.complete:
        evidence["truncated"] = True
    now = datetime.fromtimestamp(utc, UTC)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if expectation.kind is Kind.CRL:
                _read_crl(body, answer.complete, now, evidence)
            elif expectation.kind is Kind.OCSP:
                _read_ocsp(body, now, evidence)
            else:
                _read_cab(body, answer.complete)
    except Exception as error:  # noqa: BLE001 - cryptography raises many types for bad bytes; all mean "no list"
        evidence["error"] = str(error)[:200] or type(error).__name__
        return Seen.REVOCATION_CONTENT
    evidence["parsed"] = True
    return Seen.REVOCATION_CONTENT if evidence.get("stale") else None


def _read_crl(body: bytes, complete: bool, now: datetime, evidence: dict[str, Json]) -> None:
    from cryptography import x509

    if not complete:
        _check_der_start(body)
        return
    pem = body.lstrip().startswith(b"-----BEGIN")
    crl = x509.load_pem_x509_crl(body) if pem else x509.load_der_x509_crl(body)
    evidence["issuer"] = _name(crl.issuer)
    _note_dates(crl.last_update_utc, crl.next_update_utc, now, evidence)


def _check_der_start(body: bytes) -> None:
    """A CRL is a SEQUENCE longer than what we read; that is all one can tell of its beginning."""
    if body[:1] != b"\x30" or not 0x82 <= body[1] <= 0x84:
        raise ValueError("this is no DER sequence")


def _read_ocsp(body: bytes, now: datetime, evidence: dict[str, Json]) -> None:
    from cryptography.x509 import ocsp

    response = ocsp.load_der_ocsp_response(body)
    evidence["ocsp_status"] = int(response.response_status.value)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return
    evidence["issuer"] = _name(response.responder_name) if response.responder_name else ""
    _note_dates(response.this_update_utc, response.next_update_utc, now, evidence)


def _read_cab(body: bytes, complete: bool) -> None:
    if body[:4] != b"MSCF":
        raise ValueError("this is no CAB file")
    if len(body) < _CAB_HEADER:
        raise ValueError("the CAB file ends in its header")
    size = int.from_bytes(body[8:12], "little")
    files_at = int.from_bytes(body[16:20], "little")
    major, folders, files = (
        body[25],
        int.from_bytes(body[26:28], "little"),
        int.from_bytes(body[28:30], "little"),
    )
    # A signature may follow the cabinet proper.
    if (
        major != 1
        or not folders
        or not files
        or not _CAB_HEADER <= files_at < size
        or (complete and size > len(body))
    ):
        raise ValueError("the CAB file's header contradicts itself, or the file is cut off")
    name = body[files_at + 16 : files_at + 16 + 256].partition(b"\0")[0]
    if not name.lower().endswith((b".stl", b".sst")):
        raise ValueError(f"the CAB file holds no trust list but {name[:60]!a}")


def _note_dates(
    this_update: datetime, next_update: datetime | None, now: datetime, evidence: dict[str, Json]
) -> None:
    evidence["this_update"] = _rfc3339(this_update)
    if next_update is not None:
        evidence["next_update"] = _rfc3339(next_update)
    evidence["stale"] = next_update is not None and next_update < now


def _name(name: x509.Name) -> str:
    return name.rfc4514_string()[:300]


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
