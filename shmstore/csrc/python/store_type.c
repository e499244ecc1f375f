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

static PyObject *wait(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "after", "timeout", "spin"};
    static const struct shms_signature signature = {"wait", names, 4, 1, 1};
    PyObject *a[4] = {NULL, Py_None, Py_None, NULL};
    return shms_parse(&signature, args, count, keywords, a) ? shms_wait_for(self, a[0], a[1], a[2], a[3]) : NULL;
}

/* ---- methods as a Cache has them (rescue.h); get.c, put.c, counter.c and length.c define theirs */

GUARDED(wait, "wait")
GUARDED(shms_view_of, "view")
GUARDED_ONE(shms_value_and_life, "_value_and_life")
GUARDED_PLAIN(shms_get_into, "get_into")
/* The calls of leases and locks: only a cache that was removed makes them come back. */
GUARDED_ONE(shms_owner, "_owner")
GUARDED_ONE(shms_cost, "_cost")
GUARDED_PLAIN(shms_put_if, "_put_if_")
GUARDED_PLAIN(shms_is_gone, "_is_gone")
GUARDED_PLAIN(shms_wait_slice, "_wait_slice")
GUARDED_PLAIN(shms_put_with_cost, "_put_with_cost")
GUARDED_ONE(shms_evict_tag, "evict_tag")
GUARDED_ONE(shms_generations, "_generations")
GUARDED_ONE(shms_inside, "_inside")
GUARDED_ONE(shms_raw_key, "_raw_key")
GUARDED_ONE(shms_clear_inside, "clear")

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
    {"get", FAST(shms_get), METH_FASTCALL | METH_KEYWORDS, get_doc},
    {"get_into", FAST(shms_get_into_guarded), METH_FASTCALL, get_into_doc},
    {"put", FAST(shms_put), METH_FASTCALL | METH_KEYWORDS, put_doc},
    {"add", FAST(shms_add), METH_FASTCALL | METH_KEYWORDS, add_doc},
    {"replace", FAST(shms_replace), METH_FASTCALL | METH_KEYWORDS, replace_doc},
    {"cas", FAST(shms_cas), METH_FASTCALL | METH_KEYWORDS, cas_doc},
    {"get_versioned", shms_get_versioned, METH_O, get_versioned_doc},
    {"get_with_ttl", shms_get_with_ttl, METH_O, get_with_ttl_doc},
    {"_value_and_version", shms_value_and_version, METH_O, NULL},
    {"_get", FAST(shms_get_unguarded), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_add", FAST(shms_add_unguarded), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_cas", FAST(shms_cas_unguarded), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_delete", FAST(shms_delete_unguarded), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"_put_if_", FAST(shms_put_if_guarded), METH_FASTCALL, NULL},
    {"delete", FAST(shms_delete), METH_FASTCALL | METH_KEYWORDS, delete_doc},
    {"incr", FAST(shms_incr), METH_FASTCALL | METH_KEYWORDS, incr_doc},
    {"decr", FAST(shms_decr), METH_FASTCALL | METH_KEYWORDS, decr_doc},
    {"wait", FAST(wait_guarded), METH_FASTCALL | METH_KEYWORDS, wait_doc},
    {"_wait_slice", FAST(shms_wait_slice_guarded), METH_FASTCALL, NULL},
    {"_owner", shms_owner_guarded, METH_NOARGS, NULL},
    {"_is_gone", FAST(shms_is_gone_guarded), METH_FASTCALL, NULL},
    {"_value_and_life", shms_value_and_life_guarded, METH_O, NULL},
    {"_cost", shms_cost_guarded, METH_O, NULL},
    {"_put_with_cost", FAST(shms_put_with_cost_guarded), METH_FASTCALL, NULL},
    {"evict_tag", shms_evict_tag_guarded, METH_O, evict_tag_doc},
    {"_generations", shms_generations_guarded, METH_O, NULL},
    {"_confine", shms_confine, METH_O, NULL},
    {"_raw_key", shms_raw_key_guarded, METH_O, NULL},
    {"_inside", shms_inside_guarded, METH_NOARGS, NULL},
    {"_clear_inside", shms_clear_inside_guarded, METH_NOARGS, NULL},
    {"_get_versioned", shms_get_as_stored, METH_O, NULL},
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
    {Py_mp_length, shms_store_length},
    {Py_nb_bool, shms_store_is_true},
    {Py_mp_subscript, shms_subscript},
    {Py_mp_ass_subscript, shms_assign},
    {Py_sq_contains, shms_contains},
    {0, NULL},
};
static PyType_Spec spec = {
    .name = "shmstore._base.calls.StoreCalls",
    .basicsize = sizeof(struct shms_store_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

PyObject *shms_make_type(PyObject *module) { return PyType_FromModuleAndSpec(module, &spec, NULL); }
