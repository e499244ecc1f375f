/* call.h: the hot calls as methods of a CPython type: what they share: arguments in, waiting in between, results out.
 *
 * Why not cffi: a call of two arguments costs 100 ns more there, and cffi gives the GIL up around every call. These take
 * the key itself and return finished objects.
 *
 * RESULTS  a success is what each method says; of a failure of the engine the store's _fail makes an exception; wrong
 *   argument types raise here. No Python code runs while an engine lock is held; waiting gives the GIL up and looks at
 *   signals between slices. */
#ifndef SHMS_PYTHON_CALL_H
#define SHMS_PYTHON_CALL_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030a0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "api/handle.h"
#include "engine/generations.h"
#include "engine/op.h"
#include "python/pack.h"

#define SHMS_RAISED (-1000)             /* a Python exception is pending */
#define SHMS_NO_KEY (-1001)             /* an object that no entry can have as its key; no exception is pending */
#define SHMS_RELEASE_GIL_MIN (8u << 20) /* bytes: shorter copies keep the GIL (docs/performance.md) */

/* The state of the module of one interpreter, or of one import of several (module.c). No call shares it with
 * another interpreter, so whatever it owns is that interpreter's own. */
struct shms_module {
    PyObject *module;                 /* borrowed: the state is part of it */
    struct shms_store_object *stores; /* all that live, open or not; borrowed: each takes itself out */
    PyObject *fallback, *keep; /* shmstore.DEFAULT and KEEP, as arguments for a ttl; NULL before Python has told */
    PyObject *memory_type, *walk_type, *keys_type; /* memory.h, walk.c */
    PyObject *decode, *encode_parts,
        *hand_over;                  /* names of methods: PyObject_CallMethod would make them anew each time */
    PyObject *refused, *undecodable; /* codecs/msgpack.py: what makes an exception of a failure to pack or unpack */
    struct shms_types types;
    struct shms_kept_key keys[SHMS_KEYS_KEPT];
};

#define SHMS_CLOSED_BY_USER (-1)
/* An instance of StoreCalls, the base type of stores (store_type.c). It owns a reference to the module. */
struct shms_store_object {
    PyObject_HEAD long long handle;         /* 0: it was never open; SHMS_CLOSED_BY_USER: close() was called */
    struct shms_module *state;              /* never NULL, and immutable */
    struct shms_store_object *next, **link; /* in state->stores; *link is what points here */
    char rescues;                           /* whether it is a Cache (rescue.h) */
    PyObject *path;  /* of a namespace: a tuple of its names, each b"s" or b"b" and the name; else NULL (inside.c) */
    uint64_t inside; /* the namespace's id in the store of the handle `inside_of` */
    long long inside_of; /* 0: it is not known yet */
    PyObject *copies; /* a dict of what is being copied (shmstore/_store/copying.py); NULL before the handle is open */
};
static inline int64_t shms_handle_of(PyObject *self) { return ((struct shms_store_object *)self)->handle; }
static inline struct shms_module *shms_module_of(PyObject *self) { return ((struct shms_store_object *)self)->state; }

/* One call on one store: handle, deadline, and whether it is counted as inside. */
struct shms_call {
    struct shms_handle *h;
    PyObject *store;   /* borrowed from the caller */
    PyObject *name;    /* owns the key in the store of an entry of a namespace, else NULL */
    uint64_t deadline; /* 0: nothing was waited for yet */
    struct shms_handle
        *before;    /* the counted handle of the segment before a resize that came during this call; or NULL */
    uint32_t epoch; /* the process that the call began in: a signal handler may fork during a wait */
    bool counted;
};

/* After SHMS_SUPERSEDED: goes on with the segment that has the entries now. Runs Python code. SHMS_OK, or what ends the call.
 * What the call did with the former segment can still be undone: that stays mapped until shms_call_end. */
