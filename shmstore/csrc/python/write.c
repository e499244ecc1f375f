/* write.c: one put, remove or touch from beginning to end. Each loops: try with the GIL held; wait for what is busy with the GIL given
 * up and nothing held; try again. */
#include "python/encode.h"
#include "engine/compact.h"
#include "engine/evict.h"
#include "engine/heap.h"

#define LONGEST 3e9 /* seconds, as in shmstore/_base/durations.py, which has the rule */

int shms_call_ttl(PyObject *store, PyObject *ttl, const char *argument, uint64_t *nanoseconds) {
    const struct shms_module *state = shms_module_of(store);
    *nanoseconds = ttl == state->fallback ? SHMS_TTL_OF_HANDLE : ttl == state->keep ? SHMS_TTL_KEEP : 0;
    if (*nanoseconds || ttl == Py_None)
        return SHMS_OK;
    if (SHMS_LIKELY(PyFloat_CheckExact(ttl) || PyLong_CheckExact(ttl))) {
        double seconds =
            PyFloat_AsDouble(ttl); /* of an int of a thousand bits: -1 and an exception, and Python knows better */
        if (seconds > 0) {
            *nanoseconds = seconds > LONGEST ? (uint64_t)LONGEST * SHMS_SECOND : (uint64_t)(seconds * 1e9) + 1;
            return SHMS_OK;
        }
        PyErr_Clear();
    }
    PyObject *found = PyObject_CallMethod(store, "_ttl_ns", "Os", ttl, argument);
    *nanoseconds = found ? PyLong_AsUnsignedLongLong(found) : 0;
    Py_XDECREF(found);
    return PyErr_Occurred() ? SHMS_RAISED : SHMS_OK;
}

SHMS_WITHIN static int write_value(struct shms_call *c, struct shms_op *op, const struct shms_put *put) {
    if (!put->body)
        return SHMS_OK;
    shms_write_racy(op->value, put->head, put->head_length);
    uint8_t *to = op->value + put->head_length;
    uint64_t bytes = put->length - put->head_length;
    if (SHMS_LIKELY(bytes < SHMS_RELEASE_GIL_MIN)) {
        shms_write_racy(to, put->body, bytes);
        return SHMS_OK;
    }
    shms_call_count(c);
    if (!c->counted)
        return SHMS_CLOSED;
    PyThreadState *state = PyEval_SaveThread();
    shms_write_racy(to, put->body, bytes);
    PyEval_RestoreThread(state);
    return SHMS_OK;
}

/* After FULL or TABLE_FULL: makes what room can be made, in steps, between which the GIL is given up. SHMS_OK: try again,
 * and if room->done for the last time. SHMS_TIMEOUT: some entries that are due stay locked. */
static int make_room(struct shms_call *c, struct shms_room *room) {
    int rc;
    while ((rc = shms_make_room(c->h->s, room)) == SHMS_AGAIN)
        if ((rc = shms_call_pause(c)) != SHMS_OK)
            return rc;
    if (rc == SHMS_OK)
        return rc;
    *room = (struct shms_room){.bytes = room->bytes};
    return shms_call_wait(c, NULL, 0);
}

/* The same in a cache, for one block: empties windows. SHMS_OK: try again; SHMS_FULL: nothing can be evicted. */
static int evict_window(struct shms_call *c, struct shms_window *window, uint64_t bytes) {
    int rc;
    while ((rc = shms_evict_window(c->h->s, window, bytes)) == SHMS_AGAIN)
        if ((rc = shms_call_pause(c)) != SHMS_OK)
            break;
    return rc;
}

/* The same where nothing is evicted: of what is free in pieces makes a run of pages, by moving entries. */
static int make_run(struct shms_call *c, struct shms_hunt *hunt, uint64_t bytes) {
    int rc;
    while ((rc = shms_hunt_step(c->h->s, hunt, bytes)) == SHMS_AGAIN)
        if ((rc = shms_call_pause(c)) != SHMS_OK)
            break;
    return rc;
}

