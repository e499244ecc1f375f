/* open.c: opening and closing. The handle goes into the store in the C call that makes it, and its end is C, too,
 * so no exception of a signal handler finds a client, a mapping or a descriptor that nobody owns. */
#include "python/call.h"

#include "api/api.h"

PyObject *shms_open_store(PyObject *self, PyObject *args) {
    struct shms_store_object *store = (struct shms_store_object *)self;
    unsigned long long request, result;
    int status;
    void *opened;
    if (!PyArg_ParseTuple(args, "KK", &request, &result))
        return NULL;
    Py_BEGIN_ALLOW_THREADS opened = shms_w_open((void *)(uintptr_t)request, (void *)(uintptr_t)result, &status);
    Py_END_ALLOW_THREADS int64_t handle = opened ? shms_adopt(opened) : status;
    if (handle < 0)
        return PyLong_FromLongLong(handle);
    shms_close(store->handle); /* of an __init__ before this one */
    store->handle = handle;
    return PyLong_FromLong(SHMS_OK);
}

PyObject *shms_close_store(PyObject *self, PyObject *none) {
    shms_close(shms_handle_of(self));
    Py_RETURN_NONE;
}

PyObject *shms_enter_store(PyObject *self, PyObject *none) {
    Py_INCREF(self);
    return self;
}

/* By close(), which a subclass may have made another. */
PyObject *shms_exit_store(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    return PyObject_CallMethod(self, "close", NULL);
}
