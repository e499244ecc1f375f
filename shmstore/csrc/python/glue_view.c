/* glue_view.c: view for Python. */
#include "python/glue_call.h"
#include "api/view.h"

/* _view(name): (address, length, pin, owner), to be ended by shms_view_end; None when absent */
PyObject *shms_view_of(PyObject *self, PyObject *name) {
    struct shms_call c;
    struct shms_key n;
    struct shms_view v;
    int rc = shms_call_begin_named(&c, self, name, &n);
    if (rc == SHMS_OK) {
        while ((rc = shms_view_begin(c.h, &n, &v)) == SHMS_BUSY)
            if ((rc = shms_call_wait(&c, NULL, 0)) != SHMS_OK && rc != SHMS_FORKED)
                break;
        shms_call_end(&c);
    } else if (rc == SHMS_NO_KEY)
        rc = shms_call_absent(self, name, true);
    if (rc == SHMS_MISS)
        Py_RETURN_NONE;
    if (rc == SHMS_OK)
        return Py_BuildValue("(KKIK)", (unsigned long long)(uintptr_t)v.bytes, (unsigned long long)v.length, v.pin,
                             (unsigned long long)v.owner);
    if (rc == SHMS_UNMET || rc == SHMS_FULL)
        return shms_raise(PyObject_CallMethod(self, "_view_failure", "Oi", name, rc));
    return shms_store_failed(self, name, rc);
}
