"""Every error, made to happen for real: its class, and a message with the store, the cause and the remedy.

Stores are broken by writing into their segment; where the words stand is said in layout.h.
"""

import itertools
import os
import random
import re
import sys
import threading
import time
from pathlib import Path

import pytest

import shmstore
from shmstore import Store, errors, sysv
from shmstore._core import lib
from shmstore._store.failures import failure

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from forked_child import elsewhere  # noqa: E402
from messages import says  # noqa: E402
from segment_words import HEADER, NAME, Memory  # noqa: E402
from store_methods import ALL, NEITHER, READS, WRITES  # noqa: E402

pytestmark = pytest.mark.usefixtures("removed")


ROOT = os.geteuid() == 0


def test_no_method_is_left_out():
    assert {name for name in dir(Store) if not name.startswith("_")} <= READS.keys() | WRITES.keys() | NEITHER


def test_the_tree():
    for name in errors.__all__:
        assert getattr(shmstore, name) is getattr(errors, name)
        assert issubclass(getattr(errors, name), errors.ShmStoreError)
    assert issubclass(errors.StoreFull, MemoryError) and issubclass(errors.ValueTooLarge, errors.StoreFull)
    assert issubclass(errors.LockTimeout, TimeoutError) and issubclass(errors.StoreSystemError, OSError)


def test_every_status_of_an_open_store_has_an_error(make):
    """By number, since some cannot be made to happen from here."""
    store = make()
    only_opening = {"NOT_A_STORE", "FORMAT", "COLLISION", "FOREIGN", "NOT_FOUND", "EXISTS", "MISMATCH", "TOO_SMALL"}
    elsewhere_dealt_with = {"FORKED", "NO_MEMORY", "SUPERSEDED", "SYSTEM"}
    statuses = {name[5:]: getattr(lib, name) for name in dir(lib) if re.fullmatch("SHMS_[A-Z_]+", name)}
    failures = {name: number for name, number in statuses.items() if type(number) is int and number < 0}
    assert len(failures) > 20
    for name, number in failures.items():
        if name not in only_opening | elsewhere_dealt_with:
            error = failure(number, "store 'x'", store._handle, 5.0)
            assert str(error).startswith("store 'x': ") and "failed with status" not in str(error), name


# ---- there is none, there is one already, it is not yours ----


def test_not_found(key):
    with pytest.raises(shmstore.StoreNotFound) as caught:
        Store(key, create=False)
    says(caught, repr(key), f"key {lib.shms_key_of_name(key.encode(), len(key)) & 0xFFFFFFFF:#010x}", "create=False")
    with pytest.raises(shmstore.StoreNotFound) as caught:
        Store(key, readonly=True)
    says(caught, repr(key), "readonly=True does not create one")
    with pytest.raises(shmstore.StoreNotFound):
        shmstore.destroy(key)


def test_exists(key, store):
    with pytest.raises(shmstore.StoreExists) as caught:
        Store(key, create=True)
    says(caught, repr(key), "exists already", "leave create=True out")


@pytest.mark.skipif(not ROOT, reason="becoming other users takes root")
def test_foreign(key):
    made = elsewhere(lambda: Store(key, create=True, size="1M", mode=0o666).put("k", 1) > 0, uid=65534)
    assert made is True
    for uid in (None, 4321):  # root trusts nobody else, either
        error = elsewhere(lambda: Store(key), uid)
        assert type(error) is shmstore.StoreForeign
        says(error, repr(key), "created by uid 65534", f"runs as uid {uid or 0}", "owner=65534", 'owner="any"')
        for owner in (65534, "any"):
            assert elsewhere(lambda owner=owner: Store(key, owner=owner)["k"], uid) == 1
            assert elsewhere(lambda owner=owner: Store(key, owner=owner, readonly=True)["k"], uid) == 1
        assert type(elsewhere(lambda: Store(key, owner=4322), uid)) is shmstore.StoreForeign
        assert type(elsewhere(lambda: shmstore.destroy(key), uid)) is shmstore.StoreForeign
    assert elsewhere(lambda: Store(key)["k"], uid=65534) == 1


