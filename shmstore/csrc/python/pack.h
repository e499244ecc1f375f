/* pack.h: plain values to msgpack and back, in one walk each.
 *
 * Plain is what msgpack itself keeps: None, bool, int of 64 bits, float, str, bytes, list and dict of exactly these
 * types, no deeper than SHMS_SCAN_DEPTH. Everything else, and everything wrong, is left to codecs/msgpack.py, which
 * knows the extension types and says what is wrong with what: these two only say "not for me". The bytes are those
 * that msgpack's Packer writes (tests/unit/test_pack.py compares them).
 *
 * The GIL is kept and packing runs no Python code, not even a collection, so nothing changes under
 * the walk. Unpacking makes containers, which may start one: it reads a private copy, never the segment.
 *
 * Needs Python's limited API 3.10; included after Python.h. */
#ifndef SHMS_PACK_H
#define SHMS_PACK_H

#include <stdint.h>

#define SHMS_PACK_INLINE 2048u

struct shms_packed {
    uint8_t *bytes;
    size_t length, room;
    uint8_t first[SHMS_PACK_INLINE]; /* most values need no memory of their own */
};

static inline void shms_packed_init(struct shms_packed *p) {
    p->bytes = p->first;
    p->length = 0;
    p->room = sizeof p->first;
}
void shms_packed_free(struct shms_packed *p);

enum shms_pack_result { SHMS_PACKED, SHMS_PACK_OTHER, SHMS_PACK_NO_MEMORY };
/* Appends the value to *p. After anything but SHMS_PACKED what was appended is to be thrown away; no exception is
 * pending. */
enum shms_pack_result shms_pack(struct shms_packed *p, PyObject *value);

/* The head of a msgpack bin of so many bytes (below 2^32), into head[5]: its length. */
uint32_t shms_pack_bin_head(uint8_t head[5], uint64_t bytes);

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

/* A new reference; NULL with no exception pending: not plain, not sound, or no memory for it. */
PyObject *shms_unpack(const uint8_t *bytes, size_t length, struct shms_kept_key keys[SHMS_KEYS_KEPT]);

#endif
