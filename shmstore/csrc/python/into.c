/* into.c: get_into: a value's bytes, or an array's elements, into memory of the caller's.
 *
 * Whether the value fits is decided before it is copied, by what stands at its beginning, and holds if the value is
 * still the same afterwards, as with every read (read.c); else all is done again. The caller's memory is held by
 * a memoryview, so that nobody resizes it while the GIL is given up. */
#include "python/call.h"
#include "base/number.h"

/* The bytes of *f begin with the wanted head; but for the flag that says read-only: what is copied may be written. */
static bool fits_head(const struct shms_entry *f, const struct shms_into *into) {
    enum { READ_ONLY = 2 }; /* docs/format.md: extension 18 begins with its flags */
    uint8_t first[SHMS_INTO_HEAD];
    if (f->value_length != into->head_length + into->room)
        return false;
    shms_copy_short(first, f->value, into->head_length);
    uint32_t flags = first[0] < 0xc7 || first[0] > 0xc9 ? 2 : first[0] == 0xc7 ? 3 : first[0] == 0xc8 ? 4 : 6;
    if (into->head_length > flags)
        first[flags] &= (uint8_t)~READ_ONLY;
    return memcmp(first, into->head, into->head_length) == 0;
}

int shms_copy_into(struct shms_call *c, const struct shms_entry *f, struct shms_value *v) {
    struct shms_into *into = v->into;
    uint32_t codec = f->kind & SHMS_CODEC_MASK, head = into->head_length;
    v->bytes = NULL;
    v->length = 0;
    if (into->head_length
            ? codec != SHMS_CODEC_MSGPACK || !fits_head(f, into)
            : codec != SHMS_CODEC_RAW && (codec != SHMS_CODEC_MSGPACK || (head = shms_bytes_head(f)) == 0))
        return SHMS_UNMET;
    v->length = f->value_length - head;
    if (v->length > into->room)
        return SHMS_UNMET;
    return shms_copy_out(c, into->bytes, f->value + head, v->length) ? SHMS_OK : SHMS_CLOSED;
}

/* A memoryview of a buffer that can be written to. */
static PyObject *hold(PyObject *buffer, struct shms_into *into) {
    Py_ssize_t room;
    PyObject *held = PyMemoryView_FromObject(buffer);
    if (held && PyObject_AsWriteBuffer(held, &into->bytes, &room) == 0) {
        into->room = (uint64_t)room;
        return held;
    }
    if (held)
        PyErr_Clear(); /* the memoryview's own: no code but the interpreter's ran */
    PyObject *shown = held ? PyObject_Repr((PyObject *)Py_TYPE(buffer)) : NULL;
    if (shown) /* not %R: before 3.12 PyErr_Format replaces what a repr raises */
        PyErr_Format(PyExc_TypeError, "get_into() takes a writable, contiguous buffer, and this %U is none", shown);
    Py_XDECREF(shown);
    Py_XDECREF(held);
    return NULL;
}

/* The same; for an array store._memory_of says what is to be written to, and what the value must begin with. */
static PyObject *hold_array(PyObject *self, PyObject *buffer, struct shms_into *into) {
    char *bytes;
    Py_ssize_t length;
    PyObject *pair = PyObject_CallMethod(self, "_memory_of", "(O)", buffer), *held = NULL;
    if (pair && PyTuple_Check(pair) && PyBytes_AsStringAndSize(PyTuple_GetItem(pair, 0), &bytes, &length) == 0) {
        if ((uint64_t)length > SHMS_INTO_HEAD)
            PyErr_SetString(PyExc_TypeError, "get_into(): the description of the array's dtype is too long");
        else if ((held = hold(PyTuple_GetItem(pair, 1), into)))
            memcpy(into->head, bytes, into->head_length = (uint32_t)length);
    }
    Py_XDECREF(pair);
    return held;
}

static PyObject *refused(PyObject *self, PyObject *key, PyObject *buffer, const struct shms_into *into,
                         uint64_t length) {
    return shms_raise(PyObject_CallMethod(self, "_unfit", "OOKK", key, buffer, (unsigned long long)length,
                                          (unsigned long long)into->room));
}

PyObject *shms_get_into(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct shms_into into;
    struct shms_value v;
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "get_into() takes a key and a buffer (%zd arguments given)", count);
        return NULL;
    }
    PyTypeObject *type = Py_TYPE(args[1]);
    into.head_length = 0;
    PyObject *held = type == &PyByteArray_Type || type == &PyMemoryView_Type ? hold(args[1], &into)
                                                                             : hold_array(self, args[1], &into);
    if (!held)
        return NULL;
    v.into = &into;
    int rc = shms_call_read(self, args[0], false, &v);
    Py_DECREF(held);
    if (SHMS_LIKELY(rc == SHMS_OK))
        return PyLong_FromUnsignedLongLong(v.length);
    if (rc == SHMS_UNMET)
        return refused(self, args[0], args[1], &into, v.length);
    if (rc == SHMS_MISS)
        shms_key_error(args[0]);
    return rc == SHMS_MISS ? NULL : shms_store_failed(self, args[0], rc);
}
