"""The agent's answers as text for a person at a terminal.

Keys that came later may be missing: after an upgrade an agent of before answers until it is restarted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isolator.render.notice import clean

_REASONS_SHOWN = 4
"""Of the packets that were refused; `--json` has all."""

_REFUSALS_SHOWN = 8
"""Of the names that were refused; `--json` has all that are remembered."""

_NAME_SHOWN = 40
"""Characters of a name in a table, from its end: there is whose name it is."""


def shown_released(answer: Any) -> str:
    """How an order to release ended."""
    if not answer["changed"]:
        return "already released: this host was not isolated"
    return f"released and verified: nothing of the isolator is left in the kernel{_took(answer)}"


def _took(answer: Any) -> str:
    commit = answer["took_ms"].get("commit_ms")
    return f" (commit {commit:g} ms)" if commit is not None else ""


def shown_isolated(answer: Any) -> str:
    """How an order to isolate ended."""
    status = answer["status"]
    lists = ", ".join(f"{each['id']} {each['version']} ({each['entries']} rows)" for each in status["lists"])
    until = f"until {status['expires_at']}" if status["expires_at"] else "until released"
    word = "isolated and verified" if answer["changed"] else "already isolated, verified"
    ended = answer["ended"]
    return (
        f"{word}: {status['isolation_type']}, {until}{_took(answer)}\n"
        f"  open   {lists}\n"
        f"  ended  {ended['sockets']} connections of local programs, {ended['tracked']} tracked flows"
    )


def shown_preview(answer: Any) -> str:
    """What an order would put in force."""
    lines = [f"dry run, nothing changed; this would stay open ({answer['state']} now):"]
    lines += [
        f"  {each['pattern']}  port {','.join(map(str, each['ports']))}  ({each['entry']})"
        for each in answer["open_names"]
    ]
    lines += [
        f"  {each['network']}  port {each['port']}  ({each['entry']})" for each in answer["open_networks"]
    ]
    lines += [f"  proxy {each}  for requests that name one of these" for each in answer["open_proxies"]]
    lines.append(f"  DNS about these names to {', '.join(answer['resolvers'])}")
    return "\n".join(lines)


def shown_status(status: Any) -> str:
    """What `status` says, on a screen or two."""
    controller = _shown_controller(status.get("controller"))
    if status["state"] == "connected":
        return "\n".join(["connected: this host is not isolated", *controller])
    enforcement = status["enforcement"]
    verified = "verified in the kernel" if enforcement["verified"] else "NOT as ordered in the kernel"
    lines = [
        f"{status['state']}: {status['isolation_type']}, {verified}",
        f"  since     {status['since']}",
        f"  until     {status['expires_at'] or 'released'}",
        f"  reason    {clean(status['comment'] or '') or '-'}",
        f"  lists     {', '.join(each['id'] + ' ' + each['version'] for each in status['lists']) or '-'}",
        f"  control   {'answers' if status['control_channel']['ok'] else 'SILENT'}",
        f"  learned   {len(status['learned'])} addresses{_shown_inherited(status)}",
        f"  dropped   {_shown_dropped(status['counters']['dropped'])}, repairs {enforcement['repairs']}",
        *map(_shown_alert, status["alerts"]),
        *_shown_refused(status),
        *controller,
    ]
    return "\n".join(lines)


def shown_explanation(answer: Any) -> str:
    """Why a destination is open or shut, what a connection has to say, and whether one was refused lately."""
    shown = answer.get("if_isolated", answer)
    lines = [
        answer["sentence"],
        f"  verdict  {shown['verdict']} ({shown['reason']})",
        f"  rule     {shown['rule']}",
    ]
    if shown["entry"]:
        lines.append(f"  entry    {shown['entry']} ({shown['pattern']})")
    for each in shown.get("first_bytes", ()):
        through = f" through the proxy {each['through']}" if each["through"] else ""
        lines.append(f"  on wire  {each['at']}{through}: {each['sentence']}")
    refused = answer.get("refused", ())
    for each in refused[:_REFUSALS_SHOWN]:
        times = "once" if each["count"] == 1 else f"{each['count']} times"
        where = f"{each['name'] or 'no name'} at {each['destination']}"
        lines.append(f"  refused  {times}, last at {each['last_at']}: {each['reason']}, {where}")
    if len(refused) > _REFUSALS_SHOWN:
        lines.append(f"           and {len(refused) - _REFUSALS_SHOWN} others (all with --json)")
    if refused:
        lines.append("           which process asked is not known")
    return "\n".join(lines)


def shown_doctor(answer: Any) -> str:
    """What this host can do, one thing a line, and the verdict."""
    lines: list[str] = []
    for each in answer["capabilities"]:
        mark = "yes" if each["available"] else ("NO " if each["required"] else "no ")
        lost = "" if each["available"] else f"; without it: {each['lost_without']}"
        lines.append(f"{mark}  {each['code']:<22} {each['detail']}{lost}")
    lines.append("this host can be isolated" if answer["ok"] else "this host cannot be isolated yet")
    return "\n".join(lines)


def _shown_refused(status: Any) -> list[str]:
    """Names that were refused lately, as a table; of each reason the latest at least."""
    refused = status.get("refused")
    if not refused:
        return []
    chosen = _chosen(refused)
    rows = [("times", "name", "reason", "to", "last")]
    rows += [
        (str(each["count"]), _cut(each["name"] or "-"), each["reason"], each["destination"], each["last_at"])
        for each in chosen
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    some = f", {len(chosen)} of {len(refused)} shown" if len(chosen) < len(refused) else ""
    lost = f", {status['refused_forgotten']} older ones forgotten" if status["refused_forgotten"] else ""
    lines = [f"  refused   lately{some}{lost} (`isolator explain NAME` says more):"]
    for times, *cells in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append(f"    {times.rjust(widths[0])}  {'  '.join(padded)}".rstrip())
    return lines


def _chosen(refused: Sequence[Any]) -> list[Any]:
    """The latest of each reason, so that one flood does not hide the rest, then the latest of all."""
    first = {each["reason"]: place for place, each in reversed(list(enumerate(refused)))}
    places = [*sorted(first.values()), *(set(range(len(refused))) - set(first.values()))]
    return [refused[place] for place in sorted(places[:_REFUSALS_SHOWN])]


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_SHOWN else "..." + name[3 - _NAME_SHOWN :]


def _shown_inherited(status: Any) -> str:
    count = len(status.get("inherited", ()))
    return f", {count} from before the agent's restart" if count else ""


def _shown_dropped(counted: Mapping[str, int]) -> str:
    """How many packets, and the reasons that were met most often."""
    often = sorted(((reason, n) for reason, n in counted.items() if n), key=lambda each: (-each[1], each[0]))
    shown = ", ".join(f"{reason} {count}" for reason, count in often[:_REASONS_SHOWN])
    more = ", ..." if len(often) > _REASONS_SHOWN else ""
    return f"{sum(counted.values())} packets" + (f" ({shown}{more})" if shown else "")


def _shown_alert(alert: Any) -> str:
    count, since = alert["count"], alert["first_at"]
    return f"  ALERT     {alert['reason']} under {alert['pattern']}: {count} queries refused since {since}"


def _shown_controller(controller: Any) -> list[str]:
    if not controller:
        return []
    if not controller["enrolled"]:
        return [f"  managed   by {controller['url']}, not enrolled yet"]
    held = ", which holds this host isolated" if controller["holds"] else ""
    contact = controller["last_contact_at"] or "not since this agent started"
    return [
        f"  managed   by {controller['url'] or 'a controller without a line'}{held}; last answer {contact}"
    ]
