"""Keys, creation, trust, and what is refused."""

import os
import subprocess
import sys

import pytest

import shmstore
from shmstore import Store, sysv


def test_create(key):
    with pytest.raises(shmstore.StoreNotFound):
        Store(key, create=False)
    with Store(key, create=True, size="1M") as store:
        with pytest.raises(shmstore.StoreExists):
            Store(key, create=True)
        with Store(key) as same:
            same["a"] = 1
        assert store["a"] == 1
        store.destroy()
    with pytest.raises(shmstore.StoreNotFound):
        shmstore.destroy(key)


def test_the_creators_choices(key):
    with Store(key, size="1M", mode=0o640, max_entries=1000) as store:
        assert (store.info().size, store.info().mode, store.info().max_entries) == (1 << 20, 0o640, 1000)
        with pytest.raises(ValueError, match="mode"):
            Store(key, mode=0o600)
        Store(key, size=1 << 20, mode=0o640, max_entries=1000).close()
        store.destroy()


@pytest.mark.parametrize(
    "bad, error",
    [
        ("", ValueError),
        ("a\0b", ValueError),
        ("x" * 256, ValueError),
        (0, ValueError),
        (2**32, ValueError),
        (1.5, TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_bad_keys(bad, error):
    with pytest.raises(error):
        Store(bad)


@pytest.mark.parametrize("options, error", [({"size": 0}, ValueError), ({"size": "1X"}, ValueError),
                                            ({"size": 4096}, ValueError), ({"mode": 0o1000}, ValueError),
                                            ({"ttl": 0}, ValueError), ({"timeout": -1}, ValueError),
                                            ({"max_entries": 0}, ValueError), ({"codec": "nope"}, ValueError),
                                            ({"owner": "me"}, ValueError)])  # fmt: skip
def test_bad_options(key, options, error):
    with pytest.raises(error):
        Store(key, **options)
    with pytest.raises(shmstore.StoreNotFound):
        Store(key, create=False)


@pytest.mark.sysv
def test_numbers_and_paths(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with Store(path, size="1M") as store:
        number = store.info().key & 0xFFFFFFFF
        assert number == sysv.ftok(path, 0x53) & 0xFFFFFFFF and store.info().name == str(path)
        with Store(number) as same:
            same["a"] = 1
        assert store["a"] == 1
        store.destroy()
    with pytest.raises(FileNotFoundError):
        Store(tmp_path / "absent")


@pytest.mark.sysv
def test_collision(key):
    with Store(key, size="1M") as store:
        number = store.info().key & 0xFFFFFFFF
        store.destroy()
    with Store(number, size="1M") as store:
        with pytest.raises(shmstore.KeyCollision):
            Store(key)
        store.destroy()


@pytest.mark.sysv
def test_not_a_store():
    number = 0x53000000 | os.getpid() & 0xFFFFFF
    id = sysv.shmget(number, 1 << 20, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)
    try:
        attached = sysv.shmat(id)
        attached.memory[:5] = b"hello"
        with pytest.raises(shmstore.NotAStore):
            Store(number, size="1M")
        assert bytes(attached.memory[:8]) == b"hello\0\0\0"
    finally:
        sysv.shmctl(id, sysv.IPC_RMID)


def test_destroyed_under_others(key):
    with Store(key, size="1M") as one, Store(key) as two:
        one.destroy()
        with pytest.raises(shmstore.StoreDestroyed):
            two.get("a")
        with Store(key, size="1M") as three:
            three["a"] = 1
            with pytest.raises(shmstore.StoreDestroyed):
                two.put("a", 2)
            three.destroy()


def test_racing_creators_get_one_store(key):
    program = (
        "import shmstore, sys\ns = shmstore.Store(sys.argv[1], size='1M')\nprint(s.incr('opened'), s.info().uuid)\n"
    )
    racers = [subprocess.Popen([sys.executable, "-c", program, key], stdout=subprocess.PIPE, text=True, cwd="/")
              for _ in range(6)]  # fmt: skip
    lines = [racer.communicate()[0].split() for racer in racers]
    assert sorted(int(count) for count, _ in lines) == [1, 2, 3, 4, 5, 6]
    assert len({uuid for _, uuid in lines}) == 1


def test_stores_lists_it(key):
    with Store(key, size="1M") as store:
        assert key in {info.name for info in shmstore.stores()}
        assert [client.is_me for client in store.clients()] == [True]
        store.destroy()
