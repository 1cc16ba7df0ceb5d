"""The proxy step: over a connection to a proxy, ask for a tunnel to the target."""

from __future__ import annotations

import asyncio
from typing import Protocol

from connectivity_check.failure import Seen
from connectivity_check.model import Json, Observation, ProxyScheme, ProxyServer, Role, Step
from connectivity_check.ports import Clock, Stream, Tried
from connectivity_check.probes import socks
from connectivity_check.probes.http_connect import ConnectAnswer, ConnectDialogue
from connectivity_check.probes.proxy_auth import Authenticator, AuthError, authenticator, parse_challenges
from connectivity_check.probes.proxy_evidence import Secrets, answer_evidence
from connectivity_check.probes.socks import EndOfStreamError, ForeignBytesError
from connectivity_check.probes.stream import TunnelStream
from connectivity_check.probes.stream_error import seen_of
from connectivity_check.probes.tunnel_target import TunnelTarget

_MOST_LEGS = 4
"""Requests of one login; NTLM takes two, Kerberos one or two."""
_BODY_PATIENCE_S = 1.0


class Handshake(Protocol):
    """The TLS step, as `ports.Network.handshake`: for the TLS with an https proxy."""

    async def __call__(self, stream: Stream, server_name: str, *, budget_s: float) -> Tried:
        """Do TLS; a stream is given only when the handshake was finished."""


class ProxyTunnel:
    """`tunnel` of `ports.Network`."""

    def __init__(self, clock: Clock, handshake: Handshake) -> None:
        """`handshake` decides whom an https proxy's certificate is trusted from."""
        self._clock = clock
        self._handshake = handshake

    async def tunnel(
        self,
        stream: Stream,
        proxy: ProxyServer,
        host: str,
        port: int,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
    ) -> Tried:
        """Ask for a tunnel; `stream` is taken over, and closed unless the tunnel stands."""
        began = self._clock.now()
        attempt = _Attempt(self._clock, self._handshake, stream, proxy, began + budget_s)
        made: TunnelStream | None = None
        try:
            async with asyncio.timeout(budget_s):
                seen, made = await attempt.run(host, port)
        except TimeoutError as error:
            # A socket's own ETIMEDOUT arrives here too. An answer that came before the time was up counts.
            seen = attempt.refused or Seen.TIMEOUT
            if error.errno is not None:
                attempt.evidence["errno"] = "ETIMEDOUT"
        except EndOfStreamError:
            seen = attempt.refused or Seen.EOF  # closed on a login after its 407: refused
        except ForeignBytesError as error:
            seen = Seen.PROXY_PROTOCOL
            attempt.evidence["first_bytes"] = error.first[:32].hex()
        except OSError as error:
            seen, facts = seen_of(error)
            attempt.evidence |= facts
            seen = attempt.refused or seen
        except ValueError as error:
            seen = Seen.OTHER
            attempt.evidence["error"] = str(error)
        finally:
            if made is None:
                attempt.stream.close()
        took_s = self._clock.now() - began
        observation = Observation(
            Step.PROXY_CONNECT, seen, attempt.evidence, took_s, role=role, via=proxy.url
        )
        return Tried(observation, made)


class _Attempt:
    """One tunnel in the making; `evidence` holds at any moment what has been learned."""

    def __init__(
        self, clock: Clock, handshake: Handshake, stream: Stream, proxy: ProxyServer, deadline: float
    ) -> None:
        self.stream = stream
        self.evidence: dict[str, Json] = {"proxy": proxy.url, "scheme": proxy.scheme.value}
        self.refused: Seen | None = None
        self._clock = clock
        self._handshake = handshake
        self._proxy = proxy
        self._secrets = Secrets(proxy)
        self._deadline = deadline

    async def run(self, host: str, port: int) -> tuple[Seen | None, TunnelStream | None]:
        """Give what was seen, and the tunnel when it stands."""
        target = TunnelTarget.parse(host, port)
        self.evidence["target"] = target.authority
        if self._proxy.scheme is ProxyScheme.HTTPS:
            seen = await self._secure()
            if seen is not None:
                return seen, None
        if self._proxy.scheme is ProxyScheme.SOCKS5H:
            seen, early = await socks.open_tunnel(self.stream, self._proxy, target, self.evidence)
        else:
            seen, early = await self._connect(target)
        if seen is not None:
            return seen, None
        return None, TunnelStream(self.stream, self._proxy.url, early)

    async def _secure(self) -> Seen | None:
        """TLS with the proxy. One whose certificate does not verify gets nothing from us."""
        self.evidence["stage"] = "tls"
        left_s = self._deadline - self._clock.now()
        tried = await self._handshake(self.stream, self._proxy.host, budget_s=left_s)
        self.evidence["tls"] = tried.observation.evidence
        if tried.stream is not None:
            self.stream = tried.stream
        return tried.observation.seen

    async def _connect(self, target: TunnelTarget) -> tuple[Seen | None, bytes]:
        login = authenticator(self._proxy)
        dialogue = ConnectDialogue(self.stream, target.authority)
        answer = await self._ask(dialogue, await self._credentials(login, ""))
        for _ in range(_MOST_LEGS - 1):
            token = _token(answer, login)
            credentials = await self._credentials(login, token) if token else None
            if credentials is None:
                break
            answer = await self._ask(dialogue, credentials)
        return (None if answer.ok else Seen.PROXY_STATUS), answer.early

    async def _ask(self, dialogue: ConnectDialogue, credentials: str | None) -> ConnectAnswer:
        await dialogue.send(credentials)
        self.evidence["stage"] = "sent"
        # A page that never ends must not eat the budget: the status is what counts.
        patience_s = min(_BODY_PATIENCE_S, (self._deadline - self._clock.now()) / 2)
        answer = await dialogue.receive(patience_s)
        self.evidence["stage"] = "answered"
        self.evidence |= answer_evidence(answer, self._secrets)
        self.refused = None if answer.ok else Seen.PROXY_STATUS
        return answer

    async def _credentials(self, login: Authenticator | None, token: str) -> str | None:
        if login is None:
            return None
        try:
            credentials = await login.answer(token)
        except AuthError as error:
            self.evidence["auth_error"] = str(error)
            return None
        if credentials is not None:
            self.evidence["auth"] = login.scheme
        return credentials


def _token(answer: ConnectAnswer, login: Authenticator | None) -> str:
    """Give the token the proxy wants an answer to; "" when it wants none or cannot be answered here."""
    if login is None or answer.status != 407 or not answer.reusable:
        return ""
    challenges = parse_challenges(answer.values("proxy-authenticate"))
    return next((c.token for c in challenges if c.scheme == login.scheme), "")
