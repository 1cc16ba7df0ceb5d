"""Answering a proxy that asks who we are: challenges read, credentials written, nothing of them kept.

Basic by RFC 7617 in UTF-8; NTLM and Negotiate by pyspnego, in several legs on one connection (RFC 4559). The
first leg goes out unasked, as curl does once it is told which scheme to use: a proxy may close the connection
with its 407, and a tunnel has this connection only.
"""

from __future__ import annotations

import asyncio
import base64
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from connectivity_check.model import ProxyAuth, ProxyServer

_T = TypeVar("_T")
_SCHEME = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]+(.*))?", re.DOTALL)
_PARAMETER = re.compile(
    r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^\s"=,]+)', re.DOTALL
)
_ELEMENT = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"]|")+', re.DOTALL)


_LONGEST = 4096
"""Of one header value: unbalanced quotes cost the square of it, a server's token is well under it."""


class AuthError(Exception):
    """No answer can be made: no credentials, no library, a senseless token. The text holds no secret."""


@dataclass(slots=True)
class Challenge:
    """One challenge of a Proxy-Authenticate header; `scheme` in lower case."""

    scheme: str
    token: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Read the challenges of these header values (RFC 9110 section 11.6.1); what is none is skipped."""
    challenges: list[Challenge] = []
    for value in values:
        for element in (found.group().strip() for found in _ELEMENT.finditer(value[:_LONGEST])):
            parameter = _PARAMETER.fullmatch(element)
            if parameter and challenges:
                challenges[-1].parameters.setdefault(parameter[1].lower(), _unquoted(parameter[2]))
                continue
            scheme = None if parameter else _SCHEME.fullmatch(element)
            if scheme is None:
                continue
            challenges.append(challenge := Challenge(scheme[1].lower()))
            rest = (scheme[2] or "").strip()
            if parameter := _PARAMETER.fullmatch(rest):
                challenge.parameters[parameter[1].lower()] = _unquoted(parameter[2])
            else:
                challenge.token = rest
    return challenges


class Authenticator(Protocol):
    """One login at one proxy over one connection."""

    scheme: str
    """As in a challenge, lower case."""

    async def answer(self, token: str) -> str | None:
        """Give the value of Proxy-Authorization for the proxy's token ("" at first); None: no more to say.

        AuthError when no answer can be made.
        """


def authenticator(proxy: ProxyServer) -> Authenticator | None:
    """Give how to answer this proxy; None when there are no credentials and none are asked for by name."""
    auth = proxy.auth or (ProxyAuth.BASIC if proxy.username else None)
    if auth is None:
        return None
    return Basic(proxy) if auth is ProxyAuth.BASIC else Spnego(proxy, auth)


class Basic:
    """RFC 7617: one answer, no legs."""

    scheme = "basic"

    def __init__(self, proxy: ProxyServer) -> None:
        self._proxy = proxy
        self._said = False

    async def answer(self, token: str) -> str | None:
        """Give the credentials once; the token of a challenge means nothing here."""
        if self._said:
            return None
        self._said = True
        return basic_credentials(self._proxy)


def basic_credentials(proxy: ProxyServer) -> str:
    """Give `Basic ...`; AuthError for a user name with a colon, which the scheme cannot carry (section 2)."""
    if ":" in proxy.username:
        raise AuthError("a user name with a colon cannot be sent with basic")
    pair = f"{proxy.username}:{proxy.password}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


class Spnego:
    """NTLM (raw tokens) or Negotiate (SPNEGO tokens), by the system's SSPI or GSSAPI where there is one."""

    def __init__(self, proxy: ProxyServer, auth: ProxyAuth) -> None:
        self.scheme = auth.value
        self._proxy = proxy
        self._context: Any = None

    async def answer(self, token: str) -> str | None:
        """Do one leg; a fresh challenge without a token after the first leg means we were refused."""
        if self._context is not None and (not token or self._context.complete):
            return None
        try:
            received = base64.b64decode(token, validate=True) if token else None
        except ValueError:
            raise AuthError("the proxy's token is not base64") from None
        # A ticket may have to be fetched first, which blocks.
        sent = await _in_thread(lambda: self._step(received))
        if not sent:
            return None
        return f"{'NTLM' if self.scheme == 'ntlm' else 'Negotiate'} {base64.b64encode(sent).decode('ascii')}"

    def _step(self, received: bytes | None) -> bytes | None:
        try:
            if self._context is None:
                import spnego

                self._context = spnego.client(
                    self._proxy.username or None,
                    self._proxy.password or None,
                    hostname=self._proxy.host,
                    service="HTTP",
                    protocol=self.scheme,
                )
            step: bytes | None = self._context.step(received)
        # Whatever the library or the system's own security package raises, text and all, ends here: the text
        # may name the account.
        except Exception as error:  # noqa: BLE001
            raise AuthError(f"{self.scheme}: {type(error).__name__}") from None
        return step


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Run it in a daemon thread: one that hangs (a dead KDC) must not hold up the end of the program."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[_T] = loop.create_future()

    def settle(set_outcome: Callable[[Any], None], value: object) -> None:
        if not outcome.done():
            set_outcome(value)

    def run() -> None:
        try:
            arguments: tuple[Any, Any] = (outcome.set_result, work())
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            arguments = (outcome.set_exception, error)
        try:
            loop.call_soon_threadsafe(settle, *arguments)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    threading.Thread(target=run, name="proxy-login", daemon=True).start()
    return await outcome


def _unquoted(text: str) -> str:
    if text.startswith('"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return text
