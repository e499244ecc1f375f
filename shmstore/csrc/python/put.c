/* put.c: the methods of stores that store or remove one value: put, add, replace, cas, delete and []. */
#include "python/arguments.h"
#include "python/encode.h"
#include "python/rescue.h"

/* One value under one condition: SHMS_OK with the version, SHMS_UNMET, SHMS_RAISED. ttl: NULL is the handle's. */
struct condition {
    enum shms_mode mode;
    uint64_t expected;
    uint64_t cost; /* what computing the value took, in ns; 0: it is not told */
};
static const struct condition always = {SHMS_SET, 0, 0};

static int put_value(PyObject *self, PyObject *key, PyObject *value, PyObject *ttl_given, PyObject *tags,
                     const struct condition *condition, uint64_t *version) {
    struct shms_call c;
    struct shms_put p;
    struct shms_encoded e;
    const char *bytes;
    uint32_t length, kind;
    uint64_t ttl = SHMS_TTL_OF_HANDLE;
    if (ttl_given && shms_call_ttl(self, ttl_given, "ttl", &ttl) != SHMS_OK)
        return SHMS_RAISED;
    struct shms_generations g;
    shms_put_init(&p, condition->mode);
    int rc = shms_call_key(&c, self, key, &bytes, &length, &kind);
    p.keep_generations = tags && tags == shms_module_of(self)->keep;
    if (SHMS_LIKELY(rc == SHMS_OK)) /* before the value is made */
        rc = shms_call_generations(self, kind, p.keep_generations ? NULL : tags, &g, &p.generations);
    if (SHMS_UNLIKELY(rc != SHMS_OK)) {
        shms_call_end(&c);
        shms_store_failed(self, key, rc);
        return SHMS_RAISED;
    }
    p.expected = condition->expected;
    p.keep_expiry = ttl == SHMS_TTL_KEEP;
    rc = shms_encode(self, key, value, &e, &p);
    if (SHMS_UNLIKELY(condition->cost) && rc == SHMS_OK)
        shms_cost_extension(&e, &p, condition->cost);
    if (SHMS_LIKELY(rc == SHMS_OK && (rc = shms_call_enter(&c, self)) == SHMS_OK)) {
        p.expiry = shms_call_expiry(&c, ttl);
        rc = shms_put_one(&c, bytes, length, kind, &p);
    }
    shms_call_end(&c);
    shms_encoded_free(&e);
    *version = p.version;
    if (SHMS_LIKELY(rc == SHMS_OK || rc == SHMS_UNMET))
        return rc;
    shms_store_failed_for(self, key, rc, p.length);
    return SHMS_RAISED;
}

/* For methods that tell whether their condition held. In a Cache, an entry that cannot be read is no obstacle to add. */
static PyObject *put_if(PyObject *self, PyObject *key, PyObject *value, PyObject *ttl, PyObject *tags,
                        const struct condition *condition) {
    uint64_t version;
    int rc = put_value(self, key, value, ttl, tags, condition, &version);
    if (rc == SHMS_UNMET && condition->mode == SHMS_ADD && ((struct shms_store_object *)self)->rescues)
        return PyObject_CallMethod(self, "_add_over_unreadable", "OOOO", key, value,
                                   ttl ? ttl : shms_module_of(self)->fallback, tags ? tags : Py_None);
    return rc == SHMS_RAISED ? NULL : PyBool_FromLong(rc == SHMS_OK);
}

static PyObject *put(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "value", "ttl", "tags"};
    static const struct shms_signature signature = {"put", names, 4, 2, 2};
    PyObject *a[4] = {NULL, NULL, NULL, NULL};
    uint64_t version;
    if (!shms_parse(&signature, args, count, keywords, a) ||
        put_value(self, a[0], a[1], a[2], a[3], &always, &version) != SHMS_OK)
        return NULL;
    return PyLong_FromUnsignedLongLong(version);
}

