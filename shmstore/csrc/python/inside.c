/* inside.c: namespaces: handles whose keys are all in one namespace.
 *
 * A namespace has an id: the index of its counter (generations.h), and a random number. In the store, a key of the namespace is
 * the id, "s" or "b", and the user's key, with a flag of its own. So no key of another namespace or of the store is equal to
 * it. The keys of the store's own entries in the namespace (locks and the like) end with the id.
 *
 * The id is the value of an entry of the store's own. Its key has the id of the namespace around it, and the name.
 * WRITER  1 is the entry there? That is the id
 *         2 take a counter; say in it which namespace it is in
 *         3 add the entry. If another process has added it by now: back to 1
 * CRASH  after 2: only the counter is lost. Handles in all processes find the entry that was added first.
 *
 * A Cache that opened itself again has another handle, and looks up the id again. So a key never leads into a namespace of
 * the former store. A read-only handle finds nothing in a namespace that no process has made. */
#include "python/call.h"

#include "api/api.h"

#define ID_BYTES 8u
#define HEAD_BYTES (ID_BYTES + 1) /* of a key: id, and "s" or "b" */
#define NOWHERE (UINT64_MAX << 32)

static const char entry_of[] = "namespace:";

/* The id in the entry with this key: SHMS_OK, SHMS_MISS, or what ends the call. */
static int look(struct shms_call *c, const char *key, uint32_t length, uint64_t *id) {
    struct shms_store *s = c->h->s;
    struct shms_key n;
    struct shms_entry e;
    shms_key_init(s, &n, key, length, SHMS_FLAG_KEPT);
    for (;;) {
        int rc = shms_find(s, &n, &e);
        bool sound = rc == SHMS_OK && e.value_length == ID_BYTES;
        if (sound)
            shms_copy_short(id, e.value, ID_BYTES);
        if (rc == SHMS_OK && shms_entry_unchanged(&e)) {
            uint32_t index = (uint32_t)*id;
            return sound && index && index < s->counters_of_namespaces ? SHMS_OK : SHMS_CORRUPT;
        }
        if (rc != SHMS_OK && rc != SHMS_BUSY)
            return rc;
        if ((rc = shms_call_wait(c, NULL, 0)) != SHMS_OK && rc != SHMS_FORKED && rc != SHMS_SUPERSEDED)
            return rc == SHMS_TIMEOUT ? SHMS_CONTENDED : rc;
    }
}

/* A random number that is not 0, and not that of NOWHERE. */
static int nonce(uint64_t *number) {
    do
        if (!shms_os_random(number, sizeof *number))
            return SHMS_NO_MEMORY;
    while (!(*number >> 32) || *number >= NOWHERE);
    *number &= NOWHERE;
    return SHMS_OK;
}

static int make(struct shms_call *c, const char *key, uint32_t length, uint64_t parent) {
    struct shms_put p;
    uint64_t id;
    int rc = nonce(&id);
    if (rc != SHMS_OK)
        return rc;
    uint32_t index = shms_counter_give(c->h->s, (uint32_t)parent);
    if (!index)
        return c->h->s->short_of ? SHMS_FULL : SHMS_NO_COUNTER;
    id |= index;
    shms_put_init(&p, SHMS_ADD);
    p.codec = SHMS_CODEC_RAW;
    p.body = (char *)&id;
    p.length = ID_BYTES;
    p.stays = true; /* in another segment, the counter may be given to another namespace */
    rc = shms_put_one(c, key, length, SHMS_FLAG_KEPT, &p);
    if (rc == SHMS_SUPERSEDED)
        rc = shms_call_follow(c);
    return rc == SHMS_UNMET ? SHMS_OK : rc;
}

static int find_part(struct shms_call *c, PyObject *part, uint64_t parent, uint64_t *id) {
    char key[sizeof entry_of - 1 + ID_BYTES + 1 + SHMS_NAMESPACE_MAX];
    size_t head = sizeof entry_of - 1 + ID_BYTES, n = (size_t)PyBytes_Size(part);
    if (n > sizeof key - head)
        return SHMS_CORRUPT; /* _confine looks at it */
    memcpy(key, entry_of, sizeof entry_of - 1);
    memcpy(key + sizeof entry_of - 1, &parent, ID_BYTES);
    memcpy(key + head, PyBytes_AsString(part), n);
    int rc;
    while ((rc = look(c, key, (uint32_t)(head + n), id)) == SHMS_MISS) {
        if (shms_handle_may_write(c->h) != SHMS_OK)
            return SHMS_MISS;
        if ((rc = make(c, key, (uint32_t)(head + n), parent)) != SHMS_OK)
            return rc;
    }
    return rc;
}

