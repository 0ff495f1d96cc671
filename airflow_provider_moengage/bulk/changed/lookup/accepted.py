"""What MoEngage has of each user, as far as the last generation and the journals since tell.

What the last run that read all rows has stored is compared in the order of the rows. What later runs, and earlier
tries of this one, have sent since is in journals, which become an index each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import IO, NamedTuple

from airflow_provider_moengage.bulk.changed import journal
from airflow_provider_moengage.bulk.changed.folder import JournalFile, Manifest, StateFolder
from airflow_provider_moengage.bulk.changed.lookup.index import DiskIndex, repeated_keys
from airflow_provider_moengage.bulk.changed.lookup.known import Known
from airflow_provider_moengage.bulk.changed.part import DamagedError, Part
from airflow_provider_moengage.bulk.changed.records import (
    RECORD_BYTES,
    REMOVED,
    UNKNOWN,
    packed,
    unpacked,
    without,
)
from airflow_provider_moengage.bulk.changed.removed.ids import read_ids
from airflow_provider_moengage.bulk.clock import Log

_SHARD_DIGITS = 16
"""Digits of a shard's token that are of its run and its tries; others are random. Other tokens have no more."""


class Before(NamedTuple):
    """What MoEngage has of the users of some rows.

    :param by_runs: by earlier runs; None: nothing.
    :param by_tries: by earlier tries of this run; None: nothing.
    :param is_first: whether no earlier row of this run had one of the users. False if it is not known.
    """

    by_runs: list[bytes | None]
    by_tries: list[bytes | None]
    is_first: bool


