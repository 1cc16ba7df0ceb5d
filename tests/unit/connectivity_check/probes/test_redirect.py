"""Redirects in clear text: home, or to somebody who answers in the host's place."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.probes.redirect import leads_away

URL = "http://go.service.example/fwlink/"


@pytest.mark.parametrize(
    "location",
    [
        "https://go.service.example/fwlink/",
        "https://GO.Service.Example./",
        "https://go.service.example:8443/",
        "https://download.service.example/file",
        "http://service.example/",
        "/elsewhere",
        "?again=1",
        "//cdn.service.example/x",
        "",
    ],
)
def test_home(location: str) -> None:
    assert leads_away(URL, 302, location) == ""


@pytest.mark.parametrize(
    ("location", "to"),
    [
        ("http://login.hotel.example/?from=http://go.service.example/", "login.hotel.example"),
        ("https://block.corp.example:4443/?r=4", "block.corp.example"),
        ("//portal.hotel.example/", "portal.hotel.example"),
        ("http://10.0.0.1:6080/php/urlblock.php", "10.0.0.1"),
        ("http://[fe80::1]/", "fe80::1"),
        ("http://portal/", "portal"),
        ("http://go.service.example.hotel.test/", "go.service.example.hotel.test"),
        ("http://go.service.example@evil.test/", "evil.test"),
        ("http://[none", "http://[none"),
        ("about:blank", "about:blank"),
    ],
)
def test_away(location: str, to: str) -> None:
    assert leads_away(URL, 302, location) == to


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_statuses_that_are_followed(status: int) -> None:
    assert leads_away(URL, status, "http://a.test/") == "a.test"


@pytest.mark.parametrize("status", [0, 200, 201, 300, 304, 305, 403, 511])
def test_with_another_status_a_location_moves_nobody(status: int) -> None:
    assert leads_away(URL, status, "http://a.test/") == ""


def test_addresses_have_no_domain() -> None:
    assert leads_away("http://192.0.2.7/", 302, "http://198.51.2.7/") == "198.51.2.7"
    assert leads_away("http://192.0.2.7/", 302, "https://192.0.2.7/") == ""
    assert leads_away("http://192.0.2.7/", 302, "http://a.2.7/") == "a.2.7"


@given(st.text(max_size=60))
def test_whatever_a_stranger_writes(location: str) -> None:
    assert isinstance(leads_away(URL, 302, location), str)


@given(st.from_regex(r"\A[a-z]{1,9}\.test/[a-z]{0,9}\Z"))
def test_a_server_of_another_domain_is_told(place: str) -> None:
    assert leads_away(URL, 307, f"http://{place}") == urlsplit(f"http://{place}").hostname
