/* types.h: which Python types are written and read in C, and what each interpreter keeps for that.
 *
 * A type is looked up by its address in a small table. What is not there is asked for once in Python
 * (codecs/registry.py: find), which knows the types of other packages and of users, and answers with an extension code
 * and an encoder, or with a code alone for what pack_types.c writes itself. Everything kept is owned by one
 * interpreter's module, and touched with its GIL held. Needs the limited API 3.10; included after Python.h. */
#ifndef SHMS_TYPES_H
#define SHMS_TYPES_H

#include <stdbool.h>
#include <stdint.h>

/* Extension codes (docs/format.md) that C writes and reads. Those from 15 on are Python's. */
enum shms_extension {
    SHMS_EXT_TUPLE = 1,
    SHMS_EXT_SET,
    SHMS_EXT_FROZENSET,
    SHMS_EXT_SLICE,
    SHMS_EXT_INT,
    SHMS_EXT_DECIMAL,
    SHMS_EXT_FRACTION,
    SHMS_EXT_RANGE,
    SHMS_EXT_COMPLEX,
    SHMS_EXT_DATETIME,
    SHMS_EXT_DATE,
    SHMS_EXT_TIME,
    SHMS_EXT_TIMEDELTA,
    SHMS_EXT_UUID,
    SHMS_EXT_IN_C = SHMS_EXT_UUID,
    SHMS_EXT_MEMORY = 15, /* from here on mostly one piece of memory */
    SHMS_EXT_OF_USERS = 64,
};

struct shms_type {
    PyTypeObject *type; /* owned, so that its address is not another type's */
    PyObject *encode;   /* owned: object -> bytes; NULL: pack_types.c writes it */
    int code;
};
#define SHMS_TYPES_KEPT 64u /* a power of two; when three quarters are taken all are forgotten */

/* Attributes and methods by name, and the classes that values are made of once their module is imported. */
enum shms_word {
    SHMS_WORD_BIT_LENGTH,
    SHMS_WORD_DAYS,
    SHMS_WORD_DENOMINATOR,
    SHMS_WORD_FROM_BYTES,
    SHMS_WORD_INT,
    SHMS_WORD_IS_SAFE,
    SHMS_WORD_MICROSECONDS,
    SHMS_WORD_NUMERATOR,
    SHMS_WORD_REDUCE,
    SHMS_WORD_SECONDS,
    SHMS_WORD_START,
    SHMS_WORD_STEP,
    SHMS_WORD_STOP,
    SHMS_WORD_TO_BYTES,
    SHMS_WORD_TZINFO,
    SHMS_WORD_VALUE,
    SHMS_WORDS
};

/* Whether dates, and datetimes, lie in memory as pack_types.c expects: one sample tells. */
enum shms_layout { SHMS_LAYOUT_UNTRIED, SHMS_LAYOUT_EXPECTED, SHMS_LAYOUT_OTHER };

struct shms_types {
    struct shms_type kept[SHMS_TYPES_KEPT];
    uint32_t count;
    PyObject *words[SHMS_WORDS];
    PyObject *sixty_four, *four, *big, *is_signed;         /* the ints 64 and 4, the str "big", ("signed",) */
    PyObject *find, *leaf, *zone_of, *zone_from, *classes; /* Python's part: codecs/msgpack.py sets them */
    PyObject *made_of[SHMS_EXT_IN_C + 1];                  /* class by extension code; NULL: not needed yet */
    enum shms_layout layout[2];
    PyObject *safe_unknown; /* uuid.SafeUUID.unknown */
    /* The zone met last, when writing and when reading: most values have one zone. */
    PyObject *zone, *zone_bytes;
    int zone_kind;
    PyObject *read_zone, *read_zone_bytes;
    int read_zone_kind;
};

/* Calls Python's part of the codec with one or two (or NULL) arguments: NULL with an exception, also when the interpreter
 * has taken that part down. */
PyObject *shms_call_python(PyObject *function, PyObject *first, PyObject *second);
bool shms_types_init(struct shms_types *t);
void shms_types_forget(struct shms_types *t);
void shms_types_clear(struct shms_types *t);
/* The entry of a type, NULL if it is not stored; *raised: NULL because of an exception. May run Python code. */
const struct shms_type *shms_type_find(struct shms_types *t, PyTypeObject *type, bool *raised);
/* The class of values with this code. Borrowed; NULL with an exception. */
PyObject *shms_type_of_code(struct shms_types *t, int code);

#endif
