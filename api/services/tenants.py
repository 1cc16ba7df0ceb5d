"""Tenants, by id or by name."""

from __future__ import annotations

from sqlalchemy import func, select

from api.services.context import Services
from api.store.tables import Tenant

MAX_NAME = 200


def find(services: Services, name: str) -> Tenant | None:
    """The tenant with this id, or else this name (in any case, when only one has it); None without."""
    if not 0 < len(name) <= MAX_NAME or "\0" in name:
        return None
    with services.database.read() as session:
        tenant = session.get(Tenant, name.lower())
        if tenant is not None:
            return tenant
        query = select(Tenant).where(func.lower(Tenant.name) == name.lower())
        named = session.scalars(query.limit(10)).all()
        exact = [each for each in named if each.name == name]
        return exact[0] if exact else named[0] if len(named) == 1 else None
