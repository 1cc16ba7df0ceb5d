# PYTHON_ARGCOMPLETE_OK
"""The `isolator` command: arguments in, exit code out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from isolator.model.failure import FailureCode, IsolatorError
from isolator.render.answers import (
    shown_doctor,
    shown_explanation,
    shown_isolated,
    shown_preview,
    shown_released,
    shown_status,
)

MAX_RELEASE_FILE = 32 * 1024
"""Bytes; a release file has less than one thousand."""

EXAMPLES = """examples:
  isolator isolate --list streamlined --geo EU --comment "INC-4711, call the SOC: 555-0100"
  isolator isolate --type selective --for 4h
  isolator status
  isolator explain tcp://edr-neu.eu.endpoint.security.microsoft.com:443
  isolator release --comment "INC-4711 closed"
  isolator release --file forced-release.json

exit codes: 0 done; 1 failed, nothing changed or rolled back; 2 usage or bad input;
            3 agent not reachable; 4 not permitted or not supported here
"""


def parser() -> argparse.ArgumentParser:
    """The command's grammar."""
    common = argparse.ArgumentParser(add_help=False)
    where = common.add_argument_group("where the agent keeps its things (also ISOLATOR_CONFIG, ...)")
    for name, meaning in (
        ("--config", "agent.yaml (default /etc/isolator/agent.yaml)"),
        ("--state-dir", "journal and log (default /var/lib/isolator)"),
        ("--socket", "the agent's socket (default /run/isolator/agent.sock)"),
    ):
        where.add_argument(name, metavar="PATH", default=argparse.SUPPRESS, help=meaning)
    reports = argparse.ArgumentParser(add_help=False)
    reports.add_argument("--json", action="store_true", help="print JSON")
    top = argparse.ArgumentParser(
        prog="isolator",
        description="Cut this host off from everything but its security service, and let it go again.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, help_: str, example: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=help_,
            description=help_[0].upper() + help_[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common, *parents],
        )

    agent = command(
        "agent", "run the agent in the foreground (the service unit calls this)", "isolator agent"
    )
    agent.add_argument("--standalone", action="store_true", help="end when the host has been released")
    _add_isolate(command("isolate", "cut this host off", "isolator isolate --geo EU --for 4h", reports))
    release = command("release", "let this host go", 'isolator release --comment "INC-4711 closed"', reports)
    release.add_argument("--comment", default="", metavar="TEXT", help="the reason, told to the person here")
    release.add_argument(
        "--file",
        metavar="FORCED_RELEASE",
        help="release by a signed file of the controller (isolator-api forced-release), which works offline",
    )
    command(
        "status",
        "say whether this host is isolated, as read from the kernel",
        "isolator status --json",
        reports,
    )
    explain = command(
        "explain",
        "say whether a destination is open and which rule decides",
        "isolator explain tcp://login.microsoftonline.com:443",
        reports,
    )
    explain.add_argument("destination", metavar="DEST", help="tcp://host:port, udp://addr:port, host or addr")
    command("doctor", "say what this host can do and what is lost without it", "isolator doctor", reports)
    return top


