"""Calls on several keys: what they take, and what an error says of how far they came."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import shmstore
from shmstore import errors

sys.path.insert(0, str(Path(__file__).parent))
from segment_words import Memory

SINGLE = ["user:1", b"user:1", bytearray(b"ab"), memoryview(b"ab"), "", b""]
READ = ["get_many", "delete_many"]
WRITE = ["put_many", "add_many", "update"]


@pytest.mark.parametrize("keys", SINGLE, ids=lambda keys: f"{type(keys).__name__} of {len(keys)}")
@pytest.mark.parametrize("method", [*READ, *WRITE])
def test_a_single_key_is_a_type_error(store: shmstore.Store[Any], method: str, keys: Any) -> None:
    letters = dict.fromkeys("user:1", 1)
    store.update(letters)
    with pytest.raises(TypeError, match=f"{method}\\(\\) takes .* single {type(keys).__name__}; write {method}"):
        getattr(store, method)(keys)
    assert dict(store) == letters


@pytest.mark.parametrize(
    "items", [["ab", "cd"], [b"ab"], (("a", 1), "cd"), {"ab"}], ids=["strs", "bytes", "one of two", "set"]
)
@pytest.mark.parametrize("method", WRITE)
def test_a_str_is_no_pair(store: shmstore.Store[Any], method: str, items: Any) -> None:
    with pytest.raises(TypeError, match="pairs of a key and a value"):
        getattr(store, method)(items)
    assert not store


def test_operators(store: shmstore.Store[Any]) -> None:
    with pytest.raises(TypeError):
        store |= "ab"


def test_whatever_can_be_iterated_once(store: shmstore.Store[Any]) -> None:
    store.put_many({"a": 1, "b": 2, b"c": 3})
    for keys in (["a", b"c"], ("a", b"c"), {"a": 0, b"c": 0}, iter(["a", b"c"]), (key for key in ("a", b"c"))):
        assert store.get_many(keys) == {"a": 1, b"c": 3}
    assert store.get_many(store) == {"a": 1, "b": 2, b"c": 3}
    assert store.put_many(iter([("a", 4), ["b", 5]])) == 2
    assert store.delete_many(key for key in ("a", "b", "x")) == 2
    assert store.put_many(store) == 1


def small(make: Any) -> Any:
    store = make(size="64K", codec="raw")
    store["there"] = b"x"
    return store


@pytest.mark.parametrize("method", WRITE)
def test_how_many_were_stored(make: Any, method: str) -> None:
    store = small(make)
    items = {f"k{n}": b"v" * 4000 for n in range(30)}
    with pytest.raises(shmstore.StoreFull) as caught:
        getattr(store, method)(items)
    error, keys = caught.value, list(items)
    assert error.stored == len(store) - 1 > 0
    assert list(error.failed) == keys[error.stored :]
    assert f"{error.stored} of 30 items were stored before; this one and the later ones were not" in str(error)
    assert "nothing was changed" not in str(error) and repr(keys[error.stored]) in str(error)
    assert [key for key in keys if key not in store] == list(error.failed)


def test_a_value_that_never_fits(make: Any) -> None:
    store = small(make)
    with pytest.raises(shmstore.ValueTooLarge) as caught:
        store.put_many({"a": b"1", "b": b"2" * 100_000, "c": b"3"})
    assert caught.value.stored == 1 and caught.value.failed == ("b", "c")


def test_nothing_is_stored_if_one_cannot_be_encoded(store: shmstore.Store[Any]) -> None:
    with pytest.raises(shmstore.CodecError) as caught:
        store.put_many({"a": 1, "b": object()})
    assert caught.value.stored is None and caught.value.failed == () and not store


class Reversing:
    name = "reversing"

    def encode(self, value: Any) -> bytes:
        return bytes(reversed(value))

    def decode(self, data: bytes) -> Any:
        return bytes(reversed(data))


def test_a_codec_of_the_users_own(make: Any) -> None:
    store = make(size="64K", codec=Reversing())
    with pytest.raises(shmstore.StoreFull) as caught:
        store.put_many({f"k{n}": b"v" * 4000 for n in range(30)})
    assert caught.value.stored == len(store) and len(caught.value.failed) == 30 - len(store)
    assert "nothing was changed" not in str(caught.value)


@pytest.mark.parametrize("method", ["put_many", "delete_many"])
def test_behind_a_stopped_process(make: Any, method: str) -> None:
    """A child is stopped with the lock of one key's bucket; the items before it are done."""
    store = make(size="1M", timeout=0.2)
    memory = Memory(store)
    keys = list({memory.home(key): key for key in (f"k{n}" for n in range(1000))}.values())[:20]  # no two in one bucket
    store.put_many(dict.fromkeys(keys, 0))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        store.get(keys[0])  # becomes a client of its own
        number = next(client.number for client in store.clients() if client.is_me)
        lock = memory.home(keys[10])
        memory.set(lock, memory.word(lock) | number)
        os.write(write, b"x")
        signal.pause()
        os._exit(0)
    try:
        assert os.read(read, 1) == b"x"
        with pytest.raises(shmstore.LockTimeout) as caught:
            store.put_many(dict.fromkeys(keys, 1)) if method == "put_many" else store.delete_many(keys)
        error = caught.value
        assert error.stored == 10 and list(error.failed) == keys[10:]
        did = "stored" if method == "put_many" else "removed"
        assert f"{error.stored} of 20 items were {did} before" in str(error) and "nothing was changed" not in str(error)
        assert "after 0.2 s" in str(error)
        for key in keys[: error.stored]:
            assert store.get(key) == (1 if method == "put_many" else None)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in errors.__all__], ids=errors.__all__)
def test_exceptions_survive_pickle_and_copy(kind: Any) -> None:
    arguments: tuple[Any, ...] = ("text",)
    if issubclass(kind, UnicodeEncodeError):
        arguments = ("utf-8", "a key", 0, 1, "text")
    elif issubclass(kind, OSError) and kind is not shmstore.LockTimeout:
        arguments = (2, "text")
    error = kind(*arguments)
    error.stored, error.failed = 3, ("a", b"b")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind and again.args == error.args and str(again) == str(error)
        assert again.stored == 3 and again.failed == ("a", b"b")
