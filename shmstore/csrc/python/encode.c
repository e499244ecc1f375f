/* encode.c: a value as what a put writes: head, body, codec, and the records of an extension (docs/format.md). The contract is in
 * encode.h. */
#include "python/encode.h"

uint32_t shms_codec_extension(uint8_t extension[SHMS_CODEC_EXTENSION], const char *name, Py_ssize_t length) {
    uint32_t total = 8 + (uint32_t)SHMS_ALIGN_UP(4 + (uint64_t)length, 8), zero = 0;
    uint16_t type = SHMS_EXT_CODEC, bytes = (uint16_t)length;
    memset(extension, 0, total);
    memcpy(extension, &total, 4);
    memcpy(extension + 4, &zero, 4);
    memcpy(extension + 8, &type, 2);
    memcpy(extension + 10, &bytes, 2);
    memcpy(extension + 12, name, (size_t)length);
    return total;
}

uint32_t shms_generations_extension(uint8_t extension[SHMS_EXT_MAX], const struct shms_generations *g,
                                    const void *others, uint32_t others_length) {
    uint32_t at = shms_generations_bytes(g->count), more = others ? others_length - 8 : 0, total = at + more, zero = 0;
    uint16_t type = SHMS_EXT_GENERATIONS, bytes = (uint16_t)(4 + 8 * g->count);
    memcpy(extension, &total, 4);
    memcpy(extension + 4, &zero, 4);
    memcpy(extension + 8, &type, 2);
    memcpy(extension + 10, &bytes, 2);
    memcpy(extension + 12, &g->count, 4);
    memcpy(extension + SHMS_EXT_WORDS, g->words, g->count * 8ull);
    if (more)
        memcpy(extension + at, (const uint8_t *)others + 8, more);
    return total;
}

void shms_cost_extension(struct shms_encoded *e, struct shms_put *p, uint64_t cost) {
    uint32_t at = p->extension_length ? p->extension_length : 8, total = at + SHMS_COST_RECORD;
    uint16_t type = SHMS_EXT_COST, bytes = sizeof cost;
    memset(e->extension + at, 0, SHMS_COST_RECORD);
    memset(e->extension, 0, 8);
    memcpy(e->extension, &total, 4);
    memcpy(e->extension + at, &type, 2);
    memcpy(e->extension + at + 2, &bytes, 2);
    memcpy(e->extension + at + 4, &cost, sizeof cost);
    p->extension = e->extension;
    p->extension_length = total;
}

int shms_unencodable(PyObject *store, PyObject *key, PyObject *value) {
    PyObject *cause = shms_take_exception();
    if (cause)
        shms_raise(PyObject_CallMethod(store, "_unencodable", "OOO", key, value, cause));
    Py_XDECREF(cause);
    return SHMS_RAISED;
}

/* A codec of the user's own: its name stands in an extension of the block (docs/format.md). */
static bool name_codec(PyObject *store, struct shms_encoded *e, struct shms_put *p) {
    Py_ssize_t n;
    PyObject *name = PyObject_GetAttrString(store, "_codec_number");
    const char *text = name ? PyUnicode_AsUTF8AndSize(name, &n) : NULL;
    if (text && n > SHMS_CODEC_NAME_MAX)
        PyErr_SetString(PyExc_ValueError, "a codec's name has at most 64 bytes");
    if (text && n <= SHMS_CODEC_NAME_MAX) {
        p->extension = e->extension;
        p->extension_length = shms_codec_extension(e->extension, text, n);
    }
    Py_XDECREF(name);
    return p->extension != NULL;
}

/* The body is the memory of e->bytes[1]. It is held here and not by a Python variable: in a frame that a traceback keeps, a
 * memoryview with something that holds it crashes the garbage collector of Python. */
static int hold_memory(struct shms_encoded *e, struct shms_put *p) {
    const void *bytes;
    Py_ssize_t length;
    PyObject *held = PyMemoryView_FromObject(PyTuple_GetItem(e->bytes, 1));
    PyObject *both = held ? PyTuple_Pack(2, e->bytes, held) : NULL;
    int rc = both ? PyObject_AsReadBuffer(held, &bytes, &length) : -1;
    Py_XDECREF(held);
    if (both) {
        Py_DECREF(e->bytes);
        e->bytes = both;
    }
    if (rc < 0)
        return SHMS_RAISED;
    p->body = bytes;
    p->length += (uint64_t)length;
    return SHMS_OK;
}

