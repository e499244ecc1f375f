"""The calls of a near cache, as one process sees them."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from near_support import wait_until, when_valid

import shmstore


def test_a_value_that_another_program_wrote(near, server):
    server.client.set("n", "41")
    assert near["n"] == 41 and near.incr("n") == 42 and server.client.get("n") == b"42"


def test_a_second_read_does_not_ask_the_server(near, server):
    near["a"] = {"x": (1, 2)}
    assert near["a"] == {"x": (1, 2)}
    wait_until(lambda: _is_hit(near, "a"), "a read finds a copy")  # the push of the put may remove the first one


def _is_hit(near, key):
    before = near.stats().near_hits
    near.get(key)
    return near.stats().near_hits > before


def test_a_write_of_another_program_is_seen(near, server):
    server.client.set("k", 1)
    assert near["k"] == 1
    wait_until(lambda: _is_hit(near, "k"), "a copy")
    server.client.set("k", 2)
    wait_until(lambda: near["k"] == 2, "the copy is removed")
    server.client.delete("k")
    wait_until(lambda: "k" not in near, "the copy is removed")


@pytest.mark.parametrize("change", ["flushall", "flushdb"])
def test_flush_makes_all_copies_void(near, server, change):
    near.put_many({f"k{n}": n for n in range(20)})
    assert near.get_many([f"k{n}" for n in range(20)]) == {f"k{n}": n for n in range(20)}
    getattr(server.client, change)()
    wait_until(lambda: not near.get_many([f"k{n}" for n in range(20)]), "no copy is valid")


def test_read_your_writes(near):
    for n in range(300):
        near["a"] = n
        assert near["a"] == n and near.get("a") == n
        assert near.incr("a", 1000) == n + 1000 and near["a"] == n + 1000
        assert near.delete("a") and "a" not in near


def test_absent(near):
    assert near.get("a") is None and near.get("a", 7) == 7 and "a" not in near
    with pytest.raises(KeyError, match="a"):
        near["a"]
    with pytest.raises(KeyError):
        del near["a"]
    with pytest.raises(KeyError):
        near.ttl("a")
    with pytest.raises(KeyError):
        near.get_versioned("a")
    assert not near.delete("a") and not near.touch("a", 5) and not near.touch("a", None) and not near.replace("a", 1)


def test_values_that_are_none_or_false_are_found(near):
    near.put_many({"none": None, "false": False, "empty": []})
    for _ in range(2):
        assert near.get("none", 7) is None and near["false"] is False and near["empty"] == [] and "none" in near


def test_add_replace_cas(near):
    assert near.add("a", 1) and not near.add("a", 2) and near["a"] == 1
    assert near.replace("a", [3]) and near["a"] == [3]
    value, version = near.get_versioned("a")
    assert value == [3] and near.cas("a", [4], version) and not near.cas("a", [5], version) and near["a"] == [4]
    assert near.put("a", 9) == near.get_versioned("a")[1]
    assert not near.cas("a", 1, 0) and near.cas("b", 1, 0) and near["b"] == 1


def test_times_to_live(near, server):
    near.put("a", 1, ttl=100)
    assert 0 < near.ttl("a") <= 100 and near.touch("a", 1000) and 100 < near.ttl("a") <= 1000
    assert near.touch("a", None) and near.ttl("a") is None
    near.put("b", 1, ttl=100)
    near.put("b", 2, ttl=shmstore.KEEP)
    assert 0 < near.ttl("b") <= 100
    value, version = near.get_versioned("b")
    assert near.cas("b", 3, version, ttl=5000) and near.ttl("b") > 100
    near.put("c", 1, ttl=0.01)
    near.get("c")
    wait_until(lambda: "c" not in near, "it expires, and its copy with it")
    for call in (near.touch, lambda key, ttl: near.incr(key, ttl=ttl)):
        with pytest.raises(TypeError, match="ttl"):
            call("a", shmstore.KEEP)


def test_the_ttl_of_the_cache(open_near):
    near = open_near(ttl=50)
    near["a"] = 1
    assert 0 < near.ttl("a") <= 50


def test_a_copy_does_not_live_longer_than_near_ttl(open_near, server):
    near = when_valid(open_near(near_ttl=0.01))
    near["a"] = 1
    asked = server.calls("get")
    assert near["a"] == 1
    wait_until(lambda: near["a"] == 1 and server.calls("get") > asked + 1, "the server is asked again")


def test_counters(near, server):
    assert near.incr("n") == 1 and near.incr("n", 5) == 6 and near.decr("n", 2) == 4
    assert near.incr("big", initial=2**62, ttl=100) == 2**62 + 1 and 0 < near.ttl("big") <= 100
    assert near.incr("big", -(2**62), ttl=9) == 1 and near.ttl("big") > 9  # the ttl is that of a new counter
    with pytest.raises(KeyError):
        near.incr("absent", create=False)
    assert near.incr("n", create=False) == 5
    near["text"] = "5"
    with pytest.raises(TypeError, match="not an integer"):
        near.incr("text")
    near["n"] = 2**63 - 1
    for call in (lambda: near.incr("n"), lambda: near.incr("new", initial=2**63 - 1), lambda: near.incr("n", 2**63)):
        with pytest.raises(OverflowError):
            call()
    assert near["n"] == 2**63 - 1 and "new" not in near
    for by in (1.5, "1", True):
        with pytest.raises(TypeError):
            near.incr("n", by)


def test_many(near, server):
    assert near.put_many({"a": 1, b"b": [2]}) == 2 and near.put_many([("c", 3)], ttl=60) == 1 and near.put_many({}) == 0
    for _ in range(2):
        assert near.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": [2], "c": 3}
    assert near.get_many(["a", b"a"]) == {"a": 1, b"a": 1}  # one key of the server
    assert near.get_many([]) == {} and near.get_many(["a"], fresh=True) == {"a": 1}
    assert near.delete_many(["a", "b", "x"]) == 2 and near.delete_many([]) == 0 and near.get_many(["a", "b"]) == {}
    for call in (near.get_many, near.delete_many):
        with pytest.raises(TypeError, match="several keys"):
            call("abc")


def test_many_keys_take_one_round_trip(near, server, monkeypatch):
    near.put_many({str(n): n for n in range(50)})
    sent = []
    backing = type(near._backing)
    monkeypatch.setattr(backing, "read", _noting(backing.read, sent))
    near.get_many([str(n) for n in range(50)])
    assert len(sent) <= 1


def _noting(read, sent):
    def noting(self, *commands):
        sent.append(commands)
        return read(self, *commands)

    return noting


def test_fresh_asks_the_server(near, server):
    near["a"] = 1
    near["a"]
    asked = server.calls("get")
    assert near.get("a", fresh=True) == 1 and server.calls("get") == asked + 1


def test_keys_outside_the_prefixes_have_no_copies(open_near, server):
    near = when_valid(open_near(prefixes=["user:", "page:"]))
    near.put_many({"user:1": 1, "other": 2})
    asked = server.calls("get")
    for _ in range(3):
        assert near["other"] == 2 and near.get_many(["other"]) == {"other": 2}
    assert server.calls("get") == asked + 6
    wait_until(lambda: _is_hit(near, "user:1"), "a copy")


def test_what_another_program_wrote_in_another_format(near, server):
    server.client.set("text", "hello")
    server.client.rpush("list", 1)
    assert near.get("text", 5) == 5 and near.get_many(["text"]) == {}
    with pytest.raises(shmstore.BackingError, match="WRONGTYPE"):
        near.get("list")
    near["other"] = 1
    with pytest.raises(shmstore.BackingError, match="WRONGTYPE"):
        near.get_many(["list", "other"])
    assert not [key for key in ("list", "other") if type(near._store.get(key.encode())) is bytes]  # no token stays
    with pytest.raises(shmstore.CodecError):
        near.get_versioned("text")
    near["text"] = "hello"
    assert near["text"] == "hello"


def test_a_value_that_the_store_has_no_room_for(near):
    near["a"] = b"x" * 8_000_000
    for _ in range(2):
        assert len(near["a"]) == 8_000_000


def test_one_fetch_for_many_threads(open_near, server):
    """The copies must be valid before, and the key must have been written before tracking began."""
    server.client.set("a", 1)
    near = when_valid(open_near())
    asked, results = server.calls("get"), []
    barrier = threading.Barrier(8)

    def read():
        barrier.wait()
        results.append(near["a"])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 8 and server.calls("get") == asked + 1


def test_get_or_set(near):
    called = []

    def compute():
        called.append(1)
        return {"v": len(called)}

    results = []
    threads = [threading.Thread(target=lambda: results.append(near.get_or_set("a", compute))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [{"v": 1}] * 6 and near["a"] == {"v": 1}
    assert near.get_or_set("outer", lambda: near.get_or_set("outer", lambda: 5) + 1) == 6
    with pytest.raises(ZeroDivisionError):
        near.get_or_set("bad", lambda: 1 / 0)
    assert near.get_or_set("bad", lambda: 2, ttl=50) == 2 and near.ttl("bad") <= 50


def test_locks_are_those_of_the_host(near, server):
    other = shmstore.Cache(near._config.name, backing=server.url, bound=30.0)
    with other, near.lock("x", timeout=0) as held, other.lock("x", timeout=0) as second:
        assert held and second is None
    with near.semaphore("s", 1) as held:
        assert held
    assert near.barrier("b", 1).wait() == 0


def test_what_a_server_cannot_promise_is_refused(near):
    for name in ("clear", "namespace", "evict_tag", "view", "wait", "modify", "popitem", "keys", "resize"):
        with pytest.raises(AttributeError, match="backing"):
            getattr(near, name)
    with pytest.raises(AttributeError, match="no attribute"):
        near.nonsense  # noqa: B018
    with pytest.raises(TypeError):
        near.put("a", 1, tags=["t"])
    with pytest.raises(shmstore.CodecError):
        near["a"] = object()
    with pytest.raises(TypeError):
        near[5] = 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"on_partition": "hope"}, ValueError, "on_partition"),
        ({"on_partition": "stale"}, ValueError, "max_stale"),
        ({"max_stale": 5}, ValueError, "max_stale"),
        ({"on_partition": "stale", "max_stale": 1}, ValueError, "at least bound"),
        ({"near_ttl": None}, ValueError, "near_ttl"),
        ({"bound": 0.001}, ValueError, "bound"),
        ({"prefixes": "user:"}, TypeError, "list or tuple"),
        ({"prefixes": ["a", "ab"]}, ValueError, "beginning"),
        ({"prefixes": []}, ValueError, "empty"),
        ({"prefixes": [1]}, TypeError, "prefix"),
        ({"readonly": True}, ValueError, "readonly"),
        ({"on_error": "miss"}, ValueError, "on_error"),
        ({"codec": "pickle"}, ValueError, "codec"),
        ({"backing": 5}, TypeError, "backing"),
        ({"backing": "http://x"}, ValueError, "scheme"),
        ({"ttl": -1}, ValueError, "ttl"),
    ],
)
def test_wrong_options(open_near, options, error, text):
    with pytest.raises(error, match=text):
        open_near(**options)


def test_a_name_is_needed(server):
    for name in (shmstore.PRIVATE, 77):
        with pytest.raises(TypeError, match="name"):
            shmstore.Cache(name, backing=server.url)


def test_a_client_is_a_backing_too(open_near, server):
    near = when_valid(open_near(backing=server.client))
    near["a"] = 1
    assert server.client.get("a") == b"1" and near["a"] == 1


@pytest.mark.parametrize("missing", ["redis", "hiredis"])
def test_what_to_install(tmp_path, missing):
    """Without a server: the packages are asked for first."""
    (tmp_path / f"{missing}.py").write_text("raise ModuleNotFoundError('not here')")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import shmstore; shmstore.Cache('x', backing='redis://127.0.0.1:1')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'shmstore[redis]'" in done.stderr
