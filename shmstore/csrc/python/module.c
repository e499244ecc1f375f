/* module.c: the module _calls: StoreCalls, and the few functions that have no store.
 *
 * It lies in the file of _core, the module that cffi makes, so that there is one engine in a process: one table of
 * handles, one epoch of forks. Each interpreter, and each import of one that imports the package again, has a module
 * object of its own, with a state of its own (PEP 489); shmstore/_base/calls.py makes it. No Python object is kept in a
 * static variable: it would outlive its interpreter, or be used by another. */
#include "api/api.h"
#include "python/memory.h"

static void use(PyObject **place, PyObject *object) {
    PyObject *old = *place;
    Py_XINCREF(object);
    *place = object;
    Py_XDECREF(old);
}

/* A dict for what all imports of the package in this interpreter have in common. New reference. */
static PyObject *kept_by_interpreter(void) {
    PyObject *all = PyInterpreterState_GetDict(PyInterpreterState_Get()); /* borrowed */
    PyObject *name = all ? PyUnicode_FromString("shmstore") : NULL;
    PyObject *kept = name ? PyDict_GetItemWithError(all, name) : NULL;
    Py_XINCREF(kept);
    if (name && !kept && !PyErr_Occurred() && (kept = PyDict_New()) && PyDict_SetItem(all, name, kept) < 0)
        Py_CLEAR(kept);
    Py_XDECREF(name);
    return kept;
}

static PyObject *set_ttls(PyObject *module, PyObject *arguments) {
    struct shms_module *state = PyModule_GetState(module);
    PyObject *fallback, *keep;
    if (!PyArg_ParseTuple(arguments, "OO", &fallback, &keep))
        return NULL;
    use(&state->fallback, fallback);
    use(&state->keep, keep);
    Py_RETURN_NONE;
}

static PyObject *leave(PyObject *module, PyObject *unused) {
    struct shms_module *state = PyModule_GetState(module);
    for (struct shms_store_object *store = state->stores; store; store = store->next)
        shms_leave(store->handle);
    Py_RETURN_NONE;
}

/* ---- the codec "msgpack", for what has no store */

PyObject *shms_take_exception(void) {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (value && trace)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    return value;
}

static PyObject *raise(PyObject *error) {
    if (error && PyExceptionInstance_Check(error))
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return NULL;
}

/* culprit: NULL, or the container that the result is about. */
static PyObject *pack_raise(struct shms_module *state, PyObject *value, enum shms_pack_result result,
                            PyObject *culprit) {
    PyObject *cause = result == SHMS_PACK_RAISED ? shms_take_exception() : NULL;
    PyObject *error = !state->refused ? shms_call_python(NULL, NULL, NULL)
                                      : PyObject_CallFunction(state->refused, "OOiO", value, cause ? cause : Py_None,
                                                              (int)result, culprit ? culprit : Py_None);
    Py_XDECREF(cause);
    return raise(error);
}

PyObject *shms_unpack_raise(struct shms_module *state, size_t length, const struct shms_unpack_error *e) {
    PyObject *cause = shms_take_exception();
    PyObject *error = !state->undecodable
                          ? shms_call_python(NULL, NULL, NULL)
                          : PyObject_CallFunction(state->undecodable, "ninzO", (Py_ssize_t)length, e->code,
                                                  (Py_ssize_t)e->bytes, cause ? NULL : e->why, cause ? cause : Py_None);
    Py_XDECREF(cause);
    return raise(error);
}

static PyObject *pack(PyObject *module, PyObject *value) {
    struct shms_module *state = PyModule_GetState(module);
    struct shms_packed packed;
    shms_packed_init(&packed);
    enum shms_pack_result rc = shms_pack(&packed, value, &state->types);
    PyObject *made = NULL;
    if (rc == SHMS_PACKED)
        made = PyBytes_FromStringAndSize((char *)packed.bytes, (Py_ssize_t)packed.length);
    else if (rc == SHMS_PACK_IN_PARTS)
        Py_INCREF(made = Py_None);
    else if (rc == SHMS_PACK_NO_MEMORY)
        PyErr_NoMemory();
    else
        pack_raise(state, value, rc, packed.culprit);
    shms_packed_free(&packed);
    return made;
}

