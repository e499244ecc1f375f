"""The store against a dict: any sequence of operations gives what a dict would, and check() finds nothing after any.

Versions stand beside the values in the model: each write gives one that never came before. Time to live is long,
until an entry is touched with almost none and a moment is slept.
"""

import os
import sys
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import shmstore
from shmstore import Store

sys.path.insert(0, str(Path(__file__).resolve().parent))
from model_values import NAMES, PREFIXES, SETTINGS, SMALL, TTLS

KIB = 1 << 10
MISSING = object()


class Against(RuleBasedStateMachine):
    """What all sizes share; `size` and `mode` of creation are the subclasses'."""

    options = {"size": "1M"}
    fits = False  # True: nothing is ever refused for want of room

    def __init__(self):
        super().__init__()
        self.key = f"shmstore-model-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.store = Store(self.key, create=True, **self.options)
        self.handles = [self.store]
        self.reader = Store(self.key, readonly=True)
        self.model = {}
        self.version = {}
        self.mortal, self.expired = set(), set()
        self.seen = {0}
        self.size = self.store.info().size

    def teardown(self):
        try:
            assert self.store.clear() == len(self.model)
            assert self.store.expire_due() <= len(self.expired)  # which clear() leaves to the next who needs room
            stats = self.store.stats()
            assert (stats.bytes_used, stats.entries, len(self.store)) == (0, 0, 0)
            self.store.check()
        finally:
            for handle in [*self.handles, self.reader]:
                handle.close()
            shmstore.destroy(self.key)

    # ---- the model ----

    def new(self, name, value, version=None, ttl=MISSING):
        """The store says that it has written."""
        if version is None:
            version = self.store.get_versioned(name)[1]
        assert version not in self.seen
        self.seen.add(version)
        self.model[name] = value
        self.version[name] = version
        self.given(name, ttl)

    def given(self, name, ttl):
        """The entry has a new time to live; MISSING and KEEP: its old one."""
        if ttl is not MISSING and ttl is not shmstore.KEEP:
            self.mortal.discard(name)
            if ttl is not None and ttl is not shmstore.DEFAULT:
                self.mortal.add(name)

    def gone(self, name):
        self.mortal.discard(name)
        self.version.pop(name)
        return self.model.pop(name)

    def refused(self, name):
        """Room was missing: what was there still is."""
        assert not self.fits
        assert self.store.get(name, MISSING) == self.model.get(name, MISSING)
        if name in self.model:
            assert self.store.get_versioned(name) == (self.model[name], self.version[name])

    # ---- handles ----

    @rule(which=st.integers(0, 5))
    def use_another_handle(self, which):
        if len(self.handles) < 3:
            self.handles.append(Store(self.key))
        self.store = self.handles[which % len(self.handles)]

    @precondition(lambda self: len(self.handles) > 1)
    @rule()
    def close_this_handle(self):
        self.handles = [handle for handle in self.handles if handle is not self.store]  # equal are those of one store
        self.store.close()
        with pytest.raises(shmstore.StoreClosed):
            self.store.get("a")
        self.store = self.handles[0]

    @precondition(lambda self: len(self.handles) == 1)
    @rule()
    def close_the_last_and_open_again(self):
        self.store.close()
        self.store = self.handles[0] = Store(self.key, create=False)

    @rule()
    def compact(self):
        self.store.compact()
        for name, value in self.model.items():
            if name not in self.expired:
                assert self.store.get_versioned(name) == (value, self.version[name])

    # ---- writing ----

    @rule(name=NAMES, value=SMALL, ttl=TTLS)
    def put(self, name, value, ttl):
        try:
            version = self.store.put(name, value, ttl=ttl)
        except shmstore.StoreFull:
            return self.refused(name)
        self.new(name, value, version, ttl)

    @rule(name=NAMES, share=st.floats(0.001, 0.34), byte=st.integers(0, 255))
    def put_large(self, name, share, byte):
        self.put(name, bytes([byte]) * int(self.size * share), None)

    @rule(name=NAMES, more=st.integers(0, 1000))
    def put_too_large(self, name, more):
        with pytest.raises(shmstore.ValueTooLarge):
            self.store[name] = bytes(self.size + more)
        assert self.store.get(name, MISSING) == self.model.get(name, MISSING)

    @rule(name=NAMES, value=SMALL, ttl=TTLS)
    def add(self, name, value, ttl):
        try:
            added = self.store.add(name, value, ttl=ttl)
        except shmstore.StoreFull:
            return self.refused(name)
        assert added == (name not in self.model)
        if added:
            self.new(name, value, ttl=ttl)

    @rule(name=NAMES, value=SMALL, ttl=TTLS)
    def replace(self, name, value, ttl):
        try:
            replaced = self.store.replace(name, value, ttl=ttl)
        except shmstore.StoreFull:
            return self.refused(name)
        assert replaced == (name in self.model)
        if replaced:
            self.new(name, value, ttl=ttl)

    @rule(name=NAMES, value=SMALL, ttl=TTLS, which=st.sampled_from(["right", "old", "zero", "other"]),
          salt=st.integers(1, 9))  # fmt: skip
    def cas(self, name, value, ttl, which, salt):
        now = self.version.get(name, 0)
        others = sorted(self.seen - {0, now}) or [salt]
        version = {"right": now, "old": others[salt % len(others)], "zero": 0, "other": now ^ salt}[which]
        try:
            done = self.store.cas(name, value, version, ttl=ttl)
        except shmstore.StoreFull:
            return self.refused(name)
        assert done == (version == now)
        if done:
            self.new(name, value, ttl=ttl)

    @rule(name=NAMES, value=SMALL)
    def setdefault(self, name, value):
        try:
            result = self.store.setdefault(name, value)
        except shmstore.StoreFull:
            assert name not in self.model
            return self.refused(name)
        assert result == self.model.get(name, value)
        if name not in self.model:
            self.new(name, value, ttl=None)

    @rule(name=NAMES, by=st.one_of(st.integers(-5, 5), st.sampled_from([2**63 - 1, 1 - 2**63])),
          initial=st.integers(-100, 100), down=st.booleans(), create=st.booleans(), ttl=TTLS)  # fmt: skip
    def count(self, name, by, initial, down, create, ttl):
        step = self.store.decr if down else self.store.incr
        old = self.model.get(name, initial)
        total = old - by if down and type(old) is int else old + by if type(old) is int else None
        try:
            result = step(name, by, initial=initial, create=create, ttl=ttl)
        except shmstore.StoreFull:
            return self.refused(name)
        except KeyError:
            assert name not in self.model and not create
            return
        except TypeError:
            assert type(old) is not int
            return
        except OverflowError:
            assert not -(2**63) <= total < 2**63
            return
        assert result == total and (create or name in self.model)
        self.new(name, total, ttl=MISSING if name in self.model else ttl)

    @rule(name=NAMES, value=SMALL, default=st.booleans(), ttl=TTLS)
    def modify(self, name, value, default, ttl):
        if name not in self.model and not default:
            with pytest.raises(KeyError):
                self.store.modify(name, lambda old: value, ttl=ttl)
            return
        seen = []
        try:
            result = self.store.modify(
                name, lambda old: seen.append(old) or [old, value], *["start"] * default, ttl=ttl
            )
        except shmstore.StoreFull:
            return self.refused(name)
        assert seen == [self.model.get(name, "start")] and result == [seen[0], value]
        if len(str(result)) > 400 or type(seen[0]) is bytes and len(seen[0]) > 400:
            result = self.put(name, 0, None)  # values that grow for ever test the encoder
        else:
            self.new(name, result, ttl=ttl)

    @rule(names=st.lists(NAMES, max_size=8), value=SMALL, how=st.sampled_from(["put_many", "add_many", "update"]))
    def many(self, names, value, how):
        items = {name: [value, i] for i, name in enumerate(names)}
        fresh = {name: item for name, item in items.items() if how != "add_many" or name not in self.model}
        try:
            count = getattr(self.store, how)(items)
        except shmstore.StoreFull as error:
            said = f"{error.stored} of {len(items)} items were stored before" if error.stored else "nothing was changed"
            assert not self.fits and said in str(error)
            for name, item in fresh.items():  # one by one, in their order
                found = self.store.get(name, MISSING)
                if name in self.model and self.store.get_versioned(name)[1] == self.version[name]:
                    assert found == self.model[name]
                elif found is not MISSING:
                    assert found == item
                    self.new(name, item, ttl=None)
            return
        assert count == (None if how == "update" else len(fresh))
        for name, item in fresh.items():
            self.new(name, item, ttl=None)

    @rule(
        names=st.lists(NAMES, max_size=8),
        value=SMALL,
        how=st.sampled_from(["put_many", "add_many"]),
        at=st.integers(0, 8),
    )
    def many_that_skip(self, names, value, how, at):
        """Some items that nobody can store among others."""
        pairs = [(name, [value, i]) for i, name in enumerate(names)]
        pairs[at:at] = [("k0", object()), (7, value), ("n" * 40_000, value), ("large", bytes(self.size))]
        items = dict(pairs)
        stored = getattr(self.store, how)(items, on_error="skip", ttl=None)
        expected = {7, "n" * 40_000, "large"} | {key for key in ("k0",) if type(items[key]) is object}
        assert expected <= stored.failed.keys() and (expected == stored.failed.keys() or not self.fits)
        written = 0
        for name, item in items.items():
            if name not in stored.failed and (how == "put_many" or name not in self.model):
                self.new(name, item, ttl=None)
                written += 1
            elif name in names:
                assert self.store.get(name, MISSING) == self.model.get(name, MISSING)
        assert stored == written

    # ---- removing ----

    @rule(name=NAMES)
    def delete(self, name):
        assert self.store.delete(name) == (name in self.model)
        if name in self.model:
            self.gone(name)

    @rule(name=NAMES, which=st.sampled_from(["right", "old", "zero"]), salt=st.integers(0, 9))
    def delete_of_a_version(self, name, which, salt):
        now = self.version.get(name, 0)
        others = sorted(self.seen - {0, now}) or [1]
        version = {"right": now, "old": others[salt % len(others)], "zero": 0}[which]
        assert self.store.delete(name, version) == (version == now != 0)
        if version == now != 0:
            self.gone(name)

    @rule(name=NAMES)
    def delitem(self, name):
        if name in self.model:
            del self.store[name]
            self.gone(name)
        else:
            with pytest.raises(KeyError):
                del self.store[name]

    @rule(name=NAMES, default=st.booleans())
    def pop(self, name, default):
        if name in self.model:
            expected = self.gone(name)
            assert self.store.pop(name) == expected
        elif default:
            assert self.store.pop(name, MISSING) is MISSING
        else:
            with pytest.raises(KeyError):
                self.store.pop(name)

    @rule()
    def popitem(self):
        if self.model:
            name, value = self.store.popitem()
            assert self.gone(name) == value
        else:
            with pytest.raises(KeyError):
                self.store.popitem()

    @rule(names=st.lists(NAMES, max_size=8))
    def delete_many(self, names):
        there = set(names) & self.model.keys()
        assert self.store.delete_many(names) == len(there)
        for name in there:
            self.gone(name)

    @rule(really=st.sampled_from([True, False, False, False]))
    def clear(self, really):
        if really:
            assert self.store.clear() == len(self.model)
            for name in list(self.model):
                self.gone(name)

    # ---- time ----

    @rule(name=NAMES, ttl=TTLS)
    def touch(self, name, ttl):
        assert self.store.touch(name, ttl) == (name in self.model)
        if name in self.model:
            assert self.store.get_versioned(name) == (self.model[name], self.version[name])
            self.given(name, ttl)

    @rule(name=NAMES, ttl=TTLS)
    def get_and_touch(self, name, ttl):
        assert self.store.get(name, MISSING, touch=ttl) == self.model.get(name, MISSING)
        if name in self.model:
            assert self.store.get_versioned(name) == (self.model[name], self.version[name])
            self.given(name, ttl)

    @rule(name=NAMES, seconds=st.sampled_from([None, 1000, 5000.5, 0, -1]))
    def expire_at(self, name, seconds):
        at = None if seconds is None else time.time() + seconds
        assert self.store.expire(name, at) == (name in self.model)
        if name in self.model and seconds is not None and seconds <= 0:
            self.gone(name)
        elif name in self.model:
            self.given(name, seconds)

    @rule()
    def expire_due(self):
        before = self.store.stats().entries
        gone = self.store.expire_due()
        assert before - gone == len(self.model) == self.store.stats().entries
        self.expired.clear()

    @rule(names=st.lists(NAMES, min_size=1, max_size=5, unique=True))
    def expire(self, names):
        for name in names:
            if self.store.touch(name, 0.0005):
                self.gone(name)
                self.expired.add(name)
        time.sleep(0.002)
        for name in names:
            assert name not in self.store and self.store.get(name) is None

    @rule(name=NAMES, value=SMALL)
    def put_what_expires_at_once(self, name, value):
        try:
            self.seen.add(self.store.put(name, value, ttl=0.0005))
        except shmstore.StoreFull:
            return self.refused(name)
        self.expired.add(name)
        if name in self.model:
            self.gone(name)
        time.sleep(0.002)
        assert name not in self.store

    # ---- reading ----

    @rule(name=NAMES)
    def look(self, name):
        for handle in (self.store, self.reader):
            assert handle.get(name, MISSING) == self.model.get(name, MISSING)
            assert (name in handle) == (name in self.model)
            if name in self.model:
                assert handle[name] == self.model[name]
                assert handle.get_versioned(name) == (self.model[name], self.version[name])
                assert handle.wait(name) == self.version[name]
                left = handle.ttl(name)
                assert left is not None and left > 900 if name in self.mortal else left is None
                value, seconds = handle.get_with_ttl(name)
                assert value == self.model[name] and (seconds is not None) == (name in self.mortal)
                entry = handle.describe(name)
                assert (entry.version, entry.codec) == (self.version[name], "msgpack")
                assert entry.size > 0 and (entry.ttl is not None) == (name in self.mortal)
            else:
                for call in (
                    handle.__getitem__,
                    handle.get_versioned,
                    handle.ttl,
                    handle.get_with_ttl,
                    handle.describe,
                ):
                    with pytest.raises(KeyError):
                        call(name)

    @rule(names=st.lists(NAMES, max_size=8))
    def get_many(self, names):
        for handle in (self.store, self.reader):
            assert handle.get_many(names) == {name: self.model[name] for name in names if name in self.model}

    @rule(prefix=PREFIXES)
    def walk(self, prefix):
        for handle in (self.store, self.reader):
            assert sorted(handle, key=repr) == sorted(self.model, key=repr)  # each name once
            assert dict(handle.items()) == self.model == dict(handle)
            assert len(list(handle.values())) == len(self.model)
            keys = handle.keys(prefix)
            expected = {n for n in self.model if prefix == "" or type(n) is type(prefix) and n.startswith(prefix)}
            assert set(keys) == expected and len(keys) == len(expected)
            assert all((n in keys) == (n in expected) for n in ("a", b"a", "a/1", "k1", "absent"))

    @rule(name=NAMES)
    def the_reader_writes_nothing(self, name):
        for write in (lambda reader: reader.put(name, 1), lambda reader: reader.delete(name), shmstore.Store.recover):
            with pytest.raises(shmstore.ReadOnlyStore):
                write(self.reader)

    @invariant()
    def sound(self):
        self.store.check()
        assert len(self.store) == len(self.reader) == len(self.model)
        assert bool(self.store) == bool(self.model)
        stats = self.store.stats()
        assert stats.entries >= len(self.model) and stats.zombies == 0
        assert stats.largest_free <= stats.bytes_free


