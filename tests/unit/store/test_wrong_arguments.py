"""Wrong keys, options, values and codecs: the error names the argument, what was given and what is allowed."""

import functools
import sys
from pathlib import Path

import pytest

import shmstore
from shmstore import Store

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from messages import says  # noqa: E402
from segment_words import Memory  # noqa: E402

pytestmark = pytest.mark.usefixtures("removed")


def test_codec(make, key):
    store = make()
    make(create=False, codec="pickle")["p"] = {1, 2}
    with pytest.raises(shmstore.CodecError) as caught:
        store["p"]
    says(caught, repr(key), "'pickle'", "reads msgpack, raw", "decoders=('pickle',)")
    with pytest.raises(shmstore.CodecError) as caught:
        store["k"] = object()
    says(caught, "object")
    assert "k" not in store
    memory = Memory(store)
    store["m"] = [1, 2, 3]
    at = memory.block("m") + 40 + 1
    memory.bytes[at] = 0xC1  # the byte that msgpack never uses
    for read in (store.get, store.get_versioned, store.pop, lambda name: store.get_many([name])):
        with pytest.raises(shmstore.CodecError):
            read("m")
    assert "m" in store


# ---- wrong arguments ----

BAD_OPENING = [
    ({"create": "yes"}, TypeError, "'yes'"), ({"readonly": True, "create": True}, ValueError, "readonly=True"),
    ({"size": 1.5}, TypeError, "float"), ({"size": True}, TypeError, "bool"), ({"size": None}, TypeError, "NoneType"),
    ({"size": -1}, ValueError, "-1"), ({"size": "-1M"}, ValueError, "-1M"), ({"size": "64X"}, ValueError, "64X"),
    ({"size": ""}, ValueError, "''"), ({"size": "inf"}, ValueError, "inf"), ({"size": "nan"}, ValueError, "nan"),
    ({"size": "17T"}, ValueError, "16T"), ({"size": 2**63}, ValueError, "16T"),
    ({"max_entries": 1.5}, TypeError, "float"), ({"max_entries": True}, TypeError, "bool"),
    ({"max_entries": 0}, ValueError, "0"), ({"max_entries": -1}, ValueError, "-1"),
    ({"max_entries": 2**32}, ValueError, str(2**32)), ({"max_entries": 10**7, "size": "1M"}, ValueError, str(10**7)),
    ({"mode": "600"}, TypeError, "str"), ({"mode": True}, TypeError, "bool"), ({"mode": -1}, ValueError, "-0o1"),
    ({"mode": 0o1777}, ValueError, "0o1777"), ({"owner": "me"}, ValueError, "'me'"), ({"owner": -1}, ValueError, "-1"),
    ({"owner": 1.5}, TypeError, "float"), ({"ttl": "1"}, TypeError, "str"), ({"ttl": True}, TypeError, "bool"),
    ({"ttl": 0}, ValueError, "0"), ({"ttl": -1.5}, ValueError, "-1.5"), ({"ttl": float("nan")}, ValueError, "nan"),
    ({"timeout": "1"}, TypeError, "str"), ({"timeout": -1}, ValueError, "-1"),
    ({"timeout": float("nan")}, ValueError, "nan"), ({"codec": "json"}, ValueError, "'json'"),
    ({"codec": 5}, TypeError, "int"), ({"decoders": ["json"]}, ValueError, "'json'"),
    ({"decoders": 5}, TypeError, "int"),
    ({"compress": True}, TypeError, "compress"),
]  # fmt: skip
BAD_KEYS = [
    (True, TypeError, "bool"), (None, TypeError, "NoneType"), (1.5, TypeError, "float"), (b"k", TypeError, "bytes"),
    ("", ValueError, "0"), ("x" * 256, ValueError, "256"), ("ä" * 128, ValueError, "256"), ("a\0", ValueError, "a\\x00"),
    ("\ud800", ValueError, "\\ud800"), (0, ValueError, "0"), (2**32, ValueError, str(2**32)),
    (-(2**31) - 1, ValueError, str(2**31 + 1)),
]  # fmt: skip
BAD_CALLS = [
    *[(f"name of {method}", functools.partial(call, name=name), error, said) for method, call in {
        "put": lambda s, name: s.put(name, 1), "add": lambda s, name: s.add(name, 1),
        "replace": lambda s, name: s.replace(name, 1), "cas": lambda s, name: s.cas(name, 1, 0),
        "incr": lambda s, name: s.incr(name), "setdefault": lambda s, name: s.setdefault(name, 1),
        "modify": lambda s, name: s.modify(name, str, 1), "put_many": lambda s, name: s.put_many([(name, 1)]),
        "wait": lambda s, name: s.wait(name, timeout=0),
    }.items() for name, error, said in [
        (1, TypeError, "int"), (None, TypeError, "NoneType"), (("a",), TypeError, "tuple"),
        ("x" * 32769, ValueError, "32769"), (b"x" * 40000, ValueError, "40000"), ("\ud800", ValueError, "surrogate"),
    ]],
    *[(f"ttl of {method}", functools.partial(call, ttl=ttl), error, said) for method, call in {
        "put": lambda s, ttl: s.put("k", 2, ttl=ttl), "add": lambda s, ttl: s.add("x", 2, ttl=ttl),
        "replace": lambda s, ttl: s.replace("k", 2, ttl=ttl), "cas": lambda s, ttl: s.cas("x", 2, 0, ttl=ttl),
        "touch": lambda s, ttl: s.touch("k", ttl), "put_many": lambda s, ttl: s.put_many({"k": 2}, ttl=ttl),
        "add_many": lambda s, ttl: s.add_many({"x": 2}, ttl=ttl),
    }.items() for ttl, error, said in [
        ("1", TypeError, "str"), (0, ValueError, "0"), (-1, ValueError, "-1"), (float("nan"), ValueError, "nan"),
        (float("-inf"), ValueError, "-inf"), ([], TypeError, "list"),
    ]],
    ("version", lambda s: s.cas("k", 2, "1"), TypeError, "str"),
    ("version", lambda s: s.cas("k", 2, True), TypeError, "bool"),
    ("version", lambda s: s.cas("k", 2, -1), ValueError, "-1"),
    ("version", lambda s: s.cas("k", 2, 2**64), ValueError, str(2**64)),
    ("by", lambda s: s.incr("k", "1"), TypeError, "str"),
    ("by", lambda s: s.incr("k", 1.5), TypeError, "float"),
    ("by", lambda s: s.incr("k", 2**63), OverflowError, ""),
    ("initial", lambda s: s.incr("x", initial=None), TypeError, "NoneType"),
    ("sum", lambda s: s.incr("k", 2**63 - 1), OverflowError, "64"),
    ("kind", lambda s: s.incr("text"), TypeError, "need an int"),
    ("prefix", lambda s: s.keys(1), TypeError, "int"),
    ("prefix", lambda s: s.keys(None), TypeError, "NoneType"),
    ("timeout", lambda s: s.wait("k", timeout="1"), TypeError, "str"),
    ("timeout", lambda s: s.wait("k", timeout=-1), ValueError, "-1"),
    ("spin", lambda s: s.wait("k", spin=-1), ValueError, "-1"),
    ("spin", lambda s: s.wait("k", spin=None, timeout=[]), TypeError, "list"),
    ("names", lambda s: s.get_many(5), TypeError, "int"),
    ("names", lambda s: s.delete_many(None), TypeError, "NoneType"),
    ("items", lambda s: s.put_many(5), TypeError, "int"),
    ("items", lambda s: s.put_many([1]), TypeError, ""),
    ("items", lambda s: s.put_many(["abc"]), TypeError, "abc"),
]  # fmt: skip


