/* counter.c: incr and decr: a put whose value the engine makes of the old one, under the home bucket's lock. */
#include <limits.h>

#include "python/arguments.h"
#include "base/number.h"

static PyObject *count_up(PyObject *self, PyObject *key, long long by, long long initial) {
    struct shms_call c;
    struct shms_put p;
    const char *bytes;
    uint32_t length, kind;
    shms_put_init(&p, SHMS_INCR);
    int rc = shms_call_key(key, &bytes, &length, &kind);
    if (SHMS_LIKELY(rc == SHMS_OK && (rc = shms_call_begin(&c, self)) == SHMS_OK)) {
        p.length = SHMS_NUMBER_MAX;
        p.keep_expiry = true;
        p.by = by;
        p.initial = initial;
        p.expiry = shms_call_expiry(&c, SHMS_TTL_OF_HANDLE);
        rc = shms_put_one(&c, bytes, length, kind, &p);
        shms_call_end(&c);
    }
    return SHMS_LIKELY(rc == SHMS_OK) ? PyLong_FromLongLong(p.number) : shms_store_failed_for(self, key, rc, p.length);
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

static bool count_arguments(PyObject *self, const char *method, PyObject *const *args, Py_ssize_t count,
                            PyObject *keywords, PyObject **key, long long *by, long long *initial) {
    static const char *const names[] = {"key", "by", "initial"};
    struct shms_signature signature = {method, names, 3, 1, 2};
    PyObject *a[3] = {NULL, NULL, NULL};
    if (!shms_parse(&signature, args, count, keywords, a))
        return false;
    *key = a[0];
    return integer(self, method, a[0], "by", a[1], by) && integer(self, method, a[0], "initial", a[2], initial);
}

PyObject *shms_incr(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    PyObject *key;
    long long by = 1, initial = 0;
    return count_arguments(self, "incr", args, count, keywords, &key, &by, &initial) ? count_up(self, key, by, initial)
                                                                                     : NULL;
}

PyObject *shms_decr(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    PyObject *key;
    long long by = 1, initial = 0;
    if (!count_arguments(self, "decr", args, count, keywords, &key, &by, &initial))
        return NULL;
    return by != LLONG_MIN ? count_up(self, key, -by, initial)
                           : shms_raise(PyObject_CallMethod(self, "_no_count", "sOsL", "decr", key, "by", by));
}
