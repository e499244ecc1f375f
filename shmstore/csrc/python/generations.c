/* generations.c: tags as arguments, and puts with generations (engine/generations.h).
 *
 * What a value is made from is read after the put began. So the generations are taken first: before the value is encoded,
 * and by _generations() before a function computes it. */
#include "python/call.h"

#include "api/api.h"

#define CAPSULE "shmstore.generations"
#define TAGS_KIND 256u /* in the key of the hash: no key of an entry has it */

/* What _generations() returns: they count in this store alone. */
struct kept {
    uint8_t uuid[16];
    struct shms_generations g;
};

static void refuse(PyObject *store, PyObject *tags, Py_ssize_t count) {
    shms_raise(PyObject_CallMethod(store, "_no_tags", "On", tags, count));
}

/* The hash of a tag. False: it is none; an exception is pending, or *refused. */
static bool hash_tag(const struct shms_store *s, PyObject *tag, uint64_t *hash) {
    const char *bytes;
    uint32_t length, kind;
    if (shms_object_key(tag, &bytes, &length, &kind) != SHMS_OK)
        return false;
    *hash = shms_siphash13(bytes, length, s->hash_key[0] ^ (TAGS_KIND | kind), s->hash_key[1]);
    return true;
}

static int has_counters(const struct shms_call *c) { return c->h->s->counters ? SHMS_OK : SHMS_FORMAT; }

/* Of a tuple of tags. *wrong: of them is none; -1. */
static int take(struct shms_call *c, PyObject *tags, struct shms_generations *g, bool *wrong) {
    struct shms_store *s = c->h->s;
    uint64_t hash, id;
    int rc = has_counters(c);
    if (rc == SHMS_OK)
        rc = shms_handle_may_write(c->h);
    if (rc == SHMS_OK && shms_is_inside(c->store) && (rc = shms_inside_id(c, &id)) == SHMS_OK &&
        !shms_generations_add(s, (uint32_t)id, g))
        return SHMS_FULL;
    for (Py_ssize_t i = 0; rc == SHMS_OK && tags && i < PyTuple_Size(tags); i++) {
        *wrong = !hash_tag(s, PyTuple_GetItem(tags, i), &hash);
        if (*wrong)
            return SHMS_RAISED;
        if (!shms_generations_add(s, shms_counter_of_tag(s, hash), g))
            return SHMS_FULL;
    }
    return rc;
}

/* Those of _generations(). In another store, which has replaced that one since, they say that the entry is outdated. */
static int unpack(struct shms_call *c, PyObject *capsule, struct shms_generations *g) {
    const struct kept *k = PyCapsule_GetPointer(capsule, CAPSULE);
    if (!k)
        return SHMS_RAISED;
    *g = k->g;
    bool same = memcmp(k->uuid, c->h->s->uuid, sizeof k->uuid) == 0;
    for (uint32_t i = 0; !same && i < g->count; i++) {
        uint32_t index = SHMS_GENERATION_INDEX(g->words[i]);
        uint64_t now = index < c->h->s->counters ? shms_load_acquire(&c->h->s->generations[index]) : 0;
        g->words[i] = SHMS_GENERATION_WORD(index, now - 1);
    }
    return SHMS_OK;
}

int shms_generations_now(PyObject *store, PyObject *tags, struct shms_generations *g,
                         const struct shms_generations **now) {
    struct shms_call c;
    bool kept = tags && PyCapsule_IsValid(tags, CAPSULE), wrong = false;
    PyObject *all = NULL;
    g->count = 0;
    if (tags && tags != Py_None && !kept) {
        all = PyUnicode_Check(tags) || PyBytes_Check(tags) ? NULL : PySequence_Tuple(tags);
        if (!all && (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_TypeError))) {
            PyErr_Clear();
            refuse(store, tags, -1);
        }
        if (all && PyTuple_Size(all) > (Py_ssize_t)SHMS_TAGS_MAX) {
            refuse(store, tags, PyTuple_Size(all));
            Py_CLEAR(all);
        }
        if (!all)
            return SHMS_RAISED;
    }
    *now = NULL;
    if (all && PyTuple_Size(all) == 0 && !shms_is_inside(store)) {
        Py_DECREF(all);
        return SHMS_OK;
    }
    int rc = shms_call_begin(&c, store);
    if (rc == SHMS_OK)
        rc = kept ? unpack(&c, tags, g) : take(&c, all, g, &wrong);
    shms_call_end(&c);
    if (wrong && !PyErr_Occurred())
        refuse(store, all, -1);
    Py_XDECREF(all);
    *now = g->count ? g : NULL;
    return rc;
}

static void free_kept(PyObject *capsule) { PyMem_Free(PyCapsule_GetPointer(capsule, CAPSULE)); }

/* _generations(tags): what put() takes as its tags, as they are now; None if there are none. */
PyObject *shms_generations(PyObject *self, PyObject *tags) {
    struct kept *k = PyMem_Malloc(sizeof *k);
    const struct shms_generations *now = NULL;
    struct shms_call c;
    int rc = k ? shms_call_generations(self, 0, tags, &k->g, &now) : SHMS_NO_MEMORY;
    if (rc == SHMS_OK && now && (rc = shms_call_begin(&c, self)) == SHMS_OK) {
        memcpy(k->uuid, c.h->s->uuid, sizeof k->uuid);
        shms_call_end(&c);
    }
    PyObject *capsule = rc == SHMS_OK && now ? PyCapsule_New(k, CAPSULE, free_kept) : NULL;
    if (!capsule)
        PyMem_Free(k);
    if (rc != SHMS_OK)
        return shms_store_failed(self, Py_None, rc);
    if (capsule || PyErr_Occurred())
        return capsule;
    Py_RETURN_NONE;
}

/* evict_tag(tag) */
PyObject *shms_evict_tag(PyObject *self, PyObject *tag) {
    struct shms_call c;
    uint64_t hash = 0;
    bool wrong = false;
    int rc = shms_call_begin(&c, self);
    if (rc == SHMS_OK && (rc = has_counters(&c)) == SHMS_OK && (rc = shms_handle_may_write(c.h)) == SHMS_OK) {
        wrong = !hash_tag(c.h->s, tag, &hash);
        while (!wrong && rc == SHMS_OK) {
            rc = shms_outdate(c.h->s, shms_counter_of_tag(c.h->s, hash)) ? shms_call_thaw(&c) : SHMS_FULL;
            if (SHMS_LIKELY(rc != SHMS_AGAIN))
                break;
            rc = SHMS_OK;
        }
    }
    shms_call_end(&c);
    if (wrong && !PyErr_Occurred())
        shms_raise(PyObject_CallMethod(self, "_no_tags", "(O)n", tag, (Py_ssize_t)-1));
    if (wrong)
        return NULL;
    if (rc != SHMS_OK)
        return shms_store_failed(self, Py_None, rc);
    Py_RETURN_NONE;
}
