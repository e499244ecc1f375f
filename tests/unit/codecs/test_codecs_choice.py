"""raw, pickle and codecs of one's own, and how a handle's codecs are chosen."""

import collections
from fractions import Fraction

import pytest

import shmstore  # noqa: F401  puts the compiled walks in place
from shmstore.codecs import msgpack as codec
from shmstore.codecs import pickle as pickle_codec
from shmstore.codecs import raw, resolve
from shmstore.codecs.custom import CustomCodec
from shmstore.errors import CodecError


class Text(str):
    pass


def test_raw_takes_bytes_and_nothing_else():
    assert raw.decode(raw.encode(b"\0a")) == b"\0a"
    for wrong in ("x", bytearray(b"x"), memoryview(b"x"), None, type("B", (bytes,), {})(b"x")):
        with pytest.raises(CodecError, match=r"^cannot encode \$: codec 'raw' stores bytes, not .*; convert"):
            raw.encode(wrong)


def test_pickle_keeps_what_pickle_keeps():
    value = [collections.OrderedDict(a=1), Fraction(1, 2), Text("x")]
    back = pickle_codec.decode(pickle_codec.encode(value))
    assert back == value and type(back[0]) is collections.OrderedDict
    assert pickle_codec.encode(1)[:2] == b"\x80\x05"


def test_pickles_that_fail_are_codec_errors():
    with pytest.raises(CodecError, match=r"^cannot encode \$: .*does not pickle.*; ") as caught:
        pickle_codec.encode([lambda: 1])
    assert caught.value.__cause__ is not None
    damaged = [b"", b"\x80\x05", b"garbage", b"\x80\x63."]
    for data in (*damaged, b"\x80\x05cnowhere\nNothing\n.", b"cos\nnothing_there\n."):
        with pytest.raises(CodecError, match=r"^cannot decode: the pickle of "):
            pickle_codec.decode(data)
    assert "runs the code" in pickle_codec.__doc__


class Upper:
    """Text, in capitals."""

    def __init__(self, name="upper"):
        self.name = name

    def encode(self, obj):
        return obj.upper().encode()

    def decode(self, data):
        return data.decode()


def test_resolve_gives_the_writer_and_the_readers():
    writer, readers = resolve("msgpack", ())
    assert writer is codec and readers == {"msgpack": codec, "raw": raw}
    writer, readers = resolve("raw", ("pickle",))
    assert writer is raw and readers == {"msgpack": codec, "raw": raw, "pickle": pickle_codec}
    writer, readers = resolve("pickle", ("msgpack", "pickle"))
    assert writer is pickle_codec and set(readers) == {"msgpack", "raw", "pickle"}
    upper = Upper()
    writer, readers = resolve(upper, [upper, "raw"])
    assert set(readers) == {"msgpack", "raw", "upper"} and readers["upper"] is writer
    assert writer.decode(writer.encode("abc")) == "ABC"
    assert repr(writer) == "<codec 'upper'>"
    writer, readers = resolve("msgpack", [Upper("ü" * 32)])
    assert set(readers) == {"msgpack", "raw", "ü" * 32}


@pytest.mark.parametrize(
    ("codec_", "decoders", "error", "message"),
    [
        ("json", (), ValueError, "unknown codec 'json'; use one of 'msgpack', 'msgspec', 'raw', 'pickle'"),
        ("", (), ValueError, "unknown codec ''"),
        (None, (), TypeError, "NoneType has no 'name'"),
        (7, (), TypeError, "int has no 'name'"),
        (Upper, (), TypeError, "type has no 'name'"),
        ("raw", "pickle", TypeError, r"a sequence of codecs, not 'pickle'; write \('pickle',\)"),
        ("raw", None, TypeError, "iterable"),
        ("raw", 7, TypeError, "iterable"),
        ("raw", [7], TypeError, "int has no 'name'"),
        ("raw", ["json"], ValueError, "unknown codec"),
        (Upper("msgpack"), (), ValueError, "'msgpack' is taken"),
        (Upper("pickle"), (), ValueError, "'pickle' is taken"),
        (Upper("raw"), (), ValueError, "'raw' is taken"),
        (Upper("msgspec"), (), ValueError, "'msgspec' is taken"),
        (Upper(""), (), ValueError, "1 to 64 bytes"),
        (Upper("ü" * 33), (), ValueError, "1 to 64 bytes"),
        (Upper("a\0"), (), ValueError, "NUL"),
        (Upper("\ud800"), (), ValueError, "surrogate"),
        (Upper(b"x"), (), TypeError, "name must be a str, not bytes"),
        (Upper(Text("x")), (), TypeError, "name must be a str"),
        (Upper("a"), [Upper("a")], ValueError, "two codecs are named 'a'"),
    ],
)
def test_resolve_says_what_is_wrong(codec_, decoders, error, message):
    with pytest.raises(error, match=message):
        resolve(codec_, decoders)


def test_a_codec_needs_callables():
    broken = Upper()
    broken.decode = None
    with pytest.raises(TypeError, match="encode and decode of the codec 'upper' must be callable"):
        CustomCodec(broken)


def test_what_custom_codecs_raise_becomes_codec_error():
    upper, _ = resolve(Upper())
    with pytest.raises(CodecError, match=r"'upper' failed on an object of type int: AttributeError") as caught:
        upper.encode(1)
    assert isinstance(caught.value.__cause__, AttributeError)
    with pytest.raises(CodecError, match=r"the codec 'upper' failed on 1 bytes: UnicodeDecodeError"):
        upper.decode(b"\xff")
    sloppy = Upper()
    sloppy.encode = lambda obj: bytearray(b"x")
    with pytest.raises(CodecError, match="'upper' returned bytearray; its encode must return bytes"):
        resolve(sloppy)[0].encode(1)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_is_no_fault_of_the_codec_passes(kind):
    def fail(_):
        raise kind

    rude = Upper()
    rude.encode = rude.decode = fail
    wrapped, _ = resolve(rude)
    with pytest.raises(kind):
        wrapped.encode(1)
    with pytest.raises(kind):
        wrapped.decode(b"")
