/* glue_module.c: the module _calls: StoreCalls, and the few functions that have no store.
 *
 * It lies in the file of _core, the module that cffi makes, so that there is one engine in a process: one table of
 * handles, one epoch of forks. Each interpreter, and each import of one that imports the package again, has a module
 * object of its own, with a state of its own (PEP 489); shmstore/_calls.py makes it. No Python object is kept in a
 * static variable: it would outlive its interpreter, or be used by another. */
#include "api/api.h"
#include "python/glue_call.h"
#include "python/scan.h"

static void use_default(struct shms_module *state, PyObject *fallback) {
    PyObject *old = state->fallback;
    Py_XINCREF(fallback);
    state->fallback = fallback;
    Py_XDECREF(old);
}

static PyObject *set_default(PyObject *module, PyObject *fallback) {
    use_default(PyModule_GetState(module), fallback);
    Py_RETURN_NONE;
}

static PyObject *leave(PyObject *module, PyObject *unused) {
    struct shms_module *state = PyModule_GetState(module);
    for (struct shms_store_object *store = state->stores; store; store = store->next)
        shms_leave(store->handle);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"leave", leave, METH_NOARGS, "leave(): give up the places of all stores in their registries, at the end"},
    {"scan", shms_scan, METH_O, "scan(object) -> int: how much care encoding needs"},
    {"scan_packed", shms_scan_packed, METH_O, "scan_packed(bytes) -> int: whether decoding is within limits"},
    {"set_default", set_default, METH_O, "set_default(object): the argument that stands for what a handle was opened with"},
    {NULL, NULL, 0, NULL},
};

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

static int execute(PyObject *module) {
    struct shms_module *state = PyModule_GetState(module);
    PyObject *type = shms_make_type(module), *kept = kept_by_interpreter();
    int rc = type && kept && PyModule_AddObjectRef(module, "StoreCalls", type) == 0 ? PyModule_AddObjectRef(module, "kept", kept) : -1;
    if (rc == 0)
        use_default(state, PyDict_GetItemString(kept, "DEFAULT"));
    Py_XDECREF(type);
    Py_XDECREF(kept);
    state->module = module;
    state->decode = PyUnicode_InternFromString("_decode");
    state->encode_parts = PyUnicode_InternFromString("_encode_parts");
    state->hand_over = PyUnicode_InternFromString("_hand_over");
    return state->decode && state->encode_parts && state->hand_over ? rc : -1;
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    struct shms_module *state = PyModule_GetState(module);
    if (state)
        Py_VISIT(state->fallback);
    return 0;
}

/* Stores may still be used afterwards, so what they call by, which is in no cycle, stays. */
static int clear(PyObject *module) {
    struct shms_module *state = PyModule_GetState(module);
    if (state)
        Py_CLEAR(state->fallback);
    return 0;
}

static void release(void *module) {
    struct shms_module *state = PyModule_GetState(module);
    if (!state)
        return;
    clear(module);
    Py_CLEAR(state->decode);
    Py_CLEAR(state->encode_parts);
    Py_CLEAR(state->hand_over);
    shms_keys_free(state->keys);
}

/* Interpreters that share a GIL may use the engine at the same time: what keeps threads apart keeps them apart, too.
 * Those that have one each may not, and Python refuses it to them. Before 3.12 none had, and the slot is unknown. */
#define MULTIPLE_INTERPRETERS 3      /* Py_mod_multiple_interpreters */
#define SUPPORTED ((void *)(intptr_t)1) /* Py_MOD_MULTIPLE_INTERPRETERS_SUPPORTED: with a shared GIL */
static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {MULTIPLE_INTERPRETERS, SUPPORTED}, {0, NULL}};
static PyModuleDef_Slot slots_before_3_12[] = {{Py_mod_exec, execute}, {0, NULL}};

PyModuleDef shms_module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shmstore._calls",
    .m_size = sizeof(struct shms_module),
    .m_methods = functions,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit__calls(void);
PyMODINIT_FUNC PyInit__calls(void) {
    int minor = 0;
    sscanf(Py_GetVersion(), "3.%d", &minor);
    shms_module_definition.m_slots = minor < 12 ? slots_before_3_12 : slots;
    return PyModuleDef_Init(&shms_module_definition);
}
