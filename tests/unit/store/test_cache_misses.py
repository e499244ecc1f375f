"""on_error="miss": whatever is wrong with a cache is a miss and a line in the log, and never hides an error of the caller."""

import asyncio
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import shmstore
from shmstore import Cache, Store, sysv
from shmstore._core import lib
from shmstore._store import rescue

sys.path.insert(0, str(Path(__file__).resolve().parent))
from store_methods import ALL, READS, WRITES

CALLS = {**READS, **WRITES}
# They are for people, or for those who administrate: they say what is wrong.
SAY = {"stats", "info", "clients", "check", "compact", "resize", "recover", "destroy"}
# They answer with the function, or are no values.
APART = {"namespace", "get_or_set", "aget_or_set", "memoize", "lock", "lease", "semaphore", "barrier"}
# What each call returns for a cache that does not work; a class is what it raises, as for an absent key.
MISSES = {
    "get": lambda s: s.get("k", 5) == 5,
    "get of a type": lambda s: s.get("k", 5, touch=10) == 5 and s.get("k") is None and s.get("k", default=6) == 6,
    "[]": lambda s: raises(KeyError, lambda: s["k"]),
    "in": lambda s: ("k" in s) is False,
    "put": lambda s: s.put("k", 1) == 0 and s.put("k", 1, ttl=5) == 0,
    "[] =": lambda s: s.__setitem__("k", 1) is None,
    "del": lambda s: raises(KeyError, lambda: s.__delitem__("k")),
    "delete": lambda s: s.delete("k") is False,
    "add": lambda s: s.add("k", 1) is False,
    "replace": lambda s: s.replace("k", 1) is False,
    "cas": lambda s: s.cas("k", 1, 7) is False,
    "get_versioned": lambda s: raises(KeyError, lambda: s.get_versioned("k")),
    "get_with_ttl": lambda s: raises(KeyError, lambda: s.get_with_ttl("k")),
    "get_into": lambda s: raises(KeyError, lambda: s.get_into("k", bytearray(5))),
    "view": lambda s: raises(KeyError, lambda: s.view("k")),
    "describe": lambda s: raises(KeyError, lambda: s.describe("k")),
    "ttl": lambda s: raises(KeyError, lambda: s.ttl("k")),
    "incr": lambda s: (s.incr("k"), s.incr("k", 5, initial=10), s.decr("k", by=2)) == (1, 15, -2),
    "incr without create": lambda s: raises(KeyError, lambda: s.incr("k", create=False)),
    "touch": lambda s: s.touch("k", 5) is False,
    "expire": lambda s: s.expire("k", 2**40) is False and s.expire("k", 0) is False,
    "modify": lambda s: s.modify("k", lambda value: value + 1, 5) == 6,
    "modify without default": lambda s: raises(KeyError, lambda: s.modify("k", lambda value: value)),
    "setdefault": lambda s: s.setdefault("k", 5) == 5,
    "pop": lambda s: s.pop("k", 5) == 5 and raises(KeyError, lambda: s.pop("k")),
    "popitem": lambda s: raises(KeyError, s.popitem),
    "get_many": lambda s: s.get_many(["k", "x"]) == {} and s.get_many(["k"], on_error="skip").failed == {},
    "put_many": lambda s: s.put_many({"k": 1}) == 0 and s.add_many({"k": 1}) == 0,
    "put_many that skips": lambda s: type(s.put_many({"k": 1}, on_error="skip")) is shmstore.Stored,
    "delete_many": lambda s: s.delete_many(["k"]) == 0 and s.delete_many(["k"], on_error="skip") == 0,
    "update": lambda s: s.update(k=1) is None,
    "clear": lambda s: s.clear() == 0 and s.expire_due() == 0,
    "len": lambda s: (len(s), bool(s)) == (0, False),
    "walks": lambda s: (list(s), list(s.keys("k")), list(s.items()), list(s.values()), dict(s)) == ([], [], [], [], {}),
    "wait": lambda s: s.wait("k", after=5) == 0 and raises(TimeoutError, lambda: s.wait("k", timeout=0.01)),
    "get_or_set": lambda s: (s.get_or_set("k", lambda: 7), s.get_or_set("k", lambda: 8, ttl=9, stale=9)) == (7, 8),
    "aget_or_set": lambda s: asyncio.run(s.aget_or_set("k", lambda: asyncio.sleep(0, 7))) == 7,
    "memoize": lambda s: s.memoize(lambda n: n + 1, name="f")(5) == 6,
    "wait_async": lambda s: raises(TimeoutError, lambda: asyncio.run(s.wait_async("k", timeout=0.01))),
}  # fmt: skip


