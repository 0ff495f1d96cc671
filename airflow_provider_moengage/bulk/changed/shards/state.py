"""The state of a sync whose rows several tasks of a run read, each a range of keys.

All shards of a run read one generation, and each compares its rows with all that is known: the ranges may be
others than in the last run. A shard that has sent its rows closes its part and says so. The one that then finds
that the shards which are done have read all rows makes the next generation of their parts, and removes who is in
none.

Only shards of the run that has begun last may run, and only what they have read since its last Clear counts: rows
that were read earlier may have come or changed since.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import msgspec

from airflow_provider_moengage.bulk.changed.begun import Begun, begin, is_due_before, newest_begun
from airflow_provider_moengage.bulk.changed.errors import StateError, storing
from airflow_provider_moengage.bulk.changed.folder import GenerationTakenError, Manifest, ids_name, part_name
from airflow_provider_moengage.bulk.changed.lease import InUseError, Lease
from airflow_provider_moengage.bulk.changed.lookup.index import repeated_keys
from airflow_provider_moengage.bulk.changed.part import PartWriter
from airflow_provider_moengage.bulk.changed.records import unpacked
from airflow_provider_moengage.bulk.changed.removed.ids import IdsWriter
from airflow_provider_moengage.bulk.changed.shards.done import (
    Done,
    bound,
    chain,
    name_of_done,
    read_done,
    read_one,
    write_done,
)
from airflow_provider_moengage.bulk.changed.state import SyncState
from airflow_provider_moengage.bulk.changed.sync_run import Changes, RowsRead
from airflow_provider_moengage.bulk.changes import Shard
from airflow_provider_moengage.bulk.clock import Clock, Log, StopRequest


def state_for(changes: Changes, clock: Clock, log: Log, *, is_dry_run: bool, at_most_once: bool) -> SyncState:
    """Return the state for a try that reads all rows, or those of a shard."""
    if changes.shard is None:
        return SyncState(changes, clock, log, is_dry_run=is_dry_run, at_most_once=at_most_once)
    return ShardState(changes, changes.shard, clock, log, is_dry_run=is_dry_run, at_most_once=at_most_once)


class ShardState(SyncState):
    """The state, opened for one try of a shard. Parameters as those of :class:`SyncState`."""

    def __init__(
        self, changes: Changes, shard: Shard, clock: Clock, log: Log, *, is_dry_run: bool, at_most_once: bool
    ) -> None:
        super().__init__(changes, clock, log, is_dry_run=is_dry_run, at_most_once=at_most_once)
        self._shard = shard
        self._stop = StopRequest()
        self._final = None if is_dry_run else Lease(changes.folder, changes.run.run, self._token, clock, "final")
        self._begun = 0
        """The number of the mark of this run."""
        self._is_final = False
        self._done: Sequence[Done] = ()
        """All shards, if this one stores the result of the run."""

    def _open(self, stop: StopRequest) -> None:
        self._stop = stop
        super()._open(stop)
        if self._final is not None:
            self._final.wait_for(str(self._shard.number), stop, self._log)
            if self._folder.newest_generation() != self._manifest.generation:
                raise InUseError("another shard of this run, which has just stored the result,")

    def _begin(self) -> None:
        """Join the run that has begun last, or mark this one as that.

        :raises StateError: if a later run has begun.
        """
        folder, run, shard = self._folder, self._run, self._shard
        newest, mine = newest_begun(folder), self._begun_by(is_sharded=True, clear=shard.clear)
        if (
            newest is not None
            and newest.run != mine.run
            and (is_due_before(mine, newest) or mine.run in newest.earlier)
        ):
            raise StateError(
                f"A later run ({newest.name}) has begun with the state in {folder}, so nothing was sent: a"
                f" shard of {run.run} would replace newer rows, and remove users who have come since. Clear"
                " all shards of the later run, or wait for the next one"
            )
        if self._is_dry_run:
            return
        if newest is None or newest.run != mine.run:
            newest = begin(folder, mine, newest, self._token)
        elif self._is_cleared_since(newest):
            again = msgspec.structs.replace(mine, clear=max(shard.clear, newest.clear), is_cleared=True)
            newest = begin(folder, again, newest, self._token)
        self._begun = newest.number
        # Before it looks whether the result is being stored: the shard that does so then finds that this one is
        # not done any more.
        write_done(folder, self._name_of_done, self._as_begun())

    def _is_cleared_since(self, newest: Begun) -> bool:
        """Return whether this shard was cleared after the newest mark of its run was made, as far as known."""
        if self._shard.clear > newest.clear:
            return True
        found = read_one(self._folder, self._name_of_done)
        if found is not None:
            return found.begun == newest.number and found.tries != self._tries
        # It has never come so far. Before Airflow 3.2, the Clear of a run that has not ended is not counted.
        is_uncounted = self._shard.is_cleared and not self._shard.clear and not newest.is_cleared
        return is_uncounted and any(one.is_done for one in self._begun_shards(newest.number))

    def _first(self) -> Manifest:
        """Return a generation without users, which another shard may have made meanwhile."""
        new = self._new_manifest()
        if (found := self._found()) is not None:
            return found
        if not self._is_dry_run:
            try:
                self._folder.commit(new)
            except GenerationTakenError:
                if (found := self._found()) is None:
                    raise InUseError("another first run") from None
                return found
        return new

    def _parts_of(self, manifest: Manifest) -> list[str]:
        """Return the parts, from that of the same range on: its rows are probably in it."""
        mine = self._range(bytes.fromhex(manifest.salt))
        start = manifest.ranges.index(mine) if mine in manifest.ranges else 0
        parts = manifest.all_parts
        return [*parts[start:], *parts[:start]]

    def join(self, read: RowsRead, exceptions: Mapping[bytes, bytes | None]) -> RowsRead | None:
        """Say that this shard is done. If all are, become the one that stores the result of the run."""
        if self._is_dry_run:
            self._log.info("A dry run of a part of the rows does not show who has left the query")
            return None
        with storing():
            self._close_part(exceptions)
            if self._journal is not None:
                self._journal.flush()
            self._say_done(read)
            done = self._claimed()
            if done is None:
                return None
            self._compare_all(done)
        return RowsRead(
            any=any(one.any_rows for one in done),
            whole=True,
            interrupted=any(one.interrupted for one in done),
            unidentified=any(one.unidentified for one in done),
        )

    def commit(self, exceptions: Mapping[bytes, bytes | None], elements: int | None, *, may_repeat: bool) -> int:
        """Make the next generation, if this shard stores the result of the run."""
        del exceptions, elements  # the first are in the part; `expect` does not count the rows of shards
        if not self._done or self._journal is None or self._lease is None:
            return 0
        self.check_fence()
        with storing():
            # Those who have left and stay known are in a part of their own.
            self._open_part()
            if self._part is not None:
                self._write_part(self._part, {}, may_repeat=False)
            repeated = repeated_keys(self._records_of(self._done), is_ordered=False) if may_repeat else {}
            self._store(self._journal, self._lease, repeated, dict(self._manifest.rows))
        return len(repeated)

    def note_sent(self, records: bytes, users: Sequence[str] = ()) -> None:
        """Record that a request is about to leave; returns when it may.

        :raises FencedError: if another try or shard has taken over.
        """
        if self._is_final:
            self.check_fence()
        super().note_sent(records, users)

    def check_fence(self) -> None:
        """Check that no other try has taken over, nor a shard that runs again.

        :raises FencedError: if one has.
        """
        super().check_fence()
        if self._is_final and self._final is not None:
            with storing():
                self._final.check()

    def close(self) -> None:
        """Keep what was accepted, and what this shard has read if it is done."""
        with ExitStack() as left:
            if self._final is not None:
                left.callback(self._final.release)
            left.callback(super().close)

    @property
    def _name_of_done(self) -> str:
        return name_of_done(self._manifest.generation, self._stored_as, self._shard.number)

    def _range(self, salt: bytes) -> tuple[str | None, str | None]:
        return bound(salt, self._shard.after), bound(salt, self._shard.up_to)

    def _close_part(self, exceptions: Mapping[bytes, bytes | None]) -> None:
        if self._part is not None:
            self._part.close(exceptions)
            self._part = None
        if self._ids is not None:
            self._ids.close()
            self._ids = None

    def _as_begun(self) -> Done:
        after, up_to = self._range(bytes.fromhex(self._manifest.salt))
        return Done(
            token=self._token,
            tries=self._tries,
            begun=self._begun,
            is_done=False,
            after=after,
            up_to=up_to,
            mapping=self._run.mapping,
            encoding=self._run.encoding,
            sends_all=False,
            part="",
            ids=None,
            any_rows=False,
            interrupted=False,
            unidentified=False,
        )

    def _say_done(self, read: RowsRead) -> None:
        self.check_fence()
        done = msgspec.structs.replace(
            self._as_begun(),
            is_done=True,
            sends_all=self.sends_all,
            part=self._part_name,
            ids=self._ids_name,
            any_rows=read.any,
            interrupted=read.interrupted,
            unidentified=read.unidentified,
        )
        write_done(self._folder, self._name_of_done, done)

    def _claimed(self) -> Sequence[Done] | None:
        """Return all shards, if they are done and no other one stores the result."""
        if self._all_done() is None:
            self._log.info(
                "Other shards of this run are not done yet, or were before this one was cleared. The last one"
                " stores the result of all; if none does, the next run finds what was sent, and who has left"
            )
            return None
        if self._final is None:
            return None
        try:
            self._final.claim(str(self._shard.number), self._stop, self._log)
        except InUseError:
            self._log.info("Another shard of this run stores the result of all")
            return None
        self._is_final = True
        done = self._all_done()
        newest = newest_begun(self._folder)
        is_newest = newest is not None and newest.number == self._begun
        is_stored = self._folder.newest_generation() != self._manifest.generation
        if done is None or not is_newest or is_stored:
            self._is_final = False
            self._final.release()
            return None
        return done

    def _all_done(self) -> Sequence[Done] | None:
        """Return all shards, in the order of their rows; None if some are not done since the run has begun, or
        was cleared.
        """
        run, shards = self._run, self._begun_shards(self._begun)
        if not all(one.is_done for one in shards):
            return None
        return chain(
            one
            for one in shards
            if (one.mapping, one.encoding) == (run.mapping, run.encoding)
            and (self.removal is None or one.ids is not None)
        )

    def _begun_shards(self, mark: int) -> list[Done]:
        """Return the shards that have begun after a mark of this run was made."""
        found = read_done(self._folder, self._manifest.generation, self._stored_as)
        return [one for one in found if one.begun == mark]

    def _compare_all(self, done: Sequence[Done]) -> None:
        """Find out who is in the state and in no shard, whatever the ranges of the last run were."""
        self._done = done
        self._check_there([one.part for one in done] + [one.ids for one in done if one.ids is not None])
        self.sends_all = self.sends_all or any(one.sends_all for one in done)
        self._why_all = self._why_all or "a shard has sent all users"
        was_damaged = self._accepted.is_damaged
        if self._journal is not None:
            self._journal.flush()
        self._read_accepted(self._folder.journals(), self._stored_as, self._manifest.all_parts)
        self._accepted.is_damaged |= was_damaged
        for records in self._records_of(done):
            keys = [key for key, _ in unpacked(records)]
            self.accepted_before(keys)
            for key in self.repeated.keys() & set(keys):
                del self.repeated[key]

    def _records_of(self, done: Sequence[Done]) -> Iterator[bytes]:
        for one in done:
            yield from self._records_in(one.part)

    def _lost(self, names: Sequence[str]) -> StateError:
        """Return the error of files that were removed or damaged. A retry does not write those of other shards.

        :raises FencedError: if another try or shard has taken over.
        """
        self.check_fence()
        mine: set[str] = set()
        others: set[str] = set()
        for one in self._done:
            (mine if one.token == self._token else others).update([one.part, *([one.ids] if one.ids else [])])
        # Without the files of this shard, the storage may be away. A shard that runs again writes its files again.
        is_lasting = others.issuperset(names) and mine.issubset(self._folder.names())
        if not is_lasting or self._all_done() != self._done:
            return super()._lost(names)
        return StateError(
            f"Files of other shards of this run in {self._folder} were removed or damaged ({', '.join(names)}), so"
            " the result of the run is not stored. What was sent arrived. What the journals in that folder have of"
            " it is not sent again. A retry of this task does not help, because only the other shards can write"
            " these files. Find out what removes or changes files in that folder. Then clear all shards of this"
            " run, or wait for the next run: it compares all rows again"
        )

    def _open_part(self) -> None:
        token = f"{self._token}{secrets.token_hex(2)}"
        generation = self._manifest.generation + 1
        self._part_name = part_name(generation, token)
        self._part_file = self._folder.new_file(self._part_name)
        self._part = PartWriter(self._part_file)
        if self.removal is not None:
            self._ids_name = ids_name(generation, token)
            self._ids_file = self._folder.new_file(self._ids_name)
            self._ids = IdsWriter(self._ids_file)

    def _manifest_after(self, manifest: Manifest) -> Manifest:
        done = self._done
        return msgspec.structs.replace(
            manifest,
            parts=[one.part for one in done],
            ranges=[(one.after, one.up_to) for one in done],
            ids_before=[one.ids for one in done if one.ids is not None],
        )
