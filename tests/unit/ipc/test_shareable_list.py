"""``shmstore.ShareableList``: the contract of the standard library's, and its faults that are not shared."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys

import pytest

from shmstore import ShareableList, SharedMemory

VALUES = ["howdy", b"HoWdY", -273.154, 100, None, True, 42]


@pytest.fixture
def make():
    """Make lists; their memory goes at the end."""
    made = []

    def make(*arguments, **options):
        made.append(ShareableList(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        try:
            one.shm.unlink()
        except FileNotFoundError:
            pass
        one.shm.close()


def test_it_is_a_list_of_fixed_length(make):
    one = make(VALUES)
    assert list(one) == VALUES
    assert [type(item) for item in one] == [type(value) for value in VALUES]
    assert (len(one), one[0], one[-1], one[-7]) == (7, "howdy", 42, "howdy")
    assert repr(one) == f"ShareableList({VALUES}, name={one.shm.name!r})"
    assert (one.count(42), one.count(b"HoWdY"), one.count(b"adios")) == (1, 1, 0)
    assert (one.index(100), one.index(None), one.index(1)) == (3, 4, 5)
    assert 100 in one and "no" not in one
    with pytest.raises(ValueError, match="'100' not in this container"):
        one.index("100")
    for wrong in (7, -8):
        with pytest.raises(IndexError, match="^index out of range"):
            one[wrong]
        with pytest.raises(IndexError, match="assignment index out of range"):
            one[wrong] = 2
    with pytest.raises(TypeError):
        one[0:2]
    assert ShareableList[int] is not None


def test_format_is_that_of_the_standard_library(make):
    one = make(VALUES)
    assert one.format == "8s8sdqxxxxxx?xxxxxxxx?q"
    one[4] = "some"
    assert one.format == "8s8sdq8sxxxxxxx?q"
    assert make([]).format == make().format == ""
    assert make(["12345678", b"1234567"]).format == "16s8s"
    try:
        from multiprocessing.shared_memory import ShareableList as Theirs
    except ImportError:
        return
    theirs = Theirs(VALUES + ["x" * 40, b"", ""])
    assert make(VALUES + ["x" * 40, b"", ""]).format == theirs.format
    theirs.shm.close()
    theirs.shm.unlink()


def test_format_is_the_truth(make):
    one = make(VALUES)
    packed = struct.unpack_from(one.format, one.shm.buf, one._slots[0])
    assert packed == (b"howdy\0\0\0", b"HoWdY\0\0\0", -273.154, 100, False, True, 42)


def test_items_change_type_and_length(make):
    one = make(VALUES)
    one[3] = "some"
    one[0] = 2.5
    one[5] = b"12345678"
    one[2] = None
    assert list(one) == [2.5, b"HoWdY", None, "some", None, b"12345678", 42]
    one[0] = "encodés"  # exactly 8 bytes of UTF-8
    for position, value in [(0, "encodées"), (1, b"123456789"), (3, "far too many")]:
        before = list(one)
        with pytest.raises(ValueError, match="exceeds available storage"):
            one[position] = value
        assert list(one) == before


@pytest.mark.parametrize("value", [[], {}, 1j, object(), bytearray(b"a"), (1,)])
def test_what_is_no_item(make, value):
    one = make(["before"])
    with pytest.raises(TypeError, match=f"not {type(value).__name__}"):
        one[0] = value
    with pytest.raises(TypeError, match=f"not {type(value).__name__}"):
        ShareableList([1, value])
    assert list(one) == ["before"]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_int_has_64_bits(make, value):
    """And a refused one changes nothing, not even the type of the item."""
    one = make([None, 2**63 - 1, -(2**63)])
    assert one[1] - one[2] == 2**64 - 1
    with pytest.raises(struct.error):
        one[0] = value
    assert one[0] is None
    with pytest.raises(struct.error):
        ShareableList([value])


STRINGS = [b"a\0", b"\0", b"", b"\0" * 8, b"x" * 8, "a\0\0", "", "\0", "x" * 7, "é" * 20, "😀" * 9]


@pytest.mark.parametrize("value", STRINGS)
def test_str_and_bytes_come_back_as_they_went(make, value):
    """The standard library's drops trailing NULs, and cuts off what is not ASCII."""
    one = make([1, value, 2])
    assert list(one) == [1, value, 2]
    one[1] = value
    one[1] = value[:1]
    assert list(one) == [1, value[:1], 2]


def test_sequences_of_all_kinds(make):
    assert list(make(iter([1, 2]))) == [1, 2]
    assert list(make("abc")) == ["a", "b", "c"]
    assert list(make(range(5))) == [0, 1, 2, 3, 4]
    assert list(make(make(VALUES))) == VALUES
    assert len(make(range(10000))) == 10000


def test_two_handles_of_one_list(make):
    name = f"shmstore-test-{os.getpid()}-"
    one = make(VALUES, name=name)
    other = ShareableList(name=name)
    assert one.shm.name == other.shm.name == name
    other[-1] = 880
    assert one[-1] == 880
    other.shm.close()
    with pytest.raises(FileExistsError):
        ShareableList([1], name=name)
    with pytest.raises(FileExistsError):
        ShareableList([], name=name)
    one.shm.unlink()
    with pytest.raises(FileNotFoundError):
        ShareableList(name=name)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling(make, protocol):
    one, large = make(range(10)), make(range(400))
    pickled = pickle.dumps(one, protocol)
    assert len(pickled) == len(pickle.dumps(large, protocol))
    other = pickle.loads(pickled)
    assert type(other) is ShareableList
    other[4] = "changed"
    assert one[4] == "changed"
    other.shm.close()
    one.shm.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)


def test_another_process_uses_it(make):
    one = make(VALUES)
    program = "import sys, shmstore; l = shmstore.ShareableList(name=sys.argv[1]); print(list(l)); l[0] = 'there'"
    told = subprocess.run([sys.executable, "-c", program, one.shm.name], capture_output=True, text=True)
    assert (told.stdout, told.stderr) == (f"{VALUES}\n", "")
    assert one[0] == "there"


def test_memory_that_holds_no_list():
    with SharedMemory(create=True, size=100) as block:
        with pytest.raises(ValueError, match="holds no ShareableList"):
            ShareableList(name=block.name)
        block.unlink()
    with SharedMemory(create=True, size=3) as block:
        with pytest.raises(ValueError, match="holds no ShareableList"):
            ShareableList(name=block.name)
        block.unlink()


@pytest.mark.parametrize("at", range(16 + 8 * 4 + 8 * 3))
def test_damage_is_refused_or_changes_values_only(make, at):
    """Whatever a byte of the tables becomes: an error that says so, or values from within the list's own memory."""
    one = make(["text", b"bytes", 3])
    for flipped in (0x01, 0x80, 0xFF):
        one.shm.buf[at] ^= flipped
        try:
            other = ShareableList(name=one.shm.name)
            try:
                assert len(list(other)) == len(other) == 3
            finally:
                other.shm.close()
        except (ValueError, MemoryError):
            pass
        one.shm.buf[at] ^= flipped
    assert list(one) == ["text", b"bytes", 3]
