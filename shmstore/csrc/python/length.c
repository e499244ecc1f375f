/* length.c: lengths in C. list(x) and tuple(x) ask for len(x) first, and take a TypeError for "it has none": also one
 * that a signal handler raises. So no Python code runs here.
 *
 *   StoreCalls        len() and bool()
 *   Sized, a base type: len(self) is len(self._sized); where that is None, self._count() says it */
#include "python/rescue.h"

#include "engine/walk.h"

/* The number of entries, or of any: 0 or 1; -1 with an exception. A large store is counted without the GIL. */
static Py_ssize_t count_entries(PyObject *self, bool any) {
    struct shms_call c;
    struct shms_count n;
    if (SHMS_UNLIKELY(shms_is_inside(self)))
        return shms_walk_length(self, any);
    int rc = shms_call_begin(&c, self);
    if (SHMS_LIKELY(rc == SHMS_OK)) {
        shms_count_begin(c.h->s, any, &n);
        if (!shms_count_some(c.h->s, &n, SHMS_WALK_SLOTS)) {
            shms_call_count(&c);
            rc = c.counted ? SHMS_OK : SHMS_CLOSED;
            PyThreadState *state = PyEval_SaveThread();
            while (rc == SHMS_OK && !shms_count_some(c.h->s, &n, SHMS_WALK_SLOTS))
                if (shms_handle_closing(c.h))
                    rc = SHMS_CLOSED;
            PyEval_RestoreThread(state);
        }
    }
    shms_call_end(&c);
    if (rc != SHMS_OK)
        shms_store_failed(self, Py_None, rc);
    return rc == SHMS_OK ? (Py_ssize_t)n.count : -1;
}

static Py_ssize_t count_guarded(PyObject *self, bool any) {
    PyObject *instead;
    Py_ssize_t count;
    for (unsigned tries = 0; SHMS_UNLIKELY((count = count_entries(self, any)) < 0); tries++)
        if (!shms_rescue(self, any ? "__bool__" : "__len__", NULL, 0, NULL, tries, &instead))
            return shms_rescued_number(instead);
    return count;
}

Py_ssize_t shms_store_length(PyObject *self) { return count_guarded(self, false); }
int shms_store_is_true(PyObject *self) { return (int)count_guarded(self, true); }

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
