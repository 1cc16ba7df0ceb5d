"""What a person may ask about: `tcp://host:port`, `udp://addr:port`, a host or an address."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from allowlists.fqdn import normalise
from allowlists.model import ParseError
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Address, Transport

_EXAMPLES = "for example tcp://host.example:443, udp://192.0.2.1:123, host.example or 192.0.2.1"


@dataclass(frozen=True, slots=True)
class Asked:
    """A destination as asked: by name or by address; `port` None when none was given."""

    transport: Transport
    port: int | None
    name: str | None = None
    address: Address | None = None

    @property
    def host(self) -> str:
        """The name, or the address as text."""
        return self.name if self.name is not None else str(self.address)


def parse_destination(text: str) -> Asked:
    """The destination in `text`; IsolatorError BAD_ORDER with an example when it is not one."""
    scheme, mark, rest = text.strip().partition("://")
    if not mark:
        scheme, rest = "tcp", scheme
    if scheme not in ("tcp", "udp"):
        raise _bad(text, f"the scheme {scheme!r} is neither tcp nor udp")
    host, port = _split_port(text, rest)
    if not host:
        raise _bad(text, "there is no host in it")
    try:
        return Asked(Transport(scheme), port, address=ip_address(host))
    except ValueError:
        pass
    try:
        return Asked(Transport(scheme), port, name=normalise(host))
    except ParseError as error:
        raise _bad(text, str(error)) from error


def _split_port(text: str, rest: str) -> tuple[str, int | None]:
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise _bad(text, "the bracket is not closed")
        return host, _port(text, tail[1:]) if tail else None
    if rest.count(":") > 1:
        return rest, None  # a bare IPv6 address
    host, mark, port = rest.partition(":")
    return host, _port(text, port) if mark else None


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise _bad(text, f"the port {port!r} is not a number from 1 to 65535")
    return int(port)


def _bad(text: str, why: str) -> IsolatorError:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return IsolatorError(
        FailureCode.BAD_ORDER, "parse_destination", f"{shown!r} is no destination: {why}; write {_EXAMPLES}"
    )
