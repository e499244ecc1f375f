"""dict(store) and its kin copy what is there, whatever goes meanwhile; and [] stays exact for everybody else.

The codec of these tests does something when a given entry is read: in the midst of a copy, at no particular time, and yet
at the same moment in every run.
"""

import _thread
import collections
import functools
import operator
import os
import signal
import sys
import threading
import time
import types
import weakref
from multiprocessing.pool import ThreadPool

import pytest

import shmstore

KEYS = [f"key:{i}" for i in range(250)]  # more than two batches


class Trap:
    """A codec of texts that calls a function when it reads the entry "trap"."""

    name = "trap"

    def __init__(self):
        self.spring = None

    def encode(self, value):
        return value.encode()

    def decode(self, data):
        if data == b"trap" and self.spring is not None:
            spring, self.spring = self.spring, None
            spring()
        return data.decode()


@pytest.fixture
def trap():
    return Trap()


@pytest.fixture
def store(make, trap):
    """A handle with entries that name themselves."""
    store = make(codec=trap)
    store.put_many({key: key for key in [*KEYS, "trap"]})
    return store


def accept(**given):
    return given


def starred_update(store):
    copy = {"before": 1}
    copy.update(store, after=2)
    assert copy.pop("before") == 1 and copy.pop("after") == 2
    return copy


def in_place_or(store):
    copy = {}
    copy |= store
    return copy


def simple_namespace(store):
    return vars(types.SimpleNamespace(**store))


def user_dict(store):
    return collections.UserDict(store).data


def chain_map(store):
    chain = collections.ChainMap({})
    chain.update(store)
    return chain.maps[0]


def other_store(store):
    with shmstore.open(shmstore.PRIVATE, size="1M") as other:
        other.update(store)
        return dict(other)


def ways():
    return {
        "dict": dict,
        "dict with more": lambda store: {k: v for k, v in dict(store, more=1).items() if k != "more"},
        "update": starred_update,
        "**": lambda store: {**store},
        "two of **": lambda store: {**store, **store},
        "f(**)": lambda store: accept(**store),
        "|=": in_place_or,
        "OrderedDict": lambda store: dict(collections.OrderedDict(store)),
        "defaultdict": lambda store: dict(collections.defaultdict(int, store)),
        "Counter": lambda store: dict(collections.Counter(store)),
        "proxy": lambda store: dict(types.MappingProxyType(store)),
        "namespace": simple_namespace,
        "map": lambda store: next(map(dict, [store])),
        "partial": lambda store: functools.partial(dict, store)(),
        "reduce": lambda store: functools.reduce(operator.ior, [store, store], {}),
        "UserDict": user_dict,
        "ChainMap": chain_map,
        "another store": other_store,
        "items": lambda store: dict(store.items()),
    }


WAYS = ways()


@pytest.fixture(params=WAYS)
def copy(request):
    return WAYS[request.param]


def test_every_way_copies_everything(store, copy):
    assert copy(store) == {key: key for key in [*KEYS, "trap"]}
    assert not store._copies
    store.clear()
    assert copy(store) == {}


def test_what_is_deleted_in_between_is_there_or_not(store, trap, copy):
    trap.spring = store.clear
    found = copy(store)
    assert found.items() <= {key: key for key in [*KEYS, "trap"]}.items()
    assert trap.spring is None and not store and not store._copies


def test_what_expires_in_between_is_there_or_not(make, copy):
    store = make()
    store["stays"] = "stays"
    for _ in range(50):
        for i in range(200):
            store.put(f"gone{i}", f"gone{i}", ttl=0.0005 * (i % 10 + 1))
        found = copy(store)
        assert found["stays"] == "stays" and all(key == value for key, value in found.items())
        assert not store._copies


def test_types_of_keys(make):
    store = make()
    items = {"a": 1, b"a": 2, "": 3, b"": 4, "é": 5, "x" * 40: 6}
    store.update(items)
    for copy in (dict(store), {**store}, dict(collections.OrderedDict(store))):
        assert copy == items and {type(key) for key in copy} == {str, bytes}
    with pytest.raises(TypeError, match="keywords must be strings"):
        accept(**store)
    assert not dict(store).keys() - items.keys() and not store._copies


