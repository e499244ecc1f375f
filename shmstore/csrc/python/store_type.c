/* store_type.c: the base type of stores: the hot calls as methods, with nothing of Python's between call and engine.
 *
 * A subclass (shmstore/store.py) adds everything else. These methods use of it
 *   _fail(status, asked or None, key) -> exception     _no_key(object) -> exception
 *   _decode(codec, bytes, key) -> object
 *   _encode_parts(object, key) -> bytes, or (head, memory): memory that is copied from where it lies
 *   _unencodable(key, object, exception), _undecodable(key, ...) -> exception      _ttl_ns(duration, argument) -> int
 *   _wait(key, after, timeout, spin, passed) -> int
 *   _get_typed(key, default, type, touch) -> object
 *   _memory_of(array) -> (bytes, memory)    _unfit(key, buffer, length, room) -> exception     for get_into
 *   _hand_over(key) -> (object,) or None   for copies  _view_failure(key, status) -> exception
 *   _no_tags(tags, count) -> exception
 *   _no_version(method, key, version), _no_count(method, key, argument, number), _no_create(method, key, create) -> exception
 *   _log_events(pid, deaths)
 *   _rescue(method, exception, arguments, keywords, tries) -> None, or (result,)     _add_over_unreadable(key, value, ttl) -> bool
 * each of which runs Python code, so none is called between shms_call_begin and shms_call_end. */
#include "api/api.h"
#include "python/arguments.h"
#include "python/docs.h"
#include "python/rescue.h"

#include <structmember.h>

#define NOT_ASKED UINT64_MAX

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

/* ---- reading */

/* The value; NULL without an exception: it is not there. */
static PyObject *get_value(PyObject *self, PyObject *key) {
    struct shms_value v;
    v.into = NULL;
    int rc = shms_call_read(self, key, false, &v);
    if (SHMS_LIKELY(rc == SHMS_OK))
        return shms_value_object(&v, self, key);
    return rc == SHMS_MISS ? NULL : fail(self, key, rc, NOT_ASKED);
}

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "default", "type", "touch"};
    static const struct shms_signature signature = {"get", names, 4, 1, 2};
    PyObject *a[4] = {NULL, Py_None, Py_None, NULL};
    if (!shms_parse(&signature, args, count, keywords, a))
        return NULL;
    if (SHMS_UNLIKELY(a[3] && a[3] != shms_module_of(self)->keep))
        return a[2] == Py_None ? shms_get_touching(self, a[0], a[1], a[3])
                               : PyObject_CallMethod(self, "_get_typed", "OOOO", a[0], a[1], a[2], a[3]);
    if (a[2] != Py_None)
        return PyObject_CallMethod(self, "_get_typed", "OOO", a[0], a[1], a[2]);
    PyObject *value = get_value(self, a[0]);
    if (SHMS_LIKELY(value != NULL) || PyErr_Occurred())
        return value;
    Py_INCREF(a[1]);
    return a[1];
}

/* For a copy that C code is making: the value that was listed with this key. NULL without an exception: it is for no copy. */
static PyObject *handed_over(PyObject *self, PyObject *key) {
    PyObject *found = PyObject_CallMethodObjArgs(self, shms_module_of(self)->hand_over, key, NULL);
    PyObject *value = found && PyTuple_Check(found) ? PyTuple_GetItem(found, 0) : NULL;
    Py_XINCREF(value);
    Py_XDECREF(found);
    return value;
}

/* (value, version or seconds left), NULL without an exception: it is not there. */
static PyObject *value_and(PyObject *self, PyObject *key, bool left) {
    struct shms_value v;
    v.into = NULL;
    int rc = shms_call_read(self, key, false, &v);
    if (rc != SHMS_OK)
        return rc == SHMS_MISS ? NULL : fail(self, key, rc, NOT_ASKED);
    uint64_t version = v.version, expiry = v.expiry;
    PyObject *value = shms_value_object(&v, self, key), *other = !value ? NULL
                                                                 : left ? shms_seconds_left(expiry)
                                                                        : PyLong_FromUnsignedLongLong(version);
    PyObject *both = other ? PyTuple_Pack(2, value, other) : NULL;
    Py_XDECREF(value);
    Py_XDECREF(other);
    return both;
}

static PyObject *get_versioned(PyObject *self, PyObject *key) {
    PyObject *both = value_and(self, key, false);
    if (!both && !PyErr_Occurred())
        shms_key_error(key);
    return both;
}

