/* glue_many.c: many names in one call. Not snapshots: each item is an operation of its own. Arguments are tuples,
 * so nobody changes them while a slice of waiting lets other Python code run. */
#include "glue_call.h"

#include <stdlib.h>

struct batch {
    char *bytes;
    size_t used, room;
};

static bool make_room(struct batch *b, uint64_t more) {
    if (b->room - b->used >= more)
        return true;
    size_t room = b->room * 2 > b->used + more ? b->room * 2 : b->used + more;
    char *bytes = realloc(b->bytes, room);
    if (!bytes)
        return false;
    b->bytes = bytes;
    b->room = room;
    return true;
}

/* One item: appended to the batch (*other NULL), or another codec's (codec, bytes). */
static int get_item(struct shms_call *c, PyObject *get, PyObject *name, struct batch *b, PyObject **other) {
    const char *bytes;
    uint32_t length, kind;
    struct shms_name n;
    struct shms_found f;
    *other = NULL;
    int rc = shms_call_name(name, &bytes, &length, &kind);
    if (rc != SHMS_OK)
        return rc;
    shms_name_init(&c->h->s, &n, bytes, length, kind);
    for (int tries = 0; tries < 8; tries++) {
        rc = shms_find(&c->h->s, &n, &f);
        if (rc == SHMS_BUSY || (rc == SHMS_OK && (f.kind & SHMS_CODEC_MASK) != SHMS_CODEC_MSGPACK))
            break;
        if (rc != SHMS_OK)
            return rc;
        if (!make_room(b, f.value_length))
            return SHMS_NO_MEMORY;
        shms_copy_racy(b->bytes + b->used, f.value, f.value_length);
        if (SHMS_LIKELY(shms_found_still(&f))) {
            b->used += f.value_length;
            return SHMS_OK;
        }
    }
    /* Another codec, or a storm: the ordinary call knows what to do. */
    PyObject *value = NULL;
    rc = shms_read_value(c, &n, &f, &value);
    if (rc != SHMS_OK)
        return rc;
    if ((f.kind & SHMS_CODEC_MASK) == SHMS_CODEC_MSGPACK) {
        Py_ssize_t size = PyBytes_Size(value);
        rc = make_room(b, (uint64_t)size) ? SHMS_OK : SHMS_NO_MEMORY;
        if (rc == SHMS_OK) {
            memcpy(b->bytes + b->used, PyBytes_AsString(value), (size_t)size);
            b->used += (size_t)size;
        }
        Py_DECREF(value);
        return rc;
    }
    Py_DECREF(value);
    *other = Py_None; /* the caller asks again, one by one */
    return SHMS_OK;
}

/* get_many(names): ([found names], msgpack array of their values, [names whose value has another codec]) */
static PyObject *get_many(PyObject *self, PyObject *names) {
    struct shms_call c;
    struct batch b = {NULL, 5, 4096}; /* 5: the head of a msgpack array, filled in at the end */
    if (!PyTuple_Check(names)) {
        PyErr_SetString(PyExc_TypeError, "get_many: a tuple of names");
        return NULL;
    }
    PyObject *found = PyList_New(0), *others = PyList_New(0), *result = NULL; /* may collect garbage: before begin */
    int rc = shms_call_begin(&c, self);
    if (rc == SHMS_OK && (!found || !others || !(b.bytes = malloc(b.room))))
        rc = SHMS_NO_MEMORY;
    uint64_t hits = 0, misses = 0;
    Py_ssize_t count = PyTuple_Size(names);
    for (Py_ssize_t i = 0; i < count && rc == SHMS_OK; i++) {
        PyObject *name = PyTuple_GetItem(names, i), *other;
        rc = get_item(&c, self, name, &b, &other);
        if (rc == SHMS_MISS) {
            misses++;
            rc = SHMS_OK;
        } else if (rc == SHMS_OK) {
            hits += other == NULL;
            rc = PyList_Append(other ? others : found, name) < 0 ? SHMS_RAISED : SHMS_OK;
        }
    }
    if (rc == SHMS_OK) {
        uint32_t n = (uint32_t)PyList_Size(found);
        b.bytes[0] = (char)0xdd;
        for (int i = 0; i < 4; i++)
            b.bytes[1 + i] = (char)(n >> (24 - 8 * i));
        shms_stat(&c.h->s, SHMS_HITS, hits);
        shms_stat(&c.h->s, SHMS_MISSES, misses);
        result = Py_BuildValue("(Oy#O)", found, b.bytes, (Py_ssize_t)b.used, others);
    }
    shms_call_end(&c);
    free(b.bytes);
    Py_XDECREF(found);
    Py_XDECREF(others);
    return rc == SHMS_OK ? result : shms_call_failed(rc);
}

