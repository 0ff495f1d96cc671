"""The control API, ``/_emulator/...``: inspect what arrived, change settings, inject faults.

It has no counterpart at MoEngage and needs no key. `origin_guard` keeps the web pages of other sites away from it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_moengage.emulator.business_events.definitions import BusinessEvent
from airflow_provider_moengage.emulator.campaigns.definitions import Campaign
from airflow_provider_moengage.emulator.dashboard.connection_help import connection
from airflow_provider_moengage.emulator.dashboard.control_body import BodyError, read_payload
from airflow_provider_moengage.emulator.dashboard.page import page_routes
from airflow_provider_moengage.emulator.dashboard.snapshot import snapshot
from airflow_provider_moengage.emulator.faults import Fault
from airflow_provider_moengage.emulator.file_imports.definitions import FileImport, read_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from airflow_provider_moengage.emulator.workspace import Workspace, Workspaces

CONTROL_PATH = "/_emulator/"

ELEMENTS_PAGE = 1_000

_PRIVATE = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_HOME = """\
This is the MoEngage emulator of airflow-provider-moengage: a MoEngage workspace on your own machine.
Nothing leaves this machine. It serves these endpoints as MoEngage documents them:

{endpoints}

Open this address in a browser to see what arrives.

Control endpoints; each accepts ?workspace=<id>, and uses the default workspace without it:

  GET    /_emulator/summary                     counts of what arrived
  GET    /_emulator/picture                     what the page shows: also traffic over time, failures, runs
  GET    /_emulator/connection                  how to connect: address, workspace id, keys
  GET    /_emulator/requests?since=N            the API requests after number N
  GET    /_emulator/elements?since=N&limit=M    the accepted elements after number N
  GET    /_emulator/elements?last=N             the last N elements, also as the text that was sent
  GET    /_emulator/users?id=ID                 a user: attributes, devices and last events
  GET    /_emulator/deletions?since=N           the users whose deletion was accepted, after the first N
  GET    /_emulator/segments?id=ID              a segment: its members, and how many were added and removed
  GET    /_emulator/business_events             the defined business events
  POST   /_emulator/business_events             define a business event, or replace the one with its name:
      {{"name": "Sale", "attributes": {{"city": "string"}}, "campaigns": ["c1"], "flows": []}}
  DELETE /_emulator/business_events             delete all definitions
  GET    /_emulator/firings?since=N             the firings of business events after number N
  GET    /_emulator/file_imports                the file imports
  POST   /_emulator/file_imports                add a file import, or replace the one with its id:
      {{"import_id": "i1", "import_name": "Users", "files": [{{"file_name": "users_{{date}}.csv"}}]}}
  DELETE /_emulator/file_imports                delete all file imports
  POST   /_emulator/file_imports/run            run an import now, as its schedule does: {{"import_id": "i1"}}
  GET    /_emulator/file_triggers?since=N       the accepted triggers of file imports after number N
  GET    /_emulator/campaigns                   the campaigns, of which statistics can be read
  POST   /_emulator/campaigns                   add a campaign, or replace the one with its id:
      {{"name": "Sale", "channel": "EMAIL", "first_day": "2026-11-01", "last_day": "2026-11-07"}}
  DELETE /_emulator/campaigns                   remove all campaigns
  GET    /_emulator/settings                    the settings
  POST   /_emulator/settings                    change settings: {{"users_per_minute": 10000}}
  GET    /_emulator/faults                      the pending faults
  POST   /_emulator/faults                      add a fault: {{"kind": "status", "status": 503, "times": 2}}
  DELETE /_emulator/faults                      remove all faults
  POST   /_emulator/reset                       delete what arrived, runs and faults; reset limits and quotas
  GET    /_emulator/health                      the server is up
