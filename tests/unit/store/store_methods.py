"""Every method of a store, called on one that holds the entry 'k': those that read, and those that write."""

import asyncio


def drain(iterable):
    for _ in iterable:
        pass


READS = {
    "get": lambda s: s.get("k"),
    "__getitem__": lambda s: s["k"],
    "__contains__": lambda s: "k" in s,
    "get_versioned": lambda s: s.get_versioned("k"),
    "get_into": lambda s: s.get_into("k", bytearray(100)),
    "get_with_ttl": lambda s: s.get_with_ttl("k"),
    "describe": lambda s: s.describe("k"),
    "get_many": lambda s: s.get_many(["k", "x"]),
    "ttl": lambda s: s.ttl("k"),
    "wait": lambda s: s.wait("k", timeout=5),
    "wait_async": lambda s: asyncio.run(s.wait_async("k", timeout=5)),
    "__iter__": drain,
    "keys": lambda s: drain(s.keys("k")),
    "items": lambda s: drain(s.items()),
    "values": lambda s: drain(s.values()),
    "__len__": len,
    "__bool__": bool,
    "__eq__": lambda s: s == {},
    "stats": lambda s: s.stats(),
    "info": lambda s: s.info(),
    "clients": lambda s: s.clients(),
    "check": lambda s: s.check(),
}
WRITES = {
    "put": lambda s: s.put("k", 2),
    "__setitem__": lambda s: s.__setitem__("k", 2),
    "add": lambda s: s.add("x", 2),
    "replace": lambda s: s.replace("k", 2),
    "cas": lambda s: s.cas("x", 2, 0),
    "get_or_set": lambda s: s.get_or_set("x", int),
    "aget_or_set": lambda s: asyncio.run(s.aget_or_set("x", int)),
    "memoize": lambda s: s.memoize(name="m")(lambda: 1)(),
    "lease": lambda s: s.lease("x").acquire(),
    "lock": lambda s: s.lock("x").acquire(),
    "semaphore": lambda s: s.semaphore("x", 2).acquire(),
    "barrier": lambda s: s.barrier("x", 2).abort(),
    "modify": lambda s: s.modify("k", lambda value: 2),
    "setdefault": lambda s: s.setdefault("x", 2),
    "delete": lambda s: s.delete("k"),
    "__delitem__": lambda s: s.__delitem__("k"),
    "pop": lambda s: s.pop("k"),
    "popitem": lambda s: s.popitem(),
    "incr": lambda s: s.incr("k"),
    "decr": lambda s: s.decr("x"),
    "touch": lambda s: s.touch("k", 60),
    "expire": lambda s: s.expire("k", 2**40),
    "evict_tag": lambda s: s.evict_tag("t"),
    "namespace": lambda s: s.namespace("n").put("x", 2),
    "expire_due": lambda s: s.expire_due(),
    "put_many": lambda s: s.put_many({"k": 2, "x": 2}),
    "add_many": lambda s: s.add_many([("x", 2)]),
    "delete_many": lambda s: s.delete_many(["k", "x"]),
    "update": lambda s: s.update(k=2),
    "clear": lambda s: s.clear(),
    "view": lambda s: s.view("k"),
    "recover": lambda s: s.recover(),
    "compact": lambda s: s.compact(),
    "resize": lambda s: s.resize("1M"),
    "destroy": lambda s: s.destroy(),
}
NEITHER = {"close", "closed"}
ALL = [*READS, *WRITES]
