# PYTHON_ARGCOMPLETE_OK
"""isolator-api: serve the controller, and what an administrator does at its console.

Exit 0: done. 1: failed, nothing changed. 2: usage or bad input.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NoReturn

from sqlalchemy.exc import SQLAlchemyError

from api import console
from api.core.roles import Role
from api.problems import Problem
from api.services.keys import KeysError
from api.settings import Settings, SettingsError, load_settings
from api.store.database import DatabaseError

_EXAMPLES = """examples:
  isolator-api serve --tls-cert cert.pem --tls-key key.pem
  isolator-api client create --name soar --role operator
  isolator-api user create --name tanaka --role administrator
  isolator-api enrolment create --group servers --uses 20 --for 24h
  isolator-api forced-release web-7 --comment "INC-4711" --for 72h -o web-7.release
  isolator-api audit verify
  isolator-api backup /var/backups/controller.db

Settings come from /etc/isolator/controller.yaml, ISOLATOR_API_* variables and the options, in that order.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line; the long usage is what --help is for."""
        self.exit(console.USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def serve(args: argparse.Namespace, settings: Settings) -> int:
    """Run the web server until it is told to stop."""
    from api import serving  # the web framework is slow to import, and the console does not need it

    return serving.serve(settings)


_COMMANDS: tuple[tuple[str, console.Command, str, str], ...] = (
    ("serve", serve, "run controller and portal in the foreground", "--port 8443"),
    (
        "client create",
        console.client_create,
        "make an API client; id and secret are printed once",
        "--name soar --role operator",
    ),
    ("client list", console.client_list, "list API clients", ""),
    ("client revoke", console.client_revoke, "revoke an API client", "ID"),
    (
        "user create",
        console.user_create,
        "make a portal account; its first password is printed once",
        "--name tanaka --role operator",
    ),
    (
        "enrolment create",
        console.enrolment_create,
        "make an enrolment token; it is printed once",
        "--group servers --uses 20 --for 24h",
    ),
    ("enrolment list", console.enrolment_list, "list enrolment tokens", ""),
    ("enrolment revoke", console.enrolment_revoke, "revoke an enrolment token", "ID"),
    (
        "forced-release",
        console.force_release,
        "write a signed file that lets one device go without the controller",
        'web-7 --comment "INC-4711" -o web-7.release',
    ),
    ("audit verify", console.audit_verify, "walk the audit chain; names the first broken row", ""),
    ("audit export", console.audit_export, "print the audit log as JSON lines", "> audit.jsonl"),
    (
        "keys rotate",
        console.keys_rotate,
        "make a new order key, signed by the root key",
        "--root /media/usb/root.key",
    ),
    ("backup", console.backup, "write the whole database to one file", "/var/backups/controller.db"),
    ("restore", console.restore_backup, "fill an empty database from a backup", "controller.db"),
    (
        "move",
        console.move,
        "copy everything into another, empty database",
        "--to postgresql://isolator@/isolator",
    ),
)
"""Every command: its words, what runs it, what it does, and an example's arguments."""

_FAMILIES = {
    "client": "programs that call the API",
    "user": "people who sign in to the portal",
    "enrolment": "tokens with which agents enrol",
    "audit": "the audit log",
    "keys": "signing keys",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    top = _Parser(
        prog="isolator-api",
        description="Controller: API, portal, and signed orders to agents.",
        epilog=_EXAMPLES,
        formatter_class=raw,
    )
    shared = _shared_options()
    words = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    families = {
        name: words.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".").add_subparsers(
            dest="subcommand", required=True, metavar="COMMAND"
        )
        for name, what in _FAMILIES.items()
    }
    for name, run, what, example in _COMMANDS:
        family, _, word = name.rpartition(" ")
        command = (families[family] if family else words).add_parser(
            word,
            help=what,
            description=what[0].upper() + what[1:] + ".",
            epilog=f"example:\n  isolator-api {name} {example}".rstrip(),
            parents=[shared],
            formatter_class=raw,
        )
        command.set_defaults(run=run)
        if name in _OPTIONS:
            _OPTIONS[name](command)
    return top


