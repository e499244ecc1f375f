/* entry.c: an entry beside its value: version, time to live, codec and size. */
#include "python/call.h"

/* _version(key): int, 0 when absent */
PyObject *shms_version(PyObject *self, PyObject *key) {
    struct shms_entry f;
    int rc = shms_call_look(self, key, &f);
    if (rc == SHMS_OK || rc == SHMS_MISS)
        return PyLong_FromUnsignedLongLong(rc == SHMS_OK ? shms_entry_version(&f) : 0);
    return shms_store_failed(self, key, rc);
}

/* _time_left(key): nanoseconds, 0 for ever, None when absent */
PyObject *shms_time_left(PyObject *self, PyObject *key) {
    struct shms_entry f;
    int rc = shms_call_look(self, key, &f);
    if (rc == SHMS_MISS)
        Py_RETURN_NONE;
    if (rc != SHMS_OK)
        return shms_store_failed(self, key, rc);
    uint64_t now = shms_os_now();
    if (f.expiry && f.expiry <= now)
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(f.expiry ? f.expiry - now : 0);
}

PyObject *shms_seconds_left(uint64_t expiry) {
    if (!expiry)
        Py_RETURN_NONE;
    uint64_t now = shms_os_now();
    return PyFloat_FromDouble(expiry > now ? (double)(expiry - now) / 1e9 : 1e-9);
}

/* The entry, with the extension that names a codec copied to *v, and *created: all of one life of the block. */
static int look_closely(PyObject *store, PyObject *key, struct shms_entry *f, struct shms_value *v, uint32_t *created) {
    int rc;
    do {
        rc = shms_call_look(store, key, f);
        v->codec = f->kind & SHMS_CODEC_MASK;
        v->extension_length = rc == SHMS_OK && f->extension ? f->extension_length : 0;
        if (v->extension_length)
            shms_copy_racy(v->extension, f->extension, v->extension_length);
        *created = rc == SHMS_OK ? shms_load_relaxed(&f->block->created) : 0;
        if (rc == SHMS_OK && !shms_entry_unchanged(f))
            rc = PyErr_CheckSignals() ? SHMS_RAISED : SHMS_AGAIN;
    } while (rc == SHMS_AGAIN);
    return rc;
}

/* How often a cache says it was used lately, or None. A hint: the slot may be another entry's by now. */
static PyObject *frequency_of(PyObject *store, uint64_t slot) {
    struct shms_handle *h = shms_handle_get(shms_handle_of(store));
    if (!h || !shms_evicts(h->s) || slot >= h->s->bucket_count * SHMS_BUCKET_SLOTS)
        Py_RETURN_NONE;
    return PyLong_FromLong(shms_load_relaxed(&h->s->hints[slot]) & SHMS_HINT_FREQUENCY);
}

/* How many counters the tags have. */
static unsigned tags_of(PyObject *store, const struct shms_value *v) {
    struct shms_handle *h = shms_handle_get(shms_handle_of(store));
    struct shms_generations g;
    unsigned tags = 0;
    shms_generations_copy(v->extension_length ? v->extension : NULL, v->extension_length, &g);
    for (uint32_t i = 0; h && i < g.count; i++)
        tags += SHMS_GENERATION_INDEX(g.words[i]) >= h->s->counters_of_namespaces;
    return tags;
}

/* _describe(key): (size, codec, version, seconds left or None, frequency or None, tags, created), None when absent */
PyObject *shms_describe(PyObject *self, PyObject *key) {
    struct shms_entry f = {0};
    struct shms_value v;
    uint32_t created;
    int rc = look_closely(self, key, &f, &v, &created);
    if (rc == SHMS_MISS)
        Py_RETURN_NONE;
    if (rc != SHMS_OK)
        return shms_store_failed(self, key, rc);
    PyObject *codec = shms_value_codec(&v), *left = codec ? shms_seconds_left(f.expiry) : NULL;
    if (!left)
        Py_CLEAR(codec);
    PyObject *frequency = left ? frequency_of(self, f.number) : NULL;
    if (!frequency) {
        Py_CLEAR(codec);
        Py_CLEAR(left);
    }
    return left ? Py_BuildValue("(KNKNNII)", (unsigned long long)f.value_length, codec,
                                (unsigned long long)shms_entry_version(&f), left, frequency, tags_of(self, &v), created)
                : NULL;
}

