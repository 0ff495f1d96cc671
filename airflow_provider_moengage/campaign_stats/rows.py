"""The rows of a day: their columns and ids, kept on disk until all pages of the day have been read.

Which columns a day has is known only at its end, because each goal and each cause of a failure is a metric of its
own. The rows wait in a file, so memory does not grow with the number of campaigns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from airflow_provider_moengage.api.campaigns.models import Campaign, CampaignStats
from airflow_provider_moengage.exceptions import MoEngageServerError
from airflow_provider_moengage.storage import in_temporary_folder, open_private

LONGEST_TEXT = 512
"""Characters of a name or an ID: what :meth:`Received.name` returns at most."""

LONGEST_WORD = 40


@dataclass(frozen=True, slots=True)
class Column:
    """A column that every row has.

    :param length: characters of a text; 0: it is not a text.
    """

    name: str
    length: int = 0


ID = Column("id", 32)
DAY = Column("day")
WORKSPACE = Column("workspace_id", LONGEST_TEXT)
PROJECT = Column("project_code", LONGEST_TEXT)
CAMPAIGN = Column("campaign_id", LONGEST_TEXT)
VERSION = Column("version")
ATTRIBUTION = Column("attribution_type", LONGEST_WORD)
METRIC_TYPE = Column("metric_type", LONGEST_WORD)

KEYS = (ID, WORKSPACE, PROJECT, CAMPAIGN, ATTRIBUTION, METRIC_TYPE)
"""The texts by which rows are found."""

COLUMNS = (
    *(ID, DAY, WORKSPACE, PROJECT, CAMPAIGN),
    *(Column("campaign_name", LONGEST_TEXT), Column("channel", LONGEST_WORD)),
    *(Column("campaign_status", LONGEST_WORD), Column("delivery_type", LONGEST_WORD)),
    *(
        VERSION,
        Column("platform", LONGEST_TEXT),
        Column("locale", LONGEST_TEXT),
        Column("variation", LONGEST_TEXT),
    ),
    *(ATTRIBUTION, METRIC_TYPE),
)
"""The columns that are not metrics. The id is the same for the same day, campaign, version, platform, locale,
variation and kind of counting."""

_NO_METRICS = frozenset(column.name for column in COLUMNS)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows of a day a task replaces: those with these values, and no others.

    :param project_code: of a portfolio; empty if there is none.
    :param campaign_ids: only these campaigns; None: all.
    """

    workspace_id: str
    project_code: str
    attribution_type: str
    metric_type: str
    campaign_ids: tuple[str, ...] | None = None

    @property
    def values(self) -> dict[str, str]:
        """The columns that all of its rows share."""
        return {
            WORKSPACE.name: self.workspace_id,
            PROJECT.name: self.project_code,
            ATTRIBUTION.name: self.attribution_type,
            METRIC_TYPE.name: self.metric_type,
        }

    @property
    def digest(self) -> str:
        """Eight digits that differ for other workspaces, projects or campaigns."""
        ids = None if self.campaign_ids is None else sorted(self.campaign_ids)
        return _digest([self.workspace_id, self.project_code, ids])[:8]


class DayRows:
    """The rows of a day, in a file.

    :param file: where they are kept; it is created, or replaced.
    :raises StorageError: if the disk is full.
    """

    def __init__(self, file: Path, day: date, scope: Scope) -> None:
        self.day = day
        self.scope = scope
        self.count = 0
        """Rows so far."""
        self.campaigns = 0
        """Campaigns so far."""
        self._file = file
        with in_temporary_folder():
            self._stream = open_private(file, "wb")
        self._encoder = msgspec.json.Encoder()
        self._metrics: set[str] = set()
        self.other_campaigns: set[str] = set()
        """Campaigns that were not asked for by their ID, such as executions of those that were."""

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics so far, sorted."""
        return sorted(self._metrics)

    def add(self, records: tuple[CampaignStats, ...], campaign: Campaign | None) -> None:
        """Add the records of a campaign.

        :param campaign: its name and channel; None if they are not known.
        :raises MoEngageServerError: if two records are the same variation.
        """
        self.campaigns += 1
        ids: set[str] = set()
        for record in records:
            row = self._row(record, campaign)
            ids.add(row[ID.name])
            metrics = {_metric_column(name): number for name, number in record.metrics.items()}
            self._metrics.update(metrics)
            line = self._encoder.encode({**row, **metrics}) + b"\n"
            with in_temporary_folder():
                self._stream.write(line)
            if self.scope.campaign_ids is not None and record.campaign_id not in self.scope.campaign_ids:
                self.other_campaigns.add(record.campaign_id)
        if len(ids) < len(records):
            raise MoEngageServerError(
                f"MoEngage returned the same variation of a campaign twice for {self.day}, so its counts are not"
                " clear; nothing of this day was changed"
            )
        self.count += len(records)

    def flush(self) -> None:
        """Write all rows to the disk, before the destination is touched.

        :raises StorageError: if the disk is full.
        """
        with in_temporary_folder():
            self._stream.flush()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows, each with the metrics that it has. The day is ISO 8601 text."""
        self.flush()
        with self._file.open("rb") as lines:
            decoder = msgspec.json.Decoder(dict[str, Any])
            for line in lines:
                yield decoder.decode(line)

    def close(self) -> None:
        """Remove the file."""
        with suppress(OSError):  # a full disk: the file is removed anyway
            self._stream.close()
        self._file.unlink(missing_ok=True)

    def _row(self, record: CampaignStats, campaign: Campaign | None) -> dict[str, Any]:
        scope = self.scope
        place = (record.version, record.platform, record.locale, record.variation)
        values = {
            ID.name: _digest([self.day.isoformat(), *scope.values.values(), record.campaign_id, *place]),
            DAY.name: self.day.isoformat(),
            **scope.values,
            CAMPAIGN.name: record.campaign_id,
            "campaign_name": campaign.name if campaign else None,
            "channel": campaign.channel if campaign else None,
            "campaign_status": campaign.status if campaign else None,
            "delivery_type": campaign.delivery_type if campaign else None,
            **dict(zip(("version", "platform", "locale", "variation"), place, strict=True)),
        }
        return {column.name: values[column.name] for column in COLUMNS}


def _metric_column(name: str) -> str:
    """Return the column of a metric, which is never one of those that are not metrics."""
    return f"metric_{name}" if name in _NO_METRICS else name


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[: ID.length]