int shms_call_follow(struct shms_call *c);
/* Does the call begin anew, because its process was forked or the store was resized? Else *rc ends it. */
static inline bool shms_call_again(struct shms_call *c, int *rc) {
    if (SHMS_UNLIKELY(*rc == SHMS_SUPERSEDED))
        return (*rc = shms_call_follow(c)) == SHMS_OK;
    return SHMS_UNLIKELY(*rc == SHMS_FORKED);
}
/* The last thing before the engine: argument conversions run Python code, which may close the handle or fork. After
 * shms_call_key, which was the first thing. */
int shms_call_enter(struct shms_call *c, PyObject *store);
/* The same for a call without a key. */
static inline int shms_call_begin(struct shms_call *c, PyObject *store) {
    c->name = NULL;
    return shms_call_enter(c, store);
}
/* After a counter of generations was moved on: SHMS_OK, that counts. SHMS_AGAIN: a resize may have copied the counter before, so it is
 * to be moved on in the new segment, too. Or what ends the call. */
int shms_call_thaw(struct shms_call *c);
/* Before giving the GIL up: SHMS_OK; from now on nobody detaches the store under this call. */
void shms_call_count(struct shms_call *c);
void shms_call_end(struct shms_call *c);
/* Waits a slice for what op->busy says: SHMS_OK (try again), or what ends the call. SHMS_FORKED: this process is a
 * child now, forked by a signal handler during the wait; what the call held is the parent's: begin anew. SHMS_SUPERSEDED:
 * shms_call_again. A call that only reads may go on: the former segment does not change any more. */
int shms_call_wait(struct shms_call *c, _Atomic uint64_t *busy, uint64_t seen);
/* Gives up the GIL for a moment, between the steps of a long call. Returns what shms_call_wait does. */
int shms_call_pause(struct shms_call *c);

/* A str or bytes object as a key of an entry of this store, which is in use until shms_call_end: SHMS_OK, SHMS_NO_KEY,
 * SHMS_RAISED; of a namespace also what shms_call_enter returns. Calls that store something make an error of SHMS_NO_KEY
 * (store._no_key); to those that look for an entry or remove one, it is absent. */
int shms_object_key(PyObject *object, const char **bytes, uint32_t *length, uint32_t *kind);
int shms_inside_key(struct shms_call *c, PyObject *store, const char **bytes, uint32_t *length, uint32_t *kind);
#define SHMS_KEY_INSIDE_MAX (SHMS_KEY_MAX - 9) /* bytes of a key in a namespace */
static inline bool shms_is_inside(PyObject *store) { return ((struct shms_store_object *)store)->path != NULL; }
static inline int shms_call_key(struct shms_call *c, PyObject *store, PyObject *object, const char **bytes,
                                uint32_t *length, uint32_t *kind) {
    c->counted = false;
    c->before = NULL;
    c->name = NULL;
    int rc = shms_object_key(object, bytes, length, kind);
    return SHMS_LIKELY(rc != SHMS_OK || !shms_is_inside(store)) ? rc : shms_inside_key(c, store, bytes, length, kind);
}
/* What most calls begin with. SHMS_OK: *n is the key in the store, and shms_call_end is due. */
static inline int shms_call_begin_keyed(struct shms_call *c, PyObject *store, PyObject *key, struct shms_key *n) {
    const char *bytes;
    uint32_t length, kind;
    int rc = shms_call_key(c, store, key, &bytes, &length, &kind);
    if (SHMS_LIKELY(rc == SHMS_OK && (rc = shms_call_enter(c, store)) == SHMS_OK))
        shms_key_init(c->h->s, n, bytes, length, kind);
    else
        Py_CLEAR(c->name);
    return rc;
}

/* What a call that looks for an entry, or is to `change` one, says of SHMS_NO_KEY, as a dict would: SHMS_MISS, or SHMS_RAISED
 * if it cannot be hashed; or that the store is closed, or read-only. A whole call. */
int shms_call_absent(PyObject *store, PyObject *key, bool change);

/* Raises KeyError(key). PyErr_SetObject alone would take a tuple for the arguments, and None for none. */
void shms_key_error(PyObject *key);
/* Raises TypeError: what is wanted, and the type that was given. */
void shms_type_error(const char *wanted, PyObject *got);

