/* pack.c: see pack.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python/pack.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "python/scan_limits.h"

/* What the walk carries. */
struct pack {
    struct shms_packed *to;
    uint32_t nodes; /* still allowed: a list that holds another one twice, thirty levels deep, has no end */
};

void shms_packed_free(struct shms_packed *p) {
    if (p->bytes != p->first)
        free(p->bytes);
}

static bool grow(struct shms_packed *p, size_t more) {
    size_t room = p->room * 2 > p->length + more ? p->room * 2 : p->length + more;
    uint8_t *bytes = p->bytes == p->first ? malloc(room) : realloc(p->bytes, room);
    if (!bytes)
        return false;
    if (p->bytes == p->first)
        memcpy(bytes, p->first, p->length);
    p->bytes = bytes;
    p->room = room;
    return true;
}

/* Room for so many bytes, already counted in; NULL: no memory. */
static inline uint8_t *take(struct shms_packed *p, size_t bytes) {
    if (p->room - p->length < bytes && !grow(p, bytes))
        return NULL;
    uint8_t *at = p->bytes + p->length;
    p->length += bytes;
    return at;
}

static inline void put_number(uint8_t *at, uint64_t number, int bytes) {
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}

/* One byte that says what follows, and a number of 0, 1, 2, 4 or 8 bytes. */
static inline enum shms_pack_result head(struct shms_packed *p, uint8_t tag, uint64_t number, int bytes) {
    uint8_t *at = take(p, 1 + (size_t)bytes);
    if (!at)
        return SHMS_PACK_NO_MEMORY;
    at[0] = tag;
    put_number(at + 1, number, bytes);
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
    return length <= UINT32_MAX ? head(p, (uint8_t)(tag16 + 1), length, 4) : SHMS_PACK_OTHER;
}

static inline enum shms_pack_result body(struct shms_packed *p, enum shms_pack_result rc, const void *bytes, size_t n) {
    uint8_t *at = rc == SHMS_PACKED ? take(p, n) : NULL;
    if (!at)
        return rc == SHMS_PACKED ? SHMS_PACK_NO_MEMORY : rc;
    memcpy(at, bytes, n);
    return SHMS_PACKED;
}

static enum shms_pack_result pack_int(struct shms_packed *p, PyObject *value) {
    int overflow;
    long long n = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow > 0) {
        unsigned long long u = PyLong_AsUnsignedLongLong(value);
        if (u == (unsigned long long)-1 && PyErr_Occurred()) {
            PyErr_Clear();
            return SHMS_PACK_OTHER;
        }
        return head(p, 0xcf, u, 8);
    }
    if (overflow < 0)
        return SHMS_PACK_OTHER;
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

static enum shms_pack_result pack_node(struct pack *w, PyObject *value, int depth);

static enum shms_pack_result pack_list(struct pack *w, PyObject *list, int depth) {
    Py_ssize_t count = PyList_Size(list);
    enum shms_pack_result rc = length_head(w->to, (uint64_t)count, 0x90, 16, 0, 0xdc);
    for (Py_ssize_t i = 0; i < count && rc == SHMS_PACKED; i++)
        rc = pack_node(w, PyList_GetItem(list, i), depth);
    return rc;
}

static enum shms_pack_result pack_dict(struct pack *w, PyObject *dict, int depth) {
    Py_ssize_t at = 0;
    PyObject *key, *value;
    enum shms_pack_result rc = length_head(w->to, (uint64_t)PyDict_Size(dict), 0x80, 16, 0, 0xde);
    while (rc == SHMS_PACKED && PyDict_Next(dict, &at, &key, &value)) {
        rc = pack_node(w, key, depth);
        if (rc == SHMS_PACKED)
            rc = pack_node(w, value, depth);
    }
    return rc;
}

static enum shms_pack_result pack_node(struct pack *w, PyObject *value, int depth) {
    struct shms_packed *p = w->to;
    PyTypeObject *type = Py_TYPE(value);
    if (w->nodes-- == 0)
        return SHMS_PACK_OTHER;
    if (type == &PyUnicode_Type) {
        Py_ssize_t n;
        const char *utf8 = PyUnicode_AsUTF8AndSize(value, &n);
        if (!utf8) { /* a lone surrogate, or no memory */
            PyErr_Clear();
            return SHMS_PACK_OTHER;
        }
        return body(p, length_head(p, (uint64_t)n, 0xa0, 32, 0xd9, 0xda), utf8, (size_t)n);
    }
    if (type == &PyLong_Type)
        return pack_int(p, value);
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
    if (depth == SHMS_SCAN_DEPTH)
        return SHMS_PACK_OTHER;
    if (type == &PyDict_Type)
        return pack_dict(w, value, depth + 1);
    if (type == &PyList_Type)
        return pack_list(w, value, depth + 1);
    return SHMS_PACK_OTHER;
}

enum shms_pack_result shms_pack(struct shms_packed *p, PyObject *value) {
    struct pack w = {p, SHMS_SCAN_NODES};
    return pack_node(&w, value, 0);
}

uint32_t shms_pack_bin_head(uint8_t bin[5], uint64_t bytes) {
    int size = bytes <= UINT8_MAX ? 1 : bytes <= UINT16_MAX ? 2 : 4;
    bin[0] = size == 1 ? 0xc4 : size == 2 ? 0xc5 : 0xc6;
    put_number(bin + 1, bytes, size);
    return 1u + (uint32_t)size;
}