static PyObject *get_with_ttl(PyObject *self, PyObject *key) {
    PyObject *both = value_and(self, key, true);
    if (!both && !PyErr_Occurred())
        shms_key_error(key);
    return both;
}

/* _value_and_version(key): the same, or None */
static PyObject *value_and_version_or_none(PyObject *self, PyObject *key) {
    PyObject *both = value_and(self, key, false);
    if (both || PyErr_Occurred())
        return both;
    Py_RETURN_NONE;
}

static PyObject *subscript(PyObject *self, PyObject *key) {
    PyObject *copies = ((struct shms_store_object *)self)->copies;
    if (SHMS_UNLIKELY(copies && PyDict_Size(copies) > 0) && PyEval_GetFrame()) { /* a copy is made by a frame */
        PyObject *value = handed_over(self, key);
        if (value || PyErr_Occurred())
            return value;
    }
    PyObject *value = get_value(self, key);
    if (!value && !PyErr_Occurred())
        shms_key_error(key);
    return value;
}

static int contains(PyObject *self, PyObject *key) {
    struct shms_entry f;
    int rc = shms_call_look(self, key, &f);
    if (SHMS_LIKELY(rc == SHMS_OK || rc == SHMS_MISS))
        return rc == SHMS_OK;
    fail(self, key, rc, NOT_ASKED);
    return -1;
}

/* ---- writing */

int shms_unencodable(PyObject *store, PyObject *key, PyObject *value) {
    PyObject *cause = shms_take_exception();
    if (cause)
        shms_raise(PyObject_CallMethod(store, "_unencodable", "OOO", key, value, cause));
    Py_XDECREF(cause);
    return SHMS_RAISED;
}

/* A codec of the user's own: its name stands in an extension of the block (docs/format.md). */
static bool name_codec(PyObject *store, struct shms_encoded *e, struct shms_put *p) {
    Py_ssize_t n;
    PyObject *name = PyObject_GetAttrString(store, "_codec_number");
    const char *text = name ? PyUnicode_AsUTF8AndSize(name, &n) : NULL;
    if (text && n > SHMS_CODEC_NAME_MAX)
        PyErr_SetString(PyExc_ValueError, "a codec's name has at most 64 bytes");
    if (text && n <= SHMS_CODEC_NAME_MAX) {
        p->extension = e->extension;
        p->extension_length = shms_codec_extension(e->extension, text, n);
    }
    Py_XDECREF(name);
    return p->extension != NULL;
}

/* The body is the memory of e->bytes[1]. It is held here and not by a Python variable: in a frame that a traceback keeps, a
 * memoryview with something that holds it crashes the garbage collector of Python. */
static int hold_memory(struct shms_encoded *e, struct shms_put *p) {
    const void *bytes;
    Py_ssize_t length;
    PyObject *held = PyMemoryView_FromObject(PyTuple_GetItem(e->bytes, 1));
    PyObject *both = held ? PyTuple_Pack(2, e->bytes, held) : NULL;
    int rc = both ? PyObject_AsReadBuffer(held, &bytes, &length) : -1;
    Py_XDECREF(held);
    if (both) {
        Py_DECREF(e->bytes);
        e->bytes = both;
    }
    if (rc < 0)
        return SHMS_RAISED;
    p->body = bytes;
    p->length += (uint64_t)length;
    return SHMS_OK;
}

/* What a handle of codec "pickle" stores as msgpack, so that incr, view and other handles can use it. What msgpack itself
 * does not hold (an int of more than 64 bits, a str with a lone surrogate, 4 GiB) is pickled all the same. */
static bool is_scalar(PyObject *value) {
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type || type == &PyBytes_Type) {
        Py_ssize_t length = 0;
        bool is_text = type == &PyUnicode_Type;
        if (is_text && !PyUnicode_AsUTF8AndSize(value, &length)) {
            PyErr_Clear(); /* of the interpreter's own: no other code ran */
            return false;
        }
        return (uint64_t)(is_text ? length : PyBytes_Size(value)) <= UINT32_MAX;
    }
    if (type == &PyLong_Type) {
        int overflow;
        PyLong_AsLongLongAndOverflow(value, &overflow);
        return overflow == 0;
    }
    return type == &PyFloat_Type || type == &PyBool_Type || value == Py_None;
}

