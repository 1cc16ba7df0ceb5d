"""Which authorities this host believes, which the public believes, and what either says of a chain."""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from connectivity_check.model import InputError
from connectivity_check.probes.chain_verifier import Verdict, verify, verifying_context
from connectivity_check.probes.tls_chain import out_of_date

_SERVICE_ROOTS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "service_roots.pem")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_HOSTNAME_MISMATCH = frozenset((62, 64))
"""X509_V_ERR_HOSTNAME_MISMATCH and IP_ADDRESS_MISMATCH."""
_NOT_YET, _EXPIRED = 9, 10


@dataclass(frozen=True, slots=True)
class Assessment:
    """What there is to say about a received chain."""

    system: Verdict
    """By this host's store (and `--ca`, and the roots the agent brings), with name and dates."""
    public: Verdict
    """By the public bundle: does the chain end there? Names and dates are left out."""
    name_matches: bool | None
    """None: nobody asked, or the certificate is so odd that OpenSSL did not come to the name."""
    expired: bool
    not_yet: bool


class Trust:
    """The stores of one run, read once.

    The system's store is OpenSSL's default (SSL_CERT_FILE and SSL_CERT_DIR count) or, on Windows, the
    machine's; of the latter only what is in it already, for Windows fetches further roots as it meets them.
    The agent's own roots (data/service_roots.pem) belong to both stores: the service has certificates under
    a root that browsers do not know, and the agent takes it whatever the host thinks.
    """

    def __init__(self, ca_file: str | None = None, public_file: str | None = None) -> None:
        """Read the stores. `ca_file`: also believed by this host; `public_file`: instead of certifi's bundle.

        Raises InputError for a file that cannot be read or holds no certificate.
        """
        self._own_files = (_SERVICE_ROOTS, ca_file) if ca_file else (_SERVICE_ROOTS,)
        self._system = self._system_context()
        service = _certificates(_SERVICE_ROOTS)
        self._public_roots = service | _certificates(public_file or _certifi())

    @cached_property
    def _public(self) -> ssl.SSLContext:
        # Only for chains that end elsewhere in the system's store: loading it takes as long as 50 handshakes.
        context = verifying_context(check_name=False, check_time=False)
        context.load_verify_locations(cadata=b"".join(self._public_roots))
        return context

    def _system_context(self) -> ssl.SSLContext:
        context = verifying_context()
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        for path in self._own_files:
            _load(context, path)
        return context

    def assess(self, chain: Sequence[bytes], name: str, utc: float) -> Assessment:
        """Say what both stores say of a chain (DER, leaf first) for a server of this name."""
        system = verify(self._system, chain, name)
        if system.ok:
            public = system if system.root in self._public_roots else verify(self._public, chain, "")
            return Assessment(system, public, name_matches=True, expired=False, not_yet=False)
        expired, not_yet = out_of_date(chain, utc)
        return Assessment(
            system,
            verify(self._public, chain, ""),
            _name_matches(chain, name),
            expired=expired or system.code == _EXPIRED,
            not_yet=not_yet or system.code == _NOT_YET,
        )


@contextmanager
def reading(ca_file: str | None, public_file: str | None) -> Iterator[Callable[[], Trust]]:
    """Read the stores while the caller does something else; calling what is given waits for them.

    OpenSSL takes 20 ms for the system's store, and does without the interpreter's lock. Raises what `Trust`
    raises, when called.
    """
    with ThreadPoolExecutor(1) as other:
        yield other.submit(Trust, ca_file, public_file).result


def _name_matches(chain: Sequence[bytes], name: str) -> bool | None:
    """Ask OpenSSL about the name alone: the leaf is believed for the moment, and its dates do not count."""
    if not chain:
        return None
    context = verifying_context(check_time=False)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=chain[0])
    except ssl.SSLError:
        return None
    verdict = verify(context, chain[:1], name)
    if verdict.ok:
        return True
    return False if verdict.code in _HOSTNAME_MISMATCH else None


def _load(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise InputError(f"{path!a} holds no certificates in PEM form") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"the certificates in {path!a} cannot be read: {reason}") from None


def _certificates(path: str) -> frozenset[bytes]:
    """Give the DER of every certificate in a PEM file; other text between them does not count."""
    try:
        with open(path, "rb") as file:
            blocks = _PEM.findall(file.read())
        found = frozenset(base64.b64decode(b"".join(block.split()), validate=True) for block in blocks)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"the certificates in {path!a} cannot be read: {reason}") from None
    except ValueError:
        found = frozenset()
    if not found:
        raise InputError(f"{path!a} holds no certificates in PEM form")
    return found


def _certifi() -> str:
    import certifi

    return certifi.where()
