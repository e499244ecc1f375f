"""What test_small_shm.py runs in a mount namespace of its own, where /dev/shm has the megabytes that it says.

python small_shm_work.py MEGABYTES FUNCTION
"""

import json
import os
import random
import subprocess
import sys
import time

from segment_sizes import M, of_segment

import shmstore
from shmstore import PRIVATE, Store
from shmstore._store import opening


def free() -> int:
    fs = os.statvfs("/dev/shm")
    return fs.f_bfree * fs.f_frsize


def full(put):
    """Until it is refused; how often it was not, and what it said then."""
    for count in range(1 << 20):
        try:
            put(count)
        except shmstore.StoreFull as error:
            return count, str(error)
    raise AssertionError("never full")


def fill_shm(leave=0):
    """Somebody else takes the rest of /dev/shm."""
    fd = os.open("/dev/shm/other", os.O_RDWR | os.O_CREAT, 0o600)
    size = os.fstat(fd).st_size
    for step in (M, 4096):
        while free() > leave + step:
            os.posix_fallocate(fd, size, step)
            size += step
    if not leave:
        try:
            while True:
                os.posix_fallocate(fd, size, 4096)
                size += 4096
        except OSError:
            pass
    os.close(fd)


def fills_up_and_goes_on():
    # The table of a sparse store is large, and a new name may need a new page of it: here it is small.
    for length, entries in ((300, 250_000), (100_000, 2000), (20 * M, 2000)):
        with Store("small", backend="posix", size="1G", max_entries=entries, codec="raw") as store:
            value = random.Random(length).randbytes(length)
            count, said = full(lambda i: store.put(f"k{i}", value))
            assert "/dev/shm has 67108864 bytes (64M)" in said and "bytes free in the store, but" in said, said
            assert "nothing was changed" in said and 'backend="sysv"' in said
            assert count * length > 30 * M, (count, length)
            store.check()
            assert all(store[f"k{i}"] == value for i in range(count))
            reader = Store("small", backend="posix", readonly=True, codec="raw")
            assert reader["k0"] == value and len(reader) == count and "absent" not in reader
            for i in range(0, count, 2):
                store.delete(f"k{i}")
            again, _ = full(lambda i: store.put(f"again{i}", value))
            assert again >= count // 2 * 9 // 10, (again, count)
            store.check()
            store.clear()
            once_more, _ = full(lambda i: store.put(f"more{i}", value))
            assert once_more >= count * 9 // 10
            store.check()
            reader.close()
            store.clear()
            store["large"] = bytes(50 * M)  # the pages that the store kept are free for it, wherever they are
            store.check()
            store.destroy()
        assert free() > 63 * M


def another_takes_the_rest():
    """With no page left at all: what needs none works, all else is refused, nobody dies."""
    with Store("small", backend="posix", size="256M", codec="raw") as store:
        for i in range(2000):
            store.put(f"k{i}", bytes(1000))
        other = Store("small", backend="posix", codec="raw")
        fill_shm()
        assert free() == 0
        for i in range(2000):
            assert store[f"k{i}"] == bytes(1000) and f"absent{i}" not in other
        full(lambda i: store.put(f"new{i}", bytes(1000)))
        full(lambda i: store.put(f"large{i}", bytes(M)))
        for i in range(0, 2000, 2):
            other.delete(f"k{i}")
        count, _ = full(lambda i: store.put(f"k{2 * i}" if i < 1000 else f"n{i}", bytes(1000)))
        assert count >= 1000, count  # what was freed has its pages
        store.touch("k1", 1000.0)
        store.check()
        other.check()
        for handle in (store, other):
            assert len(list(handle)) == len(handle)
        # No place for one more writer beyond those whose entries are there; a reader needs none.
        handles = []
        opening.SHARES_SLOT = False  # each of these handles stands for a process
        try:
            for _ in range(200):
                handles.append(Store("small", backend="posix"))
        except shmstore.StoreFull as error:
            assert "no client slot for another writing process" in str(error) and "/dev/shm" in str(error)
        else:
            raise AssertionError("entries without pages")
        opening.SHARES_SLOT = True
        Store("small", backend="posix", readonly=True).close()
        for handle in handles:
            handle.close()
        try:
            Store("another", backend="posix", size="1M")
        except shmstore.StoreSystemError as error:
            assert error.errno == 28 and "/dev/shm has 67108864 bytes (64M), 0 bytes free" in str(error), error
        else:
            raise AssertionError("a store without a page")
        assert sorted(os.listdir("/dev/shm")) == ["other", "shmstore-small"]
        os.unlink("/dev/shm/other")
        store.put("large", bytes(8 * M))
        store.check()
        other.close()
        store.destroy()


