"""A body that is nested deeper than it can be read is refused as any other that is not JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_moengage.emulator import BusinessEvent, FileImport
from tests.emulator.client import CAMPAIGN_AUTH, WORKSPACE_ID

if TYPE_CHECKING:
    from airflow_provider_moengage.emulator import Workspace
    from tests.emulator.client import Client

DEEP = "[" * 30_000 + "]" * 30_000

BODIES = {
    "/v1/transition/EMULATOR": '{"type": "transition", "elements": [{"type": "customer", "attributes": DEEP}]}',
    "/v1/integrations/authentication": '{"app_id": "EMULATOR", "app_secret": "s", "source": "s", "other": DEEP}',
    "/v1.0/business_event/trigger": '{"event_name": "Sale", "event_attributes": {"a": DEEP}}',
    "/v5/business-events/triggers": '{"event_name": "Sale", "triggered_by": "a@b.co", "event_attributes": DEEP}',
    "/v5/business-events/search": '{"filters": DEEP}',
    "/v1.0/data/fileimports/import/run/history": '{"import_id": "i1", "date": DEEP}',
    "/v1.0/data/fileimports/import/status": '{"import_name": "Users", "date": DEEP}',
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_body_that_is_nested_too_deep_is_400(
    client: Client, workspace: Workspace, path: str, is_whole: bool
) -> None:
    workspace.add_business_event(BusinessEvent("Sale", None, ("c1",)))
    workspace.add_file_import(FileImport("i1", "Users"))
    auth = CAMPAIGN_AUTH if "business" in path else client.session.auth
    body = DEEP if is_whole else BODIES[path].replace("DEEP", DEEP)

    response = client.raw(body.encode(), path=path, headers={"MOE-APPKEY": WORKSPACE_ID}, auth=auth)

    assert response.status_code == 400
    assert (workspace.counts.elements, workspace.counts.firings) == (0, 0)