@pytest.mark.skipif(not ROOT, reason="becoming other users takes root")
def test_what_the_kernel_refuses(key):
    with Store(key, size="1M", mode=0o600) as store:
        store["k"] = 1
    for options in ({}, {"readonly": True}):
        error = elsewhere(lambda options=options: Store(key, **options), uid=65534)
        assert type(error) is shmstore.StoreSystemError and error.errno == 13
        says(error, repr(key), "Permission denied", "mode")
    shmstore.destroy(key)
    with Store(key, size="1M", mode=0o644) as store:
        store["k"] = 1
        assert elsewhere(lambda: Store(key, readonly=True)["k"], uid=65534) == 1
        error = elsewhere(lambda: Store(key), uid=65534)
        assert type(error) is shmstore.StoreSystemError and error.errno == 13
        says(error, repr(key), "readonly=True")
        store.destroy()
    with Store(key, size="1M", mode=0o666) as store:
        error = elsewhere(lambda: Store(key).destroy(), uid=65534)
        assert type(error) is shmstore.StoreSystemError and error.errno == 1
        says(error, repr(key), "created by uid 0 (root)", "runs as uid 65534", f"ipcrm -m {store.info().id}")
        store["k"] = 1  # and nothing was destroyed


def contents(number):
    with sysv.shmat(sysv.shmget(number, 0), None, sysv.SHM_RDONLY) as memory:
        return bytes(memory)


@pytest.mark.parametrize("options", [{}, {"size": "1M"}, {"create": True}, {"create": False}, {"readonly": True}])
@pytest.mark.parametrize("size", [1, 100, 4096, 8191, 8192, 1 << 20])
def test_not_a_store(number, size, options):
    id = sysv.shmget(number, size, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)
    with sysv.shmat(id) as memory:
        memory[:] = random.Random(size).randbytes(size)
    before = contents(number)
    with pytest.raises(shmstore.NotAStore) as caught:
        Store(number, timeout=20, **options)
    says(caught, hex(number), f"segment {id}", f"{size} bytes", "not changed", "another name", f"ipcrm -m {id}")
    assert contents(number) == before
    with pytest.raises(shmstore.NotAStore):
        shmstore.destroy(number)
    assert contents(number) == before


@pytest.mark.parametrize("magic", [0x45524F54534D4853, 0x54494E49534D4853])
@pytest.mark.parametrize("state", [4, 15])
def test_not_quite_a_store(number, magic, state):
    """The right first word and an impossible second one."""
    with sysv.shmat(sysv.shmget(number, 1 << 20, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)) as memory:
        memory[:8] = magic.to_bytes(8, "little")
        memory[8:16] = (state << 44 | 1).to_bytes(8, "little")
    before = contents(number)
    with pytest.raises(shmstore.NotAStore):
        Store(number, size="1M", timeout=1)
    assert contents(number) == before


@pytest.mark.parametrize("size", [100, 8192, 1 << 20])
def test_a_blank_segment_with_a_live_creator_is_no_store(number, size):
    sysv.shmget(number, size, sysv.IPC_CREAT | sysv.IPC_EXCL | 0o600)
    with pytest.raises(shmstore.NotAStore):
        Store(number, create=False)
    with pytest.raises(shmstore.NotAStore):
        Store(number, size="2M", timeout=20)
    assert not any(contents(number))


def test_two_names_with_one_key():
    """Of 2**32 keys; among some hundred thousand names two have the same."""
    seen = {}
    for i in itertools.count():
        name = f"collision-{os.getpid()}-{i}"
        other = seen.setdefault(lib.shms_key_of_name(name.encode(), len(name)), name)
        if other != name:
            break
    with Store(name, create=True, size="1M") as store:
        try:
            for options in ({}, {"create": True}, {"create": False}, {"readonly": True}):
                with pytest.raises(shmstore.KeyCollision) as caught:
                    Store(other, **options)
                number = f"{store.info().key & 0xFFFFFFFF:#010x}"
                says(caught, repr(other), f"the name {name!r}", number, "use another name")
            with pytest.raises(shmstore.KeyCollision):
                shmstore.destroy(other)
            store["k"] = 1
        finally:
            store.destroy()


def test_a_name_and_a_path_with_one_key(key, tmp_path):
    with Store(key, size="1M") as store:
        memory = Memory(store)
        memory.set(HEADER["name_kind"], 3 | 9 << 32)
        memory.bytes[NAME : NAME + 9] = b"/tmp/file"
        with pytest.raises(shmstore.KeyCollision) as caught:
            Store(key)
        says(caught, repr(key), "the path '/tmp/file'")
        with Store(store.info().key) as same:  # who gives the number means the segment
            assert same.info().uuid == store.info().uuid


# ---- what cannot be written ----


