"""The kinds of memory a store can live in: how each is named, found, trusted, shared with children, and what it says
where the kernel refuses. What a store does is tested on all of them by the other modules (conftest.py)."""

import mmap
import multiprocessing
import operator
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import pytest

import shmstore
from shmstore import PRIVATE, Store, sysv
from shmstore._store.names import parse_key

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
BOTH = pytest.mark.parametrize("memory", ["sysv", "posix"])


def path_of(name):
    return Path(parse_key(name, "posix").place)


def in_child(function):
    """Call it in a forked child; what it raised or returned, as text."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = str(function())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(into, answer.encode())
        os._exit(0)
    os.close(into)
    with open(out) as file:
        answer = file.read()
    os.waitpid(pid, 0)
    return answer


def as_nobody(function):
    def run():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        return function()

    return in_child(run)


@pytest.fixture
def posix(key):
    """A key; its POSIX store is removed at the end."""
    yield key
    path_of(key).unlink(missing_ok=True)


# ---- names ----


@pytest.mark.parametrize("name, file", [
    ("a", "shmstore-a"), ("A.b_c-9", "shmstore-A.b_c-9"), ("a/b", "shmstore-a%2Fb"), ("..", "shmstore-.."),
    ("100%", "shmstore-100%25"), ("é", "shmstore-%C3%A9"), ("a b\n", "shmstore-a%20b%0A"), ("#1", "shmstore-%231"),
    (0x1234, "shmstore-#00001234"), (-1, "shmstore-#ffffffff"), ("x" * 246, "shmstore-" + "x" * 246),
])  # fmt: skip
def test_names_become_file_names(name, file):
    assert parse_key(name, "posix").object == file.encode()


def test_every_name_is_a_file_name_of_its_own(tmp_path):
    names = ["x" * 247, "x" * 255, "é" * 127, "/" * 255, "x" * 228 + "é" * 9, "x" * 227 + "é" * 9, "x" * 226 + "é" * 9]
    files = [parse_key(name, "posix").object for name in [*names, tmp_path]]
    assert len(set(files)) == len(files) and all(len(file) <= 255 for file in files)
    for file, name in zip(files, names):
        head = urllib.parse.unquote_to_bytes(file[len(b"shmstore-") : file.index(b"~")])
        assert name.encode().startswith(head) and len(head) > 70  # no escape was cut
        with Store(name, backend="posix", size="256K") as store:
            store["a"] = name
            assert os.path.exists(os.fsencode("/dev/shm/") + file)
            with Store(name, backend="posix", create=False) as same:
                assert same["a"] == name and same.info().name == name
            store.destroy()


def test_two_long_names_in_one_file(posix):
    one, other = "x" * 250 + "1", "x" * 250 + "2"
    with Store(one, backend="posix", size="256K") as store:
        try:
            os.link(path_of(one), path_of(other))
            with pytest.raises(shmstore.KeyCollision, match="belongs to the store of the name 'xxx"):
                Store(other, backend="posix")
        finally:
            path_of(other).unlink()
            store.destroy()


def test_the_same_key_names_one_store_of_each_kind(posix):
    with Store(posix, size="256K") as sysv_store, Store(posix, backend="posix", size="256K") as store:
        sysv_store["a"], store["a"] = 1, 2
        assert (sysv_store["a"], store["a"]) == (1, 2)
        assert (sysv_store.info().backend, store.info().backend) == ("sysv", "posix")
        assert {info.backend for info in shmstore.stores() if info.name == posix} == {"sysv", "posix"}
        shmstore.destroy(posix, backend="posix")
        with pytest.raises(shmstore.StoreDestroyed):
            store.get("a")
        assert sysv_store["a"] == 1
        sysv_store.destroy()
    with pytest.raises(shmstore.StoreNotFound, match=str(path_of(posix))):
        shmstore.destroy(posix, backend="posix")


def test_an_object_that_goes_while_they_are_listed_hides_no_other(posix, monkeypatch):
    list_folder = os.listdir
    with Store(posix, backend="posix", size="256K") as store, monkeypatch.context() as patched:
        patched.setattr(os, "listdir", lambda folder: [b"shmstore-gone", *list_folder(folder)])
        assert posix in {info.name for info in shmstore.stores() if info.backend == "posix"}
        store.destroy()


def test_numbers_and_paths(tmp_path):
    for key in (0x5348, tmp_path):
        with Store(key, backend="posix", size="256K") as store, Store(key, backend="posix", create=False) as same:
            store["a"] = 1
            assert same["a"] == 1 and (same.info().key, same.info().id) == (0, -1)
            store.destroy()


@pytest.mark.parametrize("options, error", [
    ({"backend": "mmap"}, ValueError), ({"backend": 1}, TypeError), ({"hugepages": 3}, ValueError),
    ({"hugepages": "3M"}, ValueError), ({"hugepages": True, "backend": "posix"}, ValueError),
    ({"prefault": True, "readonly": True}, ValueError), ({"name": PRIVATE, "readonly": True}, ValueError),
    ({"name": PRIVATE, "create": False}, ValueError),
])  # fmt: skip
def test_bad_options(key, options, error):
    with pytest.raises(error):
        Store(**{"name": key, **options})


# ---- files that are no store, and stores that go ----


@pytest.mark.parametrize("what", ["empty", "short", "other", "hole", "directory", "pipe", "link"])
def test_what_is_no_store_is_left_alone(posix, tmp_path, what):
    path = path_of(posix)
    if what == "directory":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").write_bytes(bytes(1 << 20))
    else:
        path.touch(0o600)
        if what == "short":
            path.write_bytes(b"SHMSTORE")
        elif what == "other":
            path.write_bytes(b"hello" + bytes(1 << 20))
        elif what == "hole":
            os.truncate(path, 1 << 20)
    before = path.lstat()
    try:
        for options in ({}, {"create": False}, {"readonly": True}):
            with pytest.raises(shmstore.NotAStore, match="not changed.*rm /dev/shm/") as refused:
                Store(posix, backend="posix", size="1M", **options)
            assert str(path) in str(refused.value)
        assert path.lstat().st_blocks == before.st_blocks and path.lstat().st_mtime == before.st_mtime
        assert posix not in {info.name for info in shmstore.stores()}
    finally:
        path.rmdir() if what == "directory" else None


def test_the_administrators_removal_is_noticed(posix):
    with Store(posix, backend="posix", size="256K") as store, Store(posix, backend="posix", readonly=True) as reader:
        path_of(posix).unlink()
        for handle in (store, reader):
            with pytest.raises(shmstore.StoreDestroyed):
                handle.info()
        with Store(posix, backend="posix", size="512K") as new:
            new["a"] = 1
            store.close()
            assert new["a"] == 1 and path_of(posix).exists()
            new.destroy()


def test_two_destroys_do_not_remove_the_next_store(posix):
    with Store(posix, backend="posix", size="256K") as one, Store(posix, backend="posix") as two:
        one._revalidate(), two._revalidate()
        one.destroy()
        with Store(posix, backend="posix", size="256K") as new:
            with pytest.raises(shmstore.StoreDestroyed):
                two.destroy()
            assert path_of(posix).exists()
            new.destroy()


def test_mode_is_exact_and_of_the_whole_store(posix):
    before = os.umask(0o077)
    try:
        with Store(posix, backend="posix", size="256K", mode=0o666) as store:
            assert store.info().mode == 0o666 == path_of(posix).stat().st_mode & 0o777
            assert (store.info().uid, store.info().gid) == (os.geteuid(), os.getegid())
            store.destroy()
    finally:
        os.umask(before)


@needs_root
def test_a_mode_that_keeps_the_creator_out_leaves_nothing_behind(posix):
    said = as_nobody(lambda: Store(posix, backend="posix", size="256K", mode=0o400))
    assert said.startswith("StoreSystemError") and "must let its creator read and write" in said
    assert not path_of(posix).exists()


@needs_root
def test_trust(posix):
    def create():
        Store(posix, backend="posix", size="256K", mode=0o666)["a"] = 1

    assert as_nobody(create) == "None"
    with pytest.raises(shmstore.StoreForeign, match=f"owner={NOBODY}"):
        Store(posix, backend="posix")
    with Store(posix, backend="posix", owner=NOBODY) as store:
        assert store["a"] == 1
        store.destroy()
    with Store(posix, backend="posix", size="256K", mode=0o644) as store:
        store["a"] = 1
        assert as_nobody(lambda: Store(posix, backend="posix", readonly=True)["a"]) == "1"
        said = as_nobody(lambda: Store(posix, backend="posix"))
        assert said.startswith("StoreSystemError") and "uid 0, mode 0644" in said and f"you are uid {NOBODY}" in said
        os.chmod(path_of(posix), 0o666)
        said = as_nobody(lambda: shmstore.destroy(posix, backend="posix"))
        assert f"{path_of(posix)} belongs to uid 0 (root)" in said and "only the owner of that file" in said
        assert store["a"] == 1
        store.destroy()


CREATORS = """
import os, sys, shmstore
for _ in sys.stdin:
    pids = []
    for _ in range(2):
        pid = os.fork()
        while pid == 0:
            try:
                with shmstore.Store(sys.argv[1], backend="posix", size="1M") as store:
                    store["a"] = 1
                    store.destroy()
            except shmstore.StoreDestroyed:
                pass
        pids.append(pid)
    print(*pids, flush=True)
    for pid in pids:
        os.waitpid(pid, 0)
