"""System V segments as the kernel lists them. /proc/sysvipc/shm shows all of them to every user, even those that the
user may not read."""

from __future__ import annotations

from shmstore import sysv
from shmstore._store.names import Key
from shmstore._system.causes import common
from shmstore.cli.support.failures import FAILED, Failure
from shmstore.cli.support.header import HEADER_SIZE, parse_header
from shmstore.sysv._proc import TABLE, Row, read_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Segment", "segment_by_id", "segment_by_key", "segments"]


class Segment:
    """One row of the kernel's table. The key is as ``ipcs`` prints it; 0 for private and destroyed ones.

    A store that was resized has two segments: one with its entries, which has no key, and the root, which has the key and leads to
    the other one. They are one Segment here: that of the entries, with the key of the root.
    """

    __slots__ = ("gid", "id", "key", "mode", "root", "row", "size", "uid")
    backend, kind = "sysv", "segment"

    def __init__(self, row: Row) -> None:
        self.row = row
        self.key = row.key & 0xFFFFFFFF
        self.id, self.size, self.mode, self.uid, self.gid = row.id, row.size, row.mode, row.uid, row.gid
        self.root: Segment | None = None

    @property
    def shown(self) -> str:
        """Its name in messages."""
        return f"segment {self.id}"

    @property
    def trusted_uid(self) -> int:
        """The user who has to be trusted: its creator, whom chown does not change."""
        return self.row.cuid

    @property
    def attached(self) -> int | None:
        """How often it is mapped."""
        return self.row.nattch

    @property
    def removed(self) -> bool:
        """Whether it is marked for removal, and ends with its last process."""
        return bool(self.mode & sysv.SHM_DEST)

    @property
    def locked(self) -> bool:
        """Locked into memory."""
        return bool(self.mode & sysv.SHM_LOCKED)

    def again(self) -> Segment | None:
        """The same segment as it is now."""
        return segment_by_id(self.id)

    def first_page(self) -> bytes:
        """Its first page, which has the header if it is a store. Raises: OSError."""
        with sysv.shmat(self.id, None, sysv.SHM_RDONLY) as memory:
            return bytes(memory[:HEADER_SIZE])

    def store_key(self) -> Key:
        """The key for opening it as a store: its System V key, or its id if it is private."""
        if self.key:
            return Key(self.key - 2**32 if self.key >= 2**31 else self.key, 2, b"", f"{self.key:#010x}")
        return Key(0, 4, b"", f"id {self.id}", id=self.id)

    def change(self, uid: int, gid: int, mode: int) -> None:
        """Raises: OSError."""
        wanted = object.__new__(sysv.ShmidDs)  # of an owner without the right to read IPC_STAT gets none
        wanted.uid, wanted.gid, wanted.mode = uid, gid, mode
        if self.root is not None:
            sysv.shmctl(self.root.id, sysv.IPC_SET, wanted)
        sysv.shmctl(self.id, sysv.IPC_SET, wanted)

    @property
    def removers(self) -> set[int]:
        """The users who may remove it, besides root."""
        return {self.uid, self.row.cuid}

    def remove(self) -> None:
        """Raises: OSError."""
        if self.root is not None:
            sysv.shmctl(self.root.id, sysv.IPC_RMID)
        sysv.shmctl(self.id, sysv.IPC_RMID)

    def identity(self) -> dict[str, Any]:
        """What identifies it in JSON."""
        return {"id": self.id}

    def as_dict(self) -> dict[str, Any]:
        """What ``ipcs -m -i`` says, for JSON."""
        row = self.row
        return {
            "backend": self.backend, "key": f"{self.key:#010x}", **self.identity(), "object": None, "size": self.size,
            "mode": f"{self.mode & 0o777:04o}", "uid": self.uid, "gid": self.gid, "creator_uid": row.cuid, "creator_gid": row.cgid,
            "creator_pid": row.cpid or None, "last_pid": row.lpid or None, "attached": row.nattch,
            "attach_time": row.atime, "detach_time": row.dtime, "change_time": row.ctime,
            "resident": row.rss, "swapped": row.swap, "destroyed": self.removed, "locked": self.locked,
            "root": None if self.root is None else self.root.id,
        }  # fmt: skip


def segments() -> list[Segment]:
    """All System V segments of this IPC namespace."""
    try:
        return _joined([Segment(row) for row in read_table()])
    except (OSError, ValueError) as error:
        cause = common("open", error.errno or 0) if isinstance(error, OSError) else None
        raise Failure(FAILED, f"{TABLE} cannot be read ({error}); {cause or 'is /proc mounted?'}") from None


def _joined(found: list[Segment]) -> list[Segment]:
    by_id = {segment.id: segment for segment in found}
    for segment in found:
        if segment.key == 0 and not segment.removed and (root := by_id.get(_root_of(segment))) is not None and root.key:
            segment.key, segment.root = root.key, root
            del by_id[root.id]
    return list(by_id.values())


def _root_of(segment: Segment) -> int:
    """The id of the root of a segment without a key; -1: it has none."""
    try:
        header = parse_header(segment.first_page())
    except OSError:
        return -1
    return -1 if header is None or header.superseded or header.destroyed else header.root


def segment_by_id(shmid: int) -> Segment | None:
    """The segment with this id, or with this root."""
    return next((one for one in segments() if one.id == shmid or (one.root is not None and one.root.id == shmid)), None)


def segment_by_key(key: int) -> Segment | None:
    """The segment with this key_t, 0 < key < 2**32."""
    return next((segment for segment in segments() if segment.key == key != 0), None)