int shms_inside_id(struct shms_call *c, uint64_t *id) {
    struct shms_store_object *self = (struct shms_store_object *)c->store;
    long long handle = self->handle;
    *id = 0;
    if (SHMS_LIKELY(self->inside_of == handle)) {
        *id = self->inside;
        return SHMS_OK;
    }
    if (!c->h->s->counters)
        return SHMS_FORMAT;
    PyObject *path = self->path;
    int rc = SHMS_OK;
    for (Py_ssize_t i = 0; rc == SHMS_OK && i < PyTuple_Size(path); i++)
        rc = find_part(c, PyTuple_GetItem(path, i), *id, id);
    if (rc == SHMS_MISS) {
        *id = NOWHERE;
        return SHMS_OK;
    }
    if (rc == SHMS_OK && self->handle == handle) { /* else another thread has opened the store again */
        self->inside = *id;
        self->inside_of = handle;
    }
    return rc;
}

int shms_inside_key(struct shms_call *c, PyObject *store, const char **bytes, uint32_t *length, uint32_t *kind) {
    uint64_t id;
    bool kept = *kind == SHMS_FLAG_KEPT;
    if (*length > SHMS_KEY_INSIDE_MAX)
        return SHMS_NO_KEY;
    int rc = shms_call_begin(c, store);
    if (rc == SHMS_OK)
        rc = shms_inside_id(c, &id);
    shms_call_end(c);
    if (rc != SHMS_OK)
        return rc;
    PyObject *name = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)*length + HEAD_BYTES);
    if (!name)
        return SHMS_RAISED;
    char *to = PyBytes_AsString(name);
    char mark = kept ? '\0' : *kind & SHMS_FLAG_BYTES_KEY ? 'b' : 's';
    memcpy(kept ? to : to + HEAD_BYTES, *bytes, *length);
    to[kept ? *length : ID_BYTES] = mark;
    memcpy(kept ? to + *length + 1 : to, &id, ID_BYTES);
    c->name = name;
    *bytes = to;
    *length += HEAD_BYTES;
    *kind = kept ? SHMS_FLAG_KEPT : SHMS_FLAG_INSIDE;
    return SHMS_OK;
}

/* _raw_key(key): the key in the store as bytes, and its kind; for calls through cffi. */
PyObject *shms_raw_key(PyObject *self, PyObject *key) {
    struct shms_call c;
    const char *bytes;
    uint32_t length, kind;
    int rc = shms_call_key(&c, self, key, &bytes, &length, &kind);
    PyObject *raw = rc == SHMS_OK ? Py_BuildValue("(y#I)", bytes, (Py_ssize_t)length, kind) : NULL;
    shms_call_end(&c);
    return rc == SHMS_OK ? raw : shms_store_failed(self, key, rc);
}

/* _confine(path): from now on this handle is one of the namespace, or with an empty path, of the store. path: a tuple of
 * bytes. */
PyObject *shms_confine(PyObject *self, PyObject *path) {
    struct shms_store_object *store = (struct shms_store_object *)self;
    bool sound = PyTuple_Check(path) && PyTuple_Size(path) <= SHMS_DEPTH_MAX;
    for (Py_ssize_t i = 0; sound && i < PyTuple_Size(path); i++)
        sound = PyBytes_Check(PyTuple_GetItem(path, i)) &&
                PyBytes_Size(PyTuple_GetItem(path, i)) <= (Py_ssize_t)SHMS_NAMESPACE_MAX + 1;
    if (!sound) {
        PyErr_SetString(PyExc_TypeError, "_confine() takes a tuple of bytes");
        return NULL;
    }
    PyObject *before = store->path;
    store->path = PyTuple_Size(path) ? path : NULL;
    Py_XINCREF(store->path);
    store->inside_of = 0;
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

/* _inside(): the id as bytes; makes the namespace if it is not there. */
PyObject *shms_inside(PyObject *self, PyObject *none) {
    struct shms_call c;
    uint64_t id = 0;
    int rc = shms_call_begin(&c, self);
    if (rc == SHMS_OK)
        rc = shms_inside_id(&c, &id);
    shms_call_end(&c);
    return rc == SHMS_OK ? PyBytes_FromStringAndSize((char *)&id, ID_BYTES) : shms_store_failed(self, Py_None, rc);
}

/* _clear_inside(): ends the entries of this namespace, or of all of them. */
PyObject *shms_clear_inside(PyObject *self, PyObject *none) {
    struct shms_call c;
    uint64_t id = 0;
    int rc = shms_call_begin(&c, self);
    if (rc == SHMS_OK && (rc = shms_handle_may_write(c.h)) == SHMS_OK) {
        do
            if (!shms_is_inside(self)) {
                shms_outdate_namespaces(c.h->s);
                rc = shms_call_thaw(&c);
            } else if ((rc = shms_inside_id(&c, &id)) == SHMS_OK)
                rc = shms_outdate(c.h->s, (uint32_t)id) ? shms_call_thaw(&c) : SHMS_FULL;
        while (SHMS_UNLIKELY(rc == SHMS_AGAIN));
    }
    shms_call_end(&c);
    if (rc != SHMS_OK)
        return shms_store_failed(self, Py_None, rc);
    Py_RETURN_NONE;
}