"""


def test_creators_killed_at_any_moment_leave_a_store_or_nothing(posix):
    with subprocess.Popen([sys.executable, "-c", CREATORS, posix], cwd="/", text=True, bufsize=1,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:  # fmt: skip
        for i in range(25):
            server.stdin.write("two more\n")
            pids = [int(pid) for pid in server.stdout.readline().split()]
            assert len(pids) == 2
            time.sleep(i / 2500)  # the moment of the kill: nothing is waited for
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            while any(os.path.exists(f"/proc/{pid}") for pid in pids):
                time.sleep(0.001)
            assert [name for name in os.listdir("/dev/shm") if posix in name] in ([], [path_of(posix).name])
            with Store(posix, backend="posix", size="1M", timeout=0) as store:  # no process is waited for
                store.check()
                assert store.get("a", 1) == 1
                store.destroy()


# ---- clients and their locks ----


def test_a_dead_client_is_seen_across_pid_namespaces(posix):
    if subprocess.run(["unshare", "-p", "-f", "true"], capture_output=True).returncode:
        pytest.skip("no pid namespace here")
    program = "import os, sys, shmstore; s = shmstore.Store(sys.argv[1], backend='posix'); s['pid'] = 1; print('in', flush=True); input()"
    with Store(posix, backend="posix", size="1M") as store:
        # network namespaces differ, too: no abstract socket could be seen
        child = subprocess.Popen(["unshare", "-p", "-f", "-n", sys.executable, "-c", program, posix], text=True, cwd="/",
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        assert child.stdout.readline() == "in\n"
        store.get("pid")
        assert sorted((c.is_me, c.alive) for c in store.clients()) == [(False, True), (True, True)]
        (there,) = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        os.kill(int(there), signal.SIGKILL)
        child.communicate()
        end = time.monotonic() + 300
        while [c.alive for c in store.clients()] != [True] and time.monotonic() < end:
            store.recover()
            time.sleep(0.1)
        assert [c.is_me for c in store.clients()] == [True]
        store.destroy()


def test_a_forked_child_does_not_keep_its_parents_lock(posix):
    """The parent dies, its child lives: recovered from another pid namespace's point of view, by the lock alone."""
    program = """
import os, sys, time, shmstore
s = shmstore.Store(sys.argv[1], backend="posix", size="1M")
s["a"] = 1
if os.fork() == 0:
    print(s["a"], os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
os.kill(os.getpid(), 9)
"""
    parent = subprocess.Popen([sys.executable, "-c", program, posix], text=True, cwd="/", stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)  # fmt: skip
    _, child = parent.stdout.readline().split()
    assert parent.wait() == -9
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    stat = path_of(posix).stat()  # another tmpfs may have a file of the same number
    file = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    mine = [(row[3], int(row[6])) for row in locks if row[1] == "OFDLCK" and row[5] == file]
    beacons = [byte for kind, byte in mine if byte >= 1 << 62]
    assert len(beacons) == 1 and beacons[0] >> 16 & 0xFFFF == 2, mine  # the child's, client 2; not its parent's
    with Store(posix, backend="posix") as store:
        store.recover()
        assert int(child) in {c.pid for c in store.clients()} and parent.pid not in {c.pid for c in store.clients()}
        parent.communicate()
        store.destroy()


