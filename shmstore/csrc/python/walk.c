/* walk.c: Keys, those of a kind and prefix, and the iterator over them. It fetches them in batches, each into a list; no
 * Python code runs in it, so that what a signal handler raises comes up in the loop that uses it: in a generator a
 * StopIteration would be another thing. */
#include "python/call.h"

#include "engine/freeze.h"
#include "engine/walk.h"
#include "python/rescue.h"

#define BATCH (1u << 16)   /* bytes; at least one key of 32 KiB fits */
#define KEYS_AT_ONCE 1024u /* a batch takes less than a millisecond; then other threads get a turn */

/* Also of type Keys, which never begins. */
struct walk {
    PyObject_HEAD PyObject *store, *prefix, *batch; /* a batch is NULL before the first */
    Py_ssize_t next;                                /* in the batch */
    struct shms_walk at;                            /* without the prefix */
    uint64_t inside;                                /* the id of the namespace, if it is one of a namespace */
    int64_t handle; /* of the segment that it walks through, on which it counts as a view; 0: of none yet, or no more */
};

/* The same walk, in the keys of the namespace. *prefix: memory that the caller frees. */
static int walk_inside(struct walk *w, struct shms_walk *at, uint8_t **prefix) {
    bool any = at->kind == SHMS_WALK_ALL;
    uint8_t *to = *prefix = PyMem_Malloc(sizeof w->inside + 1 + at->prefix_length);
    if (!to)
        return SHMS_NO_MEMORY;
    memcpy(to, &w->inside, sizeof w->inside);
    to[sizeof w->inside] = at->kind & SHMS_FLAG_BYTES_KEY ? 'b' : 's';
    memcpy(to + sizeof w->inside + 1, at->prefix, at->prefix_length);
    at->prefix = to;
    at->prefix_length = any ? sizeof w->inside : at->prefix_length + sizeof w->inside + 1;
    at->kind = SHMS_FLAG_INSIDE;
    return SHMS_OK;
}

static void leave(struct walk *w) {
    struct shms_handle *h = w->handle ? shms_handle_of_view(w->handle) : NULL;
    w->handle = 0;
    if (h)
        shms_handle_view_remove(h);
}

/* The store to walk through. After a resize, that is the former segment: a cursor means nothing in another table. It has all
 * keys that were present all the time, and does not change any more. */
static struct shms_store *walked(struct walk *w, const struct shms_call *c) {
    int64_t now = shms_handle_of(w->store);
    struct shms_handle *h = w->handle && w->handle != now ? shms_handle_of_view(w->handle) : NULL;
    if (h && shms_superseded(h->s))
        return h->s;
    if (w->handle != now) { /* the first batch; or a cache that was removed and opened again */
        leave(w);
        shms_handle_view_add(c->h);
        w->handle = now;
    }
    return c->h->s;
}

static int fetch(struct walk *w, uint8_t *buffer, uint64_t *filled) {
    struct shms_call c;
    uint8_t *inside = NULL;
    char *prefix;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(w->prefix, &prefix, &length) < 0)
        return SHMS_RAISED;
    int rc = shms_call_begin(&c, w->store);
    w->at.prefix = prefix;
    w->at.prefix_length = (uint32_t)length;
    struct shms_walk at = w->at;
    if (SHMS_UNLIKELY(shms_is_inside(w->store)) && rc == SHMS_OK && (rc = shms_inside_id(&c, &w->inside)) == SHMS_OK &&
        at.kind != SHMS_FLAG_KEPT)
        rc = walk_inside(w, &at, &inside);
    if (rc == SHMS_OK)
        rc = shms_walk(walked(w, &c), &at, buffer, BATCH, filled);
    w->at.cursor = at.cursor;
    PyMem_Free(inside);
    shms_call_end(&c);
    if (rc == SHMS_OK && w->at.cursor >= w->at.end)
        leave(w);
    return rc;
}

