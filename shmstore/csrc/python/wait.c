/* wait.c: wait, as far as its answer comes soon.
 *
 * The first look keeps the GIL, for the answer is often there already. Then one slice, asleep or
 * spinning, without it, unless there may be green threads. What takes longer goes on in Python (shmstore/_store/waiting.py), where slices are counted, signals
 * and the log are served, and wrong arguments get their sentence. */
#include "python/call.h"
#include "engine/sleepers.h"
#include "engine/wait.h"

#define FIRST_SLICE 20000000ull /* ns: Ctrl-C acts within this */

/* A number of seconds in ns; false for everything that Python has to look at. */
static bool nanoseconds(PyObject *seconds, uint64_t *ns) {
    if (!PyFloat_CheckExact(seconds) && !PyLong_CheckExact(seconds))
        return false;
    double number = PyFloat_AsDouble(seconds);
    bool usable = !PyErr_Occurred() && number >= 0;
    PyErr_Clear();
    *ns = !usable ? 0 : number < 1 ? (uint64_t)(number * 1e9) : SHMS_SECOND;
    return usable;
}

struct waiting {
    bool has_after;
    uint64_t after, slice, spin, version;
    uint64_t start; /* after the first look */
    bool asks_for_hub;
    struct shms_also also;
};

static bool parse_waiting(PyObject *after, PyObject *timeout, PyObject *spin, struct waiting *w) {
    w->start = 0;
    w->asks_for_hub = true;
    w->also = (struct shms_also){shms_pokes(), 0, NULL}; /* before the handle is found open */
    w->has_after = after != Py_None;
    w->after = 0;
    if (w->has_after) {
        w->after = PyLong_CheckExact(after) ? PyLong_AsUnsignedLongLong(after) : 0;
        if (!PyLong_CheckExact(after) || PyErr_Occurred()) {
            PyErr_Clear();
            return false;
        }
    }
    w->slice = FIRST_SLICE;
    w->spin = 0;
    if ((timeout != Py_None && !nanoseconds(timeout, &w->slice)) || (spin && !nanoseconds(spin, &w->spin)))
        return false;
    w->slice = shms_min(w->slice, FIRST_SLICE);
    w->spin = shms_min(w->spin, w->slice);
    return true;
}

/* Green threads must not sleep here: others run in the same thread (shmstore/_store/green.py). */
static bool may_have_hub(void) {
    PyObject *modules = PyImport_GetModuleDict();
    return modules && (PyDict_GetItemString(modules, "gevent") || PyDict_GetItemString(modules, "eventlet"));
}

static int wait_a_slice(PyObject *self, PyObject *key, struct waiting *w) {
    struct shms_call c;
    struct shms_key n;
    int rc = shms_call_begin_keyed(&c, self, key, &n);
    if (rc != SHMS_OK)
        return rc;
    struct shms_store *s = c.h->s;
    rc = shms_wait_look(s, &n, w->has_after, w->after, &w->version);
    w->start = rc == SHMS_AGAIN ? shms_os_now() : 0;
    if (rc == SHMS_AGAIN && w->slice && !(w->asks_for_hub && may_have_hub())) {
        shms_call_count(&c);
        if (!c.counted) {
            shms_call_end(&c);
            return SHMS_CLOSED;
        }
        shms_fetch_add_acq_rel(&s->calls_without_gil, 1);
        PyThreadState *state = PyEval_SaveThread();
        rc = shms_wait(s, &n, w->has_after, w->after, w->start, w->slice, w->spin, &w->also, &w->version);
        PyEval_RestoreThread(state);
        shms_fetch_add_acq_rel(&s->calls_without_gil, (uint32_t)-1);
        if (rc == SHMS_AGAIN && shms_handle_closing(c.h))
            rc = SHMS_CLOSED;
    }
    shms_call_end(&c);
    return rc;
}

PyObject *shms_wait_for(PyObject *self, PyObject *key, PyObject *after, PyObject *timeout, PyObject *spin) {
    struct waiting w;
    int rc = parse_waiting(after, timeout, spin, &w) ? wait_a_slice(self, key, &w) : SHMS_AGAIN;
    if (SHMS_LIKELY(rc == SHMS_OK))
        return PyLong_FromUnsignedLongLong(w.version);
    if (rc != SHMS_AGAIN && rc != SHMS_SUPERSEDED)
        return shms_store_failed(self, key, rc);
    if (PyErr_CheckSignals())
        return NULL;
    PyObject *none = spin ? NULL : PyFloat_FromDouble(0);
    PyObject *version = !spin && !none
                            ? NULL
                            : PyObject_CallMethod(self, "_wait", "OOOOK", key, after, timeout, spin ? spin : none,
                                                  (unsigned long long)(w.start ? shms_os_now() - w.start : 0));
    Py_XDECREF(none);
    return version;
}

/* _wait_slice(key, version, nanoseconds, pokes, owners): has the entry another version by then? False: it has not, or a
 * signal came; or this process was poked since then, or one of the owners has left. owners: bytes, one after another. */
PyObject *shms_wait_slice(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct waiting w = {.has_after = true};
    struct shms_lock_owner owners[SHMS_OWNERS_MAX];
    if (count != 5 || !PyBytes_Check(args[4]) || PyBytes_Size(args[4]) > (Py_ssize_t)sizeof owners) {
        PyErr_SetString(PyExc_TypeError, "_wait_slice() takes a key, a version, nanoseconds, pokes and owners");
        return NULL;
    }
    memcpy(owners, PyBytes_AsString(args[4]), PyBytes_Size(args[4]));
    w.also.count = (uint32_t)(PyBytes_Size(args[4]) / sizeof *owners);
    w.also.owners = owners;
    w.also.pokes = (uint32_t)PyLong_AsUnsignedLong(args[3]);
    w.after = PyLong_AsUnsignedLongLong(args[1]);
    w.slice = PyLong_AsUnsignedLongLong(args[2]);
    if (PyErr_Occurred())
        return NULL;
    int rc = wait_a_slice(self, args[0], &w);
    if (rc != SHMS_OK && rc != SHMS_AGAIN && rc != SHMS_SUPERSEDED)
        return shms_store_failed(self, args[0], rc);
    return PyErr_CheckSignals() ? NULL : PyBool_FromLong(rc == SHMS_OK);
}
