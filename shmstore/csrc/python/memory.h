/* memory.h: the type Memory: the one owner of memory that has to be given back, a view's pin or a mapping.
 *
 * OWNER  An object is made first, empty. It takes what it will own in the C call that gets it from the engine or the
 *   kernel, so no Python variable is ever its only owner, and no signal handler runs in between: an exception finds it
 *   either not there yet or owned. It is given back once: by end(), or with the object, which the memoryviews, slices
 *   and arrays of the memory keep. All of that is C, too. */
#ifndef SHMS_PYTHON_MEMORY_H
#define SHMS_PYTHON_MEMORY_H

#include "python/call.h"

struct shms_memory {
    PyObject_HEAD unsigned long long address; /* what is shown of it; 0 and nothing, once it has ended */
    Py_ssize_t size;
    Py_ssize_t shown; /* how many other objects of this type show it: see view() */
    char readonly, ended;
    char is_removed;                        /* with the segment, which was made here and nobody knows yet */
    int segment;                            /* System V: its id */
    int (*give_back)(struct shms_memory *); /* 0 or -errno; NULL: nothing is owned */
    union {
        struct {
            int64_t handle;
            uint32_t pin;
            uint64_t owner;
        } view;
        struct {
            void *start;
            uint64_t length;
        } mapping;
        struct shms_memory *other; /* which this one shows */
    } owned;
};

PyObject *shms_make_memory_type(PyObject *module);
/* Empty: it owns nothing and shows nothing. May run Python code, as every allocation. */
struct shms_memory *shms_memory_new(struct shms_module *state);
/* Functions of the module, in mapping.c. */
PyObject *shms_attach_segment(PyObject *module, PyObject *args);
PyObject *shms_create_segment(PyObject *module, PyObject *args);
PyObject *shms_map_memory(PyObject *module, PyObject *args);
PyObject *shms_make_shm_open(PyObject *module, PyObject *args);

#endif
