"""``SharedMemory``: the interface of ``multiprocessing.shared_memory``, on a System V segment."""

from __future__ import annotations

import errno
import os
import time
from operator import index

from shmstore._base.foreign import is_foreign
from shmstore._base.imports import current
from shmstore._system.limits import PAGE
from shmstore.errors import KeyCollision
from shmstore.shared_memory import _header as header
from shmstore.sysv import IPC_RMID, IPC_STAT, SHM_DEST, Attachment, shmat, shmctl, shmdt, shmget
from shmstore.sysv import _create as _create_segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

__all__ = ["SharedMemory"]

PATIENCE = 1.0  # seconds for another process to finish the header that it began
_GONE = (errno.EINVAL, errno.EIDRM)


def _make_filename() -> str:
    """A random name, which is most probably unused."""
    return f"psm_{os.urandom(8).hex()}"


class SharedMemory:
    """A block of shared memory, created or attached by its name, as in the standard library.

    name, size     the name (``name=None``: a new one is made), and the requested number of bytes
    buf            a writable memoryview of the bytes, which begin at a page; None after ``close``
    close, unlink  detach this handle; remove the block for all processes

    To move code to this class, change the import. These differences are intended:

    - The exit of a process never removes a block: there is no resource tracker, and ``track`` has no effect. A block
      without ``unlink`` stays until the next reboot. ``ipcs -m`` shows it, and ``ipcrm`` removes it.
    - A block is a System V segment. So the size of /dev/shm (64 MB in Docker) does not limit it. If memory is missing,
      creating it raises OSError, and later writes never end by SIGBUS.
    - A handle that cannot attach removes nothing. ``unlink`` removes the block of this handle, never a later one with the
      same name.
    - A handle without references detaches when no view of ``buf`` is left, without a warning about such views.
    - The handle is a context manager. It closes at the end.

    Threads may share a handle. A forked child has the parent's handles, and closes them for itself. A pickled handle
    attaches by name where it is unpickled.

    Cost: about 50 us, and the first page of the segment for the name.

    Raises: FileExistsError, FileNotFoundError; PermissionError for a block of another user; KeyCollision if another segment
        has the same key (a 32-bit hash of the name); OSError if a limit of the kernel is reached; ValueError.
    """

    _mode = 0o600

    def __init__(self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True) -> None:
        self._begin(name, create, size)
        owner = self._attachment._owner
        try:
            owner.keep(True)  # the last step: a caller that never gets this handle could not unlink the new block
        except BaseException:
            owner.keep(not create)
            raise

    def _begin(self, name: str | None, create: bool, size: int) -> None:
        """Attach. A new block is removed with this handle, unless its owner is told to keep it."""
        if not size >= 0:
            raise ValueError("'size' must be a positive integer")
        if create and size == 0:
            raise ValueError("'size' must be a positive number different from zero")
        if name is None and not create:
            raise ValueError("'name' can only be None if create=True")
        if not create:
            attachment, found = _attach(name)
        elif name is not None:
            attachment, found = _create(name, index(size), self._mode)
        else:
            while True:
                name = _make_filename()
                try:
                    attachment, found = _create(name, index(size), self._mode)
                    break
                except (FileExistsError, KeyCollision) as error:
                    if is_foreign(error):
                        raise
                    continue
        self._name = name
        self._size = found.size
        self._offset = found.offset
        self._attachment = attachment
        self._buf: Any = None

    @property
    def buf(self) -> memoryview:
        """The bytes as a writable memoryview; None after ``close``."""
        if self._buf is None and not self._attachment._owner.ended:
            self._buf = self._attachment.memory[self._offset : self._offset + self._size]
        view: memoryview = self._buf
        return view

    @property
    def name(self) -> str:
        """The name by which other processes attach to this block."""
        return str(self._name)

    @property
    def size(self) -> int:
        """The number of bytes that the creator requested."""
        return self._size

    def close(self) -> None:
        """Detach this handle. The block continues to exist. Closing again does nothing.

        Raises: BufferError while a slice or another buffer of ``buf`` is in use. Then nothing changes, except that you have
            to take ``buf`` from the handle again.
        """
        if self._attachment._owner.ended:
            return
        buf, self._buf = self._buf, None  # if this fails, the property makes it again
        if buf is not None:
            buf.release()  # BufferError if its buffer is in use
        try:
            shmdt(self._attachment)
        except BufferError as error:
            if is_foreign(error):
                raise
            raise BufferError(f"{self!r} stays open: a slice of its buf is still in use") from None

    def unlink(self) -> None:
        """Remove the block. Its name is free at once; its memory is freed when the last process detaches.

        Call this once, from one process, before or after ``close``.

        Raises: FileNotFoundError if it was removed before; PermissionError if this user neither owns nor created it.
        """
        shmid = self._attachment.shmid
        try:
            stat = shmctl(shmid, IPC_STAT)
            if not stat.mode & SHM_DEST and stat.key == header.key_of(_raw(self.name)):
                shmctl(shmid, IPC_RMID)
                return
        except OSError as error:
            if is_foreign(error) or error.errno not in _GONE:
                raise
        raise FileNotFoundError(errno.ENOENT, "this shared memory was removed before", self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return (current(self.__class__), (self.name, False, self.size))

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.name!r}, size={self.size})"

    def __enter__(self) -> SharedMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except BufferError as in_use:
            if error is None or is_foreign(in_use):
                raise  # else the traceback itself holds the slice, and the mapping goes with it


