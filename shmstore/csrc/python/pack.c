/* pack.c: the walk over a value; see pack.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python/pack.h"

#include <stdlib.h>
#include <string.h>

void shms_packed_free(struct shms_packed *p) {
    if (p->bytes != p->first)
        free(p->bytes);
    Py_XDECREF(p->culprit);
}

static void note_culprit(struct shms_packed *p, PyObject *container) {
    PyObject *old = p->culprit;
    Py_INCREF(container);
    p->culprit = container;
    Py_XDECREF(old);
}

uint8_t *shms_packed_grow(struct shms_packed *p, size_t more) {
    size_t room = p->room * 2 > p->length + more ? p->room * 2 : p->length + more;
    uint8_t *bytes = p->bytes == p->first ? malloc(room) : realloc(p->bytes, room);
    if (!bytes)
        return NULL;
    if (p->bytes == p->first)
        memcpy(bytes, p->first, p->length);
    p->bytes = bytes;
    p->room = room;
    p->length += more;
    return bytes + p->length - more;
}

/* One byte that says what follows, and a number of 0, 1, 2, 4 or 8 bytes. */
static inline enum shms_pack_result head(struct shms_packed *p, uint8_t tag, uint64_t number, int bytes) {
    uint8_t *at = shms_packed_take(p, 1 + (size_t)bytes);
    if (!at)
        return SHMS_PACK_NO_MEMORY;
    at[0] = tag;
    shms_put_number(at + 1, number, bytes);
    return SHMS_PACKED;
}

/* short_tag: with the length in its low bits below `shorter`; then tags for lengths of 1 (0: there is none), 2 and 4
 * bytes. */
static inline enum shms_pack_result length_head(struct shms_packed *p, uint64_t length, uint8_t short_tag,
                                                uint64_t shorter, uint8_t tag8, uint8_t tag16) {
    if (length < shorter)
        return head(p, (uint8_t)(short_tag | length), 0, 0);
    if (tag8 && length <= UINT8_MAX)
        return head(p, tag8, length, 1);
    if (length <= UINT16_MAX)
        return head(p, tag16, length, 2);
    return length <= UINT32_MAX ? head(p, (uint8_t)(tag16 + 1), length, 4) : SHMS_PACK_REFUSED;
}

static inline enum shms_pack_result body(struct shms_packed *p, enum shms_pack_result rc, const void *bytes, size_t n) {
    uint8_t *at = rc == SHMS_PACKED ? shms_packed_take(p, n) : NULL;
    if (!at)
        return rc == SHMS_PACKED ? SHMS_PACK_NO_MEMORY : rc;
    memcpy(at, bytes, n);
    return SHMS_PACKED;
}

/* ---- extensions */

#define EXTENSION_HEAD 6 /* bytes at most */

/* Of an extension with so many bytes, into at[EXTENSION_HEAD]: its length. */
static size_t extension_head(uint8_t *at, int code, size_t bytes) {
    if (bytes && bytes <= 16 && (bytes & (bytes - 1)) == 0) {
        at[0] = (uint8_t)(0xd4 + __builtin_ctzll(bytes));
        at[1] = (uint8_t)code;
        return 2;
    }
    int width = bytes <= UINT8_MAX ? 1 : bytes <= UINT16_MAX ? 2 : 4;
    at[0] = width == 1 ? 0xc7 : width == 2 ? 0xc8 : 0xc9;
    shms_put_number(at + 1, bytes, width);
    at[1 + width] = (uint8_t)code;
    return 2 + (size_t)width;
}

enum shms_pack_result shms_pack_extension(struct shms_packed *p, int code, const void *payload, size_t bytes) {
    uint8_t first[EXTENSION_HEAD];
    if (bytes > UINT32_MAX)
        return SHMS_PACK_REFUSED;
    size_t n = extension_head(first, code, bytes);
    uint8_t *at = shms_packed_take(p, n + bytes);
    if (!at)
        return SHMS_PACK_NO_MEMORY;
    memcpy(at, first, n);
    memcpy(at + n, payload, bytes);
    return SHMS_PACKED;
}

/* What was appended from `from` on, behind EXTENSION_HEAD bytes that were left free, becomes the payload. */
static enum shms_pack_result enclose(struct shms_packed *p, PyObject *container, int code, size_t from) {
    size_t bytes = p->length - from - EXTENSION_HEAD;
    if (bytes > UINT32_MAX) {
        note_culprit(p, container);
        return SHMS_PACK_TOO_LARGE;
    }
    size_t n = extension_head(p->bytes + from, code, bytes);
    if (n < EXTENSION_HEAD)
        memmove(p->bytes + from + n, p->bytes + from + EXTENSION_HEAD, bytes);
    p->length = from + n + bytes;
    return SHMS_PACKED;
}