/* _put_with_cost(key, value, ttl, ns, tags): version */
PyObject *shms_put_with_cost(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct condition condition = {SHMS_SET, 0, 0};
    uint64_t version;
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "_put_with_cost() takes a key, a value, a ttl, nanoseconds and tags");
        return NULL;
    }
    condition.cost = PyLong_AsUnsignedLongLong(args[3]);
    if (PyErr_Occurred() || put_value(self, args[0], args[1], args[2], args[4], &condition, &version) != SHMS_OK)
        return NULL;
    return PyLong_FromUnsignedLongLong(version);
}

PyObject *shms_add_unguarded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "value", "ttl", "tags"};
    static const struct shms_signature signature = {"add", names, 4, 2, 2};
    static const struct condition absent = {SHMS_ADD, 0, 0};
    PyObject *a[4] = {NULL, NULL, NULL, NULL};
    return shms_parse(&signature, args, count, keywords, a) ? put_if(self, a[0], a[1], a[2], a[3], &absent) : NULL;
}

static PyObject *replace(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "value", "ttl", "tags"};
    static const struct shms_signature signature = {"replace", names, 4, 2, 2};
    static const struct condition present = {SHMS_REPLACE, 0, 0};
    PyObject *a[4] = {NULL, NULL, NULL, NULL};
    return shms_parse(&signature, args, count, keywords, a) ? put_if(self, a[0], a[1], a[2], a[3], &present) : NULL;
}

static bool parse_version(PyObject *self, const char *method, PyObject *key, PyObject *object, uint64_t *version) {
    if (PyLong_Check(object) && !PyBool_Check(object)) {
        *version = PyLong_AsUnsignedLongLong(object);
        if (*version != UINT64_MAX || !PyErr_Occurred())
            return true;
        PyErr_Clear(); /* OverflowError, of the interpreter itself */
    }
    shms_raise(PyObject_CallMethod(self, "_no_version", "sOO", method, key, object));
    return false;
}

PyObject *shms_cas_unguarded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "value", "version", "ttl", "tags"};
    static const struct shms_signature signature = {"cas", names, 5, 3, 3};
    struct condition unchanged = {SHMS_CAS, 0, 0};
    PyObject *a[5] = {NULL, NULL, NULL, NULL, NULL};
    if (!shms_parse(&signature, args, count, keywords, a) ||
        !parse_version(self, "cas", a[0], a[2], &unchanged.expected))
        return NULL;
    return put_if(self, a[0], a[1], a[3], a[4], &unchanged);
}

/* expected: the version to remove; 0 = any. True gone, False was not there, -1 raised */
static int erase(PyObject *self, PyObject *key, uint64_t expected) {
    struct shms_call c;
    const char *bytes;
    uint32_t length, kind;
    int rc = shms_call_key(&c, self, key, &bytes, &length, &kind);
    if (rc == SHMS_OK && (rc = shms_call_enter(&c, self)) == SHMS_OK)
        rc = shms_remove_one(&c, bytes, length, kind, expected);
    shms_call_end(&c);
    if (rc == SHMS_NO_KEY)
        rc = shms_call_absent(self, key, true);
    if (rc == SHMS_OK || rc == SHMS_MISS || rc == SHMS_UNMET)
        return rc == SHMS_OK;
    shms_store_failed(self, key, rc);
    return -1;
}

PyObject *shms_delete_unguarded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "version"};
    static const struct shms_signature signature = {"delete", names, 2, 1, 2};
    PyObject *a[2] = {NULL, Py_None};
    uint64_t version = 0;
    if (!shms_parse(&signature, args, count, keywords, a) ||
        (a[1] != Py_None && !parse_version(self, "delete", a[0], a[1], &version)))
        return NULL;
    int gone;
    if (a[1] != Py_None && !version) { /* no entry has it: what wait() says of an absent key */
        int rc = shms_call_absent(self, a[0], true);
        gone = rc == SHMS_MISS ? 0 : (shms_store_failed(self, a[0], rc), -1);
    } else
        gone = erase(self, a[0], version);
    return gone < 0 ? NULL : PyBool_FromLong(gone);
}

