"""Business events, v1 and v5."""

from airflow_provider_moengage.emulator.business_events.definitions import BusinessEvent

__all__ = ["BusinessEvent"]