static int reserve_again(struct shms_call *c, struct shms_op *op, const struct shms_put *put) {
    struct shms_window window = {.spared = op->key.hash};
    struct shms_hunt hunt = {0};
    uint64_t bytes = shms_op_bytes(op, put->extension_length);
    struct shms_room room = {.bytes = bytes};
    bool evicts = shms_evicts(c->h->s);
    int rc;
    do {
        rc = evicts ? evict_window(c, &window, bytes) : room.done ? make_run(c, &hunt, bytes) : SHMS_FULL;
        if (rc == SHMS_FULL && !room.done) {
            rc = make_room(c, &room);
            window = (struct shms_window){.spared = op->key.hash}; /* once more: views of the dead have ended */
        }
    } while (rc == SHMS_OK && (rc = shms_op_reserve(op, put->length, put->codec, put->extension, put->extension_length,
                                                    put->expiry)) == SHMS_FULL);
    shms_hunt_end(c->h->s, &hunt);
    return rc == SHMS_TIMEOUT ? SHMS_FULL : rc;
}

static int reserve(struct shms_call *c, struct shms_op *op, const struct shms_put *put) {
    int rc = shms_op_reserve(op, put->length, put->codec, put->extension, put->extension_length, put->expiry);
    return SHMS_LIKELY(rc != SHMS_FULL) ? rc : reserve_again(c, op, put);
}

SHMS_WITHIN static int put_once(struct shms_call *c, const char *key, uint32_t length, uint32_t kind,
                                struct shms_put *put) {
    struct shms_op op;
    struct shms_store *s = c->h->s;
    int rc;
    while ((rc = shms_op_begin(s, &op, key, length, kind)) == SHMS_BUSY)
        if ((rc = shms_call_wait(c, NULL, 0)) != SHMS_OK)
            return rc;
    op.keep_expiry = put->keep_expiry;
    op.keep_generations = put->keep_generations;
    op.same_generations = put->same_generations;
    op.only_replaces =
        put->mode == SHMS_REPLACE || put->mode == SHMS_INCR_PRESENT || (put->mode == SHMS_CAS && put->expected);
    rc = reserve(c, &op, put);
    if (SHMS_LIKELY(rc == SHMS_OK))
        rc = write_value(c, &op, put);
    struct shms_room room = {.bytes = SHMS_ROOM_IN_TABLE};
    while (rc == SHMS_OK) {
        op.number = put->by;
        op.initial = put->initial;
        rc = shms_op_publish(&op, put->mode, put->expected);
        put->version = op.version;
        put->number = op.number;
        if (SHMS_LIKELY(rc == SHMS_OK))
            break;
        if (rc == SHMS_TABLE_FULL && shms_evicts(s) && shms_evict_near(s, op.key.home))
            rc = SHMS_OK;
        else if (rc == SHMS_TABLE_FULL && !room.done) {
            rc = make_room(c, &room);
            rc = rc == SHMS_TIMEOUT ? SHMS_TABLE_FULL : rc;
        } else if (rc == SHMS_BUSY)
            rc = shms_call_wait(c, op.busy, op.seen);
    }
    shms_op_end(&op);
    return rc;
}

/* There is no room; but was it needed? Calls with a condition say what they would have said with room. */
static int without_room(struct shms_call *c, const char *key, uint32_t length, uint32_t kind,
                        const struct shms_put *put, int rc) {
    struct shms_key n;
    struct shms_entry f;
    if ((rc != SHMS_FULL && rc != SHMS_TABLE_FULL) || put->mode == SHMS_SET || put->mode == SHMS_INCR)
        return rc;
    shms_key_init(c->h->s, &n, key, length, kind);
    int found = shms_find(c->h->s, &n, &f);
    if (found != SHMS_OK && found != SHMS_MISS)
        return rc;
    uint64_t version = found == SHMS_OK ? shms_entry_version(&f) : 0;
    bool met = put->mode == SHMS_ADD ? !version : put->mode == SHMS_CAS ? version == put->expected : version != 0;
    return met ? rc : SHMS_UNMET;
}

/* With these generations in front of whatever else is in the extension. */
SHMS_APART static int put_tagged(struct shms_call *c, const char *key, uint32_t length, uint32_t kind,
                                 struct shms_put *put, const struct shms_generations *g) {
    uint8_t extension[SHMS_EXT_MAX];
    const void *others = put->extension;
    uint32_t others_length = put->extension_length;
    if (g->count) {
        put->extension_length = shms_generations_extension(extension, g, others, others_length);
        put->extension = extension;
    }
    int rc = put_once(c, key, length, kind, put);
    put->extension = others;
    put->extension_length = others_length;
    return rc;
}

