"""The options of `isolator-check`: what may be asked for, and which wishes contradict each other."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from allowlists.model import OPERATING_SYSTEMS
from connectivity_check.core.ip_text import ip_of
from connectivity_check.model import InputError
from connectivity_check.render.formats import Format, format_of
from connectivity_check.render.texts import Lang

_EXAMPLES = """examples:
  isolator-check                                        the standard list, the way this system goes out
  isolator-check --list streamlined --geo EU --os linux
  isolator-check --proxy http://proxy.example:3128 -o change-request.xlsx
  isolator-check --pac http://wpad.example/proxy.pac --lang ja -o report.html
  isolator-check --target my-controller.example:8443
  isolator-check --gate -o report.json && ./onboard.sh
  isolator-check --replay report.json --format html -o report.html

exit code:
  0 every required endpoint is reachable     2 usage or bad input
  1 some required endpoint is not            3 could not measure, or not to the end

The result goes to standard output (or -o FILE), progress to standard error.
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for, checked as far as one can without a network or a file.

    Times are in seconds. Empty strings and tuples mean "not given".
    """

    lists: tuple[str, ...]
    """Empty when only `targets` are wanted."""
    geo: tuple[str, ...]
    os: str | None
    required_only: bool
    targets: tuple[str, ...]
    proxy: str
    pac: str
    wpad: bool
    direct: bool
    proxy_auth: str
    settings: tuple[str, ...]
    resolvers: tuple[tuple[str, int], ...]
    ca: str
    public_ca: str
    source_address: str
    expectations: str
    control_proxy: str
    control_resolver: str
    control_host: str
    timeout_s: float
    deadline_s: float
    concurrency: int
    trace: bool
    replay: str
    baseline: str
    strict: bool
    gate: bool
    format: Format
    output: str
    """"" or "-": standard output."""
    language: Lang
    report_to: str


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Give what is wrong as an InputError; the long usage is what --help is for."""
        raise InputError(f"{message}; see {self.prog} --help")


def without_credentials(text: str) -> str:
    """Give the text with `user:password` before an @ masked; for messages that quote what was typed.

    `streamlined@2025-04` is a list and stays.
    """
    return re.sub(r"((?:[\w+.-]+:)?//)\S*@|[^\s/:@]+:\S*@", r"\1***@", text)


def parse(arguments: Sequence[str] | None) -> Wish:
    """Give what is wanted. Raises InputError; `--help` and completion leave by SystemExit."""
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    _refuse_contradictions(options)
    lists = tuple(options.lists)
    if not lists and not options.targets:
        lists = ("standard",)
    return Wish(
        lists=lists,
        geo=tuple(name for name in options.geo.split(",") if name.strip()),
        os=options.os,
        required_only=options.required_only,
        targets=tuple(options.targets),
        proxy=options.proxy or "",
        pac=options.pac or "",
        wpad=options.wpad,
        direct=options.direct,
        proxy_auth=options.proxy_auth,
        settings=tuple(options.settings),
        resolvers=tuple(options.resolvers),
        ca=options.ca or "",
        public_ca=options.public_ca or "",
        source_address=options.source_address or "",
        expectations=options.expectations or "",
        control_proxy=options.control_proxy or "",
        control_resolver=options.control_resolver or "",
        control_host=options.control_host or "",
        timeout_s=options.timeout,
        deadline_s=options.deadline,
        concurrency=options.concurrency,
        trace=options.trace,
        replay=options.replay or "",
        baseline=options.baseline or "",
        strict=options.strict,
        gate=options.gate,
        format=_format(options),
        output=options.output if options.output not in (None, "-") else "",
        language=Lang(options.lang),
        report_to=options.report_to or "",
    )


