"""One consumer's setting as it was found: proxies for both kinds of URL, bypass rules, or a PAC file."""

from __future__ import annotations

from dataclasses import dataclass

from connectivity_check.model import ConsumerPath, PathKind, ProxyServer
from connectivity_check.settings.bypass import NOTHING, Bypass
from connectivity_check.settings.proxy_url import strip_credentials


@dataclass(frozen=True, slots=True)
class Setting:
    """The way that one consumer is told to go; without proxy, PAC and WPAD: direct."""

    consumer: str
    """"edr", "antivirus", "update", "arc", "user" or "system" (WinHTTP; /etc/environment)."""
    source: str
    """Where it is written, such as "/etc/environment" or a registry value."""
    https: ProxyServer | None = None
    http: ProxyServer | None = None
    """For http:// URLs (certificate revocation, mostly)."""
    bypass: Bypass = NOTHING
    pac_url: str = ""
    wpad: bool = False
    """Looks for a PAC file with WPAD."""
    direct_next: bool = False
    """Goes direct when the proxy cannot be used."""

    @property
    def kind(self) -> PathKind:
        """PAC (WPAD too), PROXY or DIRECT."""
        if self.pac_url or self.wpad:
            return PathKind.PAC
        return PathKind.PROXY if self.https or self.http else PathKind.DIRECT

    @property
    def address(self) -> str:
        """The proxy or the PAC file's URL, without credentials; "wpad"; "" when direct."""
        if self.pac_url:
            return strip_credentials(self.pac_url)
        if self.wpad:
            return "wpad"
        proxy = self.https or self.http
        return proxy.url if proxy else ""

    def path(self) -> ConsumerPath:
        """Give what the report shows."""
        return ConsumerPath(self.consumer, self.kind, self.address, self.source)
