"""Which machines the list shows: a value that lives in the address, and the query it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, String, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from api.core.roles import Actor
from api.services.machines import visible
from api.store.tables import Group, Machine

DESIRED = ("connected", "isolated")
OBSERVED = ("connected", "isolating", "isolated", "releasing", "unknown")
ATTENTION = ("offline", "differs", "duplicate", "unenrolled")
ORDERS = ("name", "seen", "group", "observed")
PAGE_SIZE = 50
MAX_PAGE = 100_000


@dataclass(frozen=True, slots=True)
class MachineFilter:
    """What the list is narrowed to; an empty field does not narrow."""

    q: str = ""
    """Part of the name, id, address or a tag, in any case."""
    group: str = ""
    """A group's number, or `none` for machines without one."""
    desired: str = ""
    observed: str = ""
    attention: str = ""
    """`offline`, `differs` (desired and observed), `duplicate` or `unenrolled`."""
    order: str = "name"
    page: int = 1

    def values(self) -> dict[str, object]:
        """The fields as an address carries them; what is as usual is left out."""
        return {
            "q": self.q,
            "group": self.group,
            "desired": self.desired,
            "observed": self.observed,
            "attention": self.attention,
            "order": "" if self.order == "name" else self.order,
            "page": "" if self.page == 1 else self.page,
        }

    @property
    def narrows(self) -> bool:
        """Whether anything is filtered out."""
        return any((self.q, self.group, self.desired, self.observed, self.attention))


def parse_filter(query: Mapping[str, str]) -> MachineFilter:
    """The filter of an address's query. Never fails: a shared link with an old value still opens."""

    def one_of(name: str, allowed: tuple[str, ...], usual: str = "") -> str:
        value = query.get(name, "")
        return value if value in allowed else usual

    group = query.get("group", "")
    return MachineFilter(
        q=query.get("q", "").replace("\x00", "").strip()[:200],
        group=group if group == "none" or _is_number(group) else "",
        desired=one_of("desired", DESIRED),
        observed=one_of("observed", OBSERVED),
        attention=one_of("attention", ATTENTION),
        order=one_of("order", ORDERS, "name"),
        page=_page(query.get("page", "")),
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _page(text: str) -> int:
    return min(max(1, int(text)), MAX_PAGE) if _is_number(text) else 1


@dataclass(frozen=True, slots=True)
class Counts:
    """How many machines the actor sees, in the states that matter most."""

    all: int
    isolated: int
    differs: int
    offline: int
    duplicate: int


def offline_before(now: datetime, offline_after_s: float) -> datetime:
    """Machines last seen before this instant are called offline."""
    return now - timedelta(seconds=offline_after_s)


def differs() -> ColumnElement[bool]:
    """Desired and observed are not the same: on the way, failed, or changed behind our back."""
    return Machine.desired != Machine.observed_state


def matching(wanted: MachineFilter, actor: Actor, silent_since: datetime) -> Select[Machine, str]:
    """The machines (and their groups' names) that the filter and the actor let through, in order."""
    query = select(Machine, Group.name).outerjoin(Group, Group.id == Machine.group_id).where(visible(actor))
    conditions = [_attention(wanted.attention, silent_since)]
    if wanted.q:
        conditions.append(_contains(wanted.q))
    if wanted.group:
        number = None if wanted.group == "none" else int(wanted.group)
        conditions.append(Machine.group_id.is_(None) if number is None else Machine.group_id == number)
    if wanted.desired:
        conditions.append(Machine.desired == wanted.desired)
    if wanted.observed:
        conditions.append(Machine.observed_state == wanted.observed)
    columns = {
        "name": (func.lower(Machine.computer_name),),
        "seen": (Machine.last_seen.desc(),),
        "group": (Group.name, func.lower(Machine.computer_name)),
        "observed": (Machine.observed_state, func.lower(Machine.computer_name)),
    }
    return query.where(*conditions).order_by(*columns[wanted.order], Machine.id)


def _attention(kind: str, silent_since: datetime) -> ColumnElement[bool]:
    enrolled = Machine.unenrolled_at.is_(None)
    if kind == "unenrolled":
        return Machine.unenrolled_at.is_not(None)
    if kind == "offline":
        return and_(enrolled, Machine.last_seen < silent_since)
    if kind == "differs":
        return and_(enrolled, differs())
    if kind == "duplicate":
        return and_(enrolled, Machine.duplicate_since.is_not(None))
    return enrolled


def _contains(text: str) -> ColumnElement[bool]:
    wanted = text.lower()
    columns = (Machine.computer_name, Machine.id, Machine.last_ip, cast(Machine.tags, String))
    return or_(*(func.lower(each).contains(wanted, autoescape=True) for each in columns))


def count(session: Session, actor: Actor, silent_since: datetime) -> Counts:
    """The numbers above the list; of enrolled machines only."""

    def of(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count().filter(condition)

    row = session.execute(
        select(
            func.count(),
            of(Machine.observed_state == "isolated"),
            of(differs()),
            of(Machine.last_seen < silent_since),
            of(Machine.duplicate_since.is_not(None)),
        )
        .select_from(Machine)
        .where(visible(actor), Machine.unenrolled_at.is_(None))
    ).one()
    return Counts(*row)
