/* counter.c: incr and decr: a put whose value the engine makes of the old one, under the home bucket's lock. */
#include <limits.h>

#include "python/arguments.h"
#include "python/rescue.h"
#include "base/number.h"

/* The arguments of a call. */
struct count {
    PyObject *key;
    long long by, initial;
    enum shms_mode mode; /* INCR, or INCR_PRESENT */
    uint64_t ttl;        /* of an entry that is created */
    PyObject *tags;      /* the same; NULL: none */
};

static PyObject *count_up(PyObject *self, const struct count *n) {
    struct shms_call c;
    struct shms_put p;
    const char *bytes;
    uint32_t length, kind;
    struct shms_generations g;
    shms_put_init(&p, n->mode);
    int rc = shms_call_key(&c, self, n->key, &bytes, &length, &kind);
    if (SHMS_LIKELY(rc == SHMS_OK))
        rc = shms_call_generations(self, kind, n->tags == shms_module_of(self)->keep ? NULL : n->tags, &g,
                                   &p.generations);
    if (SHMS_LIKELY(rc == SHMS_OK && (rc = shms_call_enter(&c, self)) == SHMS_OK)) {
        p.length = SHMS_NUMBER_MAX;
        p.keep_expiry = true;
        p.by = n->by;
        p.initial = n->initial;
        p.expiry = shms_call_expiry(&c, n->ttl);
        rc = shms_put_one(&c, bytes, length, kind, &p);
    }
    shms_call_end(&c);
    if (SHMS_LIKELY(rc == SHMS_OK))
        return PyLong_FromLongLong(p.number);
    if (rc == SHMS_UNMET)
        shms_key_error(n->key);
    return rc == SHMS_UNMET ? NULL : shms_store_failed_for(self, n->key, rc, p.length);
}

/* Raises what store._no_count makes of a number that is none of 64 bits. An __index__ of Python's may run first, and
 * what it raises passes as it is. */
static bool integer(PyObject *self, const char *method, PyObject *key, const char *what, PyObject *object,
                    long long *n) {
    if (!object)
        return true;
    int overflow = 1;
    if (PyIndex_Check(object)) {
        PyObject *index = PyNumber_Index(object);
        if (!index)
            return false;
        *n = PyLong_AsLongLongAndOverflow(index, &overflow);
        Py_DECREF(index);
    }
    if (SHMS_UNLIKELY(overflow))
        shms_raise(PyObject_CallMethod(self, "_no_count", "sOsO", method, key, what, object));
    return !overflow;
}

static bool mode_of(PyObject *self, const char *method, PyObject *key, PyObject *create, enum shms_mode *mode) {
    if (create && create != Py_True && create != Py_False) {
        shms_raise(PyObject_CallMethod(self, "_no_create", "sOO", method, key, create));
        return false;
    }
    if (create == Py_False)
        *mode = SHMS_INCR_PRESENT;
    return true;
}

static bool count_arguments(PyObject *self, const char *method, PyObject *const *args, Py_ssize_t count,
                            PyObject *keywords, struct count *n) {
    static const char *const names[] = {"key", "by", "initial", "create", "ttl", "tags"};
    struct shms_signature signature = {method, names, 6, 1, 2};
    PyObject *a[6] = {NULL, NULL, NULL, NULL, NULL, NULL};
    *n = (struct count){NULL, 1, 0, SHMS_INCR, SHMS_TTL_OF_HANDLE, NULL};
    if (!shms_parse(&signature, args, count, keywords, a))
        return false;
    n->key = a[0];
    n->tags = a[5];
    return integer(self, method, a[0], "by", a[1], &n->by) &&
           integer(self, method, a[0], "initial", a[2], &n->initial) && mode_of(self, method, a[0], a[3], &n->mode) &&
           (!a[4] || shms_call_ttl(self, a[4], "ttl", &n->ttl) == SHMS_OK);
}

static PyObject *incr(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    struct count n;
    return count_arguments(self, "incr", args, count, keywords, &n) ? count_up(self, &n) : NULL;
}

static PyObject *decr(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    struct count n;
    if (!count_arguments(self, "decr", args, count, keywords, &n))
        return NULL;
    if (n.by == LLONG_MIN)
        return shms_raise(PyObject_CallMethod(self, "_no_count", "sOsL", "decr", n.key, "by", n.by));
    n.by = -n.by;
    return count_up(self, &n);
}

GUARDED_AS(shms_incr, incr, "incr")
GUARDED_AS(shms_decr, decr, "decr")
