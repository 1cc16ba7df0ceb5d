"""Runs the web server."""

from __future__ import annotations

import uvicorn

from api.app import create_app
from api.settings import Settings
from api.wiring import build_services


def serve(settings: Settings) -> int:
    """Serve until told to stop; gives the exit code."""
    uvicorn.run(
        create_app(build_services(settings)),
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        forwarded_allow_ips=[str(each) for each in settings.trusted_proxies],
        server_header=False,
        log_config=None,
    )
    return 0
