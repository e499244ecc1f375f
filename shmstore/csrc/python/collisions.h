/* collisions.h: a bound on the comparisons that keys with one hash cost.
 *
 * Hashes of str and bytes are random, those of floats and of ints below 2^61 - 1 hardly meet. But multiples of 2^61 - 1 all
 * hash to 0, and so do UUIDs, Decimals, Fractions, tuples and complex numbers made of them: n such keys of one dict or set
 * take n^2 / 2 comparisons, with the GIL held. So in containers of more than SHMS_COLLISIONS_FROM such keys their hashes are
 * counted, and a value may have SHMS_COLLISIONS pairs of keys with one hash in all, and one more for each key. A pair of long
 * keys counts as several, by their packed bytes: comparing two tuples takes as long as they are alike.
 *
 * The counts are in 2n or more buckets, chosen by a multiplication with a number that a stranger does not know. A bucket can
 * hold keys of several hashes: a quarter of a pair for each key on the average. Reading allows twice as many pairs as writing,
 * so that what was put can be read whatever the buckets are. */
#ifndef SHMS_COLLISIONS_H
#define SHMS_COLLISIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/base.h"

#define SHMS_COLLISIONS 5000000u /* about a second of comparisons */
#define SHMS_COLLISIONS_FROM 32u

struct shms_collisions {
    uint32_t *counts; /* NULL: not yet counted */
    uint64_t *left;   /* pairs that the value may still have */
    uint64_t seed;
    uint32_t shift;
    size_t keys; /* of the container, as its head says */
};

/* each: pairs that every key adds to those that are left. */
static inline void shms_collisions_begin(struct shms_collisions *c, size_t keys, uint64_t *left, uint64_t each) {
    c->counts = NULL;
    c->left = left;
    c->keys = keys;
    *left += each * keys;
}
static inline void shms_collisions_end(struct shms_collisions *c) { free(c->counts); }

/* Whether this key is to be counted. */
static inline bool shms_collisions_concern(const struct shms_collisions *c, PyObject *key) {
    PyTypeObject *type = Py_TYPE(key);
    return SHMS_UNLIKELY(c->keys > SHMS_COLLISIONS_FROM) && type != &PyUnicode_Type && type != &PyBytes_Type &&
           type != &PyFloat_Type && type != &PyBool_Type && key != Py_None;
}

enum shms_collision { SHMS_COUNTED, SHMS_TOO_MANY, SHMS_UNHASHABLE, SHMS_UNCOUNTED };
/* To be called for each key that is concerned. UNHASHABLE: with an exception. UNCOUNTED: no memory. */
enum shms_collision shms_collision_count(struct shms_collisions *c, PyObject *key, size_t packed_bytes);

#endif
