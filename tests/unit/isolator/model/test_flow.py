"""How destinations read."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from isolator.model.flow import Destination, Transport
from isolator.model.policy import ControlEndpoint


@pytest.mark.parametrize(
    ("address", "text"),
    [("192.0.2.1", "tcp://192.0.2.1:443"), ("2001:db8::1", "tcp://[2001:db8::1]:443")],
)
def test_a_destination_reads_like_a_url(address: str, text: str) -> None:
    assert str(Destination(ip_address(address), Transport.TCP, 443)) == text


def test_a_control_endpoint_reads_as_host_and_port() -> None:
    assert str(ControlEndpoint(8443, host="control.example")) == "control.example:8443"
    assert str(ControlEndpoint(8443, address=ip_address("192.0.2.1"))) == "192.0.2.1:8443"