/* An object of another package's type or a user's: its function makes bytes of it. */
static enum shms_pack_result pack_by_python(struct shms_pack *w, PyObject *value, PyObject *encode, int code) {
    char *payload;
    Py_ssize_t bytes;
    PyObject *made = PyObject_CallFunctionObjArgs(encode, value, NULL);
    if (!made || PyBytes_AsStringAndSize(made, &payload, &bytes) < 0) {
        Py_XDECREF(made);
        return SHMS_PACK_RAISED;
    }
    shms_work_leaf(&w->work, code, (uint64_t)bytes);
    enum shms_pack_result rc = shms_pack_extension(w->to, code, payload, (size_t)bytes);
    Py_DECREF(made);
    return rc;
}

/* ---- the walk */

static enum shms_pack_result pack_int(struct shms_pack *w, PyObject *value) {
    struct shms_packed *p = w->to;
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (SHMS_UNLIKELY(overflow)) {
        if (overflow > 0) {
            unsigned long long u = PyLong_AsUnsignedLongLong(value);
            if (u != (unsigned long long)-1 || !PyErr_Occurred())
                return head(p, 0xcf, u, 8);
            PyErr_Clear(); /* OverflowError: no code but the interpreter's own ran */
        }
        return w->plain ? SHMS_PACK_REFUSED : shms_pack_leaf(w, value, SHMS_EXT_INT);
    }
    if (n >= -32 && n <= 127)
        return head(p, (uint8_t)n, 0, 0);
    uint64_t u = (uint64_t)n;
    if (n >= 0)
        return n <= UINT8_MAX    ? head(p, 0xcc, u, 1)
               : n <= UINT16_MAX ? head(p, 0xcd, u, 2)
               : n <= UINT32_MAX ? head(p, 0xce, u, 4)
                                 : head(p, 0xcf, u, 8);
    return n >= INT8_MIN    ? head(p, 0xd0, u, 1)
           : n >= INT16_MIN ? head(p, 0xd1, u, 2)
           : n >= INT32_MIN ? head(p, 0xd2, u, 4)
                            : head(p, 0xd3, u, 8);
}

static enum shms_pack_result pack_node(struct shms_pack *w, PyObject *value, int depth);

static enum shms_pack_result pack_list(struct shms_pack *w, PyObject *list, int depth) {
    Py_ssize_t count = PyList_Size(list);
    enum shms_pack_result rc = length_head(w->to, (uint64_t)count, 0x90, 16, 0, 0xdc);
    for (Py_ssize_t i = 0; i < count && rc == SHMS_PACKED; i++)
        rc = i < PyList_Size(list) ? pack_node(w, PyList_GetItem(list, i), depth) : SHMS_PACK_REFUSED;
    return rc == SHMS_PACKED && PyList_Size(list) != count ? SHMS_PACK_REFUSED : rc; /* changed meanwhile */
}

static enum shms_pack_result count_key(struct shms_keys_of *keys, const struct shms_work *before, PyObject *key,
                                       size_t bytes) {
    switch (shms_key_end(keys, before, key, bytes)) {
    case SHMS_COUNTED:
        return SHMS_PACKED;
    case SHMS_UNHASHABLE:
        return SHMS_PACK_RAISED;
    default:
        return SHMS_PACK_NO_MEMORY;
    }
}

/* A key of a dict, or a member of a set. */
static inline enum shms_pack_result pack_key(struct shms_pack *w, struct shms_keys_of *keys, PyObject *key, int depth) {
    bool salted = Py_TYPE(key) == &PyUnicode_Type || Py_TYPE(key) == &PyBytes_Type;
    struct shms_work before = {0};
    if (SHMS_UNLIKELY(!salted))
        before = shms_key_begin(keys);
    size_t from = w->to->length;
    enum shms_pack_result rc = pack_node(w, key, depth);
    return SHMS_LIKELY(salted) || rc != SHMS_PACKED ? rc : count_key(keys, &before, key, w->to->length - from);
}

/* The container whose keys cost most is kept, for the error if all together cost too much. */
static void end_keys(struct shms_pack *w, struct shms_keys_of *keys, PyObject *container, enum shms_pack_result rc) {
    if (SHMS_UNLIKELY(keys->spent > w->most && rc == SHMS_PACKED)) {
        w->most = keys->spent;
        note_culprit(w->to, container);
    }
    shms_keys_end(keys);
}