class Accepted:
    """What MoEngage has of each user, once it was :meth:`read`.

    :param folder: of the state.
    :param manifest: the last generation.
    :param journals: those that are not part of it.
    :param log: gets a warning about what is damaged.
    :param may_repeat: whether a user may be in several rows.
    :param removes: whether users whose rows have left are removed.
    """

    def __init__(
        self,
        folder: StateFolder,
        manifest: Manifest,
        journals: Sequence[JournalFile],
        log: Log,
        *,
        may_repeat: bool,
        removes: bool,
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._journals = journals
        self._log = log
        self._may_repeat = may_repeat
        self._removes = removes
        self._known = Known(iter(()))
        self._others: DiskIndex | None = None
        self._mine: DiskIndex | None = None
        self._streams: list[IO[bytes]] = []
        self._removed_since: set[bytes] = set()
        """Users who were removed after the last generation, and not sent again."""
        self._has_removed = False
        self.has_earlier_try = False
        """Whether an earlier try of this run has left something."""
        self.attempted: dict[bytes, set[bytes]] = {}
        """What an earlier try of this run has sent without an answer: contents by key."""
        self.repeated = {bytes.fromhex(key): bytes.fromhex(content) for key, content in manifest.repeated.items()}
        """Users that several rows of the last run had, and what was accepted last."""
        self.known_count = len(self.repeated)
        """How many users the last run had, as far as it was read."""
        self.removed_before = 0
        """Users without a row whom an earlier try of this run has removed, as far as :meth:`unseen` was read."""
        self.is_damaged = False
        """Whether the last generation was found to be damaged, as far as it was read."""

    def read(self, tries: str, parts: Sequence[str]) -> None:
        """Read the journals, and begin to read the parts.

        :param tries: with what the tokens of earlier tries of this run begin.
        :param parts: of the last generation, those first whose rows come first.
        """
        mine, others = self._divided(tries)
        self.has_earlier_try = bool(mine)
        self._known = Known(self._blocks(parts))
        self._others = self._index_of_others(others) if others else None
        self._read_earlier_tries(mine)
        for key in self._removed_since & self.repeated.keys():
            del self.repeated[key]

    def unchanged(self, contents: Sequence[bytes]) -> list[bytes | None]:
        """Return whose these contents were in the last run, as far as that shows quickly; None if it does not."""
        return self._known.keys(contents)

    @property
    def is_of_one_run(self) -> bool:
        """Whether nothing was sent since the last run that read all rows."""
        return self._others is None and self._mine is None and not self.attempted

    def before(self, keys: Sequence[bytes], known: Sequence[bytes | None]) -> Before:
        """Return what MoEngage has of each key.

        :param known: contents that :meth:`unchanged` has found for the first keys.
        """
        if known:
            found: list[bytes | None] = [*known, *[None] * (len(keys) - len(known))]
            places = [at for at, content in enumerate(found) if content is None]
            some = self._known.contents([keys[at] for at in places], len(keys))
            for at, content in zip(places, some, strict=True):
                found[at] = content
        else:
            found = some = self._known.contents(keys)
        is_first = not self._known.is_indexed and None not in some
        if self._others is not None:
            for at, content in enumerate(self._others.look_up(keys)):
                if content is not None:
                    found[at] = content
        mine: list[bytes | None] = [None] * len(keys) if self._mine is None else self._mine.look_up(keys)
        if self._has_removed:
            gone = self._removed_since
            mine = [None if content == REMOVED else content for content in mine]
            found = [
                None if content == REMOVED or key in gone else content
                for key, content in zip(keys, found, strict=True)
            ]
        return Before(found, mine, is_first)

    def maybe_repeated(self) -> set[bytes] | None:
        """Return the keys that may have been asked for several times; None: any."""
        return self._known.maybe_repeated()

    def unseen(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the users that no row had, once all rows were read, and what MoEngage has of them."""
        later: dict[bytes, bytes] = {} if self._others is None else dict(self._others.unseen())
        for key, content in () if self._mine is None else self._mine.unseen():
            self.removed_before += content == REMOVED
            later[key] = content
        for key in self.attempted.keys() & later.keys():
            later[key] = UNKNOWN
        for key, content in chain(self._known.unseen(), self.repeated.items()):
            now = later.pop(key, UNKNOWN if key in self.attempted else content)
            if now != REMOVED:
                yield key, now
        yield from ((key, content) for key, content in later.items() if content != REMOVED)

    def ids(self) -> Iterator[list[str]]:
        """Yield the IDs of users, as far as there are any."""
        for name in self._manifest.all_ids:
            try:
                with self._folder.open(name) as stream:
                    yield from read_ids(stream)
            except (DamagedError, FileNotFoundError):
                self._log.warning("The file of IDs in the state in %s is damaged or missing", self._folder)
        yield from journal.ids(self._read(self._journals))

    def close(self) -> None:
        """Close the files, and remove the indexes."""
        with ExitStack() as left:  # what fails does not keep the rest from being closed
            for stream in self._streams:
                left.callback(stream.close)
            for index in (self._known, self._others, self._mine):
                if index is not None:
                    left.callback(index.close)
            self._others = self._mine = None

    def _blocks(self, parts: Sequence[str]) -> Iterator[bytes]:
        repeated = self.repeated
        try:
            for name in parts:
                stream = self._folder.open(name)
                self._streams.append(stream)
                for records in Part(stream).accepted():
                    once = without(records, repeated) if repeated else records
                    self.known_count += len(once) // RECORD_BYTES
                    yield once
        except (DamagedError, FileNotFoundError):
            self.is_damaged = True
            self._log.warning(
                "The state in %s is damaged; sending the users of whom it is not known what MoEngage has",
                self._folder,
            )

    def _divided(self, tries: str) -> tuple[list[JournalFile], list[JournalFile]]:
        """Return the journals of these tries, and those of others."""
        journals, generation = self._journals, self._manifest.generation
        mine = [file for file in journals if file.generation == generation and file.token.startswith(tries)]
        return mine, [file for file in journals if file not in mine]

    def _index_of_others(self, journals: Sequence[JournalFile]) -> DiskIndex:
        """Return what earlier runs, which did not read all rows, sent since the last generation."""

        def records() -> Iterator[bytes]:
            data = self._read([file for file in journals if file.generation == self._manifest.generation])
            yield from self._watched(journal.accepted(data))
            # A journal of an older generation: another run has stored its result since, so either may be newer.
            outdated = self._read([file for file in journals if file.generation != self._manifest.generation])
            for some in journal.accepted(outdated):
                keys = [key for key, _ in unpacked(some)]
                yield packed(keys, [UNKNOWN] * len(keys))
            unsettled = list(journal.unsettled(self._read(journals)))
            yield packed(unsettled, [UNKNOWN] * len(unsettled))
            equivocal = self._equivocal(journals)
            yield packed(equivocal, [UNKNOWN] * len(equivocal))

        return DiskIndex(records())

    def _equivocal(self, journals: Sequence[JournalFile]) -> list[bytes]:
        """Return the users that several shards have sent: it is not known which of them was the last one."""
        shards = {file.token[:_SHARD_DIGITS] for file in journals if len(file.token) > _SHARD_DIGITS}
        if not self._may_repeat or len(shards) < 2:
            return []
        return list(repeated_keys(journal.accepted(self._read(journals))))

    def _read_earlier_tries(self, journals: Sequence[JournalFile]) -> None:
        if not journals:
            return
        self.attempted = journal.unsettled(self._read(journals))

        def records() -> Iterator[bytes]:
            yield from self._watched(journal.accepted(self._read(journals)))
            if self._removes:  # MoEngage may have those as well of whom it had nothing before
                yield packed(list(self.attempted), [UNKNOWN] * len(self.attempted))

        self._mine = DiskIndex(records())

    def _watched(self, accepted: Iterator[bytes]) -> Iterator[bytes]:
        """Yield records, and remember which users were removed last."""
        gone = self._removed_since
        for records in accepted:
            if gone or REMOVED in records:
                self._has_removed = True
                for key, content in unpacked(records):
                    if content == REMOVED:
                        gone.add(key)
                    else:
                        gone.discard(key)
            yield records

    def _read(self, journals: Sequence[JournalFile]) -> Iterator[bytes]:
        return (self._folder.read(file.name) for file in journals)