def raises(kind, function):
    with pytest.raises(kind) as caught:
        function()
    return not isinstance(caught.value, shmstore.ShmStoreError)


@pytest.fixture
def told(caplog, monkeypatch):
    """The lines that were logged, as if nothing had been logged in this process before."""
    monkeypatch.setattr(rescue, "_logged", {})
    caplog.set_level(logging.WARNING, logger="shmstore")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "shmstore"]


def not_a_cache(key):
    Store(key, size="1M").close()


def not_a_store(key):
    sysv.shmget(lib.shms_key_of_name(key.encode(), len(key)), 4096, sysv.IPC_CREAT | 0o600)


def of_another_format(key):
    with Cache(key, size="1M") as cache, sysv.shmat(cache.info().id) as memory:
        memory[16:20] = (99).to_bytes(4, "little")


def corrupt(key):
    with Cache(key, size="1M") as cache, sysv.shmat(cache.info().id) as memory:
        memory[216:224] = (2**60).to_bytes(8, "little")


def no_client_slot(key):
    holder = subprocess.Popen(
        [sys.executable, "-c", ATTACHED, key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
    )
    HOLDERS.append(holder)
    assert holder.stdout.readline() == b"attached\n"


def collision(key):
    number = lib.shms_key_of_name(key.encode(), len(key))
    Cache(number, size="1M").close()


HOLDERS: list[subprocess.Popen] = []
# A process that has the only client slot of a cache until its input ends.
ATTACHED = """
import sys
import shmstore
with shmstore.Cache(sys.argv[1], size="1M", max_clients=1):
    print("attached", flush=True)
    sys.stdin.read()
"""
BROKEN = [not_a_cache, not_a_store, of_another_format, corrupt, no_client_slot, collision]


@pytest.fixture(params=BROKEN, ids=lambda breaks: breaks.__name__)
def broken(request, key):
    """A handle of a cache that cannot be opened."""
    request.param(key)
    yield key
    while HOLDERS:
        HOLDERS.pop().communicate()
    try:
        sysv.shmctl(sysv.shmget(lib.shms_key_of_name(key.encode(), len(key)), 0), sysv.IPC_RMID)
    except FileNotFoundError:
        pass


def test_a_cache_that_cannot_be_opened(broken, told):
    """Each call is a miss, all of them are told in one line, and the error is what the calls say that are for people."""
    with pytest.raises(shmstore.ShmStoreError) as caught:
        Cache(broken, size="1M")
    with Cache(broken, size="1M", on_error="miss") as cache:
        for name, answers in MISSES.items():
            assert answers(cache), name
        for name in SAY:
            with pytest.raises(type(caught.value)):
                CALLS[name](cache)
        assert not cache.closed and repr(broken) in repr(cache)
    (line,) = told()
    assert str(caught.value) in line and "on_error" in line


def test_the_cases_cover_every_public_method():
    walks = {"__eq__", "__iter__", "keys", "items", "values", "wait_async"}
    assert set(rescue._MISSES) | SAY | APART | walks >= set(ALL)
    assert not SAY & set(rescue._MISSES)


def test_it_works_again_once_it_is_repaired(key, monkeypatch):
    monkeypatch.setattr(rescue, "_PAUSE", 0.0)
    store = Store(key, size="1M")
    with Cache(key, size="1M", on_error="miss") as cache:
        assert cache.put("k", 1) == 0
        store.destroy()
        assert cache.put("k", 1) and cache["k"] == 1 and cache.check() == 0


def test_opening_is_tried_again_after_a_pause(key, monkeypatch):
    opened = []
    monkeypatch.setattr(rescue, "_PAUSE", 600.0)
    monkeypatch.setattr(rescue, "open_handle", lambda *arguments: opened.append(1) or original(*arguments))
    Store(key, size="1M").close()
    with Cache(key, size="1M", on_error="miss") as cache:
        for _ in range(100):
            assert cache.get("k") is None
        assert len(opened) == 1
        cache._retry_at = time.monotonic()
        assert cache.get("k") is None and len(opened) == 2


original = rescue.open_handle


def test_no_permission(key, in_child):
    """The cache of another user, and one that this user may not write."""
    Cache(key, size="1M").close()

    def stranger():
        with Cache(key, on_error="miss") as cache, Cache(key, on_error="miss", owner="any") as other:
            return cache.put("k", 1), cache.get("k", 5), other.put("k", 1), other.get("k", 5)

    assert in_child(stranger, uid=54321) == (0, 5, 0, 5)


def test_an_absent_cache_that_must_not_be_created(key, monkeypatch):
    monkeypatch.setattr(rescue, "_PAUSE", 0.0)
    with Cache(key, create=False, on_error="miss") as cache, Cache(key, readonly=True, on_error="miss") as reader:
        assert cache.get("k") is None and reader.get("k") is None and cache.put("k", 1) == 0
        with Cache(key, size="1M") as creator:
            creator["k"] = 1
            assert cache["k"] == reader["k"] == 1


def test_too_large(key, told):
    with Cache(key, size="1M", on_error="miss") as cache:
        cache["k"] = 1
        for _ in range(3):
            assert cache.put("k", bytes(2 << 20)) == 0 and "k" not in cache
        assert cache.put_many({"a": 1, "b": bytes(2 << 20), "c": 3}) == 1
        stored = cache.put_many({"a": 1, "b": bytes(2 << 20), "c": 3}, on_error="skip")
        assert stored == 2 and list(stored.failed) == ["b"]
        cache["large"] = bytes(2 << 20)
        assert "large" not in cache
    (line,) = told()
    assert "more than the empty store can hold" in line


def test_full_of_views(key, told):
    """A cache that cannot evict anything, because everything in it is read in place."""
    with Cache(key, size="1M", on_error="miss") as cache:
        views = []
        for n in range(200):
            if cache.put(f"v{n}", bytes(60_000)):
                views.append(cache.view(f"v{n}"))
        assert 5 < len(views) < 200 and cache.put("large", bytes(500_000)) == 0
        for view in views:
            assert bytes(view) == bytes(60_000)
            view.release()
        assert cache.put("large", bytes(500_000)) and cache.check() == 0
    assert len(told()) == 1 and "views" in told()[0]


def test_too_many_views(key, told):
    with Cache(key, size="1M", on_error="miss") as cache:
        cache.put_many({f"v{n}": b"x" for n in range(300)})
        views = []
        with pytest.raises(KeyError):
            for n in range(300):
                views.append(cache.view(f"v{n}"))
        assert len(views) > 100 and cache["v299"] == b"x"
    assert "views of other values" in told()[0]


def test_a_lock_that_is_not_free(key, told):
    """The cost of such a miss is the timeout."""
    with Cache(key, size="1M", max_entries=14, on_error="miss", timeout=0.01) as cache:
        cache["k"] = 1
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/"
        ) as holder:
            assert holder.stdout.readline() == b"locked\n"
            assert cache.get("k") == 1
            assert cache.put("k", 2) == 0 and cache.delete("k") is False and cache.incr("k") == 1
            assert cache.modify("k", lambda value: value + 1, 5) == 6 and cache.pop("k", 7) == 7
            assert cache.setdefault("k", 3) == 1 and cache.put_many({"k": 5}) == 0
            removed = cache.delete_many(["k"], on_error="skip")
            assert removed == 0 and isinstance(removed.failed["k"], shmstore.LockTimeout)
            holder.stdin.close()
        assert cache.put("k", 3) and cache["k"] == 3 and cache.check() == 0
    assert len(told()) == 1 and "holds a lock" in told()[0]


