"""The headers that keep a browser from doing more than the portal's pages need."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""No inline script or style, no other origin, no frames (W3C Content Security Policy 3)."""

ALWAYS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

KEPT_S = 365 * 24 * 3600
"""How long a browser may keep a static file; its address changes with its content."""


class SecurityHeaders:
    """Puts the headers on every answer; pages are never kept by a cache, versioned files are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; add the headers to whatever answers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        versioned = "/static/" in scope["path"] and b"v=" in scope["query_string"]
        secure = scope["scheme"] == "https"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers[name] = value
                kept = versioned and message["status"] == 200
                headers["cache-control"] = f"public, max-age={KEPT_S}, immutable" if kept else "no-store"
                if secure:
                    headers["strict-transport-security"] = f"max-age={KEPT_S}"
            await send(message)

        await self._app(scope, receive, send_with_headers)