def pages_go_back_when_alone():
    with Store("small", backend="posix", size="1G", codec="raw") as store:
        store["large"] = bytes(40 * M)
        store["end"] = b"1"
        reader = Store("small", backend="posix", readonly=True)
        store.delete("large")
        assert free() < 25 * M  # the reader might be on its way through it
        reader.close()
        store["large"] = bytes(40 * M)
        store.delete("large")
        assert free() > 40 * M
        fill_shm(leave=M)
        full(lambda i: store.put("large", bytes(40 * M)))  # its pages are somebody else's now
        store["middle"] = bytes(10 * M)  # these it kept
        store.check()
        store.destroy()
        os.unlink("/dev/shm/other")


def deaths_in_a_full_shm():
    """Writers are killed while there is no page left: recovery needs pages and may not die for want of them."""
    with Store("small", backend="posix", size="1G", codec="raw") as store:
        full(lambda i: store.put(f"k{i}", bytes(random.Random(i).randrange(60_000))))
        fill_shm()
        rng = random.Random(5)
        for _ in range(60):
            pids = []
            for _ in range(2):
                pid = os.fork()
                if pid == 0:
                    try:
                        mine = random.Random()
                        while True:
                            name = f"k{mine.randrange(1500)}"
                            try:
                                store.put(name, bytes(mine.randrange(60_000)))
                            except shmstore.StoreFull:
                                store.delete(name)
                    except shmstore.ShmStoreError:
                        pass
                    finally:
                        os._exit(0)
                pids.append(pid)
            time.sleep(rng.uniform(0.005, 0.04))
            for pid in pids:
                os.kill(pid, 9)
                assert os.waitpid(pid, 0)[1] in (9, 0)
            store.recover()
            store.check()
        store.destroy()
        os.unlink("/dev/shm/other")


def system_v_is_not_bound():
    with Store("large", size="512M", codec="raw") as store:
        for i in range(4):
            store[f"k{i}"] = bytes([i]) * (100 * M)
        assert all(store[f"k{i}"][-1] == i for i in range(4))
        store.destroy()
    with Store(PRIVATE, size="256M", codec="raw") as store:
        store["k"] = bytes(100 * M)


def doctor() -> tuple[str, str, str]:
    """What it says of /dev/shm: level, words, command."""
    done = subprocess.run(
        [sys.executable, "-m", "shmstore", "doctor", "--json"], capture_output=True, text=True, cwd="/"
    )
    (check,) = [check for check in json.loads(done.stdout)["checks"] if check["topic"] == "/dev/shm"]
    assert done.returncode == 1 or check["level"] != "problem"
    return check["level"], check["says"], check["fix"] or ""


def doctor_says_which_and_why():
    """Two stores of 512 MB, one of each kind; then the doctor's command is obeyed."""
    level, says, fix = doctor()
    assert level == "note" and "its size is 64M, the default of containers" in says, says
    with (
        Store("small", backend="posix", **of_segment(512 * M), max_entries=2000, codec="raw") as store,
        Store("large", size="512M", codec="raw") as large,
    ):
        level, says, fix = doctor()
        assert (
            level == "problem"
            and "the POSIX stores (1, with 512M in all)" in says
            and "before the stores are full" in says
        ), says
        count, said = full(lambda i: store.put(f"k{i}", bytes(M)))
        assert 50 < count < 64 and "/dev/shm has 67108864 bytes (64M)" in said
        level, says, fix = doctor()
        assert (
            level == "problem"
            and "puts into POSIX stores raise StoreFull" in says
            and "System V stores are not affected" in says
        ), says
        store.delete("k0")
        store["k0"] = bytes(M)
        for i in range(400):
            large.put(f"k{i}", bytes(M))
        assert all(len(large[f"k{i}"]) == M for i in range(400)) and len(store) == count
        command = fix.removeprefix("as root: ").split("; or ")[0]
        subprocess.run(command, shell=True, check=True)
        for i in range(count, 400):
            store.put(f"k{i}", bytes(M))
        assert doctor()[0] == "ok"
        store.check(), large.check()
        store.destroy(), large.destroy()


def a_private_posix_store_is_not_bound():
    """memfd does not live in /dev/shm."""
    with Store(PRIVATE, backend="posix", size="256M", codec="raw") as store:
        store["k"] = bytes(90 * M)
        assert free() > 63 * M


def prefault_wants_all_of_it():
    try:
        Store("small", backend="posix", size="128M", prefault=True)
    except shmstore.StoreSystemError as error:
        assert error.errno == 28 and "/dev/shm has 67108864 bytes (64M)" in str(error)
    else:
        raise AssertionError("more than there is")
    assert os.listdir("/dev/shm") == [] and free() > 63 * M
    with Store("small", backend="posix", size="48M", prefault=True) as store:
        assert free() < 17 * M
        fill_shm()
        store["k"] = bytes(20 * M)
        store.check()
        store.destroy()


if __name__ == "__main__":
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={sys.argv[1]}m", "tmpfs", "/dev/shm"], check=True)
    globals()[sys.argv[2]]()