static enum shms_pack_result pack_dict(struct shms_pack *w, PyObject *dict, int depth) {
    Py_ssize_t at = 0, count = PyDict_Size(dict), met = 0;
    PyObject *key, *value;
    struct shms_keys_of keys;
    shms_keys_begin(&keys, &w->work, (uint64_t)count);
    enum shms_pack_result rc = length_head(w->to, (uint64_t)count, 0x80, 16, 0, 0xde);
    while (rc == SHMS_PACKED && PyDict_Next(dict, &at, &key, &value)) {
        if (++met > count) {
            rc = SHMS_PACK_REFUSED;
            break;
        }
        Py_INCREF(key); /* writing either may run code that removes the item */
        Py_INCREF(value);
        rc = pack_key(w, &keys, key, depth);
        if (rc == SHMS_PACKED)
            rc = pack_node(w, value, depth);
        Py_DECREF(key);
        Py_DECREF(value);
    }
    end_keys(w, &keys, dict, rc);
    return rc == SHMS_PACKED && met != count ? SHMS_PACK_REFUSED : rc; /* changed meanwhile */
}

static enum shms_pack_result pack_tuple(struct shms_pack *w, PyObject *tuple, int depth) {
    Py_ssize_t count = PyTuple_Size(tuple);
    enum shms_pack_result rc = length_head(w->to, (uint64_t)count, 0x90, 16, 0, 0xdc);
    for (Py_ssize_t i = 0; i < count && rc == SHMS_PACKED; i++)
        rc = pack_node(w, PyTuple_GetItem(tuple, i), depth);
    return rc;
}

static enum shms_pack_result pack_set(struct shms_pack *w, PyObject *set, int depth) {
    Py_ssize_t count = PySet_Size(set), met = 0;
    PyObject *member, *members = PyObject_GetIter(set);
    if (!members)
        return SHMS_PACK_RAISED;
    struct shms_keys_of keys;
    shms_keys_begin(&keys, &w->work, (uint64_t)count);
    enum shms_pack_result rc = length_head(w->to, (uint64_t)count, 0x90, 16, 0, 0xdc);
    while (rc == SHMS_PACKED && (member = PyIter_Next(members)) != NULL) {
        rc = ++met > count ? SHMS_PACK_REFUSED : pack_key(w, &keys, member, depth);
        Py_DECREF(member);
    }
    end_keys(w, &keys, set, rc);
    Py_DECREF(members);
    if (rc == SHMS_PACKED && PyErr_Occurred()) {
        PyErr_Clear(); /* "changed size during iteration": the iterator of a set runs no code */
        return SHMS_PACK_REFUSED;
    }
    return rc == SHMS_PACKED && met != count ? SHMS_PACK_REFUSED : rc;
}

static enum shms_pack_result pack_slice(struct shms_pack *w, PyObject *slice, int depth) {
    enum shms_pack_result rc = head(w->to, 0x93, 0, 0);
    for (int i = 0; i < 3 && rc == SHMS_PACKED; i++) {
        PyObject *part =
            PyObject_GetAttr(slice, w->types->words[(int[]){SHMS_WORD_START, SHMS_WORD_STOP, SHMS_WORD_STEP}[i]]);
        rc = part ? pack_node(w, part, depth) : SHMS_PACK_RAISED;
        Py_XDECREF(part);
    }
    return rc;
}

/* A container that is an extension around a packed array. */
static enum shms_pack_result pack_enclosed(struct shms_pack *w, PyObject *value, int code, int depth,
                                           enum shms_pack_result (*inside)(struct shms_pack *, PyObject *, int)) {
    size_t from = w->to->length;
    if (w->plain)
        return SHMS_PACK_REFUSED;
    if (!shms_packed_take(w->to, EXTENSION_HEAD))
        return SHMS_PACK_NO_MEMORY;
    enum shms_pack_result rc = inside(w, value, depth);
    return rc == SHMS_PACKED ? enclose(w->to, value, code, from) : rc;
}

static enum shms_pack_result pack_container(struct shms_pack *w, PyObject *value, int depth) {
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyDict_Type)
        return pack_dict(w, value, depth);
    if (type == &PyList_Type)
        return pack_list(w, value, depth);
    if (type == &PyTuple_Type)
        return pack_enclosed(w, value, SHMS_EXT_TUPLE, depth, pack_tuple);
    if (type == &PySlice_Type)
        return pack_enclosed(w, value, SHMS_EXT_SLICE, depth, pack_slice);
    return pack_enclosed(w, value, type == &PySet_Type ? SHMS_EXT_SET : SHMS_EXT_FROZENSET, depth, pack_set);
}

