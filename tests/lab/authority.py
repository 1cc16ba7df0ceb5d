"""The lab's own certificate authority (trustme) and the certificates of its servers."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where one certificate lies (key and chain in one PEM file) and for which names it is."""

    pem: Path
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Authority:
    """Issues certificates into one directory."""

    directory: Path

    @property
    def ca_pem(self) -> Path:
        """The file a client trusts."""
        return self.directory / "ca.pem"

    def prepare(self) -> None:
        """Write the authority's own certificate."""
        _authority().cert_pem.write_to_path(str(self.ca_pem))

    def issue(self, label: str, names: Iterable[str]) -> Certificate:
        """A certificate for the names (hosts, ``*.`` wildcards or addresses), in ``LABEL.pem``."""
        wanted = tuple(names)
        pem = self.directory / f"{label}.pem"
        _authority().issue_cert(*wanted).private_key_and_cert_chain_pem.write_to_path(str(pem))
        return Certificate(pem, wanted)


@functools.cache
def _authority() -> trustme.CA:
    """One authority for all labs of a process: a key costs more than a whole namespace."""
    import trustme

    return trustme.CA(organization_name="isolator lab")
