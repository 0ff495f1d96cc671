"""Checks the package against a real MoEngage workspace in a minute: ``make live``.

It reads the workspace from environment variables and starts no campaign. The only thing that it changes is one
test user. Without these variables it does nothing.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_moengage.hooks.moengage import MoEngageHook

CONN_ID = "moengage_live"

VARIABLES = {
    "MOENGAGE_WORKSPACE_ID": "workspace ID",
    "MOENGAGE_DATA_API_KEY": "key of the Data tile",
    "MOENGAGE_DATA_CENTER": "01 to 06, or 101; not needed with MOENGAGE_HOST",
    "MOENGAGE_HOST": "base URL of a gateway or of the emulator",
    "MOENGAGE_CAMPAIGN_API_KEY": "key for business events; without it, the Data API key",
    "MOENGAGE_TEST_USER": "customer ID of the user that is created or updated",
    "MOENGAGE_IMPORT_ID": "file import whose run history is read; without it, the first one of the workspace",
    "MOENGAGE_BUSINESS_EVENT": "business event that is looked up and not triggered",
}
REQUIRED = ("MOENGAGE_WORKSPACE_ID", "MOENGAGE_DATA_API_KEY")

TEST_USER = "airflow-provider-moengage-test"
NO_EVENT = "airflow-provider-moengage-test"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    step: str
    is_passed: bool
    detail: str
    seconds: float

    def __str__(self) -> str:
        result = "passed" if self.is_passed else "FAILED"
        return f"{self.step:<16} {result} {self.seconds:>5.1f} s  {self.detail}"


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run all steps, print a table, and return the exit status."""
    given = {name: environ[name] for name in VARIABLES if environ.get(name)}
    if not given:
        print("Skipped: no workspace is given. The variables are")
        print("\n".join(f"  {name:<26} {meaning}" for name, meaning in VARIABLES.items()))
        return 0
    missing = [name for name in REQUIRED if name not in given]
    if not given.keys() & {"MOENGAGE_DATA_CENTER", "MOENGAGE_HOST"}:
        missing.append("MOENGAGE_DATA_CENTER")
    if missing:
        print(f"Not set: {', '.join(missing)}", file=sys.stderr)
        return 2
    rows = [_run(step, act, given) for step, act in STEPS.items()]
    print("\n".join(map(str, rows)))
    return 0 if all(row.is_passed for row in rows) else 1


def connection(given: Mapping[str, str]) -> str:
    """Return the Airflow connection of the workspace, as JSON."""
    extra = {
        "data_center": given.get("MOENGAGE_DATA_CENTER"),
        "campaign_api_key": given.get("MOENGAGE_CAMPAIGN_API_KEY"),
    }
    return json.dumps(
        {
            "conn_type": "moengage",
            "login": given["MOENGAGE_WORKSPACE_ID"],
            "password": given["MOENGAGE_DATA_API_KEY"],
            "host": given.get("MOENGAGE_HOST"),
            "extra": {name: value for name, value in extra.items() if value},
        }
    )


def _run(step: str, act: Callable[[MoEngageHook, Mapping[str, str]], str], given: Mapping[str, str]) -> Row:
    from airflow_provider_moengage.hooks.moengage import MoEngageHook

    os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = connection(given)
    began = time.monotonic()
    try:
        detail, is_passed = act(MoEngageHook(CONN_ID), given), True
    except Exception as error:  # noqa: BLE001 (the table shows it; the hook's errors contain no key)
        detail, is_passed = f"{type(error).__name__}: {error}", False
    finally:
        del os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"]
    return Row(step, is_passed, detail, time.monotonic() - began)


def _test_connection(hook: MoEngageHook, _given: Mapping[str, str]) -> str:
    is_connected, sentence = hook.test_connection()
    if not is_connected:
        raise RuntimeError(sentence)
    return sentence


def _bulk_import(hook: MoEngageHook, given: Mapping[str, str]) -> str:
    user = {
        "type": "customer",
        "customer_id": given.get("MOENGAGE_TEST_USER", TEST_USER),
        "attributes": {"first_name": "Airflow", "last_name": "Test"},
    }
    report = hook.bulk_import([user], max_rejects=0)
    return f"{report.accepted} user accepted in {report.requests} request ({report.bytes} bytes)"


def _run_history(hook: MoEngageHook, given: Mapping[str, str]) -> str:
    import_id = given.get("MOENGAGE_IMPORT_ID")
    if import_id is None:
        first = next(iter(hook.iter_imports()), None)
        if first is None:
            return "the workspace has no file imports"
        import_id = first.import_id
    runs = list(hook.iter_file_runs(import_id=import_id))
    statuses = sorted({run.file_status for run in runs})
    return f"{len(runs)} files of one import" + (f" ({', '.join(statuses)})" if statuses else "")


def _business_event(hook: MoEngageHook, given: Mapping[str, str]) -> str:
    name = given.get("MOENGAGE_BUSINESS_EVENT")
    with closing(hook.get_conn()) as client:
        found = client.find_business_event(name or NO_EVENT)
    if name is not None and found is None:
        raise RuntimeError("MOENGAGE_BUSINESS_EVENT: the workspace has no business event with this name")
    if found is None:
        return "the list of business events can be read; nothing was triggered"
    attributes = ", ".join(f"{attribute} ({kind})" for attribute, kind in found.attributes.items())
    return f"the event has {attributes or 'no attributes'}; it was not triggered"


STEPS: dict[str, Callable[[MoEngageHook, Mapping[str, str]], str]] = {
    "connection test": _test_connection,
    "bulk import": _bulk_import,
    "run history": _run_history,
    "business event": _business_event,
}


if __name__ == "__main__":
    # Airflow reads its home when it is first imported, which is later.
    with tempfile.TemporaryDirectory(prefix="airflow-of-make-live-") as home:
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
        sys.exit(main())