static enum shms_pack_result pack_other(struct shms_pack *w, PyObject *value, int depth) {
    PyTypeObject *type = Py_TYPE(value);
    if (w->plain)
        return SHMS_PACK_REFUSED;
    if (type == &PyComplex_Type)
        return shms_pack_leaf(w, value, SHMS_EXT_COMPLEX);
    if (type == &PyRange_Type)
        return shms_pack_leaf(w, value, SHMS_EXT_RANGE);
    bool raised;
    const struct shms_type *known = shms_type_find(w->types, type, &raised);
    if (!known)
        return raised ? SHMS_PACK_RAISED : SHMS_PACK_REFUSED;
    int code = known->code;
    PyObject *encode = known->encode;
    if (!encode)
        return shms_pack_leaf(w, value, code);
    if (depth == 0 && code >= SHMS_EXT_MEMORY && code < SHMS_EXT_OF_USERS)
        return SHMS_PACK_IN_PARTS;
    Py_INCREF(encode); /* what it calls may have the table forget it */
    enum shms_pack_result rc = pack_by_python(w, value, encode, code);
    Py_DECREF(encode);
    return rc;
}

static inline bool is_container(PyTypeObject *type) {
    return type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type || type == &PySet_Type ||
           type == &PyFrozenSet_Type || type == &PySlice_Type;
}

static enum shms_pack_result pack_node(struct shms_pack *w, PyObject *value, int depth) {
    struct shms_packed *p = w->to;
    PyTypeObject *type = Py_TYPE(value);
    if (w->nodes-- == 0)
        return SHMS_PACK_ENDLESS;
    if (type == &PyUnicode_Type) {
        Py_ssize_t n;
        const char *utf8 = PyUnicode_AsUTF8AndSize(value, &n);
        if (!utf8) { /* a lone surrogate, or no memory: no code but the interpreter's own ran */
            bool surrogate = PyErr_ExceptionMatches(PyExc_UnicodeEncodeError);
            PyErr_Clear();
            return surrogate ? SHMS_PACK_REFUSED : SHMS_PACK_NO_MEMORY;
        }
        return body(p, length_head(p, (uint64_t)n, 0xa0, 32, 0xd9, 0xda), utf8, (size_t)n);
    }
    if (type == &PyLong_Type)
        return pack_int(w, value);
    if (value == Py_None || type == &PyBool_Type)
        return head(p, value == Py_None ? 0xc0 : value == Py_True ? 0xc3 : 0xc2, 0, 0);
    if (type == &PyFloat_Type) {
        double number = PyFloat_AsDouble(value);
        uint64_t bits;
        memcpy(&bits, &number, 8);
        return head(p, 0xcb, bits, 8);
    }
    if (type == &PyBytes_Type) {
        size_t n = (size_t)PyBytes_Size(value);
        return body(p, length_head(p, n, 0, 0, 0xc4, 0xc5), PyBytes_AsString(value), n);
    }
    bool container = is_container(type);
    if (container && depth == SHMS_DEPTH)
        return SHMS_PACK_REFUSED;
    Py_INCREF(value); /* whoever holds it may be changed by code that runs meanwhile */
    enum shms_pack_result rc = container ? pack_container(w, value, depth + 1) : pack_other(w, value, depth);
    Py_DECREF(value);
    return rc;
}

static enum shms_pack_result pack_all(struct shms_packed *p, PyObject *value, struct shms_types *types, bool plain) {
    struct shms_pack w = {.to = p, .types = types, .nodes = SHMS_NODES, .plain = plain};
    size_t from = p->length;
    enum shms_pack_result rc = pack_node(&w, value, 0);
    if (SHMS_UNLIKELY(rc == SHMS_PACKED && w.work.spent > shms_work_allowed(p->length - from)))
        return SHMS_PACK_CROWDED;
    if (SHMS_UNLIKELY(p->culprit && rc != SHMS_PACK_TOO_LARGE))
        Py_CLEAR(p->culprit);
    return rc;
}

enum shms_pack_result shms_pack(struct shms_packed *p, PyObject *value, struct shms_types *types) {
    return pack_all(p, value, types, false);
}

enum shms_pack_result shms_pack_plain(struct shms_packed *p, PyObject *value, struct shms_types *types) {
    return pack_all(p, value, types, true);
}

uint32_t shms_pack_bin_head(uint8_t bin[5], uint64_t bytes) {
    int size = bytes <= UINT8_MAX ? 1 : bytes <= UINT16_MAX ? 2 : 4;
    bin[0] = size == 1 ? 0xc4 : size == 2 ? 0xc5 : 0xc6;
    shms_put_number(bin + 1, bytes, size);
    return 1u + (uint32_t)size;
}
