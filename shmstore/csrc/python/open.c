/* open.c: opening and closing. The handle goes into the store in the C call that makes it, and its end is C, too,
 * so no exception of a signal handler finds a client, a mapping or a descriptor that nobody owns. */
#include "python/call.h"

#include "api/api.h"
#include "engine/freeze.h"

/* _open_handle(request, result, ttl, codec): a status. The handle replaces the one that the store has, of an __init__ before
 * this one or of a cache that was removed. If another thread has opened or closed it meanwhile, it stays as that one left it. */
PyObject *shms_open_store(PyObject *self, PyObject *args) {
    struct shms_store_object *store = (struct shms_store_object *)self;
    unsigned long long request, result, ttl;
    unsigned codec;
    long long before = store->handle;
    int status;
    void *opened;
    if (!PyArg_ParseTuple(args, "KKKI", &request, &result, &ttl, &codec))
        return NULL;
    struct shms_open_request *asked = (void *)(uintptr_t)request;
    struct shms_handle *h = asked->follows ? shms_handle_get(before) : NULL;
    if (h && h->s->me && h->s->fork_epoch == shms_fork_epoch &&
        !shms_lost_slot(h->s)) { /* it keeps its client number */
        asked->follows_number = h->s->number;
        asked->follows_owner = h->s->owner;
    }
    Py_BEGIN_ALLOW_THREADS opened = shms_open_begin((void *)(uintptr_t)request, (void *)(uintptr_t)result, &status);
    Py_END_ALLOW_THREADS int64_t handle = opened ? shms_adopt(opened) : status;
    if (handle < 0)
        return PyLong_FromLongLong(handle);
    shms_configure(handle, ((struct shms_open_request *)(uintptr_t)request)->timeout, ttl, codec);
    struct shms_store *opened_as = shms_handle_get(handle)->s;
    h = asked->follows_number ? shms_handle_get(before) : NULL;
    if (h && opened_as->number == asked->follows_number && opened_as->owner == asked->follows_owner)
        shms_attachments_keep(h->s, opened_as);
    long long closed = store->handle == before ? before : handle;
    h = asked->follows ? shms_handle_enter(closed) : NULL;
    shms_close(closed);
    if (store->handle == before)
        store->handle = handle;
    if (h) { /* the last process that leaves the old segment frees its memory, which takes a while */
        Py_BEGIN_ALLOW_THREADS shms_handle_leave(h);
        Py_END_ALLOW_THREADS
    }
    return PyLong_FromLong(SHMS_OK);
}

/* Of a store that was resized, this process follows first, and then gives up the client slot that was carried over for it.
 * A forked child that has not used its parent's handle has no slot. False: a signal handler raised. */
static bool follow_to_leave(PyObject *self) {
    struct shms_handle *h = shms_handle_get(shms_handle_of(self));
    if (SHMS_LIKELY(!h || !h->s->me || h->s->fork_epoch != shms_fork_epoch || !shms_superseded(h->s)))
        return true;
    PyObject *r = PyObject_CallMethod(self, "_follow", NULL);
    if (!r && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_Clear(); /* it is destroyed, or there is no memory to map it: the slot is free when this process ends */
    Py_XDECREF(r);
    return !PyErr_Occurred();
}

PyObject *shms_close_store(PyObject *self, PyObject *none) {
    bool well = follow_to_leave(self);
    shms_close(shms_handle_of(self));
    ((struct shms_store_object *)self)->handle = SHMS_CLOSED_BY_USER;
    return well ? Py_NewRef(Py_None) : NULL;
}

PyObject *shms_enter_store(PyObject *self, PyObject *none) {
    Py_INCREF(self);
    return self;
}

/* By close(), which a subclass may have made another. */
PyObject *shms_exit_store(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    return PyObject_CallMethod(self, "close", NULL);
}
