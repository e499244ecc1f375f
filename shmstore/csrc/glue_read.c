/* glue_read.c: get, contains and their like. Readers take no lock and leave nothing to undo. */
#include "glue_call.h"
#include "pin.h"

#define TRIES_BEFORE_PIN 6

/* Copies the value; with the interpreter's lock given up if it is large. */
static bool copy(struct shms_call *c, const struct shms_found *f, char *to) {
    if (SHMS_LIKELY(f->value_length < SHMS_GIVES_UP_FROM)) {
        shms_copy_racy(to, f->value, f->value_length);
        return true;
    }
    shms_call_count(c);
    if (!c->counted)
        return false;
    PyThreadState *state = PyEval_SaveThread();
    shms_copy_racy(to, f->value, f->value_length);
    PyEval_RestoreThread(state);
    return true;
}

/* Readers overtaken again and again take a pin, and then nobody can take the block away. */
static int pin(struct shms_call *c, struct shms_found *f, int *pin) {
    struct shms_store *s = &c->h->s;
    *pin = -1;
    if (!s->me || (*pin = shms_pin_set(s, SHMS_SLOT_BLOCK(f->word))) < 0)
        return SHMS_OK; /* read-only, or all pins in use: goes on without */
    if (shms_load_acquire(f->slot) == f->word && shms_load_acquire(&f->block->sequence) == f->sequence)
        return SHMS_OK;
    shms_pin_clear(s, *pin);
    return SHMS_AGAIN;
}

int shms_read_value(struct shms_call *c, const struct shms_name *n, struct shms_found *f, PyObject **value) {
    struct shms_store *s = &c->h->s;
    for (uint32_t tries = 0;; tries++) {
        int rc = shms_find(s, n, f), pinned = -1;
        if (rc == SHMS_BUSY || (tries && tries % 64 == 0)) {
            if ((rc = shms_call_wait(c, NULL, 0)) != SHMS_OK && rc != SHMS_FORKED) /* it holds nothing here */
                return rc == SHMS_TIMEOUT ? SHMS_STORM : rc;
            continue;
        }
        if (rc != SHMS_OK)
            return rc;
        if (tries >= TRIES_BEFORE_PIN && (rc = pin(c, f, &pinned)) != SHMS_OK)
            continue;
        PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)f->value_length);
        bool copied = bytes && copy(c, f, PyBytes_AsString(bytes));
        bool still = copied && (pinned >= 0 || shms_found_still(f));
        if (pinned >= 0)
            shms_pin_clear(s, pinned);
        if (SHMS_LIKELY(still)) {
            *value = bytes;
            return SHMS_OK;
        }
        Py_XDECREF(bytes);
        if (!bytes)
            return SHMS_RAISED;
        if (!copied)
            return SHMS_CLOSED;
        shms_stat(s, SHMS_RETRIES, 1);
    }
}

/* The codec as Python knows it: a number, or the name that stands in the extension. */
static PyObject *codec_of(const struct shms_found *f, const uint8_t *extension, uint32_t length) {
    uint32_t codec = f->kind & SHMS_CODEC_MASK;
    if (codec != SHMS_CODEC_NAMED)
        return PyLong_FromLong((long)codec);
    for (uint32_t at = 8; at + 4 <= length;) {
        uint16_t type, bytes;
        memcpy(&type, extension + at, 2);
        memcpy(&bytes, extension + at + 2, 2);
        if (at + 4 + bytes > length)
            break;
        if (type == SHMS_EXT_CODEC)
            return PyUnicode_DecodeUTF8((const char *)extension + at + 4, bytes, "replace");
        at += (uint32_t)SHMS_ALIGN_UP(4u + bytes, 8);
    }
    return PyUnicode_FromString("?");
}

/* Reads one entry: *value and *codec (NULL: msgpack, the common one). */
static int read_entry(struct shms_call *c, PyObject *name, struct shms_found *f, PyObject **value, PyObject **codec) {
    const char *bytes;
    uint32_t length, kind;
    struct shms_name n;
    int rc = shms_call_name(name, &bytes, &length, &kind);
    if (rc != SHMS_OK)
        return rc;
    *codec = NULL;
    shms_name_init(&c->h->s, &n, bytes, length, kind);
    for (;;) {
        rc = shms_read_value(c, &n, f, value);
        if (SHMS_LIKELY(rc == SHMS_OK && (f->kind & SHMS_CODEC_MASK) == SHMS_CODEC_MSGPACK)) {
            shms_stat(&c->h->s, SHMS_HITS, 1);
            return SHMS_OK;
        }
        if (rc == SHMS_MISS)
            shms_stat(&c->h->s, SHMS_MISSES, 1);
        if (rc != SHMS_OK)
            return rc;
        uint8_t extension[SHMS_EXT_MAX];
        if (f->extension)
            shms_copy_racy(extension, f->extension, f->extension_length);
        if (f->extension && !shms_found_still(f)) {
            Py_DECREF(*value);
            continue;
        }
        shms_stat(&c->h->s, SHMS_HITS, 1);
        *codec = codec_of(f, extension, f->extension ? f->extension_length : 0);
        if (*codec)
            return SHMS_OK;
        Py_DECREF(*value);
        return SHMS_RAISED;
    }
}