def test_the_empty_bytes_prefix(store):
    store["a"] = store[b"b"] = 1
    keys = store.keys(b"")
    assert set(keys) == {b"b"} and b"b" in keys and "a" not in keys


class AgainstTiny(Against):
    """So small that it is full most of the time: values up to a third of it, and tables of a few buckets."""

    options = {"size": 64 * KIB}

    @rule(name=NAMES, share=st.floats(0.05, 0.33))
    def put_a_third(self, name, share):
        self.put(name, os.urandom(int(self.size * share)), None)

    @rule(prefix=st.text("xyz", min_size=1, max_size=3), length=st.integers(0, 3000))
    def fill(self, prefix, length):
        for i in range(200):
            name = f"{prefix}{i}"
            try:
                version = self.store.put(name, bytes(length))
            except shmstore.StoreFull:
                return self.refused(name)
            self.new(name, bytes(length), version, None)


class AgainstFewEntries(AgainstTiny):
    options = {"size": 256 * KIB, "max_entries": 10}


class AgainstLarge(Against):
    """A large store that is nearly empty."""

    options = {"size": "256M"}
    fits = True

    @rule(name=NAMES, share=st.just(0.0))
    def put_large(self, name, share):
        self.put(name, bytes(100_000), None)

    @rule(name=NAMES)
    def put_too_large(self, name):
        assert self.store.stats().largest_free > 256 << 18


TestModel = Against.TestCase
TestTiny = AgainstTiny.TestCase
TestFewEntries = AgainstFewEntries.TestCase
TestLarge = AgainstLarge.TestCase
for case in (TestModel, TestTiny, TestFewEntries, TestLarge):
    case.settings = SETTINGS
del case