static PyObject *text_or_bytes(struct walk *w, const uint8_t *at, Py_ssize_t length, bool is_bytes) {
    if (is_bytes)
        return PyBytes_FromStringAndSize((const char *)at, length);
    PyObject *text = PyUnicode_DecodeUTF8((const char *)at, length, NULL);
    if (!text && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) { /* no handler ran that could have raised it */
        PyErr_Clear();
        shms_raise(PyObject_CallMethod(w->store, "_no_text", "y#", (const char *)at, length));
    }
    return text;
}

/* Of a namespace: without what stands before the user's key, or behind one of the store's own. NULL without an exception:
 * it is that of another namespace. */
static PyObject *key_inside(struct walk *w, const uint8_t *at, Py_ssize_t length) {
    enum { ID = 8, HEAD = ID + 1 };
    if (w->at.kind != SHMS_FLAG_KEPT)
        return length < HEAD ? NULL : text_or_bytes(w, at + HEAD, length - HEAD, at[ID] == 'b');
    return length < HEAD || at[length - HEAD] || memcmp(at + length - ID, &w->inside, ID) != 0
               ? NULL
               : text_or_bytes(w, at, length - HEAD, true);
}

static PyObject *list_of(struct walk *w, const uint8_t *at, const uint8_t *end) {
    PyObject *keys = PyList_New(0);
    while (keys && at < end) {
        uint32_t mark;
        memcpy(&mark, at, 4);
        Py_ssize_t length = mark & 0x7fffffff;
        PyObject *one = SHMS_LIKELY(!shms_is_inside(w->store)) ? text_or_bytes(w, at + 4, length, mark >> 31)
                                                               : key_inside(w, at + 4, length);
        if (one ? PyList_Append(keys, one) < 0 : PyErr_Occurred() != NULL)
            Py_CLEAR(keys);
        Py_XDECREF(one);
        at += 4 + (mark & 0x7fffffff);
    }
    return keys;
}

static PyObject *next_batch(struct walk *w) {
    uint8_t *buffer = PyMem_Malloc(BATCH);
    uint64_t filled = 0;
    int rc = buffer ? fetch(w, buffer, &filled) : SHMS_NO_MEMORY;
    PyObject *batch = rc == SHMS_OK ? list_of(w, buffer, buffer + filled) : shms_store_failed(w->store, Py_None, rc);
    PyMem_Free(buffer);
    return batch;
}

/* False without an exception: the walk ends here, because it failed and that is a miss. */
static bool fill(struct walk *w) {
    PyObject *batch, *instead;
    for (unsigned tries = 0; !(batch = next_batch(w)); tries++)
        if (!shms_rescue(w->store, "__next__", NULL, 0, NULL, tries, &instead)) {
            w->at.cursor = instead ? w->at.end : w->at.cursor;
            Py_XDECREF(instead);
            return false;
        }
    PyObject *old = w->batch;
    w->batch = batch;
    w->next = 0;
    Py_XDECREF(old);
    return true;
}

static PyObject *next(PyObject *self) {
    struct walk *w = (struct walk *)self;
    bool gave_way = false;
    while (!w->batch || w->next >= PyList_Size(w->batch)) {
        if (w->at.cursor >= w->at.end)
            return NULL;
        /* list(walk) is C code, too: other threads go on between two batches. One of them may use this walk. */
        if (w->batch && !gave_way) {
            PyEval_RestoreThread(PyEval_SaveThread());
            gave_way = true;
            continue;
        }
        if (!fill(w))
            return NULL;
        gave_way = false;
    }
    PyObject *one = PyList_GetItem(w->batch, w->next++);
    Py_INCREF(one);
    return one;
}

