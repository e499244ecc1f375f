/* garbage_damage.c: damage to a store, as the bytes of a case say, and what it leaves as it was. */
#include "garbage_parts.h"

/* ---- damage */

uint64_t take(struct reader *r, int bytes) {
    uint64_t n = 0;
    for (int i = 0; i < bytes && r->at < r->end; i++)
        n |= (uint64_t)*r->at++ << (8 * i);
    return n;
}

static uint64_t word_at(const uint8_t *base, uint64_t at) {
    uint64_t w;
    memcpy(&w, base + at, 8);
    return w;
}

/* The address of a word that somebody will look at. */
static uint64_t where(const struct template *t, uint32_t kind, uint32_t i) {
    const struct shms_header *h = (const struct shms_header *)t->image;
    uint64_t at;
    switch (kind % 21) {
    case 0:
        at = i % 40 * 8;
        break;
    case 1:
        at = SHMS_PAGE / 4 + i % 128 * 8;
        break;
    case 2:
        at = h->slots_offset + i % h->bucket_count * SHMS_LINE;
        break;
    case 3:
        at = t->used_slots ? t->used_slot[i % t->used_slots] : h->slots_offset + 8;
        break;
    case 4:
        at = h->slots_offset + i % (h->bucket_count * 8) * 8;
        break;
    case 5:
    case 6:
        at = t->entries ? t->entry[i % t->entries].block + i / 256 % 5 * 8 : h->heap_offset;
        break;
    case 7:
        at = t->entries ? t->entry[i % t->entries].block + i / 256 % 16 * 8 : h->heap_offset;
        break;
    case 8:
        at = h->classes_offset + i % (SHMS_CLASSES * 8) * 8;
        break;
    case 9:
        at = h->pages_offset + i % h->heap_pages * sizeof(struct shms_page) + i / 256 % 4 * 8;
        break;
    case 10:
        at = h->page_bits_offset + i % ((h->heap_pages + 63) / 64 * 2) * 8;
        break;
    case 11:
    case 12:
        at = t->free_blocks ? t->free_block[i % t->free_blocks].at + i / 256 % 5 * 8 : h->heap_offset;
        break;
    case 13:
        at = t->free_blocks ? t->free_block[i % t->free_blocks].at + t->free_block[i % t->free_blocks].bytes - 8
                            : h->heap_offset;
        break;
    case 14:
        at = h->clients_offset + i % h->client_count * h->client_size + i / 256 % 6 * 8;
        break;
    case 15:
        at = h->clients_offset + i % h->client_count * h->client_size + 192 + i / 256 % 72 * 8;
        break;
    case 16:
        at = h->clients_offset + i % h->client_count * h->client_size + 768 + i / 256 % 8 * 8;
        break;
    case 17:
        at = h->summary_offset + i % 64 * 8;
        break;
    case 18:
        at = h->due_offset + i % ((h->bucket_count + 7) / 8) * 8;
        break;
    case 19:
        at = h->generations_offset + (i % 2 ? i % h->counters : i / 2 % 4) * 8;
        break;
    default:
        at = (uint64_t)i * 8;
    }
    return at % (t->size - 7);
}

