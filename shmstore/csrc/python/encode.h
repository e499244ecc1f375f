/* encode.h: a value as what a put writes: head, body, codec, and the records of an extension (docs/format.md) */
#ifndef SHMS_PYTHON_ENCODE_H
#define SHMS_PYTHON_ENCODE_H

#include "python/call.h"

#define SHMS_CODEC_NAME_MAX 64
#define SHMS_CODEC_EXTENSION (8 + 4 + SHMS_CODEC_NAME_MAX + 4) /* bytes of an extension with a codec's name */
#define SHMS_COST_RECORD 16                                    /* bytes of a record with a cost */

/* A value to be put, packed here if it is plain, else by store._encode_parts. The buffer lives as long as the put. */
struct shms_encoded {
    struct shms_packed packed;
    PyObject *bytes; /* owns what head and body point to, or NULL */
    uint8_t extension[SHMS_CODEC_EXTENSION + SHMS_COST_RECORD];
};
/* An extension of a block that holds a codec's name (docs/format.md): its length. */
uint32_t shms_codec_extension(uint8_t extension[SHMS_CODEC_EXTENSION], const char *name, Py_ssize_t length);
/* Adds a record to the extension of *p, which lies in *e: what computing the value took, in ns. */
void shms_cost_extension(struct shms_encoded *e, struct shms_put *p, uint64_t cost);
/* The extension with these generations first, and then the records of another one: its length. */
uint32_t shms_generations_extension(uint8_t extension[SHMS_EXT_MAX], const struct shms_generations *g,
                                    const void *others, uint32_t others_length);
/* Fills body, head, length and codec of *p, and its extension, which lies in *e: SHMS_OK, SHMS_RAISED, SHMS_NO_MEMORY.
 * Runs Python code: before shms_call_begin. */
int shms_encode(PyObject *store, PyObject *key, PyObject *value, struct shms_encoded *e, struct shms_put *p);
void shms_encoded_free(struct shms_encoded *e);
/* Raises what the store makes of the exception that is pending, about this entry: SHMS_RAISED. */
int shms_unencodable(PyObject *store, PyObject *key, PyObject *value);

#endif
