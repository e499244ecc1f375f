/* lease.c: what locks and leases need of the engine: this handle as an owner, whether another owner is gone, and a slice
 * of waiting. The rest is in shmstore/_store/leases.py.
 *
 * And what get_or_set needs: a value with the time that computing it took, in an extension of the block. */
#include "python/call.h"
#include "engine/owner.h"

/* KeptBytes, a subclass of bytes: what it does differently is nothing. Its slot tells it, and what is derived from it, from
 * all other subclasses, in every interpreter. */
static int init_kept(PyObject *self, PyObject *args, PyObject *keywords) { return 0; }

bool shms_is_kept(PyObject *bytes) { return PyType_GetSlot(Py_TYPE(bytes), Py_tp_init) == (void *)init_kept; }

static PyType_Slot slots[] = {{Py_tp_init, init_kept}, {0, NULL}};
static PyType_Spec spec = {
    .name = "shmstore._base.calls.KeptBytes",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
PyObject *shms_make_kept_type(PyObject *module) {
    return PyType_FromModuleAndSpec(module, &spec, (PyObject *)&PyBytes_Type);
}

/* _owner(): this handle's client, as bytes. A handle that may not write raises. */
PyObject *shms_owner(PyObject *self, PyObject *none) {
    struct shms_call c;
    struct shms_lock_owner me = {0, 0};
    int rc = shms_call_begin(&c, self);
    if (SHMS_LIKELY(rc == SHMS_OK && (rc = shms_handle_may_write(c.h)) == SHMS_OK))
        me = shms_owner_me(c.h->s), c.h->s->is_named = true;
    shms_call_end(&c);
    return rc == SHMS_OK ? PyBytes_FromStringAndSize((char *)&me, sizeof me) : shms_store_failed(self, Py_None, rc);
}

/* _is_gone(owner, closely): bool. Reads /proc, so it gives the GIL up. */
PyObject *shms_is_gone(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct shms_call c;
    struct shms_lock_owner owner;
    bool gone = true;
    if (count != 2 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "_is_gone() takes an owner and a bool");
        return NULL;
    }
    if (PyBytes_Size(args[0]) != sizeof owner)
        Py_RETURN_TRUE; /* no client: the value was overwritten by mistake */
    memcpy(&owner, PyBytes_AsString(args[0]), sizeof owner);
    int rc = shms_call_begin(&c, self);
    if (rc == SHMS_OK) {
        shms_call_count(&c);
        rc = c.counted ? SHMS_OK : SHMS_CLOSED;
    }
    if (rc == SHMS_OK) {
        PyThreadState *state = PyEval_SaveThread();
        gone = shms_owner_gone(c.h->s, owner, args[1] == Py_True);
        PyEval_RestoreThread(state);
    }
    shms_call_end(&c);
    return rc == SHMS_OK ? PyBool_FromLong(gone) : shms_store_failed(self, Py_None, rc);
}

/* _value_and_life(key): (value, seconds left or None, version), None when absent */
PyObject *shms_value_and_life(PyObject *self, PyObject *key) {
    struct shms_value v;
    v.into = NULL;
    int rc = shms_call_read(self, key, false, &v);
    if (rc == SHMS_MISS)
        Py_RETURN_NONE;
    if (rc != SHMS_OK)
        return shms_store_failed(self, key, rc);
    uint64_t version = v.version, expiry = v.expiry;
    PyObject *value = shms_value_object(&v, self, key), *left = value ? shms_seconds_left(expiry) : NULL;
    if (!left)
        Py_CLEAR(value);
    return left ? Py_BuildValue("(NNK)", value, left, (unsigned long long)version) : NULL;
}