def _add_isolate(isolate: argparse.ArgumentParser) -> None:
    isolate.add_argument(
        "--type",
        choices=["full", "selective"],
        default="full",
        help="full: only the lists and the control channel; selective: plus Outlook, Teams and exclusions",
    )
    isolate.add_argument(
        "--list",
        action="append",
        dest="lists",
        metavar="standard|streamlined|FILE",
        help="endpoint list, may be repeated (default: from agent.yaml, else streamlined)",
    )
    isolate.add_argument("--geo", metavar="US,EU,UK,AU", help="geographies to keep open (default: all)")
    isolate.add_argument(
        "--profile",
        choices=["isolation", "all"],
        help="isolation: what a responder needs; all: every row, shared hosts included",
    )
    isolate.add_argument("--for", dest="duration", metavar="4h", help="release by itself after this time")
    isolate.add_argument("--comment", default="", metavar="TEXT", help="the reason, told to the person here")
    isolate.add_argument(
        "--stay",
        action="store_true",
        help="stay isolated even if the control channel does not answer (default: roll back)",
    )
    isolate.add_argument("--dry-run", action="store_true", help="check and show, change nothing")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of the interfaces."""
    grammar = parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(grammar)
    args = grammar.parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "agent": _agent,
        "isolate": _isolate,
        "release": _release,
        "status": _status,
        "explain": _explain,
        "doctor": _doctor,
    }
    try:
        return commands[args.command](args)
    except IsolatorError as error:
        print(f"isolator: {error.sentence}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        print("isolator: interrupted; ask `isolator status` what is in force", file=sys.stderr)
        return 1


def _places(args: argparse.Namespace) -> Any:
    from isolator.wiring import places

    return places(
        getattr(args, "config", None), getattr(args, "state_dir", None), getattr(args, "socket", None)
    )


def _agent(args: argparse.Namespace) -> int:
    import logging
    import signal

    from isolator.wiring import make_agent

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    agent = make_agent(_places(args), standalone=args.standalone)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    agent.run()
    return 0


def order_document(args: argparse.Namespace) -> dict[str, Any]:
    """The order as the agent reads it; None is filled in from agent.yaml there."""
    return {
        "scope": args.type,
        "lists": [_list_name(name) for name in args.lists] if args.lists else None,
        "geo": [part.strip().upper() for part in args.geo.split(",") if part.strip()] if args.geo else None,
        "profile": args.profile,
        "duration_s": None if args.duration is None else parse_duration(args.duration),
        "comment": args.comment,
        "on_silence": "stay" if args.stay else "roll_back",
    }


def _list_name(name: str) -> str:
    """A shipped name as it is, a path absolute: the agent has another working directory."""
    return str(Path(name).absolute()) if "/" in name or name.endswith((".yaml", ".yml")) else name


def parse_duration(text: str) -> float:
    """Seconds in `90s`, `30m`, `4h`, `7d` or a bare number of seconds; at most 365 days."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    seconds = int(number) * units[unit] if number.isascii() and number.isdigit() else 0
    if not 0 < seconds <= 365 * 86_400:
        raise IsolatorError(
            FailureCode.BAD_ORDER,
            "parse_duration",
            f"--for {text!r} is no duration: write 90s, 30m, 4h or 7d (at most 365d)",
        )
    return float(seconds)


def _isolate(args: argparse.Namespace) -> int:
    from isolator.wiring import ask_or_start_agent

    request = {"do": "isolate", "order": order_document(args), "dry_run": args.dry_run}
    answer = ask_or_start_agent(_places(args), request)
    if args.json:
        _print_json(answer)
    elif args.dry_run:
        print(shown_preview(answer))
    else:
        print(shown_isolated(answer))
    return 0


def _release(args: argparse.Namespace) -> int:
    from isolator.wiring import ask_or_start_agent

    request: dict[str, object] = {"do": "release", "comment": args.comment}
    if args.file is not None:
        request = {"do": "forced_release", "document": read_release(Path(args.file))}
    answer = ask_or_start_agent(_places(args), request)
    if args.json:
        _print_json(answer)
    else:
        print(shown_released(answer))
    return 0


def read_release(path: Path) -> dict[str, Any]:
    """The forced release in a file, unjudged; IsolatorError BAD_ORDER when it cannot be one."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_RELEASE_FILE + 1)
        document = json.loads(content) if len(content) <= MAX_RELEASE_FILE else None
    except OSError as error:
        sentence = f"the release file {path} cannot be read: {error.strerror or error}"
        raise IsolatorError(FailureCode.BAD_ORDER, "read_release", sentence) from error
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        sentence = f"{path} is no release file: get one from `isolator-api forced-release MACHINE -o FILE`"
        raise IsolatorError(FailureCode.BAD_ORDER, "read_release", sentence)
    return document


def _status(args: argparse.Namespace) -> int:
    from isolator.wiring import ask_agent

    answer = ask_agent(_places(args), {"do": "status"})
    if args.json:
        _print_json(answer)
    else:
        print(shown_status(answer))
    return 0


def _explain(args: argparse.Namespace) -> int:
    from isolator.wiring import ask_or_start_agent

    answer: Any = ask_or_start_agent(_places(args), {"do": "explain", "destination": args.destination})
    if args.json:
        _print_json(answer)
        return 0
    print(shown_explanation(answer))
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from isolator.wiring import capabilities

    found = capabilities()
    missing = [each for each in found if each.required and not each.available]
    answer = {
        "ok": not missing,
        "capabilities": [
            {
                "code": each.code,
                "available": each.available,
                "required": each.required,
                "detail": each.detail,
                "lost_without": each.lost_without,
            }
            for each in found
        ],
    }
    if args.json:
        _print_json(answer)
    else:
        print(shown_doctor(answer))
    return 4 if missing else 0


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
