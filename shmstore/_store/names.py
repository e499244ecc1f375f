"""The names of stores as users give them: a name, a System V key, a path, or PRIVATE; and sizes as users write them."""

from __future__ import annotations

import errno
import os
from pwd import getpwnam

from shmstore import errors
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late
from shmstore._base.record import Record
from shmstore._base.sentinels import PRIVATE, Private
from shmstore._core import lib
from shmstore._system.files import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shmstore._system import causes
else:
    causes = late("shmstore._system.causes")

__all__ = ["BACKENDS", "OBJECTS", "Key", "parse_backend", "parse_huge_page", "parse_key", "parse_owner", "parse_size"]

NAME_MAX = 255
PROJECT = 0x53  # ftok's second argument
BACKENDS = ("sysv", "posix")  # by their number in csrc/api.cdef.h
OBJECTS = "/dev/shm"
_PREFIX = b"shmstore-"
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_FILE_NAME_MAX = 255
_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Key(Record):
    """A parsed name of a store: the key by which the kernel knows it, and the kind and name in its header.

    The kernel knows a System V store by ``number`` (key_t), a private one by ``id``, once it is made; a POSIX store by
    ``object``: the file's name in /dev/shm, or the path to a private one, once it is made.
    """

    __slots__ = ("backend", "id", "kind", "name", "number", "object", "shown")
    number: int
    kind: int
    name: bytes
    shown: str
    backend: str
    object: bytes | None
    id: int

    def __init__(
        self, number: int, kind: int, name: bytes, shown: str, *, backend: str = "sysv", object: bytes | None = None,
        id: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(
            number=number, kind=kind, name=name, shown=shown, backend=backend, object=object, id=id,
        )  # fmt: skip

    @property
    def place(self) -> str:
        """Where the kernel has it, for messages."""
        if self.object is None:
            return "no name" if self.kind == 4 else f"key {self.number & 0xFFFFFFFF:#010x}"
        path = self.object if self.object.startswith(b"/") else OBJECTS.encode() + b"/" + self.object
        return path.decode(errors="backslashreplace")


def parse_backend(backend: str) -> str:
    """Raises: TypeError, ValueError."""
    if not isinstance(backend, str):
        raise TypeError(f'backend is "sysv" or "posix", not {type(backend).__name__}')
    if backend not in BACKENDS:
        raise ValueError(f'backend is "sysv" or "posix", not {backend!r}')
    return backend


def _object_of(key: Key) -> bytes:
    """The file in /dev/shm: escaped so that any name can be one, and two names are two files. A name too long for
    that keeps its beginning and ends in a hash; the header has it whole, and it is compared (docs/format.md)."""
    if key.kind == 2:
        return b"%s#%08x" % (_PREFIX, key.number & 0xFFFFFFFF)
    escaped = b"".join([bytes([c]) if c in _PLAIN else b"%%%02X" % c for c in key.name])
    head = _PREFIX + (b"=" if key.kind == 3 else b"")
    if len(head) + len(escaped) <= _FILE_NAME_MAX:
        return head + escaped
    escaped = escaped[: _FILE_NAME_MAX - len(head) - 17]
    cut = escaped.rfind(b"%", len(escaped) - 2)  # not within an escape
    hashed = lib.shms_hash(key.name, len(key.name), 0x65726F74736D6873, 0x202020745F79656B)
    return head + (escaped if cut < 0 else escaped[:cut]) + b"~%016x" % hashed


def parse_key(key: str | int | os.PathLike[str] | Private, backend: str = "sysv") -> Key:
    """Parse the name of a store, as a user gave it.

    Raises: TypeError, ValueError; OSError (FileNotFoundError) for a path that cannot be read.
    """
    if key is PRIVATE:
        return Key(0, 4, b"", "PRIVATE", backend=backend)
    parsed = _parse_named(key)
    return parsed.replaced(backend=backend, object=_object_of(parsed)) if backend == "posix" else parsed


def _parse_named(key: object) -> Key:
    if isinstance(key, bool):
        raise TypeError("a store's name is a str, an int or a pathlib.Path, not bool")
    if isinstance(key, str):
        try:
            name = key.encode()
        except UnicodeEncodeError as error:
            if is_foreign(error):
                raise
            raise ValueError(f"the store name {key!r} holds a lone surrogate; use valid Unicode") from None
        if not 1 <= len(name) <= NAME_MAX:
            raise ValueError(f"a store name has 1 to {NAME_MAX} bytes of UTF-8, this one has {len(name)}")
        if b"\0" in name:
            raise ValueError(f"a store name has no NUL: {key!r}")
        return Key(lib.shms_key_of_name(name, len(name)), 1, name, repr(key))
    if isinstance(key, int):
        if key == 0:
            raise ValueError("0 is IPC_PRIVATE, which names no segment; use another name, or shmstore.PRIVATE")
        if not -(2**31) <= key < 2**32:
            raise ValueError(f"a System V key has 32 bits, {key} has more")
        return Key(key - 2**32 if key >= 2**31 else key, 2, b"", hex(key & 0xFFFFFFFF))
    if isinstance(key, os.PathLike):
        path = os.path.realpath(os.fspath(key))
        number = lib.shms_sysv_ftok(os.fsencode(path), PROJECT)
        if number < 0:
            raise OSError(-number, f"{_why(-number, path)}; a path names a store only while it exists", path)
        number = number - 2**32 if number >= 2**31 else number
        if number in (0, -1):
            raise OSError(errno.EINVAL, "ftok gives a key that names no segment; use another path", path)
        return Key(number, 3, os.fsencode(path), f"Path({path!r})")
    raise TypeError(f"a store's name is a str, an int, a pathlib.Path or PRIVATE, not {type(key).__name__}")


def _why(code: int, path: str) -> str:
    try:
        return causes.no_path(code, path)
    except (ImportError, OSError) as error:  # it cannot be imported any more
        if is_foreign(error):
            raise
        return os.strerror(code)


def parse_size(size: int | str) -> int:
    """Bytes, from an int or a str such as "64M" (units of 1024: K, M, G, T)."""
    if isinstance(size, bool) or not isinstance(size, (int, str)):
        raise TypeError(f'size is a number of bytes or a str such as "64M", not {type(size).__name__}')
    if isinstance(size, str):
        text = size.strip().upper().removesuffix("IB").removesuffix("B")
        digits = text.rstrip("KMGT")
        try:
            bytes_ = int(float(digits) * _UNITS[text[len(digits) :]])
        except (ValueError, KeyError, OverflowError) as error:
            if is_foreign(error):
                raise
            raise ValueError(f'size is a number of bytes or a str such as "64M", not {size!r}') from None
    else:
        bytes_ = size
    if bytes_ <= 0:
        raise ValueError(f"size must be positive, not {size!r}")
    if bytes_ > 1 << 44:
        raise ValueError(f"size is at most 16T, not {size!r}")
    return bytes_


def parse_owner(owner: object) -> int | str | None:
    """A uid, "any" or None, from those or the name of a user.

    Raises: TypeError; ValueError for a name that no user has.
    """
    if owner is None or owner == "any":
        return owner
    if isinstance(owner, bool) or not isinstance(owner, (int, str)):
        raise TypeError(f'owner is a uid, the name of a user, "any" or None, not {type(owner).__name__}')
    if isinstance(owner, int):
        if not 0 <= owner < 2**32 - 1:
            raise ValueError(f"owner: {owner} is no uid")
        return owner
    try:
        return getpwnam(owner).pw_uid
    except (KeyError, ValueError) as error:  # ValueError: a NUL, or a lone surrogate
        if is_foreign(error):
            raise
        if owner.isascii() and owner.isdigit():
            return parse_owner(int(owner))
        raise ValueError(f'owner: there is no user {owner!r} on this machine; pass a uid or "any"') from None


def parse_huge_page(hugepages: bool | int | str) -> int:
    """Bytes of a huge page, 0 for ordinary ones; True: the kernel's default.

    Raises: TypeError, ValueError; StoreSystemError where the kernel has none.
    """
    if hugepages is False or hugepages is None:
        return 0
    if hugepages is not True:
        size = parse_size(hugepages)
        if size & (size - 1) or size < 1 << 16:
            raise ValueError(f'hugepages is True or the size of a page such as "2M", not {hugepages!r}')
        return size
    try:
        for line in read("/proc/meminfo").splitlines():
            if line.startswith(b"Hugepagesize:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError) as error:
        if is_foreign(error):
            raise
        code = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
        raise errors.StoreSystemError(
            code,
            f'hugepages=True: /proc/meminfo, which has the size of a page, cannot be read ({error}); say it: hugepages="2M"',
        ) from None
    raise errors.StoreSystemError(errno.ENOSYS, "hugepages: this kernel has no huge pages; leave hugepages=True out")