def test_an_unreadable_entry_is_named(make, store):
    make(create=False, codec="pickle")["bad"] = [1]
    for copy in (dict, lambda store: {**store}, collections.OrderedDict, collections.UserDict):
        with pytest.raises(shmstore.CodecError, match="entry 'bad'.*on_error=\"skip\""):
            copy(store)
        assert not store._copies
    assert set(store.keys()) == {*KEYS, "trap", "bad"} == set(store)


# ---- [] is exact


def test_python_code_gets_the_entry_as_it_is(store):
    def loops():
        for key in store:  # noqa: UP028 (a loop is what is tried)
            yield key
        yield from store.keys()
        yield from list(store.keys())
        yield from dict(store)
        yield from [key for key, _ in store.items()]

    for key in loops():
        value = store[key]
        del store[key]
        for read in (store.__getitem__, functools.partial(operator.getitem, store), operator.itemgetter(key)):
            with pytest.raises(KeyError):
                read(store if type(read) is operator.itemgetter else key)
        with pytest.raises(KeyError):
            store[key]
        store[key] = value


def test_c_code_that_does_not_copy_gets_the_entry_as_it_is(store):
    keys = list(store.keys())
    view = store.keys()
    del store[keys[0]]
    with pytest.raises(KeyError):
        list(map(store.__getitem__, keys))
    with pytest.raises(KeyError):
        operator.itemgetter(*keys)(store)
    with pytest.raises(KeyError):
        f"%({keys[0]})s" % store
    assert keys[0] not in list(map(store.__getitem__, view))


def test_one_call_that_does_everything_in_turn(store):
    """As a worker does that calls whatever it is told to, by the same instruction of the same frame."""

    def forget(keys):
        store.delete_many(keys)
        return keys

    for steps in (
        [store.keys, list, forget, operator.itemgetter(0), store.__getitem__],
        [functools.partial(dict, store), list, forget, operator.itemgetter(0), store.__getitem__],
        [functools.partial(iter, store), list, forget, operator.itemgetter(0), store.__getitem__],
        [functools.partial(collections.OrderedDict, store), list, forget, operator.itemgetter(0), store.__getitem__],
    ):
        store.put_many({key: key for key in KEYS})
        done = ()
        with pytest.raises(KeyError):
            for step in steps:
                done = (step(*done),)
        assert not store and not store._copies


def test_in_the_midst_of_a_copy_others_get_the_entry_as_it_is(store, trap):
    def spring():
        key = next(key for key in store if key != "trap")
        del store[key]
        with pytest.raises(KeyError):
            store[key]
        thread = threading.Thread(target=lambda: seen.append(store.get(key, "none") + store["trap"]))
        thread.start()
        thread.join()

    for copy in (dict, collections.OrderedDict, collections.UserDict):
        seen = []
        trap.spring = spring
        assert copy(store)["trap"] == "trap" and seen == ["nonetrap"]
        assert not store._copies


def test_what_a_copy_calls_gets_the_entry_as_it_is(store):
    class Nosy(collections.UserDict):
        def __setitem__(self, key, value):
            del store[key]
            with pytest.raises(KeyError):
                store[key]
            assert store.get(key) is None
            super().__setitem__(key, value)

    assert Nosy(store) == {key: key for key in [*KEYS, "trap"]}
    assert not store and not store._copies


# ---- copies that fail, stop, or are made within others


def test_copies_within_copies(store, trap, copy):
    inner = []
    trap.spring = lambda: inner.append((dict(store), {**store}, next(iter(store.items())), copy(store)))
    everything = {key: key for key in [*KEYS, "trap"]}
    assert copy(store) == everything
    ((first, second, item, third),) = inner
    assert first == second == third == everything and item[0] == item[1]
    assert not store._copies


def test_a_signal_handler_that_copies(make):
    store = make()
    stays = {f"stays{i}": i for i in range(50)}
    store.put_many(stays)
    copied = 0

    def handler(*_):
        nonlocal copied
        iterator = iter(store.items())
        next(iterator)  # and left there
        assert dict(store).items() >= stays.items() and {**store}.items() >= stays.items()
        with pytest.raises(KeyError):
            store["absent"]
        copied += 1
        signal.setitimer(signal.ITIMER_REAL, 0.0003)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    try:
        while copied < 200:
            for i in range(50):
                store.put(f"gone{i}", i, ttl=0.001)
            for copy in (dict, lambda store: {**store}, collections.OrderedDict, user_dict):
                assert copy(store).items() >= stays.items()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not store._copies


