/* unpack.c: see pack.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python/pack.h"

#include <stdbool.h>
#include <string.h>

#include "python/scan_limits.h"

struct unpack {
    const uint8_t *at, *end;
    struct shms_kept_key *keys;
};

static PyObject *unpack_node(struct unpack *u, int depth);

static inline size_t left(const struct unpack *u) { return (size_t)(u->end - u->at); }

/* A big-endian number of so many bytes; the caller has made sure that they are there. */
static inline uint64_t number(struct unpack *u, int bytes) {
    uint64_t n = 0;
    for (int i = 0; i < bytes; i++)
        n = n << 8 | *u->at++;
    return n;
}

static inline uint32_t key_place(const uint8_t *bytes, size_t n) {
    uint32_t h = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * 0x01000193u; /* FNV-1a: short, and the worst that happens is a miss */
    return (h ^ h >> 15) % SHMS_KEYS_KEPT;
}

static PyObject *unpack_key(struct unpack *u, const uint8_t *bytes, size_t n) {
    if (n > SHMS_KEY_KEPT_MAX)
        return PyUnicode_DecodeUTF8((const char *)bytes, (Py_ssize_t)n, "strict");
    struct shms_kept_key *kept = &u->keys[key_place(bytes, n)];
    if (!kept->object || kept->length != n || memcmp(kept->bytes, bytes, n) != 0) {
        PyObject *object = PyUnicode_DecodeUTF8((const char *)bytes, (Py_ssize_t)n, "strict");
        if (!object)
            return NULL;
        PyUnicode_InternInPlace(&object);
        PyObject *old = kept->object;
        kept->object = object;
        kept->length = (uint8_t)n;
        memcpy(kept->bytes, bytes, n);
        Py_XDECREF(old); /* a str: no finalizer */
    }
    Py_INCREF(kept->object);
    return kept->object;
}

void shms_keys_free(struct shms_kept_key keys[SHMS_KEYS_KEPT]) {
    for (uint32_t i = 0; i < SHMS_KEYS_KEPT; i++)
        Py_CLEAR(keys[i].object);
}

static inline PyObject *text(struct unpack *u, uint64_t n, bool key) {
    if (n > left(u))
        return NULL;
    const uint8_t *bytes = u->at;
    u->at += n;
    return key ? unpack_key(u, bytes, n) : PyUnicode_DecodeUTF8((const char *)bytes, (Py_ssize_t)n, "strict");
}

static PyObject *array(struct unpack *u, uint64_t count, int depth) {
    if (count > left(u) || depth == SHMS_SCAN_DEPTH)
        return NULL;
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint64_t i = 0; list && i < count; i++) {
        PyObject *item = unpack_node(u, depth + 1);
        if (!item || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *key_node(struct unpack *u, int depth) {
    if (left(u) && (*u->at & 0xe0) == 0xa0)
        return text(u, *u->at++ & 31, true);
    return unpack_node(u, depth);
}

static PyObject *map(struct unpack *u, uint64_t count, int depth) {
    if (count > left(u) / 2 || depth == SHMS_SCAN_DEPTH)
        return NULL;
    PyObject *dict = PyDict_New();
    for (uint64_t i = 0; dict && i < count; i++) {
        PyObject *key = key_node(u, depth + 1), *value = key ? unpack_node(u, depth + 1) : NULL;
        if (!value || PyDict_SetItem(dict, key, value) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *bin(struct unpack *u, uint64_t n) {
    if (n > left(u))
        return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)u->at, (Py_ssize_t)n);
    u->at += n;
    return bytes;
}

static PyObject *real(uint64_t bits, int bytes) {
    double d;
    float f;
    uint32_t half = (uint32_t)bits;
    memcpy(&d, &bits, 8);
    memcpy(&f, &half, 4);
    return PyFloat_FromDouble(bytes == 8 ? d : (double)f);
}

static PyObject *constant(PyObject *object) {
    Py_INCREF(object);
    return object;
}

/* How many bytes of number follow tags 0xc0 to 0xdf; -1: an extension, or no msgpack. */
static const int8_t widths[32] = {0, -1, 0, 0, 1, 2, 4, -1, -1, -1, 4, 8, 1, 2, 4, 8,
                                  1, 2,  4, 8, -1, -1, -1, -1, -1, 1, 2, 4, 2, 4, 2, 4};

static PyObject *unpack_node(struct unpack *u, int depth) {
    if (!left(u))
        return NULL;
    uint8_t tag = *u->at++;
    if (tag < 0x80 || tag >= 0xe0)
        return PyLong_FromLong((int8_t)tag);
    if (tag < 0x90)
        return map(u, tag & 15, depth);
    if (tag < 0xa0)
        return array(u, tag & 15, depth);
    if (tag < 0xc0)
        return text(u, tag & 31, false);
    int width = widths[tag - 0xc0];
    if (width < 0 || (size_t)width > left(u))
        return NULL;
    uint64_t n = number(u, width);
    switch (tag) {
    case 0xc0:
        return constant(Py_None);
    case 0xc2:
        return constant(Py_False);
    case 0xc3:
        return constant(Py_True);
    case 0xc4: case 0xc5: case 0xc6:
        return bin(u, n);
    case 0xca: case 0xcb:
        return real(n, width);
    case 0xcc: case 0xcd: case 0xce: case 0xcf:
        return PyLong_FromUnsignedLongLong(n);
    case 0xd0: case 0xd1: case 0xd2: case 0xd3:
        return PyLong_FromLongLong((int64_t)(n << (64 - 8 * width)) >> (64 - 8 * width));
    case 0xd9: case 0xda: case 0xdb:
        return text(u, n, false);
    case 0xdc: case 0xdd:
        return array(u, n, depth);
    default: /* 0xde, 0xdf */
        return map(u, n, depth);
    }
}

PyObject *shms_unpack(const uint8_t *bytes, size_t length, struct shms_kept_key keys[SHMS_KEYS_KEPT]) {
    struct unpack u = {bytes, bytes + length, keys};
    PyObject *value = unpack_node(&u, 0);
    if (value && left(&u))
        Py_CLEAR(value);
    if (!value)
        PyErr_Clear();
    return value;
}
