"""WPAD: where a PAC file could be found without anybody saying so (draft-ietf-wrec-wpad-01, by DHCP and DNS).

DHCP option 252 is read from the leases that the DHCP clients of the system wrote down. Asking the server
(DHCPINFORM) needs UDP port 68 and so privileges; on Windows the client's DhcpRequestParams would be the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from connectivity_check.model import InputError
from connectivity_check.settings.pac_source import NoPacError, check_pac_url

Fetch = Callable[[str, float], Awaitable[str]]
"""URL and budget in seconds to script; raises NoPacError."""

LEASES = (
    "run/systemd/netif/leases/*",
    "var/lib/NetworkManager/*.lease",
    "run/NetworkManager/devices/*",
    "var/lib/dhcp/*.lease*",
    "var/lib/dhclient/*.lease*",
    "var/lib/dhcpcd/*.lease",
)
"""Where DHCP clients keep their leases, under the root directory."""
_MAX_LEASE = 1 << 20

# dhclient: `option wpad "http://..."`, `option unknown-252 68:74:74:70...`; NetworkManager: `wpad=...` or
# `252=...`; systemd-networkd: `OPTION_252=68747470...`.
_OPTION = re.compile(
    r"^\s*(?:option\s+)?(?:wpad|wpad-url|wpad-proxy-url|local-pac-server|unknown-252|OPTION_252|private_252|252)"
    r"\s*[=\s]\s*(?P<value>\S.*?)\s*;?\s*$",
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """A PAC file and where it was."""

    url: str
    text: str
    by: str
    """"DHCP" or "DNS"."""


@dataclass(frozen=True, slots=True)
class Searched:
    """The end of a search: what was found, and why each place that exists could not be used."""

    found: Found | None
    places: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def parse_lease(text: str) -> str | None:
    """Give the PAC URL of option 252 in a lease file, the last of several; None without one."""
    url = None
    for match in _OPTION.finditer(text):
        value = _option_value(match["value"])
        with contextlib.suppress(InputError):
            url = check_pac_url(value, "DHCP option 252")
    return url


def _option_value(raw: str) -> str:
    if raw[:1] == '"':
        raw = raw.strip('"')
        # dhclient writes bytes it does not like as \ooo; servers end the text with NUL or a newline.
        return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), raw).strip("\0\r\n ")
    digits = raw.replace(":", "")
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits):
        return bytes.fromhex(digits).decode("latin-1").strip("\0\r\n ")
    return raw.strip("\0\r\n ")


def lease_urls(root: Path) -> tuple[str, ...]:
    """Give the PAC URLs of leases under a directory, newest first; unreadable ones are left out."""
    found: list[tuple[float, str]] = []
    for pattern in LEASES:
        for path in root.glob(pattern):
            with contextlib.suppress(OSError):
                with path.open(encoding="latin-1") as file:
                    url = parse_lease(file.read(_MAX_LEASE))
                if url is not None:
                    found.append((path.stat().st_mtime, url))
    return tuple(dict.fromkeys(url for _, url in sorted(found, reverse=True)))


def search_domains(root: Path, hostname: str) -> tuple[str, ...]:
    """Give the host's DNS domains: of its name, then `search` and `domain` of resolv.conf."""
    domains = [hostname.partition(".")[2]]
    with contextlib.suppress(OSError, UnicodeError):
        for line in (root / "etc/resolv.conf").read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words and words[0] in ("search", "domain"):
                domains += words[1:]
    return tuple(dict.fromkeys(d.strip(".").lower() for d in domains if d.strip(".")))


def wpad_hosts(domains: Iterable[str]) -> tuple[str, ...]:
    """Give wpad.DOMAIN for each domain and its parents, down to the registrable domain and no further.

    wpad.co.jp or wpad.com would belong to strangers (US-CERT TA16-144A). A domain under no known
    suffix (corp.local) goes down to two labels; a public suffix alone gives nothing, nor does a single label.
    """
    hosts: list[str] = []
    for domain in domains:
        labels = domain.split(".")
        keep = _registrable_labels(domain)
        hosts += ["wpad." + ".".join(labels[i:]) for i in range(len(labels) - keep + 1)]
    return tuple(dict.fromkeys(hosts))


def _registrable_labels(domain: str) -> int:
    import tldextract  # it brings an HTTP client along, which only WPAD has to wait for

    # The copy of the list that tldextract ships: no request, no cache.
    parts = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)(domain)
    if not parts.suffix:
        return 2
    return len(parts.suffix.split(".")) + 1


async def search(
    urls_by_dhcp: Iterable[str], domains: Iterable[str], fetch: Fetch, budget_s: float
) -> Searched:
    """Try every place at once and take the first in order, DHCP before DNS, that has a PAC file."""
    places = [(url, "DHCP") for url in urls_by_dhcp]
    places += [(f"http://{host}/wpad.dat", "DNS") for host in wpad_hosts(domains)]
    results = await asyncio.gather(*(_try(url, by, fetch, budget_s) for url, by in places))
    found = next((result for result in results if isinstance(result, Found)), None)
    refused = tuple(result for result in results if isinstance(result, str))
    return Searched(found, tuple(url for url, _ in places), refused)


async def _try(url: str, by: str, fetch: Fetch, budget_s: float) -> Found | str:
    try:
        return Found(url, await fetch(url, budget_s), by)
    except NoPacError as unavailable:
        return f"{url}: {unavailable.reason}"
