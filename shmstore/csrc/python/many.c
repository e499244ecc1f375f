/* many.c: many keys in one call. Not snapshots: each item is an operation of its own. Arguments are tuples,
 * so nobody changes them while a slice of waiting lets other Python code run. */
#include "python/encode.h"

#include <stdlib.h>

/* Other threads get a turn after so many items, which take less than half a millisecond. */
#define ITEMS_AT_ONCE 256
static bool is_turn(Py_ssize_t i) { return i && i % ITEMS_AT_ONCE == 0; }
/* Within a call on the store: SHMS_OK, or what ends the call. */
static int pause_at(struct shms_call *c, Py_ssize_t i) {
    int rc = is_turn(i) ? shms_call_pause(c) : SHMS_OK;
    return shms_call_again(c, &rc) ? SHMS_OK : rc; /* nothing is in progress between two items */
}
/* Outside of one. */
static void give_way(Py_ssize_t i) {
    if (is_turn(i))
        PyEval_RestoreThread(PyEval_SaveThread());
}

/* Cache misses are most of the price, and they can overlap: some keys ahead, first the buckets are asked for, then
 * the blocks of the slots that have the key's tag. */
#define AHEAD 8
static void fetch_ahead(struct shms_store *s, PyObject *keys, Py_ssize_t from, Py_ssize_t count) {
    struct shms_key n[AHEAD];
    Py_ssize_t last = from + AHEAD < count ? from + AHEAD : count, known = 0;
    for (Py_ssize_t i = from; i < last; i++) {
        const char *bytes;
        uint32_t length, kind;
        PyObject *key = PyTuple_GetItem(keys, i);
        if (shms_object_key(key, &bytes, &length, &kind) != SHMS_OK) {
            PyErr_Clear(); /* its own turn will say what is wrong */
            continue;
        }
        shms_key_init(s, &n[known], bytes, length, kind);
        if (shms_bucket_in_use(s, n[known].home))
            __builtin_prefetch(&s->buckets[n[known++].home]);
    }
    for (Py_ssize_t i = 0; i < known; i++) {
        uint64_t tag = SHMS_SLOT_TAG(n[i].hash, n[i].home);
        for (uint32_t k = 0; k < SHMS_BUCKET_SLOTS; k++) {
            uint64_t w = shms_load_relaxed(&s->buckets[n[i].home].slots[k]);
            if (w && SHMS_SLOT_TAG_OF(w) == tag) {
                __builtin_prefetch(s->base + SHMS_SLOT_BLOCK(w)); /* a hint: any address will do */
                __builtin_prefetch(s->base + SHMS_SLOT_BLOCK(w) + SHMS_LINE);
            }
        }
    }
}

static int get_one(PyObject *self, PyObject *key, PyObject *found) {
    struct shms_value v;
    v.into = NULL;
    int rc = shms_call_read(self, key, false, &v);
    if (rc != SHMS_OK)
        return rc;
    PyObject *value = shms_value_object(&v, self, key);
    rc = value && PyDict_SetItem(found, key, value) == 0 ? SHMS_OK : SHMS_RAISED;
    Py_XDECREF(value);
    return rc;
}

/* _get_many(keys): a dict */
PyObject *shms_get_many(PyObject *self, PyObject *keys) {
    if (!PyTuple_Check(keys)) {
        PyErr_SetString(PyExc_TypeError, "get_many: a tuple of keys");
        return NULL;
    }
    PyObject *found = PyDict_New();
    Py_ssize_t count = PyTuple_Size(keys);
    int rc = found ? SHMS_OK : SHMS_RAISED;
    for (Py_ssize_t i = 0; i < count && rc == SHMS_OK; i++) {
        give_way(i);
        if (i % AHEAD == 0) {
            struct shms_call c; /* decoding runs Python code now and then: each item looks at the handle again */
            if ((rc = shms_call_begin(&c, self)) != SHMS_OK)
                break;
            if (SHMS_LIKELY(!shms_is_inside(self)))
                fetch_ahead(c.h->s, keys, i, count);
            shms_call_end(&c);
        }
        rc = get_one(self, PyTuple_GetItem(keys, i), found);
        rc = rc == SHMS_MISS ? SHMS_OK : rc;
    }
    if (rc == SHMS_OK && count == 0) {
        struct shms_call c;
        rc = shms_call_begin(&c, self);
        shms_call_end(&c);
    }
    if (rc == SHMS_OK)
        return found;
    Py_XDECREF(found);
    return shms_store_failed(self, Py_None, rc);
}

