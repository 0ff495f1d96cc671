"""The ``elements`` argument: Airflow sees how many elements there are, never their content.

Airflow stores the rendered template fields and logs the value of a field that fails to render. There, this class
takes the place of the elements; only :meth:`ElementsArgument.read` returns them.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from airflow_provider_moengage.arguments import is_task_output, is_unresolved


class FunctionCall:
    """A function that returns elements, and the arguments to call it with, which may be templates.

    :param function: what to call.
    :param args: positional arguments.
    :param kwargs: named arguments. The function's other parameters get the entries of the context that they name.
    """

    def __init__(self, function: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]) -> None:
        self.function = function
        self.args = tuple(args)
        self.kwargs = dict(kwargs)

    def rendered(self, render: Callable[[Any], Any]) -> FunctionCall:
        """Return the call with templates and other tasks' outputs resolved."""
        return FunctionCall(self.function, render(self.args), render(self.kwargs))

    def __call__(self, **context: Any) -> Any:
        """Call the function."""
        from airflow.providers.common.compat.sdk import determine_kwargs

        return self.function(*self.args, **determine_kwargs(self.function, self.args, {**context, **self.kwargs}))


class ElementsArgument:
    """Elements, or what they are made from.

    :param value: a list, a template, another task's output, a callable, or a :class:`FunctionCall`.
    :param is_rendered: templates are rendered, so any text is data now.
    :raises ValueError: if it is none of these.
    """

    def __init__(self, value: Any, *, is_rendered: bool = False) -> None:
        if isinstance(value, Mapping | bytes | bool | int | float):
            raise ValueError(f"elements: expected a list of elements, not {type(value).__name__}")
        if isinstance(value, Iterator) and not is_rendered:
            raise ValueError("elements: a generator can be read only once; pass the generator function instead")
        self._value: Any = value
        self._is_rendered = is_rendered

    def __str__(self) -> str:
        value = self._value
        if isinstance(value, str):
            return "elements as text" if self._is_rendered or not is_unresolved(value) else value
        if _is_callable(value):
            function = value.function if isinstance(value, FunctionCall) else value
            name = getattr(function, "__qualname__", type(function).__name__)
            return f"elements of {name}()"  # Airflow gives the module of a Dag file a name of its own
        if isinstance(value, Sized):
            return f"{len(value)} elements"
        return "elements of another task"

    __repr__ = __str__

    def serialize(self) -> str:
        """Return what Airflow stores and shows."""
        return str(self)

    @property
    def is_function(self) -> bool:
        """Whether a function makes the elements."""
        return _is_callable(self._value)

    def depend_on_tasks(self, operator: Any) -> None:
        """Make the tasks whose output is used here upstream of the operator."""
        value = self._value
        if isinstance(value, FunctionCall):
            value = [value.args, value.kwargs]
        if isinstance(value, str) or _is_callable(value):
            return
        from airflow.providers.common.compat.sdk import XComArg

        try:
            XComArg.apply_upstream_relationship(operator, value)
        except RecursionError:  # an element contains itself or is nested too deep; it will be rejected
            for element in value:
                with suppress(RecursionError):
                    XComArg.apply_upstream_relationship(operator, element)

    def rendered(self, render: Callable[[Any], Any], resolved: Collection[int]) -> ElementsArgument:
        """Return the argument with templates and other tasks' outputs resolved. A callable stays: it is called
        when the task runs, not when it is rendered.

        :param render: renders a value, as Airflow does.
        :param resolved: ids of values that another task returned, which are not templates.
        """
        value = self._value
        if isinstance(value, FunctionCall):
            return ElementsArgument(value.rendered(render), is_rendered=True)
        if _is_callable(value):
            return self
        if id(value) not in resolved:
            if isinstance(value, list | tuple):  # Airflow needs a second per thousand; most have no template
                value = [_rendered(element, render) for element in value]
            else:
                value = render(value)
        return ElementsArgument(value, is_rendered=True)

    def read(self, context: Mapping[str, Any]) -> Iterable[Any]:
        """Return the elements.

        :param context: the task's context, for a callable.
        :raises ValueError: if this is not a list or a stream of elements.
        """
        value = self._value
        if _is_callable(value):
            from airflow.providers.common.compat.sdk import determine_kwargs

            value = value(**determine_kwargs(value, [], context))
        elif isinstance(value, str):
            value = _parse(value)
        if isinstance(value, Mapping | str | bytes) or not isinstance(value, Iterable):
            raise ValueError(f"elements: expected a list or a stream of elements, got {type(value).__name__}")
        return value


def _rendered(element: Any, render: Callable[[Any], Any]) -> Any:
    try:
        return render(element) if _has_template(element) else element
    except RecursionError:
        return element  # it contains itself, or is nested too deep: it will be rejected


def _has_template(element: Any) -> bool:
    rest, seen = [element], set()
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            if is_unresolved(value) or "{#" in value:
                return True
        elif isinstance(value, dict | list | tuple | set):
            if id(value) not in seen:
                seen.add(id(value))
                rest.extend(value.values() if isinstance(value, dict) else value)
        elif not (value is None or isinstance(value, _NEVER_TEMPLATES)):
            return True
    return False


_NEVER_TEMPLATES = (bool, int, float, bytes, Decimal, date, UUID)


def _is_callable(value: object) -> bool:
    return callable(value) and not is_task_output(value)  # an XComArg is callable to Python


def _parse(text: str) -> Any:
    """Return what a template rendered to: JSON, or a Python literal."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    raise ValueError(
        "elements: the template rendered to text that is not a list; pass the task's .output, add | tojson, or set"
        " render_template_as_native_obj=True on the Dag"
    )
