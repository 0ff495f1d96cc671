"""Campaigns as the emulator's workspace has them: their statistics, and the search."""

from __future__ import annotations

from airflow_provider_moengage.emulator.campaigns.definitions import Campaign

__all__ = ["Campaign"]