def _raw(name: Any) -> bytes:
    """A name as the header keeps it; the C library ignores slashes in front, and so do we."""
    if not isinstance(name, str):
        raise TypeError(f"a name is a str, not {type(name).__name__}")
    raw = name.encode("utf-8", "surrogateescape").lstrip(b"/")
    if b"\0" in raw:
        raise ValueError(f"a name holds no NUL: {name!r}")
    if not raw:
        raise OSError(errno.EINVAL, "a name has at least one character that is no slash", name)
    if len(raw) > PAGE - header.FIXED:
        raise OSError(errno.ENAMETOOLONG, f"a name has at most {PAGE - header.FIXED} bytes, this one has {len(raw)}")
    return raw


def _create(name: str, size: int, mode: int) -> tuple[Attachment, header.Header]:
    raw = _raw(name)
    key = header.key_of(raw)
    while True:
        try:
            attachment = Attachment(_create_segment(key, header.total(size), mode))
            break
        except FileExistsError as error:
            if is_foreign(error):
                raise
            _refuse(name)
    return attachment, header.write(attachment.memory, raw, size)


def _refuse(name: str) -> None:
    """Raise an error that names the owner of the key; return if the key is free by now."""
    try:
        attachment, _ = _attach(name)
    except FileNotFoundError as error:
        if is_foreign(error):
            raise
        return
    except PermissionError as error:  # another user's: which name it has cannot be seen
        if is_foreign(error):
            raise
        told = f"the key of this name is taken; {error.strerror}"
    else:
        told = f"shared memory of this name exists, as segment {attachment.shmid}"
        shmdt(attachment)
    raise FileExistsError(errno.EEXIST, told, name) from None


def _attach(name: Any) -> tuple[Attachment, header.Header]:
    raw = _raw(name)
    key = header.key_of(raw)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            attachment = shmat(shmget(key, 0))
        except FileNotFoundError as error:
            if is_foreign(error):
                raise
            told = f"no shared memory of this name (key {key & 0xFFFFFFFF:#010x}) in this IPC namespace"
            raise FileNotFoundError(errno.ENOENT, told, name) from None
        except OSError as error:
            if is_foreign(error) or error.errno not in _GONE or time.monotonic() > deadline:
                raise
            continue  # removed in between
        try:
            found = header.read(attachment.memory)
        except header.Foreign:
            raise _collision(name, key, attachment, "nothing that SharedMemory of this version made") from None
        if found is not None:
            break
        if time.monotonic() > deadline:
            raise _collision(name, key, attachment, "one whose creator did not finish, or another program's")
        shmdt(attachment)
        time.sleep(0.001)
    if found.name != raw:
        other = found.name.decode("utf-8", "backslashreplace")
        raise _collision(name, key, attachment, f"the shared memory {other!r}")
    return attachment, found


def _collision(name: str, key: int, attachment: Attachment, what: str) -> KeyCollision:
    shmid = attachment.shmid
    shmdt(attachment)
    return KeyCollision(
        f"SharedMemory {name!r}: its key {key & 0xFFFFFFFF:#010x} is taken by segment {shmid}, {what}; "
        f"use another name, or remove that segment if it is not needed: ipcrm -m {shmid}"
    )
