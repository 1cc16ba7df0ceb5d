"""Starts the controller: everything is checked before anything is begun."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from socket import socket
from tempfile import TemporaryDirectory

from api.app import create_app
from api.services.keys import KeysError
from api.services.receivers import open_receivers
from api.serving import supervision
from api.serving.certificate import certificate_of
from api.serving.edge import Edge
from api.serving.listening import address_of, bind
from api.serving.logs import configure_logs
from api.serving.server import Server
from api.serving.upkeep import upkeep
from api.serving.workers import Workers
from api.settings import Settings, SettingsError
from api.store.database import DatabaseError
from api.store.wake import open_wake
from api.wiring import build_services

_log = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Serve until told to stop; gives the exit code.

    SettingsError, KeysError or DatabaseError, in one sentence and with nothing begun, when it cannot.
    """
    configure_logs(settings)
    certificate_of(settings)
    open_receivers(settings)
    with ExitStack() as cleanup:
        listeners = bind(settings)
        for each in listeners:
            cleanup.callback(each.close)
        cleanup.enter_context(_alone(settings))
        if settings.workers > 1:
            return _serve_with_workers(settings, listeners)
        return run_worker(settings, listeners)


def _serve_with_workers(settings: Settings, listeners: list[socket]) -> int:
    """Bring the database up to date once, then let several processes share the sockets."""
    build_services(settings).database.close()
    with TemporaryDirectory(prefix="isolator-api-metrics-") as directory:
        # Read when the workers import prometheus_client: their counts are added up from files in it.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        try:
            return Workers(settings, listeners, worker).run()
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


def worker(settings: Settings, listeners: list[socket]) -> None:
    """One of several processes; it ends with the one that started it."""
    configure_logs(settings)
    try:
        code = run_worker(settings, listeners)
    except (SettingsError, KeysError, DatabaseError) as error:
        _log.error("%s", error)
        code = 2
    sys.exit(code)


def run_worker(settings: Settings, listeners: list[socket]) -> int:
    """Serve in this process on sockets that are bound; gives the exit code."""
    certificate = certificate_of(settings)
    services = build_services(settings)
    wake = open_wake(services.database)
    scheme = "http" if certificate is None else "https"

    def ready() -> None:
        for each in listeners:
            _log.info("listening on %s://%s", scheme, address_of(each))
        if settings.workers == 1:
            supervision.tell("READY=1")

    try:
        services = replace(services, wake=wake)
        app = create_app(services, lifespan=upkeep(services, open_receivers(settings)))
        server = Server(Edge(app, settings), certificate, ready)
        server.run(listeners)
    except SystemExit as failed:
        # The server ends the process when the application does not start; the log has the reason.
        return 0 if not failed.code else 1
    finally:
        wake.close()
        services.database.close()
    _log.info("ended")
    return 0


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """SQLite has one controller at a time: two would not hear of each other's orders.

    The lock goes with the process, however it ends.
    """
    if os.name != "posix" or not settings.database_url.startswith("sqlite"):
        yield
        return
    fcntl = import_module("fcntl")
    file = settings.state_dir / "controller.lock"
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(f"another controller runs on {settings.state_dir}") from None
        yield
    finally:
        os.close(descriptor)