/* A value at a boundary of something, or one that means something elsewhere. */
static uint64_t boundary(const struct template *t, uint64_t own, uint32_t kind, uint32_t i) {
    const struct shms_header *h = (const struct shms_header *)t->image;
    static const uint64_t plain[] = {0,
                                     1,
                                     2,
                                     7,
                                     15,
                                     16,
                                     48,
                                     255,
                                     256,
                                     4095,
                                     4096,
                                     1ull << 31,
                                     (1ull << 32) - 1,
                                     1ull << 32,
                                     1ull << 40,
                                     (1ull << 40) - 1,
                                     1ull << 44,
                                     1ull << 62,
                                     1ull << 63,
                                     UINT64_MAX,
                                     UINT64_MAX - 15,
                                     UINT64_MAX - 63,
                                     UINT64_MAX - 4095,
                                     UINT64_MAX - 65535,
                                     UINT64_MAX - 0xfffff,
                                     0xcccccccccccccccdull,
                                     0x5555555555555555ull,
                                     0xffff000000000000ull};
    uint64_t page = h->heap_offset + i % h->heap_pages * SHMS_PAGE, end = h->heap_offset + h->heap_pages * SHMS_PAGE;
    const uint64_t edges[] = {0,   8,       SHMS_HEADER_SIZE, h->heap_offset,   page, page + SHMS_PAGE, h->slots_offset,
                              end, t->size, h->pages_offset,  h->clients_offset};
    static const int64_t steps[] = {0, 1, -1, 8, -8, 16, -16, 40, -40, 48, -48, 64, -64, 4096, -4096};
    uint64_t offset;
    switch (kind % 12) {
    case 0:
        return plain[i % (sizeof plain / sizeof *plain)];
    case 1:
    case 2:
        return edges[i / 16 % 11] + (uint64_t)steps[i % 15];
    case 3:
        return own + (uint64_t)steps[i % 15];
    case 4:
        return ~own;
    case 5:
        return __builtin_bswap64(own);
    case 6:
        return own ^ 1ull << i % 64;
    case 7: /* the offset of a block, or what lies near it */
        offset = i % 2 && t->free_blocks ? t->free_block[i / 2 % t->free_blocks].at
                 : t->entries            ? t->entry[i / 2 % t->entries].block
                                         : page;
        return offset + (uint64_t)steps[i / 512 % 15];
    case 8: /* a slot's word, with another's tag or block */
        offset = t->used_slots ? word_at(t->image, t->used_slot[i % t->used_slots]) : 0;
        return i % 3 == 0   ? offset
               : i % 3 == 1 ? (own & ~SHMS_SLOT_OFFSET_MASK) | (offset & SHMS_SLOT_OFFSET_MASK)
                            : (own & SHMS_SLOT_OFFSET_MASK) | (offset & ~SHMS_SLOT_OFFSET_MASK);
    case 9: /* a lock word: any owner, any reach, waiters */
        return (own & ~0x1ffffffull) | (uint64_t)(i & 1) << 24 | (uint64_t)(i >> 1 & 0xff) << 16 |
               (i >> 9) % (h->client_count + 2u);
    case 10: /* an entry word: any state, any process */
        return SHMS_OWNER(own >> 48, i % 8, i / 8 % 2, i / 16 % 2 ? STUB_PID : i / 32 % 9);
    default: /* lengths of a block, at the edges of what fits */
        return SHMS_LENGTHS(i % 3 ? edges[i % 11] - (i & 48) : SHMS_VALUE_MAX, i / 16 % 5 == 0 ? 65535 : i / 16 % 64,
                            i % 32);
    }
}

static void set_word(uint8_t *base, uint64_t size, uint64_t at, uint64_t value) {
    at = size < 8 ? 0 : at % (size - 7);
    if (at % 8 == 0) /* others may be looking */
        shms_store_relaxed((_Atomic uint64_t *)(base + at), value);
    else
        memcpy(base + at, &value, 8);
}

