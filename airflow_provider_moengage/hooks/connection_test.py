"""The test of a connection, for the button on Airflow's form: one try, 5 seconds, never an exception."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable

from airflow_provider_moengage.api import client as api
from airflow_provider_moengage.api.errors import ApiError
from airflow_provider_moengage.exceptions import MoEngageError

_FIELD = re.compile(r"^Connection .*?, field ", re.DOTALL)
"""Airflow tests an unsaved connection under a random ID, which nobody knows."""


def run_connection_test(open_client: Callable[[], api.MoEngageClient]) -> tuple[bool, str]:
    """Return whether workspace ID and Data API key match, and a sentence for the form that contains no key."""
    try:
        client = open_client()
    except MoEngageError as error:
        return False, _FIELD.sub("Field ", str(error))
    except Exception as error:  # noqa: BLE001 (the form shows whatever is wrong with the connection)
        return False, _not_tested(error)
    results: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
    # In a separate thread: a server that sends a byte now and then can keep a request open forever.
    threading.Thread(target=lambda: results.put(_ask(client)), name="moengage-test", daemon=True).start()
    try:
        return results.get(timeout=api.TEST_TIMEOUT)
    except queue.Empty:
        url = client.workspace.data_url
        return False, f"{url} could not be reached: no response within the timeout"


def _ask(client: api.MoEngageClient) -> tuple[bool, str]:
    try:
        name = client.test_connection()
    except ApiError as error:
        return False, error.message
    except Exception as error:  # noqa: BLE001 (in a thread, where nothing else would report it)
        return False, _not_tested(error)
    finally:
        client.close()
    return True, f"MoEngage knows the workspace {name!r} and accepts the Data API key"


def _not_tested(error: Exception) -> str:
    return f"The connection could not be tested ({type(error).__name__})"
