"""The TLS handshake: one attempt, what came back, and the chain with two verdicts on it."""

from __future__ import annotations

import asyncio
import ssl
import warnings

from connectivity_check.failure import Seen
from connectivity_check.model import Json, Observation, Role, Step
from connectivity_check.ports import Clock, Stream, TlsVariant, Tried
from connectivity_check.probes.chain_verifier import received_chain, server_hostname
from connectivity_check.probes.stream_error import openssl_reason, seen_of
from connectivity_check.probes.tls_alert import ALERTS, AlertWatch, alert_of, is_tls
from connectivity_check.probes.tls_chain import certificate_facts, chain_evidence
from connectivity_check.probes.tls_stream import TlsStream
from connectivity_check.probes.trust import Assessment, Trust

_AUTHORITY = frozenset((2, 7, 18, 19, 20, 21, 27, 28, 29, 30, 33, 44))
"""OpenSSL's reasons that mean "nobody I know signed this" (x509_vfy.h). 7, a bad signature, is among them: a
box that copies the name of a known authority gives that."""
_OFFERED: dict[TlsVariant, list[Json]] = {
    TlsVariant.NORMAL: ["TLSv1.3", "TLSv1.2"],
    TlsVariant.H2: ["TLSv1.3", "TLSv1.2"],
    TlsVariant.TLS12: ["TLSv1.2"],
    TlsVariant.LEGACY: ["TLSv1.1", "TLSv1"],
}


class TlsProbe:
    """Does handshakes; one object a run, its contexts are shared."""

    def __init__(self, trust: Trust, clock: Clock) -> None:
        self._trust = trust
        self._clock = clock
        self._contexts: dict[TlsVariant, ssl.SSLContext] = {}

    async def handshake(
        self,
        stream: Stream,
        server_name: str,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
        variant: TlsVariant = TlsVariant.NORMAL,
    ) -> Tried:
        """Do one handshake; see `ports.Network.handshake`.

        An address is checked but never sent (RFC 6066 section 3). The stream is closed unless it is given
        back, then the given one owns it.
        """
        started = self._clock.now()
        evidence: dict[str, Json] = {
            "server_name": server_name,
            **_peer(stream),
            "offered": _OFFERED[variant],
            "stage": "client_hello",
            "received": 0,
        }
        attempt = _Attempt(stream, self._clock)
        seen: Seen | None
        try:
            attempt.begin(self._context(variant), server_name)
            async with asyncio.timeout(budget_s):
                await attempt.run()
            seen = None
        except (OSError, _NotTlsError, ValueError) as error:  # ValueError: a name that cannot be sent
            seen = _failed(error, attempt, evidence)
        except BaseException:
            stream.close()
            raise
        self._describe(attempt, evidence)
        given: TlsStream | None = None
        if seen is None:
            seen = self._judge(attempt.chain, server_name, evidence)
            given = attempt.stream()
        else:
            stream.close()
        took = self._clock.now() - started
        return Tried(Observation(Step.TLS_HANDSHAKE, seen, evidence, took, started, role, stream.via), given)

    def _context(self, variant: TlsVariant) -> ssl.SSLContext:
        if variant not in self._contexts:
            self._contexts[variant] = _wire_context(variant)
        return self._contexts[variant]

    def _describe(self, attempt: _Attempt, evidence: dict[str, Json]) -> None:
        evidence["received"] = attempt.received
        if attempt.rtt_s is not None:
            evidence["rtt_ms"] = round(attempt.rtt_s * 1000, 1)
        connection = attempt.connection
        if connection is None:
            return
        attempt.chain = received_chain(connection)
        if attempt.received:
            evidence["stage"] = "certificate" if attempt.chain else "server_hello"
        if attempt.chain:
            evidence["chain"] = chain_evidence(attempt.chain)
        if attempt.finished:
            cipher = connection.cipher()
            evidence["stage"] = "finished"
            evidence["version"] = connection.version()
            evidence["cipher"] = cipher[0] if cipher else ""
            evidence["alpn"] = connection.selected_alpn_protocol() or ""

    def _judge(self, chain: tuple[bytes, ...], name: str, evidence: dict[str, Json]) -> Seen | None:
        found = self._trust.assess(chain, name, self._clock.utc())
        evidence["verified_system"] = found.system.ok or found.system.reason
        evidence["verified_public"] = found.public.ok or found.public.reason
        evidence["expired"] = found.expired
        evidence["not_yet"] = found.not_yet
        if not found.system.ok:
            evidence["verify_code"] = found.system.code
        if found.name_matches is not None:
            evidence["name_matches"] = found.name_matches
        root = certificate_facts(found.system.root or found.public.root or chain[-1])
        evidence["root_common_name"] = root.common_name
        evidence["root_spki_sha256"] = root.spki_sha256
        return _seen_of(found)


