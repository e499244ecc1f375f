"""The keys of entries, as the engine wants them: bytes and a kind, for "a" and b"a" are two keys."""

from __future__ import annotations

from shmstore import errors
from shmstore._base.foreign import is_foreign

__all__ = ["ALL_KEYS", "EntryKey", "no_key", "prefix_of", "raw_key"]

EntryKey = str | bytes
ALL_KEYS = 0xFFFFFFFF
BYTES_NAMES = 8
KEY_MAX = 32768  # bytes


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


def no_key(store: str, key: object) -> Exception:
    """Why nothing can be stored under *key*, and what to do."""
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
        f"{store}: the key {shown} has {length} bytes, and a key at most {KEY_MAX}; use a hash of it: "
        f"hashlib.sha256(key{'.encode()' * isinstance(key, str)}).hexdigest()"
    )
