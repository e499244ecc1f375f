/* docs.h: the docstrings of the hot calls (store_type.c). A test runs their examples, each with a new `store`. */
#ifndef SHMS_PYTHON_DOCS_H
#define SHMS_PYTHON_DOCS_H

#include "python/call.h"

PyDoc_STRVAR(
    get_doc,
    "get($self, key, default=None, *, type=None, touch=...)\n--\n\n"
    "Return a copy of the value, or *default* if the key is absent.\n"
    "\n"
    "Atomic: the value is as it was at one moment of the call. The call waits for no writer.\n"
    "\n"
    "type: convert the value to this type, for example a msgspec.Struct. The handle needs codec \"msgspec\".\n"
    "touch: set the entry's time to live at the same moment, as touch() does, for sliding expiry. The default, KEEP,\n"
    "sets nothing.\n"
    "\n"
    "Cost: about 200 ns, and decoding; with *touch* 200 ns more.\n"
    "\n"
    ">>> store[\"user:1\"] = {\"name\": \"Ada\"}\n"
    ">>> store.get(\"user:1\")\n"
    "{'name': 'Ada'}\n"
    ">>> store.get(\"user:2\", \"nobody\")\n"
    "'nobody'\n"
    "\n"
    "Raises: CodecError if this handle cannot read the value, or if the value does not match *type*. With *touch*,\n"
    "also ReadOnlyStore and LockTimeout.");

PyDoc_STRVAR(
    get_into_doc,
    "get_into($self, key, buffer, /)\n--\n\n"
    "Copy a value into a buffer of yours, and return the number of bytes.\n"
    "\n"
    "buffer: a writable buffer of bytes takes bytes and bytearrays, from its beginning; its other bytes stay.\n"
    "A numpy array, contiguous in either order, takes an array of the same dtype, shape and order.\n"
    "\n"
    "Atomic: if this returns, all bytes are those of one value. If it raises, the buffer may contain parts of a\n"
    "value that was overwritten or deleted meanwhile.\n"
    "\n"
    "Cost: about 150 ns, and one copy. From 8 MB on, other threads run meanwhile.\n"
    "\n"
    ">>> store[\"data\"] = b\"abc\"\n"
    ">>> buffer = bytearray(5)\n"
    ">>> store.get_into(\"data\", buffer), buffer\n"
    "(3, bytearray(b'abc\\x00\\x00'))\n"
    "\n"
    "Raises: KeyError; ValueError if the bytes do not fit into the buffer; TypeError for other values.");

PyDoc_STRVAR(get_versioned_doc,
             "get_versioned($self, key, /)\n--\n\n"
             "Return the value and its version, as they were at one moment.\n"
             "\n"
             "A version is an int above 0. Each write in the store's life has another one. Versions have no order.\n"
             "\n"
             "Cost: as get().\n"
             "\n"
             ">>> store[\"count\"] = 1\n"
             ">>> value, version = store.get_versioned(\"count\")\n"
             ">>> store.cas(\"count\", value + 1, version)\n"
             "True\n"
             "\n"
             "Raises: KeyError, CodecError.");

PyDoc_STRVAR(get_with_ttl_doc,
             "get_with_ttl($self, key, /)\n--\n\n"
             "Return the value and the number of seconds until it expires (None: never), as they were at one moment.\n"
             "\n"
             "Cost: as get().\n"
             "\n"
             ">>> version = store.put(\"token\", \"secret\", ttl=None)\n"
             ">>> store.get_with_ttl(\"token\")\n"
             "('secret', None)\n"
             "\n"
             "Raises: KeyError, CodecError.");

