/* scan_packed.h: one look at packed bytes before msgpack unpacks them
 *
 * unpackb allocates arrays as long as their headers claim, and each tuple or set inside another is copied
 * once more while it is unpacked. After this walk every item is known to be there, no container is deeper
 * than SHMS_SCAN_DEPTH, and the copies stay in proportion: memory and time follow the size of the bytes.
 *
 * shms_scan_packed(bytes) -> int   codecs/scan.py says the same in Python; a test compares them
 *   0 sound      one msgpack object and nothing behind it (its strs may still be no UTF-8)
 *   1 sound, and holds msgpack's own timestamp extension (code -1)
 *   2 malformed
 *   3 too deep
 *   4 extensions inside extensions copy too much
 *
 * The bytes are a Python object's, which nobody changes. Needs Python's limited API 3.10, included by scan.h.
 */
#ifndef SHMS_SCAN_PACKED_H
#define SHMS_SCAN_PACKED_H

#include <stdint.h>
#include <string.h>

#include "python/scan_limits.h"

enum {
    SHMS_SCAN_LAST_NESTED = 4,        /* extension codes 1 to 4 hold one packed array: see docs/format.md */
    SHMS_SCAN_COPIES = 8,             /* unpacking may copy so many times the size ... */
    SHMS_SCAN_FREE_COPIES = 64 << 20, /* ... and so many bytes more */
};

enum {
    SHMS_PACKED_SOUND,
    SHMS_PACKED_TIMESTAMP,
    SHMS_PACKED_MALFORMED,
    SHMS_PACKED_DEEP,
    SHMS_PACKED_COPIES,
};

/* A container that the walk is inside of. An extension's items must fill its payload exactly. */
typedef struct {
    uint64_t left;            /* items still to come */
    const unsigned char *end; /* of the bytes that they may take */
    int exact;
} packed_frame;

static inline uint64_t packed_number(const unsigned char *at, int width)
{
    uint64_t number = 0;

    while (width-- > 0)
        number = number << 8 | *at++;
    return number;
}

/* Bytes of an item whose first byte says it all; 0: a length follows, a container, or the unused 0xc1. */
static const unsigned char packed_size[256] = {
    [0x00 ... 0x7f] = 1, [0xe0 ... 0xff] = 1, [0xc0] = 1, [0xc2 ... 0xc3] = 1, /* small ints, nil, bool */
    [0xcc] = 2, [0xcd] = 3, [0xce] = 5, [0xcf] = 9, [0xca] = 5, [0xcb] = 9,    /* unsigned, float */
    [0xd0] = 2, [0xd1] = 3, [0xd2] = 5, [0xd3] = 9,                            /* signed */
};

/* What an item consists of behind its header: so many bytes, or so many items. */
typedef struct {
    uint64_t bytes;
    uint64_t items;
    int container; /* 1 array, 2 map: two items each */
    int extension; /* the first of the bytes is its code */
} packed_item;

/* Move *at behind the header. Return 0 when the bytes are no header. */
static int packed_header(const unsigned char **at, const unsigned char *end, packed_item *item)
{
    unsigned tag = *(*at)++;
    int width = 0; /* of the length that follows the tag */

    memset(item, 0, sizeof *item);
    if (packed_size[tag] != 0)
        item->bytes = packed_size[tag] - 1u;
    else if (tag == 0xc1)
        return 0;
    else if (tag < 0xa0) { /* short map, short array */
        item->container = tag < 0x90 ? 2 : 1;
        item->items = tag & 15;
    } else if (tag < 0xc0) /* short str */
        item->bytes = tag & 31;
    else if (tag < 0xc7) /* bin */
        width = 1 << (tag - 0xc4);
    else if (tag < 0xca) { /* ext */
        width = 1 << (tag - 0xc7);
        item->extension = 1;
    } else if (tag < 0xd9) { /* ext of 1, 2, 4, 8, 16 bytes */
        item->bytes = (1u << (tag - 0xd4)) + 1;
        item->extension = 1;
    } else if (tag < 0xdc) /* str */
        width = 1 << (tag - 0xd9);
    else { /* array, map */
        width = tag & 1 ? 4 : 2;
        item->container = tag < 0xde ? 1 : 2;
    }
    if (width > end - *at)
        return 0;
    if (item->container) {
        if (width > 0)
            item->items = packed_number(*at, width);
        item->items *= (unsigned)item->container;
    } else if (width > 0)
        item->bytes = packed_number(*at, width) + (unsigned)item->extension;
    *at += width;
    return item->bytes <= (uint64_t)(end - *at);
}

static int packed_walk(const unsigned char *at, const unsigned char *end)
{
    packed_frame frames[SHMS_SCAN_DEPTH + 1];
    packed_frame *frame = frames;
    uint64_t copies = (uint64_t)(end - at) * SHMS_SCAN_COPIES + SHMS_SCAN_FREE_COPIES;
    int verdict = SHMS_PACKED_SOUND;

    *frame = (packed_frame){.left = 1, .end = end, .exact = 1};
    for (;;) {
        packed_item item;
        packed_frame next = {.end = frame->end};

        for (; frame->left > 0 && at < next.end; frame->left--) { /* most items are small scalars */
            unsigned size = (*at & 0xe0) == 0xa0 ? (*at & 0x1fu) + 1 : packed_size[*at];

            if (size == 0 || size > next.end - at)
                break;
            at += size;
        }
        if (frame->left == 0) {
            if (frame->exact && at != frame->end)
                return SHMS_PACKED_MALFORMED;
            if (frame-- == frames)
                return verdict;
            continue;
        }
        frame->left--;
        if (at == next.end || !packed_header(&at, next.end, &item))
            return SHMS_PACKED_MALFORMED;
        if (item.extension) {
            unsigned code = *at;

            if (code == 0xff)
                verdict = SHMS_PACKED_TIMESTAMP;
            if (code == 0 || code > SHMS_SCAN_LAST_NESTED) {
                at += item.bytes;
                continue;
            }
            if (item.bytes > copies)
                return SHMS_PACKED_COPIES;
            copies -= item.bytes;
            next = (packed_frame){.end = at + item.bytes, .exact = 1};
            at++;
            if (at == next.end || !packed_header(&at, next.end, &item) || item.container != 1)
                return SHMS_PACKED_MALFORMED;
        } else if (!item.container) {
            at += item.bytes;
            continue;
        }
        /* Each item takes a byte at least: a longer array is a lie, for which unpackb would find memory. */
        if (item.items > (uint64_t)(next.end - at))
            return SHMS_PACKED_MALFORMED;
        if (frame == frames + SHMS_SCAN_DEPTH)
            return SHMS_PACKED_DEEP;
        next.left = item.items;
        *++frame = next;
    }
}

static PyObject *shms_scan_packed(PyObject *module, PyObject *packed)
{
    char *at;
    Py_ssize_t size;

    (void)module;
    if (PyByteArray_Check(packed)) { /* a large value that glue_read.c took for an extension */
        at = PyByteArray_AsString(packed);
        size = PyByteArray_Size(packed);
    } else if (PyBytes_AsStringAndSize(packed, &at, &size) < 0)
        return NULL;
    return PyLong_FromLong(packed_walk((const unsigned char *)at, (const unsigned char *)at + size));
}

#endif
