"""The lab's certificate authorities: public ones, a company's inspection CA, and rogues.

Keys are made once a process (elliptic curves: cheap); certificates when first asked for.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PUBLIC_ISSUER = "Lab Azure TLS Issuing CA 01"
OTHER_ISSUER = "Lab Other Public Issuing CA"
COMPANY = "Example Corp TLS Inspection CA"
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: its certificate, its key, and the certificates from it up to (without) the root."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@functools.cache
def root(name: str) -> Authority:
    """A self-signed CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(_sign(name, key, name, key, key, ca=True, names=()), key)


@functools.cache
def issuer(name: str) -> Authority:
    """The intermediate CA of this name; what is under which root is said here."""
    top = root({PUBLIC_ISSUER: "Lab Public Root", OTHER_ISSUER: "Lab Other Public Root"}.get(name, name))
    if name not in (PUBLIC_ISSUER, OTHER_ISSUER):
        return top  # inspection boxes and rogues sign with their root
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(name, key, _common_name(top.certificate), top.key, key, ca=True, names=())
    return Authority(certificate, key, (certificate,))


@functools.cache
def _server_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class Leaf:
    """A server certificate to make: for which names, by whom, shifted by how many days, padded by what."""

    names: tuple[str, ...]
    issuer: str = PUBLIC_ISSUER
    from_days: int = -30
    to_days: int = 60
    padding: int = 0
    """Bytes of a private extension: a certificate as big as inspection boxes and CDNs make them."""


def server_context(directory: Path, leaf: Leaf, *, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """A server-side context that presents this certificate and its chain."""
    authority = issuer(leaf.issuer)
    key = _server_key()
    certificate = _sign(
        leaf.names[0], key, _common_name(authority.certificate), authority.key, key, ca=False,
        names=leaf.names, from_days=leaf.from_days, to_days=leaf.to_days, padding=leaf.padding,
    )  # fmt: skip
    pem = directory / f"leaf-{abs(hash(leaf)):x}.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (certificate, *authority.chain))
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.set_alpn_protocols(list(alpn))
    return context


def key_and_certificate(authority: Authority) -> bytes:
    """Both in PEM, as squid's `tls-cert` wants them."""
    return (
        authority.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + authority.pem
    )


def _common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_name: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    subject_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    names: tuple[str, ...],
    from_days: int = -3000,
    to_days: int = 3000,
    padding: int = 0,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name[:64]))
        .issuer_name(_name(issuer_name))
        .public_key(subject_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + from_days * _DAY)
        .not_valid_after(now + to_days * _DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if ca:
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general(each) for each in names]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    if padding:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.55555.1")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, b"\x04\x00" * (padding // 2)), False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
