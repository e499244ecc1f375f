"""The listener: one of each host, what its death and its stop mean, and when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from near_support import is_running, wait_until, when_valid

import shmstore
from shmstore.near import config, starting, state

SHORT = 0.3  # seconds: a bound that passes soon


def listeners(cache):
    """The processes that hold the lock of the listener, and live."""
    return state.ListenerLock(cache._store, state.LISTENER, None).holders()


def when_invalid(cache):
    """stats() would start a listener, as a get does."""
    wait_until(lambda: cache._store.get(state.STATE)[2] < shmstore._core.lib.shms_now(), "valid_until passes")


def test_one_listener_for_all_processes(open_near, server):
    caches = [open_near() for _ in range(4)]
    program = f"import shmstore; c = shmstore.Cache({caches[0]._config.name!r}, size='4M', backing={server.url!r}, bound=30.0); c.get('a')"
    workers = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    when_valid(caches[0])
    assert len({cache.stats().listener for cache in caches}) == 1 and listeners(caches[0]) == [
        caches[0].stats().listener
    ]


def test_a_killed_listener_is_replaced(open_near, server):
    near = when_valid(open_near(bound=SHORT))
    near["a"] = 1
    first, generation = near.stats().listener, near._store.get(state.STATE)[1]
    os.kill(first, signal.SIGKILL)
    server.client.set("a", 2)
    wait_until(lambda: near["a"] == 2, "the old copy ends with the bound")
    wait_until(lambda: near.stats().listener != first and near.stats().valid, "another listener")
    assert near._store.get(state.STATE)[1] > generation and near["a"] == 2


def test_a_stopped_listener_makes_reads_go_past_the_copies(open_near, server):
    near = when_valid(open_near(bound=SHORT))
    near["a"] = 1
    listener = near.stats().listener
    os.kill(listener, signal.SIGSTOP)
    when_invalid(near)
    server.client.set("a", 2)
    passes = near.stats().passes
    assert near["a"] == 2 and near.get_many(["a"]) == {"a": 2} and near.stats().passes > passes
    assert listeners(near) == [listener] and not near.stats().valid  # it keeps its lock, and no other one is started
    os.kill(listener, signal.SIGCONT)
    when_valid(near)
    assert near["a"] == 2 and near.stats().listener == listener


def test_on_partition(open_near, server):
    options = {
        "bypass": {},
        "stale": {"max_stale": 3600},
        "miss": {},
        "raise": {},
    }
    server.client.mset({"a": 1, "b": 1})  # before the listener is there: a push would remove a copy
    caches = {how: open_near(bound=SHORT, on_partition=how, **more) for how, more in options.items()}
    near = when_valid(caches["stale"])

    def copied():
        before = near.stats().near_hits
        return near["a"] == 1 and near.stats().near_hits > before

    wait_until(copied, "a copy")
    os.kill(near.stats().listener, signal.SIGSTOP)
    when_invalid(near)
    server.client.mset({"a": 2, "b": 2})
    assert near["a"] == 1 and near["b"] == 2 and near.get_many(["a", "b"]) == {"a": 1, "b": 2}
    assert caches["miss"].get("a", 7) == 7 and caches["miss"].get_many(["a", "b"]) == {}
    for call in (lambda: caches["raise"].get("a"), lambda: caches["raise"].get_many(["a"])):
        with pytest.raises(shmstore.BackingUnavailable, match="proves no copy"):
            call()
    assert caches["raise"].get("a", fresh=True) == 2
    assert near["a"] == 2  # that read has removed the copy of the host
    near["a"] = 3
    assert near["a"] == caches["bypass"]["a"] == 3


def test_max_stale_ends(open_near, server):
    near = when_valid(open_near(bound=SHORT, on_partition="stale", max_stale=SHORT + 0.01))
    near["a"] = 1
    os.kill(near.stats().listener, signal.SIGSTOP)
    server.client.set("a", 2)
    wait_until(lambda: near["a"] == 2, "the copy is too old")


def test_a_lost_connection_makes_a_new_generation(open_near, server):
    near = when_valid(open_near(bound=SHORT))
    generation = near._store.get(state.STATE)[1]
    server.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    wait_until(lambda: near.stats().valid and near._store.get(state.STATE)[1] > generation, "it connects again")
    assert near.stats().gaps > 0 and near.stats().problem is None


def test_a_server_that_starts_again_empty(open_near, server):
    near = when_valid(open_near(bound=SHORT))
    near["a"] = 1
    assert near["a"] == 1
    server.stop()
    try:
        when_invalid(near)
        for call in (lambda: near["a"], lambda: near.get_many(["a"]), lambda: near.get("a", fresh=True)):
            with pytest.raises(shmstore.BackingUnavailable):
                call()
        with pytest.raises(shmstore.BackingUnavailable):
            near["a"] = 2
        assert near.stats().problem or not near.stats().valid
        with shmstore.Cache(
            near._config.name, backing=server.url, bound=SHORT
        ) as late:  # does not need the server to open
            assert not late.stats().valid
    finally:
        server.start()
    wait_until(lambda: near.get("a") is None, "the server is empty")
    when_valid(near)
    near["a"] = 3
    assert near["a"] == 3


def test_a_server_that_becomes_a_replica(open_near, server):
    """What a replica pushes is late by the lag of the replication, so it proves nothing."""
    near = when_valid(open_near(bound=SHORT))
    near["a"] = 1
    generation = near._store.get(state.STATE)[1]
    server.client.replicaof("127.0.0.1", "1")  # nobody is there
    try:
        wait_until(lambda: "no master" in (near.stats().problem or ""), "the listener asks for the role")
        when_invalid(near)
        passes = near.stats().passes
        assert near["a"] == 1 and near.stats().passes == passes + 1
        with pytest.raises(shmstore.BackingError, match="read only"):
            near["a"] = 2
    finally:
        server.client.replicaof("NO", "ONE")
    wait_until(lambda: near.stats().valid and near._store.get(state.STATE)[1] > generation, "a new generation")
    near["a"] = 2
    assert near["a"] == 2


def test_a_reply_that_does_not_come(near, server):
    """The server is made to keep the command, and then to close the connection."""
    near["n"] = 1
    raised = []

    def count():
        with pytest.raises(shmstore.OutcomeUnknown) as caught:
            near.incr("n")
        raised.append(caught.value)

    counting = threading.Thread(target=count)
    server.client.execute_command("CLIENT", "PAUSE", 600_000, "WRITE")
    try:
        counting.start()
        wait_until(lambda: server.client.info("clients")["blocked_clients"], "the server keeps the command")
        server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        counting.join()
    finally:
        server.client.execute_command("CLIENT", "UNPAUSE")
    assert raised[0].failed == (b"n",) and near.get("n", fresh=True) == near["n"] == 1 and near.incr("n") == 2


def test_processes_must_agree(open_near):
    near = when_valid(open_near())
    near["a"] = 1
    for options in ({"bound": 29.0}, {"prefixes": ["a"]}):
        other = open_near(**options)
        assert not other.stats().valid  # the listener is another one's, and proves nothing here
        passes = other.stats().passes
        assert other["a"] == 1 and other.stats().passes == passes + 1


def test_a_listener_ends_when_nobody_is_attached(key, server, monkeypatch):
    monkeypatch.setattr(config, "_LINGER", 0.1)
    near = when_valid(shmstore.Cache(key, size="1M", backing=server.url))
    listener = near.stats().listener
    near.close()
    wait_until(lambda: not is_running(listener), "the listener ends")
    with shmstore.Cache(key, size="1M", backing=server.url) as again:
        when_valid(again)
        listener = again.stats().listener
        again.destroy()
    wait_until(lambda: not is_running(listener), "the listener ends")


def test_a_cache_that_is_destroyed_comes_back(open_near, server):
    near = when_valid(open_near())
    near["a"] = 1
    first = near.stats().listener
    near.destroy()
    assert near["a"] == 1
    wait_until(lambda: near.stats().valid and near.stats().listener != first, "another listener for the new store")
    wait_until(lambda: not is_running(first), "the first one ends")
    server.client.set("a", 2)
    wait_until(lambda: near["a"] == 2, "the new one listens")


def test_what_a_listener_is_told_is_not_in_its_arguments(open_near, server):
    near = when_valid(open_near())
    with open(f"/proc/{near.stats().listener}/cmdline", "rb") as arguments:
        assert server.url.encode() not in arguments.read()


def test_a_cluster_is_refused(open_near, server, monkeypatch):
    import redis

    client = redis.RedisCluster.__new__(redis.RedisCluster)
    with pytest.raises(TypeError, match="clusters are not supported"):
        open_near(backing=client)


def test_the_configuration_is_json(open_near):
    near = open_near()
    assert json.loads(json.dumps(near._config.for_listener())) == near._config.for_listener()
    assert not starting.ensure(near._store, near._config.for_listener())  # one is there, or on its way
