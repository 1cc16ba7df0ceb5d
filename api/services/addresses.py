"""Which machine had an address, and when: what `findbyip` answers from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from api.core.roles import Actor
from api.services.machines import visible
from api.store.tables import AddressSpan, Machine

WINDOW = timedelta(minutes=15)
"""How far from the asked instant an address still counts, each way (Microsoft's "find by IP")."""
KEPT = timedelta(days=31)
"""Spans that ended longer ago are forgotten; Microsoft answers for the last 30 days."""


def note_addresses(session: Session, machine: Machine, at: datetime) -> None:
    """Bring the spans in line with the machine's addresses. Loopback and link-local are left out."""
    present = set(_worth_finding(machine))
    open_spans = session.scalars(
        select(AddressSpan).where(AddressSpan.machine_id == machine.id, AddressSpan.until.is_(None))
    ).all()
    for span in open_spans:
        if span.address not in present:
            span.until = at
    for address in sorted(present - {span.address for span in open_spans}):
        session.add(AddressSpan(machine_id=machine.id, address=address, since=at))
    session.execute(
        delete(AddressSpan).where(AddressSpan.machine_id == machine.id, AddressSpan.until < at - KEPT)
    )


def find_by_address(session: Session, actor: Actor, address: str, at: datetime) -> Sequence[Machine]:
    """The machines that had this address within WINDOW of the instant, the one seen last first.

    ValueError when the text is no address. An address without an end counts until its machine was last seen.
    """
    wanted = str(ip_address(address))
    return session.scalars(
        select(Machine)
        .join(AddressSpan, AddressSpan.machine_id == Machine.id)
        .where(
            visible(actor),
            AddressSpan.address == wanted,
            AddressSpan.since <= at + WINDOW,
            func.coalesce(AddressSpan.until, Machine.last_seen) >= at - WINDOW,
        )
        .distinct()
        .order_by(Machine.last_seen.desc(), Machine.id)
    ).all()


def _worth_finding(machine: Machine) -> list[str]:
    found = []
    for each in machine.facts.get("ip_addresses") or ():
        try:
            address = ip_address(str(each["ipAddress"]))
        except (ValueError, KeyError, TypeError):
            continue
        if not (address.is_loopback or address.is_link_local or address.is_unspecified):
            found.append(str(address))
    return found
