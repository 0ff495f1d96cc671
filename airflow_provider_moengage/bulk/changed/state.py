"""The state of a sync as one run finds it, and the next generation that the run makes of it.

Until the next generation exists, the last one and the journals since are the truth. So a run that is killed at any
moment leaves a state that is right: it may send a user once more, and never takes a change for sent.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from hashlib import blake2b
from typing import IO

from airflow_provider_moengage.bulk.changed import journal
from airflow_provider_moengage.bulk.changed.begun import Begun, begin, is_due_before, newest_begun, run_digest
from airflow_provider_moengage.bulk.changed.errors import StateError, storing
from airflow_provider_moengage.bulk.changed.folder import (
    GenerationTakenError,
    JournalFile,
    Manifest,
    ids_name,
    journal_name,
    part_name,
)
from airflow_provider_moengage.bulk.changed.lease import InUseError, Lease
from airflow_provider_moengage.bulk.changed.lookup.accepted import Accepted, Before
from airflow_provider_moengage.bulk.changed.lookup.index import repeated_keys
from airflow_provider_moengage.bulk.changed.part import DamagedError, Part, PartWriter
from airflow_provider_moengage.bulk.changed.records import UNKNOWN, Digests, packed, unpacked
from airflow_provider_moengage.bulk.changed.removed.ids import IdsWriter
from airflow_provider_moengage.bulk.changed.removed.leavers import Leavers
from airflow_provider_moengage.bulk.changed.sync_run import Changes, RowsRead, SyncRun
from airflow_provider_moengage.bulk.changes import Shard
from airflow_provider_moengage.bulk.clock import Clock, Log, StoppedError, StopRequest
from airflow_provider_moengage.bulk.resume.fence import FencedError
from airflow_provider_moengage.storage import named

_RUN_DIGITS = 8
"""Digits of a token that are equal for all shards of a run."""

_RUNS_WITH_ROWS = 6
"""Successful runs whose number of rows is kept: the latest one may be cleared, and five are compared with."""


class SyncState:
    """The state, opened for one try.

    :param changes: where it is, and of which run.
    :param is_dry_run: read it, and change nothing.
    :param at_most_once: what was sent has to survive a power failure.
    """

    def __init__(self, changes: Changes, clock: Clock, log: Log, *, is_dry_run: bool, at_most_once: bool) -> None:
        self._folder = folder = changes.folder
        self._run = run = changes.run
        self._columns = changes.columns
        self.removal = changes.removal
        self._may_repeat = changes.may_repeat
        self._log = log
        self._is_dry_run = is_dry_run
        self._at_most_once = at_most_once
        self._tries, of = _name_of_tries(run, changes.shard)
        self._token = f"{self._tries}{secrets.token_hex(4)}"
        self._stored_as = self._tries[:_RUN_DIGITS]
        """In manifests: equal for all tries of a run, also those of its other shards."""
        self._lease = None if is_dry_run else Lease(folder, run.run, self._token, clock, of)
        self._lock = threading.Lock()
        self._journal: journal.JournalWriter | None = None
        self._part: PartWriter | None = None
        self._part_name = ""
        self._part_file: IO[bytes] | None = None
        self._ids: IdsWriter | None = None
        self._ids_name: str | None = None
        self._ids_file: IO[bytes] | None = None
        self._reading = ExitStack()
        self._consumed: list[str] = []
        self._keeps_unseen = True
        self._left: Leavers | None = None
        self._not_removed: Mapping[bytes, bytes] | None = None
        """Of those who have left, the ones that stay known, and what MoEngage has of them; None: all."""
        self._forgets_unidentified = False
        self._why_all = ""
        self.attempted: dict[bytes, set[bytes]] = {}
        """See :class:`~.lookup.accepted.Accepted`."""
        self.repeated: dict[bytes, bytes] = {}
        """See :class:`~.lookup.accepted.Accepted`."""
        self.sends_all = False
        """Whether all users are sent, whatever MoEngage has."""

    def open(self, stop: StopRequest) -> None:
        """Take the lease and read the newest generation.

        :raises InUseError: if another run uses the state.
        :raises StateError: if the state is another workspace's or project's, or of a later run.
        :raises StorageError: if the storage failed.
        """
        passed = (InUseError, StateError, FencedError, StoppedError)
        try:
            with named("changed_only.path", self._folder, "opened", but=passed):
                self._open(stop)
        except BaseException:
            with suppress(Exception):  # the same disk may be full
                self.close()
            raise

    def _open(self, stop: StopRequest) -> None:
        folder = self._folder
        if self._lease is not None:
            folder.make()
            self._lease.take(stop, self._log)
        manifest = self._manifest = self._found() or self._first()
        self._begin()
        self._columns.known = manifest.columns or None
        self._digests = Digests(bytes.fromhex(manifest.salt))
        journals = folder.journals()
        self.sends_all = self._must_send_all(manifest)
        self._read_accepted(journals, self._tries, self._parts_of(manifest))
        if not self._is_dry_run:
            number = 1 + max((file.number for file in journals), default=0)
            self._journal = journal.JournalWriter(
                folder,
                lambda sequence: journal_name(manifest.generation, number, self._token, sequence),
                self._lease,
                syncs=self._at_most_once,
            )
            self._part_name = part_name(manifest.generation + 1, self._token)
            self._part_file = folder.new_file(self._part_name)
            self._part = PartWriter(self._part_file)
            if self.removal is not None:
                self._ids_name = ids_name(manifest.generation + 1, self._token)
                self._ids_file = folder.new_file(self._ids_name)
                self._ids = IdsWriter(self._ids_file)

    def _read_accepted(self, journals: Sequence[JournalFile], tries: str, parts: Sequence[str]) -> None:
        """Read what MoEngage has of each user.

        :param journals: all that there are.
        """
        self._reading.close()
        self._consumed = [file.name for file in journals]
        self._accepted = accepted = Accepted(
            self._folder,
            self._manifest,
            [file for file in journals if file.name not in self._manifest.consumed],
            self._log,
            may_repeat=self._may_repeat,
            removes=self.removal is not None,
        )
        self._reading.callback(accepted.close)
        accepted.read(tries, parts)
        self.attempted, self.repeated = accepted.attempted, accepted.repeated

    @property
    def has_earlier_try(self) -> bool:
        """Whether an earlier try of this run has left something."""
        return self._accepted.has_earlier_try

    @property
    def removed_before(self) -> int:
        """Users without a row whom an earlier try of this run has removed; known after :meth:`leavers`."""
        return self._accepted.removed_before

    @property
    def digests(self) -> Digests:
        """What makes keys and contents."""
        return self._digests

    def unchanged(self, contents: Sequence[bytes]) -> list[bytes | None]:
        """Return the users of whom MoEngage has just these contents by the last run, as far as that shows quickly.

        Call it once for each chunk of rows, then :meth:`accepted_before` for the chunk.

        :return: a key for each content; None if it is not known whose it is.
        :raises NotStoredError: if the storage failed.
        """
        if self.sends_all:
            return [None] * len(contents)
        with storing():
            return self._accepted.unchanged(contents)

    @property
    def is_of_one_run(self) -> bool:
        """Whether nothing was sent since the last run that read all rows."""
        return self._accepted.is_of_one_run

    def accepted_before(self, keys: Sequence[bytes], known: Sequence[bytes | None] = ()) -> Before:
        """Return what MoEngage has of each key.

        :param known: contents that the last run has of the first keys, if :meth:`unchanged` has found them.
        :raises NotStoredError: if the storage failed, or the disk on which an index is built.
        """
        with storing():
            return self._accepted.before(keys, known)

    def record(self, keys: Sequence[bytes], contents: Sequence[bytes], users: Sequence[str] = ()) -> None:
        """Store what these rows have, as if MoEngage accepted it.

        :param users: their IDs; stored only if users are removed.
        :raises NotStoredError: if the storage failed.
        """
        if self._part is not None:
            with storing():
                self._part.add(packed(keys, contents))
                if self._ids is not None:
                    self._ids.add(users)

    def note_sent(self, records: bytes, users: Sequence[str] = ()) -> None:
        """Record that a request is about to leave; returns when it may.

        :param users: their IDs; recorded only if users are removed.
        :raises FencedError: if another try has taken over.
        """
        ids = journal.ids_block(users) if users and self.removal is not None else b""
        self._write(journal.SENT, records, is_urgent=True, before=ids)

    def check_fence(self) -> None:
        """Check that no other try has taken over.

        :raises FencedError: if one has.
        """
        if self._lease is not None:
            with storing():
                self._lease.check()

    def note_accepted(self, records: bytes) -> None:
        """Record what MoEngage has accepted."""
        self._write(journal.ACCEPTED, records, is_urgent=self._at_most_once)

    def note_not_accepted(self, records: bytes) -> None:
        """Record that a request was certainly not processed."""
        self._write(journal.NOT_ACCEPTED, records, is_urgent=False)

    def join(self, read: RowsRead, exceptions: Mapping[bytes, bytes | None]) -> RowsRead | None:  # noqa: ARG002 (shards)
        """Return what the whole run has read; None if other shards have yet to read their rows.

        :param read: what this one has read.
        :param exceptions: keys whose element was not accepted: what MoEngage has of them, None if nothing.
        """
        return read

    @property
    def shows_removed(self) -> bool:
        """Whether a user without a row has left. Known only once all rows were read."""
        before = self._manifest
        # A try that was killed after it had stored its result may have sent all.
        is_comparable = before.part is not None and before.tries != self._stored_as and not self.sends_all
        return self._run.reads_all and is_comparable and not self._accepted.is_damaged

    @property
    def why_nobody_has_left(self) -> str | None:
        """Why a user without a row may not have left, if so: a clause that follows "because". Known only once all
        rows were read.
        """
        before = self._manifest
        reasons = (
            (self._accepted.is_damaged, "the state is damaged"),
            (before.part is None, "no earlier run has read all rows"),
            (self.sends_all, self._why_all),
            (not self._run.reads_all, "the run reads only a part of the rows"),
            # That try may have sent all.
            (before.tries == self._stored_as, "an earlier try of this run has stored its result already"),
        )
        return next((why for applies, why in reasons if applies), None)

    @property
    def has_ids(self) -> bool:
        """Whether the last run has stored IDs."""
        return self._manifest.ids is not None

    def leavers(self) -> tuple[Leavers, int]:
        """Return the users that no row had, once all rows were read, and how many users the last run had.

        :raises NotStoredError: if the storage failed.
        """
        with storing():
            self._left = Leavers(
                self._accepted.unseen(), self._accepted.ids(), partial(self._digests.keys, "customer")
            )
        return self._left, self._accepted.known_count

    def forget_unidentified(self) -> None:
        """Forget, of those who have left, the ones whose IDs are not known."""
        self._forgets_unidentified = True

    def forget_removed(self, not_removed: Mapping[bytes, bytes]) -> None:
        """Forget those who have left, except for these.

        :param not_removed: what MoEngage has of them, by key.
        """
        self._not_removed = not_removed

    def drop_unseen(self) -> int:
        """Forget the users that no row had, once all rows were read; return how many there are.

        :raises NotStoredError: if the storage failed.
        """
        with storing():
            removed = sum(1 for _ in self._accepted.unseen())
        if self._accepted.is_damaged:  # the damage may be in a block that no row was compared with
            return 0
        self._keeps_unseen = False
        return removed

    def commit(self, exceptions: Mapping[bytes, bytes | None], elements: int | None, *, may_repeat: bool) -> int:
        """Make the next generation.

        :param exceptions: keys whose element was not accepted: what MoEngage has of them, None if nothing.
        :param elements: how many the run has read; None if the task fails although everything was sent.
        :param may_repeat: whether a user may be in several rows.
        :return: how many users were in several rows.
        :raises StateError: if another run has made it.
        :raises NotStoredError: if the storage failed. What was accepted is in the journal.
        """
        if self._part is None or self._journal is None or self._lease is None:
            return 0
        with storing():
            repeated = self._write_part(self._part, exceptions, may_repeat=may_repeat)
            self._store(self._journal, self._lease, repeated, self._rows_after(elements))
        return len(repeated)

    def _write_part(
        self, part: PartWriter, exceptions: Mapping[bytes, bytes | None], *, may_repeat: bool
    ) -> dict[bytes, bytes]:
        """Complete the part; return the users whom several of its rows have, and what was accepted last."""
        if self._left is not None:
            self._keep_leavers(self._left, part)
        elif self._keeps_unseen:
            for key, content in self._accepted.unseen():
                part.add(key + content)
        if self._ids is not None:
            self._ids.close()
        part.close(exceptions)
        self._part = None
        repeated: dict[bytes, bytes] = {}
        maybe = self._accepted.maybe_repeated() if may_repeat else set()
        if maybe is None or maybe:
            repeated = repeated_keys(_of(maybe, self._records_in(self._part_name)))
            repeated.update((key, UNKNOWN) for key in exceptions.keys() & repeated.keys())
        return repeated

    def _records_in(self, part: str) -> Iterator[bytes]:
        """Yield the records of a part of this run.

        :raises StateError: if it was removed or damaged meanwhile.
        """
        try:
            with self._folder.open(part) as stream:
                yield from Part(stream).blocks()
        except (DamagedError, FileNotFoundError):
            raise self._lost([part]) from None

    def _check_there(self, names: Sequence[str]) -> None:
        """Check that files of this run are still there.

        :raises StateError: if not.
        """
        there = set(self._folder.names())
        if lost := [name for name in names if name not in there]:
            raise self._lost(lost)

    def _lost(self, names: Sequence[str]) -> StateError:
        """Return the error of files of the run that were removed or damaged. A retry writes its own again."""
        return StateError(
            f"Files of this run in {self._folder} were removed or damaged while it was under way"
            f" ({', '.join(names)}), so its result is not stored. What was sent arrived. What the journals in that"
            " folder have of it is not sent again. A retry, or the next run, compares all rows again",
            may_heal=True,
        )

    def _rows_after(self, elements: int | None) -> dict[str, int]:
        """Return how many rows the last successful runs have read, with this one if it is one."""
        rows = dict(self._manifest.rows)
        if elements is not None:
            rows.pop(self._run.run, None)
            rows[self._run.run] = elements // self._run.elements_per_row
        return dict(list(rows.items())[-_RUNS_WITH_ROWS:])

    def _store(
        self, journal_: journal.JournalWriter, lease: Lease, repeated: Mapping[bytes, bytes], rows: dict[str, int]
    ) -> None:
        journal_.close()
        lease.check()
        run, before = self._run, self._manifest
        after = self._manifest_after(
            Manifest(
                generation=before.generation + 1,
                token=self._token,
                encoding=run.encoding,
                salt=before.salt,
                workspace=run.workspace,
                project=run.project,
                mapping=run.mapping,
                columns=list(self._columns.used or before.columns),
                moment=run.moment or before.moment,
                run=run.run,
                tries=self._stored_as,
                part=self._part_name,
                repeated={key.hex(): content.hex() for key, content in repeated.items()},
                consumed=[*self._consumed, *journal_.names],
                ids=self._ids_name,
                rows=rows,
            )
        )
        self._ids = None
        self._check_there([*after.all_parts, *after.all_ids])
        try:
            self._folder.commit(after)
        except GenerationTakenError:
            raise StateError(
                f"Another run has stored its result in {self._folder} meanwhile. What this run sent arrived, but"
                " it is not in the state: the next run sends these users again",
                may_heal=True,
            ) from None
        with suppress(Exception):  # the state is stored; the next run cleans up
            self._folder.clean_up(after)
        lease.release()

    def _begin(self) -> None:
        """Mark this run as the one that has begun last: the shards of an earlier one must not go on.

        :raises StateError: if a run that was due later has begun.
        """
        run, newest = self._begun_by(is_sharded=False), newest_begun(self._folder)
        if newest is not None and is_due_before(run, newest):
            raise StateError(
                f"A later run ({newest.name}) has begun with the state in {self._folder}, so nothing was sent: the"
                f" rows of {run.moment} would replace newer ones. Run the task for the latest date"
            )
        if self._is_dry_run:
            return
        if newest is None or newest.run != run.run:
            begin(self._folder, run, newest, self._token)

    def _begun_by(self, *, is_sharded: bool, clear: int = 0) -> Begun:
        run = self._run
        digest = run_digest(run.run, is_sharded=is_sharded)
        return Begun(number=0, run=digest, name=run.run, moment=run.moment, clear=clear)

    def _manifest_after(self, manifest: Manifest) -> Manifest:
        """Return the manifest of the next generation, whole."""
        return manifest

    def _keep_leavers(self, left: Leavers, part: PartWriter) -> None:
        """Add those who have left and were not removed to the next generation."""
        kept = self._not_removed
        for leaver in left:
            content = leaver.content if kept is None else kept.get(leaver.key)
            if content is not None:
                part.add(leaver.key + content)
                if self._ids is not None:
                    self._ids.add([leaver.user])
        if kept is None and not self._forgets_unidentified:
            for key, content in left.without_id():
                part.add(key + content)

    def close(self) -> None:
        """Keep what was accepted for the next run or try. Also after :meth:`commit`."""
        with ExitStack() as left:  # what fails does not keep the rest from being closed
            if self._lease is not None:
                left.callback(self._lease.release)
            left.callback(self._reading.close)
            if self._left is not None:
                left.callback(self._left.close)
                self._left = None
            if self._ids_file is not None:
                if self._ids is not None and self._ids_name is not None:
                    self._ids = None
                    left.callback(self._folder.remove, self._ids_name)
                left.callback(self._ids_file.close)
            if self._part is not None and self._part_file is not None:
                self._part = None
                left.callback(self._folder.remove, self._part_name)
                left.callback(self._part_file.close)
            if self._journal is not None:
                with self._lock:
                    self._journal.close()

    def _found(self) -> Manifest | None:
        """Return the newest generation, if it can be used."""
        try:
            found = self._folder.newest()
        except DamagedError:
            self._log.warning("The state in %s is damaged; sending everything again", self._folder)
            return None
        if found is not None:
            self._check(found)
        return found

    def _first(self) -> Manifest:
        """Make a generation without users, in place of one that is missing or damaged."""
        manifest = self._new_manifest()
        if not self._is_dry_run:
            try:
                self._folder.commit(manifest)
            except GenerationTakenError:
                raise InUseError("another first run") from None
        return manifest

    def _new_manifest(self) -> Manifest:
        run = self._run
        return Manifest(
            generation=self._folder.unused_generation(),
            token=self._token,
            encoding=run.encoding,
            salt=secrets.token_hex(16),
            workspace=run.workspace,
            project=run.project,
            mapping=run.mapping,
            columns=[],
            moment=None,
            run=run.run,
            tries=self._stored_as,
            part=None,
            repeated={},
            consumed=[file.name for file in self._folder.journals()],
        )

    def _check(self, manifest: Manifest) -> None:
        run = self._run
        if manifest.workspace != run.workspace:
            raise StateError(
                f"The state in {self._folder} is of another workspace, so nothing was sent. Give changed_only"
                " another path, or remove the folder to start again"
            )
        if manifest.project != run.project:
            raise StateError(
                f"The state in {self._folder} is of another project_code, so nothing was sent. Give changed_only"
                " another path for each project, or remove the folder to start again"
            )
        if manifest.moment and run.moment and run.moment < manifest.moment:
            raise StateError(
                f"The state in {self._folder} is of a later run ({manifest.run}), so nothing was sent: the rows of"
                f" {run.moment} would replace newer ones. Run the task for the latest date"
            )

    def _must_send_all(self, manifest: Manifest) -> bool:
        reasons = (
            (self._run.resync, "resync is set"),
            (manifest.mapping != self._run.mapping, "the mapping has changed since the last run"),
            (manifest.encoding != self._run.encoding, "this version of the provider encodes elements differently"),
        )
        for applies, why in reasons:
            if applies:
                self._log.info("Sending all users because %s", why)
                self._why_all = why
                return True
        if manifest.part is None:
            self._log.info("No earlier run has read all rows; sending the users that no run has sent")
        return False

    def _parts_of(self, manifest: Manifest) -> list[str]:
        """Return the names of the parts, those first whose rows come first."""
        return manifest.all_parts

    def _write(self, kind: bytes, records: bytes, *, is_urgent: bool, before: bytes = b"") -> None:
        if self._journal is None or not records:
            return
        with storing(), self._lock:
            self._journal.write(before + journal.block(kind, records), is_urgent=is_urgent)


def _name_of_tries(run: SyncRun, shard: Shard | None) -> tuple[str, str]:
    """Return a digest of the tries of a run, which begins with one of the run, and the name of its lease."""
    tries = blake2b(run.tries.encode(), digest_size=4).hexdigest()
    if shard is None:
        return tries, ""
    return f"{blake2b(shard.run.encode(), digest_size=4).hexdigest()}{tries}", str(shard.number)


def _of(keys: set[bytes] | None, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the records of these keys; None: all."""
    if keys is None:
        yield from blocks
        return
    for block in blocks:
        if not keys.isdisjoint([key for key, _ in unpacked(block)]):
            some = [record for record in unpacked(block) if record[0] in keys]
            yield packed([key for key, _ in some], [content for _, content in some])