static PyObject *is_plain(PyObject *module, PyObject *value) {
    struct shms_module *state = PyModule_GetState(module);
    struct shms_packed packed;
    shms_packed_init(&packed);
    enum shms_pack_result rc = shms_pack_plain(&packed, value, &state->types);
    shms_packed_free(&packed);
    if (rc == SHMS_PACK_RAISED)
        return NULL;
    return rc == SHMS_PACK_NO_MEMORY ? PyErr_NoMemory() : PyBool_FromLong(rc == SHMS_PACKED);
}

/* Of a bytes object, or a bytearray, which must not be changed meanwhile: NULL, an exception is raised. */
static const uint8_t *bytes_of(PyObject *object, size_t *length) {
    bool is_array = PyByteArray_Check(object);
    if (!is_array && !PyBytes_Check(object)) {
        shms_type_error("packed values are bytes", object);
        return NULL;
    }
    *length = (size_t)(is_array ? PyByteArray_Size(object) : PyBytes_Size(object));
    return (const uint8_t *)(is_array ? PyByteArray_AsString(object) : PyBytes_AsString(object));
}

static PyObject *unpack(PyObject *module, PyObject *packed) {
    struct shms_module *state = PyModule_GetState(module);
    struct shms_unpack_error error;
    size_t length;
    const uint8_t *bytes = bytes_of(packed, &length);
    if (!bytes)
        return NULL;
    PyObject *value = shms_unpack(bytes, length, &state->types, state->keys, &error);
    return value ? value : shms_unpack_raise(state, length, &error);
}

static PyObject *unpack_extension(PyObject *module, PyObject *arguments) {
    struct shms_module *state = PyModule_GetState(module);
    struct shms_unpack_error error;
    size_t length;
    int code;
    PyObject *payload;
    if (!PyArg_ParseTuple(arguments, "iO", &code, &payload))
        return NULL;
    const uint8_t *bytes = bytes_of(payload, &length);
    if (!bytes)
        return NULL;
    PyObject *value = shms_unpack_extension(code, bytes, length, &state->types, state->keys, &error);
    return value ? value : shms_unpack_raise(state, length, &error);
}

static PyObject *check(PyObject *module, PyObject *packed) {
    size_t length;
    const uint8_t *bytes = bytes_of(packed, &length);
    if (!bytes)
        return NULL;
    return Py_BuildValue("z", shms_unpack_check(bytes, length));
}

