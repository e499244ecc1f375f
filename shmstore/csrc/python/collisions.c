/* collisions.c: see collisions.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python/collisions.h"

static bool begin_to_count(struct shms_collisions *c) {
    uint32_t bits = 1;
    while ((size_t)1 << bits < 2 * c->keys)
        bits++;
    c->shift = 64 - bits;
    c->seed = (uint64_t)(uintptr_t)&c->seed * 0x9e3779b97f4a7c15ull | 1; /* of an address: not known to a stranger */
    c->counts = calloc((size_t)1 << bits, sizeof *c->counts);
    return c->counts != NULL;
}

enum shms_collision shms_collision_count(struct shms_collisions *c, PyObject *key, size_t packed_bytes) {
    Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1)
        return SHMS_UNHASHABLE;
    if (!c->counts && !begin_to_count(c))
        return SHMS_UNCOUNTED;
    uint64_t mixed = ((uint64_t)hash ^ (uint64_t)hash >> 32) * 0x9e3779b97f4a7c15ull;
    uint32_t *count = &c->counts[(mixed ^ mixed >> 29) * c->seed >> c->shift];
    /* Ints are compared by their length first, and then thirty bits at a time. */
    uint64_t weight = 1 + packed_bytes / (Py_TYPE(key) == &PyLong_Type ? 512 : 32), pairs = (*count)++ * weight;
    if (pairs > *c->left)
        return SHMS_TOO_MANY;
    *c->left -= pairs;
    return SHMS_COUNTED;
}
