"""Paths in normal form."""

from __future__ import annotations

import pytest

from isolator.wire.http_target import normal_path


@pytest.mark.parametrize(
    ("written", "path", "doubtful"),
    [
        (b"/", "/", False),
        (b"/pki/a.crl", "/pki/a.crl", False),
        (b"/pki/%7Ea%2d%2E%5f", "/pki/~a-._", False),
        (b"/pki/%c3%bc%20", "/pki/%C3%BC%20", False),
        (b"/pki/../evil", "/evil", False),
        (b"/pki/%2e%2E/evil", "/evil", False),
        (b"/../../x", "/x", False),
        (b"/a/./b/.", "/a/b/", False),
        (b"/a/b/..", "/a/", False),
        (b"/..", "/", False),
        (b"/a//b", "/a//b", False),
        (b"/a/...", "/a/...", True),
        (b"/a?x=/../b%zz", "/a", False),
        (b"/pki/..%2fevil", "/pki/..%2Fevil", True),
        (b"/pki/..%5cevil", "/pki/..%5Cevil", True),
        (b"/pki/..\\evil", "/pki/..\\evil", True),
        (b"/pki/%252e%252e/evil", "/pki/%252e%252e/evil", True),
        (b"/pki/..;x/evil", "/pki/..;x/evil", True),
        (b"/pki/.;x/a", "/pki/.;x/a", True),
        (b"/pki/..;", "/pki/..;", True),
    ],
)
def test_normal_path(written: bytes, path: str, doubtful: bool) -> None:
    assert normal_path(written) == (path, doubtful)