/* set_codec(find, leaf, zone_of, zone_from, classes, refused, undecodable): Python's part of the codec. */
static PyObject *set_codec(PyObject *module, PyObject *arguments) {
    struct shms_module *state = PyModule_GetState(module);
    struct shms_types *t = &state->types;
    PyObject **places[] = {&t->find,    &t->leaf,        &t->zone_of,        &t->zone_from,
                           &t->classes, &state->refused, &state->undecodable};
    if (PyTuple_Size(arguments) != 7) {
        PyErr_SetString(PyExc_TypeError, "set_codec takes seven functions");
        return NULL;
    }
    for (int i = 0; i < 7; i++) {
        PyObject *old = *places[i];
        *places[i] = PyTuple_GetItem(arguments, i);
        Py_INCREF(*places[i]);
        Py_XDECREF(old);
    }
    PyObject *kept = kept_by_interpreter(); /* for a module that is loaded again without codecs/msgpack.py */
    int rc = kept ? PyDict_SetItemString(kept, "codec", arguments) : -1;
    Py_XDECREF(kept);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *forget_types(PyObject *module, PyObject *unused) {
    shms_types_forget(&((struct shms_module *)PyModule_GetState(module))->types);
    Py_RETURN_NONE;
}

/* The event loop calls this. The loop would log an exception of a signal handler in a callback, and the future would
 * never get its result. In C no signal handler runs. */
static PyObject *set_result(PyObject *module, PyObject *args) {
    PyObject *future, *result;
    if (!PyArg_ParseTuple(args, "OO", &future, &result))
        return NULL;
    PyObject *done = PyObject_CallMethod(future, "done", NULL); /* cancelled, perhaps */
    int is_done = done ? PyObject_IsTrue(done) : -1;
    Py_XDECREF(done);
    if (is_done < 0)
        return NULL;
    if (!is_done)
        return PyObject_CallMethod(future, "set_result", "(O)", result);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"leave", leave, METH_NOARGS, "leave(): give up the places of all stores in their registries, at the end"},
    {"pack", pack, METH_O, "pack(object) -> bytes, or None for what is to be written in parts"},
    {"is_plain", is_plain, METH_O, "is_plain(object) -> bool: whether it is packed without an extension"},
    {"unpack", unpack, METH_O, "unpack(bytes) -> object"},
    {"unpack_extension", unpack_extension, METH_VARARGS, "unpack_extension(code, bytes) -> object"},
    {"check", check, METH_O, "check(bytes) -> None, or why they are not one value within the limits"},
    {"set_codec", set_codec, METH_VARARGS, "set_codec(...): Python's part of the codec"},
    {"forget_types", forget_types, METH_NOARGS, "forget_types(): ask for every type anew"},
    {"shmat", shms_attach_segment, METH_VARARGS, "shmat(id, address, flags) -> Memory, or (call, errno, Memory)"},
    {"create", shms_create_segment, METH_VARARGS,
     "create(key, size, flags) -> Memory of a new segment, or (call, errno, Memory)"},
    {"mmap", shms_map_memory, METH_VARARGS,
     "mmap(address, length, prot, flags, fd, offset, readonly) -> Memory, or (call, errno, Memory)"},
    {"make_shm_open", shms_make_shm_open, METH_VARARGS, "make_shm_open(convert, failure) -> posix.shm_open"},
    {"set_result", set_result, METH_VARARGS,
     "set_result(future, result): set the result of a future, unless it is done"},
    {"through", shms_through, METH_VARARGS,
     "through(function, *arguments): call it until it has ended without an exception; raise the first one"},
    {"set_ttls", set_ttls, METH_VARARGS,
     "set_ttls(object, object): what stands for the ttl that a handle was opened with, and for the one that an entry "
     "has"},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module) {
    struct shms_module *state = PyModule_GetState(module);
    PyObject *type = shms_make_type(module), *kept = kept_by_interpreter();
    int rc = type && kept && PyModule_AddObjectRef(module, "StoreCalls", type) == 0
                 ? PyModule_AddObjectRef(module, "kept", kept)
                 : -1;
    if (rc == 0) {
        use(&state->fallback, PyDict_GetItemString(kept, "DEFAULT"));
        use(&state->keep, PyDict_GetItemString(kept, "KEEP"));
    }
    PyObject *codec = kept ? PyDict_GetItemString(kept, "codec") : NULL;
    if (rc == 0 && codec) {
        PyObject *set = set_codec(module, codec);
        rc = set ? 0 : -1;
        Py_XDECREF(set);
    }
    Py_XDECREF(type);
    Py_XDECREF(kept);
    state->module = module;
    state->memory_type = shms_make_memory_type(module);
    state->walk_type = shms_make_walk_type(module);
    state->keys_type = shms_make_keys_type(module);
    PyObject *sized = shms_make_sized_type(module);
    if (!sized || PyModule_AddObjectRef(module, "Sized", sized) < 0)
        rc = -1;
    PyObject *kept_bytes = shms_make_kept_type(module);
    if (!kept_bytes || PyModule_AddObjectRef(module, "KeptBytes", kept_bytes) < 0)
        rc = -1;
    PyObject *guard = shms_make_guard_type(module);
    if (!guard || PyModule_AddObjectRef(module, "GuardCalls", guard) < 0)
        rc = -1;
    Py_XDECREF(sized);
    Py_XDECREF(kept_bytes);
    Py_XDECREF(guard);
    if (!state->memory_type || !state->walk_type || !state->keys_type ||
        PyModule_AddObjectRef(module, "Memory", state->memory_type) < 0)
        return -1;
    state->decode = PyUnicode_InternFromString("_decode");
    state->encode_parts = PyUnicode_InternFromString("_encode_parts");
    state->hand_over = PyUnicode_InternFromString("_hand_over");
    if (rc == 0 &&
        (PyModule_AddIntConstant(module, "DEPTH", SHMS_DEPTH) || PyModule_AddIntConstant(module, "NODES", SHMS_NODES)))
        rc = -1;
    return state->decode && state->encode_parts && state->hand_over && shms_types_init(&state->types) ? rc : -1;
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    struct shms_module *state = PyModule_GetState(module);
    if (state) {
        struct shms_types *t = &state->types;
        PyObject *others[] = {
            state->fallback,  state->keep, state->refused, state->undecodable, state->memory_type, state->walk_type,
            state->keys_type, t->find,     t->leaf,        t->zone_of,         t->zone_from,       t->classes};
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            Py_VISIT(others[i]);
        for (uint32_t i = 0; i < SHMS_TYPES_KEPT; i++) {
            Py_VISIT((PyObject *)t->kept[i].type);
            Py_VISIT(t->kept[i].encode);
        }
    }
    return 0;
}

