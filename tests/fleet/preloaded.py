"""A process that has imported everything and forks controllers: one that is killed is back in a moment.

Reads a JSON list of arguments a line, answers with the process id. Its controllers die with it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _import_all() -> None:
    for package in ("api", "api.routes", "api.services", "api.store", "api.serving", "api.portal"):
        found = importlib.import_module(package)
        for each in pkgutil.iter_modules(found.__path__, f"{package}."):
            if not each.name.endswith("__main__"):
                importlib.import_module(each.name)
    for name in ("uvloop", "httptools", "psycopg", "alembic.command", "sqlalchemy.dialects.sqlite"):
        importlib.import_module(name)


def _become_controller(arguments: list[str]) -> None:
    from api.main import main

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    code = 1
    try:
        code = main(arguments)
    finally:
        sys.stderr.flush()
        os._exit(code)


def serve_forks() -> None:
    """Fork a controller for every line, until there are no more."""
    _import_all()
    gc.freeze()  # pages that no collection touches stay shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them; they leave nothing behind
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become_controller(json.loads(line))
        print(child, flush=True)


if __name__ == "__main__":
    serve_forks()
