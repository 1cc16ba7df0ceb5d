"""PAC files asked per target: the worker process is kept alive and in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectivity_check.settings.pac_answer import Answer

CALL_S = 2.0
"""How long one run of the script may take; browsers wait longer, but nobody wants to wait with them."""
ASK_S = 15.0
"""How long one answer may take, look-ups and queueing behind other targets included."""
START_S = 20.0
"""How long the process may need to start, on a machine that is busy with other things."""
STRIKES = 3
"""Calls that had to be ended; after so many the file is not asked any more."""
# -P: modules that lie in the directory one happens to stand in are not ours.
_WORKER = (sys.executable, "-P", "-m", "connectivity_check.settings.pac_worker")
# What Python needs to start; the rest of the environment is no business of somebody else's script.
_KEPT = (
    "PATH",
    "SYSTEMROOT",
    "TZ",
    "LANG",
    "LC_ALL",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "RES_OPTIONS",
)
_LINE_LIMIT = 1 << 20


@dataclass(slots=True)
class _Open:
    """A question that has no answer yet."""

    url: str
    host: str
    future: asyncio.Future[Answer]


class PacEngine:
    """One PAC file. Every question gets an answer, whatever the script does."""

    def __init__(
        self, text: str, *, call_s: float = CALL_S, ask_s: float = ASK_S, command: Sequence[str] = _WORKER
    ) -> None:
        self._text = text
        self._call_s = call_s
        self._ask_s = ask_s
        self._command = command
        self._open: dict[int, _Open] = {}
        self._next = 0
        self._strikes = 0
        self._fault = ""
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._loaded = asyncio.Event()

    async def load(self) -> str:
        """Start, and give what is wrong with the file as a whole, "" when nothing is."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        await self._loaded.wait()
        return self._fault

    async def ask(self, url: str, host: str) -> Answer:
        """Give the script's answer for one target."""
        if await self.load():
            return Answer(error=self._fault)
        self._next += 1
        question = _Open(url, host, asyncio.get_running_loop().create_future())
        self._open[self._next] = question
        number = self._next
        self._send(number, question)
        try:
            async with asyncio.timeout(self._ask_s):
                return await question.future
        except TimeoutError:
            return Answer(error=f"it gave no answer within {self._ask_s:g} s")
        finally:
            self._open.pop(number, None)

    async def close(self) -> None:
        """Answer what is open, end the process and wait for its end; twice does nothing."""
        self._give_up("the run is over")
        self._kill()
        if self._keeper is not None:
            # Not cancelled: it may be about to start or to reap a process, which must not be left behind.
            await asyncio.shield(self._keeper)

    async def _keep(self) -> None:
        """Run processes, one after the other, until one ends in order or the file has had its chances."""
        try:
            while not self._fault:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    limit=_LINE_LIMIT,
                    env=_environment(),
                )
                if not self._fault:
                    self._write({"pac": self._text})
                    for number, question in self._open.items():
                        self._send(number, question)
                    await self._follow(self._process)
                await self._end_process()
        except OSError as error:
            self._give_up(f"the process that runs it cannot be started: {error.strerror or error}")
        finally:
            self._loaded.set()

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Read what the process says until it has to be replaced."""
        assert process.stdout is not None, "it was made with a pipe"
        running: int | None = None
        limit: float | None = START_S
        while True:
            try:
                async with asyncio.timeout(limit):
                    line = await process.stdout.readline()
            except TimeoutError:
                if limit == START_S:
                    return self._give_up(f"the process that runs it did not start within {START_S:g} s")
                return self._strike(running, f"it does not come to an end: stopped after {self._call_s:g} s")
            except ValueError:  # a line longer than the limit
                line = b""
            if not line:
                return self._strike(running, "the process that runs it died; it may use too much memory")
            message = json.loads(line)
            event = message["event"]
            running = message["id"] if event == "start" else None
            limit = self._call_s if event in ("ready", "start") else None
            if event == "loaded":
                self._on_loaded(message)
            elif event == "done":
                self._resolve(message["id"], _answer(message))
                if "out of memory" in message.get("error", ""):
                    return self._strike(None, "it uses too much memory")

    def _on_loaded(self, message: dict[str, Any]) -> None:
        if "error" in message:
            self._give_up(_answer(message).error)
        self._loaded.set()

    def _strike(self, running: int | None, reason: str) -> None:
        """Answer the question that ended the process, and stop trying when it is one too many."""
        self._strikes += 1
        if not self._loaded.is_set():
            self._give_up(reason)
        elif running is not None:
            self._resolve(running, Answer(error=reason))
        if self._strikes >= STRIKES:
            self._give_up(f"{reason}; that was the {STRIKES}rd time, it is not asked again")

    def _give_up(self, reason: str) -> None:
        self._fault = self._fault or reason
        for number in list(self._open):
            self._resolve(number, Answer(error=self._fault))

    def _resolve(self, number: int, answer: Answer) -> None:
        question = self._open.get(number)
        if question is not None and not question.future.done():
            question.future.set_result(answer)

    def _send(self, number: int, question: _Open) -> None:
        if not question.future.done():
            self._write({"id": number, "url": question.url, "host": question.host})

    def _write(self, message: dict[str, Any]) -> None:
        # Not drained: a run's questions are some kilobytes. A dead process is noticed by the reader.
        if (
            self._process is not None
            and self._process.stdin is not None
            and not self._process.stdin.is_closing()
        ):
            self._process.stdin.write(json.dumps(message).encode("ascii") + b"\n")

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _end_process(self) -> None:
        process = self._process
        if process is None:
            return
        self._kill()
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
        if process.stdout is not None:
            with contextlib.suppress(ValueError):
                await process.stdout.read()  # to the end, so that the pipe is closed with it
        self._process = None


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    own = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH"))))
    # glibc sets 64 MiB of addresses aside for each thread's allocations, which the memory limit counts.
    return kept | {"PYTHONPATH": path, "MALLOC_ARENA_MAX": "1"}


def _answer(message: dict[str, Any]) -> Answer:
    if "error" in message:
        line = message.get("line")
        # The engine tells the line where the failing function begins for some errors.
        return Answer(error=str(message["error"]) + (f", near line {line}" if line else ""))
    return Answer(text=message.get("result"))
