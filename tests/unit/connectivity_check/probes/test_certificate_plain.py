"""Plain certificates: what is read of them is what `cryptography` reads, and odd ones are left to it."""

from __future__ import annotations

import random
import warnings
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from connectivity_check.probes.certificate_plain import PlainCertificate, read_plain
from connectivity_check.probes.tls_chain import CertificateFacts, certificate_facts, chain_evidence

Attribute = tuple[x509.ObjectIdentifier, str]
VENDOR: tuple[Attribute, ...] = (
    (NameOID.COUNTRY_NAME, "US"),
    (NameOID.ORGANIZATION_NAME, "Vendor, Inc."),
    (NameOID.COMMON_NAME, "Vendor Issuing CA 01"),
)
HOST: tuple[Attribute, ...] = ((NameOID.COMMON_NAME, "one.vendor.example"),)
NAMES: tuple[x509.GeneralName, ...] = (
    x509.DNSName("one.vendor.example"),
    x509.DNSName("*.vendor.example"),
    x509.IPAddress(ip_address("192.0.2.7")),
    x509.IPAddress(ip_address("2001:db8::7")),
)
OTHERS = tuple(bytes([0x06, 4, 42, 3, 4, last]) for last in range(2))
"""How the identifiers of `others` begin and end."""
BORN, DEAD = datetime(2024, 1, 31, 23, 59, 58, tzinfo=UTC), datetime(2051, 2, 28, 1, 2, 3, tzinfo=UTC)


@cache
def key(kind: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
    """Give a key of a kind, the same each time."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if kind == "rsa-3":
        return rsa.generate_private_key(3, 2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(
        {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}[kind]
    )


def certificate(
    kind: str = "p256",
    subject: tuple[Attribute, ...] = HOST,
    names: tuple[x509.GeneralName, ...] = NAMES,
    born: datetime = BORN,
    others: int = 0,
) -> bytes:
    """Give a certificate, signed on P-256 by somebody of the vendor's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of country codes that are none
        made = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(oid, value) for oid, value in VENDOR]),
            subject_name=x509.Name([x509.NameAttribute(oid, value) for oid, value in subject]),
            public_key=key(kind).public_key(),
            serial_number=77,
            not_valid_before=born,
            not_valid_after=DEAD,
        )
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if names:
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        for last in range(others):
            value = x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.4.{last}"), b"")
            made = made.add_extension(value, critical=False)
        signer = key("p256")
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        return made.sign(signer, SHA256()).public_bytes(Encoding.DER)


def facts_by_cryptography(der: bytes, monkeypatch: pytest.MonkeyPatch) -> CertificateFacts:
    """Give what the other reader says of a certificate."""
    with monkeypatch.context() as patch:
        patch.setattr("connectivity_check.probes.tls_chain.read_plain", lambda _: None)
        return certificate_facts.__wrapped__(der)


