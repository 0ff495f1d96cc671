from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_moengage.api.received.scrub import MARK, PIECE, Scrub
from tests.api.received.echoes import ENCODINGS, KEY_ENCODINGS, leaks

KEYS = (
    "DK-9f8e7d6c5b4a_3210/+xYz",
    "000000000001%000-4100000000002",
    "9f8e7d%416c5b4a&amp;x\\u0041z",
    "campaign-Key=ABCD:1234&<5678>",
    "ÜBER-schlüssel-0123456789",
)
NOTE = 'a secret note, with "quotes" and \\ and more than one sentence. Here it ends.'
SENT = {
    "customer_id": "customer-4711-x",
    "attributes": {
        "u_em": "jane.doe@example.com",
        "plan": "VIP",
        "n": 5,
        "big": 1234567,
        "name": "Zoë O'Neil / Söhne",
    },
    "list": [[NOTE], True, None, ""],
}
SIGNS = st.characters(exclude_categories=("L", "N", "Cs"))
"""Nothing that, next to a short piece of a key, could be read as more of it."""

SCRUB = Scrub(KEYS)
SCRUB_OF_REQUEST = SCRUB.with_values(lambda: SENT)


@pytest.mark.parametrize("encoding", KEY_ENCODINGS)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("around", ["{}", "the key {} is wrong", "key={}&x=1", '{{"key":"{}"}}', "Basic {}."])
def test_a_key_is_removed_in_every_encoding(encoding: str, key: str, around: str) -> None:
    said = around.format(KEY_ENCODINGS[encoding](key))

    shown = SCRUB.text(said, 500)

    assert MARK in shown
    assert leaks(shown, key) == []


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "value", ["customer-4711-x", "jane.doe@example.com", "1234567", "Zoë O'Neil / Söhne", NOTE]
)
def test_a_sent_value_is_removed_in_every_encoding(encoding: str, value: str) -> None:
    shown = SCRUB_OF_REQUEST.text(f"expected a number, got {ENCODINGS[encoding](value)} instead", 500)

    assert shown.startswith(f"expected a number, got{'' if shown[22] == '*' else ' '}"), shown
    assert MARK in shown
    assert leaks(shown, value, piece=6) == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("expected a whole number: 5", "expected a whole number: ***"),
        ("15 of 55 campaigns", "15 of 55 campaigns"),
        ("VIP is not vip", "*** is not ***"),
    ],
)
def test_a_short_value_is_removed_as_a_word(said: str, shown: str) -> None:
    assert SCRUB_OF_REQUEST.text(said, 500) == shown


def test_where_the_element_stands_next_to_it_a_value_may_stay_but_no_key() -> None:
    said = f"jane.doe@example.com and {KEYS[0]}"

    assert SCRUB_OF_REQUEST.text(said, 500, may_quote_values=True) == "jane.doe@example.com and ***"


@pytest.mark.parametrize(
    "said",
    [
        "The business event has been triggered",
        "customer_id not found in the payload",
        "elements cannot be empty array",
        "Please note that only imports with a date difference of 30 can be displayed. Kindly adjust the dates.",
        "Import Doesn't Exist (100% sure) & more; C:\\temp, 6 < 7",
        "users_20260101_0001.csv",
        "Größe überschritten, 容量超過",
    ],
)
def test_other_text_stays_as_it_is(said: str) -> None:
    assert SCRUB_OF_REQUEST.text(said, 500) == said


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("one\r\ntwo\n\n three", "one two three"),
        ("\x1b[31;1mred\x1b[0m \x9b2Jgone", "red gone"),
        ("nul\0 bell\a back\b", "nul bell back"),
        ("\u202etxt.exe\u2066 \u2028line", "txt.exe line"),
        ("\x1b]8;;https://evil.example\x07click", "8;;https://evil.example click"),
    ],
)
def test_what_a_terminal_or_a_log_would_obey_is_removed(said: str, shown: str) -> None:
    assert SCRUB.text(said, 500) == shown


def test_length_is_bounded() -> None:
    assert SCRUB.text("word " * 100, 500) == " ".join(["word"] * 100)
    assert len(SCRUB.text("word " * 101, 500)) == 500
    assert len(SCRUB.text("é" * 1_000_000, 500)) == 500
    assert SCRUB.text(" " * 1_000_000 + "late", 500) == "…"


@pytest.mark.parametrize(
    "unit",
    ["\\", "%", "%25", "&amp;", "&#", "\x1b[", "a b", KEYS[0], KEYS[0][:PIECE] + " ", "\\u00", "'", "0", "5 "],
)
def test_ten_megabytes_take_no_time(unit: str) -> None:
    said = unit * (10_000_000 // len(unit))
    started = time.process_time()

    SCRUB_OF_REQUEST.text(said, 500)

    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("key", ["k", "abc", "!!", "----------------", "data-key", "a b", "💥💥💥💥"])
def test_a_short_or_odd_key_is_removed(key: str) -> None:
    assert key not in Scrub([key]).text(f"<< {key} >>", 500)


def test_without_keys_and_values_nothing_is_removed() -> None:
    assert Scrub(["", ""]).text("any *text*, at all", 500) == "any *text*, at all"


@settings(deadline=None, max_examples=300)
@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=48).filter(
        lambda key: sum(char.isalnum() for char in key) >= PIECE
    ),
    encoding=st.sampled_from(sorted(KEY_ENCODINGS)),
    before=st.text(SIGNS, max_size=20),
    after=st.text(SIGNS, max_size=20),
)
@example(key="000000000001%000", encoding="reversed", before="", after="")
def test_any_key_is_removed(key: str, encoding: str, before: str, after: str) -> None:
    shown = Scrub([key]).text(f"{before} {KEY_ENCODINGS[encoding](key)} {after}", 500)

    assert set(leaks(shown, key)) <= set(leaks(f"{before} {after}", key))