int shms_encode(PyObject *store, PyObject *key, PyObject *value, struct shms_encoded *e, struct shms_put *p) {
    struct shms_handle *h = shms_handle_get(shms_handle_of(store));
    char *bytes;
    Py_ssize_t length;
    shms_packed_init(&e->packed);
    e->bytes = NULL;
    p->head_length = 0;
    p->codec = h ? h->codec : SHMS_CODEC_MSGPACK; /* of a closed handle: the call will say so */
    if (SHMS_UNLIKELY(p->codec == SHMS_CODEC_PICKLE && is_scalar(value)))
        p->codec = SHMS_CODEC_MSGPACK;
    if (Py_TYPE(value) == &PyBytes_Type && (p->codec == SHMS_CODEC_MSGPACK || p->codec == SHMS_CODEC_RAW)) {
        PyBytes_AsStringAndSize(value, &bytes, &length);
        if (p->codec == SHMS_CODEC_MSGPACK && (uint64_t)length <= UINT32_MAX)
            p->head_length = shms_pack_bin_head(p->bin, (uint64_t)length);
        p->head = p->bin;
        if (p->head_length || p->codec == SHMS_CODEC_RAW) {
            p->body = bytes;
            p->length = p->head_length + (uint64_t)length;
            return SHMS_OK;
        }
    }
    if (SHMS_UNLIKELY(p->codec == SHMS_CODEC_NAMED) && !name_codec(store, e, p))
        return SHMS_RAISED;
    if (p->codec == SHMS_CODEC_MSGPACK) {
        enum shms_pack_result packed = shms_pack(&e->packed, value, &shms_module_of(store)->types);
        if (SHMS_LIKELY(packed == SHMS_PACKED)) {
            p->body = (char *)e->packed.bytes;
            p->length = e->packed.length;
            return SHMS_OK;
        }
        if (packed == SHMS_PACK_NO_MEMORY)
            return SHMS_NO_MEMORY;
        e->packed.length = 0;
        if (packed == SHMS_PACK_RAISED)
            return shms_unencodable(store, key, value);
    }
    e->bytes = PyObject_CallMethodObjArgs(store, shms_module_of(store)->encode_parts, value, key, NULL);
    if (!e->bytes)
        return SHMS_RAISED;
    bool in_parts = PyTuple_Check(e->bytes) && PyTuple_Size(e->bytes) == 2;
    if (PyBytes_AsStringAndSize(in_parts ? PyTuple_GetItem(e->bytes, 0) : e->bytes, &bytes, &length) < 0)
        return SHMS_RAISED;
    p->body = bytes;
    p->length = (uint64_t)length;
    if (in_parts) {
        p->head = bytes;
        p->head_length = (uint64_t)length;
        return hold_memory(e, p);
    }
    return SHMS_OK;
}

void shms_encoded_free(struct shms_encoded *e) {
    shms_packed_free(&e->packed);
    Py_XDECREF(e->bytes);
}

/* One value under one condition: SHMS_OK with the version, SHMS_UNMET, SHMS_RAISED. ttl: NULL is the handle's. */
struct condition {
    enum shms_mode mode;
    uint64_t expected;
    uint64_t cost; /* what computing the value took, in ns; 0: it is not told */
};
static const struct condition always = {SHMS_SET, 0, 0};

static int put_value(PyObject *self, PyObject *key, PyObject *value, PyObject *ttl_given, PyObject *tags,
                     const struct condition *condition, uint64_t *version) {
    struct shms_call c;
    struct shms_put p;
    struct shms_encoded e;
    const char *bytes;
    uint32_t length, kind;
    uint64_t ttl = SHMS_TTL_OF_HANDLE;
    if (ttl_given && shms_call_ttl(self, ttl_given, "ttl", &ttl) != SHMS_OK)
        return SHMS_RAISED;
    struct shms_generations g;
    shms_put_init(&p, condition->mode);
    int rc = shms_call_key(&c, self, key, &bytes, &length, &kind);
    p.keep_generations = tags && tags == shms_module_of(self)->keep;
    if (SHMS_LIKELY(rc == SHMS_OK)) /* before the value is made */
        rc = shms_call_generations(self, kind, p.keep_generations ? NULL : tags, &g, &p.generations);
    if (SHMS_UNLIKELY(rc != SHMS_OK)) {
        shms_call_end(&c);
        fail(self, key, rc, NOT_ASKED);
        return SHMS_RAISED;
    }
    p.expected = condition->expected;
    p.keep_expiry = ttl == SHMS_TTL_KEEP;
    rc = shms_encode(self, key, value, &e, &p);
    if (SHMS_UNLIKELY(condition->cost) && rc == SHMS_OK)
        shms_cost_extension(&e, &p, condition->cost);
    if (SHMS_LIKELY(rc == SHMS_OK && (rc = shms_call_enter(&c, self)) == SHMS_OK)) {
        p.expiry = shms_call_expiry(&c, ttl);
        rc = shms_put_one(&c, bytes, length, kind, &p);
    }
    shms_call_end(&c);
    shms_encoded_free(&e);
    *version = p.version;
    if (SHMS_LIKELY(rc == SHMS_OK || rc == SHMS_UNMET))
        return rc;
    fail(self, key, rc, p.length);
    return SHMS_RAISED;
}