PyDoc_STRVAR(
    put_doc,
    "put($self, key, value, *, ttl=..., tags=())\n--\n\n"
    "Store a copy of *value* under *key*, and return its version. An existing entry is replaced.\n"
    "\n"
    "Atomic: others see the complete old or new value. A put that raises has changed nothing.\n"
    "\n"
    "ttl: the time to live in seconds; None: no limit. The default is the handle's ttl. KEEP: an existing entry keeps\n"
    "its time to live.\n"
    "tags: str or bytes, at most 256. evict_tag() of one of them removes the entry. A put replaces the tags of an\n"
    "existing entry, also with none. KEEP: an existing entry keeps its tags.\n"
    "\n"
    "Cost: about 250 ns, and encoding; with tags 100 ns more.\n"
    "\n"
    ">>> version = store.put(\"token\", b\"secret\", ttl=30)\n"
    ">>> store[\"token\"]\n"
    "b'secret'\n"
    "\n"
    "Raises: CodecError, StoreFull (ValueTooLarge if the value does not fit even into the empty store),\n"
    "ReadOnlyStore, LockTimeout; TypeError and InvalidKey for what cannot be a key.");

PyDoc_STRVAR(add_doc, "add($self, key, value, *, ttl=..., tags=())\n--\n\n"
                      "Store *value* if the key is absent. Return whether it was.\n"
                      "\n"
                      "Atomic: if several processes try at once, one of them succeeds.\n"
                      "\n"
                      ">>> store.add(\"leader\", 17, ttl=10), store.add(\"leader\", 18, ttl=10)\n"
                      "(True, False)\n"
                      "\n"
                      "Cost and errors: as put().");

PyDoc_STRVAR(replace_doc, "replace($self, key, value, *, ttl=..., tags=())\n--\n\n"
                          "Store *value* if the key is present. Return whether it was. Atomic.\n"
                          "\n"
                          ">>> store.replace(\"config\", {})\n"
                          "False\n"
                          "\n"
                          "Cost and errors: as put().");

PyDoc_STRVAR(cas_doc,
             "cas($self, key, value, version, *, ttl=..., tags=())\n--\n\n"
             "Store *value* if the entry has this *version* (0: if the key is absent). Return whether it had. Atomic.\n"
             "\n"
             ">>> version = store.put(\"state\", \"new\")\n"
             ">>> store.cas(\"state\", \"done\", version), store.cas(\"state\", \"failed\", version)\n"
             "(True, False)\n"
             "\n"
             "Cost and errors: as put().");

PyDoc_STRVAR(delete_doc,
             "delete($self, key, version=None)\n--\n\n"
             "Remove the entry. Return whether the key was present. Atomic.\n"
             "\n"
             "version: remove the entry only if it has this version. Otherwise it stays, and False is returned.\n"
             "\n"
             "Cost: about 100 ns.\n"
             "\n"
             ">>> store[\"job\"] = \"mail\"\n"
             ">>> store.delete(\"job\"), store.delete(\"job\")\n"
             "(True, False)\n"
             "\n"
             "Raises: ReadOnlyStore, LockTimeout.");

PyDoc_STRVAR(
    incr_doc,
    "incr($self, key, by=1, *, initial=0, create=True, ttl=..., tags=())\n--\n\n"
    "Add *by* to an int, and return the sum. An absent key starts at *initial*.\n"
    "\n"
    "Atomic: no addition is lost. Ints have 64 bits with a sign. An existing entry keeps its time to live\n"
    "and its tags.\n"
    "\n"
    "create: False raises KeyError if the key is absent.\n"
    "ttl: the time to live in seconds of an entry that this call creates; None: no limit. The default is the handle's\n"
    "ttl.\n"
    "tags: as in put(), of an entry that this call creates.\n"
    "\n"
    "Cost: about 150 ns.\n"
    "\n"
    ">>> store.incr(\"hits\")\n"
    "1\n"
    ">>> store.incr(\"hits\", 10)\n"
    "11\n"
    "\n"
    "Raises: TypeError if the value is not an int, OverflowError if the sum is too large. The value then stays.\n"
    "KeyError if the key is absent and *create* is False.");

