"""The business events of one workspace: definitions, firings and quotas."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_moengage.emulator.business_events.definitions import Catalog
from airflow_provider_moengage.emulator.business_events.firings import FiringLog
from airflow_provider_moengage.emulator.family import Context
from airflow_provider_moengage.emulator.limits import Quota


@dataclass(slots=True)
class BusinessEventQuotas:
    """What was used of each quota; each version of the API has its own."""

    v1_triggers: Quota = field(default_factory=Quota)
    v1_flows: Quota = field(default_factory=Quota)
    v5_campaigns: Quota = field(default_factory=Quota)
    v5_flows: Quota = field(default_factory=Quota)
    lists: Quota = field(default_factory=Quota)
    searches: Quota = field(default_factory=Quota)


@dataclass(slots=True)
class BusinessEventState:
    """What the endpoints of business events read and change."""

    context: Context
    catalog: Catalog = field(default_factory=Catalog)
    firings: FiringLog = field(default_factory=FiringLog)
    quotas: BusinessEventQuotas = field(default_factory=BusinessEventQuotas)
