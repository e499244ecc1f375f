/* scan.h: one look at a value before msgpack packs it
 *
 * msgpack-python packs bytearray, memoryview and its own ExtType without asking anybody, nests to 1,024, and
 * packs a list that is shared as often as it meets it. This walk lets the codec keep its word (equal and of
 * the same type, or an error) without walking in Python.
 *
 * shms_scan(object) -> int         codecs/scan.py says the same in Python; a test compares them
 *   0 plain      None, bool, float, str, bytes, list, dict and ints of 64 bits, of exactly these types
 *   1 extended   also tuple, set, frozenset, slice, larger ints, or types that this file does not know
 *   2 refused    holds what msgpack would silently change, or nests too deep (so does what is inside itself)
 *   3 endless    has more nodes than anybody stores, counting a shared one as often as it is met
 *   4 blob       is nothing but bytes, and many: one copy behind a header is all that it takes
 *
 * LIMITS  The GIL is kept and no code of the user's is called. But creating the iterator of a
 *         set may start a collection, whose finalizers may change what is being walked: so a container is
 *         owned while the walk is inside it, sizes are read again, nothing borrowed outlives a child.
 *
 * Needs Python's limited API 3.10. Included by glue_module.c, after Python.h.
 */
#ifndef SHMS_SCAN_H
#define SHMS_SCAN_H

#include <stdint.h>

#include "python/scan_limits.h"
#include "python/scan_packed.h" /* the same for packed bytes */

enum {
    SHMS_SCAN_BLOB = 64 << 10, /* from here on msgpack's header is that of bin 32 */
};

enum { SHMS_PLAIN, SHMS_EXTENDED, SHMS_REFUSED, SHMS_ENDLESS, SHMS_BLOB };

/* What a walk carries; a kind of -1 is a Python exception. */
typedef struct {
    uint32_t nodes; /* still allowed */
    int depth;      /* containers around the node at hand */
} scan_walk;

static int scan_container(scan_walk *walk, PyObject *node);

static inline int scan_int(PyObject *node)
{
    int overflow;

    (void)PyLong_AsLongLongAndOverflow(node, &overflow);
    if (overflow == 0)
        return SHMS_PLAIN;
    if (overflow > 0) {
        (void)PyLong_AsUnsignedLongLong(node); /* msgpack has unsigned 64-bit ints as well */
        if (PyErr_Occurred() == NULL)
            return SHMS_PLAIN;
        PyErr_Clear();
    }
    return SHMS_EXTENDED;
}

static inline int scan_node(scan_walk *walk, PyObject *node)
{
    PyTypeObject *type = Py_TYPE(node);

    if (walk->nodes-- == 0)
        return SHMS_ENDLESS;
    if (type == &PyUnicode_Type || type == &PyFloat_Type || type == &PyBool_Type || type == &PyBytes_Type ||
        node == Py_None)
        return SHMS_PLAIN;
    if (type == &PyLong_Type)
        return scan_int(node);
    return scan_container(walk, node);
}

/* Both kinds seen so far and now, the graver one; from REFUSED on the walk is over. */
#define SCAN_CHILD(kind, walk, child)           \
    do {                                        \
        int seen_ = scan_node((walk), (child)); \
        if (seen_ < 0 || seen_ > (kind))        \
            (kind) = seen_;                     \
    } while (0)
#define SCAN_GOES_ON(kind) ((kind) == SHMS_PLAIN || (kind) == SHMS_EXTENDED)

static int scan_dict(scan_walk *walk, PyObject *dict)
{
    int kind = SHMS_PLAIN;
    Py_ssize_t at = 0;
    PyObject *key, *value;

    while (SCAN_GOES_ON(kind) && PyDict_Next(dict, &at, &key, &value)) {
        Py_INCREF(value); /* walking a key may run a finalizer that removes the item */
        SCAN_CHILD(kind, walk, key);
        if (SCAN_GOES_ON(kind))
            SCAN_CHILD(kind, walk, value);
        Py_DECREF(value);
    }
    return kind;
}

