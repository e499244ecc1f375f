"""What the administrator asks a store: figures, who is attached, whether all is well."""

from __future__ import annotations

from shmstore import errors
from shmstore._base.durations import timeout_ns
from shmstore._core import ffi, lib
from shmstore._store.attachment import Attachment
from shmstore._store.names import BACKENDS
from shmstore._store.records import ClientInfo, Stats, StoreInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["SLICE", "Health"]

SLICE = 100_000_000  # ns: how long a call that waits stays away from Python, and Ctrl-C with it


class Health(Attachment):
    """An attachment that tells how the store is."""

    __slots__ = ()

    def stats(self) -> Stats:
        """Figures of the store, at no particular moment. Cost: independent of the number of entries."""
        raw = ffi.new("struct shms_stats *")
        status = lib.shms_get_stats(self._handle, raw)
        if status:
            raise self._fail(status)
        return Stats(**{field: getattr(raw, field) for field in Stats.__slots__})

    def info(self) -> StoreInfo:
        """What the kernel and the header say of the store."""
        self._look()
        return _info_of(self._info())

    def clients(self) -> list[ClientInfo]:
        """The processes that are attached for writing. Cost: some 50 us each."""
        room = 64
        while True:
            raw = ffi.new("struct shms_client_info[]", room)
            count = lib.shms_get_clients(self._handle, raw, room)
            if count < 0:
                raise self._fail(count)
            if count <= room:
                break
            room = count
        return [
            ClientInfo(
                number=c.number,
                pid=c.pid,
                program=ffi.string(c.program).decode(errors="replace") or None,
                alive={0: False, 1: True, 2: None}[c.alive],
                attached_at=c.attached / 1e9,
                is_me=bool(c.self),
            )
            for c in raw[0:count]
        ]

    def check(self, *, repair: bool = False) -> int:
        """Verify every invariant that the format states (``docs/format.md``), while others go on working.

        repair: make them hold first. Everything that can be derived is derived anew; an entry that contradicts itself
            is given up. Returns how many those are: 0 without repair. No death makes this necessary; scribbled bytes
            do.

        Cost: a walk through everything, with repair three; writers of one part of the heap wait meanwhile.

        Raises: StoreCorrupt naming the invariant; StoreDestroyed; LockTimeout; ReadOnlyStore, with repair.
        """
        lost, given_up = ffi.new("uint64_t *"), 0
        if repair:
            status, given_up = self._in_slices(lib.shms_w_repair, lost, lost=lost)
            if status:
                raise self._fail(status)
        what = ffi.new("char[200]")
        status, _ = self._in_slices(lib.shms_w_check, what, 200)
        if status == lib.SHMS_CORRUPT:
            raise errors.StoreCorrupt(
                f"store {self._key.shown}: {ffi.string(what).decode()}; check(repair=True) keeps what can be kept"
            )
        if status:
            raise self._fail(status)
        return given_up

    def _in_slices(self, call: Callable[..., int], *args: object, lost: Any = (0,)) -> tuple[int, int]:
        """Make a call that waits for a lock, again until it is had or the time is up. Signals are handled in between.

        Returns its last status, and the sum of what each call left in *lost*.
        """
        given_up = 0
        left = timeout_ns(self._timeout, "timeout")
        end, status = lib.shms_now() + left, lib.SHMS_TIMEOUT
        while status == lib.SHMS_TIMEOUT and left >= 0:
            status = self._away(call, min(SLICE, left), *args)
            left = end - lib.shms_now()
            given_up += int(lost[0])
        return status, given_up

    def recover(self) -> int:
        """Look for dead processes now and free what they held; return how many there were."""
        count = self._away(lib.shms_w_recover)
        if count < 0:
            raise self._fail(count)
        return count


def _info_of(raw: Any) -> StoreInfo:
    name = bytes(ffi.buffer(raw.name, raw.name_length)).decode(errors="surrogateescape")
    kernel = {
        field: getattr(raw, field) if raw.kernel_known else None for field in ("mode", "uid", "gid", "creator_uid")
    }
    return StoreInfo(
        key=raw.key, id=raw.id, name=name if raw.name_kind in (1, 3) else None, size=raw.size, **kernel,
        creator=raw.creator_pid, created=raw.created / 1e9, last_writer=raw.last_writer / 1e9,
        attached=None if raw.attached < 0 else raw.attached, format_version=raw.format, max_entries=raw.max_entries or None,
        max_clients=raw.clients, uuid=bytes(ffi.buffer(raw.uuid, 16)).hex(), readonly=bool(raw.readonly),
        backend=BACKENDS[raw.backend],
    )  # fmt: skip