/* What put_many has of each item once all are encoded. */
struct item {
    struct shms_put put;
    PyObject *bytes; /* owned, or NULL */
    size_t at;       /* else in the common buffer from here on, if `packed` */
    bool packed;
};

/* Encodes them all into one buffer, but for those that are bytes already. */
static int encode_all(PyObject *self, PyObject *keys, PyObject *values, struct item *items, struct shms_packed *buffer,
                      uint8_t *extension) {
    Py_ssize_t count = PyTuple_Size(values);
    for (Py_ssize_t i = 0; i < count; i++) {
        give_way(i);
        struct item *item = &items[i];
        PyObject *value = PyTuple_GetItem(values, i);
        struct shms_handle *h = shms_handle_get(shms_handle_of(self));
        size_t before = item->at = buffer->length;
        if ((!h || h->codec == SHMS_CODEC_MSGPACK) && !PyBytes_Check(value)) {
            enum shms_pack_result packed = shms_pack(buffer, value, &shms_module_of(self)->types);
            if (SHMS_LIKELY(packed == SHMS_PACKED)) {
                item->packed = true;
                item->put.length = buffer->length - before;
                item->put.codec = SHMS_CODEC_MSGPACK;
                continue;
            }
            buffer->length = before;
            if (packed == SHMS_PACK_NO_MEMORY)
                return SHMS_NO_MEMORY;
            if (packed == SHMS_PACK_RAISED)
                return shms_unencodable(self, PyTuple_GetItem(keys, i), value);
        }
        struct shms_encoded e;
        int rc = shms_encode(self, PyTuple_GetItem(keys, i), value, &e, &item->put);
        if (rc != SHMS_OK) {
            shms_encoded_free(&e);
            return rc;
        }
        if (item->put.extension_length) /* the codec's name, of all items the same */
            item->put.extension = memcpy(extension, e.extension, item->put.extension_length);
        item->bytes = e.bytes; /* not packed: plain values were above */
        if (!e.bytes && e.packed.length) {
            item->bytes = PyBytes_FromStringAndSize((char *)e.packed.bytes, (Py_ssize_t)e.packed.length);
            if (item->bytes)
                item->put.body = PyBytes_AsString(item->bytes);
        }
        e.bytes = NULL;
        shms_encoded_free(&e);
        if (!item->bytes && !item->put.body)
            return SHMS_RAISED;
    }
    return SHMS_OK;
}

static int check_names(PyObject *self, PyObject *keys) {
    Py_ssize_t count = PyTuple_Size(keys);
    for (Py_ssize_t i = 0; i < count; i++) {
        const char *bytes;
        uint32_t length, kind;
        give_way(i);
        int rc = shms_object_key(PyTuple_GetItem(keys, i), &bytes, &length, &kind);
        if (rc == SHMS_OK && shms_is_inside(self) && length > SHMS_KEY_INSIDE_MAX)
            rc = SHMS_NO_KEY;
        if (rc != SHMS_OK) {
            shms_store_failed(self, PyTuple_GetItem(keys, i), rc);
            return SHMS_RAISED;
        }
    }
    return SHMS_OK;
}

/* The key of the next item, within a call. */
static int next_key(struct shms_call *c, PyObject *object, const char **key, uint32_t *length, uint32_t *kind) {
    struct shms_call one; /* its own: the key of a namespace is a call to find */
    int rc = shms_call_key(&one, c->store, object, key, length, kind);
    PyObject *before = c->name;
    c->name = one.name;
    Py_XDECREF(before);
    return rc;
}

static int put_all(PyObject *self, PyObject *keys, struct item *items, struct shms_packed *buffer, uint64_t ttl,
                   enum shms_mode mode, const struct shms_generations *generations, bool keep, Py_ssize_t *done,
                   Py_ssize_t *at) {
    Py_ssize_t count = PyTuple_Size(keys), i = 0;
    struct shms_call c;
    int rc = shms_call_begin(&c, self);
    for (; i < count && rc == SHMS_OK; i++) {
        struct shms_put *p = &items[i].put;
        const char *key;
        uint32_t length, kind;
        if ((rc = pause_at(&c, i)) != SHMS_OK ||
            (rc = next_key(&c, PyTuple_GetItem(keys, i), &key, &length, &kind)) != SHMS_OK)
            continue; /* ends the loop */
        p->generations = generations;
        p->keep_generations = keep;
        if (items[i].packed)
            p->body = (char *)buffer->bytes + items[i].at;
        p->mode = mode;
        p->expiry = shms_call_expiry(&c, ttl);
        p->keep_expiry = ttl == SHMS_TTL_KEEP;
        c.deadline = 0; /* the timeout is each item's */
        rc = shms_put_one(&c, key, length, kind, p);
        *done += rc == SHMS_OK;
        rc = rc == SHMS_UNMET ? SHMS_OK : rc;
    }
    shms_call_end(&c);
    *at = i ? i - 1 : 0;
    return rc;
}

