"""Files of elements as other tools write them: with a byte order mark, or in another encoding."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from airflow_provider_moengage.exceptions import MoEngageError, MoEngageFileFormatError
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

    with pytest.raises(MoEngageFileFormatError, match=r"b\.ndjson': the file is in UTF-16 or UTF-32; save it"):
        NdjsonFiles.matching(f"{tmp_path}/*.ndjson")


PACKED = {
    "gzip": gzip.compress(LINES),
    "gzip with a name": b"\x1f\x8b\x08\x08abcdlines\0",
    "bzip2": bz2.compress(LINES),
    "xz": lzma.compress(LINES),
    "Zstandard": b"\x28\xb5\x2f\xfd" + LINES,
    "ZIP": b"PK\x03\x04" + LINES,
    "Parquet": b"PAR1" + LINES,
}


@pytest.mark.parametrize(("kind", "content"), PACKED.items(), ids=PACKED)
def test_a_file_of_another_format_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, content: bytes
) -> None:
    (tmp_path / "a.ndjson").write_bytes(LINES)
    (tmp_path / "b.ndjson").write_bytes(content)
    attach("memory", monkeypatch).pipe_file("/bucket/b.ndjson", content)

    expected = rf"b\.ndjson': is .*{kind.split()[0]}.*; unpack or convert it to plain NDJSON"
    with pytest.raises(MoEngageFileFormatError, match=expected):
        NdjsonFiles.matching(f"{tmp_path}/*.ndjson")
    with pytest.raises(MoEngageFileFormatError, match=expected):
        list(NdjsonFiles.matching("memory://bucket/b.ndjson"))


def test_a_file_in_utf_16_on_another_storage_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    store = attach("memory", monkeypatch)
    store.pipe_file("/bucket/utf-16.ndjson", LINES.decode().encode("utf-16"))

    with pytest.raises(MoEngageFileFormatError, match=r"utf-16\.ndjson': the file is in UTF-16 or UTF-32; save"):
        list(NdjsonFiles.matching("memory://bucket/utf-16.ndjson"))


def test_a_line_that_is_nested_too_deep_is_yielded_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"[" * 100_000 + b"\n" + LINES)

    elements = list(NdjsonFiles.matching(f"{tmp_path}/a.ndjson"))

    assert (type(elements[0]), len(elements)) == (str, 3)


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    with file.open("wb") as stream:
        stream.write(LINES)
        stream.truncate(8 * 2**30)  # takes no room on the disk

    elements = iter(NdjsonFiles.matching(str(file)))

    assert [next(elements)["customer_id"] for _ in range(2)] == ["u-1", "u-2"]
    with pytest.raises(MoEngageFileFormatError, match=r"a\.ndjson': line 4 is longer than 16 MiB; write one"):
        next(elements)


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


@contextmanager
def only_own_files() -> Iterator[None]:
    """Run a block without root's right to read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """Three folders with a file each, in a place that every user may reach."""
    with TemporaryDirectory(dir="/tmp") as name:  # noqa: S108 (pytest's own folder is closed to other users)
        place = Path(name)
        place.chmod(0o755)
        for folder in ("a", "b", "b/deep"):
            (place / folder).mkdir(mode=0o755)
            (place / folder / "data.ndjson").write_text("1\n")
        yield place
        (place / "b").chmod(0o755)


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o311], ids=["closed", "names only", "no names"])
@pytest.mark.parametrize("pattern", ["*/data.ndjson", "**/*.ndjson", "**", "[ab]/d*", "*/deep/*.ndjson"])
def test_a_folder_that_may_not_be_read_is_an_error_by_name(folders: Path, pattern: str, mode: int) -> None:
    (folders / "b").chmod(mode)
    with only_own_files(), pytest.raises(MoEngageError) as raised:
        list(NdjsonFiles.matching(f"{folders}/{pattern}"))

    assert f"path '{folders}/b': could not be read (Permission denied)" in str(raised.value)


@pytest.mark.parametrize("pattern", ["a*/data.ndjson", "a/*", "a/**", "*.txt", "*"])
def test_a_closed_folder_that_no_pattern_reaches_does_not_matter(folders: Path, pattern: str) -> None:
    (folders / "note.txt").write_text("1\n")
    (folders / "b").chmod(0o000)
    with only_own_files():
        assert len(NdjsonFiles.matching(f"{folders}/{pattern}").paths) == 1


def test_a_link_to_a_file_that_may_not_be_reached_is_an_error_by_name(folders: Path) -> None:
    (folders / "a" / "link.ndjson").symlink_to(folders / "b" / "data.ndjson")
    (folders / "b").chmod(0o000)
    with only_own_files(), pytest.raises(MoEngageError, match=r"link\.ndjson': could not be read"):
        NdjsonFiles.matching(f"{folders}/a/*.ndjson")


def test_links_that_go_round_or_lead_nowhere_do_not_end_the_search(folders: Path) -> None:
    (folders / "a" / "round").symlink_to(folders / "a")
    (folders / "a" / "gone.ndjson").symlink_to(folders / "nowhere")
    (folders / "a" / "self.ndjson").symlink_to(folders / "a" / "self.ndjson")

    assert f"{folders}/b/deep/data.ndjson" in "".join(
        map(str, NdjsonFiles.matching(f"{folders}/**/*.ndjson").paths)
    )
