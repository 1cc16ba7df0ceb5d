# PYTHON_ARGCOMPLETE_OK
"""`isolator-check`: which endpoints this host reaches, and who blocks the others.

Exit 0: every required endpoint is reachable. 1: some is not. 2: usage or bad input. 3: could not measure, or
not to the end. The codes are in `gate.Code`; with `--nagios` they are those of the monitoring plugins.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from allowlists.model import ParseError
from connectivity_check import cli_options, gate
from connectivity_check.cli_options import Wish
from connectivity_check.model import InputError, MeasureError, Report

if TYPE_CHECKING:
    import asyncio

PROGRAM = "isolator-check"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code; only --help and completion leave by SystemExit.

    Whatever happens, the code is one of the documented ones: a crash must not look like "blocked".
    """
    if arguments is None:
        with _as_the_whole_process():
            return main(sys.argv[1:])
    given = list(arguments)
    try:
        return _run(given)
    except (InputError, ParseError) as error:
        return _refuse(given, error.reason if isinstance(error, InputError) else str(error), gate.Code.USAGE)
    except MeasureError as error:
        return _refuse(given, error.reason, gate.Code.UNKNOWN)
    except KeyboardInterrupt:
        return _refuse(given, "interrupted before there was a result", gate.Code.UNKNOWN)
    except Exception:  # noqa: BLE001  # Python would exit 1, which means "blocked" here
        traceback.print_exc()
        return _refuse(given, "this is a fault of the program, nothing was found out", gate.Code.UNKNOWN)


@contextmanager
def _as_the_whole_process() -> Iterator[None]:
    """Spend less on garbage: a command lives for seconds, and most of what it makes is in its report.

    Looking through all of it again and again, and twice more at the end, takes a tenth of a healthy run.
    """
    gc.set_threshold(100_000)
    try:
        yield
    finally:
        gc.freeze()


def _run(given: Sequence[str]) -> int:
    wish = cli_options.parse(given)
    from connectivity_check import wiring

    send = _sender(wish)
    wiring.check_output(wish.output)
    before = wiring.read_report(wish.baseline) if wish.baseline else None
    stopped = False
    if wish.replay:
        report = wiring.judge_again(wish.replay)
    else:
        report, stopped = _measure(wish)
    if before is not None:
        report = wiring.compared(before, report)
    code = gate.exit_code(report, strict=wish.strict, stopped=stopped)
    exit_with = _write_result(wish, report, code)
    if stopped or report.interrupted:
        _say("stopped before the end; the report is PARTIAL")
    send(report)
    return exit_with


def _measure(wish: Wish) -> tuple[Report, bool]:
    """Measure, and stop in good order at Ctrl-C or SIGTERM; True when that happened."""
    import asyncio

    from connectivity_check import wiring

    # Not given back by the task: at its end asyncio compares signal handlers, and for that the enum of them
    # has the task's repr made, with the whole report in it.
    measured: list[tuple[Report, bool]] = []

    async def run() -> None:
        stop = asyncio.Event()
        with _stopping_on_signals(stop):
            report = await wiring.measure(wish, stop)
        measured.append((report, stop.is_set()))

    asyncio.run(run())
    return measured[0]


@contextmanager
def _stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Let the first signal end the run in good order, and the second the process at once."""
    import asyncio

    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]

    def stop_now() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        _say("stopping; once more ends it at once")
        stop.set()

    # signal.signal and not loop.add_signal_handler: the loops of Windows do not have it.
    before = [signal.signal(each, lambda *_: loop.call_soon_threadsafe(stop_now)) for each in numbers]
    try:
        yield
    finally:
        if not stop.is_set():
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def _write_result(wish: Wish, report: Report, code: gate.Code) -> int:
    """Write the report where it is wanted, and one line where a person looks; give the exit code."""
    from connectivity_check import wiring

    line = gate.line(report, code, strict=wish.strict, kept=wish.output)
    if not wish.gate:
        result = wiring.rendered(report, wish)
        if wish.output:
            _say(line)  # first: a full disk must not take the verdict with it
            wiring.write_file(wish.output, result.data)
        else:
            _print(result.data)
        return int(code) if result.exit_code is None else result.exit_code
    if wish.output:
        wiring.write_file(wish.output, wiring.rendered(report, wish).data)
    _print(f"{line}\n".encode())
    return int(code)


def _sender(wish: Wish) -> Callable[[Report], None]:
    """Give what hands a report to the controller; a bad address is refused now, not after the run."""
    if not wish.report_to:
        return lambda report: None
    from connectivity_check import delivery, wiring

    url = delivery.checked_url(wish.report_to)
    token = delivery.checked_token(os.environ.get("ISOLATOR_TOKEN", ""))
    if not token:
        raise InputError(
            "--report-to needs the controller's token in the environment variable ISOLATOR_TOKEN"
        )

    def send(report: Report) -> None:
        why = delivery.deliver(wiring.document(report), url, token, ca_file=wish.ca)
        if why:
            _say(f"warning: the controller did not take the report: {why}; the result above is not affected")

    return send


def _refuse(given: Sequence[str], reason: str, code: gate.Code) -> int:
    """Say in one sentence why there is no result; a monitoring system reads that on standard output."""
    _say(cli_options.without_credentials(reason))
    if "--nagios" in given or "nagios" in given or "--format=nagios" in given:
        _print(f"PREFLIGHT UNKNOWN - {_one_line(cli_options.without_credentials(reason))}\n".encode())
        return 3
    return int(code)


def _say(sentence: str) -> None:
    """Print one line to standard error; a closed one is no failure."""
    with suppress(OSError, ValueError, AttributeError):
        print(f"{PROGRAM}: {_one_line(sentence)}", file=sys.stderr, flush=True)


def _one_line(text: str) -> str:
    """Give the text without line ends and control characters: it may quote a file or an argument."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _print(data: bytes) -> None:
    """Write to standard output; a reader that went away (`| head`) is no failure and changes no exit code.

    Files and pipes get the bytes as they are, a terminal the characters that it has. Raises InputError when
    it cannot be written for another reason (a full disk).
    """
    out = sys.stdout
    if out is None:  # closed by whoever started us
        return
    try:
        out.flush()
        if isinstance(out, io.TextIOWrapper) and not out.isatty():
            out.buffer.write(data)
        else:
            if isinstance(out, io.TextIOWrapper):
                out.reconfigure(errors="backslashreplace")
            out.write(data.decode())
        out.flush()
    except OSError as error:
        # The interpreter flushes once more at its end; give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        if not isinstance(error, BrokenPipeError):
            raise InputError(f"the result cannot be written to standard output: {error.strerror}") from None