def build_parser() -> argparse.ArgumentParser:
    """Give the parser; abbreviations are refused, so that a later option changes no script's meaning."""
    parser = _Parser(
        prog="isolator-check", add_help=False, allow_abbrev=False, epilog=_EXAMPLES,
        usage="isolator-check [options]",
        description="Say which endpoints of a list this host reaches, and for each it does not: which\n"
        "device blocks it, and what to change there. Needs no privileges and changes nothing.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _add_what(parser)
    _add_way(parser)
    _add_run(parser)
    _add_result(parser)
    parser.add_argument("-h", "--help", action="help", help="show this text and exit")
    return parser


def _add_what(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to check")
    what = "standard (default), streamlined, collaboration, an edition such as streamlined@2025-04, or a file"
    lists = group.add_argument("--list", action="append", dest="lists", default=[], metavar="L", help=what)
    lists.completer = _list_names  # type: ignore[attr-defined]  # argcomplete reads it
    group.add_argument("--geo", default="", metavar="CODES", help="only WW rows and these, such as US,EU")
    group.add_argument("--os", choices=OPERATING_SYSTEMS, help="only rows for this operating system")
    group.add_argument("--required-only", action="store_true", help="leave out optional rows")
    what = "one more host (port 443 if absent); without --list, only the hosts so given; may be given again"
    group.add_argument(
        "--target", action="append", dest="targets", default=[], metavar="HOST[:PORT]", help=what
    )
    what = "answers to expect, in place of the shipped ones"
    group.add_argument("--expectations", type=_text, metavar="FILE", help=what)


def _list_names(**_: object) -> Sequence[str]:
    from allowlists import files

    return files.available()


def _add_way(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the way out (default: what the system uses)")
    way = group.add_mutually_exclusive_group()
    what = "http://, https:// or socks5h:// [USER:PASSWORD@]HOST[:PORT]; a password is safer in HTTPS_PROXY"
    way.add_argument("--proxy", type=_text, metavar="URL", help=what)
    way.add_argument("--pac", type=_text, metavar="URL|FILE", help="ask this PAC file for each endpoint")
    way.add_argument("--wpad", action="store_true", help="find the PAC file by DHCP and DNS")
    way.add_argument("--direct", action="store_true", help="use no proxy, whatever is configured")
    what = "how to answer a proxy that asks who we are"
    group.add_argument("--proxy-auth", choices=("basic", "ntlm", "negotiate"), default="", help=what)
    what = "another machine's settings: .reg exports, configuration files or a copy of its root"
    group.add_argument(
        "--settings", nargs="+", action="extend", type=_text, default=[], metavar="PATH", help=what
    )
    what = "ask this resolver instead of the system's; may be given again"
    group.add_argument(
        "--resolver", action="append", dest="resolvers", default=[], type=_resolver, metavar="IP", help=what
    )
    what = "address of this host to send from"
    group.add_argument("--source-address", type=_address, metavar="IP", help=what)
    what = "CAs to trust besides the system's (PEM)"
    group.add_argument("--ca", type=_text, metavar="FILE", help=what)
    what = "CAs that count as public, in place of Mozilla's (PEM)"
    group.add_argument("--public-ca", type=_text, metavar="FILE", help=what)


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to measure")
    group.add_argument(
        "--timeout", type=_seconds(0.1, 300), default=5.0, metavar="S", help="for one step (default: 5)"
    )
    group.add_argument(
        "--deadline", type=_seconds(0.5, 86400), default=60.0, metavar="S", help="for the run (default: 60)"
    )
    what = "endpoints tried at the same time (default: 256)"
    group.add_argument("--concurrency", type=_count(4096), default=256, metavar="N", help=what)
    what = "record the packets of what fails, too (Linux, root or CAP_NET_RAW, and the package scapy)"
    group.add_argument("--trace", action="store_true", help=what)
    what = "a proxy on a free network: tells a service that is down from one that is blocked"
    group.add_argument("--control-proxy", type=_text, metavar="URL", help=what)
    what = "a resolver that is known to be honest"
    group.add_argument("--control-resolver", type=_address, metavar="IP", help=what)
    what = "a helper of your own that answers any name and echoes headers"
    group.add_argument("--control-host", type=_text, metavar="HOST[:PORT]", help=what)
    what = "measure nothing: judge a recorded JSON report again"
    group.add_argument("--replay", type=_text, metavar="FILE", help=what)


def _add_result(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the result")
    what = f"{', '.join(Format)} (default: by the end of -o's name, else table)"
    group.add_argument("--format", choices=[str(each) for each in Format], metavar="FORMAT", help=what)
    what = "same as --format nagios; the exit code follows the monitoring plugins, too"
    group.add_argument("--nagios", action="store_const", const="nagios", dest="format", help=what)
    what = "write here, whole or not at all; - is standard output"
    group.add_argument("-o", "--output", type=_text, metavar="FILE", help=what)
    group.add_argument(
        "--lang",
        choices=[str(each) for each in Lang],
        default="en",
        help="language of the report (default: en)",
    )
    what = "say what changed since this JSON report"
    group.add_argument("--baseline", type=_text, metavar="FILE", help=what)
    what = "required endpoints that work with warnings make the exit code 1"
    group.add_argument("--strict", action="store_true", help=what)
    group.add_argument("--gate", action="store_true", help="one line and the exit code; for scripts")
    what = "also POST the JSON report here, with the token in ISOLATOR_TOKEN"
    group.add_argument("--report-to", type=_text, metavar="URL", help=what)


def _refuse_contradictions(options: argparse.Namespace) -> None:
    if options.direct and options.proxy_auth:
        raise InputError(
            "--proxy-auth says how to answer a proxy, and --direct that there is none; leave one out"
        )
    if options.gate and options.format == "nagios":
        raise InputError("--gate and --nagios both decide the one line that is printed; leave one out")
    if options.gate and options.format and options.output in (None, "-"):
        raise InputError("--gate prints one line; say with -o FILE where the report should go, too")
    if options.replay and (measuring := _measuring(options)):
        raise InputError(f"--replay measures nothing, so {measuring} cannot go with it; leave one out")


def _measuring(options: argparse.Namespace) -> str:
    """Give the first option that needs a measurement, as a gate does: no old recording may open it."""
    for name in (
        "lists", "targets", "geo", "os", "required_only", "expectations", "proxy", "pac", "wpad", "direct",
        "proxy_auth", "settings", "resolvers", "source_address", "ca", "public_ca", "trace", "control_proxy",
        "control_resolver", "control_host", "gate",
    ):  # fmt: skip
        if getattr(options, name):
            return "--" + {"lists": "list", "targets": "target", "resolvers": "resolver"}.get(
                name, name.replace("_", "-")
            )
    return ""


def _format(options: argparse.Namespace) -> Format:
    """Give the format: as asked, else by the name of the output, else a table (a gate's file: JSON)."""
    if options.format:
        return Format(options.format)
    if options.output in (None, "-"):
        return Format.TABLE
    told = format_of(options.output) or (Format.JSON if options.gate else None)
    if told is None:
        raise InputError(f"-o {options.output!a} does not tell the format; add --format {'|'.join(Format)}")
    return told


def _text(text: str) -> str:
    """Refuse an empty value: a script's unset variable must not mean "the default"."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("the value is empty")
    return text


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse_seconds(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:  # nan is in no range
            raise argparse.ArgumentTypeError(f"{text!a} is no number of seconds from {low:g} to {high:g}")
        return value

    return parse_seconds


def _count(high: int) -> Callable[[str], int]:
    def parse_count(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if not 1 <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!a} is no number from 1 to {high}")
        return value

    return parse_count


def _address(text: str) -> str:
    address = ip_of(text)
    if address is None:
        raise argparse.ArgumentTypeError(f"{text!a} is no IP address")
    return str(address)


def _resolver(text: str) -> tuple[str, int]:
    """Take IP, IP:PORT or [IPv6]:PORT."""
    address, port = text, "53"
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else port
        if not bracket or (rest and not rest.startswith(":")):
            port = ""
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!a} is no IP address, with or without :PORT")
    return _address(address), int(port)