/* For methods that tell whether their condition held. In a Cache, an entry that cannot be read is no obstacle to add. */
static PyObject *put_if(PyObject *self, PyObject *key, PyObject *value, PyObject *ttl, PyObject *tags,
                        const struct condition *condition) {
    uint64_t version;
    int rc = put_value(self, key, value, ttl, tags, condition, &version);
    if (rc == SHMS_UNMET && condition->mode == SHMS_ADD && ((struct shms_store_object *)self)->rescues)
        return PyObject_CallMethod(self, "_add_over_unreadable", "OOOO", key, value,
                                   ttl ? ttl : shms_module_of(self)->fallback, tags ? tags : Py_None);
    return rc == SHMS_RAISED ? NULL : PyBool_FromLong(rc == SHMS_OK);
}

static PyObject *put(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "value", "ttl", "tags"};
    static const struct shms_signature signature = {"put", names, 4, 2, 2};
    PyObject *a[4] = {NULL, NULL, NULL, NULL};
    uint64_t version;
    if (!shms_parse(&signature, args, count, keywords, a) ||
        put_value(self, a[0], a[1], a[2], a[3], &always, &version) != SHMS_OK)
        return NULL;
    return PyLong_FromUnsignedLongLong(version);
}

/* _put_with_cost(key, value, ttl, ns, tags): version */
static PyObject *put_with_cost(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct condition condition = {SHMS_SET, 0, 0};
    uint64_t version;
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "_put_with_cost() takes a key, a value, a ttl, nanoseconds and tags");
        return NULL;
    }
    condition.cost = PyLong_AsUnsignedLongLong(args[3]);
    if (PyErr_Occurred() || put_value(self, args[0], args[1], args[2], args[4], &condition, &version) != SHMS_OK)
        return NULL;
    return PyLong_FromUnsignedLongLong(version);
}

static PyObject *add(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "value", "ttl", "tags"};
    static const struct shms_signature signature = {"add", names, 4, 2, 2};
    static const struct condition absent = {SHMS_ADD, 0, 0};
    PyObject *a[4] = {NULL, NULL, NULL, NULL};
    return shms_parse(&signature, args, count, keywords, a) ? put_if(self, a[0], a[1], a[2], a[3], &absent) : NULL;
}

static PyObject *replace(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "value", "ttl", "tags"};
    static const struct shms_signature signature = {"replace", names, 4, 2, 2};
    static const struct condition present = {SHMS_REPLACE, 0, 0};
    PyObject *a[4] = {NULL, NULL, NULL, NULL};
    return shms_parse(&signature, args, count, keywords, a) ? put_if(self, a[0], a[1], a[2], a[3], &present) : NULL;
}

static bool parse_version(PyObject *self, const char *method, PyObject *key, PyObject *object, uint64_t *version) {
    if (PyLong_Check(object) && !PyBool_Check(object)) {
        *version = PyLong_AsUnsignedLongLong(object);
        if (*version != UINT64_MAX || !PyErr_Occurred())
            return true;
        PyErr_Clear(); /* OverflowError, of the interpreter itself */
    }
    shms_raise(PyObject_CallMethod(self, "_no_version", "sOO", method, key, object));
    return false;
}

