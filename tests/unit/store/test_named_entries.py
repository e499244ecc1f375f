"""An error of a call on many entries names the entry and the store."""

import pytest

import shmstore
from shmstore import CodecError

BAD = object()


class Fussy:
    """A codec of the user's own, which takes bytes alone and reads nothing."""

    name = "fussy"

    def __repr__(self):
        return self.name

    def encode(self, value):
        if type(value) is not bytes:
            raise ValueError("bytes, please")
        return value

    def decode(self, data):
        raise CodecError("not today")


WRITES = {
    "put": lambda s, name, value: s.put(name, value), "[]=": lambda s, name, value: s.__setitem__(name, value),
    "add": lambda s, name, value: s.add(name, value), "cas": lambda s, name, value: s.cas(name, value, 0),
    "setdefault": lambda s, name, value: s.setdefault(name, value),
    "modify": lambda s, name, value: s.modify(name, lambda _: value, None),
    "put_many": lambda s, name, value: s.put_many({"a": b"1", name: value, "z": b"3"}),
    "add_many": lambda s, name, value: s.add_many([("a", b"1"), (name, value)]),
    "update": lambda s, name, value: s.update({"a": b"1"}, **{name: value}),
}  # fmt: skip
READS = {
    "get": lambda s, name: s.get(name), "[]": lambda s, name: s[name], "get_versioned": lambda s, name: s.get_versioned(name),
    "pop": lambda s, name: s.pop(name),
    "setdefault": lambda s, name: s.setdefault(name, 1), "modify": lambda s, name: s.modify(name, str),
    "get_many": lambda s, name: s.get_many(["absent", name]), "items": lambda s, name: list(s.items()),
    "values": lambda s, name: list(s.values()), "dict": lambda s, name: dict(s),
}  # fmt: skip


@pytest.mark.parametrize("codec", ["msgpack", "msgspec", "raw", "pickle", Fussy()], ids=str)
@pytest.mark.parametrize("write", WRITES)
def test_what_cannot_be_encoded(make, key, codec, write):
    if codec == "msgspec":
        pytest.importorskip("msgspec")
    store = make(codec=codec)
    with pytest.raises(CodecError, match=rf"^store {key!r}, entry 'the one': cannot encode \$: ") as caught:
        WRITES[write](store, "the one", (lambda: 0) if codec == "pickle" else BAD)
    assert str(caught.value).count("entry") == 1 and not store


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("put_by, said", [("pickle", "the value was put with the codec 'pickle', .*; if you trust"),
                                          (Fussy(), "not today"), ("msgpack", "cannot decode: ")], ids=str)  # fmt: skip
def test_what_cannot_be_decoded(make, key, read, put_by, said):
    make(codec=put_by)["the one"] = b"text" if type(put_by) is Fussy else [b"text"]
    store = make(codec="msgpack", decoders=[put_by] if type(put_by) is Fussy else [])
    if put_by == "msgpack":
        body = b"\xc1"  # the byte that msgpack never uses
        store._put_if_("the one", body, None, 0, 0, False, store._codec_number)
    with pytest.raises(CodecError, match=rf"^store {key!r}, entry 'the one': {said}") as caught:
        READS[read](store, "the one")
    assert str(caught.value).count("entry") == 1 and "the one" in store


@pytest.mark.parametrize("read", [lambda s: s.get(b"a", type=int), lambda s: s.get_many([b"a"], type=int)])
def test_what_is_of_another_type(make, key, read):
    pytest.importorskip("msgspec")
    store = make(codec="msgspec")
    make(codec="raw")[b"a"] = b"raw"
    for value in ("text", {1, 2}, None):
        if value is not None:
            store[b"a"] = value
        with pytest.raises(CodecError, match=rf"^store {key!r}, entry b'a': cannot decode as int: "):
            read(store)


@pytest.mark.parametrize("call", ["incr", "decr"])
def test_what_is_no_counter(store, key, call):
    store.put_many({"text": "1", "large": -(2**63)})
    with pytest.raises(TypeError, match=rf"^store {key!r}, entry 'text': incr and decr need an int"):
        getattr(store, call)("text")
    with pytest.raises(OverflowError, match=rf"^store {key!r}, entry 'large': the result does not fit in 64 bits"):
        getattr(store, call)("large", -1 if call == "incr" else 1)