@pytest.mark.parametrize("bad, error, said", BAD_KEYS, ids=lambda value: repr(value)[:20])
def test_wrong_keys(bad, error, said):
    with pytest.raises(error) as caught:
        Store(bad, create=False)
    says(caught, said)


@pytest.mark.parametrize("options, error, said", BAD_OPENING, ids=str)
def test_wrong_options(key, options, error, said):
    with pytest.raises(error) as caught:
        Store(key, **options)
    says(caught, said)
    with pytest.raises(shmstore.StoreNotFound):
        Store(key, create=False)


def test_decoders_that_are_one_name(key):
    with pytest.raises(TypeError) as caught:
        Store(key, decoders="pickle")
    says(caught, "decoders", "('pickle',)")


@pytest.mark.parametrize("what, call, error, said", BAD_CALLS, ids=lambda value: value if type(value) is str else "")
def test_wrong_arguments(store, what, call, error, said):
    store["k"] = 1
    store["text"] = "1"
    with pytest.raises(error) as caught:
        call(store)
    says(caught, said)
    assert dict(store) == {"k": 1, "text": "1"} and store.ttl("k") is None


@pytest.mark.parametrize(
    "options",
    [{"size": 2**64}, {"owner": 2**63}, {"timeout": float("inf")}, {"ttl": float("inf")}, {"ttl": 10**400}],
    ids=str,
)
def test_numbers_beyond_all_bounds(key, options):
    """Refused with a sentence, or taken for "for ever"; never half way."""
    try:
        Store(key, **options).close()
    except ValueError as error:
        says(error, str(next(iter(options))))
        with pytest.raises(shmstore.StoreNotFound):
            Store(key, create=False)


@pytest.mark.parametrize("call", [lambda s: s.put("k", 1, ttl=True), lambda s: s.touch("k", True),
                                  lambda s: s.put_many({"k": 1}, ttl=True)])  # fmt: skip
def test_true_is_no_time_to_live(store, call):
    store["k"] = 1
    with pytest.raises(TypeError):
        call(store)


def test_another_mode_than_the_creators(make, key):
    make(size="1M", max_entries=100)
    for create in (None, False):
        with pytest.raises(ValueError) as caught:
            Store(key, create=create, mode=0o666)
        says(caught, repr(key), "mode=0o600", "asks for 0o666", "leave mode out")
    Store(key).close()


def test_a_batch_that_fails_says_how_far_it_came(make, key):
    store = make(max_entries=10)
    names = [f"k{i}" for i in range(50)]
    with pytest.raises(shmstore.StoreFull) as caught:
        store.put_many(dict.fromkeys(names, 1))
    says(caught, repr(key), f"{len(store)} of 50 items were stored before")
    assert sorted(store) == sorted(names[: len(store)])


# ---- a handle in any state can be shown ----


def test_repr(make, key):
    store, reader, gone = make(), make(readonly=True), make()
    assert repr(store) == f"<shmstore.Store {key!r} open>" and repr(reader) == f"<shmstore.Store {key!r} read-only>"
    gone.close()
    assert repr(gone) == f"<shmstore.Store {key!r} closed>"
    for view in (store.keys(), store.keys("a"), store.items(), store.values()):
        assert repr(key) in repr(view)
    store.destroy()
    for handle in (store, reader, gone):
        assert repr(key) in repr(handle) and str(handle)
    half = Store.__new__(Store)
    assert repr(half) == "<shmstore.Store>"
    del half
    with pytest.raises(ValueError):
        Store.__init__(half := Store.__new__(Store), key, codec="nope")
    assert key in repr(half)
