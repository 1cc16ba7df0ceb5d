"""What runs beside the requests: the delivery of events. The agents' side has its own, with its routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import Lifespan

from api.services.context import Services
from api.services.delivery import Delivery
from api.services.receivers import Receiver


def upkeep(services: Services, receivers: Sequence[Receiver]) -> Lifespan[FastAPI]:
    """The application's lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        delivery = Delivery(services, receivers, app.state.metrics)
        delivery.start()
        try:
            yield
        finally:
            await asyncio.to_thread(delivery.stop)

    return lifespan