@pytest.mark.parametrize("codec", ["msgpack", "pickle", Fussy()], ids=str)
@pytest.mark.parametrize("write", WRITES)
def test_what_there_is_no_room_for(make, key, codec, write):
    store = make(codec=codec)
    with pytest.raises(shmstore.ValueTooLarge, match=rf"^store {key!r}, entry 'the one': \d+ bytes needed"):
        WRITES[write](store, "the one", bytes(2 << 20))
    assert "the one" not in store


def test_what_a_function_of_the_user_raises_is_left_alone(store):
    store["n"] = 1
    error = CodecError("of theirs")

    def function(value):
        raise error

    with pytest.raises(CodecError) as caught:
        store.modify("n", function)
    assert caught.value is error and str(error) == "of theirs"


def test_an_error_without_a_message(make, key):
    class Mute(Fussy):
        def decode(self, data):
            raise CodecError

    store = make(codec=Mute())
    store["a"] = b""
    with pytest.raises(CodecError, match=rf"^store {key!r}, entry 'a': $"):
        store["a"]


def test_an_empty_batch(make):
    store = make()
    assert store.put_many({}) == 0 and store.get_many([]) == {}
    store.close()
    with pytest.raises(shmstore.StoreClosed):
        store.put_many({})


class Counts:
    """A number of its own, which raises what it is told to."""

    def __init__(self, error=None):
        self.error = error

    def __index__(self):
        if self.error:
            raise self.error
        return 5


TOO_LONG = "has more than 64 bits, sign included; the value was not changed"


@pytest.mark.parametrize(
    "call, error, said",
    [
        (lambda store: store.incr("a", 2**63), OverflowError, f"incr('a'): by {TOO_LONG}"),
        (lambda store: store.incr("a", by=-(2**63) - 1), OverflowError, f"incr('a'): by {TOO_LONG}"),
        (lambda store: store.incr(b"a", initial=2**70), OverflowError, f"incr(b'a'): initial {TOO_LONG}"),
        (lambda store: store.decr("a", -(2**63)), OverflowError, f"decr('a'): by {TOO_LONG}"),
        (lambda store: store.decr("a", 10**5000), OverflowError, f"decr('a'): by {TOO_LONG}"),
        (lambda store: store.incr("a", 1.5), TypeError, "incr('a'): by is an int, not float"),
        (lambda store: store.decr("a", initial="x"), TypeError, "decr('a'): initial is an int, not str"),
        (lambda store: store.cas("a", 1, -1), ValueError, "cas('a'): no store gives the version -1; versions come from"),
        (lambda store: store.cas("a", 1, 2**64), ValueError, f"cas('a'): no store gives the version {2**64}; "),
        (lambda store: store.cas("a", 1, 10**5000), ValueError, "cas('a'): no store gives the version of 16610 bits; "),
        (lambda store: store.cas("a", 1, True), TypeError, "cas('a'): a version is an int, not bool"),
        (lambda store: store.cas("a", 1, "1"), TypeError, "cas('a'): a version is an int, not str"),
        (lambda store: store.wait("a", after=-1), ValueError, "wait('a'): no store gives the version -1; "),
        (lambda store: store.wait("a", after=2**64), ValueError, f"wait('a'): no store gives the version {2**64}; "),
        (lambda store: store.wait("a", after=1.5), TypeError, "wait('a'): a version is an int, not float"),
        (lambda store: store.wait("a", after=True), TypeError, "wait('a'): a version is an int, not bool"),
    ],
)  # fmt: skip
def test_a_number_that_is_none_is_refused_by_the_public_method(store, key, call, error, said):
    """With store, method and key, instead of "int too big to convert"."""
    store["a"] = 7
    with pytest.raises(error) as caught:
        call(store)
    assert str(caught.value).startswith(f"store {key!r}: {said}") and store["a"] == 7


def test_numbers_at_the_edge_and_of_other_types_count(store):
    assert store.incr("a", 2**63 - 1) == 2**63 - 1
    assert store.incr("b", -(2**63)) == -(2**63)
    assert store.decr("c", 2**63 - 1) == -(2**63) + 1
    assert store.incr("d", Counts()) == 5 and store.incr("d", True) == 6
    assert store.cas("e", 1, 2**64 - 1) is False
    for error in (OverflowError("mine"), KeyboardInterrupt("mine")):
        with pytest.raises(type(error)) as caught:
            store.incr("d", Counts(error))
        assert caught.value is error and store["d"] == 6