PyDoc_STRVAR(decr_doc, "decr($self, key, by=1, *, initial=0, create=True, ttl=..., tags=())\n--\n\n"
                       "Subtract *by* from an int, and return the difference. Otherwise as incr().\n"
                       "\n"
                       ">>> store.decr(\"left\", initial=10)\n"
                       "9");

PyDoc_STRVAR(
    evict_tag_doc,
    "evict_tag($self, tag, /)\n--\n\n"
    "Remove all entries that were put with this tag, in all namespaces and for all processes.\n"
    "\n"
    "Atomic: all of them are absent at once. If a put with this tag began before, its entry is not found either.\n"
    "Tags share 8,192 counters. Entries of another tag with the same counter are removed, too. Such tags are rare in\n"
    "a store with a few tags, and common in one with thousands. Later puts, and expire_due(), free the memory. A\n"
    "wait() for one of the entries ends.\n"
    "\n"
    "Cost: about 150 ns, whatever the number of entries.\n"
    "\n"
    ">>> version = store.put(\"profile:7\", {\"name\": \"Ada\"}, tags=[\"user:7\"])\n"
    ">>> store.evict_tag(\"user:7\")\n"
    ">>> \"profile:7\" in store\n"
    "False\n"
    "\n"
    "Raises: ReadOnlyStore; InvalidTag for what cannot be a tag; StoreFull if /dev/shm has no page for the counter;\n"
    "LockTimeout if a resize is not finished in time.");

PyDoc_STRVAR(
    wait_doc,
    "wait($self, key, *, after=None, timeout=None, spin=0.0)\n--\n\n"
    "Wait until the key is present with a version other than *after*. Return that version.\n"
    "\n"
    "With *after*, a deletion or an expiry also ends the wait, and 0 is returned. Several changes may be reported\n"
    "as one. The process sleeps until a writer wakes it, and other threads run meanwhile. A read-only handle looks\n"
    "every 2 ms.\n"
    "\n"
    "spin: for so many seconds, look again and again before sleeping, for answers within a microsecond.\n"
    "\n"
    "Cost: 100 ns if it need not wait.\n"
    "\n"
    ">>> version = store.put(\"job\", \"ready\")\n"
    ">>> store.wait(\"job\") == version\n"
    "True\n"
    ">>> store.wait(\"job\", after=version, timeout=0.01)\n"
    "Traceback (most recent call last):\n"
    "  ...\n"
    "TimeoutError: store 'example': 'job' did not change within 0.01 s\n"
    "\n"
    "Raises: TimeoutError after *timeout* seconds.");

PyDoc_STRVAR(
    view_doc,
    "view($self, key)\n--\n\n"
    "Return a read-only memoryview of a value that is bytes, in place: nothing is copied.\n"
    "\n"
    "The bytes do not change while the memoryview, or an object made from it, exists, even if the entry, the handle\n"
    "or the store is removed meanwhile. Until then the memory of the value is not freed. End the view with\n"
    "``with store.view(key) as memory:``. In a forked child a view is valid only while the parent holds it.\n"
    "\n"
    "Cost: about 500 ns, whatever the size.\n"
    "\n"
    ">>> store[\"data\"] = b\"abc\"\n"
    ">>> with store.view(\"data\") as memory:\n"
    "...     print(memory[0], len(memory))\n"
    "97 3\n"
    "\n"
    "Raises: KeyError; TypeError if the value is not bytes; ReadOnlyStore, because a view writes a pin into the\n"
    "store; StoreFull if this handle has all its views open (200; fewer in a store below 16 MiB).");

PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\n"
             "Detach from the store, which continues to exist. Calls of other threads end, or raise StoreClosed.\n"
             "\n"
             "Closing again does nothing. Leaving a ``with` block closes, too.\n"
             "\n"
             ">>> store.close()\n"
             ">>> store.closed\n"
             "True");

#endif
