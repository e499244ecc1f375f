"""The keys of entries, as the engine wants them: bytes and a kind, for "a" and b"a" are two keys."""

from __future__ import annotations

from shmstore import errors
from shmstore._base.calls import KeptBytes
from shmstore._base.foreign import is_foreign
from shmstore._base.imports import late

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
else:
    hashlib = late("hashlib")

__all__ = ["ALL_KEYS", "KEPT_KEYS", "EntryKey", "KeptKey", "kept_key", "no_key", "prefix_of", "raw_key"]

EntryKey = str | bytes
ALL_KEYS = 0xFFFFFFFF
BYTES_NAMES = 8
KEPT_KEYS = 64
KEY_MAX = 32768  # bytes


class KeptKey(KeptBytes):
    """The key of an entry that is the store's own: of a lock, a lease, a counter of tokens. C sees its type, so no key of a
    user is equal to it. Such entries are never evicted, and walks, clear() and len() pass over them."""

    __slots__ = ()

    def __repr__(self) -> str:
        what, _, name = self.decode("utf-8", "backslashreplace").partition(":")
        return f"{what} {name!r}"


def kept_key(what: str, name: EntryKey, store: str) -> KeptKey:
    """The key of what has this name: a str or bytes, as a key of an entry. *what*: of "lock" and "lock-b" only the first is
    for str, because "a" and b"a" are two names. *store*: its name, for errors.

    Raises: TypeError, InvalidKey.
    """
    raw, kind = raw_key(store, name)
    if len(raw) > KEY_MAX - 64:
        raw = b"sha256-" + hashlib.sha256(raw).digest()
    return KeptKey(b"%s%s:%s" % (what.encode(), b"-b" if kind else b"", raw))


def prefix_of(prefix: EntryKey) -> tuple[bytes, int]:
    """A prefix as the engine wants it: bytes, and which kind of keys it can begin."""
    if not isinstance(prefix, (str, bytes)):
        raise TypeError(f"a prefix is str or bytes, not {type(prefix).__name__}")
    if isinstance(prefix, bytes):
        return prefix, BYTES_NAMES
    return prefix.encode("utf-8", "surrogatepass"), 0 if prefix else ALL_KEYS  # no key has a lone surrogate


def raw_key(store: str, key: EntryKey) -> tuple[bytes, int]:
    """A key as the engine wants it. *store*: its name, for errors.

    Raises: TypeError, InvalidKey.
    """
    try:
        raw, kind = (key, BYTES_NAMES) if isinstance(key, bytes) else (str.encode(key), 0)
    except (TypeError, UnicodeEncodeError) as error:
        if is_foreign(error):
            raise
        raise no_key(store, key) from None
    if len(raw) > KEY_MAX:
        raise no_key(store, key)
    return raw, kind


def no_key(store: str, key: object, most: int = KEY_MAX) -> Exception:
    """Why nothing can be stored under *key*, and what to do. *most*: how many bytes it may have."""
    if not isinstance(key, (str, bytes)):
        return TypeError(f"{store}: a key is str or bytes, not {type(key).__name__} ({key!r:.60}); use str() of it")
    shown = f"{key!r}" if len(key) <= 60 else f"{key[:60]!r}..."
    try:
        length = len(key.encode() if isinstance(key, str) else key)
    except UnicodeEncodeError as error:
        if is_foreign(error):
            raise
        return errors.UnencodableKey(
            "utf-8", error.object, error.start, error.end,
            f"{store}: the key {shown} has a lone surrogate at {error.start}, and UTF-8 has none; keys may be bytes: use "
            'key.encode("utf-8", "surrogatepass"), or os.fsencode(key) for the name of a file',
        )  # fmt: skip
    return errors.InvalidKey(
        f"{store}: the key {shown} has {length} bytes, and a key at most {most}; use a hash of it: "
        f"hashlib.sha256(key{'.encode()' * isinstance(key, str)}).hexdigest()"
    )
