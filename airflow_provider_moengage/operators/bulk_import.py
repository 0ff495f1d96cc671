"""The operator for elements that exist already: a list, another task's output, a stream or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from airflow_provider_moengage import lineage
from airflow_provider_moengage.arguments import is_non_empty, is_unresolved, path_text
from airflow_provider_moengage.bulk.options import Delivery, Validation
from airflow_provider_moengage.bulk.resume.fingerprint import fingerprint_of_elements
from airflow_provider_moengage.operators.delivery import DELIVERY_FIELDS, DeliveryOperator
from airflow_provider_moengage.results.recording import recorded
from airflow_provider_moengage.tasks.elements_argument import ElementsArgument

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_moengage.bulk.sources import Source
    from airflow_provider_moengage.lineage import Lineage


class BulkImportOperator(DeliveryOperator):
    """Sends users, events and devices to MoEngage's bulk import API.

    .. code-block:: python

        BulkImportOperator(task_id="send", elements=make_elements.output)
        BulkImportOperator(task_id="replay", path="s3://aws_default@bucket/rejects/*.ndjson")

    :param elements: dicts as the API takes them (``{"type": "customer", "customer_id": ..., "attributes": ...}``):
        a list, another task's output, a template that renders to a list, or a function or generator function
        for a stream, which is called in the worker with the context entries that its parameters name. Airflow
        stores and shows only the number of elements (but another task's output is in that task's XCom).
    :param path: or NDJSON files, one element a line: an ObjectStoragePath URI, with globs, or a list of them.
        The lines of a rejects file are accepted too, so that it can be fixed and replayed.

    Both are templated. The other parameters are those of
    :class:`~airflow_provider_moengage.operators.delivery.DeliveryOperator`.
    Returns (XCom) the counts of the run, see :class:`~airflow_provider_moengage.bulk.report.DeliveryReport`.

    :raises ValueError: when the Dag is parsed, naming the argument that is wrong.
    """

    template_fields: Sequence[str] = ("elements", "path", *DELIVERY_FIELDS)

    def __init__(
        self,
        *,
        elements: Sequence[Any] | Callable[..., Iterable[Any]] | str | Any | None = None,
        path: str | PathLike[str] | Sequence[str] | None = None,
        delivery: Delivery = "at_least_once",
        validation: Validation = "warn",
        **kwargs: Any,
    ) -> None:
        super().__init__(delivery=delivery, validation=validation, **kwargs)
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
        """Render a template; while elements are rendered, only their number is visible."""
        if isinstance(content, ElementsArgument):
            return content.rendered(
                lambda value: super(BulkImportOperator, self).render_template(
                    value, context, jinja_env, seen_oids
                ),
                seen_oids or (),
            )
        return super().render_template(content, context, jinja_env, seen_oids)

    @recorded
    def execute(self, context: Context) -> dict[str, Any]:
        """Deliver the elements and return the counts of the run.

        :raises ValueError: if ``elements`` or ``path`` rendered to something other than elements.
        :raises MoEngageError: see :meth:`MoEngageHook.bulk_import`.
        """
        source, inputs = self._source(context)
        return self.deliver(source, inputs, context)

    def source_to_preview(self, context: Context) -> Source:
        """Return the elements, now that templates are rendered; nothing is sent."""
        return self._source(context)[0]

    def _source(self, context: Context) -> tuple[Source, Callable[[], Sequence[object]]]:
        """Return the elements, and what they are made of."""
        from airflow_provider_moengage.bulk.sources import Numbered, Stream
        from airflow_provider_moengage.sources.ndjson import NdjsonFiles

        if self.elements is not None:
            elements = self.elements.read(context)
            if self.elements.is_function or not isinstance(elements, Sequence):
                stream = Stream(elements, "a function may return other elements the next time")
                return stream, lambda: [str(self.elements)]
            given = list(elements)
            return Numbered(given), lambda: [fingerprint_of_elements(given)]
        files = NdjsonFiles.matching(_paths(self.path))
        for argument, file in self.files_to_write(context):
            files.check_not_read(argument, file)
        self.log.info("Reading %d file(s)", len(files.paths))
        return Numbered(files), files.versions

    def _inputs_of_lineage(self) -> Lineage:
        return lineage.files_of([] if self.path is None else _paths(self.path))


def _paths(given: Any) -> list[Any]:
    """Return the paths as text; templates and other tasks' outputs stay as they are.

    :raises ValueError: if one of them is not a path.
    """
    paths = [path_text(path) for path in (given if isinstance(given, list | tuple) else [given])]
    if not paths or not all(is_unresolved(path) or is_non_empty(path) for path in paths):
        raise ValueError("path: expected a path to NDJSON files, or a list of paths")
    return paths
