"""Runs the web server."""

from __future__ import annotations

from dataclasses import replace

import uvicorn

from api.app import create_app
from api.settings import Settings
from api.store.wake import open_wake
from api.wiring import build_services


def serve(settings: Settings) -> int:
    """Serve until told to stop; gives the exit code."""
    services = build_services(settings)
    wake = open_wake(services.database)
    uvicorn.run(
        create_app(replace(services, wake=wake)),
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        forwarded_allow_ips=[str(each) for each in settings.trusted_proxies],
        server_header=False,
        log_config=None,
    )
    wake.close()
    return 0
