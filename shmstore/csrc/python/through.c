/* through.c: what must end whatever a signal handler raises: releasing a lock, and undoing half of a step.
 *
 * Python runs signal handlers between two instructions of Python code, never inside C code. And it looks for signals neither
 * between the end of a `try` or `with` block and the call of a C function that begins `finally`, `except` or __exit__, nor
 * between the return of __enter__ and the block. So a C function that calls Python code again, until it has ended without
 * an exception, leaves no instruction at which a signal can keep it from being done. threading.Lock is safe for the same
 * reason: all of it is C.
 *
 * REQUIRES of the Python code: it may be called again after it was cut off anywhere.
 * LIMITS  TRIES, and SHMS_SECOND from the second on: an exception that comes each time is no signal. The first one is
 *   raised. */
#include "python/call.h"

#define TRIES 8

/* The result of the call, if its first attempt ended well. Otherwise NULL, and the exception of the first attempt is raised,
 * also if a later one ended well. */
static PyObject *through(PyObject *function, PyObject *arguments) {
    uint64_t start = shms_os_now_coarse();
    PyObject *first = NULL, *result = NULL;
    for (int tries = 0; !result && tries < TRIES; tries++) {
        if (tries > 1 && shms_os_now_coarse() - start > SHMS_SECOND)
            break;
        result = PyObject_CallObject(function, arguments);
        PyObject *error = result ? NULL : shms_take_exception();
        if (first)
            Py_XDECREF(error);
        else
            first = error;
    }
    if (!first)
        return result;
    Py_XDECREF(result);
    return shms_raise(first);
}

/* through(function, *arguments) */
PyObject *shms_through(PyObject *module, PyObject *arguments) {
    Py_ssize_t count = PyTuple_Size(arguments);
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "through() takes a function and its arguments");
        return NULL;
    }
    PyObject *rest = PyTuple_GetSlice(arguments, 1, count);
    PyObject *result = rest ? through(PyTuple_GetItem(arguments, 0), rest) : NULL;
    Py_XDECREF(rest);
    return result;
}

/* Leaves what the method `which` finds: the arguments of _leave, as a tuple. An exception that strikes while it is looked for
 * is raised in the end, too. */
static PyObject *leave(PyObject *guard, const char *which) {
    PyObject *struck = NULL, *found = NULL, *left = NULL;
    for (int tries = 0; !found && tries < TRIES; tries++) {
        PyObject *finds = PyObject_GetAttrString(guard, which);
        found = finds ? PyObject_CallNoArgs(finds) : NULL;
        Py_XDECREF(finds);
        PyObject *error = found ? NULL : shms_take_exception();
        if (struck)
            Py_XDECREF(error);
        else
            struck = error;
    }
    if (found) {
        PyObject *method = PyObject_GetAttrString(guard, "_leave");
        left = method ? through(method, found) : NULL;
        Py_XDECREF(method);
        Py_DECREF(found);
    }
    if (!struck)
        return left;
    PyErr_Clear();
    Py_XDECREF(left);
    return shms_raise(struck);
}

static PyObject *release(PyObject *self, PyObject *none) { return leave(self, "_acquired_last"); }

static PyObject *exit_block(PyObject *self, PyObject *exception) {
    PyObject *left = leave(self, "_entered_last");
    Py_XDECREF(left);
    return left ? PyBool_FromLong(0) : NULL;
}

/* Releases before it returns, and returns a coroutine that does nothing. */
static PyObject *exit_async_block(PyObject *self, PyObject *exception) {
    PyObject *left = leave(self, "_entered_last");
    Py_XDECREF(left);
    return left ? PyObject_CallMethod(self, "_left", NULL) : NULL;
}

static PyMethodDef methods[] = {
    {"release", release, METH_NOARGS,
     "release($self, /)\n--\n\nLet the next one in, after acquire().\n\n"
     "Raises: RuntimeError if this object holds nothing; LeaseLost if another process has taken it over."},
    {"__exit__", exit_block, METH_VARARGS, "__exit__($self, /, *exception)\n--\n\nRelease it."},
    {"__aexit__", exit_async_block, METH_VARARGS, "__aexit__($self, /, *exception)\n--\n\nRelease it."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {{Py_tp_methods, methods}, {0, NULL}};
static PyType_Spec spec = {
    .name = "shmstore._base.calls.GuardCalls",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
PyObject *shms_make_guard_type(PyObject *module) { return PyType_FromModuleAndSpec(module, &spec, NULL); }