void damage_once(const struct template *t, uint8_t *base, uint64_t *size, struct reader *r) {
    uint32_t kind = (uint32_t)take(r, 1), a, i, j;
    uint64_t at, bytes;
    const struct template *other;
    switch (kind % 16) {
    case 0:
    case 1:
    case 2:
    case 3: /* a word at its boundaries */
        a = (uint32_t)take(r, 1), i = (uint32_t)take(r, 2), j = (uint32_t)take(r, 2);
        at = where(t, a, i);
        set_word(base, *size, at, boundary(t, word_at(base, at), j % 16 < 12 ? j % 16 : a, j >> 4));
        break;
    case 4: /* a word, any value */
        a = (uint32_t)take(r, 1), i = (uint32_t)take(r, 2);
        set_word(base, *size, where(t, a, i), take(r, 8));
        break;
    case 5: /* half a word */
        a = (uint32_t)take(r, 1), i = (uint32_t)take(r, 2), j = (uint32_t)take(r, 2);
        at = where(t, a, i) + (j & 1) * 4;
        if (at + 4 <= *size) {
            uint32_t value = (uint32_t)boundary(t, word_at(base, at & ~7ull), j >> 1, j >> 5);
            memcpy(base + at, &value, 4);
        }
        break;
    case 6: /* a bit */
        at = take(r, 3) % *size;
        base[at] ^= (uint8_t)(1u << (take(r, 1) & 7));
        break;
    case 7: { /* a random page, or line */
        i = (uint32_t)take(r, 1), j = (uint32_t)take(r, 2);
        bytes = j & 1 ? SHMS_PAGE : SHMS_LINE;
        at = (j & 1 ? i * (uint64_t)SHMS_PAGE : (uint64_t)j * SHMS_LINE) % *size / bytes * bytes;
        uint64_t x = i * 0x9e3779b97f4a7c15ull + j;
        for (uint64_t k = 0; k + 8 <= bytes && at + k + 8 <= *size; k += 8) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            set_word(base, *size, at + k, x);
        }
        break;
    }
    case 8: /* bytes of one value */
        at = take(r, 3) % *size;
        bytes = shms_min(take(r, 2), *size - at);
        memset(base + at, (int[]){0, 0xff, 0x80, 1}[take(r, 1) & 3], bytes);
        break;
    case 9: /* another store's bytes at the same place */
    case 10:
        other = &templates[take(r, 1) % template_count];
        at = kind % 16 == 9 ? take(r, 1) * SHMS_PAGE : take(r, 2) * SHMS_LINE;
        bytes = kind % 16 == 9 ? SHMS_PAGE << (take(r, 1) & 3) : SHMS_LINE << (take(r, 1) & 7);
        at %= shms_min(*size, other->size);
        memcpy(base + at, other->image + at, shms_min(bytes, shms_min(*size, other->size) - at));
        break;
    case 11: { /* the other byte order: of a word, of all */
        i = (uint32_t)take(r, 2);
        uint64_t first = i % 4 ? where(t, i / 4, (uint32_t)take(r, 2)) & ~7ull : 0, last = i % 4 ? first + 8 : *size;
        for (at = first; at + 8 <= last && at + 8 <= *size; at += 8)
            set_word(base, *size, at, __builtin_bswap64(word_at(base, at)));
        break;
    }
    case 12: { /* pages that say they are others' */
        i = (uint32_t)take(r, 2), j = (uint32_t)take(r, 2);
        const struct shms_header *h = (const struct shms_header *)t->image;
        uint64_t one = h->pages_offset + i / 8 % h->heap_pages * sizeof(struct shms_page);
        uint64_t two = h->pages_offset + j / 8 % h->heap_pages * sizeof(struct shms_page);
        if (two + sizeof(struct shms_page) > *size)
            break;
        if (i % 2)
            set_word(base, *size, one, word_at(base, two)); /* its word */
        if (i / 2 % 2)
            set_word(base, *size, one + 8, word_at(base, two + 8)); /* its length and class, or its distance */
        if (i / 4 % 2)                                              /* another length or class */
            set_word(base, *size, one + 8, (uint64_t)(j % 80) << 8 | (j / 80 % 60 < SHMS_CLASSES ? j / 80 % 60 : 255));
        if (j % 8 == 0)
            set_word(base, *size, one + 16, ~0ull);
        break;
    }
    case 13: { /* from elsewhere in the same store */
        at = take(r, 3) % *size;
        uint64_t from = take(r, 3) % *size;
        bytes = shms_min(take(r, 2), *size - shms_max(at, from));
        memmove(base + at, base + from, bytes);
        break;
    }
    case 14: { /* bytes as they come */
        at = take(r, 3) % *size;
        bytes = shms_min(take(r, 1), *size - at);
        bytes = shms_min(bytes, (uint64_t)(r->end - r->at));
        memcpy(base + at, r->at, bytes);
        r->at += bytes;
        break;
    }
    default: /* a smaller segment, another version, a feature */
        i = (uint32_t)take(r, 1), j = (uint32_t)take(r, 1);
        if (i % 4 == 0) {
            uint64_t less = shms_max((uint64_t)(j % (*size / SHMS_PAGE) + 1) * SHMS_PAGE, SHMS_HEADER_SIZE);
            *size = shms_min(*size, less);
        } else
            ((uint32_t *)base)[i % 4 == 1 ? 4 : 6 + i / 4 % 6] = 1u << j % 32;
    }
}

