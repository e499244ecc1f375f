/* pack.h: values to msgpack and back, in one walk each.
 *
 * Both know the types of msgpack (None, bool, int of 64 bits, float, str, bytes, list, dict) and those of the standard
 * library that docs/values.md lists; types of other packages and of users are written and read by Python functions, for
 * one object each (types.h). Types are looked at exactly.
 *
 * LIMITS, the same on both sides, so that what can be put can be read:
 *   depth       SHMS_DEPTH containers inside one another
 *   nodes       SHMS_NODES objects, counting a shared one as often as it is met
 *   lengths     msgpack's, 32 bits
 *   collisions  of keys with one hash, of types whose hashes can be chosen, so many comparisons (collisions.h)
 * and when reading
 *   memory      a container is made only if every element that it and those around it still lack can have a byte: then all
 *               containers together have no more elements than the value has bytes, however they are nested
 *
 * The GIL is kept. Python code runs for types of other packages and of users, and in finalizers when a container is made.
 * So the walk over a value owns the container that it is in and whatever it hands to a call; sizes are looked at again
 * afterwards. Reading is from a private copy, never from the segment.
 *
 * Needs the limited API 3.10; included after Python.h. */
#ifndef SHMS_PACK_H
#define SHMS_PACK_H

#include <stdint.h>

#include "base/base.h"
#include "python/collisions.h"
#include "python/types.h"

#define SHMS_DEPTH 256
#define SHMS_NODES (1u << 27)
#define SHMS_PACK_INLINE 2048u

struct shms_packed {
    uint8_t *bytes;
    size_t length, room;
    PyObject *culprit;               /* owned, or NULL: the container that CROWDED or TOO_LARGE is about */
    uint8_t first[SHMS_PACK_INLINE]; /* most values need no memory of their own */
};

static inline void shms_packed_init(struct shms_packed *p) {
    p->bytes = p->first;
    p->length = 0;
    p->culprit = NULL;
    p->room = sizeof p->first;
}
void shms_packed_free(struct shms_packed *p);

/* REFUSED: no exception is pending; codecs/error_path.py finds out why. RAISED: one is, of a function of Python's.
 * ENDLESS: refused for more than SHMS_NODES objects; CROWDED: for too many keys of one hash; TOO_LARGE: for a container that is
 * packed as one piece and has more than 2^32 - 1 bytes. codecs/error_path.py has these numbers. IN_PARTS: the value is of a type whose memory need not be gathered first; its function in Python gives the parts. */
enum shms_pack_result {
    SHMS_PACKED,
    SHMS_PACK_REFUSED,
    SHMS_PACK_ENDLESS,
    SHMS_PACK_CROWDED,
    SHMS_PACK_TOO_LARGE,
    SHMS_PACK_NO_MEMORY,
    SHMS_PACK_RAISED,
    SHMS_PACK_IN_PARTS
};
/* Appends the value to *p. After anything but SHMS_PACKED what was appended is to be thrown away. */
enum shms_pack_result shms_pack(struct shms_packed *p, PyObject *value, struct shms_types *types);
/* The same of values without any extension; all others are refused. */
enum shms_pack_result shms_pack_plain(struct shms_packed *p, PyObject *value, struct shms_types *types);

/* The head of a msgpack bin of so many bytes (below 2^32), into head[5]: its length. */
uint32_t shms_pack_bin_head(uint8_t head[5], uint64_t bytes);

/* What one walk over a value carries. */
struct shms_pack {
    struct shms_packed *to;
    struct shms_types *types;
    uint32_t nodes; /* still allowed: a list that holds another one twice, thirty levels deep, has no end */
    bool plain;     /* no extension is allowed */
    struct shms_work work;
    uint64_t most; /* units that one container's keys cost */
};

/* pack_types.c: an object that C knows by its code, tuples and other containers excepted. */
enum shms_pack_result shms_pack_leaf(struct shms_pack *w, PyObject *value, int code);

static inline void shms_put_number(uint8_t *at, uint64_t number, int bytes) {
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}
/* Room for so many bytes, already counted in; NULL: no memory. */
uint8_t *shms_packed_grow(struct shms_packed *p, size_t more);
static inline uint8_t *shms_packed_take(struct shms_packed *p, size_t bytes) {
    if (p->room - p->length < bytes)
        return shms_packed_grow(p, bytes);
    uint8_t *at = p->bytes + p->length;
    p->length += bytes;
    return at;
}
/* The head of an extension, and its payload if there is one here. */
enum shms_pack_result shms_pack_extension(struct shms_packed *p, int code, const void *payload, size_t bytes);

/* Keys come again and again: short ones are kept with their object, whose hash is known, too. A new key takes the place
 * of another one. All zero: none is kept. Owned by one interpreter, and touched with its GIL held. */
#define SHMS_KEYS_KEPT 1024u
#define SHMS_KEY_KEPT_MAX 31u
struct shms_kept_key {
    PyObject *object;
    uint8_t length;
    uint8_t bytes[SHMS_KEY_KEPT_MAX];
};
void shms_keys_free(struct shms_kept_key keys[SHMS_KEYS_KEPT]);

/* Why bytes are no value. */
struct shms_unpack_error {
    const char *why; /* NULL: an exception is pending, raised by a function of Python's */
    int code;        /* of the extension that it was in; -1: none */
    size_t bytes;    /* of its payload */
};
/* What one walk over bytes carries. */
struct shms_unpack {
    const uint8_t *at, *end;
    uint64_t owed; /* elements that the containers around still lack */
    struct shms_types *types;
    struct shms_kept_key *keys;
    struct shms_unpack_error *error;
    struct shms_work work;
    uint64_t allowed; /* units of it */
};
/* A new reference; NULL with *error filled. */
PyObject *shms_unpack(const uint8_t *bytes, size_t length, struct shms_types *types, struct shms_kept_key *keys,
                      struct shms_unpack_error *error);
/* Whether bytes are one value within the limits, for a decoder that has none: NULL, or why not. */
const char *shms_unpack_check(const uint8_t *bytes, size_t length);
/* The object of an extension, from its whole payload, for a decoder that leaves extensions to others. */
PyObject *shms_unpack_extension(int code, const uint8_t *bytes, size_t length, struct shms_types *types,
                                struct shms_kept_key *keys, struct shms_unpack_error *error);
/* unpack_types.c: the object of an extension that C knows, from its whole payload. NULL with u->error->why, or with an
 * exception. */
PyObject *shms_unpack_leaf(struct shms_unpack *u, int code, const uint8_t *bytes, size_t length);

static inline uint64_t shms_get_number(const uint8_t *at, int bytes) {
    uint64_t n = 0;
    for (int i = 0; i < bytes; i++)
        n = n << 8 | at[i];
    return n;
}
static inline PyObject *shms_unpack_failed(struct shms_unpack *u, const char *why) {
    u->error->why = why;
    return NULL;
}

#endif
