"""Keys that no entry can have: to what reads or removes they are absent, as in a dict; what stores refuses them."""

import copy
import hashlib
import os
import pickle

import pytest

import shmstore
from shmstore import InvalidKey, UnencodableKey


class Loud:
    """Can be hashed, and says when."""

    hashed = 0

    def __hash__(self):
        type(self).hashed += 1
        return hash("a")

    def __eq__(self, other):
        return other == "a"


LONG, LONE = "k" * 32769, "file-\udcff"
WRONG_TYPE = [1, True, None, 1.5, ("a", 1), (), frozenset("a"), Ellipsis, str, object(), Loud()]
INVALID = [LONG, LONG.encode(), "ä" * 16385, "\ud800", LONE, "a\udfffb"]
IMPOSSIBLE = WRONG_TYPE + INVALID
UNHASHABLE = [[], {}, {"a"}, bytearray(b"a"), ([],)]


def name_of(key):
    return f"{type(key).__name__}-{key!r:.12}".encode("ascii", "backslashreplace").decode()


@pytest.fixture
def full(store):
    store.update({"a": 1, "bytes": b"b", b"a": 2})
    return store


@pytest.mark.parametrize("bad", IMPOSSIBLE, ids=name_of)
def test_reading_and_removing_find_nothing(full, bad):
    default = object()
    assert bad not in full
    assert bad not in full.keys() and bad not in full.keys("a") and bad not in full.keys(b"a")
    assert (bad, 1) not in full.items() and (bad, 1) not in full.items(on_error="skip")
    assert full.get(bad) is None and full.get(bad, default) is default
    assert full.pop(bad, default) is default
    assert full.get_many([bad, "a", bad]) == {"a": 1} == full.get_many([bad, "a"], on_error="skip")
    assert full.delete(bad) is False and full.delete_many([bad, "absent", bad]) == 0
    assert full.touch(bad, 1) is False
    assert dict(full) == {"a": 1, "bytes": b"b", b"a": 2}
    assert full.delete_many([bad, "a", bad, b"a"]) == 2


def removes(store):
    return [store.__delitem__, store.pop]


def looks(store):
    return [
        store.__getitem__, store.get_versioned, store.ttl, store.view, lambda key: store.get_into(key, bytearray(1)),
        lambda key: store.modify(key, lambda value: value),
    ]  # fmt: skip


@pytest.mark.parametrize("bad", IMPOSSIBLE, ids=name_of)
def test_what_needs_an_entry_raises_key_error_with_that_key(full, bad):
    for call in looks(full) + removes(full):
        with pytest.raises(KeyError) as caught:
            call(bad)
        assert caught.value.args == (bad,) and caught.value.args[0] is bad


@pytest.mark.parametrize("bad", ["absent", b"absent"])
def test_so_does_an_absent_one(full, bad):
    for call in looks(full) + removes(full):
        with pytest.raises(KeyError) as caught:
            call(bad)
        assert caught.value.args == (bad,)


@pytest.mark.parametrize("bad", UNHASHABLE, ids=name_of)
def test_what_cannot_be_hashed_is_a_type_error(full, bad):
    assert pytest.raises(TypeError, lambda: bad in {"a": 1}).match("unhashable")
    for call in [
        *looks(full), *removes(full), full.get, full.delete, full.touch, full.keys().__contains__, full.__contains__,
        full.keys("a").__contains__, lambda key: (key, 1) in full.items(), lambda key: full.get_many(["a", key]),
        lambda key: full.get_many(["a", key], on_error="skip"), lambda key: full.delete_many(["absent", key]),
        lambda key: full.pop(key, 1), lambda key: full.get(key, 1),
    ]:  # fmt: skip
        with pytest.raises(TypeError, match="unhashable type"):
            call(bad)
    assert len(full) == 3


def stores(store):
    return {
        "put": lambda key: store.put(key, 1),
        "[]=": lambda key: store.__setitem__(key, 1),
        "add": lambda key: store.add(key, 1),
        "replace": lambda key: store.replace(key, 1),
        "cas": lambda key: store.cas(key, 1, 0),
        "setdefault": lambda key: store.setdefault(key, 1),
        "modify": lambda key: store.modify(key, lambda value: pytest.fail("called in vain"), 1),
        "incr": lambda key: store.incr(key),
        "decr": lambda key: store.decr(key, 2),
        "put_many": lambda key: store.put_many([("new", 1), (key, 1)]),
        "add_many": lambda key: store.add_many([("new", 1), (key, 1)]),
        "update": lambda key: store.update([("new", 1), (key, 1)]),
        "wait": lambda key: store.wait(key, timeout=0),
        "wait long": lambda key: store.wait(key, after=2, timeout=0.05),
        "wait spinning": lambda key: store.wait(key, timeout=0.05, spin=0.05),
    }


CALLS = list(stores(None))


class Own:
    name = "own"

    def encode(self, value):
        return repr(value).encode()

    def decode(self, data):
        return eval(data)


