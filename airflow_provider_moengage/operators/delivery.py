"""What the bulk operators share: the delivery options, their checks, and the run itself.

A module that names one of these operators is read whenever Airflow parses a Dag, so whatever takes time to
import (requests, SQL, storage) is imported where a task runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_moengage.bulk.options import OPTION_NAMES, DeliveryOptions, check_parsed_options

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_moengage.hooks.moengage import MoEngageHook


OPTION_FIELDS = tuple("is_dry_run" if name == "dry_run" else name for name in OPTION_NAMES)
"""The operators' template fields that hold the delivery options."""


class DeliveryOperator(BaseOperator):  # type: ignore[misc, unused-ignore]
    """Delivers elements to MoEngage. Subclasses say where the elements come from.

    :param concurrency: requests on their way at once, 1 to 64. A user's elements stay in order all the same.
    :param delivery: ``at_least_once``: what may not have arrived is sent again.
    :param validation: ``warn`` counts what MoEngage would cut or ignore; ``strict`` makes rejects of it;
        ``off`` checks only what cannot be sent at all.
    :param max_rejects: rejects that are still a success: a count, or a fraction of the elements below 1. Past
        it, everything good is still sent, and then the task fails without retry.
    :param rejects_path: where rejects are written (ObjectStoragePath URI): a path that ends in ``.ndjson`` is
        the file, any other a folder in which the run gets a file of its own. None: what ``[moengage]
        rejects_path`` of airflow.cfg says, else they are counted in the log and not written.
    :param dry_run: check, encode and pack, report, and send nothing.
    :param moengage_conn_id: the workspace's connection.
    """

    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        concurrency: int = 4,
        delivery: str = "at_least_once",
        validation: str = "warn",
        max_rejects: float = 0,
        rejects_path: str | PathLike[str] | None = None,
        dry_run: bool = False,
        moengage_conn_id: str = "moengage_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.concurrency = concurrency
        self.delivery = delivery
        self.validation = validation
        self.max_rejects = max_rejects
        is_path = isinstance(rejects_path, PathLike) or hasattr(rejects_path, "protocol")
        self.rejects_path = str(rejects_path) if is_path else rejects_path
        self.is_dry_run = dry_run  # `dry_run` is a method of every operator
        self.moengage_conn_id = moengage_conn_id
        self._hook: MoEngageHook | None = None
        check_parsed_options(self._options())

    def deliver(self, elements: Iterable[object], context: Context) -> dict[str, Any]:
        """Deliver the elements and return the report, which becomes the task's XCom.

        :raises MoEngageError: see :meth:`MoEngageHook.bulk_import`.
        """
        from airflow_provider_moengage.hooks.moengage import MoEngageHook

        options = self.delivery_options(context)
        self._hook = hook = MoEngageHook(self.moengage_conn_id)
        report = hook.bulk_import(elements, **{name: getattr(options, name) for name in OPTION_NAMES})
        return report.to_dict()

    def on_kill(self) -> None:
        """Stop the lanes: what waits stops waiting, and nothing more is sent."""
        if self._hook is not None:
            self._hook.stop_bulk_import()

    def delivery_options(self, context: Context) -> DeliveryOptions:
        """Return the options as they are now that templates are rendered.

        :raises ValueError: naming the option that is wrong.
        """
        from airflow.providers.common.compat.sdk import conf

        from airflow_provider_moengage.hooks.rejects_path import rejects_path_of_task

        given = self._options()
        path = given["rejects_path"]
        if not path:
            path = conf.get("moengage", "rejects_path", fallback="") or None
            if path is not None and path.endswith(".ndjson"):
                raise ValueError(f"[moengage] rejects_path {path!r} of airflow.cfg: expected a folder, not a file")
        given["rejects_path"] = None if path is None else rejects_path_of_task(str(path), context)
        return DeliveryOptions(**given)

    def _options(self) -> dict[str, Any]:
        return {option: getattr(self, field) for option, field in zip(OPTION_NAMES, OPTION_FIELDS, strict=True)}
