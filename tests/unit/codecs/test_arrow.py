"""Arrow tables and record batches: exact, or refused with a remedy."""

import random
import struct
import subprocess
import sys
from decimal import Decimal

import pytest

import shmstore  # noqa: F401  puts the compiled walks in place
from shmstore.codecs import msgpack as codec
from shmstore.errors import CodecError

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def ext(code, payload):
    return b"\xc9" + len(payload).to_bytes(4, "big") + bytes([code]) + payload


def round_trip(value):
    back = codec.decode(codec.encode(value))
    assert type(back) is type(value)
    return back


# ---- Arrow -------------------------------------------------------------------------------------------------


def tables():
    words = pa.array(["u", "v", None, "u"]).dictionary_encode()
    table = pa.table({"i": [1, 2, None, 4], "s": ["x", "y", None, ""], "d": words, "l": [[1], [], None, [2, 3]]})
    yield table
    yield table.replace_schema_metadata({"key": "value"})
    yield pa.concat_tables([table, table.slice(1, 2)])
    yield pa.table(
        {"t": pa.array([1, 2], pa.timestamp("ns", "Europe/Berlin")), "b": pa.array([b"x", None], pa.large_binary())}
    )
    yield pa.table(
        {"n": pa.nulls(3), "m": pa.array([Decimal("1.5"), None, Decimal(2)]), "x": [{"a": 1}, None, {"a": 2}]}
    )
    yield pa.table({"a": pa.array([], pa.int32())})
    yield pa.table({})
    yield pa.table([[1], [2]], names=["same", "same"])
    yield pa.table({"big": pa.array(range(100_000))})


@pytest.mark.parametrize("table", list(tables()), ids=[f"table{n}" for n in range(9)])
def test_tables_survive(table):
    back = round_trip(table)
    assert back.equals(table, check_metadata=True)
    if table.num_rows:  # chunks without rows are not kept
        assert [column.num_chunks for column in back.columns] == [column.num_chunks for column in table.columns]
    back.validate(full=True)
    assert codec.encode(back) == codec.encode(table)


def test_record_batches_survive():
    batch = pa.RecordBatch.from_pydict({"a": [1, 2], "b": ["x", None]})
    for value in (
        batch,
        batch.slice(1),
        batch.slice(0, 0),
        pa.RecordBatch.from_pydict({"big": pa.array(range(50_000))}),
    ):
        assert round_trip(value).equals(value, check_metadata=True)
    assert codec.decode(codec.encode([batch, (batch,)]))[1][0].equals(batch)


def test_a_large_table_is_read_in_place():
    packed = codec.encode(pa.table({"a": pa.array(range(100_000))}))
    before = pa.total_allocated_bytes()
    table = codec.decode(packed)
    assert pa.total_allocated_bytes() - before < 10_000
    assert table["a"][99_999].as_py() == 99_999


class Own(pa.ExtensionType):
    def __init__(self):
        super().__init__(pa.int64(), "shmstore.tests.own")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        return cls()


def test_what_arrow_would_not_know_again_is_refused():
    column = pa.ExtensionArray.from_storage(Own(), pa.array([1, 2]))
    with pytest.raises(
        CodecError,
        match=r"^cannot encode \$\.t: pyarrow\.lib\.Table: column 'o' has the type 'shmstore.*; store its storage",
    ):
        codec.encode({"t": pa.table({"o": column})})
    with pytest.raises(CodecError, match=r"put it into a table"):
        codec.encode(pa.array([1]))
    with pytest.raises(CodecError, match=r"put it into a table"):
        codec.encode(pa.chunked_array([[1]]))


def test_compressed_streams_are_refused():
    sink = pa.BufferOutputStream()
    table = pa.table({"a": pa.array(range(1000))})
    if not pa.Codec.is_available("lz4"):
        pytest.skip("this pyarrow has no lz4")
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write(table)
    with pytest.raises(CodecError, match=r"extension 20 \(Arrow\) of .* compressed"):
        codec.decode(ext(20, b"\1\0" + sink.getvalue().to_pybytes()))


def test_streams_that_lie_are_refused():
    stream = codec.encode(pa.table({"a": [1, 2]}))[6:]
    good = stream if stream[:1] == b"\1" else codec.encode(pa.table({"a": [1, 2]}))[4:]
    assert codec.decode(ext(20, good))["a"].to_pylist() == [1, 2]
    for payload in (b"", b"\1", b"\1\0", b"\3" + good[1:], b"\1\1" + good[2:], good + b"\0" * 8, good[:-8], good[:50], b"\1\0" + b"\xff" * 16,
                    b"\1\0" + b"\xff\xff\xff\xff\0\0\0\0", good[:2] + good[10:]):  # fmt: skip
        with pytest.raises(CodecError, match=r"^cannot decode: extension 20 \(Arrow\)"):
            codec.decode(ext(20, payload))


def stream(*arrays):
    batch = pa.record_batch(list(arrays), names=[str(at) for at in range(len(arrays))])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytearray(sink.getvalue().to_pybytes())


def test_buffers_that_overlap_are_refused():
    """A hundred columns that are all the same memory took a hundred times as much when they were checked."""
    count, size = 100, 8000
    arrays = stream(*[pa.array(range(size // 8), pa.int64())] * count)
    assert codec.decode(ext(20, b"\1\0" + arrays)).num_columns == count
    for at in range(0, count * size, size):
        place = arrays.index(struct.pack("<qq", at, size))
        arrays[place : place + 16] = struct.pack("<qq", 0, 2 * size)
    with pytest.raises(CodecError, match="its buffers overlap"):
        codec.decode(ext(20, b"\1\0" + arrays))


@pytest.mark.skipif(not hasattr(pa, "string_view"), reason="this pyarrow has no views")
def test_views_of_one_text_are_bounded():
    text = pa.array(["x" * 100_000], pa.string_view())
    _, view, *texts = text.buffers()
    for count, taken in ((20, True), (20_000, False)):
        views = pa.Array.from_buffers(
            pa.string_view(), count, [None, pa.py_buffer(view.to_pybytes()[:16] * count), *texts]
        )
        nested = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), views)
        for array in (views, nested):
            packed = ext(20, b"\1\0" + stream(array))
            if taken:
                assert codec.decode(packed).column(0).to_pylist() == array.to_pylist()
            else:
                with pytest.raises(CodecError, match="its views overlap"):
                    codec.decode(packed)


FUZZ = """
import random, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
import shmstore
from shmstore.codecs import msgpack as codec
rng = random.Random(int(sys.argv[1]))
seeds = [bytes.fromhex(line) for line in sys.stdin]
values = errors = 0
for n in range(int(sys.argv[2])):
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(8, len(data))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    try:
        found = codec.decode(bytes(data))
    except shmstore.CodecError:
        errors += 1
    else:
        repr(found)
        values += 1
print(values, errors)
"""


def fuzz(values, rounds):
    """In another process, with 4 GB of addresses: a crash there is a failure here."""
    seed = random.randrange(1 << 30)
    lines = "\n".join(codec.encode(value).hex() for value in values)
    run = subprocess.run(
        [sys.executable, "-c", FUZZ, str(seed), str(rounds)], input=lines, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, (seed, run.returncode, run.stderr[-2000:])
    found, refused = map(int, run.stdout.split())
    assert found + refused == rounds and refused > 0


def test_damaged_tables_give_a_value_or_an_error():
    fuzz(list(tables())[:7], 1500)
