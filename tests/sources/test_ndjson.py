"""Files of elements as other tools write them: with a byte order mark, or in another encoding."""

from __future__ import annotations

import codecs
import traceback
from pathlib import Path

import pytest

from airflow_provider_moengage.exceptions import MoEngageError
from airflow_provider_moengage.sources.ndjson import NdjsonFiles
from tests.import_files.test_folder import attach

LINES = b'{"type":"customer","customer_id":"u-1"}\r\n\r\n{"type":"customer","customer_id":"u-2"}\n'


def test_a_byte_order_mark_at_the_start_of_each_file_is_skipped(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.ndjson").write_bytes(codecs.BOM_UTF8 + LINES)

    elements = list(NdjsonFiles.matching(f"{tmp_path}/*.ndjson"))

    assert [element["customer_id"] for element in elements] == ["u-1", "u-2"] * 2


def test_a_file_of_nothing_but_a_byte_order_mark_has_no_elements(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(codecs.BOM_UTF8)

    assert list(NdjsonFiles.matching(f"{tmp_path}/a.ndjson")) == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["without a mark", "with a mark"])
def test_a_file_in_utf_16_is_refused_by_name_before_anything_is_read(
    tmp_path: Path, encoding: str, mark: str
) -> None:
    (tmp_path / "a.ndjson").write_bytes(LINES)
    (tmp_path / "b.ndjson").write_bytes((mark + LINES.decode()).encode(encoding))

    with pytest.raises(ValueError, match=r"b\.ndjson': the file is in UTF-16 or UTF-32; save it as UTF-8"):
        NdjsonFiles.matching(f"{tmp_path}/*.ndjson")


def test_a_file_in_utf_16_on_another_storage_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    store = attach("memory", monkeypatch)
    store.pipe_file("/bucket/utf-16.ndjson", LINES.decode().encode("utf-16"))

    with pytest.raises(ValueError, match=r"utf-16\.ndjson': the file is in UTF-16 or UTF-32; save it as UTF-8"):
        list(NdjsonFiles.matching("memory://bucket/utf-16.ndjson"))


def test_a_line_that_is_nested_too_deep_is_yielded_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"[" * 100_000 + b"\n" + LINES)

    elements = list(NdjsonFiles.matching(f"{tmp_path}/a.ndjson"))

    assert (type(elements[0]), len(elements)) == (str, 3)


def test_a_file_that_is_cut_while_it_is_read_ends_in_an_error_by_name(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_bytes(LINES * 20_000)
    elements = iter(NdjsonFiles.matching(str(file)))
    next(elements)
    with file.open("r+b") as cut:
        cut.truncate(len(LINES) * 10_000)  # at the end of a line, so that no line is cut

    with pytest.raises(MoEngageError, match=r"a\.ndjson': became shorter while it was read"):
        list(elements)


def test_a_file_that_grows_while_it_is_read_is_read_to_its_new_end(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_bytes(LINES)
    elements = iter(NdjsonFiles.matching(str(file)))
    next(elements)
    with file.open("ab") as more:
        more.write(LINES)

    assert len(list(elements)) == 3


@pytest.mark.parametrize("call", ["isfile", "info", "open"])
def test_an_error_of_the_storage_is_named_without_its_text(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    class StoreError(Exception):
        pass

    def fail(*given: object, **named: object) -> None:
        raise StoreError("key SECRET")

    store = attach("memory", monkeypatch)
    store.pipe_file("/bucket/a.ndjson", LINES)
    monkeypatch.setattr(store, call, fail)

    expected = r"path 'memory:///?bucket/a\.ndjson': could not be read \(StoreError\)"
    with pytest.raises(MoEngageError, match=expected) as raised:
        list(NdjsonFiles.matching("memory://bucket/a.ndjson"))
    assert "SECRET" not in "".join(traceback.format_exception(raised.value))
