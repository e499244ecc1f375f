"""Cases of waiting and walking, and of asking what a store is."""

from __future__ import annotations

from typing import Any

from cases import fails, quiet, raises, tried
from raw_segment import names_of_home, sleepers
from seccomp_faults import FULL
from store_setup import POSIX, due, let_expire, nothing, populate, populate_without_expiry

import shmstore
from shmstore._core import ffi, lib


# ---- waiting
def times_out(call: Any) -> str:
    return raises(TimeoutError, call)


quiet("wait for what is there", lambda s, _: s.wait("k1", timeout=1))
quiet("wait for what does not come", lambda s, _: times_out(lambda: s.wait("absent", timeout=0.002)), sampled=True)
quiet("wait for what does not change", lambda s, v: times_out(lambda: s.wait("k1", after=v, timeout=0.002)),
      prepare=lambda s: s.get_versioned("k1")[1])  # fmt: skip
quiet("wait for what does not change, beside sleepers", lambda s, v: times_out(lambda: s.wait("k1", after=v, timeout=0.002)),
      prepare=lambda s: s.get_versioned("k1")[1], setup=sleepers)  # fmt: skip
quiet("wait for what expires", lambda s, v: times_out(lambda: s.wait("mortal", after=v, timeout=0.002)),
      prepare=lambda s: s.get_versioned("mortal")[1])  # fmt: skip
quiet("wait and look", lambda s, _: times_out(lambda: s.wait("absent", timeout=0.02, spin=0.01)))
quiet(
    "wait and look, readonly",
    lambda key, _: times_out(lambda: shmstore.Store(key, readonly=True).wait("absent", timeout=0.03, spin=0.01)),
    opens=True,
)
quiet("wait and look for what expires", lambda s, v: tried(lambda: s.wait("brief", after=v, timeout=0.05, spin=0.005)),
      prepare=lambda s: s.put("brief", 1, ttl=0.02), changes={"brief": [1, None]})  # fmt: skip
quiet("wait in a page that nobody used", lambda s, names: [times_out(lambda n=n: s.wait(n, timeout=0.001)) for n in names], populate=populate_without_expiry,
      entries=1200, size=1 << 20, prepare=lambda s: [names_of_home(s, home, 1)[0] for home in (70, 130)])  # fmt: skip
quiet("wait readonly", lambda s, _: times_out(lambda: s.wait("absent", timeout=0.005)),
      prepare=lambda s: s, populate=populate)  # fmt: skip
quiet(
    "open readonly and wait",
    lambda key, _: times_out(lambda: shmstore.Store(key, readonly=True).wait("absent", timeout=0.03)),
    opens=True,
)
quiet("open an empty store readonly and wait", lambda key, _: times_out(lambda: shmstore.Store(key, readonly=True).wait("absent", timeout=0.005)),
      opens=True, populate=nothing)  # fmt: skip
quiet(
    "wait in a full /dev/shm",
    lambda s, _: times_out(lambda: s.wait("absent", timeout=0.005)),
    populate=nothing,
    refused=FULL,
    backend=POSIX,
)

# ---- walking
# Each short: a second of stepping, and the operation looks around, which a victim that runs to its instruction does not.
for _what, _prefix in (
    ("list by prefix", "k"),
    ("list by a prefix that none has", "absent"),
    ("list by a prefix of bytes", b"k"),
):
    quiet(_what, lambda s, _, prefix=_prefix: list(s.keys(prefix)))
for _what, _act in (("list", lambda s, _: list(s)), ("count", lambda s, _: len(s))):
    quiet(f"{_what} in a nearly empty table", _act, populate=populate_without_expiry, entries=1200, size=1 << 20)
quiet("list what has expired", lambda s, _: (list(s), len(s), bool(s), s.stats()), setup=let_expire, never=due)


def long_names(store: Any) -> None:
    for i in range(5):
        store.put(f"{i}" * 9000, 1)


quiet("list long names", lambda s, _: len(list(s)), populate=long_names, size=1 << 18)
quiet("list, and close in the midst", lambda s, names: tried(lambda: (next(names), s.close(), list(names))), populate=long_names, size=1 << 18,
      prepare=lambda s: iter(s))  # fmt: skip
quiet("say what it is", lambda s, _: (s.info(), s.stats(), s.clients(), s.closed))
quiet(
    "open names of every length",
    lambda key, _: [fails(lambda n=n: shmstore.Store("~" * n, create=False)) for n in range(1, 18)],
    opens=True,
)


def use_what_is_closed(store: Any, _: Any) -> None:
    store.close()
    for call in (store.info, store.stats, store.clients, store.check, lambda: store.check(repair=True), store.recover, store.destroy, lambda: len(store), lambda: list(store),
                 lambda: store.wait("k1", timeout=0.001), lambda: store.get("k1"), lambda: store.view("raw"), lambda: store.put("k1", 1)):  # fmt: skip
        fails(call)
    handle, numbers, buffer = 1 << 40, ffi.new("uint64_t[2]"), ffi.new("uint8_t[64]")
    store.close()
    lib.shms_configure(handle, 0, 0, 0)
    lib.shms_get_info(handle, ffi.new("struct shms_info *"))
    lib.shms_get_clients(handle, ffi.new("uint32_t *"), ffi.new("struct shms_client_info[]", 16), 16)
    lib.shms_next_versions(handle, numbers, 2**64 - 1, buffer, 64, numbers + 1)
    lib.shms_w_check(handle, ffi.cast("char *", buffer), 64)
    lib.shms_repair_some(handle, ffi.new("struct shms_repair *"))
    lib.shms_w_destroy(handle)


quiet("use what is closed", use_what_is_closed)

quiet("open readonly and wait in a page that nobody used", lambda key, _: readonly_waits(key), opens=True, populate=populate_without_expiry, entries=1200,
      size=1 << 20)  # fmt: skip


def readonly_waits(key: str) -> None:
    store = shmstore.Store(key, readonly=True)
    for i in range(4):
        times_out(lambda i=i: store.wait(f"absent{i}", timeout=0.02))


quiet("wait until it expires", lambda s, v: tried(lambda: s.wait("brief", after=v, timeout=0.05)), prepare=lambda s: s.put("brief", 1, ttl=0.02),
      changes={"brief": [1, None]})  # fmt: skip