static PyObject *new(PyObject *type_object, PyObject *store, PyObject *prefix, struct shms_walk at) {
    PyTypeObject *type = (PyTypeObject *)type_object;
    struct walk *w = (struct walk *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (w) {
        Py_INCREF(store);
        Py_INCREF(prefix);
        w->store = store;
        w->prefix = prefix;
        w->at = at;
    }
    return (PyObject *)w;
}

static PyObject *parse(PyObject *type, PyObject *self, PyObject *args) {
    PyObject *prefix;
    unsigned kind, most = KEYS_AT_ONCE;
    unsigned long long cursor = 0, end = UINT64_MAX;
    if (!PyArg_ParseTuple(args, "SI|KKI", &prefix, &kind, &cursor, &end, &most))
        return NULL;
    return new(type, self, prefix, (struct shms_walk){cursor, end, NULL, 0, kind, most});
}

/* _walk(prefix, kind, cursor, end, most): an iterator over keys, which fetches `most` at a time */
PyObject *shms_walk_keys(PyObject *self, PyObject *args) { return parse(shms_module_of(self)->walk_type, self, args); }
/* _likely_slot(near): where popitem looks first; None: the store is empty */
PyObject *shms_find_likely_slot(PyObject *self, PyObject *near) {
    struct shms_call c;
    uint64_t slot = PyLong_AsUnsignedLongLong(near);
    if (PyErr_Occurred())
        return NULL;
    int rc = shms_call_begin(&c, self);
    if (rc == SHMS_OK)
        slot = shms_likely_slot(c.h->s, slot);
    shms_call_end(&c);
    if (rc != SHMS_OK)
        return shms_store_failed(self, Py_None, rc);
    return slot == SHMS_NO_SLOT ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(slot);
}
/* _keys(prefix, kind): what has the length of such a walk, and can be iterated over */
PyObject *shms_keys_of(PyObject *self, PyObject *args) { return parse(shms_module_of(self)->keys_type, self, args); }

static PyObject *iterate(PyObject *self) {
    struct walk *keys = (struct walk *)self;
    return new(shms_module_of(keys->store)->walk_type, keys->store, keys->prefix, keys->at);
}

/* Takes the reference. */
static Py_ssize_t count(PyObject *walk, Py_ssize_t most) {
    PyObject *one;
    Py_ssize_t count = 0;
    for (; walk && count < most && (one = next(walk)); count++)
        Py_DECREF(one);
    Py_XDECREF(walk);
    return PyErr_Occurred() ? -1 : count;
}

static Py_ssize_t length(PyObject *self) { return count(iterate(self), PY_SSIZE_T_MAX); }

Py_ssize_t shms_walk_length(PyObject *self, bool any) {
    struct shms_walk all = {0, UINT64_MAX, NULL, 0, SHMS_WALK_ALL, any ? 1 : KEYS_AT_ONCE};
    PyObject *prefix = PyBytes_FromStringAndSize("", 0);
    Py_ssize_t found =
        prefix ? count(new(shms_module_of(self)->walk_type, self, prefix, all), any ? 1 : PY_SSIZE_T_MAX) : -1;
    Py_XDECREF(prefix);
    return found;
}

static int traverse(PyObject *self, visitproc visit, void *arg) {
    struct walk *w = (struct walk *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(w->store);
    return 0;
}

static void unmake(PyObject *self) {
    struct walk *w = (struct walk *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    leave(w);
    Py_XDECREF(w->store);
    Py_XDECREF(w->prefix);
    Py_XDECREF(w->batch);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *cursor(PyObject *self, void *closure) {
    return PyLong_FromUnsignedLongLong(((struct walk *)self)->at.cursor);
}

static PyGetSetDef attributes[] = {{"cursor", cursor, NULL, NULL, NULL}, {NULL}};
static PyType_Slot slots[] = {
    {Py_tp_dealloc, unmake}, {Py_tp_traverse, traverse}, {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, next},  {Py_tp_getset, attributes}, {0, NULL},
};
static PyType_Spec spec = {
    .name = "shmstore._base.calls.Walk",
    .basicsize = sizeof(struct walk),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

PyObject *shms_make_walk_type(PyObject *module) { return PyType_FromModuleAndSpec(module, &spec, NULL); }

static PyType_Slot slots_of_keys[] = {
    {Py_tp_dealloc, unmake}, {Py_tp_traverse, traverse}, {Py_tp_iter, iterate}, {Py_mp_length, length}, {0, NULL},
};
static PyType_Spec spec_of_keys = {
    .name = "shmstore._base.calls.Keys",
    .basicsize = sizeof(struct walk),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots_of_keys,
};

PyObject *shms_make_keys_type(PyObject *module) { return PyType_FromModuleAndSpec(module, &spec_of_keys, NULL); }
