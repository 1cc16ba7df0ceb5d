"""What a certificate says of itself, as evidence. Nothing here decides whether to believe it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from connectivity_check.model import Json

if TYPE_CHECKING:
    from cryptography import x509

MAX_NAMES = 20
MAX_TEXT = 300
"""Of a subject or issuer; whoever makes a certificate can make it long."""
MAX_CHAIN = 10
"""Certificates that are described; OpenSSL itself takes no longer chain than 100 kB."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """One certificate. Everything but `sha256` is empty when the certificate cannot be parsed."""

    sha256: str
    subject: str = ""
    issuer: str = ""
    common_name: str = ""
    issuer_common_name: str = ""
    spki_sha256: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    names: tuple[str, ...] = ()

    def evidence(self, *, leaf: bool = False) -> dict[str, Json]:
        """Give it as docs/preflight-evidence.md has it (`chain`); times are RFC 3339, UTC."""
        found: dict[str, Json] = {
            "subject": self.subject,
            "issuer": self.issuer,
            "common_name": self.common_name,
            "issuer_common_name": self.issuer_common_name,
            "spki_sha256": self.spki_sha256,
            "sha256": self.sha256,
            "not_before": _rfc3339(self.not_before),
            "not_after": _rfc3339(self.not_after),
        }
        if leaf:
            found["names"] = list(self.names)
        return found


@lru_cache(maxsize=1024)
def certificate_facts(der: bytes) -> CertificateFacts:
    """Read one certificate (DER). Raises nothing; remembers what it has read, for chains share their tops."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    sha256 = hashlib.sha256(der).hexdigest()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd serial numbers and the like are no news for the operator
            certificate = x509.load_der_x509_certificate(der)
            spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return CertificateFacts(
                sha256=sha256,
                subject=certificate.subject.rfc4514_string()[:MAX_TEXT],
                issuer=certificate.issuer.rfc4514_string()[:MAX_TEXT],
                common_name=_common_name(certificate.subject),
                issuer_common_name=_common_name(certificate.issuer),
                spki_sha256=hashlib.sha256(spki).hexdigest(),
                not_before=certificate.not_valid_before_utc,
                not_after=certificate.not_valid_after_utc,
                names=_names(certificate),
            )
    except Exception:  # noqa: BLE001 - cryptography raises many types for bad bytes; all mean "cannot be read"
        return CertificateFacts(sha256=sha256)


def chain_evidence(chain: Sequence[bytes]) -> list[Json]:
    """Describe a chain, leaf first, at most MAX_CHAIN certificates of it."""
    return [certificate_facts(der).evidence(leaf=n == 0) for n, der in enumerate(chain[:MAX_CHAIN])]


def out_of_date(chain: Sequence[bytes], utc: float) -> tuple[bool, bool]:
    """Tell (expired, not yet valid) of the leaf and of those sent certificates that lead up from it.

    Others are left alone: servers often send an old cross-signed root that nobody needs.
    """
    now = datetime.fromtimestamp(utc, UTC)
    expired = not_yet = False
    for facts in _path([certificate_facts(der) for der in chain[:MAX_CHAIN]]):
        expired = expired or (facts.not_after is not None and facts.not_after < now)
        not_yet = not_yet or (facts.not_before is not None and facts.not_before > now)
    return expired, not_yet


def _path(sent: Sequence[CertificateFacts]) -> list[CertificateFacts]:
    path = list(sent[:1])
    rest = list(sent[1:])
    while path and path[-1].issuer != path[-1].subject:
        following = next((facts for facts in rest if facts.subject == path[-1].issuer), None)
        if following is None:
            break
        rest.remove(following)
        path.append(following)
    return path


def _common_name(name: x509.Name) -> str:
    from cryptography.x509.oid import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value)[:MAX_TEXT] if found else ""


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    found = [item.value for item in names if isinstance(item, x509.DNSName | x509.IPAddress)]
    return tuple(str(value)[:255] for value in found[:MAX_NAMES])


def _rfc3339(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""
