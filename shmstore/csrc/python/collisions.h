/* collisions.h: a bound on the comparisons that keys with one hash cost.
 *
 * A dict or set compares a new key with each one that has the same hash. Hashes of str and bytes are salted, those of ints
 * of 64 bits and of floats meet ten or thirty at a time at most. But multiples of 2^61 - 1 all hash to 0, and so do UUIDs,
 * Decimals, tuples, frozensets ... of them: n such keys take n^2 / 2 comparisons, with the GIL held. So for each dict and set
 * of a value it is counted what its keys will cost, and a value may cost SHMS_WORK_FREE units, or SHMS_WORK_EACH for each of
 * its bytes, if that is more. A unit is a byte that a comparison goes through, some three nanoseconds.
 *
 *   a key's size   its packed bytes (a sixteenth of them for an int, whose digits are compared thirty bits at a time); more
 *                  for types whose == is slow; and what the keys inside it cost: two frozensets are compared member by
 *                  member, each with all that have its hash
 *   a pair         the mean of both sizes
 *   a Decimal      makes a Decimal of an int that it is compared with, which takes the square of the int's length
 *
 * Writing and reading count alike, so what can be put can be read; only that writing compares nothing.
 *
 * The keys of a container that has few are not counted, unless it is part of a key itself: they cost at most so many times
 * their size.
 *
 * LIMITS  Different hashes can meet in a table as well: whoever knows how Python probes can choose ints that make a dict
 *         slow. Nothing is counted there. */
#ifndef SHMS_COLLISIONS_H
#define SHMS_COLLISIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/base.h"

#define SHMS_WORK_FREE 128000000u /* less than half a second */
#define SHMS_WORK_EACH 32u
#define SHMS_WORK_FEW 32u     /* keys of a container that is not counted ... */
#define SHMS_WORK_SHORT 1024u /* ... and bytes of each */

/* What one walk, over a value or over bytes, knows of the keys so far. */
struct shms_work {
    uint64_t spent;    /* units */
    uint64_t slow;     /* units that the slow == of objects so far adds to their size */
    uint64_t squares;  /* units that a Decimal would take to be compared with the ints so far */
    uint64_t decimals; /* so far */
    uint32_t inside;   /* keys that the walk is inside of */
};

/* An object of an extension that is no container was written or read, with so many bytes of payload. */
void shms_work_leaf(struct shms_work *w, int code, uint64_t bytes);

static inline uint64_t shms_work_allowed(uint64_t bytes) {
    return bytes > SHMS_WORK_FREE / SHMS_WORK_EACH ? bytes * SHMS_WORK_EACH : SHMS_WORK_FREE;
}

/* The keys of one dict or set. */
struct shms_keys_of {
    struct shms_work *work;
    uint64_t keys;                 /* there will be so many */
    uint64_t uncounted;            /* met so far */
    uint64_t spent;                /* units, for these keys alone */
    struct shms_hash_entry *table; /* NULL: none is counted yet, and what follows is not set */
    struct shms_hash_group *groups;
    uint64_t salt; /* unknown to a stranger */
    uint32_t shift, group_count;
};

static inline void shms_keys_begin(struct shms_keys_of *k, struct shms_work *work, uint64_t keys) {
    k->work = work;
    k->keys = keys;
    k->uncounted = k->spent = 0;
    k->table = NULL;
}
static inline void shms_keys_end(struct shms_keys_of *k) {
    if (SHMS_UNLIKELY(k->table)) {
        free(k->table);
        free(k->groups);
    }
}

/* Around each key that is neither str nor bytes: before it is walked, and after. */
static inline struct shms_work shms_key_begin(struct shms_keys_of *k) {
    struct shms_work before = *k->work;
    k->work->inside++;
    return before;
}
enum shms_counted { SHMS_COUNTED, SHMS_UNHASHABLE, SHMS_UNCOUNTED };
/* UNHASHABLE: with an exception. UNCOUNTED: no memory. */
enum shms_counted shms_key_end(struct shms_keys_of *k, const struct shms_work *before, PyObject *key,
                               uint64_t packed_bytes);

#endif