/* What a handle of codec "pickle" stores as msgpack, so that incr, view and other handles can use it. What msgpack itself
 * does not hold (an int of more than 64 bits, a str with a lone surrogate, 4 GiB) is pickled all the same. */
static bool is_scalar(PyObject *value) {
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type || type == &PyBytes_Type) {
        Py_ssize_t length = 0;
        bool is_text = type == &PyUnicode_Type;
        if (is_text && !PyUnicode_AsUTF8AndSize(value, &length)) {
            PyErr_Clear(); /* of the interpreter's own: no other code ran */
            return false;
        }
        return (uint64_t)(is_text ? length : PyBytes_Size(value)) <= UINT32_MAX;
    }
    if (type == &PyLong_Type) {
        int overflow;
        PyLong_AsLongLongAndOverflow(value, &overflow);
        return overflow == 0;
    }
    return type == &PyFloat_Type || type == &PyBool_Type || value == Py_None;
}

int shms_encode(PyObject *store, PyObject *key, PyObject *value, struct shms_encoded *e, struct shms_put *p) {
    struct shms_handle *h = shms_handle_get(shms_handle_of(store));
    char *bytes;
    Py_ssize_t length;
    shms_packed_init(&e->packed);
    e->bytes = NULL;
    p->head_length = 0;
    p->codec = h ? h->codec : SHMS_CODEC_MSGPACK; /* of a closed handle: the call will say so */
    if (SHMS_UNLIKELY(p->codec == SHMS_CODEC_PICKLE && is_scalar(value)))
        p->codec = SHMS_CODEC_MSGPACK;
    if (Py_TYPE(value) == &PyBytes_Type && (p->codec == SHMS_CODEC_MSGPACK || p->codec == SHMS_CODEC_RAW)) {
        PyBytes_AsStringAndSize(value, &bytes, &length);
        if (p->codec == SHMS_CODEC_MSGPACK && (uint64_t)length <= UINT32_MAX)
            p->head_length = shms_pack_bin_head(p->bin, (uint64_t)length);
        p->head = p->bin;
        if (p->head_length || p->codec == SHMS_CODEC_RAW) {
            p->body = bytes;
            p->length = p->head_length + (uint64_t)length;
            return SHMS_OK;
        }
    }
    if (SHMS_UNLIKELY(p->codec == SHMS_CODEC_NAMED) && !name_codec(store, e, p))
        return SHMS_RAISED;
    if (p->codec == SHMS_CODEC_MSGPACK) {
        enum shms_pack_result packed = shms_pack(&e->packed, value, &shms_module_of(store)->types);
        if (SHMS_LIKELY(packed == SHMS_PACKED)) {
            p->body = (char *)e->packed.bytes;
            p->length = e->packed.length;
            return SHMS_OK;
        }
        if (packed == SHMS_PACK_NO_MEMORY)
            return SHMS_NO_MEMORY;
        e->packed.length = 0;
        if (packed == SHMS_PACK_RAISED)
            return shms_unencodable(store, key, value);
    }
    e->bytes = PyObject_CallMethodObjArgs(store, shms_module_of(store)->encode_parts, value, key, NULL);
    if (!e->bytes)
        return SHMS_RAISED;
    bool in_parts = PyTuple_Check(e->bytes) && PyTuple_Size(e->bytes) == 2;
    if (PyBytes_AsStringAndSize(in_parts ? PyTuple_GetItem(e->bytes, 0) : e->bytes, &bytes, &length) < 0)
        return SHMS_RAISED;
    p->body = bytes;
    p->length = (uint64_t)length;
    if (in_parts) {
        p->head = bytes;
        p->head_length = (uint64_t)length;
        return hold_memory(e, p);
    }
    return SHMS_OK;
}

void shms_encoded_free(struct shms_encoded *e) {
    shms_packed_free(&e->packed);
    Py_XDECREF(e->bytes);
}
