/* view.c: view: a value's bytes in place, owned by a Memory (memory.h) that ends the pin. */
#include "python/arguments.h"
#include "python/memory.h"

#include "api/api.h"
#include "api/view.h"

static int end_view(struct shms_memory *m) {
    shms_view_end(m->owned.view.handle, m->owned.view.pin, m->owned.view.owner);
    return 0;
}

/* A pin is taken in this process: nothing may run between the engine and these lines. */
static void own(struct shms_memory *m, int64_t handle, const struct shms_view *v) {
    m->owned.view.handle = handle;
    m->owned.view.pin = v->pin;
    m->owned.view.owner = v->owner;
    m->give_back = end_view;
    m->address = (uintptr_t)v->bytes;
    m->size = (Py_ssize_t)v->length;
    m->readonly = 1;
}

static int begin(struct shms_call *c, struct shms_memory *m, PyObject *self, PyObject *key) {
    struct shms_key n;
    struct shms_view v;
    int rc = shms_call_begin_keyed(c, self, key, &n);
    if (rc == SHMS_NO_KEY)
        return shms_call_absent(self, key, true);
    if (rc != SHMS_OK)
        return rc;
    while ((rc = shms_view_begin(c->h, &n, &v)) == SHMS_BUSY)
        if ((rc = shms_call_wait(c, NULL, 0)) != SHMS_OK && rc != SHMS_FORKED && rc != SHMS_SUPERSEDED)
            break;
    if (rc == SHMS_OK)
        own(m, shms_handle_of(self), &v);
    shms_call_end(c);
    return rc;
}

PyObject *shms_view_of(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key"};
    static const struct shms_signature signature = {"view", names, 1, 1, 1};
    PyObject *key = NULL;
    struct shms_call c;
    if (!shms_parse(&signature, args, count, keywords, &key))
        return NULL;
    struct shms_memory *m = shms_memory_new(shms_module_of(self));
    int rc = m ? begin(&c, m, self, key) : SHMS_RAISED;
    PyObject *view = rc == SHMS_OK ? PyMemoryView_FromObject((PyObject *)m) : NULL;
    Py_XDECREF(m);
    if (rc == SHMS_MISS)
        shms_key_error(key);
    else if (rc == SHMS_UNMET || rc == SHMS_FULL)
        shms_raise(PyObject_CallMethod(self, "_view_failure", "Oi", key, rc));
    else if (rc != SHMS_OK)
        shms_store_failed(self, key, rc);
    return view;
}