static int assign(PyObject *self, PyObject *key, PyObject *value) {
    uint64_t version;
    if (value)
        return put_value(self, key, value, NULL, NULL, &always, &version) == SHMS_OK ? 0 : -1;
    int gone = erase(self, key, 0);
    if (gone == 0)
        shms_key_error(key);
    return gone == 1 ? 0 : -1;
}

/* The codec argument of put: a number, or a name. */
static int parse_codec(PyObject *codec, struct shms_put *p, uint8_t *extension) {
    Py_ssize_t n;
    if (!PyUnicode_Check(codec)) {
        p->codec = (uint32_t)PyLong_AsLong(codec) & SHMS_CODEC_MASK;
        return PyErr_Occurred() ? SHMS_RAISED : SHMS_OK;
    }
    const char *name = PyUnicode_AsUTF8AndSize(codec, &n);
    if (name && n > SHMS_CODEC_NAME_MAX)
        PyErr_SetString(PyExc_ValueError, "a codec's name has at most 64 bytes");
    if (!name || n > SHMS_CODEC_NAME_MAX)
        return SHMS_RAISED;
    p->codec = SHMS_CODEC_NAMED;
    p->extension = extension;
    p->extension_length = shms_codec_extension(extension, name, n);
    return SHMS_OK;
}

/* As it is, packed or not: for tests, and for whoever has packed values of another program.
 * _put_if_(key, body, ttl, mode, expected, keep, codec): version, 0 if the condition does not hold.
 * ttl: DEFAULT, None, seconds; codec: a number, or a name. */
PyObject *shms_put_if(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct shms_call c;
    struct shms_put p = {.mode = SHMS_SET};
    const char *key;
    char *body;
    uint32_t length, kind;
    Py_ssize_t bytes;
    uint8_t extension[SHMS_CODEC_EXTENSION];
    uint64_t ttl;
    if (count != 7)
        return PyErr_Format(PyExc_TypeError, "_put_if_: wrong number of arguments");
    p.mode = (enum shms_mode)PyLong_AsLong(args[3]);
    p.expected = PyLong_AsUnsignedLongLong(args[4]);
    p.keep_expiry = args[5] == Py_True;
    if (PyErr_Occurred() || shms_call_ttl(self, args[2], "ttl", &ttl) != SHMS_OK ||
        parse_codec(args[6], &p, extension) != SHMS_OK || PyBytes_AsStringAndSize(args[1], &body, &bytes) < 0)
        return NULL;
    p.body = body;
    p.length = (uint64_t)bytes;
    int rc = shms_call_key(&c, self, args[0], &key, &length, &kind);
    struct shms_generations g;
    if (SHMS_LIKELY(rc == SHMS_OK))
        rc = shms_call_generations(self, kind, NULL, &g, &p.generations);
    if (SHMS_LIKELY(rc == SHMS_OK && (rc = shms_call_enter(&c, self)) == SHMS_OK)) {
        p.expiry = shms_call_expiry(&c, ttl);
        rc = shms_put_one(&c, key, length, kind, &p);
    }
    shms_call_end(&c);
    if (SHMS_LIKELY(rc == SHMS_OK))
        return PyLong_FromUnsignedLongLong(p.version);
    if (rc == SHMS_UNMET)
        return PyLong_FromLong(0);
    return shms_store_failed_for(self, args[0], rc, p.length);
}

GUARDED_AS(shms_put, put, "put")
GUARDED_AS(shms_add, shms_add_unguarded, "add")
GUARDED_AS(shms_replace, replace, "replace")
GUARDED_AS(shms_cas, shms_cas_unguarded, "cas")
GUARDED_AS(shms_delete, shms_delete_unguarded, "delete")

int shms_assign(PyObject *self, PyObject *key, PyObject *value) {
    PyObject *instead, *args[] = {key, value};
    int rc;
    for (unsigned tries = 0; SHMS_UNLIKELY((rc = assign(self, key, value)) < 0); tries++)
        if (!shms_rescue(self, value ? "__setitem__" : "__delitem__", args, value ? 2 : 1, NULL, tries, &instead))
            return (int)shms_rescued_number(instead);
    return rc;
}
