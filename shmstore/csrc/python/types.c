/* types.c: see types.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python/types.h"

static const char *const words[SHMS_WORDS] = {
    "bit_length",    "days",    "denominator", "from_bytes", "int",  "is_safe",  "microseconds", "numerator",
    "__reduce_ex__", "seconds", "start",       "step",       "stop", "to_bytes", "tzinfo",       "value",
};

PyObject *shms_call_python(PyObject *function, PyObject *first, PyObject *second) {
    if (function)
        return PyObject_CallFunctionObjArgs(function, first, second, NULL);
    PyErr_SetString(PyExc_RuntimeError, "shmstore: the interpreter is shutting down");
    return NULL;
}

bool shms_types_init(struct shms_types *t) {
    bool well = true;
    for (int i = 0; i < SHMS_WORDS; i++)
        well &= (t->words[i] = PyUnicode_InternFromString(words[i])) != NULL;
    t->sixty_four = PyLong_FromLong(64);
    t->four = PyLong_FromLong(4);
    t->big = PyUnicode_InternFromString("big");
    t->is_signed = Py_BuildValue("{s:O}", "signed", Py_True);
    return well && t->sixty_four && t->four && t->big && t->is_signed;
}

void shms_types_forget(struct shms_types *t) {
    for (uint32_t i = 0; i < SHMS_TYPES_KEPT; i++) {
        struct shms_type old = t->kept[i];
        t->kept[i] = (struct shms_type){NULL, NULL, 0};
        Py_XDECREF((PyObject *)old.type);
        Py_XDECREF(old.encode);
    }
    t->count = 0;
}

void shms_types_clear(struct shms_types *t) {
    shms_types_forget(t);
    for (int i = 0; i < SHMS_WORDS; i++)
        Py_CLEAR(t->words[i]);
    for (int i = 0; i <= SHMS_EXT_IN_C; i++)
        Py_CLEAR(t->made_of[i]);
    PyObject **others[] = {&t->sixty_four, &t->four,       &t->big,       &t->is_signed,      &t->find,
                           &t->leaf,       &t->zone_of,    &t->zone_from, &t->classes,        &t->safe_unknown,
                           &t->zone,       &t->zone_bytes, &t->read_zone, &t->read_zone_bytes};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        Py_CLEAR(*others[i]);
}

static struct shms_type *place_of(struct shms_types *t, PyTypeObject *type) {
    uint32_t at = (uint32_t)((uintptr_t)type >> 4) % SHMS_TYPES_KEPT;
    while (t->kept[at].type && t->kept[at].type != type)
        at = (at + 1) % SHMS_TYPES_KEPT;
    return &t->kept[at];
}

/* Of what is refused nothing is kept: it may be registered later. */
static const struct shms_type *ask(struct shms_types *t, PyTypeObject *type, bool *raised) {
    PyObject *answer = shms_call_python(t->find, (PyObject *)type, NULL);
    *raised = !answer && PyErr_Occurred();
    if (!answer || answer == Py_None) {
        Py_XDECREF(answer);
        return NULL;
    }
    if (t->count > SHMS_TYPES_KEPT / 4 * 3)
        shms_types_forget(t);
    struct shms_type *place = place_of(t, type); /* now: the call may have changed the table */
    if (!place->type) {
        PyObject *encode = PyTuple_GetItem(answer, 1);
        Py_INCREF((PyObject *)type);
        if (encode != Py_None)
            Py_INCREF(encode);
        *place =
            (struct shms_type){type, encode == Py_None ? NULL : encode, (int)PyLong_AsLong(PyTuple_GetItem(answer, 0))};
        t->count++;
    }
    Py_DECREF(answer);
    return place;
}

const struct shms_type *shms_type_find(struct shms_types *t, PyTypeObject *type, bool *raised) {
    struct shms_type *place = place_of(t, type);
    *raised = false;
    return place->type ? place : ask(t, type, raised);
}

PyObject *shms_type_of_code(struct shms_types *t, int code) {
    if (t->made_of[code])
        return t->made_of[code];
    PyObject *number = PyLong_FromLong(code);
    PyObject *found = number ? shms_call_python(t->classes, number, NULL) : NULL;
    Py_XDECREF(number);
    if (found && code == SHMS_EXT_UUID) { /* (UUID, SafeUUID.unknown) */
        Py_XDECREF(t->safe_unknown);
        t->safe_unknown = PyTuple_GetItem(found, 1);
        Py_XINCREF(t->safe_unknown);
        PyObject *uuid = PyTuple_GetItem(found, 0);
        Py_XINCREF(uuid);
        Py_DECREF(found);
        found = uuid;
    }
    PyObject *old = t->made_of[code];
    t->made_of[code] = found;
    Py_XDECREF(old);
    return found;
}