/* get(name): bytes (msgpack), (codec, bytes), None */
static PyObject *get(PyObject *self, PyObject *name) {
    struct shms_call c;
    struct shms_found f;
    PyObject *value, *codec;
    int rc = shms_call_begin(&c, self);
    if (SHMS_LIKELY(rc == SHMS_OK))
        rc = read_entry(&c, name, &f, &value, &codec);
    shms_call_end(&c);
    if (SHMS_LIKELY(rc == SHMS_OK))
        return SHMS_LIKELY(!codec) ? value : Py_BuildValue("(NN)", codec, value);
    if (rc == SHMS_MISS)
        Py_RETURN_NONE;
    return shms_call_failed(rc);
}

/* get_versioned(name): (version, codec, bytes), None */
static PyObject *get_versioned(PyObject *self, PyObject *name) {
    struct shms_call c;
    struct shms_found f;
    PyObject *value, *codec;
    int rc = shms_call_begin(&c, self);
    if (rc == SHMS_OK)
        rc = read_entry(&c, name, &f, &value, &codec);
    shms_call_end(&c);
    if (rc == SHMS_OK)
        return Py_BuildValue("(KNN)", (unsigned long long)f.sequence,
                             codec ? codec : PyLong_FromLong(SHMS_CODEC_MSGPACK), value);
    if (rc == SHMS_MISS)
        Py_RETURN_NONE;
    return shms_call_failed(rc);
}

static int find_only(struct shms_call *c, PyObject *self, PyObject *name, struct shms_found *f) {
    const char *bytes;
    uint32_t length, kind;
    struct shms_name n;
    int rc = shms_call_begin(c, self);
    if (rc != SHMS_OK || (rc = shms_call_name(name, &bytes, &length, &kind)) != SHMS_OK)
        return rc;
    shms_name_init(&c->h->s, &n, bytes, length, kind);
    while ((rc = shms_find(&c->h->s, &n, f)) == SHMS_BUSY)
        if ((rc = shms_call_wait(c, NULL, 0)) != SHMS_OK && rc != SHMS_FORKED)
            return rc == SHMS_TIMEOUT ? SHMS_STORM : rc;
    return rc;
}

/* contains(name): bool */
static PyObject *contains(PyObject *self, PyObject *name) {
    struct shms_call c;
    struct shms_found f;
    int rc = find_only(&c, self, name, &f);
    shms_call_end(&c);
    if (rc == SHMS_OK)
        Py_RETURN_TRUE;
    if (rc == SHMS_MISS)
        Py_RETURN_FALSE;
    return shms_call_failed(rc);
}

/* version(name): int, 0 when absent */
static PyObject *version(PyObject *self, PyObject *name) {
    struct shms_call c;
    struct shms_found f;
    int rc = find_only(&c, self, name, &f);
    shms_call_end(&c);
    if (rc == SHMS_OK || rc == SHMS_MISS)
        return PyLong_FromUnsignedLongLong(rc == SHMS_OK ? f.sequence : 0);
    return shms_call_failed(rc);
}

/* time_left(name): nanoseconds, 0 for ever, None when absent */
static PyObject *time_left(PyObject *self, PyObject *name) {
    struct shms_call c;
    struct shms_found f;
    int rc = find_only(&c, self, name, &f);
    shms_call_end(&c);
    if (rc == SHMS_MISS)
        Py_RETURN_NONE;
    if (rc != SHMS_OK)
        return shms_call_failed(rc);
    uint64_t now = shms_os_now();
    if (f.expiry && f.expiry <= now)
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(f.expiry ? f.expiry - now : 0);
}

PyMethodDef shms_glue_reads[] = {
    {"get", get, METH_O, NULL},
    {"get_versioned", get_versioned, METH_O, NULL},
    {"contains", contains, METH_O, NULL},
    {"version", version, METH_O, NULL},
    {"time_left", time_left, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
