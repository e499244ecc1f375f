"""Tags and namespaces against dicts: any sequence of operations leaves what a dict of dicts would have, and check() finds
nothing after any."""

from __future__ import annotations

import os
import uuid

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import shmstore
from shmstore import Store

SPACES = [(), ("a",), (b"a",), ("b",), ("a", "b"), ("a", "b", "c")]  # paths; () is the store itself
KEYS = ["k", b"k", "", "n1", "n2"]
TAGS = ["t", b"t", "u", "v", "w"]
spaces, keys, values = st.sampled_from(SPACES), st.sampled_from(KEYS), st.integers(0, 9)
tags = st.sets(st.sampled_from(TAGS), max_size=4)


class Against(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.key = f"shmstore-tags-model-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.store = self.new_store()
        self.model = {path: {} for path in SPACES}  # keys to values and tags
        self.handles = {}

    def new_store(self):
        """One in which no two of TAGS share a counter."""
        while True:
            store = Store(self.key, create=True, size="1M")
            store.put("k", 1, tags=TAGS)
            if store.describe("k").tags == len(TAGS):
                store.delete("k")
                return store
            store.destroy()

    def teardown(self):
        try:
            self.store.clear()
            self.store.expire_due()
            assert not any(len(self.at(path)) for path in SPACES)
            self.store.check()
        finally:
            for handle in self.handles.values():
                handle.close()
            self.store.close()
            shmstore.destroy(self.key)

    def at(self, path):
        if not path:
            return self.store
        if path not in self.handles:
            self.handles[path] = self.at(path[:-1]).namespace(path[-1])
        return self.handles[path]

    @initialize(path=spaces)
    def begin(self, path):
        self.at(path)["k"] = 1
        self.model[path]["k"] = (1, set())

    # ---- what writes

    @rule(path=spaces, key=keys, value=values, tags=tags, keeps=st.booleans())
    def put(self, path, key, value, tags, keeps):
        self.at(path).put(key, value, tags=shmstore.KEEP if keeps else tags)
        kept = self.model[path].get(key, (0, set()))[1]
        self.model[path][key] = (value, kept if keeps else tags)

    @rule(path=spaces, key=keys, value=values, tags=tags)
    def add(self, path, key, value, tags):
        assert self.at(path).add(key, value, tags=tags) == (key not in self.model[path])
        self.model[path].setdefault(key, (value, tags))

    @rule(path=spaces, key=keys, value=values, tags=tags)
    def replace(self, path, key, value, tags):
        assert self.at(path).replace(key, value, tags=tags) == (key in self.model[path])
        if key in self.model[path]:
            self.model[path][key] = (value, tags)

    @rule(path=spaces, key=keys, by=values, tags=tags)
    def incr(self, path, key, by, tags):
        before, kept = self.model[path].get(key, (0, tags))
        assert self.at(path).incr(key, by, tags=tags) == before + by
        self.model[path][key] = (before + by, kept)

    @rule(path=spaces, key=keys, tags=tags, keeps=st.booleans())
    def modify(self, path, key, tags, keeps):
        before, kept = self.model[path].get(key, (5, set()))
        given = shmstore.KEEP if keeps else tags
        assert self.at(path).modify(key, lambda value: value + 1, 5, tags=given) == before + 1
        self.model[path][key] = (before + 1, kept if keeps else tags)

    @rule(path=spaces, key=keys, value=values, tags=tags, keeps=st.booleans())
    def cas(self, path, key, value, tags, keeps):
        space, there = self.at(path), self.model[path]
        version = space.get_versioned(key)[1] if key in there else 0
        assert space.cas(key, value, version, tags=shmstore.KEEP if keeps else tags)
        there[key] = (value, (there[key][1] if key in there else set()) if keeps else tags)

    @rule(path=spaces, items=st.dictionaries(keys, values, max_size=3), tags=tags)
    def put_many(self, path, items, tags):
        assert self.at(path).put_many(items, tags=tags) == len(items)
        self.model[path].update({key: (value, tags) for key, value in items.items()})

    @rule(path=spaces, key=keys, value=values, tags=tags)
    def get_or_set(self, path, key, value, tags):
        found = self.model[path].setdefault(key, (value, tags))
        assert self.at(path).get_or_set(key, lambda: value, tags=tags) == found[0]

    @rule(path=spaces, key=keys)
    def delete(self, path, key):
        assert self.at(path).delete(key) == (self.model[path].pop(key, None) is not None)

    @rule(path=spaces, key=keys)
    def pop(self, path, key):
        assert self.at(path).pop(key, None) == self.model[path].pop(key, (None,))[0]

    @rule(path=spaces, key=keys)
    def touch(self, path, key):
        assert self.at(path).touch(key, 1000) == (key in self.model[path])

    # ---- what ends many

    @rule(tag=st.sampled_from(TAGS), path=spaces)
    def evict_tag(self, tag, path):
        self.at(path).evict_tag(tag)
        for space in self.model.values():
            for key in [key for key, (_, tags) in space.items() if tag in tags]:
                del space[key]

    @rule(path=spaces)
    def clear(self, path):
        cleared = self.at(path).clear()
        assert cleared == (len(self.model[()]) if not path else 0)
        for inner in SPACES:
            if inner[: len(path)] == path:
                self.model[inner].clear()

    @rule(key=keys, value=values)
    def evict_during_a_put(self, key, value):
        """Generations from before an eviction: what is put with them is not found."""
        for path in ((), ("a", "b")):
            space = self.at(path)
            taken = space._generations(["t"])
            self.evict_tag("t", ())
            space.put(key, value, tags=taken)
            self.model[path].pop(key, None)

    # ---- what changes nothing

    @rule()
    def sweep(self):
        self.store.expire_due()
        assert self.store.stats().entries >= sum(map(len, self.model.values()))

    @rule()
    def compact(self):
        self.store.compact()

    @rule(path=spaces)
    def open_again(self, path):
        handle = self.handles.pop(path, None)
        if handle is not None:
            handle.close()

    @invariant()
    def all_is_as_in_the_model(self):
        for path, there in self.model.items():
            space, plain = self.at(path), {key: value for key, (value, _) in there.items()}
            assert dict(space) == plain and len(space) == len(plain) and bool(space) == bool(plain)
            for key in KEYS:
                assert (key in space) == (key in plain) and space.get(key) == plain.get(key)
            assert space.get_many(KEYS) == plain
            assert {key: len(tags) for key, (_, tags) in there.items()} == {
                key: space.describe(key).tags for key in plain
            }
        self.store.check()


TestTagsAndNamespaces = Against.TestCase
TestTagsAndNamespaces.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
