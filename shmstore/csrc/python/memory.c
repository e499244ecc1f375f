/* memory.c: see memory.h. */
#include "python/memory.h"

#include <structmember.h>

#include "os/sysv.h"

struct shms_memory *shms_memory_new(struct shms_module *state) {
    PyTypeObject *type = (PyTypeObject *)state->memory_type;
    return (struct shms_memory *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

/* What it owns ends here, whoever comes first. The GIL may be given up, so it is marked as ended before. */
static int give_back(struct shms_memory *m) {
    int (*function)(struct shms_memory *) = m->give_back;
    m->give_back = NULL;
    m->ended = 1;
    int code = function ? function(m) : 0;
    if (m->is_removed)
        shms_sysv_ipc_rmid(m->segment);
    m->is_removed = 0;
    return code;
}

static int stop_showing(struct shms_memory *m) {
    m->owned.other->shown--;
    Py_CLEAR(m->owned.other);
    return 0;
}

/* A reference to the type that a collection did not see would keep the whole package alive beyond its time at shutdown. */
static int traverse(PyObject *self, visitproc visit, void *arg) {
    struct shms_memory *m = (struct shms_memory *)self;
    Py_VISIT(Py_TYPE(self));
    if (m->give_back == stop_showing)
        Py_VISIT(m->owned.other);
    return 0;
}

static void unmake(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    give_back((struct shms_memory *)self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* ---- the buffer protocol
 *
 * Its slots and its structure joined the limited API in 3.11. They are the same in 3.10, which knows both slots of types
 * that are made from a specification, though its headers hide them from the limited API. */
#if Py_LIMITED_API < 0x030b0000
#undef Py_bf_getbuffer
#define Py_bf_getbuffer 1
#define PyBUF_WRITABLE 0x0001
#define PyBUF_FORMAT 0x0004
#define PyBUF_ND 0x0008
#define PyBUF_STRIDES (0x0010 | PyBUF_ND)
struct buffer {
    void *bytes;
    PyObject *owner;
    Py_ssize_t length, itemsize;
    int readonly, dimensions;
    char *format;
    Py_ssize_t *shape, *strides, *suboffsets;
    void *internal;
};
#endif

static int get_buffer(PyObject *self, struct buffer *view, int flags) {
    struct shms_memory *m = (struct shms_memory *)self;
    view->owner = NULL;
    if (m->ended) {
        PyErr_SetString(PyExc_ValueError, "this memory was given back");
        return -1;
    }
    if (m->readonly && (flags & PyBUF_WRITABLE)) {
        PyErr_SetString(PyExc_BufferError, "this memory is read-only");
        return -1;
    }
    view->bytes = (void *)(uintptr_t)m->address;
    view->length = m->size;
    view->itemsize = 1;
    view->readonly = m->readonly;
    view->dimensions = 1;
    view->format = flags & PyBUF_FORMAT ? "B" : NULL;
    view->shape = flags & PyBUF_ND ? &view->length : NULL;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &view->itemsize : NULL;
    view->suboffsets = NULL;
    view->internal = NULL;
    Py_INCREF(self);
    view->owner = self;
    return 0;
}

/* ---- methods */

/* A new memoryview. Its exporter is an object of its own, since numpy keeps that, but not its buffer: whether anybody
 * still looks shows in whether it lives. */
static PyObject *new_view(struct shms_memory *m) {
    struct shms_module *state = PyType_GetModuleState(Py_TYPE(m));
    struct shms_memory *shows = state ? shms_memory_new(state) : NULL;
    if (!shows)
        return NULL;
    if (m->ended) {
        Py_DECREF(shows);
        PyErr_SetString(PyExc_ValueError, "this memory was given back");
        return NULL;
    }
    Py_INCREF(m);
    m->shown++;
    shows->owned.other = m;
    shows->give_back = stop_showing;
    shows->address = m->address;
    shows->size = m->size;
    shows->readonly = m->readonly;
    PyObject *view = PyMemoryView_FromObject((PyObject *)shows);
    Py_DECREF(shows);
    return view;
}

PyDoc_STRVAR(view_doc, "view($self, /)\n--\n\nMake a memoryview of the memory, which end() respects.");
static PyObject *view(PyObject *self, PyObject *none) { return new_view((struct shms_memory *)self); }

PyDoc_STRVAR(
    end_doc,
    "end($self, holder, attribute, /)\n--\n\n"
    "Give the memory back now, and end holder.attribute, the memoryview of it: 0 or -errno; None if it had ended.\n\n"
    "Raises: BufferError while somebody looks at it. Then all stays, with a new memoryview in holder.attribute.");
static PyObject *end(PyObject *self, PyObject *args) {
    struct shms_memory *m = (struct shms_memory *)self;
    PyObject *holder, *held, *released;
    const char *attribute;
    if (!PyArg_ParseTuple(args, "Os", &holder, &attribute))
        return NULL;
    if (m->ended)
        Py_RETURN_NONE;
    held = PyObject_GetAttrString(holder, attribute);
    released = held ? PyObject_CallMethod(held, "release", NULL) : NULL; /* BufferError if somebody holds its buffer */
    Py_XDECREF(held);
    if (!released)
        return NULL;
    Py_DECREF(released);
    if (m->ended) /* by a finalizer */
        Py_RETURN_NONE;
    if (!m->shown)
        return PyLong_FromLong(give_back(m));
    held = new_view(m);
    PyObject *shown = held && PyObject_SetAttrString(holder, attribute, held) == 0 ? PyObject_Repr(holder) : NULL;
    if (shown) /* not %R: before 3.12 PyErr_Format replaces what a repr raises */
        PyErr_Format(PyExc_BufferError, "%U stays: a slice of its %s is still in use", shown, attribute);
    Py_XDECREF(shown);
    Py_XDECREF(held);
    return NULL;
}

PyDoc_STRVAR(keep_doc,
             "keep($self, whether, /)\n--\n\nKeep the segment that was made here, or remove it with this object.");
static PyObject *keep(PyObject *self, PyObject *whether) {
    ((struct shms_memory *)self)->is_removed = whether == Py_False;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"view", view, METH_NOARGS, view_doc},
    {"end", end, METH_VARARGS, end_doc},
    {"keep", keep, METH_O, keep_doc},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef members[] = {
    {"address", T_ULONGLONG, offsetof(struct shms_memory, address), READONLY, NULL},
    {"size", T_PYSSIZET, offsetof(struct shms_memory, size), READONLY, NULL},
    {"readonly", T_BOOL, offsetof(struct shms_memory, readonly), READONLY, NULL},
    {"ended", T_BOOL, offsetof(struct shms_memory, ended), READONLY, NULL},
    {"segment", T_INT, offsetof(struct shms_memory, segment), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_dealloc, unmake},  {Py_tp_traverse, traverse},    {Py_tp_methods, methods},
    {Py_tp_members, members}, {Py_bf_getbuffer, get_buffer}, {0, NULL},
};
static PyType_Spec spec = {
    .name = "shmstore._base.calls.Memory",
    .basicsize = sizeof(struct shms_memory),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

PyObject *shms_make_memory_type(PyObject *module) { return PyType_FromModuleAndSpec(module, &spec, NULL); }