@pytest.mark.parametrize("codec", ["msgpack", Own()], ids=["msgpack", "own"])
@pytest.mark.parametrize("call", CALLS)
def test_storing_refuses_and_says_why(make, call, codec):
    store = make(codec=codec)
    for key in WRONG_TYPE:
        with pytest.raises(TypeError) as caught:
            stores(store)[call](key)
        said = str(caught.value)
        assert store._key.shown in said and f"a key is str or bytes, not {type(key).__name__} (" in said
        assert not isinstance(caught.value, shmstore.ShmStoreError)
    for key in INVALID:
        with pytest.raises(
            InvalidKey, match="a key at most 32768; use a hash" if len(key) > 100 else "lone surrogate"
        ) as caught:
            stores(store)[call](key)
        said = str(caught.value)
        assert store._key.shown in said and repr(key[:60]) in said and len(said) < 400
        assert isinstance(caught.value, (ValueError, shmstore.ShmStoreError))
    for key in [*UNHASHABLE, memoryview(b"a")]:
        with pytest.raises(TypeError):
            stores(store)[call](key)
    assert not store


def test_the_remedies_work(store):
    for key in ("\ud800", LONE, "a\udfffb"):
        with pytest.raises(UnencodableKey):
            store[key] = 1
        store[key.encode("utf-8", "surrogatepass")] = key.encode("utf-8", "surrogatepass")
    store[os.fsencode(LONE)] = 1
    store[hashlib.sha256(LONG.encode()).hexdigest()] = 1
    store[hashlib.sha256(LONG.encode()).hexdigest().encode()] = 1
    store[str(("a", 1))] = 1
    assert len(store) == 7


def test_a_lone_surrogate_is_what_it_was_and_more(store):
    with pytest.raises(UnicodeEncodeError) as caught:
        store[LONE] = 1
    error = caught.value
    assert (type(error), error.encoding, error.object, error.start, error.end) == (UnencodableKey, "utf-8", LONE, 5, 6)
    assert issubclass(UnencodableKey, InvalidKey) and issubclass(InvalidKey, (ValueError, shmstore.ShmStoreError))
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is UnencodableKey and str(twin) == str(error) and twin.args == error.args


def test_no_key_begins_with_an_impossible_prefix(full):
    for prefix in ("\ud800", "a\udfff", LONG, LONG.encode()):
        assert list(full.keys(prefix)) == [] and len(full.keys(prefix)) == 0 and "a" not in full.keys(prefix)
    for wrong in (1, None, ("a",), bytearray(b"a")):
        with pytest.raises(TypeError, match="a prefix is str or bytes"):
            full.keys(wrong)


def test_views_are_those_of_a_dict(full):
    twin = dict(full)
    for item in (5, None, "ab", ("a",), ("a", 1, 2), ["a", 1], ("a", 1), ("a", 2), (1, 1), (LONE, 1)):
        assert (item in full.items()) == (item in twin.items())
    for key in ("a", b"a", 1, None, ("a",), LONE, LONG):
        assert (key in full.keys()) == (key in twin.keys()) == (key in full)

    class Text(str):
        pass

    class Bytes(bytes):
        pass

    assert Text("a") in full and Text("a") in full.keys(Text("a")) and "a" in full.keys(Text("a"))
    assert Bytes(b"a") in full.keys(Bytes(b"a")) and b"a" in full.keys(Bytes(b"a")) and "a" not in full.keys(b"a")
    assert {1, "a", None} & full.keys() == {"a"} and full.keys().isdisjoint([1, None, LONE])
    assert full.keys() - {1, "a"} == {"bytes", b"a"} and full.items() & {("a", 1), (1, 1)} == {("a", 1)}


def test_hashing_may_do_anything(make):
    """It is Python code: it may use the store, close it, or raise."""
    store = make()
    store["a"] = 1

    class Closes:
        def __hash__(self):
            store.close()
            return 1

    class Deletes:
        def __hash__(self):
            store.delete("a")
            return 1

    class Raises:
        def __hash__(self):
            raise LookupError("not me")

    with pytest.raises(LookupError, match="not me"):
        Raises() in store  # noqa: B015
    assert store.delete_many([Deletes(), "a"]) == 0 and not store
    store["a"] = 1
    before = Loud.hashed
    assert Loud() not in store and Loud.hashed == before + 1  # what it equals is not asked
    for call in (
        lambda key: key in store, store.get, store.delete, lambda key: store.delete_many(["b", key, "a"]), store.pop,
        lambda key: store.get_many([key, "a"]), store.view, lambda key: store.touch(key, 1),
    ):  # fmt: skip
        with pytest.raises(shmstore.StoreClosed):
            call(Closes())
        store = make(create=False)
    assert store["a"] == 1


@pytest.mark.parametrize("bad", [1, LONE, LONG])
def test_a_handle_that_cannot_is_said_first(make, bad):
    make()
    reader = make(create=False, readonly=True)
    assert bad not in reader and reader.get(bad, 5) == 5 and reader.get_many([bad]) == {}
    for call in (
        reader.delete, lambda key: reader.delete_many([key]), reader.view, lambda key: reader.touch(key, 1), reader.__delitem__
    ):  # fmt: skip
        with pytest.raises(shmstore.ReadOnlyStore):
            call(bad)
    reader.close()
    for call in (
        lambda key: key in reader,
        reader.get,
        reader.__getitem__,
        reader.delete,
        lambda key: reader.get_many([key]),
    ):
        with pytest.raises(shmstore.StoreClosed):
            call(bad)
