"""A user who could open a store before it was resized can open it afterwards, and nobody else."""

import errno
import os
import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_resize_races import Steps

import shmstore
from shmstore._core import lib
from shmstore.sysv import IPC_SET, IPC_STAT, shmctl

GROUP = 43210  # that nobody belongs to
STRANGER = 54321  # a uid and gid that nobody has
USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 1, 2, 4, 16, 32  # posix_acl(5)
ACL = "system.posix_acl_access"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives segments away")


@pytest.fixture(params=["sysv", "posix"])
def backend(request):
    return request.param


def path_of(store):
    return "/dev/shm/" + os.fsdecode(store._key.object)


def set_rights(store, gid, mode, uid=0):
    """System V stores lie in two segments, once they were resized. Both must be opened."""
    if store._key.backend == "posix":
        os.chown(path_of(store), uid, gid)
        os.chmod(path_of(store), mode)
        return
    status = shmctl(store.info().id, IPC_STAT)
    status.uid, status.gid, status.mode = uid, gid, mode
    shmctl(store.info().id, IPC_SET, status)


def rights(store):
    info = store.info()
    return info.mode, info.uid, info.gid, info.creator_uid


def opens(key, backend, gid):
    def attempt():
        os.setgroups([])
        os.setgid(gid)
        os.setuid(STRANGER)
        try:
            with shmstore.Store(key, backend=backend, create=False, owner="any") as store:
                return store["key"]
        except shmstore.StoreSystemError as error:
            return error.errno

    return attempt


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o666, 0o606, 0o700])
def test_group_and_mode_stay(make, backend, mode):
    store = make(backend=backend)
    set_rights(store, GROUP, mode)
    before = rights(store)
    for size in ("4M", "1M"):
        store.resize(size)
        assert rights(store) == before == (mode, 0, GROUP, 0)


@pytest.mark.parametrize("mode", [0o660, 0o606])
def test_the_same_users_open_it(key, make, backend, in_child, mode):
    store = make(backend=backend)
    store["key"] = 1
    set_rights(store, GROUP, mode)
    before = [in_child(opens(key, backend, gid)) for gid in (GROUP, STRANGER)]
    assert before == ([1, errno.EACCES] if mode == 0o660 else [errno.EACCES, 1])
    store.resize("4M")
    assert [in_child(opens(key, backend, gid)) for gid in (GROUP, STRANGER)] == before


def test_what_changes_during_a_resize_stays(make, backend):
    store = make(backend=backend, size="16M")
    store.put_many({f"key:{i}": i for i in range(30_000)})
    steps = Steps(store, "32M")
    assert lib.shms_w_resize(steps.resizing[0]) == lib.SHMS_AGAIN  # the new segment has the rights that the old one had
    set_rights(store, GROUP, 0o640)
    assert steps.end() == lib.SHMS_OK
    assert rights(store) == (0o640, 0, GROUP, 0)


def test_an_owner_to_whom_it_was_given_stays(make):
    """Of a System V segment, the creator stays the one who is trusted, and who may resize it."""
    store = make(backend="sysv")
    set_rights(store, GROUP, 0o660, uid=STRANGER)
    store.resize("4M")
    assert rights(store) == (0o660, STRANGER, GROUP, 0)


def test_an_access_control_list_stays(key, make, in_child):
    store = make(backend="posix")
    store["key"] = 1
    nobody = 0xFFFFFFFF
    entries = [
        (USER_OBJ, 6, nobody),
        (USER, 6, STRANGER),
        (GROUP_OBJ, 0, nobody),
        (MASK, 6, nobody),
        (OTHER, 0, nobody),
    ]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path_of(store), ACL, acl)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("this /dev/shm has no access control lists")
    before = rights(store)
    assert before[0] == 0o660 and in_child(opens(key, "posix", STRANGER)) == 1
    for size in ("4M", "1M"):
        store.resize(size)
        assert os.getxattr(path_of(store), ACL) == acl and rights(store) == before
        assert in_child(opens(key, "posix", STRANGER)) == 1
    os.removexattr(path_of(store), ACL)
    set_rights(store, GROUP, 0o640)
    store.resize("4M")
    assert ACL not in os.listxattr(path_of(store)) and rights(store) == (0o640, 0, GROUP, 0)


def refused(key, backend, before):
    def attempt():
        before()
        with shmstore.Store(key, backend=backend, create=False) as store:
            try:
                store.resize("4M")
            except shmstore.StoreSystemError as error:
                return error.errno, str(error)

    return attempt


def test_a_group_that_cannot_be_given_ends_the_resize(key, make, backend, in_child):
    """A user creates it. Afterwards the store has a group which that user does not belong to."""

    def become():
        os.setgroups([])
        os.setresgid(STRANGER, STRANGER, STRANGER)
        os.setresuid(STRANGER, STRANGER, STRANGER)

    def create():
        become()
        with shmstore.Store(key, backend=backend, size="1M") as store:
            store["key"] = 1

    def become_of_another_group():
        os.setgroups([])
        os.setresgid(STRANGER + 1, STRANGER + 1, STRANGER + 1)
        os.setresuid(STRANGER, STRANGER, STRANGER)

    in_child(create)
    store = make(backend=backend, owner=STRANGER)
    set_rights(store, GROUP, 0o660, uid=STRANGER)
    code, text = in_child(refused(key, backend, become_of_another_group))
    assert code == errno.EPERM and "newgrp" in text
    assert store.info().size == 1 << 20 and rights(store)[:3] == (0o660, STRANGER, GROUP)
    if backend == "posix":
        assert not [name for name in os.listdir("/dev/shm") if name.startswith(".shmstore-resized")]
    set_rights(store, GROUP, 0o600, uid=STRANGER)
    assert in_child(refused(key, backend, become_of_another_group)) is None
    assert store["key"] == 1 and store.info().size == 4 << 20 and rights(store)[0] == 0o600
    store.destroy()