/* Memory of the caller's, and what a value must begin with whose remainder is to fill it (0: it must be bytes). */
#define SHMS_INTO_HEAD 2048u
struct shms_into {
    void *bytes;
    uint64_t room;
    uint32_t head_length;
    uint8_t head[SHMS_INTO_HEAD];
};

/* A value as it was at one moment, copied out of the segment: read.c. */
#define SHMS_VALUE_INLINE 2048u
struct shms_value {
    struct shms_into *into; /* the copy goes there (into.c); NULL: into what follows */
    PyObject *bytes;        /* owns the copy; NULL: it stands in `small` */
    uint64_t length;
    uint64_t version;
    uint64_t expiry; /* at a moment at which this was the value; 0: never */
    uint32_t codec;
    bool is_object; /* `bytes` is the object itself, its msgpack head taken off */
    bool writable;  /* `bytes` is a bytearray: what is made of it may use its memory */
    uint32_t extension_length;
    uint8_t small[SHMS_VALUE_INLINE];
    uint8_t extension[SHMS_EXT_MAX];
};
/* A whole call. whole: as it is stored, in a bytes object. SHMS_OK, SHMS_MISS, or what ended the call; SHMS_UNMET:
 * v->into does not fit, nothing was copied; v->length is the value's if it is bytes. */
int shms_call_read(PyObject *store, PyObject *key, bool whole, struct shms_value *v);
/* A whole call: is the key there? *f may be another life's by now. SHMS_OK, SHMS_MISS, or what ended the call. */
int shms_call_look(PyObject *store, PyObject *key, struct shms_entry *f);
int shms_copy_into(struct shms_call *c, const struct shms_entry *f, struct shms_value *v);
/* Copies bytes out; with the GIL given up if they are many. False: the store is closed. */
bool shms_copy_out(struct shms_call *c, void *to, const uint8_t *from, uint64_t bytes);
/* Of msgpack that is nothing but bytes the length of its head, else 0; to be checked with the rest of the copy. */
uint32_t shms_bytes_head(const struct shms_entry *f);
/* The codec as Python knows it: a number, or the name that stands in the extension. New reference. */
PyObject *shms_value_codec(const struct shms_value *v);
/* The object, decoded here if it is plain, else by store._decode. Takes v->bytes. After shms_call_end: it may run
 * Python code. */
PyObject *shms_value_object(struct shms_value *v, PyObject *store, PyObject *key);

/* One put, from reserve to publish: SHMS_OK with *version, SHMS_UNMET with the version in the way, or a status. */
struct shms_put {
    const char *body;
    uint64_t length;  /* of head and body */
    const void *head; /* stands before the body */
    uint64_t head_length;
    uint8_t bin[5]; /* the head of plain bytes */
    uint32_t codec;
    const void *extension;
    uint32_t extension_length;
    uint64_t expiry;
    enum shms_mode mode;
    uint64_t expected;
    bool keep_expiry;
    bool stays;                                 /* in this segment: after a resize the call ends with SHMS_SUPERSEDED */
    const struct shms_generations *generations; /* of a new entry; NULL: none */
    bool keep_generations;                      /* those of the entry that is replaced. incr does that anyway */
    bool same_generations;                      /* for shms_put_one alone */
    int64_t by, initial;                        /* SHMS_INCR, SHMS_INCR_PRESENT */
    int64_t number;
    uint64_t version;
};
/* Field by field: compilers clear a structure of this size by an instruction that costs 30 cycles. */
static inline void shms_put_init(struct shms_put *p, enum shms_mode mode) {
    p->body = p->head = NULL;
    p->length = p->head_length = 0;
    p->codec = SHMS_CODEC_MSGPACK;
    p->extension = NULL;
    p->extension_length = 0;
    p->expiry = 0;
    p->mode = mode;
    p->expected = 0;
    p->keep_expiry = p->stays = p->keep_generations = p->same_generations = false;
    p->generations = NULL;
    p->by = p->initial = p->number = 0;
    p->version = 0;
}
int shms_put_one(struct shms_call *c, const char *key, uint32_t length, uint32_t kind, struct shms_put *put);
/* SHMS_OK, SHMS_MISS, SHMS_UNMET. */
int shms_remove_one(struct shms_call *c, const char *key, uint32_t length, uint32_t kind, uint64_t expected);
/* SHMS_OK, SHMS_MISS, SHMS_UNMET. */
int shms_touch_one(struct shms_call *c, const char *key, uint32_t length, uint32_t kind, uint64_t expiry,
                   uint64_t expected);
