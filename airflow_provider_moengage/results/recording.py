"""Records the runs of an operator: a decorator of its ``execute``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, TypeVar

from airflow_provider_moengage.results.failed_run import push_report
from airflow_provider_moengage.results.recorded_operator import Recorded

Execute = TypeVar("Execute", bound=Callable[..., Any])


def recorded(execute: Execute) -> Execute:
    """Return an operator's ``execute`` that records the run, however it ends."""

    @wraps(execute)
    def run(self: Recorded, context: Mapping[str, Any]) -> Any:
        self.forget_earlier_run()
        try:
            if self.results is None or self.is_certainly_dry:
                return execute(self, context)
            from airflow_provider_moengage.results.recorder import record

            return record(self, self.results, context, partial(execute, self, context))
        except BaseException:  # a timeout and, on Airflow 2, SIGTERM raise no Exception
            push_report(self, context)
            raise

    return run  # type: ignore[return-value]  # it takes what execute takes
