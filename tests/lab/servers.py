"""The handle on the lab's servers: open further ports anywhere, add certificates."""

from __future__ import annotations

from pathlib import Path

from tests.lab.authority import Certificate
from tests.lab.namespace import Namespace
from tests.lab.ports import Ports
from tests.lab.service import Service


class Servers:
    """The one process that serves every server port of the lab."""

    def __init__(self, log: Path) -> None:
        self._service = Service(None, "tests.lab.servers_process", (), log)

    def ready(self) -> None:
        """Wait until it takes commands."""
        self._service.hear()

    def listen(self, namespace: Namespace, ports: Ports) -> None:
        """Open ports on every address of a namespace, IPv4 and IPv6; LabError when one is taken."""
        self._service.ask({"do": "listen", "namespace": str(namespace.path), "ports": list(ports)})

    def present(self, certificate: Certificate, *, nameless: bool = False) -> None:
        """Use a certificate for the names it was issued for.

        The first one also serves unknown names and clients that name nobody, until a later one is given as
        ``nameless``.
        """
        names = [name.lower() for name in certificate.names]
        self._service.ask(
            {"do": "certificate", "pem": str(certificate.pem), "names": names, "nameless": nameless}
        )

    def close(self) -> None:
        """End every server; their connections are reset by the kernel."""
        self._service.close()