def _shared_options() -> _Parser:
    shared = _Parser(add_help=False)
    shared.add_argument("--config", type=console.file_path, metavar="FILE", help="settings file")
    shared.add_argument("--database", metavar="URL", help="sqlite:////path or postgresql://user@host/name")
    shared.add_argument("--state-dir", type=console.file_path, metavar="DIR", help="keys and SQLite database")
    shared.add_argument("--tenant", metavar="NAME", help="which tenant, when there are several")
    shared.add_argument("--json", action="store_true", help="print JSON")
    return shared


def _serve_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    command.add_argument("--port", type=int, help="port to listen on (default 8443)")
    command.add_argument("--tls-cert", type=console.file_path, metavar="FILE", help="certificate chain, PEM")
    command.add_argument("--tls-key", type=console.file_path, metavar="FILE", help="its private key, PEM")
    command.add_argument("--workers", type=int, metavar="N", help="processes; more than 1 needs PostgreSQL")


def _account_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--name", required=True)
    command.add_argument("--role", required=True, choices=[each.value for each in Role])
    command.add_argument("--group", action="append", metavar="G", help="limit to this group; may be repeated")


def _token_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--group", action="append", metavar="G", help="group that the machines come into")
    command.add_argument("--uses", type=int, default=1, metavar="N", help="how many machines (default 1)")
    _duration(command, "24h", "good for this long (default 24h)")


def _release_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("machine", metavar="MACHINE", help="machine id or computer name")
    command.add_argument("--comment", default="forced release at the console", metavar="TEXT")
    _duration(command, "72h", "good for this long (default 72h, at most 30d)")
    above = "the order a device named that refused a file as too old (after a restore)"
    command.add_argument("--above", type=int, default=0, metavar="N", help=above)
    command.add_argument("-o", "--output", type=console.file_path, required=True, metavar="FILE")


def _rotate_options(command: argparse.ArgumentParser) -> None:
    where = "root key (default: the state directory's)"
    command.add_argument("--root", type=console.file_path, metavar="FILE", help=where)
    command.add_argument("--retire", action="store_true", help="the present key is no longer good")


def _id_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("id", metavar="ID")


def _file_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=console.file_path, metavar="FILE")


def _target_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--to", required=True, metavar="URL", help="the database to fill")


def _duration(command: argparse.ArgumentParser, default: str, what: str) -> None:
    command.add_argument(
        "--for", dest="duration", type=console.parse_duration, default=default, metavar=default, help=what
    )


_OPTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "serve": _serve_options,
    "client create": _account_options,
    "client revoke": _id_option,
    "user create": _account_options,
    "enrolment create": _token_options,
    "enrolment revoke": _id_option,
    "forced-release": _release_options,
    "keys rotate": _rotate_options,
    "backup": _file_option,
    "restore": _file_option,
    "move": _target_option,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    grammar = parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(grammar)
    args = grammar.parse_args(argv)
    names = ("host", "port", "database", "state_dir", "tls_cert", "tls_key", "workers")
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    try:
        _refuse_passwords(args)
        settings = replace(load_settings(args.config), **given).checked("the command line")
        with ExitStack() as args.opened:
            return int(args.run(args, settings))
    except (SettingsError, KeysError, DatabaseError) as error:
        return _say(str(error), console.USAGE)
    except Problem as problem:
        return _say(problem.message, console.USAGE if problem.status in (400, 404, 409) else console.FAILED)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        return _say(f"the database refused: {reason}", console.FAILED)
    except OSError as error:
        return _say(f"{error.filename or 'the system'}: {error.strerror}", console.FAILED)
    except KeyboardInterrupt:
        return _say("interrupted", console.FAILED)


def _refuse_passwords(args: argparse.Namespace) -> None:
    """What stands on a command line is for every account of the host to read."""
    for option in ("database", "to"):
        if re.match(r"[^/]*://[^/@]*:[^/@]*@", str(getattr(args, option, None) or "")):
            raise SettingsError(
                f"--{option}: a password does not belong on a command line; "
                "put it into ~/.pgpass, the settings file or ISOLATOR_API_DATABASE"
            )


def _say(sentence: str, code: int) -> int:
    print(f"isolator-api: {sentence}", file=sys.stderr)
    return code
