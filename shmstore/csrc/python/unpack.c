/* unpack.c: the walk over bytes; see pack.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python/pack.h"

#include <stdbool.h>
#include <string.h>

#define CUT_SHORT "they end before the value does"
#define NO_ROOM "they claim more elements than there are bytes"

static PyObject *unpack_node(struct shms_unpack *u, int depth);

static inline size_t left(const struct shms_unpack *u) { return (size_t)(u->end - u->at); }

/* ---- str */

static inline uint32_t key_place(const uint8_t *bytes, size_t n) {
    uint32_t h = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * 0x01000193u; /* FNV-1a: short, and the worst that happens is a miss */
    return (h ^ h >> 15) % SHMS_KEYS_KEPT;
}

static PyObject *unpack_key(struct shms_kept_key *keys, const uint8_t *bytes, size_t n) {
    if (n > SHMS_KEY_KEPT_MAX)
        return PyUnicode_DecodeUTF8((const char *)bytes, (Py_ssize_t)n, "strict");
    struct shms_kept_key *kept = &keys[key_place(bytes, n)];
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

static inline PyObject *text(struct shms_unpack *u, uint64_t n, bool key) {
    if (n > left(u))
        return shms_unpack_failed(u, CUT_SHORT);
    const uint8_t *bytes = u->at;
    u->at += n;
    return key ? unpack_key(u->keys, bytes, n) : PyUnicode_DecodeUTF8((const char *)bytes, (Py_ssize_t)n, "strict");
}

/* ---- containers */

/* Whether a container of so many elements may be made: each element that is still owed takes a byte at least. */
static inline bool enter(struct shms_unpack *u, uint64_t count, int depth) {
    size_t there = left(u);
    if (SHMS_UNLIKELY(depth == SHMS_DEPTH)) {
        u->error->why = "more than 256 containers inside one another";
        return false;
    }
    if (SHMS_UNLIKELY(count > there || u->owed > there - count)) {
        u->error->why = NO_ROOM;
        return false;
    }
    u->owed += count;
    return true;
}

static PyObject *array(struct shms_unpack *u, uint64_t count, int depth) {
    if (!enter(u, count, depth))
        return NULL;
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint64_t i = 0; list && i < count; i++) {
        u->owed--;
        PyObject *item = unpack_node(u, depth + 1);
        if (!item || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

/* A member of a set, or a key of a map whose first byte is not that of a short str. */
static PyObject *counted_node(struct shms_unpack *u, struct shms_keys_of *keys, int depth) {
    const uint8_t *from = u->at;
    struct shms_work before = shms_key_begin(keys);
    PyObject *key = unpack_node(u, depth);
    if (!key)
        return NULL;
    if (Py_TYPE(key) == &PyUnicode_Type || Py_TYPE(key) == &PyBytes_Type) {
        u->work.inside--;
        return key;
    }
    enum shms_counted counted = shms_key_end(keys, &before, key, (uint64_t)(u->at - from));
    if (SHMS_LIKELY(counted == SHMS_COUNTED && u->work.spent <= u->allowed))
        return key;
    Py_DECREF(key);
    if (counted == SHMS_UNCOUNTED)
        return PyErr_NoMemory();
    return counted == SHMS_UNHASHABLE ? NULL : shms_unpack_failed(u, "too many keys with one hash");
}

static PyObject *key_node(struct shms_unpack *u, struct shms_keys_of *keys, int depth) {
    if (left(u) && (*u->at & 0xe0) == 0xa0)
        return text(u, *u->at++ & 31, true);
    return counted_node(u, keys, depth);
}

static PyObject *map(struct shms_unpack *u, uint64_t count, int depth) {
    if (!enter(u, 2 * count, depth))
        return NULL;
    struct shms_keys_of keys;
    shms_keys_begin(&keys, &u->work, count);
    PyObject *dict = PyDict_New();
    for (uint64_t i = 0; dict && i < count; i++) {
        u->owed--;
        PyObject *key = key_node(u, &keys, depth + 1), *value = NULL;
        if (key) {
            u->owed--;
            value = unpack_node(u, depth + 1);
        }
        if (!value || PyDict_SetItem(dict, key, value) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    shms_keys_end(&keys);
    return dict;
}

static PyObject *tuple_of(struct shms_unpack *u, uint64_t count, int depth) {
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (uint64_t i = 0; tuple && i < count; i++) {
        u->owed--;
        PyObject *item = unpack_node(u, depth + 1);
        if (!item || PyTuple_SetItem(tuple, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *set_of(struct shms_unpack *u, uint64_t count, int depth, bool frozen) {
    struct shms_keys_of keys;
    shms_keys_begin(&keys, &u->work, count);
    PyObject *set = frozen ? PyFrozenSet_New(NULL) : PySet_New(NULL);
    for (uint64_t i = 0; set && i < count; i++) {
        u->owed--;
        PyObject *member = counted_node(u, &keys, depth + 1);
        if (!member || PySet_Add(set, member) < 0)
            Py_CLEAR(set);
        Py_XDECREF(member);
    }
    shms_keys_end(&keys);
    if (set && (uint64_t)PySet_Size(set) != count) {
        Py_DECREF(set);
        return shms_unpack_failed(u, "a member comes twice");
    }
    return set;
}

static PyObject *slice_of(struct shms_unpack *u, uint64_t count, int depth) {
    PyObject *parts = count == 3 ? tuple_of(u, count, depth) : shms_unpack_failed(u, "a slice has three parts");
    PyObject *slice =
        parts ? PySlice_New(PyTuple_GetItem(parts, 0), PyTuple_GetItem(parts, 1), PyTuple_GetItem(parts, 2)) : NULL;
    Py_XDECREF(parts);
    return slice;
}

/* How many elements the array here has; UINT64_MAX: no array. */
static uint64_t array_head(struct shms_unpack *u) {
    uint8_t tag = left(u) ? *u->at : 0;
    if ((tag & 0xf0) == 0x90)
        return *u->at++ & 15;
    int width = tag == 0xdc ? 2 : tag == 0xdd ? 4 : 0;
    if (!width || left(u) < 1 + (size_t)width)
        return UINT64_MAX;
    uint64_t count = shms_get_number(u->at + 1, width);
    u->at += 1 + width;
    return count;
}

/* A tuple, set, frozenset or slice: a packed array, which fills the payload. */
static PyObject *enclosed(struct shms_unpack *u, int code, int depth) {
    uint64_t count = array_head(u);
    if (count == UINT64_MAX)
        return shms_unpack_failed(u, "it does not hold an array");
    if (!enter(u, count, depth))
        return NULL;
    PyObject *made = code == SHMS_EXT_TUPLE   ? tuple_of(u, count, depth)
                     : code == SHMS_EXT_SLICE ? slice_of(u, count, depth)
                                              : set_of(u, count, depth, code == SHMS_EXT_FROZENSET);
    if (made && left(u)) {
        Py_DECREF(made);
        return shms_unpack_failed(u, "bytes are left over");
    }
    return made;
}

/* ---- extensions */

/* Of another package's type, a user's, or nobody's: Python's function knows. */
static PyObject *by_python(struct shms_unpack *u, int code, const uint8_t *payload, size_t n) {
    PyObject *number = PyLong_FromLong(code), *bytes = PyBytes_FromStringAndSize((const char *)payload, (Py_ssize_t)n);
    PyObject *made = number && bytes ? shms_call_python(u->types->leaf, number, bytes) : NULL;
    Py_XDECREF(number);
    Py_XDECREF(bytes);
    return made;
}

static PyObject *extension(struct shms_unpack *u, uint64_t n, int depth) {
    if (left(u) < 1 || n > left(u) - 1 || u->owed > left(u) - 1 - n)
        return shms_unpack_failed(u, CUT_SHORT);
    int code = (int8_t)*u->at++;
    const uint8_t *payload = u->at, *end = u->end;
    uint64_t owed = u->owed;
    PyObject *made;
    if (code >= SHMS_EXT_TUPLE && code <= SHMS_EXT_SLICE) {
        u->end = payload + n;
        u->owed = 0;
        made = enclosed(u, code, depth);
        u->end = end;
        u->owed = owed;
    } else {
        shms_work_leaf(&u->work, code, n);
        made = code >= SHMS_EXT_INT && code <= SHMS_EXT_IN_C ? shms_unpack_leaf(u, code, payload, n)
                                                             : by_python(u, code, payload, n);
    }
    if (SHMS_UNLIKELY(!made && u->error->code < 0)) { /* the innermost */
        u->error->code = code;
        u->error->bytes = n;
    }
    u->at = payload + n;
    return made;
}

/* ---- the walk */

static PyObject *bin(struct shms_unpack *u, uint64_t n) {
    if (n > left(u))
        return shms_unpack_failed(u, CUT_SHORT);
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

/* How many bytes of number follow tags 0xc0 to 0xdf; -1: no msgpack. */
static const int8_t widths[32] = {0, -1, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
                                  1, 2,  4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};

static PyObject *unpack_node(struct shms_unpack *u, int depth) {
    if (!left(u))
        return shms_unpack_failed(u, CUT_SHORT);
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
    if (width < 0)
        return shms_unpack_failed(u, "a byte begins no value");
    if ((size_t)width > left(u))
        return shms_unpack_failed(u, CUT_SHORT);
    uint64_t n = shms_get_number(u->at, width);
    u->at += width;
    switch (tag) {
    case 0xc0:
        return constant(Py_None);
    case 0xc2:
        return constant(Py_False);
    case 0xc3:
        return constant(Py_True);
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return bin(u, n);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return extension(u, n, depth);
    case 0xca:
    case 0xcb:
        return real(n, width);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return PyLong_FromUnsignedLongLong(n);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return PyLong_FromLongLong((int64_t)(n << (64 - 8 * width)) >> (64 - 8 * width));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return extension(u, 1ull << (tag - 0xd4), depth);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return text(u, n, false);
    case 0xdc:
    case 0xdd:
        return array(u, n, depth);
    default: /* 0xde, 0xdf */
        return map(u, n, depth);
    }
}

PyObject *shms_unpack(const uint8_t *bytes, size_t length, struct shms_types *types, struct shms_kept_key *keys,
                      struct shms_unpack_error *error) {
    struct shms_unpack u = {bytes, bytes + length, 0, types, keys, error, {0}, shms_work_allowed(length)};
    *error = (struct shms_unpack_error){.why = NULL, .code = -1, .bytes = 0};
    PyObject *value = unpack_node(&u, 0);
    if (value && left(&u)) {
        Py_DECREF(value);
        return shms_unpack_failed(&u, "bytes are left over");
    }
    return value;
}

PyObject *shms_unpack_extension(int code, const uint8_t *bytes, size_t length, struct shms_types *types,
                                struct shms_kept_key *keys, struct shms_unpack_error *error) {
    struct shms_unpack u = {bytes, bytes + length, 0, types, keys, error, {0}, shms_work_allowed(length)};
    error->why = NULL;
    error->code = code;
    error->bytes = length;
    if (code >= SHMS_EXT_TUPLE && code <= SHMS_EXT_SLICE)
        return enclosed(&u, code, 0);
    return code >= SHMS_EXT_INT && code <= SHMS_EXT_IN_C ? shms_unpack_leaf(&u, code, bytes, length)
                                                         : by_python(&u, code, bytes, length);
}

/* ---- a look at bytes that another decoder is to read */

/* Which elements of a container are keys, or parts of keys. */
enum keys { NO_KEYS, ALL_KEYS, EVERY_OTHER };

static const char *skip_node(struct shms_unpack *u, int depth, bool key);

static const char *skip_nodes(struct shms_unpack *u, uint64_t count, int depth, enum keys which) {
    struct shms_unpack_error error;
    u->error = &error;
    if (!enter(u, count, depth))
        return error.why;
    const char *why = NULL;
    for (uint64_t i = 0; i < count && !why; i++) {
        u->owed--;
        why = skip_node(u, depth + 1, which == ALL_KEYS || (which == EVERY_OTHER && i % 2 == 0));
    }
    return why;
}

static const char *skip_extension(struct shms_unpack *u, uint64_t n, int depth, bool key) {
    if (left(u) < 1 || n > left(u) - 1 || u->owed > left(u) - 1 - n)
        return CUT_SHORT;
    int code = (int8_t)*u->at++;
    struct shms_unpack inner = {.at = u->at, .end = u->at + n, .allowed = u->allowed};
    u->at += n;
    if (key && n > SHMS_WORK_SHORT)
        return "a key is long";
    if (code < SHMS_EXT_TUPLE || code > SHMS_EXT_SLICE)
        return NULL;
    uint64_t count = array_head(&inner);
    key |= code == SHMS_EXT_SET || code == SHMS_EXT_FROZENSET;
    const char *why =
        count == UINT64_MAX ? "it does not hold an array" : skip_nodes(&inner, count, depth, key ? ALL_KEYS : NO_KEYS);
    u->allowed = inner.allowed;
    return why ? why : left(&inner) ? "bytes are left over" : NULL;
}

static const char *skip_node(struct shms_unpack *u, int depth, bool key) {
    if (!left(u))
        return CUT_SHORT;
    uint8_t tag = *u->at++;
    if (tag < 0x80 || tag >= 0xe0)
        return NULL;
    int width = tag < 0xc0 ? 0 : widths[tag - 0xc0];
    if (width < 0 || (size_t)width > left(u))
        return width < 0 ? "a byte begins no value" : CUT_SHORT;
    bool map = tag < 0x90 || tag >= 0xde, container = tag < 0xa0 || tag >= 0xdc;
    bool fixed = tag >= 0xd4 && tag <= 0xd8, extended = fixed || (tag >= 0xc7 && tag <= 0xc9);
    uint64_t n = tag < 0xa0   ? tag & 15
                 : tag < 0xc0 ? tag & 31
                 : fixed      ? 1ull << (tag - 0xd4)
                              : shms_get_number(u->at, width);
    u->at += width;
    if (key && (container || extended) && u->allowed-- == 0)
        return "there are many keys whose hashes are to be counted"; /* which this package's decoder does */
    if (container)
        return skip_nodes(u, n << map, depth, key ? ALL_KEYS : map ? EVERY_OTHER : NO_KEYS);
    if (extended)
        return skip_extension(u, n, depth, key);
    bool sized = tag < 0xc0 || (tag >= 0xc4 && tag <= 0xc6) || tag >= 0xd9;
    if (sized && n > left(u))
        return CUT_SHORT;
    u->at += sized ? n : 0;
    return NULL;
}

const char *shms_unpack_check(const uint8_t *bytes, size_t length) {
    struct shms_unpack u = {.at = bytes, .end = bytes + length, .allowed = SHMS_WORK_FEW};
    const char *why = skip_node(&u, 0, false);
    return why ? why : left(&u) ? "bytes are left over" : NULL;
}
