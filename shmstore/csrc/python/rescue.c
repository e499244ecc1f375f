/* rescue.c: the contract is in rescue.h. */
#include "python/rescue.h"

static PyObject *tuple_of(PyObject *const *args, Py_ssize_t count) {
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple && i < count; i++) {
        Py_INCREF(args[i]);
        if (PyTuple_SetItem(tuple, i, args[i]) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *dict_of(PyObject *const *values, PyObject *names) {
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = 0; dict && names && i < PyTuple_Size(names); i++)
        if (PyDict_SetItem(dict, PyTuple_GetItem(names, i), values[i]) < 0)
            Py_CLEAR(dict);
    return dict;
}

bool shms_rescue(PyObject *store, const char *method, PyObject *const *args, Py_ssize_t count, PyObject *keywords,
                 unsigned tries, PyObject **result) {
    *result = NULL;
    if (!((struct shms_store_object *)store)->rescues || PyErr_ExceptionMatches(PyExc_KeyError))
        return false;
    PyObject *error = shms_take_exception();
    PyObject *given = tuple_of(args, count), *named = given ? dict_of(args + count, keywords) : NULL;
    PyObject *instead =
        named ? PyObject_CallMethod(store, "_rescue", "sOOOI", method, error, given, named, tries) : NULL;
    bool again = instead == Py_None;
    if (instead && !again && (*result = PyTuple_GetItem(instead, 0)))
        Py_INCREF(*result);
    Py_XDECREF(instead);
    Py_XDECREF(named);
    Py_XDECREF(given);
    Py_XDECREF(error);
    return again;
}

Py_ssize_t shms_rescued_number(PyObject *result) {
    Py_ssize_t number = !result ? -1 : result == Py_None ? 0 : PyLong_AsSsize_t(result);
    Py_XDECREF(result);
    return number;
}
