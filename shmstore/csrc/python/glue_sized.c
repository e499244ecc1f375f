/* glue_sized.c: lengths in C. list(x) and tuple(x) ask for len(x) first, and take a TypeError for "it has none": also one
 * that a signal handler raises. So no Python code runs here.
 *
 *   StoreCalls        len() and bool()
 *   Sized, a base type: len(self) is len(self._sized); where that is None, self._count() says it */
#include "python/glue_call.h"

#include "api/api.h"

Py_ssize_t shms_store_length(PyObject *self) {
    int64_t count = shms_count_entries(shms_handle_of(self), 0);
    if (count < 0)
        shms_store_failed(self, Py_None, (int)count);
    return count < 0 ? -1 : (Py_ssize_t)count;
}

int shms_store_is_true(PyObject *self) {
    int64_t count = shms_count_entries(shms_handle_of(self), 1);
    if (count < 0)
        shms_store_failed(self, Py_None, (int)count);
    return count < 0 ? -1 : count > 0;
}

static Py_ssize_t length(PyObject *self) {
    PyObject *sized = PyObject_GetAttrString(self, "_sized");
    PyObject *count = sized == Py_None ? PyObject_CallMethod(self, "_count", NULL) : NULL;
    Py_ssize_t found = count ? PyLong_AsSsize_t(count) : sized && sized != Py_None ? PyObject_Size(sized) : -1;
    Py_XDECREF(count);
    Py_XDECREF(sized);
    return found;
}

static PyType_Slot slots[] = {{Py_mp_length, length}, {Py_sq_length, length}, {0, NULL}};
static PyType_Spec spec = {
    .name = "shmstore._base.calls.Sized",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

PyObject *shms_make_sized_type(PyObject *module) { return PyType_FromModuleAndSpec(module, &spec, NULL); }
