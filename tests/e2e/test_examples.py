"""The example Dags, unchanged, in the Airflow of `make airflow`, triggered manually."""

from __future__ import annotations

from devtools.standalone_airflow import until
from tests.e2e.local_airflow import Place


def test_a_task_waits_for_a_file_import_and_the_dag_on_its_asset_runs(place: Place) -> None:
    airflow = place.airflow
    before = len(airflow.runs("after_file_import"))
    until(lambda: place.workspace.asked("history") > 0, "the Dag on the asset to watch it")

    run = place.run_manually("file_import_with_wait", "count_rows")

    assert airflow.xcom("file_import_with_wait", run, "count_rows")["total_rows"] == 2_400
    assert place.workspace.summary["file_triggers"] == 1
    until(lambda: len(airflow.runs("after_file_import")) > before, "the Dag on the asset")
    follower = airflow.runs("after_file_import")[-1]
    airflow.until_task("after_file_import", follower, "look", "success")
    [name] = airflow.xcom("after_file_import", follower, "look")
    assert name.startswith("users_")


def test_a_business_event_starts_campaigns_after_a_sync(place: Place) -> None:
    place.run_manually("business_event_after_sync", "start_campaigns")

    [firing] = place.workspace.firings
    assert (firing["event_name"], firing["event_attributes"]) == ("Tiers updated", {"customers": 60})
    assert place.workspace.summary["customers"] == 60


def test_a_notifier_reports_a_failed_sync(place: Place) -> None:
    place.workspace.add_fault("status", status=401)  # a revoked key: no retry helps
    run = place.airflow.trigger("business_event_after_sync")

    place.airflow.until_task("business_event_after_sync", run, "tiers", "failed")

    log = lambda: place.airflow.log("business_event_after_sync")  # noqa: E731
    until(lambda: len(place.workspace.firings) == 1, "the notifier", log)
    [firing] = place.workspace.firings
    assert firing["event_name"] == "Sync failed"
    assert firing["event_attributes"] == {"dag": "business_event_after_sync"}
    assert place.workspace.summary["customers"] == 0


def test_shards_and_a_whole_warehouse_arrive_once(place: Place) -> None:
    shards = place.airflow.trigger("sharded_sync")
    place.run_manually("warehouse_sync", "purchases")
    run = f"/dags/sharded_sync/dagRuns/{shards}"
    until(
        lambda: place.airflow.call("GET", run)["state"] in ("success", "failed"),
        "all shards",
        lambda: place.airflow.log("sharded_sync"),
    )

    assert place.airflow.call("GET", run)["state"] == "success", place.airflow.log("sharded_sync")
    counts = place.workspace.summary
    assert counts["customers"] == place.warehouse.count("households")
    orders = place.workspace.arrived("Order", "order_id")
    assert len(orders) == place.warehouse.count("orders")
    assert set(orders.values()) == {1}


def test_the_file_sync_delivers_the_last_row(place: Place) -> None:
    folder = place.warehouse.path.parent / "watched-by-moengage"

    run = place.run_manually("file_sync", "compare", import_id="file-sync", folder=f"file://{folder}")

    assert place.airflow.xcom("file_sync", run, "compare") == {"written": 60, "read": 60, "failed": 0}


def test_customers_have_arrived(place: Place) -> None:
    run = place.run_manually("check_arrival", "check")

    found = place.airflow.xcom("check_arrival", run, "check")
    assert (found["sampled"], found["arrived"], found["missing"], found["differing"]) == (60, 60, 0, 0)


def test_customers_are_erased_after_approval_and_their_proof_waits_without_a_slot(place: Place) -> None:
    airflow, dag_id = place.airflow, "erase_customers"
    place.run_manually("check_arrival", "customers")
    place.run_manually(dag_id, "count")
    assert place.erased == []

    run = place.airflow.trigger(dag_id, approved_users=3)

    airflow.until_task(dag_id, run, "prove", "deferred")
    assert sorted(place.erased) == ["household-58", "household-59", "household-60"]
    assert sorted(place.warehouse.rows("SELECT user_id, event FROM moengage_erasures")) == [
        (user, event) for user in sorted(place.erased) for event in ("accepted", "asked")
    ]
    airflow.mark_failed(dag_id, run, "prove")  # it would wait for a day


def test_the_proof_of_an_erasure_is_complete_when_everybody_is_gone(place: Place) -> None:
    airflow, dag_id = place.airflow, "erasure_with_proof"
    place.run_manually("check_arrival", "customers")
    run = airflow.trigger(dag_id)

    until(lambda: "0 of 3 users are gone, 3 still exist" in airflow.log(dag_id), "the first look")
    place.workspace.reset()

    airflow.until_task(dag_id, run, "prove", "success")
    assert airflow.xcom(dag_id, run, "prove") == {"users": 3, "gone": 3, "remaining": 0}
    assert "household-" not in place.log(dag_id, run)