static PyObject *stored(int rc, Py_ssize_t done) {
    if (rc == SHMS_OK)
        return PyLong_FromSsize_t(done);
    return rc == SHMS_RAISED ? NULL : Py_BuildValue("(in)", rc, done);
}

/* put_many(names, bodies, ttl, mode, codec): how many were stored; (status, how many) on failure */
static PyObject *put_many(PyObject *self, PyObject *const *args, Py_ssize_t argc) {
    struct shms_call c;
    uint64_t ttl;
    if (argc != 5 || !PyTuple_Check(args[0]) || !PyTuple_Check(args[1]) ||
        PyTuple_Size(args[0]) != PyTuple_Size(args[1])) {
        PyErr_SetString(PyExc_TypeError, "put_many: two tuples of one length, ttl, mode, codec");
        return NULL;
    }
    enum shms_mode mode = (enum shms_mode)PyLong_AsLong(args[3]);
    uint32_t codec = (uint32_t)PyLong_AsLong(args[4]) & SHMS_CODEC_MASK;
    if (PyErr_Occurred() || shms_call_ttl(args[2], &ttl) != SHMS_OK)
        return NULL;
    int rc = shms_call_begin(&c, self);
    if (rc != SHMS_OK)
        return shms_call_failed(rc);
    uint64_t expiry = shms_call_expiry(&c, ttl);
    Py_ssize_t count = PyTuple_Size(args[0]), done = 0;
    for (Py_ssize_t i = 0; i < count && rc == SHMS_OK; i++) {
        const char *name;
        char *body;
        uint32_t length, kind;
        Py_ssize_t bytes;
        rc = shms_call_name(PyTuple_GetItem(args[0], i), &name, &length, &kind);
        if (rc != SHMS_OK || PyBytes_AsStringAndSize(PyTuple_GetItem(args[1], i), &body, &bytes) < 0) {
            rc = SHMS_RAISED;
            break;
        }
        struct shms_put p = {.body = body, .length = (uint64_t)bytes, .codec = codec, .expiry = expiry, .mode = mode};
        rc = shms_put_one(&c, name, length, kind, &p);
        done += rc == SHMS_OK;
        if (rc == SHMS_UNMET)
            rc = SHMS_OK;
    }
    shms_call_end(&c);
    return stored(rc, done);
}

/* delete_many(names): how many were there; (status, how many) on failure */
static PyObject *delete_many(PyObject *self, PyObject *names) {
    struct shms_call c;
    if (!PyTuple_Check(names)) {
        PyErr_SetString(PyExc_TypeError, "delete_many: a tuple of names");
        return NULL;
    }
    int rc = shms_call_begin(&c, self);
    if (rc != SHMS_OK)
        return shms_call_failed(rc);
    Py_ssize_t count = PyTuple_Size(names), done = 0;
    for (Py_ssize_t i = 0; i < count && rc == SHMS_OK; i++) {
        const char *name;
        uint32_t length, kind;
        rc = shms_call_name(PyTuple_GetItem(names, i), &name, &length, &kind);
        if (rc == SHMS_OK)
            rc = shms_remove_one(&c, name, length, kind, 0);
        done += rc == SHMS_OK;
        if (rc == SHMS_MISS)
            rc = SHMS_OK;
    }
    shms_call_end(&c);
    return stored(rc, done);
}

PyMethodDef shms_glue_batches[] = {
    {"get_many", get_many, METH_O, NULL},
    {"put_many", (PyCFunction)(void (*)(void))put_many, METH_FASTCALL, NULL},
    {"delete_many", delete_many, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
