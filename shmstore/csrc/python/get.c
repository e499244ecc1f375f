/* get.c: the methods of stores that read a value: get, get_versioned, get_with_ttl, [] and in. */
#include "python/arguments.h"
#include "python/rescue.h"

/* The value; NULL without an exception: it is not there. */
static PyObject *get_value(PyObject *self, PyObject *key) {
    struct shms_value v;
    v.into = NULL;
    int rc = shms_call_read(self, key, false, &v);
    if (SHMS_LIKELY(rc == SHMS_OK))
        return shms_value_object(&v, self, key);
    return rc == SHMS_MISS ? NULL : shms_store_failed(self, key, rc);
}

SHMS_WITHIN static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "default", "type", "touch"};
    static const struct shms_signature signature = {"get", names, 4, 1, 2};
    PyObject *a[4] = {NULL, Py_None, Py_None, NULL};
    if (!shms_parse(&signature, args, count, keywords, a))
        return NULL;
    if (SHMS_UNLIKELY(a[3] && a[3] != shms_module_of(self)->keep))
        return a[2] == Py_None ? shms_get_touching(self, a[0], a[1], a[3])
                               : PyObject_CallMethod(self, "_get_typed", "OOOO", a[0], a[1], a[2], a[3]);
    if (a[2] != Py_None)
        return PyObject_CallMethod(self, "_get_typed", "OOO", a[0], a[1], a[2]);
    PyObject *value = get_value(self, a[0]);
    if (SHMS_LIKELY(value != NULL) || PyErr_Occurred())
        return value;
    Py_INCREF(a[1]);
    return a[1];
}

/* For a copy that C code is making: the value that was listed with this key. NULL without an exception: it is for no copy. */
static PyObject *handed_over(PyObject *self, PyObject *key) {
    PyObject *found = PyObject_CallMethodObjArgs(self, shms_module_of(self)->hand_over, key, NULL);
    PyObject *value = found && PyTuple_Check(found) ? PyTuple_GetItem(found, 0) : NULL;
    Py_XINCREF(value);
    Py_XDECREF(found);
    return value;
}

/* (value, version or seconds left), NULL without an exception: it is not there. */
static PyObject *value_and(PyObject *self, PyObject *key, bool left) {
    struct shms_value v;
    v.into = NULL;
    int rc = shms_call_read(self, key, false, &v);
    if (rc != SHMS_OK)
        return rc == SHMS_MISS ? NULL : shms_store_failed(self, key, rc);
    uint64_t version = v.version, expiry = v.expiry;
    PyObject *value = shms_value_object(&v, self, key), *other = !value ? NULL
                                                                 : left ? shms_seconds_left(expiry)
                                                                        : PyLong_FromUnsignedLongLong(version);
    PyObject *both = other ? PyTuple_Pack(2, value, other) : NULL;
    Py_XDECREF(value);
    Py_XDECREF(other);
    return both;
}

static PyObject *get_versioned(PyObject *self, PyObject *key) {
    PyObject *both = value_and(self, key, false);
    if (!both && !PyErr_Occurred())
        shms_key_error(key);
    return both;
}

static PyObject *get_with_ttl(PyObject *self, PyObject *key) {
    PyObject *both = value_and(self, key, true);
    if (!both && !PyErr_Occurred())
        shms_key_error(key);
    return both;
}

/* _value_and_version(key): the same, or None */
static PyObject *value_and_version_or_none(PyObject *self, PyObject *key) {
    PyObject *both = value_and(self, key, false);
    if (both || PyErr_Occurred())
        return both;
    Py_RETURN_NONE;
}

static PyObject *subscript(PyObject *self, PyObject *key) {
    PyObject *copies = ((struct shms_store_object *)self)->copies;
    if (SHMS_UNLIKELY(copies && PyDict_Size(copies) > 0) && PyEval_GetFrame()) { /* a copy is made by a frame */
        PyObject *value = handed_over(self, key);
        if (value || PyErr_Occurred())
            return value;
    }
    PyObject *value = get_value(self, key);
    if (!value && !PyErr_Occurred())
        shms_key_error(key);
    return value;
}

static int contains(PyObject *self, PyObject *key) {
    struct shms_entry f;
    int rc = shms_call_look(self, key, &f);
    if (SHMS_LIKELY(rc == SHMS_OK || rc == SHMS_MISS))
        return rc == SHMS_OK;
    shms_store_failed(self, key, rc);
    return -1;
}

GUARDED_AS(shms_get, get, "get")
PyObject *shms_get_unguarded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    return get(self, args, count, keywords);
}
GUARDED_ONE_AS(shms_get_versioned, get_versioned, "get_versioned")
GUARDED_ONE_AS(shms_get_with_ttl, get_with_ttl, "get_with_ttl")
GUARDED_ONE_AS(shms_value_and_version, value_and_version_or_none, "_value_and_version")
GUARDED_ONE_AS(shms_subscript, subscript, "__getitem__")

int shms_contains(PyObject *self, PyObject *key) {
    PyObject *instead;
    int found;
    for (unsigned tries = 0; SHMS_UNLIKELY((found = contains(self, key)) < 0); tries++)
        if (!shms_rescue(self, "__contains__", &key, 1, NULL, tries, &instead))
            return (int)shms_rescued_number(instead);
    return found;
}