/* With those that the entry has. Another process may have given it others meanwhile: then once more. */
SHMS_APART static int put_keeping(struct shms_call *c, const char *key, uint32_t length, uint32_t kind,
                                  struct shms_put *put) {
    static const struct shms_generations none = {0};
    struct shms_generations g;
    struct shms_key n;
    struct shms_entry f;
    int rc;
    do {
        shms_key_init(c->h->s, &n, key, length, kind);
        rc = shms_find(c->h->s, &n, &f);
        if (rc == SHMS_OK) {
            shms_generations_copy(f.extension, f.extension_length, &g);
            rc = shms_entry_unchanged(&f) ? SHMS_OK : SHMS_AGAIN;
        }
        put->same_generations = rc == SHMS_OK;
        if (rc == SHMS_OK || rc == SHMS_MISS)
            rc = put_tagged(c, key, length, kind, put,
                            rc == SHMS_OK      ? &g
                            : put->generations ? put->generations
                                               : &none);
    } while ((rc == SHMS_AGAIN || rc == SHMS_BUSY) && (rc = shms_call_wait(c, NULL, 0)) == SHMS_OK);
    put->same_generations = false;
    return rc;
}

/* incr tries it as if the entry had no generations but those of a new one. */
static inline int put_any(struct shms_call *c, const char *key, uint32_t length, uint32_t kind, struct shms_put *put) {
    int rc = SHMS_LIKELY(!put->generations && !put->keep_generations) ? put_once(c, key, length, kind, put)
             : put->keep_generations ? SHMS_AGAIN
                                     : put_tagged(c, key, length, kind, put, put->generations);
    return SHMS_LIKELY(rc != SHMS_AGAIN) ? rc : put_keeping(c, key, length, kind, put);
}

int shms_put_one(struct shms_call *c, const char *key, uint32_t length, uint32_t kind, struct shms_put *put) {
    int rc = shms_handle_may_write(c->h);
    if (SHMS_LIKELY(rc == SHMS_OK))
        do
            rc = put_any(c, key, length, kind, put);
        while (SHMS_UNLIKELY(rc != SHMS_OK) && !(put->stays && rc == SHMS_SUPERSEDED) && shms_call_again(c, &rc));
    return SHMS_LIKELY(rc == SHMS_OK) ? rc : without_room(c, key, length, kind, put, rc);
}

/* Operations without a block: touch with this expiry; NULL: remove. */
static int change_once(struct shms_call *c, const char *key, uint32_t length, uint32_t kind, const uint64_t *expiry,
                       uint64_t expected) {
    struct shms_op op;
    int rc;
    while ((rc = shms_op_begin(c->h->s, &op, key, length, kind)) == SHMS_BUSY)
        if ((rc = shms_call_wait(c, NULL, 0)) != SHMS_OK)
            return rc;
    while ((rc = expiry ? shms_op_touch(&op, *expiry, expected) : shms_op_remove(&op, expected)) == SHMS_BUSY)
        if ((rc = shms_call_wait(c, op.busy, op.seen)) != SHMS_OK)
            break;
    shms_op_end(&op);
    return rc;
}

static int change(struct shms_call *c, const char *key, uint32_t length, uint32_t kind, const uint64_t *expiry,
                  uint64_t expected) {
    int rc = shms_handle_may_write(c->h);
    if (rc == SHMS_OK)
        do
            rc = change_once(c, key, length, kind, expiry, expected);
        while (SHMS_UNLIKELY(rc != SHMS_OK) && shms_call_again(c, &rc));
    return rc;
}

int shms_remove_one(struct shms_call *c, const char *key, uint32_t length, uint32_t kind, uint64_t expected) {
    return change(c, key, length, kind, NULL, expected);
}

int shms_touch_one(struct shms_call *c, const char *key, uint32_t length, uint32_t kind, uint64_t expiry,
                   uint64_t expected) {
    return change(c, key, length, kind, &expiry, expected);
}