@pytest.mark.usefixtures("separate_clients")
def test_descriptors_that_the_program_closed(posix):
    """The store goes on, touches nobody else's file, and has its lock again within seconds."""
    with Store(posix, backend="posix", size="64M") as store, Store(posix, backend="posix") as other:
        store["a"] = 1
        target = store._raw_info().descriptor
        innocent = os.memfd_create("innocent")
        os.dup2(innocent, target)  # closes it, and is somebody else's file now
        os.write(target, b"innocent")
        for i in range(100):
            store[f"k{i}"] = bytes(10_000)
        other.check()
        assert os.fstat(target).st_size == 8 and os.fstat(target).st_blocks == 8
        store.info()
        assert store._raw_info().descriptor != target
        assert [c.alive for c in other.clients()] == [True, True] and len(other.clients()) == 2
        store.close()
        assert os.pread(target, 8, 0) == b"innocent"
        os.close(target), os.close(innocent)
        other.destroy()


def test_attached_are_counted(posix, becomes_attached):
    with Store(posix, backend="posix", size="256K") as store:
        readers = [Store(posix, backend="posix", readonly=True) for _ in range(7)]
        becomes_attached(store, 8)
        becomes_attached(readers[3], 8)
        for reader in readers:
            reader.close()
        becomes_attached(store, 1)
        store.destroy()


