"""Two users and one store: what the kernel's permissions and the owner rule give, and what somebody plants.

Other users who read, or are kept out, are in test_readonly.py; owners that are not expected in test_errors.py."""

import errno
import os
import pickle

import pytest

import shmstore
from shmstore import Store, sysv

ME, OTHER, GROUP = 0, 65534, 4242
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]


def as_user(uid, gid, function, groups=()):
    """What the function returns or raises in a forked process of another user."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            try:
                answer = function()
            except Exception as error:
                answer = error
            os.write(into, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(into)
    with open(out, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    answer = pickle.loads(data)
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.fixture
def planted(key):
    """A store that another user left under the key; the test's user is root, so it is removed in any case."""
    yield key
    for info in shmstore.stores():
        if info.name == key:
            sysv.shmctl(info.id, sysv.IPC_RMID)


@pytest.mark.parametrize("groups", [(), (GROUP,)], ids=["a stranger", "of the group"])
@pytest.mark.parametrize("options", [{}, {"create": False}, {"readonly": True}], ids=["open", "no create", "readonly"])
def test_0600_keeps_others_out(key, groups, options):
    with Store(key, size="1M", mode=0o600) as store:
        store["secret"] = 1
        give_to_group(store)
        with pytest.raises(shmstore.StoreSystemError) as refused:
            as_user(OTHER, OTHER, lambda: Store(key, **options)["secret"], groups)
        assert refused.value.errno == 13
        with pytest.raises((shmstore.StoreSystemError, shmstore.StoreForeign)):
            as_user(OTHER, OTHER, lambda: shmstore.destroy(key), groups)
        assert store["secret"] == 1


def give_to_group(store):
    stat = sysv.shmctl(store.info().id, sysv.IPC_STAT)
    stat.gid = GROUP
    sysv.shmctl(store.info().id, sysv.IPC_SET, stat)


@pytest.mark.parametrize("primary", [True, False])
def test_0640_lets_the_group_read_and_not_write(key, primary):
    with Store(key, size="1M", mode=0o640) as store:
        store["a"] = [1, 2]
        give_to_group(store)

        def read():
            with Store(key, readonly=True) as reader:
                refused = []
                for write in (lambda: reader.put("a", 2), lambda: reader.delete("a"), lambda: reader.incr("n"),
                              lambda: reader.touch("a", 1), reader.clear, reader.destroy):  # fmt: skip
                    try:
                        write()
                    except shmstore.ReadOnlyStore:
                        refused.append(True)
                with pytest.raises(shmstore.StoreSystemError):
                    Store(key, create=False)
                with pytest.raises(OSError):  # nor past the library
                    sysv.shmat(reader.info().id)
                with pytest.raises(TypeError):
                    sysv.shmat(reader.info().id, None, sysv.SHM_RDONLY).memory[0] = 1
                return reader["a"], len(refused), reader.info().mode

        arguments = (GROUP, read) if primary else (OTHER, read, (GROUP,))
        assert as_user(OTHER, *arguments) == ([1, 2], 6, 0o640)
        with pytest.raises(shmstore.StoreSystemError):
            as_user(OTHER, OTHER, lambda: Store(key, readonly=True))
        store.check()
        assert dict(store) == {"a": [1, 2]}


class Harmful:
    """A pickle that does something when it is read."""

    def __init__(self, directory):
        self.path = str(directory / "harm")

    def __reduce__(self):
        return os.mkdir, (self.path,)


def plant(key, directory, **options):
    store = Store(key, size="1M", mode=0o666, codec="pickle")
    store["k"] = Harmful(directory)
    store["plain"] = 1
    store.close()


@pytest.mark.parametrize("options", [{}, {"create": False}, {"readonly": True}, {"owner": 1234}])
def test_a_planted_store_is_foreign(planted, tmp_path, options):
    as_user(OTHER, OTHER, lambda: plant(planted, tmp_path))
    with pytest.raises(shmstore.StoreForeign, match=str(OTHER)):
        Store(planted, **options)
    with pytest.raises(shmstore.StoreForeign, match=str(OTHER)):
        as_user(4321, 4321, lambda: Store(planted, **options))


def test_a_planted_pickle_is_never_read(planted, tmp_path):
    """Neither in a foreign store that one wants to see, nor where others may write into one's own."""
    as_user(OTHER, OTHER, lambda: plant(planted, tmp_path))
    with Store(planted, owner=OTHER) as store:
        for read in (lambda: store["k"], lambda: store.get("k"), lambda: store.get_versioned("k"), lambda: store.pop("k"),
                     lambda: store.get_many(["k"]), lambda: dict(store), lambda: store.setdefault("k", 1),
                     lambda: store.modify("k", lambda value: value)):  # fmt: skip
            with pytest.raises(shmstore.CodecError, match="'pickle'"):
                read()
        assert "k" in store
    assert not (tmp_path / "harm").exists()
    with Store(planted, owner=OTHER, decoders=("pickle",)) as trusting:
        assert trusting["plain"] == 1


def test_a_pickle_planted_in_ones_own_store_is_never_read(key, tmp_path):
    with Store(key, size="1M", mode=0o666) as store:
        as_user(OTHER, OTHER, lambda: Store(key, owner=ME, create=False, codec="pickle").put("k", Harmful(tmp_path)))
        with pytest.raises(shmstore.CodecError, match="'pickle'"):
            store["k"]
    assert not (tmp_path / "harm").exists()


def test_a_file_of_another_user_is_not_mapped_to_list_it(key):
    """Its owner could make it shorter meanwhile, and that kills."""
    as_user(OTHER, OTHER, lambda: Store(key, size="1M", backend="posix", mode=0o666).put("k", 1))
    try:
        assert key not in {info.name for info in shmstore.stores()}
        assert key in as_user(OTHER, OTHER, lambda: {info.name for info in shmstore.stores()})
    finally:
        as_user(OTHER, OTHER, lambda: shmstore.destroy(key, backend="posix"))


def test_owner_by_name(key):
    for owner in ("root", "0", "nobody", "any", None):
        with Store(key, size="1M", owner=owner) as store, pickle.loads(pickle.dumps(store)) as again:
            again["k"] = 1
    for owner in ("nobody-of-this-name", "", "a\0b", "\ud800", "99999999999"):
        with pytest.raises(ValueError, match="owner"):
            Store(key, owner=owner)
    for wrong in (True, 1.5, b"root", ["root"]):
        with pytest.raises(TypeError, match="owner is a uid, the name of a user"):
            Store(key, owner=wrong)


@pytest.mark.parametrize("memory", ["sysv", "posix"])
def test_destroy_of_another_users_store_says_what_helps(key, memory):
    with Store(key, size="1M", mode=0o666, backend=memory) as store:
        with pytest.raises(shmstore.StoreSystemError) as caught:
            as_user(OTHER, OTHER, lambda: Store(key, backend=memory, owner="root").destroy())
        said = str(caught.value)
        assert caught.value.errno == errno.EPERM
        assert repr(key) in said and "uid 0 (root)" in said and "runs as uid 65534 (nobody)" in said
        if memory == "sysv":
            assert said.endswith(
                f"only one of them or root may remove it: shmstore rm, or ipcrm -m {store.info().id}, as that user"
            )
        else:
            path = f"/dev/shm/shmstore-{key}"
            assert said.endswith(
                f"only the owner of that file, or of the directory, or root may remove it: rm {path} as that user"
            )
        store["k"] = 1  # nothing was destroyed