class _NotTlsError(Exception):
    """What came back is no TLS record; `start` is how it begins."""

    def __init__(self, start: bytes) -> None:
        super().__init__("not TLS")
        self.start = start


class _EndError(OSError):
    """The peer closed the connection in an orderly way."""


class _Attempt:
    """One handshake in progress."""

    def __init__(self, stream: Stream, clock: Clock) -> None:
        self.connection: ssl.SSLObject | None = None
        self.chain: tuple[bytes, ...] = ()
        self.received = 0
        self.rtt_s: float | None = None
        self.finished = False
        self.watch = AlertWatch()
        self._stream = stream
        self._clock = clock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._sent_at: float | None = None

    def begin(self, context: ssl.SSLContext, name: str) -> None:
        """Make the connection; raises ValueError for a name that cannot be sent."""
        try:
            self.connection = context.wrap_bio(
                self._incoming, self._outgoing, server_hostname=server_hostname(name)
            )
        except TypeError as error:  # a zero byte in the name
            raise ValueError(str(error)) from None

    async def run(self) -> None:
        """Do the handshake to its end. Raises OSError, _EndError, _NotTlsError."""
        assert self.connection is not None
        while not self.finished:
            try:
                self.connection.do_handshake()
                self.finished = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                await self._say_goodbye()
                raise
            await self._flush()
            if not self.finished:
                await self._receive()

    def stream(self) -> TlsStream:
        """Give the finished connection as a stream."""
        assert self.connection is not None
        return TlsStream(self._stream, self.connection, self._incoming, self._outgoing)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._stream.send(self._outgoing.read())
            if self._sent_at is None:
                self._sent_at = self._clock.now()

    async def _receive(self) -> None:
        try:
            data = await self._stream.receive()
        finally:
            if self.rtt_s is None and self._sent_at is not None:
                self.rtt_s = self._clock.now() - self._sent_at
        if not data:
            raise _EndError
        if not self.received and not is_tls(data):
            self.received = len(data)
            raise _NotTlsError(data)
        self.received += len(data)
        self.watch.feed(data)
        self._incoming.write(data)

    async def _say_goodbye(self) -> None:
        """Send the alert that OpenSSL wants to send, so that the peer's log says why we left."""
        try:
            await self._flush()
        except OSError:
            return  # it is gone already


def _peer(stream: Stream) -> dict[str, Json]:
    """Give address, port and maximum segment size, as far as this kind of stream knows them."""
    found: dict[str, Json] = {"address": stream.address}
    for key, name in (("port", "port"), ("ip_mss", "mss")):
        value = getattr(stream, name, None)
        if isinstance(value, int):
            found[key] = value
    return found


def _failed(error: Exception, attempt: _Attempt, evidence: dict[str, Json]) -> Seen:
    """Say what an unfinished handshake means, and note the facts."""
    if attempt.watch.number is not None:
        evidence["alert"] = attempt.watch.number
        evidence["alert_name"] = ALERTS.get(attempt.watch.number, "unknown")
    if isinstance(error, _NotTlsError):
        evidence["first_bytes"] = error.start[:64].hex()
        return Seen.NOT_TLS
    if isinstance(error, _EndError):
        return Seen.EOF
    if isinstance(error, ssl.SSLError):
        number, name = alert_of(openssl_reason(error))
        if number is not None:
            evidence.setdefault("alert", number)
            evidence.setdefault("alert_name", name)
        if "alert" in evidence:
            return Seen.TLS_ALERT
        evidence["local_error"] = openssl_reason(error) or type(error).__name__
        return Seen.TLS_HANDSHAKE
    if isinstance(error, OSError):
        seen, facts = seen_of(error)
        evidence.update(facts)
        if seen is Seen.TIMEOUT and attempt.rtt_s is not None and not attempt.received:
            attempt.rtt_s = None  # nothing came back, so there was no round trip
        return seen
    evidence["local_error"] = f"the name cannot be sent: {error}"
    return Seen.TLS_HANDSHAKE


def _seen_of(found: Assessment) -> Seen | None:
    """Precedence as documented: dates, hostname, authority, then whatever else is wrong."""
    if found.system.ok:
        return None
    if found.expired or found.not_yet:
        return Seen.TLS_INVALID_CERTIFICATE
    if found.name_matches is False:
        return Seen.TLS_INVALID_HOSTNAME
    return Seen.TLS_UNKNOWN_AUTHORITY if found.system.code in _AUTHORITY else Seen.TLS_INVALID_CERTIFICATE


def _wire_context(variant: TlsVariant) -> ssl.SSLContext:
    """Give a context that takes any certificate: the verdict is `Trust`'s, after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"] if variant is TlsVariant.H2 else ["http/1.1"])
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if variant is TlsVariant.TLS12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if variant is TlsVariant.LEGACY:
        context.set_ciphers("ALL:@SECLEVEL=0")  # TLS 1.0 and 1.1 sign with SHA-1, refused above level 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context