def test_threads_that_copy_at_once(make):
    store = make()
    stays = {f"stays{i}": f"stays{i}" for i in range(150)}
    store.put_many(stays)
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            for i in range(100):
                store.put(f"gone{i}", f"gone{i}", ttl=0.0005)
                store.delete(f"gone{i // 2}")

    churner = threading.Thread(target=churn)
    churner.start()
    try:
        with ThreadPool(6) as pool:
            copies = pool.map(dict, [store] * 60, chunksize=1)
            copies += [pool.apply(dict, (store,)) for _ in range(20)]
            copies += pool.map(WAYS["**"], [store] * 60) + pool.map(user_dict, [store] * 60)
    finally:
        stop.set()
        churner.join()
    for found in copies:
        assert found.items() >= stays.items() and all(key == value for key, value in found.items())
    assert not store._copies


def test_a_copy_that_raises_leaves_nothing_to_others(store):
    watched = weakref.WeakSet()

    class Text(str):
        pass

    class Codec(Trap):
        def decode(self, data):
            value = Text(data.decode())
            watched.add(value)
            return value

    with shmstore.Store(store._key.name.decode(), create=False, codec=Codec()) as handle:
        with pytest.raises(TypeError, match="multiple values"):
            accept(trap=1, **handle)
        keys = list(handle)
        handle.delete_many(keys)
        for key in 2 * keys:  # by and by what was listed is freed
            with pytest.raises(KeyError):
                handle[key]
        assert not handle._copies and not watched


def test_a_copy_that_stops_half_way_leaves_nothing(store):
    class Picky(collections.OrderedDict):
        def __setitem__(self, key, value):
            if len(self) == 3:
                raise LookupError(key)
            super().__setitem__(key, value)

    class PickyUser(collections.UserDict):
        __setitem__ = Picky.__setitem__

    for kind in (Picky, PickyUser):
        with pytest.raises((LookupError, TypeError)):
            kind(store)
        assert not store._copies


def test_keys_that_only_c_code_sees(store):
    """It looks like a copy until nobody asks for the values."""
    chained = list(collections.deque(map(operator.methodcaller("keys"), [store])).pop())
    listed = next(map(list, map(operator.methodcaller("keys"), [store])))
    assert sorted(chained) == sorted(listed) == sorted([*KEYS, "trap"])
    store.clear()
    for key in listed:
        with pytest.raises(KeyError):
            store[key]
    dict(store)
    assert not store._copies


def test_closed_in_the_midst(store, trap):
    trap.spring = store.close
    with pytest.raises(shmstore.StoreClosed):
        dict(store)
    assert not store._copies


def test_forked_in_the_midst(store, trap):
    def fork():
        children.append(os.fork())

    children = []
    trap.spring = fork
    found = dict(store)
    if not children[0]:
        os._exit(found != {key: key for key in [*KEYS, "trap"]} or bool(store._copies))
    assert os.waitpid(children[0], 0)[1] == 0
    assert found == {key: key for key in [*KEYS, "trap"]}


def test_without_a_frame_of_python(store, trap):
    """A thread may run dict.update alone. It reads key by key, also while others copy."""
    copy, everything = {}, {key: key for key in [*KEYS, "trap"]}

    def spring():
        _thread.start_new_thread(copy.update, (store,), {"last": 1})
        while "last" not in copy:
            time.sleep(0.001)

    trap.spring = spring
    assert dict(store) == everything
    assert copy == {**everything, "last": 1} and not store._copies


def test_traced_and_profiled(store, copy):
    everything = {key: key for key in [*KEYS, "trap"]}
    before = sys.gettrace(), sys.getprofile()
    try:
        sys.settrace(lambda *_: None)
        sys.setprofile(lambda *_: None)
        found = copy(store)
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    assert found == everything


def test_subclasses_that_change_the_methods(make):
    class Loud(shmstore.Store):
        def keys(self, prefix=""):
            return super().keys(prefix)

        def __getitem__(self, key):
            return super().__getitem__(key).upper()

    key = make()._key.name.decode()
    with Loud(key, create=False) as store:
        store.update(a="x", b="y")
        assert dict(store) == {**store} == collections.OrderedDict(store) == {"a": "X", "b": "Y"}
        assert not store._copies
