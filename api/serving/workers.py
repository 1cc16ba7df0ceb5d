"""Several serving processes on the same sockets: started, replaced when they die, ended together."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from socket import socket
from types import FrameType

from api.serving import supervision
from api.serving.server import GRACE_S
from api.settings import Settings

_END_WITHIN_S = GRACE_S + 15.0
"""Longer than a worker's own bound; one that is still there then is killed."""
_AGAIN_AFTER_S = (0.5, 30.0)
"""The first and the longest wait before a worker that died at once is started again."""
_HEALTHY_AFTER_S = 30.0

_log = logging.getLogger(__name__)

Work = Callable[[Settings, list[socket]], None]


class Workers:
    """The parent: it serves nothing itself."""

    def __init__(self, settings: Settings, listeners: list[socket], work: Work) -> None:
        self._settings = settings
        self._listeners = listeners
        self._work = work
        self._context = multiprocessing.get_context("spawn")  # threads and connections are not inherited
        self._running: dict[BaseProcess, float] = {}
        self._told_to_end = threading.Event()
        self._wait_s = _AGAIN_AFTER_S[0]

    def run(self) -> int:
        """Serve until told to stop; gives the exit code: 0 when every worker ended in order."""
        names = ("SIGTERM", "SIGINT", "SIGHUP")
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        before = {each: signal.signal(each, self._on_signal) for each in numbers}
        try:
            for _ in range(self._settings.workers):
                self._start()
            supervision.tell("READY=1")
            while not self._told_to_end.is_set():
                self._replace_the_dead()
            supervision.tell("STOPPING=1")
            return self._end()
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _start(self) -> None:
        process = self._context.Process(target=_guarded, args=(self._work, self._settings, self._listeners))
        process.start()
        self._running[process] = time.monotonic()

    def _replace_the_dead(self) -> None:
        # Short, because a signal handler only sets the event.
        wait([each.sentinel for each in self._running], timeout=0.2)
        for each in [each for each in self._running if not each.is_alive()]:
            lived_s = time.monotonic() - self._running.pop(each)
            each.join()
            if self._told_to_end.is_set():
                return
            _forget_its_metrics(each)
            self._wait_s = _AGAIN_AFTER_S[0] if lived_s > _HEALTHY_AFTER_S else self._wait_s
            _log.error("a worker died with %s; another one starts in %.1f s", each.exitcode, self._wait_s)
            if self._told_to_end.wait(self._wait_s):
                return
            self._wait_s = min(2 * self._wait_s, _AGAIN_AFTER_S[1])
            self._start()

    def _end(self) -> int:
        self._pass_on(signal.SIGTERM)
        until = time.monotonic() + _END_WITHIN_S
        for each in self._running:
            each.join(max(0.0, until - time.monotonic()))
            if each.is_alive():
                _log.error("a worker did not end within %.0f s and is killed", _END_WITHIN_S)
                each.kill()
                each.join()
        # One that had not yet taken the signal over when it came has nothing to put in order.
        return 0 if all(each.exitcode in (0, -signal.SIGTERM) for each in self._running) else 1

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._told_to_end.set()
        else:
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        for each in self._running:
            if each.pid is not None and each.is_alive():
                os.kill(each.pid, number)


def _guarded(work: Work, settings: Settings, listeners: list[socket]) -> None:
    """Run a worker that tells itself to end when its parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    work(settings, listeners)


def _end_with(parent: BaseProcess) -> None:
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _forget_its_metrics(process: BaseProcess) -> None:
    from prometheus_client import multiprocess

    # Its gauges; what it counted stays counted.
    multiprocess.mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