# A process that holds the locks of all buckets until its input ends.
HOLDER = """
import sys
import shmstore
from shmstore._core import ffi, lib
store = shmstore.Store(sys.argv[1])
number = [client.number for client in store.clients() if client.is_me][0]
size = ffi.new("uint64_t *")
memory = lib.shms_memory(store._handle, size)
header = ffi.buffer(memory, 8192)
slots, buckets = int.from_bytes(header[216:224], "little"), int.from_bytes(header[224:232], "little")
words = ffi.cast("uint64_t *", memory + slots)
for bucket in range(buckets):
    words[bucket * 8] |= number
print("locked", flush=True)
sys.stdin.read()
for bucket in range(buckets):
    words[bucket * 8] &= ~0xffff
"""


# ---- what is not hidden


@pytest.mark.parametrize("works", [True, False])
def test_errors_of_the_caller_are_raised(key, works):
    if not works:
        Store(key, size="1M").close()
    with Cache(key, size="1M", on_error="miss") as cache:
        for call, kind in {
            lambda: cache.get(): TypeError,
            lambda: cache.put("k", object()): shmstore.CodecError,
            lambda: cache.__setitem__("k", {1: object()}): shmstore.CodecError,
            lambda: cache.put_many({"a": object()}): shmstore.CodecError,
            lambda: cache.put("k", 1, ttl="soon"): TypeError,
            lambda: cache.put("k", 1, ttl=-1): ValueError,
            lambda: cache.touch("k", -1): ValueError,
            lambda: cache.put(5, 1): TypeError,
            lambda: cache.put("k" * 40_000, 1): shmstore.InvalidKey,
            lambda: cache.put("\ud800", 1): shmstore.InvalidKey,
            lambda: cache.get([]): TypeError,
            lambda: cache.get_many("keys"): TypeError,
            lambda: cache.get_many(["k"], on_error="ignore"): ValueError,
            lambda: cache.delete_many(["k"], on_error=None): ValueError,
            lambda: cache.cas("k", 1, "v"): TypeError,
            lambda: cache.incr("k", "1"): TypeError,
            lambda: cache.incr("k", 2**70): OverflowError,
            lambda: cache.modify("k", lambda value: value / 0, 1): ZeroDivisionError,
            lambda: cache.keys(5): TypeError,
        }.items():  # fmt: skip
            with pytest.raises(kind):
                call()


