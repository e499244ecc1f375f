"""What is larger than msgpack's lengths can say: an error that names the limit and a remedy that works."""

import pytest

import shmstore
from shmstore.codecs import error_path, unsupported

LIMIT = 2**32 - 1


def needs(gibibytes):
    free = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemAvailable"))
    if free < (gibibytes + 1) << 20:
        pytest.skip(f"needs {gibibytes} GiB of memory, and {free >> 20} are free")


# ---- the check, with a limit of a few bytes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "path", "size"),
    [(b"x" * 101, r"\$", 101), ([1, {"a": b"x" * 101}], r"\$\[1\]\.a", 101), (["é" * 51], r"\$\[0\]", 102),
     ((1, bytearray(101)), r"\$\[1\]", 101), ([memoryview(bytes(101))], r"\$\[0\]", 114), ({b"x" * 101: 1}, r"\$<key .*>", 101),
     ([1 << 900], r"\$\[0\]", 113)],
    ids=lambda value: str(type(value).__name__),
)  # fmt: skip
def test_the_error_names_the_limit_and_the_way_out(monkeypatch, value, path, size):
    for module in (unsupported, error_path):
        monkeypatch.setattr(module, "LIMIT", 100)
    error = error_path.error_for(value)
    assert error.args[0].startswith("cannot encode $")
    with pytest.raises(shmstore.CodecError, match=rf"^cannot encode {path}: .*: it has {size} bytes, and the limit of msgpack is 100 .*"
                                                  "store it in parts, or its bytes with codec='raw'$"):  # fmt: skip
        raise error


def test_what_is_too_large_with_its_container_alone():
    inner = (b"x", [b"y"])
    error = error_path.error_for([1, {"a": (2, inner)}], None, error_path.TOO_LARGE, inner)
    assert error.args == (
        f"cannot encode $[1].a[1]: it takes more than {LIMIT} bytes (2**32 - 1) with its contents, the limit of msgpack for "
        "tuples, sets and slices; use lists around the large parts, or store it in parts",
    )


def test_only_what_changed_is_said_to_have_changed():
    assert "it was changed while" in str(error_path.error_for([1]))
    assert "it was changed while" in str(
        error_path.error_for([1], RuntimeError("dictionary changed size during iteration"))
    )
    error = error_path.error_for([1], OverflowError("Integer value out of range"))
    assert "changed" not in str(error) and "OverflowError: Integer value out of range" in str(error)


# ---- in full -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "path"),
    [(lambda: bytes(LIMIT + 1), r"\$"), (lambda: bytearray(LIMIT + 1), r"\$"), (lambda: memoryview(bytes(LIMIT)), r"\$"),
     (lambda: "x" * (LIMIT + 1), r"\$"), (lambda: [0, bytes(LIMIT + 1)], r"\$\[1\]"), (lambda: {"a": "x" * (LIMIT + 1)}, r"\$\.a")],
    ids=["bytes", "bytearray", "memoryview", "str", "list of bytes", "dict of str"],
)  # fmt: skip
@pytest.mark.parametrize("codec_name", ["msgpack", "msgspec"])
def test_four_gibibytes_are_refused(key, make, path, codec_name):
    needs(13)
    with shmstore.open(key, size="1M", codec=codec_name) as store:
        value = make()
        with pytest.raises(
            shmstore.CodecError,
            match=rf"cannot encode {path}: .*: it has \d+ bytes, and the limit of msgpack is {LIMIT} ",
        ):
            store["k"] = value


@pytest.mark.slow
def test_an_array_of_four_gibibytes_is_refused(key):
    np = pytest.importorskip("numpy")
    needs(5)
    with shmstore.open(key, size="1M") as store:
        for value, path in ((np.zeros(LIMIT - 10, "u1"), r"\$"), ([np.zeros((2, LIMIT), "u1")], r"\$\[0\]")):
            with pytest.raises(
                shmstore.CodecError, match=rf"cannot encode {path}: numpy.ndarray: \d+ bytes, and msgpack holds"
            ):
                store["k"] = value


@pytest.mark.slow
def test_a_tuple_of_parts_that_are_small_enough(key):
    needs(12)
    with shmstore.open(key, size="1M") as store:
        with pytest.raises(shmstore.CodecError, match=r"cannot encode \$: it takes more than the 4294967295 bytes"):
            store["k"] = (bytes(LIMIT // 2 + 1),) * 2


@pytest.mark.slow
def test_raw_stores_what_msgpack_does_not(key):
    needs(14)
    with shmstore.open(key, size="11G", codec="raw") as store:
        value = bytes(LIMIT - 3) + b"abcdefg"
        store["k"] = value
        assert store["k"] == value
        with store.view("k") as memory:
            assert len(memory) == LIMIT + 4 and bytes(memory[-7:]) == b"abcdefg"
        del value
        into = bytearray(LIMIT + 9)
        assert store.get_into("k", into) == LIMIT + 4 and into[-12:] == b"abcdefg" + bytes(5)
        store.destroy()


@pytest.mark.slow
def test_more_objects_than_are_walked(key):
    needs(2)
    with shmstore.open(key, size="1M") as store:
        with pytest.raises(shmstore.CodecError, match=r"more than 134217728 objects, .* store it in parts"):
            store["k"] = [None] * 2**27