/* _put_many(keys, values, ttl, mode, tags): how many were stored; on failure (status, how many, at which item, its bytes) */
PyObject *shms_put_many(PyObject *self, PyObject *const *args, Py_ssize_t argc) {
    uint64_t ttl;
    struct shms_generations g;
    const struct shms_generations *generations;
    if (argc != 5 || !PyTuple_Check(args[0]) || !PyTuple_Check(args[1]) ||
        PyTuple_Size(args[0]) != PyTuple_Size(args[1])) {
        PyErr_SetString(PyExc_TypeError, "put_many: two tuples of one length, ttl, mode, tags");
        return NULL;
    }
    enum shms_mode mode = (enum shms_mode)PyLong_AsLong(args[3]);
    if (PyErr_Occurred() || shms_call_ttl(self, args[2], "ttl", &ttl) != SHMS_OK ||
        check_names(self, args[0]) != SHMS_OK)
        return NULL;
    bool keep = args[4] == shms_module_of(self)->keep;
    int taken = shms_call_generations(self, 0, keep ? NULL : args[4], &g, &generations);
    if (taken != SHMS_OK)
        return shms_store_failed(self, Py_None, taken);
    Py_ssize_t count = PyTuple_Size(args[0]), done = 0, at = 0;
    struct item *items = calloc((size_t)count + 1, sizeof *items);
    struct shms_packed buffer;
    uint8_t extension[SHMS_CODEC_EXTENSION];
    shms_packed_init(&buffer);
    int rc = items ? encode_all(self, args[0], args[1], items, &buffer, extension) : SHMS_NO_MEMORY;
    if (rc == SHMS_OK)
        rc = put_all(self, args[0], items, &buffer, ttl, mode, generations, keep, &done, &at);
    uint64_t asked = items ? items[at].put.length : 0;
    for (Py_ssize_t i = 0; items && i < count; i++)
        Py_XDECREF(items[i].bytes);
    free(items);
    shms_packed_free(&buffer);
    if (rc == SHMS_OK)
        return PyLong_FromSsize_t(done);
    if (rc == SHMS_NO_MEMORY)
        return PyErr_NoMemory();
    return rc == SHMS_RAISED ? NULL : Py_BuildValue("(innK)", rc, done, at, (unsigned long long)asked);
}

static int delete_one(struct shms_call *c, PyObject *key) {
    const char *bytes;
    uint32_t length, kind;
    int rc = next_key(c, key, &bytes, &length, &kind);
    c->deadline = 0; /* the timeout is each item's */
    if (SHMS_LIKELY(rc == SHMS_OK))
        return shms_remove_one(c, bytes, length, kind, 0);
    if (rc == SHMS_NO_KEY) { /* hashing it may run Python code */
        shms_call_end(c);
        rc = shms_call_absent(c->store, key, true);
        int again = shms_call_begin(c, c->store);
        return rc == SHMS_MISS && again != SHMS_OK ? again : rc;
    }
    return rc;
}

/* _delete_many(keys): how many were there; on failure (status, how many, at which key) */
PyObject *shms_delete_many(PyObject *self, PyObject *keys) {
    struct shms_call c;
    if (!PyTuple_Check(keys)) {
        PyErr_SetString(PyExc_TypeError, "delete_many: a tuple of keys");
        return NULL;
    }
    int rc = shms_call_begin(&c, self);
    Py_ssize_t count = PyTuple_Size(keys), done = 0, i = 0;
    for (; i < count && rc == SHMS_OK; i++) {
        if ((rc = pause_at(&c, i)) != SHMS_OK)
            continue; /* ends the loop */
        rc = delete_one(&c, PyTuple_GetItem(keys, i));
        done += rc == SHMS_OK;
        rc = rc == SHMS_MISS ? SHMS_OK : rc;
    }
    shms_call_end(&c);
    if (rc == SHMS_OK)
        return PyLong_FromSsize_t(done);
    if (rc == SHMS_NO_MEMORY)
        return PyErr_NoMemory();
    return rc == SHMS_RAISED ? NULL : Py_BuildValue("(inn)", rc, done, i ? i - 1 : 0);
}
