"""Reads users for the hook and the tasks: checked IDs, the pace, and translated errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from airflow_provider_moengage.api.campaigns.pace import Pace
from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.api.users.reading import USERS_PER_MINUTE, User, UserReader
from airflow_provider_moengage.arguments import is_non_empty
from airflow_provider_moengage.hooks.campaigns import names, retries, timing
from airflow_provider_moengage.hooks.errors import translated

if TYPE_CHECKING:
    from airflow_provider_moengage.api.client import MoEngageClient


def users(
    client: MoEngageClient,
    conn_id: str,
    customer_ids: Iterable[str],
    fields: Sequence[str] | None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[User]:
    """Yield a user for each ID, in that order.

    :param conn_id: the workspace's connection, for messages.
    :param fields: attributes to return; None: all.
    :param check: called before and after each wait; it may raise to end it.
    :raises MoEngageError: see :meth:`MoEngageHook.iter_users`.
    """
    clock = timing(check)
    reader = UserReader(client.export_users, Pace(USERS_PER_MINUTE, clock), retries(clock))
    try:
        yield from reader.read(_checked(customer_ids), fields)
    except ApiError as error:
        raise translated(error, conn_id, "the users could not be read") from None


def field_names(fields: object) -> tuple[str, ...] | None:
    """Return the names of attributes, each once; None for None.

    :raises ValueError: if it is not a list of names.
    """
    return names("fields", fields)


def _checked(customer_ids: Iterable[str]) -> Iterator[str]:
    for customer_id in customer_ids:
        if not is_non_empty(customer_id):
            raise ValueError("customer_ids: expected IDs of users, found one that is empty or not text")
        yield customer_id
