/* arguments.h: arguments of methods that Python calls without a tuple or dict made of them (METH_FASTCALL).
 *
 * `count` of names[], from `least` on optional; those from `positional` on only by name. Values go into out[]; what was
 * not given stays as it is. In a header, since compilers then know the signature and leave little of the loops. */
#ifndef SHMS_PYTHON_ARGUMENTS_H
#define SHMS_PYTHON_ARGUMENTS_H

#include "python/call.h"

struct shms_signature {
    const char *method;
    const char *const *names;
    int count, least, positional;
};

static inline bool shms_parse_keyword(const struct shms_signature *s, Py_ssize_t given, PyObject *keyword,
                                      PyObject *value, PyObject **out) {
    for (int k = 0; k < s->count; k++)
        if (PyUnicode_CompareWithASCIIString(keyword, s->names[k]) == 0) {
            if (k < given) {
                PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument %R", s->method, keyword);
                return false;
            }
            out[k] = value;
            return true;
        }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", s->method, keyword);
    return false;
}

static inline bool shms_parse(const struct shms_signature *s, PyObject *const *args, Py_ssize_t given,
                              PyObject *keywords, PyObject **out) {
    if (SHMS_UNLIKELY(given > s->positional)) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional arguments (%zd given)", s->method,
                     s->positional, given);
        return false;
    }
    for (Py_ssize_t i = 0; i < given; i++)
        out[i] = args[i];
    Py_ssize_t named = keywords ? PyTuple_Size(keywords) : 0;
    for (Py_ssize_t i = 0; i < named; i++)
        if (!shms_parse_keyword(s, given, PyTuple_GetItem(keywords, i), args[given + i], out))
            return false;
    for (int i = 0; i < s->least; i++)
        if (SHMS_UNLIKELY(!out[i])) {
            PyErr_Format(PyExc_TypeError, "%s() needs the argument '%s'", s->method, s->names[i]);
            return false;
        }
    return true;
}

#endif