static PyObject *cas(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "value", "version", "ttl", "tags"};
    static const struct shms_signature signature = {"cas", names, 5, 3, 3};
    struct condition unchanged = {SHMS_CAS, 0, 0};
    PyObject *a[5] = {NULL, NULL, NULL, NULL, NULL};
    if (!shms_parse(&signature, args, count, keywords, a) ||
        !parse_version(self, "cas", a[0], a[2], &unchanged.expected))
        return NULL;
    return put_if(self, a[0], a[1], a[3], a[4], &unchanged);
}

/* expected: the version to remove; 0 = any. True gone, False was not there, -1 raised */
static int erase(PyObject *self, PyObject *key, uint64_t expected) {
    struct shms_call c;
    const char *bytes;
    uint32_t length, kind;
    int rc = shms_call_key(&c, self, key, &bytes, &length, &kind);
    if (rc == SHMS_OK && (rc = shms_call_enter(&c, self)) == SHMS_OK)
        rc = shms_remove_one(&c, bytes, length, kind, expected);
    shms_call_end(&c);
    if (rc == SHMS_NO_KEY)
        rc = shms_call_absent(self, key, true);
    if (rc == SHMS_OK || rc == SHMS_MISS || rc == SHMS_UNMET)
        return rc == SHMS_OK;
    fail(self, key, rc, NOT_ASKED);
    return -1;
}

static PyObject *delete(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "version"};
    static const struct shms_signature signature = {"delete", names, 2, 1, 2};
    PyObject *a[2] = {NULL, Py_None};
    uint64_t version = 0;
    if (!shms_parse(&signature, args, count, keywords, a) ||
        (a[1] != Py_None && !parse_version(self, "delete", a[0], a[1], &version)))
        return NULL;
    int gone;
    if (a[1] != Py_None && !version) { /* no entry has it: what wait() says of an absent key */
        int rc = shms_call_absent(self, a[0], true);
        gone = rc == SHMS_MISS ? 0 : (fail(self, a[0], rc, NOT_ASKED), -1);
    } else
        gone = erase(self, a[0], version);
    return gone < 0 ? NULL : PyBool_FromLong(gone);
}

static int assign(PyObject *self, PyObject *key, PyObject *value) {
    uint64_t version;
    if (value)
        return put_value(self, key, value, NULL, NULL, &always, &version) == SHMS_OK ? 0 : -1;
    int gone = erase(self, key, 0);
    if (gone == 0)
        shms_key_error(key);
    return gone == 1 ? 0 : -1;
}

/* ---- the rest is made elsewhere */

static PyObject *wait(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "after", "timeout", "spin"};
    static const struct shms_signature signature = {"wait", names, 4, 1, 1};
    PyObject *a[4] = {NULL, Py_None, Py_None, NULL};
    return shms_parse(&signature, args, count, keywords, a) ? shms_wait_for(self, a[0], a[1], a[2], a[3]) : NULL;
}

/* ---- the methods as a Cache has them (rescue.h) */

GUARDED(get, "get")
GUARDED(put, "put")
GUARDED(add, "add")
GUARDED(replace, "replace")
GUARDED(cas, "cas")
GUARDED(delete, "delete")
GUARDED(wait, "wait")
GUARDED(shms_view_of, "view")
GUARDED_ONE(get_versioned, "get_versioned")
GUARDED_ONE(get_with_ttl, "get_with_ttl")
GUARDED_ONE(value_and_version_or_none, "_value_and_version")
GUARDED_ONE(shms_value_and_life, "_value_and_life")
GUARDED_ONE(subscript, "__getitem__")
GUARDED_PLAIN(shms_get_into, "get_into")
/* The calls of leases and locks: only a cache that was removed makes them come back. */
GUARDED_ONE(shms_owner, "_owner")
GUARDED_ONE(shms_cost, "_cost")
GUARDED_PLAIN(shms_put_if, "_put_if_")
GUARDED_PLAIN(shms_is_gone, "_is_gone")
GUARDED_PLAIN(shms_wait_slice, "_wait_slice")
GUARDED_PLAIN(put_with_cost, "_put_with_cost")
GUARDED_ONE(shms_evict_tag, "evict_tag")
GUARDED_ONE(shms_generations, "_generations")
GUARDED_ONE(shms_inside, "_inside")
GUARDED_ONE(shms_raw_key, "_raw_key")
GUARDED_ONE(shms_clear_inside, "clear")

