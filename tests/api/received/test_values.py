from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_moengage.api.received.scrub import Scrub
from airflow_provider_moengage.api.received.values import LONGEST_NAME, Received, sentence

KEY = "a-data-api-key-0123456789"
SCRUB = Scrub([KEY]).with_values(lambda: {"customer_id": "customer-4711", "n": 42})


def received(value: Any) -> Received:
    return Received(value, SCRUB)


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{!r:>5}".format, lambda it: f"{it}"])
def test_it_shows_nothing_without_the_scrub(show: Any) -> None:
    assert show(received("secret text")).strip() == "<received from the server>"


def test_copied_or_pickled_it_is_empty() -> None:
    for other in (copy.deepcopy(received("secret text")), pickle.loads(pickle.dumps(received("secret text")))):
        assert other.text() is None


def test_a_comparison_raises_instead_of_being_wrong() -> None:
    compares: list[Any] = [
        lambda it: it == "text",
        lambda it: it != "text",
        lambda it: it in ["text"],
        bool,
        hash,
        lambda it: [*it],
    ]
    for compare in compares:
        with pytest.raises(TypeError):
            compare(received("text"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"', b"\xff", b"[" * 100_000, b'{"a":', b"NaN"])
def test_a_body_that_is_no_json_object_is_empty(body: bytes) -> None:
    content = Received.body(body, SCRUB)

    assert (content.is_object, content["a"].text(), content.fields()) == (True, None, [])


@pytest.mark.parametrize(
    "body",
    [
        b'{"status": "fail", "status": "success"}',
        b'{"status": "fail", "st\\u0061tus": "success"}',
        b'{"status": "success", "error": {"type": "TypeError", "type": null}}',
        b'{"status": "success", "data": [{"failed": 3, "failed": 0}]}',
    ],
)
def test_a_body_that_has_a_name_twice_is_empty(body: bytes) -> None:
    assert Received.body(body, SCRUB).fields() == []


def test_words_numbers_and_times_are_read() -> None:
    row = received(
        {"status": "Fail. ", "more": "true", "no": False, "count": "7", "at": "2026-01-02T03:04:05", "x": None}
    )

    assert row["status"].word(["success", "fail"]) == "fail"
    assert row["status"].word(["success"]) is None
    assert row["status"].word(["F A I L.", "fail"]) == "F A I L."
    assert row["absent"].word(["", "None"]) is None
    assert (row["more"].flag(), row["no"].flag(), row["x"].flag()) == (True, False, None)
    assert (row["count"].count(), row["no"].count(), row["status"].count()) == (7, None, None)
    assert str(row["at"].moment()) == "2026-01-02 03:04:05"
    assert (row.has("x"), row.has("absent"), row["x"].is_present) == (True, False, False)
    assert row.first("x", "absent", "count").count() == 7


@pytest.mark.parametrize(
    ("said", "request_id"),
    [
        ("fbGexVFL", "fbGexVFL"),
        ("0b8f1ff0-8a4f-4a67-9f6e-0d5a1b2c3d4e", "0b8f1ff0-8a4f-4a67-9f6e-0d5a1b2c3d4e"),
        ("Root=1-67891233-abcdef012345678912345678", "Root=1-67891233-abcdef012345678912345678"),
        (12345, "12345"),
        ("r-42", "r-42"),
        ("42", None),
        ("customer-4711", None),
        ("x.customer-4711.y", None),
        (b"customer-4711".hex(), None),
        (KEY, None),
        ("a" * 65, None),
        ("two words", None),
        ("line\nend", None),
        ({"id": 1}, None),
        ("jane@example.com", None),
        (None, None),
    ],
)
def test_a_request_id_is_kept_if_it_looks_like_one(said: Any, request_id: str | None) -> None:
    assert received(said).request_id() == request_id


@pytest.mark.parametrize("name", ["users_2026.csv", "Kunden  (neu) — 容量.csv", "a b.csv", "%41&amp;.csv"])
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert received(name).name() == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("users\n1.csv", "users 1.csv"),
        ("\x1b[31musers.csv", "users.csv"),
        ("a" * 600 + "1", "a" * 600 + "2"),
        (f"users_{KEY}_1.csv", f"users_{KEY}_2.csv"),
        ("\u202eusers.csv", "\u202dusers.csv"),
    ],
)
def test_a_name_that_has_to_change_stays_different(one: str, other: str) -> None:
    names = {received(one).name(), received(other).name()}

    assert len(names) == 2
    assert all(name and len(name) <= LONGEST_NAME and name.isprintable() and KEY not in name for name in names)


def test_an_error_of_any_shape_becomes_one_line() -> None:
    details = [{"target": ["a", "b"], "message": ["one", {"issue": "two"}]}, "three\n", 4, None, {"code": "x"}]

    assert sentence([received("first"), received(details)]) == "first; a, b: one: two; three; 4"


def test_pieces_of_a_key_in_several_fields_are_removed() -> None:
    assert KEY[:9] not in (sentence([received(KEY[:9]), received(KEY[9:])]) or "")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda it: st.lists(it) | st.dictionaries(st.text(), it),
    )
)
def test_every_value_can_be_asked_everything(value: Any) -> None:
    one = received(value)
    asked = (
        one.text(),
        one.name(),
        one.request_id(),
        one.count(),
        one.flag(),
        one.moment(),
        one.id_time(),
        one.items(),
    )

    assert len(asked) == 8
    assert one["x"].text() is None or isinstance(value, dict)
    assert one.word(["x"]) in (None, "x")


def test_a_deep_or_wide_error_is_cut() -> None:
    deep: Any = "end"
    for _ in range(500):
        deep = {"message": deep}
    content = Received.body(msgspec.json.encode({"error": deep, "data": ["word"] * 100_000}), SCRUB)

    assert content["error"].text() is None
    assert content["data"].text() == "word"