/* Stores may still be used afterwards, so what they call by, which is in no cycle, stays; values of types that C does not
 * know are refused then. */
static int clear(PyObject *module) {
    struct shms_module *state = PyModule_GetState(module);
    if (state) {
        struct shms_types *t = &state->types;
        PyObject **others[] = {&state->fallback, &state->keep, &state->refused, &state->undecodable, &t->find,
                               &t->leaf,         &t->zone_of,  &t->zone_from,   &t->classes};
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            Py_CLEAR(*others[i]);
    }
    return 0;
}

static void release(void *module) {
    struct shms_module *state = PyModule_GetState(module);
    if (!state)
        return;
    clear(module);
    Py_CLEAR(state->memory_type);
    Py_CLEAR(state->walk_type);
    Py_CLEAR(state->keys_type);
    Py_CLEAR(state->decode);
    Py_CLEAR(state->encode_parts);
    Py_CLEAR(state->hand_over);
    shms_types_clear(&state->types);
    shms_keys_free(state->keys);
}

/* Interpreters that share a GIL may use the engine at the same time: what keeps threads apart keeps them apart, too.
 * Those that have one each may not, and Python refuses it to them. Before 3.12 none had, and the slot is unknown. */
#define MULTIPLE_INTERPRETERS 3         /* Py_mod_multiple_interpreters */
#define SUPPORTED ((void *)(intptr_t)1) /* Py_MOD_MULTIPLE_INTERPRETERS_SUPPORTED: with a shared GIL */
static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {MULTIPLE_INTERPRETERS, SUPPORTED}, {0, NULL}};
static PyModuleDef_Slot slots_before_3_12[] = {{Py_mod_exec, execute}, {0, NULL}};

PyModuleDef shms_module_definition = {
    PyModuleDef_HEAD_INIT,  .m_name = "shmstore._base.calls", .m_size = sizeof(struct shms_module),
    .m_methods = functions, .m_traverse = traverse,           .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit_calls(void);
PyMODINIT_FUNC PyInit_calls(void) {
    int minor = 0;
    sscanf(Py_GetVersion(), "3.%d", &minor);
    shms_module_definition.m_slots = minor < 12 ? slots_before_3_12 : slots;
    return PyModuleDef_Init(&shms_module_definition);
}