/* What a call that returns an int says instead: that of the object; -1 with an exception. Takes the reference. */
static Py_ssize_t number_of(PyObject *result) {
    Py_ssize_t number = !result ? -1 : result == Py_None ? 0 : PyLong_AsSsize_t(result);
    Py_XDECREF(result);
    return number;
}

static int contains_guarded(PyObject *self, PyObject *key) {
    PyObject *instead;
    int found;
    for (unsigned tries = 0; SHMS_UNLIKELY((found = contains(self, key)) < 0); tries++)
        if (!shms_rescue(self, "__contains__", &key, 1, NULL, tries, &instead))
            return (int)number_of(instead);
    return found;
}

static int assign_guarded(PyObject *self, PyObject *key, PyObject *value) {
    PyObject *instead, *args[] = {key, value};
    int rc;
    for (unsigned tries = 0; SHMS_UNLIKELY((rc = assign(self, key, value)) < 0); tries++)
        if (!shms_rescue(self, value ? "__setitem__" : "__delitem__", args, value ? 2 : 1, NULL, tries, &instead))
            return (int)number_of(instead);
    return rc;
}

static Py_ssize_t length_guarded(PyObject *self) {
    PyObject *instead;
    Py_ssize_t length;
    for (unsigned tries = 0; SHMS_UNLIKELY((length = shms_store_length(self)) < 0); tries++)
        if (!shms_rescue(self, "__len__", NULL, 0, NULL, tries, &instead))
            return number_of(instead);
    return length;
}

static int is_true_guarded(PyObject *self) {
    PyObject *instead;
    int any;
    for (unsigned tries = 0; SHMS_UNLIKELY((any = shms_store_is_true(self)) < 0); tries++)
        if (!shms_rescue(self, "__bool__", NULL, 0, NULL, tries, &instead))
            return (int)number_of(instead);
    return any;
}

/* ---- the type
 *
 * An instance keeps its module alive: garbage may be taken apart in any order, and finalizers of other objects in it
 * may still call methods here after the type has let go of the module. Its end closes the handle, here and not in a
 * __del__: at shutdown the Python modules may be empty already, and a signal handler may raise in Python code. */

/* Of StoreCalls or what is derived from it. */
static struct shms_module *state_of(PyTypeObject *type) {
    for (; type; type = PyType_GetSlot(type, Py_tp_base)) {
        PyObject *module = PyType_GetModule(type); /* of exactly this type: those below have none, or another one's */
        if (module && PyModule_GetDef(module) == &shms_module_definition)
            return PyModule_GetState(module);
        PyErr_Clear();
    }
    PyErr_SetString(PyExc_SystemError, "StoreCalls has lost its module");
    return NULL;
}

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    struct shms_module *state = state_of(type);
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct shms_store_object *self = state ? (struct shms_store_object *)allocate(type, 0) : NULL;
    if (self) {
        self->state = state;
        Py_INCREF(state->module);
        self->next = state->stores;
        self->link = &state->stores;
        if (self->next)
            self->next->link = &self->next;
        state->stores = self;
    }
    return (PyObject *)self;
}

static int traverse(PyObject *self, visitproc visit, void *arg) {
    struct shms_module *state = shms_module_of(self);
    Py_VISIT(Py_TYPE(self));
    if (state) /* a collection may come between allocate and the line behind it */
        Py_VISIT(state->module);
    Py_VISIT(((struct shms_store_object *)self)->copies);
    Py_VISIT(((struct shms_store_object *)self)->path);
    return 0;
}

static int clear(PyObject *self) {
    Py_CLEAR(((struct shms_store_object *)self)->copies);
    return 0;
}

static void unmake(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    struct shms_store_object *self = (struct shms_store_object *)object;
    PyObject *module = self->state->module;
    PyObject_GC_UnTrack(object);
    clear(object);
    Py_CLEAR(self->path); /* not in clear(): a call in a cycle that is taken apart would leave the namespace */
    shms_close(self->handle);
    *self->link = self->next;
    if (self->next)
        self->next->link = self->link;
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
    Py_DECREF(module);
}

