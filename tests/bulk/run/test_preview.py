"""What a preview shows is what a run sends and rejects."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.bulk.options import DeliveryOptions
from airflow_provider_moengage.bulk.run.preview import Previewed, preview
from airflow_provider_moengage.bulk.sources import Numbered, Stream
from tests.delivering import MoEngage

GOOD: dict[str, Any] = {"type": "customer", "customer_id": "u1", "attributes": {"plan": "gold"}}
TOO_LARGE: dict[str, Any] = {**GOOD, "attributes": {"note": "x" * 100_000}}
NO_ID: dict[str, Any] = {"type": "customer", "attributes": {"plan": "gold"}}
CUT: dict[str, Any] = {**GOOD, "customer_id": "u2", "attributes": {"platform": "android"}}
NOT_JSON: dict[str, Any] = {**GOOD, "attributes": {"n": object()}}


def test_it_shows_each_element_as_it_would_be_sent_with_its_findings() -> None:
    shown = list(preview(Numbered([GOOD, NO_ID, NOT_JSON, TOO_LARGE]), DeliveryOptions(), 10))

    assert [one.position for one in shown] == [0, 1, 2, 3]
    assert [one.line is None for one in shown] == [False, True, True, True]
    assert json.loads(shown[0].line or b"") == GOOD
    assert [[finding.code for finding in one.findings] for one in shown] == [
        [],
        ["customer_id_missing"],
        ["value_not_encodable"],
        ["element_too_large"],
    ]
    assert shown[1].given == NO_ID


@pytest.mark.parametrize("source", [Numbered([GOOD] * 9), Stream(GOOD for _ in range(9))])
def test_it_reads_only_as_many_as_asked(source: Any) -> None:
    assert len(list(preview(source, DeliveryOptions(), 4))) == 4
    if not source.is_resumable:
        assert len(list(source.elements)) == 5


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just("x" * 60_000),
    st.lists(st.integers(), max_size=2),
    st.builds(object),
)
elements = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["customer", "event", "device", "other"]),
        "customer_id": st.one_of(st.text(max_size=3), st.integers(), st.none()),
        "device_id": st.text(max_size=3),
        "platform": st.sampled_from(["ANDROID", "iOS", "toaster"]),
        "attributes": st.dictionaries(
            st.sampled_from(["plan", "u_em", "a.b", "$x", "moe_y", ""]), values, max_size=3
        ),
        "actions": st.lists(
            st.fixed_dictionaries(
                {"action": st.text(max_size=3)},
                optional={"attributes": st.dictionaries(st.text(max_size=3), values, max_size=2)},
            ),
            max_size=2,
        ),
    },
)


@settings(max_examples=150)
@given(elements=st.lists(elements, min_size=1, max_size=6), validation=st.sampled_from(["warn", "strict", "off"]))
def test_a_run_rejects_what_it_calls_a_reject_and_sends_the_rest_as_shown(
    running_moengage: MoEngage, elements: list[Any], validation: Literal["warn", "strict", "off"]
) -> None:
    running_moengage.reset()

    shown = list(preview(Numbered(elements), DeliveryOptions(validation=validation), 100))

    with TemporaryDirectory() as folder:
        rejects = Path(folder) / "rejects.ndjson"
        # MoEngage would refuse some of what validation="off" lets through, and a preview does not ask it
        running_moengage.deliver(
            Numbered(elements), rejects=rejects, validation=validation, dry_run=validation == "off", max_rejects=9
        )
        rejected = [json.loads(line) for line in rejects.read_text().splitlines()] if rejects.exists() else []
    assert [(one.position, _codes(one)) for one in shown if one.line is None] == sorted(
        (line["position"], line["codes"]) for line in rejected
    )
    if validation != "off":
        sent = [json.loads(one.line) for one in shown if one.line is not None]
        assert sorted(map(json.dumps, running_moengage.arrived)) == sorted(map(json.dumps, sent))


def _codes(one: Previewed) -> list[str]:
    return list(dict.fromkeys(str(finding.code) for finding in one.findings))