static int scan_list(scan_walk *walk, PyObject *list)
{
    int kind = SHMS_PLAIN;

    for (Py_ssize_t i = 0; SCAN_GOES_ON(kind) && i < PyList_Size(list); i++)
        SCAN_CHILD(kind, walk, PyList_GetItem(list, i));
    return kind;
}

static int scan_tuple(scan_walk *walk, PyObject *tuple)
{
    int kind = SHMS_EXTENDED;
    Py_ssize_t size = PyTuple_Size(tuple);

    for (Py_ssize_t i = 0; SCAN_GOES_ON(kind) && i < size; i++)
        SCAN_CHILD(kind, walk, PyTuple_GetItem(tuple, i));
    return kind;
}

static int scan_set(scan_walk *walk, PyObject *set)
{
    int kind = SHMS_EXTENDED;
    PyObject *member, *iterator = PyObject_GetIter(set);

    if (iterator == NULL)
        return -1;
    while (SCAN_GOES_ON(kind) && (member = PyIter_Next(iterator)) != NULL) {
        SCAN_CHILD(kind, walk, member);
        Py_DECREF(member);
    }
    Py_DECREF(iterator);
    if (kind >= 0 && PyErr_Occurred() != NULL) { /* it changed its size under the iterator */
        PyErr_Clear();
        return SHMS_REFUSED;
    }
    return kind;
}

static int scan_slice(scan_walk *walk, PyObject *slice)
{
    static const char *const members[] = {"start", "stop", "step"};
    int kind = SHMS_EXTENDED;

    for (int i = 0; SCAN_GOES_ON(kind) && i < 3; i++) {
        PyObject *member = PyObject_GetAttrString(slice, members[i]);

        if (member == NULL)
            return -1;
        SCAN_CHILD(kind, walk, member);
        Py_DECREF(member);
    }
    return kind;
}

/* Subclasses of these are never on the list of types. Among them is msgpack's ExtType, a named tuple, which
 * its Packer would write as it stands. The flags tell it without asking the type's metaclass. */
#define SCAN_NEVER                                                                   \
    (Py_TPFLAGS_LONG_SUBCLASS | Py_TPFLAGS_LIST_SUBCLASS | Py_TPFLAGS_TUPLE_SUBCLASS | \
     Py_TPFLAGS_BYTES_SUBCLASS | Py_TPFLAGS_UNICODE_SUBCLASS | Py_TPFLAGS_DICT_SUBCLASS)

static int scan_container(scan_walk *walk, PyObject *node)
{
    PyTypeObject *type = Py_TYPE(node);
    int (*inside)(scan_walk *, PyObject *);
    int kind;

    if (type == &PyDict_Type)
        inside = scan_dict;
    else if (type == &PyList_Type)
        inside = scan_list;
    else if (type == &PyTuple_Type)
        inside = scan_tuple;
    else if (type == &PySet_Type || type == &PyFrozenSet_Type)
        inside = scan_set;
    else if (type == &PySlice_Type)
        inside = scan_slice;
    else if (type == &PyByteArray_Type || type == &PyMemoryView_Type || (PyType_GetFlags(type) & SCAN_NEVER))
        return SHMS_REFUSED;
    else
        return SHMS_EXTENDED;

    if (walk->depth == SHMS_SCAN_DEPTH)
        return SHMS_REFUSED;
    walk->depth++;
    Py_INCREF(node);
    kind = inside(walk, node);
    Py_DECREF(node);
    walk->depth--;
    return kind;
}

static PyObject *shms_scan(PyObject *module, PyObject *object)
{
    scan_walk walk = {.nodes = SHMS_SCAN_NODES, .depth = 0};
    int kind = scan_node(&walk, object);

    (void)module;
    if (Py_TYPE(object) == &PyBytes_Type && PyBytes_Size(object) >= SHMS_SCAN_BLOB)
        kind = SHMS_BLOB;
    return kind < 0 ? NULL : PyLong_FromLong(kind);
}

#undef SCAN_CHILD
#undef SCAN_GOES_ON
#undef SCAN_NEVER
#endif