def test_wrong_options_are_raised(key):
    for options, kind in [
        ({"size": "large"}, ValueError), ({"size": 1}, ValueError), ({"ttl": "x"}, TypeError), ({"timeout": -1}, ValueError),
        ({"codec": "none"}, ValueError), ({"on_error": "ignore"}, ValueError), ({"mode": 0o10000}, ValueError),
    ]:  # fmt: skip
        with pytest.raises(kind):
            Cache(key, **{"on_error": "miss", **options})
    with Cache(key, size="1M"), pytest.raises(shmstore.StoreExists):
        Cache(key, create=True, on_error="miss")


def test_errors_about_a_counter_are_raised(key):
    with Cache(key, size="1M", on_error="miss") as cache:
        cache["text"], cache["most"] = "x", 2**63 - 1
        with pytest.raises(TypeError):
            cache.incr("text")
        with pytest.raises(OverflowError):
            cache.incr("most")


def test_a_closed_or_read_only_handle_is_an_error_of_the_caller(key):
    with (
        Cache(key, size="1M") as creator,
        Cache(key, on_error="miss") as cache,
        Cache(key, readonly=True, on_error="miss") as reader,
    ):
        creator["k"] = 1
        for name, call in WRITES.items():
            if name not in ("destroy", "wait"):
                with pytest.raises(shmstore.ReadOnlyStore):
                    call(reader)
                assert reader["k"] == 1
        cache.close()
        for name in [name for name in ALL if name != "__eq__"]:
            with pytest.raises(shmstore.StoreClosed):
                CALLS[name](cache)


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt, shmstore.StoreFull, shmstore.CodecError, shmstore.StoreDestroyed, SystemExit, RuntimeError],
)
def test_what_a_function_raises_passes(key, error):
    """Also an error of another store, or one that looks like this cache's own."""

    def function(value):
        raise error("mine")

    with Cache(key, size="1M", on_error="miss") as cache:
        with pytest.raises(error, match="mine"):
            cache.modify("k", function, 1)
        cache["k"] = 1
        with pytest.raises(error, match="mine"):
            cache.modify("k", function)


