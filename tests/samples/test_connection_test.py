"""MoEngage API reference, "Test Connection": its samples."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
import requests

from airflow_provider_moengage.api.client import MoEngageClient
from airflow_provider_moengage.api.errors import ApiError, ErrorKind
from airflow_provider_moengage.api.workspace import Workspace
from airflow_provider_moengage.hooks.moengage import MoEngageHook
from tests.api.loopback import answer, loopback
from tests.delivering import MoEngage
from tests.samples.samples import cases, load

SAMPLES = load("connection_test")


def app_name_of(sample: dict[str, Any]) -> str:
    """Return what the client makes of a response."""
    with loopback(answer(sample["status"], json.dumps(sample["body"]).encode())) as server:
        client = MoEngageClient(Workspace("WS", "key", base_url=server.url, timeout=5.0))
        with closing(client):
            return client.test_connection()


@pytest.mark.parametrize("sample", cases(SAMPLES["responses"]))
def test_a_response_is_read_as_what_its_page_says(sample: dict[str, Any]) -> None:
    if sample["status"] == 200:
        assert app_name_of(sample) == "Your_Workspace_ID"
        return
    with pytest.raises(ApiError) as caught:
        app_name_of(sample)

    assert (caught.value.kind, caught.value.request_id) == (ErrorKind.AUTHENTICATION, "kKcQUqvo")


def test_the_hook_sends_the_fields_of_the_sample(connected: MoEngage) -> None:
    assert MoEngageHook().test_connection()[0] is True


@pytest.mark.parametrize("sample", cases(SAMPLES["requests"]))
def test_the_emulator_accepts_the_sample_with_credentials_in_it(
    connected: MoEngage, sample: dict[str, Any]
) -> None:
    workspace_id, key = "EMULATOR", "emulator-data-key"
    body = {**sample["body"], "app_id": workspace_id, "app_secret": key}

    response = requests.post(
        f"{connected.emulator.url}/v1/integrations/authentication",
        json=body,
        auth=(workspace_id, key),
        headers={"MOE-APPKEY": workspace_id},
        timeout=5,
    )

    assert (response.status_code, response.json()["status"]) == (200, "success")
