from __future__ import annotations

import json

from airflow_provider_moengage.bulk.report import DeliveryReport

REPORT = DeliveryReport(
    accepted=10_000,
    rejected=3,
    customers=4_000,
    events=5_900,
    devices=100,
    actions=6_100,
    requests=40,
    bytes=3_950_000,
    retries=2,
    throttled_seconds=1.25,
    elapsed_seconds=61.5,
    warnings={"value_truncated": 5},
    rejects={"customer_id_refused": 3},
    rejects_path="s3://bucket/rejects.ndjson",
)


def test_the_report_is_json_with_the_documented_fields() -> None:
    assert json.loads(json.dumps(REPORT.to_dict())) == {
        "dry_run": False,
        "accepted": 10_000,
        "rejected": 3,
        "customers": 4_000,
        "events": 5_900,
        "devices": 100,
        "actions": 6_100,
        "requests": 40,
        "bytes": 3_950_000,
        "retries": 2,
        "throttled_seconds": 1.25,
        "elapsed_seconds": 61.5,
        "warnings": {"value_truncated": 5},
        "rejects": {"customer_id_refused": 3},
        "rejects_path": "s3://bucket/rejects.ndjson",
        "resumed": False,
        "unchanged": 0,
        "new": 0,
        "changed": 0,
        "removed": 0,
    }


def test_the_summary_shows_the_result_of_the_run() -> None:
    assert REPORT.summary == (
        "10,000 elements accepted by MoEngage (4,000 customers, 5,900 events with 6,100 actions, 100 devices);"
        " 3 rejected; 40 requests (2 of them retries), 4.0 MB; 61.5 s, of which 1.2 s waiting for the rate limit"
    )


def test_the_summary_leaves_out_counts_of_zero() -> None:
    report = DeliveryReport(accepted=5, events=5, actions=5, requests=1, bytes=200, elapsed_seconds=0.2)

    assert report.summary == "5 elements accepted by MoEngage (5 events); 1 request, 0.2 kB; 0.2 s"
    assert DeliveryReport(unchanged=7, changed=0).summary == "0 elements accepted by MoEngage; 7 unchanged; 0.0 s"


def test_the_summary_says_what_becomes_of_users_without_a_row() -> None:
    report = DeliveryReport(unchanged=7, removed=3)

    assert "; 7 unchanged; 3 no longer in the query; " in report.summary
    assert "; 3 no longer in the query: stay in MoEngage; " in report.summary_with(": stay in MoEngage")
    assert "no longer" not in DeliveryReport().summary_with(": stay in MoEngage")


def test_the_summary_of_a_dry_run_claims_no_delivery() -> None:
    summary = DeliveryReport(dry_run=True, accepted=5).summary

    assert "5 elements would be sent" in summary
    assert "accepted" not in summary


def test_reports_do_not_share_their_counts() -> None:
    assert DeliveryReport().warnings is not DeliveryReport().warnings
