"""The variables' names and which of them wins."""

from __future__ import annotations

import pytest

from connectivity_check.model import InputError
from connectivity_check.settings.environment import from_environment


@pytest.mark.parametrize(
    ("environ", "https", "http", "source"),
    [
        ({"HTTPS_PROXY": "http://a:1"}, "http://a:1", None, "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"}, "http://b:2", None, "https_proxy"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://a:1"}, "http://a:1", None, "HTTPS_PROXY"),
        ({"ALL_PROXY": "socks5h://s:9"}, "socks5h://s:9", "socks5h://s:9", "ALL_PROXY"),
        ({"ALL_PROXY": "http://s:9", "https_proxy": "http://a:1"}, "http://a:1", "http://s:9", "https_proxy"),
        ({"HTTP_PROXY": "http://a:1"}, None, "http://a:1", "HTTP_PROXY"),
        ({"http_proxy": "http://a:1", "REQUEST_METHOD": "GET"}, None, "http://a:1", "http_proxy"),
    ],
)
def test_which_wins(environ: dict[str, str], https: str | None, http: str | None, source: str) -> None:
    setting = from_environment(environ)
    assert setting is not None
    assert (setting.https.url if setting.https else None) == https
    assert (setting.http.url if setting.http else None) == http
    assert setting.source == source


@pytest.mark.parametrize(
    "environ",
    [{}, {"HTTPS_PROXY": " "}, {"NO_PROXY": "*"}, {"HTTP_PROXY": "http://evil:1", "REQUEST_METHOD": "GET"}],
)
def test_none_is_set(environ: dict[str, str]) -> None:
    assert from_environment(environ) is None


def test_an_empty_no_proxy_in_lower_case_does_not_hide_the_other() -> None:
    setting = from_environment({"HTTPS_PROXY": "h:1", "no_proxy": "", "NO_PROXY": "a.example"})
    assert setting is not None
    assert setting.bypass.matches("a.example", 443)


def test_a_broken_address_names_the_variable_only() -> None:
    with pytest.raises(InputError) as caught:
        from_environment({"HTTPS_PROXY": "http://user:hunter2"}, file="/etc/environment")
    assert caught.value.reason.startswith("/etc/environment: HTTPS_PROXY: ")
    assert "hunter2" not in caught.value.reason
