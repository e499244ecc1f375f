/* call.c: what the hot calls share: beginning, waiting and ending. */
#include "python/call.h"

#include "engine/freeze.h"
#include "engine/recover.h"

#define SLICE 20000000ull /* Ctrl-C acts within this */
#define NAP 100000ull
#define NOT_ASKED UINT64_MAX

int shms_call_enter(struct shms_call *c, PyObject *store) {
    c->store = store;
    c->deadline = 0;
    c->counted = false;
    c->before = NULL;
    c->epoch = shms_fork_epoch;
    c->h = shms_handle_get(shms_handle_of(store));
    if (SHMS_UNLIKELY(!c->h))
        return SHMS_CLOSED;
    int rc = shms_handle_usable(c->h);
    return SHMS_UNLIKELY(rc == SHMS_SUPERSEDED) ? shms_call_follow(c) : rc;
}

int shms_call_follow(struct shms_call *c) {
    for (;;) {
        if (c->before && c->epoch == shms_fork_epoch)
            shms_handle_leave(c->before); /* what the call had there has been undone */
        c->before = c->counted ? c->h : NULL;
        c->counted = false;
        PyObject *r = PyObject_CallMethod(c->store, "_follow", NULL);
        Py_XDECREF(r);
        if (!r)
            return SHMS_RAISED;
        if (c->epoch != shms_fork_epoch)
            c->before = NULL;
        c->epoch = shms_fork_epoch;
        c->h = shms_handle_get(shms_handle_of(c->store));
        if (!c->h)
            return SHMS_CLOSED;
        int rc = shms_handle_usable(c->h);
        if (rc != SHMS_SUPERSEDED)
            return rc;
    }
}

/* Python code that ran since the beginning may have closed the handle, or opened another one in its place. */
static bool is_open(const struct shms_call *c) { return shms_handle_get(shms_handle_of(c->store)) == c->h; }

void shms_call_count(struct shms_call *c) {
    if (!c->counted)
        c->counted = is_open(c) && shms_handle_enter(shms_handle_of(c->store)) != NULL;
}

void shms_call_end(struct shms_call *c) {
    if (SHMS_UNLIKELY(c->name != NULL))
        Py_CLEAR(c->name);
    if (c->counted && c->epoch == shms_fork_epoch)
        shms_handle_leave(c->h);
    if (SHMS_UNLIKELY(c->before != NULL) && c->epoch == shms_fork_epoch)
        shms_handle_leave(c->before);
    c->before = NULL;
    c->counted = false;
}

/* Logging is Python code: it runs here, where no engine lock is held. */
static int tell(struct shms_call *c) {
    struct shms_store *s = c->h->s;
    if (!shms_handle_take_events(c->h))
        return SHMS_OK;
    PyObject *r = PyObject_CallMethod(c->store, "_log_events", "IK", (unsigned)shms_load_relaxed(&s->last_dead_pid),
                                      (unsigned long long)shms_load_acquire(&s->takeovers));
    Py_XDECREF(r);
    return r ? SHMS_OK : SHMS_RAISED;
}

/* Gives up the GIL, and waits for `busy` for at most `slice` ns, or naps for that long; 0: only gives way. */
static int give_way(struct shms_call *c, _Atomic uint64_t *busy, uint64_t seen, uint64_t slice) {
    struct shms_store *s = c->h->s;
    shms_call_count(c);
    if (!c->counted)
        return SHMS_CLOSED;
    PyThreadState *state = PyEval_SaveThread();
    if (busy)
        shms_await(s, busy, seen, slice);
    else if (slice)
        shms_os_nap(slice);
    PyEval_RestoreThread(state);
    bool raised = PyErr_CheckSignals() || tell(c) != SHMS_OK;
    bool forked = c->epoch != shms_fork_epoch;
    if (SHMS_UNLIKELY(forked)) { /* the count is the parent's thread's, and was forgotten at the first call here */
        c->counted = false;
        c->epoch = shms_fork_epoch;
    }
    if (raised)
        return SHMS_RAISED;
    if (SHMS_OWNER_STATE(shms_load_relaxed(&c->h->s->header->state)) == SHMS_STATE_SUPERSEDED)
        return SHMS_SUPERSEDED; /* another thread of this process may have followed, and closed this handle */
    if (shms_handle_closing(c->h) || (forked && !is_open(c))) /* the place may be another's */
        return SHMS_CLOSED;
    int rc = shms_handle_usable(c->h);
    return rc == SHMS_OK && forked ? SHMS_FORKED : rc;
}

