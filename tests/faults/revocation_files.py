"""What certificate-check hosts answer with: a CRL, an OCSP answer, a trust list in a cabinet."""

from __future__ import annotations

import datetime
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from tests.faults import pki

_HOUR = datetime.timedelta(hours=1)


def crl(age_days: int = 0) -> bytes:
    """A CRL in DER, valid from `age_days` ago for a week: `age_days` of 8 and more make it stale."""
    issuer = pki.issuer(pki.PUBLIC_ISSUER)
    start = datetime.datetime.now(datetime.UTC) - _HOUR - datetime.timedelta(days=age_days)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(start)
        .next_update(start + datetime.timedelta(days=7))
    )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def ocsp_answer() -> bytes:
    """A signed "good" for the issuing CA itself, which is as good a certificate as any to ask about."""
    issuer, top = pki.issuer(pki.PUBLIC_ISSUER), pki.root("Lab Public Root")
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=issuer.certificate, issuer=top.certificate, algorithm=hashes.SHA1(),
            cert_status=ocsp.OCSPCertStatus.GOOD, this_update=now - _HOUR, next_update=now + 24 * _HOUR,
            revocation_time=None, revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, top.certificate)
    )  # fmt: skip
    return builder.sign(top.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def cabinet() -> bytes:
    """A cabinet with one stored file of a few bytes (MS-CAB sections 2.1 to 2.4)."""
    content, name = b"authroot of the lab", b"authroot.stl\0"
    folder_at = 36
    file_at = folder_at + 8
    data_at = file_at + 16 + len(name)
    size = data_at + 8 + len(content)
    header = struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, size, 0, file_at, 0, 3, 1, 1, 1, 0, 1, 0)
    folder = struct.pack("<IHH", data_at, 1, 0)
    file = struct.pack("<IIHHHH", len(content), 0, 0, 0x5A21, 0, 0x20) + name
    data = struct.pack("<IHH", 0, len(content), len(content)) + content
    return header + folder + file + data