#define FAST(f) ((PyCFunction)(void (*)(void))(f))
static PyMethodDef methods[] = {
    {"get", FAST(get_guarded), METH_FASTCALL | METH_KEYWORDS, get_doc},
    {"get_into", FAST(shms_get_into_guarded), METH_FASTCALL, get_into_doc},
    {"put", FAST(put_guarded), METH_FASTCALL | METH_KEYWORDS, put_doc},
    {"add", FAST(add_guarded), METH_FASTCALL | METH_KEYWORDS, add_doc},
    {"replace", FAST(replace_guarded), METH_FASTCALL | METH_KEYWORDS, replace_doc},
    {"cas", FAST(cas_guarded), METH_FASTCALL | METH_KEYWORDS, cas_doc},
    {"get_versioned", get_versioned_guarded, METH_O, get_versioned_doc},
    {"get_with_ttl", get_with_ttl_guarded, METH_O, get_with_ttl_doc},
    {"_value_and_version", value_and_version_or_none_guarded, METH_O, NULL},
    {"_get", FAST(get), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_add", FAST(add), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_cas", FAST(cas), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_delete", FAST(delete), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_put_if_", FAST(shms_put_if_guarded), METH_FASTCALL, NULL},
    {"delete", FAST(delete_guarded), METH_FASTCALL | METH_KEYWORDS, delete_doc},
    {"incr", FAST(shms_incr), METH_FASTCALL | METH_KEYWORDS, incr_doc},
    {"decr", FAST(shms_decr), METH_FASTCALL | METH_KEYWORDS, decr_doc},
    {"wait", FAST(wait_guarded), METH_FASTCALL | METH_KEYWORDS, wait_doc},
    {"_wait_slice", FAST(shms_wait_slice_guarded), METH_FASTCALL, NULL},
    {"_owner", shms_owner_guarded, METH_NOARGS, NULL},
    {"_is_gone", FAST(shms_is_gone_guarded), METH_FASTCALL, NULL},
    {"_value_and_life", shms_value_and_life_guarded, METH_O, NULL},
    {"_cost", shms_cost_guarded, METH_O, NULL},
    {"_put_with_cost", FAST(put_with_cost_guarded), METH_FASTCALL, NULL},
    {"evict_tag", shms_evict_tag_guarded, METH_O, evict_tag_doc},
    {"_generations", shms_generations_guarded, METH_O, NULL},
    {"_confine", shms_confine, METH_O, NULL},
    {"_raw_key", shms_raw_key_guarded, METH_O, NULL},
    {"_inside", shms_inside_guarded, METH_NOARGS, NULL},
    {"_clear_inside", shms_clear_inside_guarded, METH_NOARGS, NULL},
    {"_get_versioned", shms_get_versioned, METH_O, NULL},
    {"_version", shms_version, METH_O, NULL},
    {"_time_left", shms_time_left, METH_O, NULL},
    {"_describe", shms_describe, METH_O, NULL},
    {"_touch", FAST(shms_touch), METH_FASTCALL, NULL},
    {"view", FAST(shms_view_of_guarded), METH_FASTCALL | METH_KEYWORDS, view_doc},
    {"close", shms_close_store, METH_NOARGS, close_doc},
    {"__enter__", shms_enter_store, METH_NOARGS, NULL},
    {"__exit__", FAST(shms_exit_store), METH_FASTCALL, NULL},
    {"_open_handle", shms_open_store, METH_VARARGS, NULL},
    {"_walk", shms_walk_keys, METH_VARARGS, NULL},
    {"_likely_slot", shms_find_likely_slot, METH_O, NULL},
    {"_keys", shms_keys_of, METH_VARARGS, NULL},
    {"_get_many", shms_get_many, METH_O, NULL},
    {"_put_many", FAST(shms_put_many), METH_FASTCALL, NULL},
    {"_delete_many", shms_delete_many, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef members[] = {
    {"_handle", T_LONGLONG, offsetof(struct shms_store_object, handle), READONLY, NULL},
    {"_copies", T_OBJECT, offsetof(struct shms_store_object, copies), 0, NULL},
    {"_rescues", T_BOOL, offsetof(struct shms_store_object, rescues), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_new, make},
    {Py_tp_dealloc, unmake},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_mp_length, length_guarded},
    {Py_nb_bool, is_true_guarded},
    {Py_mp_subscript, subscript_guarded},
    {Py_mp_ass_subscript, assign_guarded},
    {Py_sq_contains, contains_guarded},
    {0, NULL},
};
static PyType_Spec spec = {
    .name = "shmstore._base.calls.StoreCalls",
    .basicsize = sizeof(struct shms_store_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

PyObject *shms_make_type(PyObject *module) { return PyType_FromModuleAndSpec(module, &spec, NULL); }
