"""A trigger of another provider, which does its work in a thread of the event loop's default executor."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class ThreadTrigger(BaseTrigger):
    """Fires with the name of the thread that it was given."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__name__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        name = await asyncio.to_thread(lambda: threading.current_thread().name)
        yield TriggerEvent(name)  # type: ignore[no-untyped-call, unused-ignore]