/* ---- what damage leaves as it was */

static bool same(const struct template *t, const uint8_t *base, uint64_t at, uint64_t bytes) {
    return memcmp(t->image + at, base + at, bytes) == 0;
}

/* Words of pages, and what stands in a heap page, that is not a hint or free. *bodies: so are keys and values. */
static bool heap_same(const struct template *t, const uint8_t *base, bool *bodies) {
    struct shms_store original = {0};
    bool only_read;
    MUST(shms_segment_view(&original, t->image, t->size, &only_read) == SHMS_OK);
    const struct shms_header *h = (const struct shms_header *)t->image;
    *bodies = true;
    for (uint64_t page = 0; page < h->heap_pages; page++) {
        struct shms_span span;
        uint64_t at = h->pages_offset + page * sizeof(struct shms_page);
        if (!same(t, base, at, word_at(t->image, at) ? 16 : 8))
            return false;
        if (!shms_span_at(&original, page, &span))
            continue;
        for (uint32_t i = 0; i < span.blocks; i++) {
            uint64_t block = span.start + i * span.bytes, word = word_at(t->image, block);
            if (!same(t, base, block, word == span.free ? 8 : SHMS_BLOCK_HEADER))
                return false;
            *bodies = *bodies && (word == span.free || same(t, base, block, span.bytes));
        }
    }
    return true;
}

struct survey survey_of(const struct template *t, const uint8_t *base, uint64_t size) {
    const struct shms_header *h = (const struct shms_header *)t->image;
    struct survey v = {0};
    bool bodies;
    uint64_t hints = offsetof(struct shms_header, keep), after = offsetof(struct shms_header, resize);
    if (size != t->size || !same(t, base, 0, hints) || !same(t, base, after, SHMS_HEADER_SIZE - after))
        return v;
    v.header = true;
    v.table = same(t, base, h->slots_offset, h->bucket_count * SHMS_LINE) && same(t, base, h->summary_offset, 8);
    v.mild = v.table && !t->busy && same(t, base, h->pin_bits_offset, (h->client_count + 63) / 64 * 8) &&
             same(t, base, h->clients_offset, (uint64_t)h->client_count * h->client_size) &&
             same(t, base, h->due_offset, (h->bucket_count + 7) / 8 * 8) &&
             same(t, base, h->generations_offset, h->counters * 8) && heap_same(t, base, &bodies);
    v.soft = v.mild && bodies;
    return v;
}

/* Every byte that a reader of this entry looks at is as it was. */
bool intact(const struct template *t, const uint8_t *base, const struct survey *v, const struct entry *e) {
    const struct shms_header *h = (const struct shms_header *)t->image;
    if (!v->header || !e->present || !same(t, base, e->block, e->bytes) ||
        !same(t, base, h->generations_offset, h->counters * 8))
        return false;
    uint64_t words = ((h->bucket_count + SHMS_PAGE_BUCKETS - 1) / SHMS_PAGE_BUCKETS + 63) / 64 * 8;
    uint64_t hash = word_at(t->image, e->block + 8), home = ((hash >> 32) * h->bucket_count) >> 32;
    if (!same(t, base, h->summary_offset, words) || !same(t, base, h->slots_offset + home * SHMS_LINE + 2, 1))
        return false;
    if (v->table)
        return true;
    uint64_t tag = SHMS_SLOT_TAG(hash, home), mine = h->slots_offset + e->slot / 7 * SHMS_LINE + 8 + e->slot % 7 * 8;
    if (!same(t, base, mine, 8))
        return false;
    for (uint64_t at = h->slots_offset; at < h->slots_offset + h->bucket_count * SHMS_LINE; at += 8)
        if (at % SHMS_LINE && at != mine &&
            (SHMS_SLOT_TAG_OF(word_at(t->image, at)) == tag || SHMS_SLOT_TAG_OF(word_at(base, at)) == tag))
            return false;
    return true;
}
