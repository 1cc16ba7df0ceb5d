"""MachineFacts for Linux: what the controller's portal shows about this host."""

from __future__ import annotations

import contextlib
import functools
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

from isolator.model.failure import IsolatorError
from isolator.model.flow import Address

_MOST_ADDRESSES = 64


class LinuxMachineFacts:
    """Facts as of now; those that do not change while a host runs are read once."""

    def __init__(self, own_addresses: Callable[[], Sequence[Address]]) -> None:
        self._own_addresses = own_addresses

    def facts(self) -> Mapping[str, object]:
        """Name, platform, versions and addresses (RFC names of the protocol); what is unknown is left out."""
        found = {"computer_name": socket.gethostname(), **_lasting_facts()}
        try:
            addresses = self._own_addresses()
        except IsolatorError:
            return found
        wanted = sorted({str(each) for each in addresses if not each.is_loopback and not each.is_link_local})
        return {
            **found,
            "ip_addresses": [
                {"ipAddress": each, "macAddress": "", "operationalStatus": "Up"}
                for each in wanted[:_MOST_ADDRESSES]
            ],
        }


@functools.cache
def _lasting_facts() -> dict[str, object]:
    found: dict[str, object] = {
        "os_platform": "Linux",
        "architecture": platform.machine(),
        "processor": _processor(),
    }
    try:
        release = platform.freedesktop_os_release()
        found["os_platform"] = release.get("NAME", "Linux").split(" ")[0]
        found["version"] = release.get("VERSION_ID", "")
    except OSError:
        found["version"] = platform.release()
    with contextlib.suppress(metadata.PackageNotFoundError):
        found["agent_version"] = metadata.version("host-isolator")
    return found


def _processor() -> str:
    return {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