/* A ttl argument in nanoseconds, before shms_call_begin. None: for ever, 0; DEFAULT: the handle's, SHMS_TTL_OF_HANDLE;
 * KEEP: the entry's own, and a new entry gets the handle's, SHMS_TTL_KEEP; a number: seconds. argument: its name, for
 * errors. SHMS_OK or SHMS_RAISED. */
#define SHMS_TTL_OF_HANDLE UINT64_MAX
#define SHMS_TTL_KEEP (UINT64_MAX - 1)
int shms_call_ttl(PyObject *store, PyObject *ttl, const char *argument, uint64_t *nanoseconds);
/* When an entry that is put now expires; after shms_call_begin. */
static inline uint64_t shms_call_expiry(const struct shms_call *c, uint64_t ttl) {
    if (ttl >= SHMS_TTL_KEEP)
        ttl = c->h->ttl;
    return SHMS_UNLIKELY(ttl) ? shms_os_now() + ttl : 0;
}

/* The generations of an entry that is put with these tags (NULL or None: without any) into this store, or namespace: *g,
 * or NULL if there are none. Before the value is made. A whole call, which may run Python code: SHMS_OK, SHMS_RAISED or
 * what ended the call. tags: an iterable of str and bytes, or what _generations() returned. */
int shms_generations_now(PyObject *store, PyObject *tags, struct shms_generations *g,
                         const struct shms_generations **now);
/* The same for an entry with a key of this kind: for most calls, nothing to do. The store's own entries have none. */
static inline int shms_call_generations(PyObject *store, uint32_t kind, PyObject *tags, struct shms_generations *g,
                                        const struct shms_generations **now) {
    *now = NULL;
    if (SHMS_LIKELY(!shms_is_inside(store) && (!tags || tags == Py_None)))
        return SHMS_OK;
    return kind == SHMS_FLAG_KEPT ? SHMS_OK : shms_generations_now(store, tags, g, now);
}
/* Within a call: the id of the namespace, which is made if it is not there and the handle may write. SHMS_OK, or what ends
 * the call. The lower half is its counter. */
int shms_inside_id(struct shms_call *c, uint64_t *id);

/* Raises an exception that Python made, NULL: it raised itself. Takes the reference; NULL. */
PyObject *shms_raise(PyObject *error);
/* Raises what store._fail makes of a status; NULL. */
PyObject *shms_store_failed(PyObject *self, PyObject *key, int status);
/* asked: bytes that there was no room for */
PyObject *shms_store_failed_for(PyObject *self, PyObject *key, int status, uint64_t asked);

