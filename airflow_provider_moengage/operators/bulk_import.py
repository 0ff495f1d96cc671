"""The operator for elements that a Dag has already: a list, another task's result, a stream or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage.arguments import is_non_empty, is_unresolved, path_text
from airflow_provider_moengage.operators.delivery import DELIVERY_FIELDS, DeliveryOperator
from airflow_provider_moengage.tasks.elements_argument import ElementsArgument

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_moengage.lineage import Lineage


class BulkImportOperator(DeliveryOperator):
    """Sends users, events and devices to MoEngage's bulk import API.

    .. code-block:: python

        BulkImportOperator(task_id="send", elements=make_elements.output)
        BulkImportOperator(task_id="replay", path="s3://aws_default@bucket/rejects/*.ndjson")

    :param elements: objects of the API's form (``{"type": "customer", "customer_id": ..., "attributes": ...}``):
        a list, another task's output, a template that renders to a list, or a function or generator function
        for a stream, which is called in the worker with the context entries its parameters name. What Airflow
        stores and shows of this argument is their number (another task's output is in its XCom all the same).
    :param path: or NDJSON files, one element a line: an ObjectStoragePath URI, with globs, or a list of them.
        Lines of a rejects file are taken too, so that one can be mended and replayed.

    Both are templated. The other parameters are those of
    :class:`~airflow_provider_moengage.operators.delivery.DeliveryOperator`.
    Returns (XCom) the figures of the run, see :class:`~airflow_provider_moengage.bulk.report.DeliveryReport`.

    :raises ValueError: when the Dag is parsed, naming the argument that is wrong.
    """

    template_fields: Sequence[str] = ("elements", "path", *DELIVERY_FIELDS)

    def __init__(
        self,
        *,
        elements: Sequence[Any] | Callable[..., Iterable[Any]] | str | Any | None = None,
        path: str | PathLike[str] | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (elements is None) == (path is None):
            raise ValueError("elements, path: expected exactly one of them")
        self.elements = None if elements is None else ElementsArgument(elements)
        self.path = path
        if self.elements is not None:
            self.elements.depend_on_tasks(self)
        elif not is_unresolved(path):
            self.path = _paths(path)

    def render_template(
        self, content: Any, context: Context, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a template; the elements stay hidden behind their number while they are rendered."""
        if isinstance(content, ElementsArgument):
            return content.rendered(
                lambda value: super(BulkImportOperator, self).render_template(
                    value, context, jinja_env, seen_oids
                ),
                seen_oids or (),
            )
        return super().render_template(content, context, jinja_env, seen_oids)

    def execute(self, context: Context) -> dict[str, Any]:
        """Deliver the elements and return the figures of the run.

        :raises ValueError: where ``elements`` or ``path`` came out as something else than elements.
        :raises MoEngageError: see :meth:`MoEngageHook.bulk_import`.
        """
        from airflow_provider_moengage.bulk.resume.fingerprint import fingerprint_of_elements
        from airflow_provider_moengage.bulk.sources import Numbered, Stream
        from airflow_provider_moengage.sources.ndjson import NdjsonFiles

        if self.elements is not None:
            elements = self.elements.read(context)
            if self.elements.is_function or not isinstance(elements, Sequence):
                stream = Stream(elements, "a function may give other elements the next time")
                return self.deliver(stream, lambda: [str(self.elements)], context)
            several = list(elements)
            return self.deliver(Numbered(several), lambda: [fingerprint_of_elements(several)], context)
        files = NdjsonFiles.matching(_paths(self.path))
        rejects_path = self.delivery_options(context).rejects_path
        if rejects_path is not None and files.has(rejects_path):
            raise ValueError(f"rejects_path {rejects_path!r}: is one of the files to read; name another file")
        self.log.info("%d file(s) to read", len(files.paths))
        return self.deliver(Numbered(files), files.versions, context)

    def _inputs_of_lineage(self) -> Lineage:
        from airflow_provider_moengage import lineage

        return lineage.files_of([] if self.path is None else _paths(self.path))


def _paths(given: Any) -> list[Any]:
    """The paths as texts; what another task will say stays for later.

    :raises ValueError: where they are none.
    """
    several = given if isinstance(given, list | tuple) else [given]
    paths = [path_text(path) for path in several]
    if not paths or not all(is_unresolved(path) or is_non_empty(path) for path in paths):
        raise ValueError("path: expected a path to NDJSON files, or a list of paths")
    return paths
