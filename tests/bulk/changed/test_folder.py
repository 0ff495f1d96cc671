"""The folder of a state on an object store whose client remembers listings, as those of S3 and GCS do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]  # has no stubs

from airflow_provider_moengage.bulk.changed.folder import StateFolder


class Client(MemoryFileSystem):  # type: ignore[misc]  # fsspec is untyped
    """A client in one worker: a folder that it has listed is not listed again until it is told so."""

    cachable = False

    def __init__(self, files: dict[str, Any]) -> None:
        super().__init__()
        self.store = files
        self.pseudo_dirs = [""]
        self.listings: dict[str, Any] = {}

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        folder = "/" + path.strip("/")
        if folder not in self.listings:
            self.listings[folder] = super().ls(path, detail=True, **kwargs)
        found = self.listings[folder]
        return found if detail else [file["name"] for file in found]

    def info(self, path: str, **kwargs: Any) -> Any:
        full = "/" + path.strip("/")
        for file in self.listings.get(full.rpartition("/")[0], ()):
            if file["name"] == full:
                return file
        if full.rpartition("/")[0] in self.listings:
            raise FileNotFoundError(path)
        return super().info(path, **kwargs)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if mode == "rb":
            self.info(path)
        return super()._open(path, mode, **kwargs)

    def invalidate_cache(self, path: str | None = None) -> None:
        self.listings.clear()


class Place:
    """A path on a store, as an ObjectStoragePath is one."""

    protocol = "s3"

    def __init__(self, fs: Client, path: str) -> None:
        self.fs = fs
        self.path = path
        self.name = path.rpartition("/")[2]

    def __truediv__(self, name: str) -> Place:
        return Place(self.fs, f"{self.path}/{name}")


@pytest.fixture
def workers() -> SimpleNamespace:
    """The folder as two workers see it; each has listed it when it was empty but for one file."""
    files: dict[str, Any] = {}
    mine, other = (StateFolder(Place(Client(files), "/bucket/changes")) for _ in range(2))
    with mine.new_file("first") as stream:
        stream.write(b"1")
    assert mine.names() == other.names() == ["first"]
    return SimpleNamespace(mine=mine, other=other)


def test_a_file_of_another_worker_is_listed(workers: SimpleNamespace) -> None:
    assert workers.other.create("lease", b"{}", "token")

    assert workers.mine.names() == ["first", "lease"]


def test_a_file_of_another_worker_can_be_read(workers: SimpleNamespace) -> None:
    assert workers.other.create("lease", b'{"token": "other"}', "token")

    assert workers.mine.read_document("lease") == {"token": "other"}


def test_a_file_of_another_worker_is_not_replaced(workers: SimpleNamespace) -> None:
    assert workers.other.create("lease", b'{"token": "other"}', "other")

    assert not workers.mine.create("lease", b'{"token": "mine"}', "mine")
    assert workers.mine.read_document("lease") == {"token": "other"}