# ---- private stores ----


@BOTH
def test_a_private_store_goes_with_its_last_process(memory):
    with Store(PRIVATE, backend=memory, size="1M") as store, Store(PRIVATE, backend=memory, size="1M") as another:
        store["a"] = 1
        assert "a" not in another
        id = store.info().id
        assert store.info().uuid not in {info.uuid for info in shmstore.stores()}
        assert "PRIVATE" in repr(store)
        assert in_child(lambda: (store["a"], store.incr("n"))) == "(1, 1)"
        assert store["n"] == 1
        store.check()
    if memory == "sysv":
        with pytest.raises(OSError):
            sysv.shmctl(id, sysv.IPC_STAT)


@BOTH
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_every_start_method_share_it(memory, method):
    context = multiprocessing.get_context(method)
    with Store(PRIVATE, backend=memory, size="1M") as store:
        incr = operator.methodcaller("incr", "n")
        children = [context.Process(target=incr, args=(store,)) for _ in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0, 0, 0] and store["n"] == 3
        store.check()


@BOTH
def test_a_pickled_private_handle_is_that_store_or_none(memory):
    with Store(PRIVATE, backend=memory, size="1M") as store:
        store["a"] = 1
        pickled = pickle.dumps(store)
        with pickle.loads(pickled) as same:
            assert same["a"] == 1 and same.info().uuid == store.info().uuid and same.info().backend == memory
            again = pickle.dumps(same)
        if memory == "sysv":
            assert pickle.loads(again)["a"] == 1
    with Store(PRIVATE, backend=memory, size="1M"):  # may have its number now, but is another
        with pytest.raises(shmstore.StoreNotFound):
            pickle.loads(pickled)


@BOTH
def test_a_private_store_can_be_destroyed(memory):
    store = Store(PRIVATE, backend=memory, size="1M")
    same = pickle.loads(pickle.dumps(store))
    store.destroy()
    for handle in (store, same):
        with pytest.raises(shmstore.StoreDestroyed):
            handle.get("a")


def test_a_private_posix_store_cannot_be_made_shorter():
    with Store(PRIVATE, backend="posix", size="1M") as store:
        for size in (4096, 2 << 20):
            with pytest.raises(PermissionError):
                os.truncate(f"/proc/self/fd/{store._raw_info().descriptor}", size)


@BOTH
def test_a_named_handle_keeps_its_memory_when_pickled(key, memory):
    with Store(key, backend=memory, size="1M", ttl=50.0) as store:
        with pickle.loads(pickle.dumps(store)) as same:
            assert (same.info().backend, same.info().uuid) == (memory, store.info().uuid)
        store.destroy()


def test_a_machine_with_less_address_space(posix):
    def refused():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
        return Store(posix, backend="posix", size="1G")

    said = in_child(refused)
    assert said.startswith("StoreSystemError") and "ulimit -v" in said, said
    assert not path_of(posix).exists()
