"""How lines are split into files, and how the files are named."""

from __future__ import annotations

import datetime as dt
import io
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_moengage.exceptions import MoEngageRequestError
from airflow_provider_moengage.import_files import splitting as import_files
from airflow_provider_moengage.import_files.splitting import FileNames, FileSplitter, WrittenFile, check_prefix

NAMES = FileNames("users", "token", dt.datetime(2026, 11, 22, 3, 10, 59, tzinfo=dt.UTC), "csv")


class Kept(io.BytesIO):
    def close(self) -> None:
        self.content = self.getvalue()
        super().close()


def split(lines: list[bytes], most_bytes: int, header: bytes = b"id\n") -> tuple[list[WrittenFile], list[bytes]]:
    streams: dict[str, Kept] = {}

    def create(name: str) -> Kept:
        assert all(stream.closed for stream in streams.values()), "one file at a time"
        return streams.setdefault(name, Kept())

    splitter = FileSplitter(create, NAMES, header=header, most_bytes=most_bytes)
    for line in lines:
        splitter.add(line)
    files = splitter.finish()
    assert [file.file_name for file in files] == list(streams)
    return files, [stream.content for stream in streams.values()]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=5, max_size=120),
    most_bytes=st.integers(1, 400),
    header=st.sampled_from([b"", b"id\n"]),
)
def test_files_contain_every_row_in_order_and_at_least_five(
    lengths: list[int], most_bytes: int, header: bytes
) -> None:
    lines = [b"%d%s\n" % (number, b"x" * length) for number, length in enumerate(lengths)]

    files, contents = split(lines, most_bytes, header)

    assert all(content.startswith(header) for content in contents)
    rows = [content.removeprefix(header).splitlines(keepends=True) for content in contents]
    assert [row for file in rows for row in file] == lines
    assert [(file.rows, file.bytes) for file in files] == [
        (len(of_file), len(content)) for of_file, content in zip(rows, contents, strict=True)
    ]
    assert all(len(file) >= 5 for file in rows)
    for file, content in zip(rows, contents, strict=True):
        assert len(content) <= most_bytes or len(file) < 10, (
            "five rows are larger, or two files would be too small"
        )
    for content, following in zip(contents[:-2], rows[1:-1], strict=True):
        assert len(content) + len(following[0]) > most_bytes, "a file is filled"


@given(st.integers(5, 100), st.integers(5, 30))
def test_rows_of_one_size_never_exceed_the_limit_if_ten_of_them_fit(rows: int, in_a_file: int) -> None:
    line = b"123456789\n"

    files, contents = split([line] * rows, most_bytes=len(line) * max(in_a_file, 10), header=b"")

    assert sum(file.rows for file in files) == rows
    assert all(len(content) <= len(line) * max(in_a_file, 10) for content in contents)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(5, [5]), (10, [10]), (11, [6, 5]), (14, [9, 5]), (15, [10, 5]), (16, [10, 6]), (22, [10, 7, 5])],
)
def test_the_last_file_takes_rows_of_the_one_before_it(rows: int, expected: list[int]) -> None:
    files, _ = split([b"123456789\n"] * rows, most_bytes=100, header=b"")

    assert [file.rows for file in files] == expected


def test_the_file_before_gives_rows_until_it_has_five_itself() -> None:
    files, _ = split([b"123456789\n"] * 10, most_bytes=60, header=b"")

    assert [file.rows for file in files] == [5, 5]


@pytest.mark.parametrize(("rows", "expected"), [(6, [6]), (9, [9]), (10, [5, 5]), (12, [5, 7])])
def test_rows_too_few_for_a_file_stay_in_the_one_before(rows: int, expected: list[int]) -> None:
    files, _ = split([b"123456789\n"] * rows, most_bytes=1, header=b"")

    assert [file.rows for file in files] == expected


def test_a_file_ends_at_the_maximum_of_rows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_files, "MOST_ROWS", 20)

    files, _ = split([b"1\n"] * 43, most_bytes=1_000_000)

    assert [file.rows for file in files] == [20, 18, 5]


def test_without_rows_there_is_no_file() -> None:
    assert split([], most_bytes=100) == ([], [])


@pytest.mark.parametrize("rows", [1, 4])
def test_too_few_rows_for_a_file_are_an_error(rows: int) -> None:
    with pytest.raises(MoEngageRequestError, match=rf"The query returned {rows} row\(s\), .* at least 5"):
        split([b"1\n"] * rows, most_bytes=100)


def test_more_than_a_hundred_files_are_an_error() -> None:
    files, _ = split([b"1\n"] * 504, most_bytes=1)
    assert (len(files), files[-1].rows) == (100, 9)

    with pytest.raises(MoEngageRequestError, match="do not fit into 100 files"):
        split([b"1\n"] * 505, most_bytes=1)


def test_the_parts_of_a_split_differ_before_the_date() -> None:
    files, _ = split([b"1\n"] * 10, most_bytes=1)

    assert [file.file_name for file in files] == [
        "users_token_0001_20261122_0310.csv",
        "users_token_0002_20261122_0310.csv",
    ]


def names(**changes: Any) -> str:
    ti = {"dag_id": "dag", "run_id": "run", "task_id": "task", "map_index": -1, "try_number": 1}
    started = dt.datetime(2026, 11, 22, 4, 10, 59, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    context = {"ti": SimpleNamespace(**{**ti, "start_date": started, **changes})}
    return FileNames.of_try(context, prefix="registered_user_data", extension="csv").of_part(1)


def test_a_name_is_the_same_for_the_same_try() -> None:
    assert names() == names()
    assert names().startswith("registered_user_data_")
    assert names().endswith("_0001_20261122_0310.csv")


def test_no_two_tries_share_a_name_in_the_same_minute() -> None:
    tries: list[dict[str, Any]] = [
        {},
        {"try_number": 2},
        {"map_index": 0},
        {"map_index": 1},
        {"run_id": "run2"},
        {"task_id": "task2"},
        {"dag_id": "dag2"},
        {"dag_id": "da", "run_id": "grun"},
    ]

    assert len({names(**changes) for changes in tries}) == len(tries)


def test_a_try_without_a_start_date_is_named_after_the_current_time() -> None:
    before = dt.datetime.now(dt.UTC)
    name = names(start_date=None)
    after = dt.datetime.now(dt.UTC)

    assert f"{before:%Y%m%d_%H%M}" <= name[-17:-4] <= f"{after:%Y%m%d_%H%M}"


@pytest.mark.parametrize("prefix", ["registered_user_data", "Purchase Summary", "A", "9", "x" * 82])
def test_the_longest_prefix_leaves_room_for_the_rest_of_the_name(prefix: str) -> None:
    assert check_prefix(prefix) == prefix
    name = FileNames(prefix, "0" * 12, NAMES.moment, "csv").of_part(100)
    assert len(name.removesuffix("_20261122_0310.csv")) <= 100


@pytest.mark.parametrize("prefix", ["", " a", "a ", "a-b", "a/b", "é", "a.b", "x" * 83, None, 7, "a\n"])
def test_a_prefix_that_moengage_would_not_match_is_an_error(prefix: Any) -> None:
    with pytest.raises(ValueError, match=r"^prefix "):
        check_prefix(prefix)


def test_a_files_path_is_in_the_folder_as_it_was_given() -> None:
    file = WrittenFile("a.csv", 5, 100)

    assert file.to_dict("s3://aws@bucket/users/") == {
        "path": "s3://aws@bucket/users/a.csv",
        "file_name": "a.csv",
        "rows": 5,
        "bytes": 100,
    }
