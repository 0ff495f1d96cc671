"""BulkImportOperator: where elements come from, and what Airflow sees of them."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_moengage.exceptions import (
    MoEngageError,
    MoEngageFileFormatError,
    MoEngageRejectsError,
    MoEngageRequestError,
)
from airflow_provider_moengage.operators.bulk_import import BulkImportOperator
from airflow_provider_moengage.tasks.elements_argument import ElementsArgument
from tests.delivering import MoEngage, connection_to, customer
from tests.import_files.test_folder import attach

try:
    from airflow.sdk.execution_time.task_runner import _serialize_template_field as stored_form
except ImportError:  # Airflow before 3.3
    from airflow.serialization.helpers import serialize_template_field as stored_form


def context(**more: Any) -> Any:
    ti = SimpleNamespace(dag_id="dag", run_id="manual__2026-01-01T00:00:00+00:00", task_id="send", map_index=-1)
    return {"ti": ti, "ds": "2026-01-01", "params": {}, **more}


def ran(operator: BulkImportOperator, **more: Any) -> dict[str, Any]:
    """Render and execute, as a worker does."""
    operator.render_template_fields(context(**more))
    return operator.execute(context(**more))


def users(moengage: MoEngage) -> list[str]:
    return sorted(element["customer_id"] for element in moengage.arrived)


def test_a_list_is_sent_and_the_report_is_the_xcom(connected: MoEngage) -> None:
    report = ran(BulkImportOperator(task_id="send", elements=[customer("ann"), customer("bob")]))

    assert users(connected) == ["ann", "bob"]
    assert json.loads(json.dumps(report)) == report
    assert (report["accepted"], report["customers"], report["rejected"], report["resumed"]) == (2, 2, 0, False)
    assert set(report) == {
        *("dry_run", "accepted", "rejected", "customers", "events", "devices", "actions", "requests", "bytes"),
        *("retries", "throttled_seconds", "elapsed_seconds", "warnings", "rejects", "rejects_path", "resumed"),
        *("unchanged", "new", "changed", "removed"),
    }


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def cyclic(*more: Any) -> list[Any]:
    value: list[Any] = [*more]
    value += [value, {"again": value}]
    return value


@pytest.mark.parametrize("as_function", [False, True])
def test_elements_that_are_nested_too_deep_are_rejected_and_the_others_are_sent(
    connected: MoEngage, as_function: bool, tmp_path: Path
) -> None:
    elements = [
        customer("ann"),
        customer("deep", a=nested(1_000)),
        customer("cyclic", a=cyclic()),
        customer("cyclic with a template", a=cyclic("{{ ds }}")),
        nested(1_000),
        customer("bob"),
    ]
    path = tmp_path / "rejects.ndjson"
    given: Any = (lambda: elements) if as_function else elements

    report = ran(BulkImportOperator(task_id="send", elements=given, rejects_path=str(path), max_rejects=4))

    assert users(connected) == ["ann", "bob"]
    assert report["rejects"] == {"element_invalid": 1, "value_not_encodable": 3}


def test_lines_that_are_nested_too_deep_are_rejected_and_the_others_are_sent(
    connected: MoEngage, tmp_path: Path
) -> None:
    deep = "[" * 1_000 + "]" * 1_000
    deeper = "[" * 100_000 + "]" * 100_000
    (tmp_path / "a.ndjson").write_text(
        "\n".join(
            [
                "\ufeff" + json.dumps(customer("ann")),
                f'{{"type":"customer","customer_id":"u","attributes":{{"a":{deep}}}}}',
                f'{{"type":"customer","customer_id":"u","attributes":{{"a":{deeper}}}}}',
                json.dumps(customer("bob")),
            ]
        )
    )

    report = ran(BulkImportOperator(task_id="send", path=f"{tmp_path}/*.ndjson", max_rejects=2))

    assert users(connected) == ["ann", "bob"]
    assert report["rejected"] == 2


def test_the_identifiers_of_the_connection_or_the_operator_identify_users(
    moengage: MoEngage, monkeypatch: pytest.MonkeyPatch
) -> None:
    moengage.reset(identifiers=["loyalty_id", "card"])
    by_name = [{"type": "customer", "attributes": {name: "L-1"}} for name in ("loyalty_id", "card")]
    monkeypatch.setenv(
        "AIRFLOW_CONN_MOENGAGE_DEFAULT", connection_to(moengage, extra={"identifiers": "loyalty_id"})
    )

    report = ran(BulkImportOperator(task_id="send", elements=by_name, max_rejects=1))
    other = ran(BulkImportOperator(task_id="send", elements=by_name, max_rejects=1, identifiers=["card"]))

    assert [list(element["attributes"]) for element in moengage.arrived] == [["loyalty_id"], ["card"]]
    assert report["rejects"] == other["rejects"] == {"customer_id_missing": 1}


def test_templates_inside_a_list_are_rendered(connected: MoEngage) -> None:
    ran(BulkImportOperator(task_id="send", elements=[customer("ann", day="{{ ds }}")]))

    assert connected.arrived[0]["attributes"] == {"day": "2026-01-01"}


def test_only_elements_with_a_template_in_them_are_rendered() -> None:
    rendered: list[Any] = []
    elements = [customer("ann", n=1), customer("bob", deep=[{"day": "{{ ds }}"}]), {"{{ key }}": None}]

    ElementsArgument(elements).rendered(rendered.append, resolved=())

    assert rendered == [elements[1]], "Airflow renders values, and takes a second for a thousand elements"


@pytest.mark.parametrize(
    "template",
    ["{{ rows | tojson }}", "{{ rows }}", "[{% for r in rows %}{{ r | tojson }},{% endfor %}]"],
    ids=["JSON", "Python", "a loop"],
)
def test_a_template_may_render_to_a_list(connected: MoEngage, template: str) -> None:
    ran(BulkImportOperator(task_id="send", elements=template), rows=[customer("ann"), customer("bob", n=1)])

    assert users(connected) == ["ann", "bob"]


def test_a_template_that_renders_to_something_else_is_an_error_that_says_what_to_do(connected: MoEngage) -> None:
    operator = BulkImportOperator(task_id="send", elements="{{ ds }} hidden-value")

    with pytest.raises(ValueError, match=r"elements: .*\.output.*tojson") as caught:
        ran(operator)

    assert "hidden-value" not in str(caught.value)


def test_a_generator_function_gets_the_context_entries_its_parameters_name(connected: MoEngage) -> None:
    called: list[str] = []

    def rows(ds: str, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
        called.append(ds)
        for n in range(params["count"]):
            yield customer(f"user-{n}", day=ds)

    operator = BulkImportOperator(task_id="send", elements=rows)
    operator.render_template_fields(context(params={"count": 3}))
    assert called == []

    report = operator.execute(context(params={"count": 3}))

    assert called == ["2026-01-01"]
    assert report["accepted"] == 3


def test_a_function_may_return_a_list(connected: MoEngage) -> None:
    assert ran(BulkImportOperator(task_id="send", elements=lambda: [customer("ann")]))["accepted"] == 1


@pytest.mark.parametrize("wrong", [lambda: customer("ann"), lambda: "text", lambda: None])
def test_a_function_that_returns_no_elements_is_an_error(connected: MoEngage, wrong: Any) -> None:
    with pytest.raises(ValueError, match="elements: expected a list or a stream of elements, got"):
        ran(BulkImportOperator(task_id="send", elements=wrong))


def rows_of_a_module() -> list[Any]:
    return []


SHOWN = {
    "a list": ([customer("hidden-value")] * 20_000, "20000 elements"),
    "a function": (rows_of_a_module, "elements of rows_of_a_module()"),
    "a template": ("{{ rows | tojson }}", "{{ rows | tojson }}"),
}


@pytest.mark.parametrize(("elements", "shown"), SHOWN.values(), ids=SHOWN)
def test_the_dag_stores_a_summary_in_place_of_the_elements(elements: Any, shown: str) -> None:
    operator = BulkImportOperator(task_id="send", elements=elements)

    assert stored_form(operator.elements, "elements") == shown


def test_the_ui_shows_the_number_of_rendered_elements(connected: MoEngage) -> None:
    operator = BulkImportOperator(task_id="send", elements="{{ rows | tojson }}")

    operator.render_template_fields(
        context(rows=[customer("hidden-value", note="{{ looks like a template }}")] * 3)
    )

    assert "hidden-value" not in str(stored_form(operator.elements, "elements"))


def test_a_template_that_fails_to_render_logs_no_element(caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
    operator = BulkImportOperator(
        task_id="send", elements=[customer("hidden-value"), customer("{{ nothing.here }}")]
    )

    with caplog.at_level(logging.DEBUG), pytest.raises(Exception, match="nothing"):
        operator.render_template_fields(context())

    captured = capsys.readouterr()
    assert "hidden-value" not in caplog.text + captured.out + captured.err


def ndjson(file: Path, *lines: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


def test_files_are_found_by_globs_and_read_in_order(connected: MoEngage, tmp_path: Path) -> None:
    ndjson(tmp_path / "day=2" / "b.ndjson", customer("u", n=2))
    ndjson(tmp_path / "day=1" / "a.ndjson", customer("u", n=0), "", customer("u", n=1))
    ndjson(tmp_path / "day=1" / "ignored.csv", "x")

    report = ran(BulkImportOperator(task_id="send", path=f"file://{tmp_path}/day=*/*.ndjson"))

    assert report["accepted"] == 3
    assert [element["attributes"]["n"] for element in connected.arrived] == [0, 1, 2]


@pytest.mark.parametrize("form", ["{folder}/a.ndjson", "file://{folder}/a.ndjson", "{folder}/[ab].ndjson"])
def test_a_path_may_have_any_usual_form(connected: MoEngage, tmp_path: Path, form: str) -> None:
    ndjson(tmp_path / "a.ndjson", customer("ann"))

    ran(BulkImportOperator(task_id="send", path=form.format(folder=tmp_path)))

    assert users(connected) == ["ann"]


def test_files_that_only_a_link_to_a_folder_leads_to_are_not_left_out_without_a_word(
    connected: MoEngage, tmp_path: Path
) -> None:
    ndjson(tmp_path / "in" / "monday" / "a.ndjson", customer("ann"))
    ndjson(tmp_path / "elsewhere" / "b.ndjson", customer("bob"))
    (tmp_path / "in" / "today").symlink_to("monday")
    assert ran(BulkImportOperator(task_id="send", path=f"{tmp_path}/in/*/*.ndjson"))["accepted"] == 1

    (tmp_path / "in" / "tuesday").symlink_to(tmp_path / "elsewhere")

    for path in (f"{tmp_path}/in/*/*.ndjson", f"{tmp_path}/in/**/*.ndjson", f"{tmp_path}/in/t*/*.ndjson"):
        with pytest.raises(MoEngageFileFormatError, match=r"a link leads to files in .*elsewhere' that match"):
            ran(BulkImportOperator(task_id="send", path=path))
    both = [f"{tmp_path}/in/monday/*.ndjson", f"{tmp_path}/in/tuesday/*.ndjson"]
    assert ran(BulkImportOperator(task_id="send", path=both))["accepted"] == 2


def test_several_paths_are_read_and_templates_in_them_rendered(connected: MoEngage, tmp_path: Path) -> None:
    ndjson(tmp_path / "2026-01-01.ndjson", customer("ann"))
    ndjson(tmp_path / "more.ndjson", customer("bob"))
    paths = [f"{tmp_path}/{{{{ ds }}}}.ndjson", f"{tmp_path}/more.ndjson", f"{tmp_path}/m*.ndjson"]

    ran(BulkImportOperator(task_id="send", path=paths))

    assert users(connected) == ["ann", "bob"]


@pytest.mark.parametrize("rendered", [[], None, ""])
def test_a_path_that_renders_to_something_else_is_an_error(connected: MoEngage, rendered: Any) -> None:
    operator = BulkImportOperator(task_id="send", path="{{ later }}")
    operator.path = rendered

    with pytest.raises(ValueError, match="path: expected a path"):
        operator.execute(context())


def test_a_folder_is_not_accepted_as_a_file(connected: MoEngage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        ran(BulkImportOperator(task_id="send", path=str(tmp_path)))


@pytest.mark.parametrize("path", ["/nowhere/a.ndjson", "/nowhere/*.ndjson"])
def test_a_path_without_a_file_is_an_error_that_names_it(connected: MoEngage, path: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"path '/nowhere/.*': no such file"):
        ran(BulkImportOperator(task_id="send", path=path))


def test_a_line_that_is_not_json_is_a_reject_and_the_rest_is_sent(connected: MoEngage, tmp_path: Path) -> None:
    ndjson(tmp_path / "in" / "a.ndjson", customer("ann"), '{"type": "customer"', customer("bob"))
    operator = BulkImportOperator(task_id="send", path=f"{tmp_path}/in/a.ndjson", rejects_path=f"{tmp_path}/out")

    with pytest.raises(MoEngageRejectsError, match="1 element_invalid"):
        ran(operator)

    assert users(connected) == ["ann", "bob"]
    [file] = (tmp_path / "out").iterdir()
    assert file.name.startswith("dag__manual__2026-01-01T00-00-00-00-00__send__")
    assert json.loads(file.read_text())["position"] == 1


def test_a_fixed_rejects_file_is_replayed(connected: MoEngage, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.ndjson"
    elements = [customer("ann"), {**customer("bob"), "attributes": {"score": float("nan")}}]
    ran(BulkImportOperator(task_id="send", elements=elements, rejects_path=str(rejects), max_rejects=1))
    rejects.write_text(rejects.read_text().replace('"nan"', "7"))

    report = ran(BulkImportOperator(task_id="replay", path=str(rejects)))

    assert report["accepted"] == 1
    assert connected.arrived[-1] == customer("bob", score=7)


def test_rejects_are_not_written_over_the_file_that_is_read(connected: MoEngage, tmp_path: Path) -> None:
    file = ndjson(tmp_path / "rejects.ndjson", customer("null"))

    with pytest.raises(ValueError, match=r"rejects_path .* is one of the files to read"):
        ran(BulkImportOperator(task_id="replay", path=f"file://{file}", rejects_path=str(file)))

    assert file.read_text()


@pytest.mark.parametrize(
    "spelling", ["{0}/e.ndjson", "{0}/../{1}/e.ndjson", "local://{0}/e.ndjson", "{0}/link/e.ndjson"]
)
@pytest.mark.parametrize("other", ["{0}/e.ndjson", "{0}/e-link.ndjson"])
def test_rejects_do_not_replace_the_file_to_read_however_its_path_is_written(
    connected: MoEngage, tmp_path: Path, spelling: str, other: str
) -> None:
    file = tmp_path / "e.ndjson"
    file.write_text('{"type": "customer"}\n')
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "e-link.ndjson").symlink_to(file)
    rejects_path, path = (text.format(tmp_path, tmp_path.name) for text in (spelling, other))

    with pytest.raises(ValueError, match="is one of the files to read"):
        ran(BulkImportOperator(task_id="send", path=path, rejects_path=rejects_path, max_rejects=1))

    assert file.read_text() == '{"type": "customer"}\n'


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("{0}/*.ndjson", {"rejects_path": "{0}"}),
        ("{0}/*.ndjson", {"rejects_path": "{0}/rejects.ndjson"}),
        ("{0}/*.ndjson", {"rejects_path": "{0}/rejects.ndjson", "dry_run": True}),
        ("{0}/[a-z]*.part", {"rejects_path": "{0}/rejects.ndjson"}),
        ("file://{0}/**/*.ndjson", {"rejects_path": "{0}/not/there/yet"}),
        ("{0}/**", {"rejects_path": "{0}/not"}),
        ("{0}/link/*.ndjson", {"rejects_path": "{0}"}),
        ("{0}/in/**/e*.ndjson", {"rejects_path": "{0}/elsewhere/e2.ndjson"}),
        ("{0}/*.ndjson", {"rejects_path": "{0}/in/../link"}),
        ("memory://bucket/in/*.ndjson", {"rejects_path": "memory://bucket/in"}),
        ("{0}/*", {"checkpoint_path": "{0}"}),
        ("{0}/*.fence", {"checkpoint_path": "{0}"}),
        ("{0}/[is]*/*", {"checkpoint_path": "{0}/state"}),
    ],
)
def test_what_a_run_writes_where_its_retry_would_read_it_is_refused_before_anything_is_sent(
    connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, written: dict[str, Any]
) -> None:
    ndjson(tmp_path / "e.ndjson", customer("ann"), customer("null"))
    for name in ("e.part", "e.fence"):
        (tmp_path / name).write_text("")
    (tmp_path / "in").mkdir()
    ndjson(tmp_path / "in" / "e.ndjson", customer("bob"))
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    attach("memory", monkeypatch).pipe_file("bucket/in/e.ndjson", b"{}")
    before = sorted(tmp_path.rglob("*"))
    [argument] = [name for name in written if name != "dry_run"]
    given: dict[str, Any] = {
        name: value.format(tmp_path) if isinstance(value, str) else value for name, value in written.items()
    }

    with pytest.raises(ValueError, match=rf"{argument} '.*': matches path '.*', so a retry would read it"):
        ran(BulkImportOperator(task_id="send", path=path.format(tmp_path), max_rejects=1, **given))

    assert connected.arrived == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("path", "rejects_path"),
    [
        ("{0}/*.ndjson", "{0}/rejects"),
        ("{0}/e*.ndjson", "{0}/rejects.ndjson"),
        ("{0}/**/e.ndjson", "{0}/rejects.ndjson"),
        ("{0}/e.ndjson", "{0}"),
        ("{0}/*.ndjson", "memory://{0}"),
    ],
)
def test_rejects_that_no_pattern_matches_are_written(
    connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, rejects_path: str
) -> None:
    attach("memory", monkeypatch)
    ndjson(tmp_path / "e.ndjson", customer("ann"), customer("null"))
    given: dict[str, Any] = {"path": path.format(tmp_path), "rejects_path": rejects_path.format(tmp_path)}

    first, second = (ran(BulkImportOperator(task_id="send", max_rejects=1, **given)) for _ in range(2))

    assert (first["accepted"], first["rejected"]) == (second["accepted"], second["rejected"]) == (1, 1)


@pytest.mark.parametrize("argument", ["rejects_path", "checkpoint_path"])
def test_a_folder_where_a_file_would_go_on_another_storage_is_found_before_anything_is_sent(
    connected: MoEngage, monkeypatch: pytest.MonkeyPatch, argument: str
) -> None:
    store = attach("memory", monkeypatch)
    monkeypatch.setattr(store, "isdir", lambda path: path.endswith((".ndjson", ".json")))
    given: dict[str, Any] = {
        argument: "memory://bucket/r.ndjson" if argument == "rejects_path" else "memory://bucket/c"
    }

    with pytest.raises(MoEngageRequestError, match=rf"{argument} .*\(Is a directory\); nothing was sent"):
        ran(BulkImportOperator(task_id="send", elements=[customer("ann")], **given))

    assert connected.arrived == []


def test_a_tilde_is_the_home_of_the_workers_user(
    connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    ndjson(home / "e.ndjson", customer("ann"), customer("null"))

    report = ran(
        BulkImportOperator(
            task_id="send", path="~/*.ndjson", rejects_path="~/rejects", checkpoint_path="~/state", max_rejects=1
        )
    )

    assert report["rejects_path"].startswith(f"{home}/rejects/")
    assert sorted(path.name for path in home.iterdir()) == ["e.ndjson", "rejects", "state"]
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("argument", ["path", "rejects_path", "checkpoint_path"])
def test_the_home_of_a_user_who_is_not_known_is_refused(
    connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.ndjson").write_text("{}")
    given: dict[str, Any] = {"path": f"{tmp_path}/e.ndjson", argument: "~nobody-has-this-name/x"}

    with pytest.raises(MoEngageError, match=argument):
        ran(BulkImportOperator(task_id="send", **given))

    assert connected.arrived == []
    assert [path.name for path in tmp_path.iterdir()] == ["e.ndjson"]


def test_a_retry_without_rejects_removes_those_of_the_try_before(connected: MoEngage, tmp_path: Path) -> None:
    def send(user: str) -> None:
        ran(BulkImportOperator(task_id="t", elements=[customer(user)], rejects_path=str(tmp_path), max_rejects=1))

    send("null")
    assert len(list(tmp_path.iterdir())) == 1

    send("ann")
    assert not list(tmp_path.iterdir())


def test_the_deployments_rejects_path_is_the_default(
    connected: MoEngage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__MOENGAGE__REJECTS_PATH", str(tmp_path))

    report = ran(BulkImportOperator(task_id="send", elements=[customer("null")], max_rejects=1))

    assert [str(file) for file in tmp_path.iterdir()] == [report["rejects_path"]]


def test_the_deployments_rejects_path_is_a_folder(connected: MoEngage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MOENGAGE__REJECTS_PATH", "/tmp/all-tasks.ndjson")

    with pytest.raises(ValueError, match="expected a folder, not a file"):
        ran(BulkImportOperator(task_id="send", elements=[customer("ann")]))


def test_a_dry_run_has_a_rejects_file_of_its_own(connected: MoEngage, tmp_path: Path) -> None:
    report = ran(
        BulkImportOperator(
            task_id="send",
            elements=[customer("null")],
            rejects_path=f"{tmp_path}/r.ndjson",
            max_rejects=1,
            dry_run=True,
        )
    )

    assert [file.name for file in tmp_path.iterdir()] == ["r.dry_run.ndjson"]
    assert report["rejects_path"] == f"{tmp_path}/r.dry_run.ndjson"


def test_options_may_be_templates(connected: MoEngage) -> None:
    operator = BulkImportOperator(
        task_id="send",
        elements=[customer("ann"), customer("null")],
        concurrency="{{ params.lanes }}",
        max_rejects="{{ params.most }}",
        dry_run="{{ params.dry }}",
    )

    report = ran(operator, params={"lanes": 2, "most": 0.5, "dry": True})

    assert (report["dry_run"], report["accepted"], report["rejected"]) == (True, 1, 1)
    assert not connected.arrived


def test_a_template_that_renders_to_a_wrong_option_is_named_before_anything_is_sent(connected: MoEngage) -> None:
    operator = BulkImportOperator(task_id="send", elements=[customer("ann")], concurrency="{{ params.lanes }}")

    with pytest.raises(ValueError, match="concurrency '0'"):
        ran(operator, params={"lanes": 0})

    assert not connected.arrived


def test_values_of_python_are_written_as_moengage_reads_them(connected: MoEngage) -> None:
    moment = dt.datetime(2026, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))

    ran(
        BulkImportOperator(task_id="send", elements=[customer("ann", seen=moment, day=moment.date(), raw=b"text")])
    )

    assert connected.arrived[0]["attributes"] == {
        "seen": "2026-01-01T10:00:00Z",
        "day": "2026-01-01",
        "raw": "text",
    }
