"""Shared memory of this machine as the kernel lists it: /proc/sysvipc/shm and /dev/shm, and what each piece is.

/proc/sysvipc/shm shows every segment to everybody, also to those who may not read it.
"""

from __future__ import annotations

import os
import stat

from shmstore import errors, sysv
from shmstore.cli._failures import FAILED, Failure
from shmstore.cli._header import HEADER_SIZE, Header, parse_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shmstore import Stats, Store

__all__ = ["Found", "Posix", "Segment", "look", "posix_objects", "segment_by_id", "segment_by_key", "segments"]

TABLE = "/proc/sysvipc/shm"
POSIX = b"/dev/shm"


class Segment:
    """One line of the kernel's table. The key is as ``ipcs`` prints it; 0 for private and destroyed ones."""

    __slots__ = (
        "atime", "cgid", "cpid", "ctime", "cuid", "dtime", "gid", "id", "key", "lpid", "mode", "nattch", "rss",
        "size", "swap", "uid",
    )  # fmt: skip

    def __init__(self, line: str) -> None:
        words = line.split()
        key, self.id = int(words[0]), int(words[1])
        self.key = key & 0xFFFFFFFF
        self.mode = int(words[2], 8)
        self.size, self.cpid, self.lpid, self.nattch = map(int, words[3:7])
        self.uid, self.gid, self.cuid, self.cgid = map(int, words[7:11])
        self.atime, self.dtime, self.ctime = map(int, words[11:14])
        self.rss, self.swap = map(int, words[14:16])

    @property
    def destroyed(self) -> bool:
        """Marked for removal: it goes with its last process."""
        return bool(self.mode & sysv.SHM_DEST)

    @property
    def locked(self) -> bool:
        """Locked into memory."""
        return bool(self.mode & sysv.SHM_LOCKED)

    def as_dict(self) -> dict[str, Any]:
        """What ``ipcs -m -i`` says, for JSON."""
        return {
            "key": f"{self.key:#010x}", "id": self.id, "size": self.size, "mode": f"{self.mode & 0o777:04o}",
            "uid": self.uid, "gid": self.gid, "creator_uid": self.cuid, "creator_gid": self.cgid,
            "creator_pid": self.cpid, "last_pid": self.lpid, "attached": self.nattch,
            "attach_time": self.atime, "detach_time": self.dtime, "change_time": self.ctime,
            "resident": self.rss, "swapped": self.swap, "destroyed": self.destroyed, "locked": self.locked,
        }  # fmt: skip


def segments() -> list[Segment]:
    """All System V segments of this IPC namespace."""
    try:
        with open(TABLE) as table:
            return [Segment(line) for line in list(table)[1:]]
    except (OSError, ValueError, IndexError) as error:
        raise Failure(FAILED, f"{TABLE} cannot be read ({error}); is /proc mounted?") from None


def segment_by_id(shmid: int) -> Segment | None:
    """The segment with this id."""
    return next((segment for segment in segments() if segment.id == shmid), None)


def segment_by_key(key: int) -> Segment | None:
    """The segment with this key_t, 0 < key < 2**32."""
    return next((segment for segment in segments() if segment.key == key != 0), None)


class Found:
    """A segment, and what a look at its memory says it is.

    ``kind``: "store", "segment" (something else's) or "unreadable". ``states`` are words for what is remarkable.
    ``stats`` are those of a store that can be opened, ``clients`` how many of its writers live.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.header: Header | None = None
        self.kind = "segment"
        self.stats: Stats | None = None
        self.clients: int | None = None
        self.trouble = ""
        try:
            with sysv.shmat(segment.id, None, sysv.SHM_RDONLY) as memory:
                self.header = parse_header(bytes(memory[:HEADER_SIZE]))
        except OSError:
            self.kind = "unreadable"
        if self.header is not None:
            self.kind = "store"
            if segment.key and not self.destroyed:
                self._ask_store()

    def _ask_store(self) -> None:
        from shmstore import Store

        assert self.header is not None
        if not self.header.complete:
            self.trouble = "unfinished"
            return
        try:
            store: Store[Any] = Store(self.segment.key, create=False, readonly=True, owner="any", timeout=0)
            with store:
                if store.info().id == self.segment.id:
                    self.stats = store.stats()
                    self.clients = sum(client.alive is not False for client in store.clients())
        except errors.FormatMismatch:
            self.trouble = f"format {self.header.format}"
        except (errors.StoreCorrupt, errors.NotAStore):
            self.trouble = "corrupt"
        except (errors.ShmStoreError, OSError, ValueError):
            pass  # gone meanwhile

    @property
    def destroyed(self) -> bool:
        """Whether the segment was removed and lives on only in those who are attached."""
        return self.segment.destroyed or (self.header is not None and self.header.destroyed)

    @property
    def foreign(self) -> bool:
        """Whether somebody else than this user and root made it: ``Store`` wants ``owner=`` for it."""
        return self.segment.cuid not in (0, os.geteuid())

    @property
    def states(self) -> list[str]:
        """What is remarkable about it, in words."""
        words = [self.trouble] if self.trouble else []
        if self.destroyed:
            words.append("destroyed")
        if self.kind == "unreadable":
            words.append("unreadable")
        if self.foreign:
            words.append("foreign")
        if self.segment.locked:
            words.append("locked")
        return words

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        row = {"kind": self.kind, "name": None, "states": self.states, **self.segment.as_dict()}
        if self.header is not None:
            row["name"] = self.header.name
            row["name_kind"] = self.header.kind
            for field in ("bytes_used", "bytes_free", "entries"):
                row[field] = None if self.stats is None else getattr(self.stats, field)
            row["clients"] = self.clients
        return row


def look(segment: Segment) -> Found:
    """Look into a segment, read-only."""
    return Found(segment)


class Posix:
    """An object of POSIX shared memory, or what else lies in its file system."""

    def __init__(self, entry: os.DirEntry[bytes]) -> None:
        status = entry.stat(follow_symlinks=False)
        self.name = entry.name
        self.size, self.allocated = status.st_size, status.st_blocks * 512
        self.mode, self.uid, self.gid, self.mtime = status.st_mode, status.st_uid, status.st_gid, status.st_mtime
        self.kind = self._kind(entry.path)

    def _kind(self, path: bytes) -> str:
        if not stat.S_ISREG(self.mode):
            return "directory" if stat.S_ISDIR(self.mode) else "special"
        if self.name.startswith(b"sem."):
            return "semaphore"
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return "unreadable"
        try:
            return "store" if parse_header(os.pread(file, HEADER_SIZE, 0)) else "object"
        except OSError:
            return "unreadable"
        finally:
            os.close(file)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "kind": self.kind, "name": self.name.decode(errors="backslashreplace"), "size": self.size,
            "allocated": self.allocated, "mode": f"{self.mode & 0o777:04o}", "uid": self.uid, "gid": self.gid,
            "change_time": self.mtime,
        }  # fmt: skip


def posix_objects() -> list[Posix]:
    """What is in /dev/shm, by name; nothing where there is none."""
    found = []
    try:
        with os.scandir(POSIX) as entries:
            for entry in entries:
                try:
                    found.append(Posix(entry))
                except OSError:
                    continue  # gone since
    except OSError:
        return []
    return sorted(found, key=lambda posix: posix.name)