def test_full(store, key):
    with pytest.raises(MemoryError) as caught:
        for i in range(1000):
            store[f"k{i}"] = bytes(9000)
    assert type(caught.value) is shmstore.StoreFull
    stats = store.stats()
    says(caught, repr(key), "bytes needed", f"{stats.bytes_free} bytes free", "delete something")
    says(caught, f"the largest free block {stats.largest_free}")
    try:
        store["more"] = bytes(9000)
    except MemoryError:
        pass


def test_full_table(make, key):
    store = make(size="1M", max_entries=10)
    with pytest.raises(shmstore.StoreFull) as caught:
        for i in range(1000):
            store[f"k{i}"] = i
    says(caught, repr(key), f"{len(store)} entries", "max_entries")


@pytest.mark.parametrize("write", ["put", "add", "replace", "setdefault", "modify", "put_many"])
def test_too_large(store, key, write):
    store["k"] = "old"
    large = bytes(2 << 20)
    call = {
        "put": lambda: store.put("k", large), "add": lambda: store.add("x", large),
        "replace": lambda: store.replace("k", large), "setdefault": lambda: store.setdefault("x", large),
        "modify": lambda: store.modify("k", lambda value: large), "put_many": lambda: store.put_many({"k": large}),
    }[write]  # fmt: skip
    with pytest.raises(shmstore.ValueTooLarge) as caught:
        call()
    says(caught, repr(key), "more than the empty store can hold", "bytes of heap", "larger size")
    assert dict(store) == {"k": "old"}


@pytest.mark.parametrize("method", WRITES)
def test_read_only(make, key, method):
    store = make()
    store["k"] = 1
    reader = make(readonly=True)
    with pytest.raises(shmstore.ReadOnlyStore) as caught:
        WRITES[method](reader)
    says(caught, repr(key), "readonly=True")
    assert dict(store) == {"k": 1} and store.ttl("k") is None


def test_the_client_table_is_full(key, make):
    store = make(size="64K")
    places = store.info().max_clients
    for _ in range(places - 1):
        make(create=False)
    with pytest.raises(shmstore.TooManyClients) as caught:
        make(create=False)
    says(caught, repr(key), "every slot", "close handles", "readonly=True", "max_clients")
    make(readonly=True).get("k")
    error = elsewhere(lambda: store.put("k", 1))  # a fork would be one more
    assert type(error) is shmstore.TooManyClients
    says(error, repr(key), "every slot", "can read")
    assert store.get("k") is None
    store.close()
    make(create=False)["k"] = 1


# ---- no more store ----


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("readonly", [False, True])
def test_closed(make, key, method, readonly):
    make()["k"] = 1
    store = make(create=False, readonly=readonly)
    store.close()
    store.close()
    assert store.closed
    with pytest.raises(shmstore.StoreClosed) as caught:
        (READS | WRITES)[method](store)
    says(caught, repr(key), "closed", "open the store again")


@pytest.mark.parametrize("method", ALL)
def test_destroyed(make, key, method):
    other = make()
    other["k"] = 1
    store = make()
    other.destroy()
    with pytest.raises(shmstore.StoreDestroyed) as caught:
        (READS | WRITES)[method](store)
    says(caught, repr(key), "removed", "open it again")
    store.close()
    assert store.closed


@pytest.mark.parametrize("readonly", [False, True])
def test_removed_by_the_administrator(make, key, readonly):
    writer = make()
    writer["k"] = 1
    store = make(readonly=readonly, create=False)
    sysv.shmctl(store.info().id, sysv.IPC_RMID)
    with pytest.raises(shmstore.StoreDestroyed):
        for _ in range(600):  # about a second of use
            store.get("k")
            time.sleep(0.05)
    for method in READS:
        with pytest.raises(shmstore.StoreDestroyed):
            READS[method](store)
    with pytest.raises((shmstore.StoreDestroyed, shmstore.ReadOnlyStore)):
        store.put("k", 2)
    with pytest.raises(shmstore.StoreDestroyed):
        writer.check()
    with Store(key, create=True, size="1M") as new:
        assert "k" not in new


def test_a_spinning_waiter_sees_the_end(make):
    make()["k"] = 1
    store = make()
    make().destroy()
    with pytest.raises(shmstore.StoreDestroyed):
        store.wait("k", spin=0.01, timeout=5)


@pytest.mark.parametrize("options", [{}, {"spin": 60.0}])
def test_sleepers_are_told(make, options):
    store = make()
    gone = make()
    timer = threading.Timer(0.1, gone.destroy)
    timer.start()
    with pytest.raises(shmstore.StoreDestroyed):
        store.wait("never", timeout=60, **options)
    timer.join()


# ---- a lock that nobody lets go ----
