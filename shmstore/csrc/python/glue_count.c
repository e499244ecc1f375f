/* glue_count.c: incr and decr: a put whose value the engine makes of the old one, under the home bucket's lock. */
#include <limits.h>

#include "python/glue_args.h"
#include "base/number.h"

static PyObject *count_up(PyObject *self, PyObject *name, long long by, long long initial) {
    struct shms_call c;
    struct shms_put p;
    const char *bytes;
    uint32_t length, kind;
    shms_put_init(&p, SHMS_INCR);
    int rc = shms_call_name(name, &bytes, &length, &kind);
    if (SHMS_LIKELY(rc == SHMS_OK && (rc = shms_call_begin(&c, self)) == SHMS_OK)) {
        p.length = SHMS_NUMBER_MAX;
        p.keep_expiry = true;
        p.by = by;
        p.initial = initial;
        p.expiry = shms_call_expiry(&c, SHMS_TTL_OF_HANDLE);
        rc = shms_put_one(&c, bytes, length, kind, &p);
        shms_call_end(&c);
    }
    return SHMS_LIKELY(rc == SHMS_OK) ? PyLong_FromLongLong(p.number) : shms_store_failed_for(self, name, rc, p.length);
}

static bool integer(PyObject *object, long long *n) {
    if (!object)
        return true;
    if (!PyIndex_Check(object)) {
        shms_type_error("incr and decr add an int", object);
        return false;
    }
    *n = PyLong_AsLongLong(object);
    return *n != -1 || !PyErr_Occurred();
}

static bool count_arguments(const char *method, PyObject *const *args, Py_ssize_t count, PyObject *keywords,
                            PyObject **name, long long *by, long long *initial) {
    static const char *const names[] = {"name", "by", "initial"};
    struct shms_signature signature = {method, names, 3, 1, 2};
    PyObject *a[3] = {NULL, NULL, NULL};
    if (!shms_parse(&signature, args, count, keywords, a))
        return false;
    *name = a[0];
    return integer(a[1], by) && integer(a[2], initial);
}

PyObject *shms_incr(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    PyObject *name;
    long long by = 1, initial = 0;
    return count_arguments("incr", args, count, keywords, &name, &by, &initial) ? count_up(self, name, by, initial)
                                                                               : NULL;
}

PyObject *shms_decr(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    PyObject *name;
    long long by = 1, initial = 0;
    if (!count_arguments("decr", args, count, keywords, &name, &by, &initial))
        return NULL;
    if (by == LLONG_MIN) {
        PyErr_SetString(PyExc_OverflowError, "decr cannot subtract -2**63");
        return NULL;
    }
    return count_up(self, name, -by, initial);
}