"""


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """The query and the JSON body of a control request, and the base URL of the emulator."""

    query: Mapping[str, str]
    payload: Any
    base_url: str


def control_routes(workspaces: Workspaces) -> list[Route]:
    """Return the routes of the control API, and of the page at ``/``."""

    def route(path: str, method: str, action: Callable[[Workspace, ControlRequest], Any]) -> Route:
        async def control(request: Request) -> Response:
            workspace_id = request.query_params.get("workspace")
            workspace = workspaces.get(workspace_id)
            if workspace is None:
                return _json(
                    {"error": f"workspace {workspace_id!r}: this emulator has no workspace with this id"}, 404
                )
            try:
                base_url = str(request.base_url).rstrip("/")
                control_request = ControlRequest(request.query_params, await read_payload(request), base_url)
                return _json(action(workspace, control_request))
            except BodyError as error:
                return _json({"error": str(error)}, error.status)
            except ValueError as error:
                return _json({"error": str(error)}, 400)

        return Route(f"{CONTROL_PATH}{path}", control, methods=[method])

    def page_snapshot(workspace: Workspace, _request: ControlRequest) -> Any:
        ids = [known.credentials.workspace_id for known in workspaces]
        return {**snapshot(workspace), "workspaces": ids}

    return [
        *page_routes(_home(workspaces.default)),
        route("health", "GET", lambda _workspace, _request: {"status": "ok"}),
        route("summary", "GET", _summary),
        route("picture", "GET", page_snapshot),
        route("connection", "GET", _connection),
        route("requests", "GET", _requests),
        route("elements", "GET", _elements),
        route("users", "GET", _user),
        route("deletions", "GET", _deletions),
        route("segments", "GET", _segment),
        route("business_events", "GET", _business_events),
        route("business_events", "POST", _add_business_event),
        route("business_events", "DELETE", _clear_business_events),
        route("firings", "GET", _firings),
        route("file_imports", "GET", _file_imports),
        route("file_imports", "POST", _add_file_import),
        route("file_imports", "DELETE", _clear_file_imports),
        route("file_imports/run", "POST", _run_file_import),
        route("file_triggers", "GET", _file_triggers),
        route("campaigns", "GET", _campaigns),
        route("campaigns", "POST", _add_campaign),
        route("campaigns", "DELETE", _clear_campaigns),
        route("settings", "GET", _settings),
        route("settings", "POST", _configure),
        route("faults", "GET", _faults),
        route("faults", "POST", _add_fault),
        route("faults", "DELETE", _clear_faults),
        route("reset", "POST", _reset),
    ]


def _home(workspace: Workspace) -> str:
    lines = (f"  {endpoint.method:<4}   {endpoint.path:<50} {endpoint.name}" for endpoint in workspace.endpoints)
    return _HOME.format(endpoints="\n".join(lines))


def _summary(workspace: Workspace, _request: ControlRequest) -> Any:
    counts = workspace.counts
    by_day: dict[str, dict[str, int]] = {}
    for (name, day), count in counts.events_by_day.items():
        by_day.setdefault(name, {})[day] = count
    return {
        "workspace_id": workspace.credentials.workspace_id,
        **asdict(counts),
        "events_by_day": by_day,
        "pending_faults": len(workspace.faults),
    }


def _connection(workspace: Workspace, request: ControlRequest) -> Any:
    return connection(workspace.credentials, request.base_url)


def _requests(workspace: Workspace, request: ControlRequest) -> Any:
    since = _whole_number(request.query, "since", 0)
    return {"requests": [record for record in workspace.requests if record.number > since]}


def _elements(workspace: Workspace, request: ControlRequest) -> Any:
    if "last" in request.query:
        last = workspace.last_elements(_whole_number(request.query, "last", 0))
        return {"elements": [received._asdict() for received in last]}
    since = _whole_number(request.query, "since", 0)
    limit = _whole_number(request.query, "limit", ELEMENTS_PAGE)
    elements = workspace.elements
    start = max(since + 1 - elements.first_number, 0)
    page = elements[start : start + limit]
    found = [received._asdict() for received in page]
    return {"elements": found, "next": elements.first_number + start + len(found) - 1}


def _user(workspace: Workspace, request: ControlRequest) -> Any:
    customer_id = request.query.get("id")
    if not customer_id:
        raise ValueError("id: expected the ID of a user")
    user = workspace.find_user(customer_id)
    return {"user": None if user is None else {**asdict(user), "events": list(user.events)}}


def _deletions(workspace: Workspace, request: ControlRequest) -> Any:
    since = _whole_number(request.query, "since", 0)
    return {"deletions": workspace.deleted_users[since:]}


def _segment(workspace: Workspace, request: ControlRequest) -> Any:
    cohort_id = request.query.get("id")
    if not cohort_id:
        raise ValueError("id: expected the cohort_id of a segment")
    segment = workspace.find_segment(cohort_id)
    return {"segment": None if segment is None else {**asdict(segment), "members": list(segment.members)}}


def _business_events(workspace: Workspace, _request: ControlRequest) -> Any:
    return {"business_events": workspace.business_events}


def _add_business_event(workspace: Workspace, request: ControlRequest) -> Any:
    workspace.add_business_event(BusinessEvent.read(request.payload))
    return _business_events(workspace, request)


def _clear_business_events(workspace: Workspace, request: ControlRequest) -> Any:
    workspace.clear_business_events()
    return _business_events(workspace, request)


def _firings(workspace: Workspace, request: ControlRequest) -> Any:
    since = _whole_number(request.query, "since", 0)
    return {"firings": [firing for firing in workspace.firings if firing.number > since]}


def _file_imports(workspace: Workspace, _request: ControlRequest) -> Any:
    return {"file_imports": workspace.file_imports}


def _add_file_import(workspace: Workspace, request: ControlRequest) -> Any:
    workspace.add_file_import(FileImport.read(request.payload))
    return _file_imports(workspace, request)


def _clear_file_imports(workspace: Workspace, request: ControlRequest) -> Any:
    workspace.clear_file_imports()
    return _file_imports(workspace, request)


def _run_file_import(workspace: Workspace, request: ControlRequest) -> Any:
    if not isinstance(request.payload, dict) or not isinstance(request.payload.get("import_id"), str):
        raise ValueError("body: expected a JSON object with import_id, and optionally files")
    unknown = request.payload.keys() - {"import_id", "files"}
    if unknown:
        raise ValueError(f"body: expected import_id and files, not {', '.join(sorted(unknown))}")
    files = request.payload.get("files")
    return workspace.run_file_import(request.payload["import_id"], None if files is None else read_files(files))


def _file_triggers(workspace: Workspace, request: ControlRequest) -> Any:
    since = _whole_number(request.query, "since", 0)
    return {"file_triggers": [trigger for trigger in workspace.file_triggers if trigger.number > since]}


def _campaigns(workspace: Workspace, _request: ControlRequest) -> Any:
    return {
        "campaigns": [{**msgspec.structs.asdict(each), "campaign_id": each.id} for each in workspace.campaigns]
    }


def _add_campaign(workspace: Workspace, request: ControlRequest) -> Any:
    workspace.add_campaign(Campaign.read(request.payload))
    return _campaigns(workspace, request)


def _clear_campaigns(workspace: Workspace, request: ControlRequest) -> Any:
    workspace.clear_campaigns()
    return _campaigns(workspace, request)


def _settings(workspace: Workspace, _request: ControlRequest) -> Any:
    return workspace.settings


def _configure(workspace: Workspace, request: ControlRequest) -> Any:
    if not isinstance(request.payload, dict):
        raise ValueError("body: expected a JSON object of settings")
    return workspace.configure(**request.payload)


def _faults(workspace: Workspace, _request: ControlRequest) -> Any:
    return {"faults": workspace.faults}


def _add_fault(workspace: Workspace, request: ControlRequest) -> Any:
    workspace.add_fault(Fault.read(request.payload))
    return _faults(workspace, request)


def _clear_faults(workspace: Workspace, request: ControlRequest) -> Any:
    workspace.clear_faults()
    return _faults(workspace, request)


def _reset(workspace: Workspace, _request: ControlRequest) -> Any:
    workspace.reset()
    return {"status": "ok"}


def _whole_number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.isdecimal():
        raise ValueError(f"{name} {text!r}: expected a whole number, 0 or more")
    return int(text)


def _json(payload: Any, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(payload), status_code=status, headers=_PRIVATE, media_type="application/json"
    )