/* The module with this state, and its type StoreCalls. */
extern PyModuleDef shms_module_definition;
PyObject *shms_make_type(PyObject *module);
PyObject *shms_make_walk_type(PyObject *module);
PyObject *shms_make_keys_type(PyObject *module);
PyObject *shms_make_sized_type(PyObject *module);
/* The methods of StoreCalls. Those named _unguarded do not ask what a Cache does about a failure (rescue.h). */
PyObject *shms_get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_get_unguarded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_get_versioned(PyObject *self, PyObject *key);
PyObject *shms_get_with_ttl(PyObject *self, PyObject *key);
PyObject *shms_value_and_version(PyObject *self, PyObject *key);
PyObject *shms_subscript(PyObject *self, PyObject *key);
int shms_contains(PyObject *self, PyObject *key);
PyObject *shms_put(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_add(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_add_unguarded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_replace(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_cas(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_cas_unguarded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_delete(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_delete_unguarded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_put_with_cost(PyObject *self, PyObject *const *args, Py_ssize_t count);
int shms_assign(PyObject *self, PyObject *key, PyObject *value);
PyObject *shms_incr(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_decr(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_get_as_stored(PyObject *self, PyObject *key);
PyObject *shms_version(PyObject *self, PyObject *key);
PyObject *shms_time_left(PyObject *self, PyObject *key);
/* Seconds as a float until this expiry, which had not passed when it was read; None for 0. */
PyObject *shms_seconds_left(uint64_t expiry);
PyObject *shms_describe(PyObject *self, PyObject *key);
PyObject *shms_get_touching(PyObject *self, PyObject *key, PyObject *instead, PyObject *ttl);
PyObject *shms_put_if(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *shms_touch(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *shms_view_of(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *shms_wait_for(PyObject *self, PyObject *key, PyObject *after, PyObject *timeout, PyObject *spin);
PyObject *shms_wait_slice(PyObject *self, PyObject *const *args, Py_ssize_t count);
/* Is this instance of a subclass of bytes one of KeptBytes: the key of an entry of the store's own? */
bool shms_is_kept(PyObject *bytes);
PyObject *shms_make_kept_type(PyObject *module);
PyObject *shms_through(PyObject *module, PyObject *arguments);
PyObject *shms_make_guard_type(PyObject *module);
PyObject *shms_owner(PyObject *self, PyObject *none);
PyObject *shms_is_gone(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *shms_value_and_life(PyObject *self, PyObject *key);
PyObject *shms_cost(PyObject *self, PyObject *key);
PyObject *shms_get_into(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *shms_get_many(PyObject *self, PyObject *keys);
PyObject *shms_put_many(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *shms_delete_many(PyObject *self, PyObject *keys);
PyObject *shms_evict_tag(PyObject *self, PyObject *tag);
PyObject *shms_generations(PyObject *self, PyObject *tags);
PyObject *shms_confine(PyObject *self, PyObject *path);
PyObject *shms_raw_key(PyObject *self, PyObject *key);
PyObject *shms_inside(PyObject *self, PyObject *none);
PyObject *shms_clear_inside(PyObject *self, PyObject *none);
PyObject *shms_walk_keys(PyObject *self, PyObject *args);
PyObject *shms_find_likely_slot(PyObject *self, PyObject *near);
PyObject *shms_keys_of(PyObject *self, PyObject *args);
/* How many keys a walk through all finds; or whether there are any, 0 or 1. -1: an exception. */
Py_ssize_t shms_walk_length(PyObject *self, bool any);
Py_ssize_t shms_store_length(PyObject *self);
int shms_store_is_true(PyObject *self);
PyObject *shms_open_store(PyObject *self, PyObject *args);
PyObject *shms_close_store(PyObject *self, PyObject *none);
PyObject *shms_enter_store(PyObject *self, PyObject *none);
PyObject *shms_exit_store(PyObject *self, PyObject *const *args, Py_ssize_t count);

/* In the stable ABI since 3.2, and exported by every version since, though the headers of some leave them out;
 * PyObject_GetBuffer, which does the same, joined it in 3.11. They let go of the memory: hence a memoryview holds it. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
extern int PyObject_AsReadBuffer(PyObject *object, const void **bytes, Py_ssize_t *length);
extern int PyObject_AsWriteBuffer(PyObject *object, void **bytes, Py_ssize_t *length);

/* The record with this type in an extension, and its length; NULL: there is none. */
const uint8_t *shms_extension_record(const struct shms_value *v, uint16_t type, uint16_t *length);
/* What an object could not be packed for, or bytes not be unpacked, as an exception that is raised: *result is REFUSED or
 * RAISED, and the exception pending with RAISED is taken up. NULL. */
PyObject *shms_unpack_raise(struct shms_module *state, size_t length, const struct shms_unpack_error *error);
/* The exception that is pending, as an object with its traceback, not pending any more. NULL: there was none. */
PyObject *shms_take_exception(void);

#endif
