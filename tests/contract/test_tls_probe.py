"""TlsProbe: real handshakes on loopback, with good servers, wrong certificates, and things that are no server."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from connectivity_check.failure import Seen
from connectivity_check.model import InputError, Observation, Role
from connectivity_check.ports import TlsVariant, Tried
from connectivity_check.probes.stream import TcpStream
from connectivity_check.probes.tls import TlsProbe
from connectivity_check.probes.trust import Trust

NAME = "winatp-gw-cus.microsoft.com"
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class MachineClock:
    """The machine's clock, with UTC shifted at will."""

    def __init__(self, shift_s: float = 0.0) -> None:
        self.shift_s = shift_s

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def utc(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.shift_s


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA(organization_name="Site")


@pytest.fixture
def other() -> trustme.CA:
    return trustme.CA(organization_name="Stranger")


@pytest.fixture
def probe(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TlsProbe:
    """A probe on a host whose system, and whose public bundle, know `authority` only."""
    return make_probe(tmp_path, monkeypatch, system=[authority], public=[authority])


def make_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, system: list[trustme.CA], public: list[trustme.CA]
) -> TlsProbe:
    for name, authorities in (("system", system), ("public", public)):
        (tmp_path / f"{name}.pem").write_bytes(b"".join(each.cert_pem.bytes() for each in authorities))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return TlsProbe(Trust(public_file=str(tmp_path / "public.pem")), MachineClock())


def server_context(certificate: trustme.LeafCert, *, chain: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if chain:
        certificate.configure_cert(context)
    else:
        with certificate.private_key_and_cert_chain_pem.tempfile() as both:
            alone = Path(both)
            text = alone.read_text().split("-----BEGIN CERTIFICATE-----")
            alone.write_text(text[0] + "-----BEGIN CERTIFICATE-----" + text[1])
            context.load_cert_chain(both)
    return context


async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo what comes until the peer leaves."""
    try:
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def by_hand(context: ssl.SSLContext, greeting: bytes = b"") -> Peer:
    """A TLS server that sends its alerts (asyncio's own just closes), and then a greeting."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = context.wrap_bio(incoming, outgoing, server_side=True)
        try:
            while True:
                try:
                    connection.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    writer.write(outgoing.read())
                    incoming.write(await reader.read(65536))
            connection.write(greeting)
            writer.write(outgoing.read())
            await reader.read(1)
        except ssl.SSLError:
            writer.write(outgoing.read())
        finally:
            writer.close()

    return peer


@asynccontextmanager
async def serving(peer: Peer, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on loopback; gives the port."""
    asyncio.get_running_loop().set_exception_handler(lambda loop, details: None)  # servers' own TLS failures
    server = await asyncio.start_server(peer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.sleep(0.01)


async def stream_to(port: int) -> TcpStream:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return TcpStream(sock, "127.0.0.1", port, rtt_s=0.0, mss=None)


async def shake(probe: TlsProbe, port: int, name: str = NAME, **options: object) -> Tried:
    options.setdefault("budget_s", 3.0)
    return await probe.handshake(await stream_to(port), name, **options)  # type: ignore[arg-type]


def observe(
    probe: TlsProbe, context: ssl.SSLContext | None, name: str = NAME, peer: Peer = polite, **options: object
) -> Observation:
    """Serve, shake hands once, close."""

    async def run() -> Observation:
        async with serving(peer, context) as port:
            tried = await shake(probe, port, name, **options)
            if tried.stream:
                tried.stream.close()
            assert (tried.stream is None) == ("verified_system" not in tried.observation.evidence)
            return tried.observation

    return asyncio.run(run())


# ---- certificates ----------------------------------------------------------------------------------------


def test_a_good_handshake_says_everything(probe: TlsProbe, authority: trustme.CA) -> None:
    leaf = authority.create_child_ca().issue_cert(NAME, "*.example", common_name="leaf")
    seen = observe(probe, server_context(leaf))
    assert seen.seen is None
    evidence = seen.evidence
    assert evidence["stage"] == "finished"
    assert evidence["version"] == "TLSv1.3"
    assert evidence["verified_system"] is True
    assert evidence["verified_public"] is True
    assert evidence["name_matches"] is True
    assert evidence["expired"] is evidence["not_yet"] is False
    assert evidence["offered"] == ["TLSv1.3", "TLSv1.2"]
    assert "verify_code" not in evidence
    chain = evidence["chain"]
    assert isinstance(chain, list)
    keys = "common_name issuer issuer_common_name not_after not_before sha256 spki_sha256 subject"
    assert " ".join(sorted(chain[1])) == keys
    assert chain[0]["names"] == [NAME, "*.example"]
    assert chain[0]["common_name"] == "leaf"
    root = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    spki = root.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(spki)
    assert evidence["root_spki_sha256"] == digest.finalize().hex()
    assert isinstance(evidence["rtt_ms"], float)


@pytest.mark.parametrize(
    ("names", "asked", "matches"),
    [
        (["*.microsoft.com"], NAME, True),
        (["*.microsoft.com"], "a.b.microsoft.com", False),
        (["*.microsoft.com"], "microsoft.com", False),
        (["WINATP-GW-CUS.microsoft.com"], NAME, True),
        (["127.0.0.1"], "127.0.0.1", True),
        (["127.0.0.1"], "127.0.0.2", False),
        (["::1"], "::1", True),
        (["other.example"], NAME, False),
    ],
)
def test_names(probe: TlsProbe, authority: trustme.CA, names: list[str], asked: str, matches: bool) -> None:
    seen = observe(probe, server_context(authority.issue_cert(*names)), asked)
    assert seen.evidence["name_matches"] is matches
    assert seen.seen is (None if matches else Seen.TLS_INVALID_HOSTNAME)
    if not matches:
        assert seen.evidence["verify_code"] in (62, 64)
        assert seen.evidence["verified_public"] is True
        assert isinstance(seen.evidence["verified_system"], str)


def test_an_unknown_authority_is_told_from_a_wrong_name(probe: TlsProbe, other: trustme.CA) -> None:
    seen = observe(probe, server_context(other.create_child_ca().issue_cert(NAME)))
    assert seen.seen is Seen.TLS_UNKNOWN_AUTHORITY
    assert seen.evidence["name_matches"] is True
    assert seen.evidence["verify_code"] in (18, 19, 20, 21)
    assert seen.evidence["verified_public"] not in (True, None)
    wrong = observe(probe, server_context(other.issue_cert("portal.example")))
    assert wrong.seen is Seen.TLS_INVALID_HOSTNAME
    assert wrong.evidence["name_matches"] is False


def test_dates_come_before_name_and_authority(
    probe: TlsProbe, authority: trustme.CA, other: trustme.CA
) -> None:
    expired = authority.issue_cert(NAME, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    seen = observe(probe, server_context(expired))
    assert (seen.seen, seen.evidence["expired"], seen.evidence["not_yet"]) == (
        Seen.TLS_INVALID_CERTIFICATE,
        True,
        False,
    )
    assert seen.evidence["verify_code"] == 10
    assert seen.evidence["name_matches"] is True
    early = other.issue_cert("elsewhere.example", not_before=NOW + DAY, not_after=NOW + 9 * DAY)
    seen = observe(probe, server_context(early))
    assert (seen.seen, seen.evidence["expired"], seen.evidence["not_yet"]) == (
        Seen.TLS_INVALID_CERTIFICATE,
        False,
        True,
    )
    assert seen.evidence["name_matches"] is False


def test_a_missing_intermediate_is_an_unknown_authority(probe: TlsProbe, authority: trustme.CA) -> None:
    leaf = authority.create_child_ca().issue_cert(NAME)
    seen = observe(probe, server_context(leaf, chain=False))
    assert seen.seen is Seen.TLS_UNKNOWN_AUTHORITY
    assert len(seen.evidence["chain"]) == 1  # type: ignore[arg-type]


def test_an_authority_of_this_system_only(
    authority: trustme.CA, other: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = make_probe(tmp_path, monkeypatch, system=[authority, other], public=[authority])
    seen = observe(probe, server_context(other.issue_cert(NAME)))
    assert seen.seen is None
    assert seen.evidence["verified_system"] is True
    assert isinstance(seen.evidence["verified_public"], str)


def test_an_authority_of_the_public_only(
    authority: trustme.CA, other: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = make_probe(tmp_path, monkeypatch, system=[authority], public=[authority, other])
    seen = observe(probe, server_context(other.issue_cert(NAME)))
    assert seen.seen is Seen.TLS_UNKNOWN_AUTHORITY
    assert seen.evidence["verified_public"] is True


def test_an_own_authority_counts_as_the_systems(
    authority: trustme.CA, other: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_probe(tmp_path, monkeypatch, system=[authority], public=[authority])
    other.cert_pem.write_to_path(str(tmp_path / "own.pem"))
    trust = Trust(ca_file=str(tmp_path / "own.pem"), public_file=str(tmp_path / "public.pem"))
    seen = observe(TlsProbe(trust, MachineClock()), server_context(other.issue_cert(NAME)))
    assert seen.seen is None
    assert seen.evidence["verified_public"] is not True


def test_a_cross_signed_root_at_the_end_does_not_matter(probe: TlsProbe, authority: trustme.CA) -> None:
    """Servers often send one certificate too many, and that one may be long expired."""
    leaf = authority.issue_cert(NAME)
    old = trustme.CA(organization_name="Old").issue_cert("old.example", not_after=NOW - DAY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes() + old.cert_chain_pems[0].bytes()
    with trustme.Blob(pem).tempfile() as path:
        context.load_cert_chain(path)
    seen = observe(probe, context)
    assert seen.seen is None
    assert len(seen.evidence["chain"]) == 2  # type: ignore[arg-type]


# ---- forged certificates ---------------------------------------------------------------------------------


class Forger:
    """Makes certificates that trustme would not."""

    def __init__(self, name: str, issuer: Forger | None = None, **extensions: x509.ExtensionType) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        self.issuer = issuer
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(signer.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
        )
        for extension in extensions.values():
            builder = builder.add_extension(extension, critical=True)
        self.certificate = builder.sign(signer.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def context(self, *others: Forger) -> ssl.SSLContext:
        """A server that shows this certificate and others."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with trustme.Blob(key + self.pem + b"".join(each.pem for each in others)).tempfile() as path:
            context.load_cert_chain(path)
        return context


CA = x509.BasicConstraints(ca=True, path_length=None)
SAN = x509.SubjectAlternativeName([x509.DNSName(NAME)])


def forged_probe(root: Forger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TlsProbe:
    (tmp_path / "root.pem").write_bytes(root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return TlsProbe(Trust(public_file=str(tmp_path / "root.pem")), MachineClock())


def test_a_copied_name_of_an_authority_is_no_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A box that gives its own CA the subject of a known one: the names fit, the signatures do not."""
    probe = forged_probe(Forger("Root", basic=CA), tmp_path, monkeypatch)
    seen = observe(probe, Forger("leaf", Forger("Root", basic=CA), san=SAN).context())
    assert seen.seen is Seen.TLS_UNKNOWN_AUTHORITY
    assert seen.evidence["verified_system"] is not True
    assert seen.evidence["verified_public"] is not True


@pytest.mark.parametrize(
    "fault", ["name constraints", "leaf as authority", "for clients only", "path length"]
)
def test_chains_that_break_rules_are_invalid(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Forger("Root", basic=CA)
    middle, leaf = Forger("Middle", root, basic=CA), None
    if fault == "name constraints":
        only = x509.NameConstraints([x509.DNSName("example.org")], None)
        middle = Forger("Middle", root, basic=CA, only=only)
    elif fault == "leaf as authority":
        middle = Forger("Middle", root, basic=x509.BasicConstraints(ca=False, path_length=None))
    elif fault == "for clients only":
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        leaf = Forger("leaf", middle, san=SAN, purpose=purpose)
    else:
        root = Forger("Root", basic=x509.BasicConstraints(ca=True, path_length=0))
        middle = Forger("Middle", root, basic=CA)
    leaf = leaf or Forger("leaf", middle, san=SAN)
    seen = observe(forged_probe(root, tmp_path, monkeypatch), leaf.context(middle))
    assert seen.seen is Seen.TLS_INVALID_CERTIFICATE
    assert seen.evidence["verified_system"] is not True
    assert seen.evidence["verified_public"] is not True
    assert seen.evidence["expired"] is seen.evidence["not_yet"] is False


def test_a_self_signed_certificate_is_of_an_unknown_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = forged_probe(Forger("Root", basic=CA), tmp_path, monkeypatch)
    seen = observe(probe, Forger("self", san=SAN).context())
    assert seen.seen is Seen.TLS_UNKNOWN_AUTHORITY
    assert seen.evidence["name_matches"] is True


# ---- streams ---------------------------------------------------------------------------------------------


def test_the_stream_works_though_the_certificate_does_not_verify(probe: TlsProbe, other: trustme.CA) -> None:
    async def run() -> bytes:
        async with serving(polite, server_context(other.issue_cert(NAME))) as port:
            tried = await shake(probe, port)
            assert tried.observation.seen is Seen.TLS_UNKNOWN_AUTHORITY
            assert tried.stream is not None
            await tried.stream.send(b"block page?")
            answer = await tried.stream.receive()
            tried.stream.close()
            tried.stream.close()
            return answer

    assert asyncio.run(run()) == b"block page?"


def test_big_data_both_ways_and_the_end(probe: TlsProbe, authority: trustme.CA) -> None:
    async def run() -> None:
        async with serving(polite, server_context(authority.issue_cert(NAME))) as port:
            tried = await shake(probe, port)
            assert tried.stream is not None
            data = bytes(range(256)) * 1024
            sender = asyncio.create_task(tried.stream.send(data))
            got = b""
            while len(got) < len(data):
                got += await tried.stream.receive(4096)
            await sender
            assert got == data
            tried.stream.close()
            assert await tried.stream.receive() == b""

    asyncio.run(run())


def test_tls_inside_tls(probe: TlsProbe, authority: trustme.CA) -> None:
    """An https proxy and then the target: the inner handshake runs over the outer stream."""
    inner = by_hand(server_context(authority.issue_cert(NAME)), b"inside")

    async def run() -> None:
        async with serving(inner, server_context(authority.issue_cert("proxy.example"))) as port:
            outer = await shake(probe, port, "proxy.example")
            assert outer.stream is not None
            tried = await probe.handshake(outer.stream, NAME, budget_s=3)
            assert tried.observation.seen is None
            assert tried.observation.evidence["port"] == port
            assert tried.stream is not None
            assert await tried.stream.receive() == b"inside"
            tried.stream.close()

    asyncio.run(run())


# ---- variants --------------------------------------------------------------------------------------------


def test_the_name_is_sent_and_the_role_written_down(probe: TlsProbe, authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert(NAME))
    names: list[str | None] = []
    context.sni_callback = lambda connection, name, ctx: names.append(name)
    seen = observe(probe, context, role=Role.CONTROL_SNI)
    assert names == [NAME]
    assert (seen.seen, seen.evidence["server_name"], seen.role) == (None, NAME, Role.CONTROL_SNI)


@pytest.mark.parametrize(
    ("variant", "version"),
    [(TlsVariant.TLS12, "TLSv1.2"), (TlsVariant.LEGACY, "TLSv1.1"), (TlsVariant.NORMAL, "TLSv1.3")],
)
def test_versions(probe: TlsProbe, authority: trustme.CA, variant: TlsVariant, version: str) -> None:
    context = server_context(authority.issue_cert(NAME))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    seen = observe(probe, context, variant=variant)
    assert (seen.seen, seen.evidence["version"]) == (None, version)
    assert seen.evidence["verified_system"] is True


def test_h2_is_offered_only_when_wanted(probe: TlsProbe, authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert(NAME))
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert observe(probe, context, variant=TlsVariant.H2).evidence["alpn"] == "h2"
    assert observe(probe, context).evidence["alpn"] == "http/1.1"


def test_a_server_too_old_is_alert_70(probe: TlsProbe, authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert(NAME))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    seen = observe(probe, None, peer=by_hand(context))
    assert (seen.seen, seen.evidence["alert"], seen.evidence["alert_name"]) == (
        Seen.TLS_ALERT,
        70,
        "protocol_version",
    )
    assert seen.evidence["stage"] == "server_hello"


def test_no_common_cipher_is_alert_40(probe: TlsProbe, authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert(NAME))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")  # no forward secrecy, which we do not offer
    seen = observe(probe, None, peer=by_hand(context))
    assert (seen.seen, seen.evidence["alert"]) == (Seen.TLS_ALERT, 40)


# ---- no handshake ----------------------------------------------------------------------------------------


def saying(data: bytes, *, reset: bool = False, stay: bool = False, delay_s: float = 0.0) -> Peer:
    """A peer that reads a ClientHello and answers with fixed bytes."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        await asyncio.sleep(delay_s)
        writer.write(data)
        if stay:
            await reader.read()
        if reset:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        writer.close()

    return peer


def test_reset_end_and_silence(probe: TlsProbe) -> None:
    seen = observe(probe, None, peer=saying(b"", reset=True))
    assert (seen.seen, seen.evidence["stage"], seen.evidence["received"]) == (
        Seen.CONNECTION_RESET,
        "client_hello",
        0,
    )
    assert isinstance(seen.evidence["rtt_ms"], float)
    assert observe(probe, None, peer=saying(b"")).seen is Seen.EOF
    seen = observe(probe, None, peer=saying(b"", stay=True), budget_s=0.2)
    assert (seen.seen, seen.evidence["stage"]) == (Seen.TIMEOUT, "client_hello")
    assert "rtt_ms" not in seen.evidence
    assert 0.15 < seen.took_s < 2


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 403 Forbidden\r\n\r\n<html>", b"220 mail ready\r\n", b"SSH-2.0-x\r\n", b"\x80\x2e\x01"],
)
def test_what_is_no_tls(probe: TlsProbe, data: bytes) -> None:
    seen = observe(probe, None, peer=saying(data))
    assert seen.seen is Seen.NOT_TLS
    assert seen.evidence["first_bytes"] == data[:64].hex()


@pytest.mark.parametrize(
    ("data", "number", "name"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x28", 40, "handshake_failure"),
        (b"\x15\x03\x03\x00\x02\x02\x46", 70, "protocol_version"),
        (b"\x15\x03\x03\x00\x02\x02\x70", 112, "unrecognized_name"),
        (b"\x15\x03\x03\x00\x02\x02\x78", 120, "no_application_protocol"),
        (b"\x15\x03\x03\x00\x02\x02\x31", 49, "access_denied"),
        (b"\x15\x03\x03\x00\x02\x02\xfe", 254, "unknown"),
    ],
)
def test_alerts_in_the_clear(probe: TlsProbe, data: bytes, number: int, name: str) -> None:
    seen = observe(probe, None, peer=saying(data))
    assert (seen.seen, seen.evidence["alert"], seen.evidence["alert_name"]) == (Seen.TLS_ALERT, number, name)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x03\xff\xff" + b"A" * 70000,  # a record longer than may be
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",  # an empty ServerHello
        b"\x17\x03\x03\x00\x05hello",
        b"\x14\x03\x03\x00\x01\x01" * 100,
        b"\x16\x03\x00\x00\x00" * 50,
    ],
)
def test_garbage_in_the_form_of_records_is_an_observation(probe: TlsProbe, data: bytes) -> None:
    seen = observe(probe, None, peer=saying(data, stay=True), budget_s=1)
    assert seen.seen in (Seen.TLS_HANDSHAKE, Seen.TLS_ALERT, Seen.TIMEOUT)
    assert seen.seen is Seen.TIMEOUT or "local_error" in seen.evidence or "alert" in seen.evidence


def test_cut_in_the_middle_of_the_answer(probe: TlsProbe, authority: trustme.CA) -> None:
    """TLS 1.2, the first 60 bytes of the ServerHello, then the end: bytes came, no certificate did."""
    context = server_context(authority.issue_cert(NAME))

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(await reader.read(65536))
        with pytest.raises(ssl.SSLWantReadError):
            connection.do_handshake()
        writer.write(outgoing.read()[:60])
        writer.close()

    seen = observe(probe, None, peer=peer)
    assert (seen.seen, seen.evidence["stage"], seen.evidence["received"]) == (Seen.EOF, "server_hello", 60)


def test_slow_bytes_end_with_the_budget(probe: TlsProbe) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        try:
            for byte in b"\x16\x03\x03\x40\x00" + b"\0" * 500:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        except OSError:
            pass
        finally:
            writer.close()

    seen = observe(probe, None, peer=drip, budget_s=0.3)
    assert (seen.seen, seen.evidence["stage"]) == (Seen.TIMEOUT, "server_hello")


@pytest.mark.parametrize("name", ["", "a..b", ".example", "x" * 64 + ".example", "a\0b"])
def test_names_that_cannot_be_sent(probe: TlsProbe, name: str) -> None:
    seen = observe(probe, None, name, peer=saying(b""))
    assert seen.seen in (Seen.TLS_HANDSHAKE, Seen.EOF)


def test_cancelling_closes_the_stream(probe: TlsProbe) -> None:
    async def run() -> None:
        async with serving(saying(b"", stay=True)) as port:
            stream = await stream_to(port)
            task = asyncio.create_task(probe.handshake(stream, NAME, budget_s=9))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(OSError):
                await stream.receive()

    asyncio.run(run())


def test_many_at_once_are_all_told_apart(probe: TlsProbe, authority: trustme.CA, other: trustme.CA) -> None:
    async def run() -> None:
        good, bad = (server_context(ca.issue_cert(NAME)) for ca in (authority, other))
        async with serving(polite, good) as one, serving(polite, bad) as two:
            tried = await asyncio.gather(*(shake(probe, port) for _ in range(49) for port in (one, two)))
            for each in tried:
                assert each.stream is not None
                each.stream.close()
            seen = [each.observation.seen for each in tried]
            assert seen == [None, Seen.TLS_UNKNOWN_AUTHORITY] * 49

    asyncio.run(run())


# ---- stores ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"],
)
def test_files_that_hold_no_authority_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"ca\.pem"):
        Trust(ca_file=str(path))
    with pytest.raises(InputError, match=r"ca\.pem"):
        Trust(public_file=str(path))


def test_the_agents_own_root_is_believed_where_browsers_do_not_know_it() -> None:
    trust = Trust()
    chain = [ssl.PEM_cert_to_DER_cert(root) for root in service_roots()]
    for root in chain:
        found = trust.assess([root], NAME, time.time())
        assert (
            found.public.ok or found.public.code == 26
        )  # a root is no server certificate; it is known, though


def service_roots() -> list[str]:
    import connectivity_check

    text = (Path(connectivity_check.__file__).parent / "data" / "service_roots.pem").read_text()
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return [begin + part.split(end)[0] + end + "\n" for part in text.split(begin)[1:]]