/* _cost(key): what computing the value took, in seconds; 0.0 if nothing says it */
PyObject *shms_cost(PyObject *self, PyObject *key) {
    struct shms_entry f = {0};
    struct shms_value v;
    uint64_t cost = 0;
    uint16_t length = 0;
    uint32_t created;
    int rc = look_closely(self, key, &f, &v, &created);
    if (rc != SHMS_OK && rc != SHMS_MISS)
        return shms_store_failed(self, key, rc);
    const uint8_t *record = rc == SHMS_OK ? shms_extension_record(&v, SHMS_EXT_COST, &length) : NULL;
    if (record && length == sizeof cost)
        memcpy(&cost, record, sizeof cost);
    return PyFloat_FromDouble((double)cost / 1e9);
}

/* A whole call: may this handle write? For calls that may find nothing to write. */
static int may_write(PyObject *store) {
    struct shms_call c;
    int rc = shms_call_begin(&c, store);
    if (rc == SHMS_OK)
        rc = shms_handle_may_write(c.h);
    shms_call_end(&c);
    return rc;
}

/* A whole call. ttl: as shms_call_ttl has it. expected: the version to touch; 0 = any. */
static int touch(PyObject *store, PyObject *key, uint64_t ttl, uint64_t expected) {
    struct shms_call c;
    struct shms_entry f;
    const char *bytes;
    uint32_t length, kind;
    if (ttl == SHMS_TTL_KEEP) {
        int rc = may_write(store);
        return rc == SHMS_OK ? shms_call_look(store, key, &f) : rc;
    }
    int rc = shms_call_key(&c, store, key, &bytes, &length, &kind);
    if (rc == SHMS_OK && (rc = shms_call_enter(&c, store)) == SHMS_OK)
        rc = shms_touch_one(&c, bytes, length, kind, shms_call_expiry(&c, ttl), expected);
    shms_call_end(&c);
    return rc == SHMS_NO_KEY ? shms_call_absent(store, key, true) : rc;
}

/* _touch(key, ttl, version): does the key have this version (0: any)? Then it expires by the ttl from now on. */
PyObject *shms_touch(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    uint64_t ttl, expected = 0;
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "_touch() takes a key, a ttl and a version");
        return NULL;
    }
    expected = PyLong_AsUnsignedLongLong(args[2]);
    if (PyErr_Occurred() || shms_call_ttl(self, args[1], "ttl", &ttl) != SHMS_OK)
        return NULL;
    int rc = touch(self, args[0], ttl, expected);
    if (rc == SHMS_OK || rc == SHMS_MISS || rc == SHMS_UNMET)
        return PyBool_FromLong(rc == SHMS_OK);
    return shms_store_failed(self, args[0], rc);
}

/* get with touch=: the value is decoded before its entry is touched, so a get that raises has changed nothing. If it is
 * another value by then, all is done again: value and touch are of one moment. */
PyObject *shms_get_touching(PyObject *self, PyObject *key, PyObject *instead, PyObject *ttl_given) {
    struct shms_value v;
    uint64_t ttl;
    PyObject *value = NULL;
    if (shms_call_ttl(self, ttl_given, "touch", &ttl) != SHMS_OK)
        return NULL;
    int rc = may_write(self);
    while (rc == SHMS_OK) {
        v.into = NULL;
        rc = shms_call_read(self, key, false, &v);
        if (rc != SHMS_OK)
            break;
        value = shms_value_object(&v, self, key);
        rc = value ? touch(self, key, ttl, v.version) : SHMS_RAISED;
        if (rc == SHMS_OK)
            return value;
        Py_CLEAR(value);
        if (rc == SHMS_MISS || rc == SHMS_UNMET) /* it was removed, or replaced */
            rc = PyErr_CheckSignals() ? SHMS_RAISED : SHMS_OK;
    }
    if (rc != SHMS_MISS)
        return shms_store_failed(self, key, rc);
    Py_INCREF(instead);
    return instead;
}
