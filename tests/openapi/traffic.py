"""Validates everything that reaches the emulator in a test, and what it answers.

A ``conftest.py`` that imports :func:`contract_is_kept` does so for each test of its folder. Requests of the client
are always validated. Those that a test sends on its own may be wrong on purpose: they are validated if the
emulator accepts them. Answers are validated unless a fault has made them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_moengage.api.session import SOURCE
from airflow_provider_moengage.emulator.faults import Fault
from airflow_provider_moengage.emulator.http import Answer, Call
from airflow_provider_moengage.emulator.workspace import Workspace
from tests.openapi.contract import contract


def problems_of(method: str, call: Call, answer: Answer) -> list[str]:
    """Return what a request and its answer have that the document does not allow."""
    told = contract()
    operation = told.find(method, call.path)
    if operation is None:
        return [f"{method} {call.path}: not in the document"]
    headers = {name.lower(): value for name, value in answer.headers.items()}
    problems = told.response_problems(operation, answer.status, headers, answer.body)
    is_of_client = call.headers.get("user-agent") == SOURCE
    if (is_of_client or is_success(answer)) and call.size == len(call.body):
        problems += told.request_problems(operation, call.query, call.headers, call.body)
    return [f"{method} {call.path} -> {answer.status}: {problem}" for problem in problems]


def is_success(answer: Answer) -> bool:
    """Return whether the request was accepted: a failure may be wrapped in a 200."""
    return (
        answer.status == 200 and b'"status":"fail"' not in answer.body and b'"status":"error"' not in answer.body
    )


@pytest.fixture(scope="session")
def recorded_problems() -> Iterator[list[str]]:
    """The problems of the requests so far."""
    problems: list[str] = []
    serve = Workspace.serve

    def validated(
        workspace: Workspace, call: Call, endpoint_key: tuple[str, str], fault: Fault | None
    ) -> Answer | None:
        answer = serve(workspace, call, endpoint_key, fault)
        if fault is None and answer is not None:
            problems.extend(problems_of(endpoint_key[0], call, answer))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workspace, "serve", validated)
        yield problems


@pytest.fixture(autouse=True)
def contract_is_kept(request: pytest.FixtureRequest, recorded_problems: list[str]) -> Iterator[Any]:
    """Fail a test whose traffic is not what the document says, unless it is marked with ``breaks_contract``."""
    recorded_problems.clear()
    yield
    found = list(dict.fromkeys(recorded_problems))
    recorded_problems.clear()
    assert request.node.get_closest_marker("breaks_contract") or not found, found