int shms_call_pause(struct shms_call *c) { return give_way(c, NULL, 0, 0); }

int shms_call_wait(struct shms_call *c, _Atomic uint64_t *busy, uint64_t seen) {
    uint64_t now = shms_os_now();
    if (!c->deadline)
        c->deadline = now + c->h->timeout;
    else if (now >= c->deadline) {
        shms_handle_note_lock_holder(c->h, busy);
        return SHMS_TIMEOUT;
    }
    bool awaits = busy && !c->h->s->readonly;
    uint64_t slice = shms_min(SLICE, c->deadline > now ? c->deadline - now : 1);
    return give_way(c, awaits ? busy : NULL, seen, awaits ? slice : NAP);
}

int shms_call_thaw(struct shms_call *c) {
    shms_fence_seq_cst(); /* [counter-then-frozen] */
    while (SHMS_UNLIKELY(shms_frozen(c->h->s))) {
        uint32_t resizer = SHMS_RESIZER(shms_load_relaxed(&c->h->s->header->resize));
        if (resizer - 1 < c->h->s->client_count)
            shms_recover_client(c->h->s, resizer - 1);
        int rc = shms_call_wait(c, NULL, 0);
        if (rc == SHMS_SUPERSEDED)
            return (rc = shms_call_follow(c)) == SHMS_OK ? SHMS_AGAIN : rc;
        if (rc != SHMS_OK && rc != SHMS_FORKED)
            return rc;
    }
    return SHMS_OK;
}

void shms_key_error(PyObject *key) {
    PyObject *arguments = PyTuple_Pack(1, key);
    if (arguments)
        PyErr_SetObject(PyExc_KeyError, arguments);
    Py_XDECREF(arguments);
}

void shms_type_error(const char *wanted, PyObject *got) {
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(got), "__name__");
    if (name)
        PyErr_Format(PyExc_TypeError, "%s, not %U", wanted, name);
    Py_XDECREF(name);
}

int shms_object_key(PyObject *object, const char **bytes, uint32_t *length, uint32_t *kind) {
    Py_ssize_t n;
    if (SHMS_LIKELY(PyUnicode_Check(object))) {
        *bytes = PyUnicode_AsUTF8AndSize(object, &n);
        if (SHMS_UNLIKELY(!*bytes)) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
                return SHMS_RAISED;
            PyErr_Clear();
            return SHMS_NO_KEY; /* a lone surrogate */
        }
        *kind = 0;
    } else if (PyBytes_Check(object)) {
        char *p;
        PyBytes_AsStringAndSize(object, &p, &n);
        *bytes = p;
        *kind = SHMS_FLAG_BYTES_KEY;
        if (SHMS_UNLIKELY(!PyBytes_CheckExact(object)) && shms_is_kept(object))
            *kind = SHMS_FLAG_KEPT;
    } else
        return SHMS_NO_KEY;
    if (SHMS_UNLIKELY(n > (Py_ssize_t)SHMS_KEY_MAX))
        return SHMS_NO_KEY;
    *length = (uint32_t)n;
    return SHMS_OK;
}

int shms_call_absent(PyObject *store, PyObject *key, bool change) {
    struct shms_call c;
    if (PyObject_Hash(key) == -1)
        return SHMS_RAISED;
    int rc = shms_call_begin(&c, store);
    if (rc == SHMS_OK && change)
        rc = shms_handle_may_write(c.h);
    shms_call_end(&c);
    return rc == SHMS_OK ? SHMS_MISS : rc;
}

PyObject *shms_raise(PyObject *error) {
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return NULL;
}

/* The exception for a status is made by the store, which knows its name and limits. */
static PyObject *fail(PyObject *self, PyObject *key, int status, uint64_t asked) {
    if (status == SHMS_RAISED)
        return NULL;
    if (status == SHMS_NO_MEMORY)
        return PyErr_NoMemory();
    if (status == SHMS_NO_KEY)
        return shms_raise(PyObject_CallMethod(self, "_no_key", "(O)", key));
    return shms_raise(asked == NOT_ASKED
                          ? PyObject_CallMethod(self, "_fail", "iOO", status, Py_None, key)
                          : PyObject_CallMethod(self, "_fail", "iKO", status, (unsigned long long)asked, key));
}

PyObject *shms_store_failed(PyObject *self, PyObject *key, int status) { return fail(self, key, status, NOT_ASKED); }
PyObject *shms_store_failed_for(PyObject *self, PyObject *key, int status, uint64_t asked) {
    return fail(self, key, status, asked);
}