@pytest.mark.parametrize("error", [shmstore.LockTimeout, shmstore.CodecError, KeyboardInterrupt, KeyError])
def test_what_a_signal_handler_raises_passes(key, error):
    def handler(signum, frame):
        raise error("of a handler")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with Cache(key, size="1M", on_error="miss") as cache:
            for call in (lambda: cache.put("k", [1, {2}]), lambda: cache.get_many(["k", "x"] * 50), lambda: len(cache)):
                with pytest.raises(error, match="of a handler"):
                    signal.setitimer(signal.ITIMER_REAL, 0.005)
                    while True:
                        call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_unencodable_value_of_another_store_in_a_codec(key):
    """A codec of the user's that fails with errors of the package."""

    class Codec:
        name = "mine"

        def encode(self, value):
            raise shmstore.StoreFull("mine")

        def decode(self, data):
            raise shmstore.StoreFull("mine")

    with (
        Cache(key, size="1M", on_error="miss", codec=Codec()) as cache,
        pytest.raises(shmstore.StoreFull, match="mine"),
    ):
        cache["k"] = 1


# ---- what is outdated

M = 1 << 20
LARGE = bytes(2 * M)  # larger than the cache
REPLACING = {
    "put": lambda c: c.put("k", LARGE) == 0,
    "put with ttl": lambda c: c.put("k", LARGE, ttl=5) == 0,
    "put by keyword": lambda c: c.put(key="k", value=LARGE) == 0,
    "[] =": lambda c: c.__setitem__("k", LARGE) is None,
    "replace": lambda c: c.replace("k", LARGE) is False,
    "cas": lambda c: c.cas("k", LARGE, c.get_versioned("k")[1]) is False,
    "modify": lambda c: c.modify("k", lambda value: LARGE, 5) == LARGE,
    "put_many": lambda c: c.put_many({"first": 1, "k": LARGE, "later": 2}) == 1,
    "put_many that skips": lambda c: list(c.put_many({"first": 1, "k": LARGE}, on_error="skip").failed) == ["k"],
    "update": lambda c: c.update({"first": 1, "k": LARGE, "later": 2}) is None,
}


@pytest.mark.parametrize("name", REPLACING)
def test_a_put_that_finds_no_room_removes_the_old_value(key, name):
    with Cache(key, size="1M", on_error="miss") as cache:
        cache.put_many({"k": 1, "later": 1, "other": 1})
        assert REPLACING[name](cache)
        assert "k" not in cache and cache.get("k") is None
        assert cache["other"] == 1
        assert cache.get("first", 1) == 1 and ("later" in cache) is (name not in ("put_many", "update"))


@pytest.mark.parametrize("name", REPLACING)
def test_without_on_error_the_old_value_stays(key, name):
    with Cache(key, size="1M") as cache:
        cache.put_many({"k": 1, "later": 1})
        if name == "put_many that skips":
            assert REPLACING[name](cache)
        else:
            with pytest.raises(shmstore.ValueTooLarge):
                REPLACING[name](cache)
        assert cache["k"] == 1 and cache["later"] == 1


def test_a_failed_condition_or_value_leaves_the_old_value(key):
    """The condition did not hold, or something else was wrong."""
    with Cache(key, size="1M", on_error="miss") as cache:
        cache["k"] = 1
        assert not cache.add("k", LARGE) and not cache.cas("k", LARGE, 4) and cache.add_many({"k": LARGE}) == 0
        with pytest.raises(shmstore.CodecError):
            cache["k"] = object()
        assert cache["k"] == 1
        assert cache.setdefault("k", LARGE) == 1
        assert cache.get_or_set("new", lambda: LARGE) == LARGE and "new" not in cache


def test_a_cache_full_of_views_leaves_no_outdated_value(key):
    """The old value is not read any more; a view of it stays readable."""
    with Cache(key, size="1M", on_error="miss") as cache:
        views = []
        while cache.put(f"v{len(views)}", bytes([len(views)]) * 60_000):
            views.append(cache.view(f"v{len(views)}"))
        assert cache.put("v3", b"new" * 100_000) == 0
        assert "v3" not in cache and bytes(views[3]) == bytes([3]) * 60_000
        assert "v4" in cache
        for view in views:
            view.release()
        cache.check()


# ---- how it is told


def test_one_line_for_each_kind_and_minute(key, told, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(rescue, "monotonic", lambda: now[0])
    with Cache(key, size="1M", on_error="miss") as cache:
        for _ in range(5):
            cache.put("k", bytes(2 << 20))
        assert len(told()) == 1 and "more" not in told()[0].rsplit(";")[-1]
        now[0] += 59
        cache.put("k", bytes(2 << 20))
        assert len(told()) == 1
        now[0] += 2
        cache.put("k", bytes(2 << 20))
        assert len(told()) == 2 and told()[1].endswith("(5 more of this kind before)")
