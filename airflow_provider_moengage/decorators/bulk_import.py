"""``@task.moengage_bulk_import``: the elements that a function returns are sent to MoEngage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from airflow.providers.common.compat.sdk import DecoratedOperator, task_decorator_factory

from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.tasks.elements_argument import FunctionCall

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import Task

Given = ParamSpec("Given")
Elements = TypeVar("Elements", bound=Iterable[Any])


class BulkImportDecoratedOperator(DecoratedOperator, BulkImportOperator):
    """What ``@task.moengage_bulk_import`` makes of a function.

    The function's arguments are no template fields: Airflow would store and show them, and they may hold elements.
    They are rendered, and resolved if they are another task's output.
    """

    template_fields = BulkImportOperator.template_fields
    template_fields_renderers = BulkImportOperator.template_fields_renderers
    custom_operator_name = "@task.moengage_bulk_import"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Iterable[Any]],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            elements=FunctionCall(python_callable, op_args or (), op_kwargs or {}),
            **kwargs,
        )


@overload
def moengage_bulk_import_task(python_callable: Callable[Given, Elements]) -> Task[Given, Elements]: ...
@overload
def moengage_bulk_import_task(
    python_callable: None = None, **kwargs: Any
) -> Callable[[Callable[Given, Elements]], Task[Given, Elements]]: ...
def moengage_bulk_import_task(python_callable: Callable[..., Iterable[Any]] | None = None, **kwargs: Any) -> Any:
    """Make a function a task that sends the elements which it returns or yields to MoEngage.

    Airflow has it as ``@task.moengage_bulk_import``.

    .. code-block:: python

        @task.moengage_bulk_import(max_rejects=0)
        def send_signups(signups: list[dict], ds: str):
            for signup in signups:
                yield {"type": "customer", "customer_id": signup["id"], "attributes": {"plan": signup["plan"]}}

        send_signups(extract())

    The function is called in the worker, with the arguments of the call, which may be another task's output, and
    with the entries of the context that its other parameters name. Airflow stores neither the arguments nor the
    elements.

    :param kwargs: the parameters of
        :class:`~airflow_provider_moengage.operators.delivery.DeliveryOperator`, and Airflow's own.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=BulkImportDecoratedOperator, **kwargs
    )