PLAIN = [
    pytest.param(certificate(), id="a host"),
    pytest.param(certificate("p384"), id="P-384"),
    pytest.param(certificate("rsa"), id="RSA"),
    pytest.param(certificate(subject=()), id="no subject: the names say it"),
    pytest.param(certificate(names=()), id="no alternative names"),
    pytest.param(certificate(others=2), id="extensions that nobody knows"),
    pytest.param(certificate(subject=VENDOR), id="a comma is escaped, in the name alone"),
    pytest.param(certificate(subject=((NameOID.COMMON_NAME, "Über Größe 東京"),)), id="not ASCII"),
    pytest.param(certificate(subject=(*HOST, (NameOID.COMMON_NAME, "two"))), id="the first common name"),
    pytest.param(certificate(subject=((NameOID.ORGANIZATION_NAME, "o" * 64),) * 9), id="a long name is cut"),
    pytest.param(certificate(names=(x509.DNSName(".".join(["x" * 60] * 5)),)), id="a long host is cut"),
    pytest.param(certificate(names=NAMES * 9), id="many names are cut"),
    pytest.param(certificate(born=datetime(1950, 1, 1, tzinfo=UTC)), id="the oldest of two-digit years"),
    pytest.param(certificate(born=datetime(2049, 12, 31, tzinfo=UTC)), id="the youngest of them"),
]
ODD = [
    pytest.param(certificate("p521"), id="P-521"),
    pytest.param(certificate("ed25519"), id="Ed25519"),
    pytest.param(certificate("rsa-3"), id="RSA with another exponent"),
    pytest.param(certificate(subject=((NameOID.SERIAL_NUMBER, "5"), *HOST)), id="a seldom attribute"),
    *(
        pytest.param(certificate(subject=((NameOID.COMMON_NAME, text),)), id=repr(text))
        for text in ("a+b", 'a"b', "a\\b", "a;b", "a<b", "a>b", "#a", " a", "a ", "a\nb", "a\0b", "a\u202eb")
    ),
    pytest.param(certificate(names=(x509.UniformResourceIdentifier("https://a.example/"),)), id="a URL"),
    pytest.param(certificate(names=(x509.DNSName("a b"),)), id="a host with a space"),
    pytest.param(certificate(others=2).replace(OTHERS[0], OTHERS[1]), id="an extension twice"),
    pytest.param(certificate() + b"\0", id="bytes behind"),
    pytest.param(certificate()[:-1], id="cut"),
    pytest.param(b"", id="nothing"),
    pytest.param(b"\x30\x84\xff\xff\xff\xff", id="a length beyond all"),
]


@pytest.mark.parametrize("der", PLAIN)
def test_a_plain_certificate_is_read_as_cryptography_reads_it(
    der: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_plain(der) is not None
    assert certificate_facts.__wrapped__(der) == facts_by_cryptography(der, monkeypatch)


@pytest.mark.parametrize("der", ODD)
def test_an_odd_certificate_is_left_to_cryptography(der: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_plain(der) is None
    assert certificate_facts.__wrapped__(der) == facts_by_cryptography(der, monkeypatch)


def test_what_is_read() -> None:
    assert read_plain(certificate()) == PlainCertificate(
        subject="CN=one.vendor.example",
        issuer="CN=Vendor Issuing CA 01,O=Vendor\\, Inc.,C=US",
        common_name="one.vendor.example",
        issuer_common_name="Vendor Issuing CA 01",
        spki=key("p256").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        not_before=BORN,
        not_after=DEAD,
        names=("one.vendor.example", "*.vendor.example", "192.0.2.7", "2001:db8::7"),
    )


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
@pytest.mark.parametrize("seed", range(10))
def test_a_broken_certificate_is_read_alike_or_only_here(
    kind: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serial number and most extensions are not looked at here: then `cryptography` alone may refuse."""
    luck, whole = random.Random(seed), certificate(kind)
    for _ in range(150):
        broken = bytearray(whole)
        for _ in range(luck.choice((1, 1, 2))):
            at = luck.randrange(len(broken))
            broken[at] = luck.choice((luck.randrange(256), broken[at] ^ 1 << luck.randrange(8)))
        der = bytes(broken)
        if read_plain(der) is None:
            continue
        found, other = certificate_facts.__wrapped__(der), facts_by_cryptography(der, monkeypatch)
        refused = CertificateFacts(found.sha256)
        assert other in (found, refused) or (other.names == () and found.subject == other.subject)


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_a_point_that_is_not_on_its_curve_is_no_key(kind: str) -> None:
    public = key(kind).public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert read_plain(certificate(kind).replace(spki, spki[:-1] + bytes([spki[-1] ^ 1]))) is None


def test_a_chain_of_plain_certificates_does_without_cryptography(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectivity_check.probes.tls_chain._facts_of_odd", None)
    described = chain_evidence([certificate(subject=((NameOID.COMMON_NAME, "fresh.example"),))])
    assert isinstance(described[0], dict)
    assert described[0]["common_name"] == "fresh.example"
