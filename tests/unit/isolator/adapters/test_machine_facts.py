"""What the portal shows of a host: what is known, and nothing that is not."""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from isolator.adapters import machine_facts
from isolator.adapters.machine_facts import LinuxMachineFacts
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Address

OWN: tuple[Address, ...] = tuple(
    map(ip_address, ("127.0.0.1", "::1", "192.0.2.7", "fe80::1", "2001:db8::7", "192.0.2.7"))
)


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    machine_facts._lasting_facts.cache_clear()
    yield
    machine_facts._lasting_facts.cache_clear()


def test_name_platform_and_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    release = {"NAME": "Debian GNU/Linux", "VERSION_ID": "12"}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(socket, "gethostname", lambda: "web-7")
    facts = LinuxMachineFacts(lambda: OWN).facts()
    assert (facts["computer_name"], facts["os_platform"], facts["version"]) == ("web-7", "Debian", "12")
    assert (facts["architecture"], facts["processor"]) == ("x86_64", "x64")
    assert facts["ip_addresses"] == [
        {"ipAddress": each, "macAddress": "", "operationalStatus": "Up"}
        for each in ("192.0.2.7", "2001:db8::7")
    ]


def test_a_system_that_does_not_say_its_name_is_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> dict[str, str]:
        raise OSError("no os-release")

    def not_installed(_: str) -> str:
        raise machine_facts.metadata.PackageNotFoundError

    monkeypatch.setattr(platform, "freedesktop_os_release", missing)
    monkeypatch.setattr(machine_facts.metadata, "version", not_installed)
    facts = LinuxMachineFacts(lambda: ()).facts()
    assert facts["os_platform"] == "Linux"
    assert facts["version"] == platform.release()
    assert "agent_version" not in facts


def test_addresses_that_cannot_be_listed_are_left_out() -> None:
    def refuse() -> tuple[Address, ...]:
        raise IsolatorError(FailureCode.KERNEL_REFUSED, "list addresses", "the kernel says no")

    assert "ip_addresses" not in LinuxMachineFacts(refuse).facts()


def test_a_host_with_thousands_of_addresses_sends_some() -> None:
    many = tuple(ip_address(f"10.0.{number // 250}.{number % 250 + 1}") for number in range(2000))
    addresses = LinuxMachineFacts(lambda: many).facts()["ip_addresses"]
    assert isinstance(addresses, list)
    assert len(addresses) == 64
