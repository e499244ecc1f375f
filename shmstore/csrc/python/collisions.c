/* collisions.c: see collisions.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "python/collisions.h"

#include "python/types.h"

#define BASE 8u       /* units of any comparison */
#define LONG_INT 256u /* bytes: from here on making digits of it takes longer than all else */

/* Keys of one hash: the first stands in the table, several have a group. */
struct shms_hash_entry {
    int64_t hash;
    uint32_t size;  /* of the first key; 0: the entry is free */
    uint32_t group; /* its number, from 1 on; 0: there is one key */
};
struct shms_hash_group {
    uint64_t sizes, squares, count, decimals; /* keys that hold one */
};

void shms_work_leaf(struct shms_work *w, int code, uint64_t bytes) {
    if (code == SHMS_EXT_DECIMAL)
        w->decimals++;
    else if ((code == SHMS_EXT_INT || code == SHMS_EXT_FRACTION) && bytes > LONG_INT)
        w->squares += bytes * bytes / 16;
    if (code == SHMS_EXT_FRACTION || code > SHMS_EXT_IN_C || code < 0)
        w->slow += 184; /* Python code compares them, or may */
}

/* A quarter of the entries at least stays free. */
static bool begin_table(struct shms_keys_of *k) {
    uint32_t bits = 2;
    while ((uint64_t)3 << bits < 4 * k->keys)
        bits++;
    k->salt = (uint64_t)(uintptr_t)k * 0x9e3779b97f4a7c15ull | 1;
    k->shift = 64 - bits;
    k->groups = NULL;
    k->group_count = 0;
    k->table = calloc((size_t)1 << bits, sizeof *k->table);
    return k->table != NULL;
}

static struct shms_hash_entry *find(const struct shms_keys_of *k, int64_t hash) {
    uint64_t mixed = ((uint64_t)hash ^ (uint64_t)hash >> 32) * 0x9e3779b97f4a7c15ull;
    uint64_t at = (mixed ^ mixed >> 29) * k->salt >> k->shift, last = UINT64_MAX >> k->shift;
    while (k->table[at].size && k->table[at].hash != hash)
        at = at == last ? 0 : at + 1;
    return &k->table[at];
}

/* A group for what stands in the entry; NULL: no memory. */
static struct shms_hash_group *group_of(struct shms_keys_of *k, struct shms_hash_entry *e) {
    if (!e->group) {
        if ((k->group_count & (k->group_count - 1)) == 0) { /* full at each power of two */
            size_t room = k->group_count ? 2 * (size_t)k->group_count : 1;
            struct shms_hash_group *more = realloc(k->groups, room * sizeof *more);
            if (!more)
                return NULL;
            k->groups = more;
        }
        k->groups[k->group_count] = (struct shms_hash_group){.sizes = e->size, .count = e->size != 0};
        e->group = ++k->group_count;
    }
    return &k->groups[e->group - 1];
}

static void spend(struct shms_keys_of *k, uint64_t units) {
    k->spent += units;
    k->work->spent += units;
}

enum shms_counted shms_key_end(struct shms_keys_of *k, const struct shms_work *before, PyObject *key,
                               uint64_t packed_bytes) {
    struct shms_work *w = k->work;
    bool is_int = Py_TYPE(key) == &PyLong_Type;
    w->inside--;
    if (k->keys < 2 || (is_int && packed_bytes <= 9) || Py_TYPE(key) == &PyFloat_Type || Py_TYPE(key) == &PyBool_Type ||
        key == Py_None)
        return SHMS_COUNTED;
    uint64_t inner = w->spent - before->spent, squares = w->squares - before->squares;
    bool decimal = w->decimals != before->decimals;
    uint64_t size = BASE + packed_bytes / (is_int ? 16 : 1) + (w->slow - before->slow) + inner;
    if (!k->table && !before->inside && k->keys <= SHMS_WORK_FEW && packed_bytes <= SHMS_WORK_SHORT && !inner &&
        !decimal) {
        k->uncounted++;
        return SHMS_COUNTED;
    }
    Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1)
        return SHMS_UNHASHABLE;
    if (!k->table && !begin_table(k))
        return SHMS_UNCOUNTED;
    struct shms_hash_entry *e = find(k, hash);
    bool first = !e->size;
    if (first) {
        e->hash = hash;
        if (squares || decimal) {
            struct shms_hash_group *g = group_of(k, e);
            if (!g)
                return SHMS_UNCOUNTED;
            *g = (struct shms_hash_group){size, squares, 1, decimal};
        }
        e->size = (uint32_t)shms_min(size, UINT32_MAX);
    } else {
        struct shms_hash_group *g = group_of(k, e);
        if (!g)
            return SHMS_UNCOUNTED;
        spend(k, (g->count * size + g->sizes) / 2 + squares * g->decimals + (decimal ? g->squares : 0));
        g->sizes += size;
        g->squares += squares;
        g->count++;
        g->decimals += decimal;
    }
    spend(k, k->uncounted * size); /* perhaps they have this hash */
    return SHMS_COUNTED;
}
