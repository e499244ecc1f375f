/* segment.h: one process's view of an attached store, and the only translation of offsets into addresses.
 *
 * What stands in the header is read once, at attach, checked, and kept here: nothing later depends on header
 * bytes that somebody may scribble on. Every offset that comes out of the segment afterwards passes through
 * shms_block_at (P6). */
#ifndef SHMS_SEGMENT_H
#define SHMS_SEGMENT_H

#include "base/codec.h"
#include "base/hash.h"
#include "base/layout.h"
#include "os/os.h"

#define SHMS_UNMARKED_REMEMBERED 16u
#define SHMS_OBJECT_MAX 256u

struct shms_memory;

struct shms_store {
    struct shms_store *next; /* all attachments of the process, for the fork handler; first, see shms_memory_choose */
    uint8_t *base;
    uint64_t size;
    int id;           /* System V identifier, else -1 */
    int32_t key;
    bool readonly;
    struct shms_header *header;
    struct shms_bucket *buckets;
    _Atomic uint64_t *summary, *due, *pin_bits;
    uint8_t *hints, *clients;
    struct shms_arena *arenas;
    uint64_t bucket_count, group_count, table_pages;
    uint64_t heap_offset, heap_end, arena_size;
    uint32_t arena_count, client_count, client_size, pin_count;
    uint64_t hash_key[2], sequence_multiplier, sequence_xor;
    uint8_t uuid[16];
    bool private_store;
    bool sparse; /* a page must be committed before it is read or written (memory.h) */

    /* This process as a client; 0 = none (read-only, or not yet). Everything below is touched only with the
     * GIL held, or by the one thread that owns the bit it touches, unless it is atomic. */
    uint32_t number;
    struct shms_client *me;
    uint64_t owner;
    struct shms_identity identity;
    int liveness;
    uint64_t liveness_inode;
    uint32_t fork_epoch;
    _Atomic uint32_t records_busy;
    uint64_t pins_busy[8];
    uint32_t pins_used;
    _Atomic uint64_t validated_at; /* coarse clock at the last look at the kernel's view of the segment */
    uint64_t sweep_cursor;   /* next line of due words (expire.c) */
    _Atomic uint64_t unmarked[SHMS_UNMARKED_REMEMBERED]; /* beacons seen to be out, and since when (liveness.c) */
    _Atomic uint64_t own_counters[SHMS_CLIENT_COUNTERS]; /* read-only attachments count here */
    _Atomic uint32_t last_dead_pid; /* for the log: whose locks were taken over */
    _Atomic uint64_t takeovers, rebuilds;

    /* The memory it lives in (memory.h). */
    const struct shms_memory *memory;
    const char *call;         /* the system call that failed last; refused: and its error number, where nobody returns it */
    int refused;
    int fd;                   /* POSIX: the file, and how to know it again (descriptor.h) */
    uint64_t device, inode;
    int64_t liveness_byte;      /* POSIX: the byte that says I live; 0 = none */
    bool named;               /* POSIX: it was found, or may be found, under its name */
    int short_of;             /* why the last commit failed: an error number; 0 after one that went well */
    _Atomic uint32_t calls_without_gil;   /* threads that read without the GIL */
    char object[SHMS_OBJECT_MAX]; /* POSIX: the file's name in /dev/shm, or a path */
};

/* Sizes of a store to be. */
struct shms_geometry {
    uint64_t size, max_entries;
    uint32_t client_count, client_size, arena_count, namespace_count;
    uint64_t bucket_count, arena_size;
    uint64_t pin_bits, clients, summary, due, slots, hints, namespaces, arenas, heap; /* offsets */
};
/* SHMS_TOO_SMALL when less than two fifths would be left to the heap. */
int shms_geometry_plan(uint64_t size, uint64_t max_entries, struct shms_geometry *g);
/* The least size that can be planned for so many entries. */
uint64_t shms_geometry_least(uint64_t max_entries);

/* Fills *s from a ready header; SHMS_OK, SHMS_CORRUPT, SHMS_FORMAT; *only_read: attach read-only. */
int shms_segment_view(struct shms_store *s, uint8_t *base, uint64_t size, bool *only_read);

static inline struct shms_client *shms_client_at(const struct shms_store *s, uint32_t index) {
    return (struct shms_client *)(s->clients + (uint64_t)index * s->client_size);
}

static inline uint32_t shms_arena_of(const struct shms_store *s, uint64_t offset) {
    uint32_t a = 0;
    for (uint64_t end = s->heap_offset + s->arena_size; offset >= end && a + 1 < s->arena_count; end += s->arena_size)
        a++;
    return a;
}
static inline uint64_t shms_arena_base(const struct shms_store *s, uint32_t a) {
    return s->heap_offset + a * s->arena_size;
}
static inline uint64_t shms_arena_end(const struct shms_store *s, uint32_t a) {
    return shms_arena_base(s, a) + s->arena_size;
}

/* The block at an offset that came out of the segment, or NULL if none can be there. */
static inline struct shms_block *shms_block_at(const struct shms_store *s, uint64_t offset) {
    if (SHMS_UNLIKELY(offset < s->heap_offset || offset > s->heap_end - SHMS_BLOCK_MIN || offset % SHMS_GRANULE))
        return NULL;
    return (struct shms_block *)(s->base + offset);
}

static inline uint64_t shms_home_of(const struct shms_store *s, uint64_t hash) {
    return ((hash >> 32) * s->bucket_count) >> 32;
}
static inline uint64_t shms_hash_of(const struct shms_store *s, const void *key, uint32_t length, uint32_t kind) {
    /* str and bytes names are distinct: the kind of key is part of what is hashed */
    return shms_siphash13(key, length, s->hash_key[0] ^ (kind & SHMS_FLAG_BYTES_KEY), s->hash_key[1]);
}

/* Before memory is touched for the first time, reading included: false if the system has no page for it. A page that
 * was committed once stays, but in free memory (arena.c). Who does it for
 *   header, pin bits, arenas        the creator (create.c)
 *   a client's entry                whoever claims it first, before clients_high is raised (clients.c)
 *   a page of the slot table, what the summary and the due words say of it
 *                                   shms_bucket_use, before the summary is
 *   blocks, and heads and ends of free runs
 *                                   arena.c, before anything of the arena is changed
 * Hints and namespaces are not touched. */
bool shms_commit_sparse(struct shms_store *s, uint64_t offset, uint64_t bytes);
static inline bool shms_commit(struct shms_store *s, uint64_t offset, uint64_t bytes) {
    return SHMS_LIKELY(!s->sparse) || shms_commit_sparse(s, offset, bytes);
}

/* ---- occupancy summary [summary]: a bit per page of the slot table, set before the page is first written, so
 * that nobody commits a page of a sparse store by looking at it. The set pairs with the acquire loads: whoever
 * finds an entry's bucket marked sees it; whoever finds it unmarked came before the entry was published. */
static inline bool shms_page_in_use(const struct shms_store *s, uint64_t page) {
    if (!((shms_load_acquire(&s->header->summary_top[(page >> 15) >> 6 & (SHMS_SUMMARY_TOP_WORDS - 1)]) >>
           ((page >> 15) & 63)) & 1))
        return false;
    return (shms_load_acquire(&s->summary[page >> 6]) >> (page & 63)) & 1;
}
static inline bool shms_bucket_in_use(const struct shms_store *s, uint64_t bucket) {
    return shms_page_in_use(s, bucket / SHMS_PAGE_BUCKETS);
}
/* False: the system has no memory for that page. */
bool shms_page_use(struct shms_store *s, uint64_t page);
static inline bool shms_bucket_use(struct shms_store *s, uint64_t bucket) {
    uint64_t page = bucket / SHMS_PAGE_BUCKETS;
    return SHMS_LIKELY(shms_page_in_use(s, page)) || shms_page_use(s, page);
}
/* The first page in use at or after `page`; table_pages when there is none. */
uint64_t shms_next_page_in_use(const struct shms_store *s, uint64_t page);

static inline void shms_stat(struct shms_store *s, int counter, uint64_t n) {
    shms_count(s->me ? &s->me->counters[counter] : &s->own_counters[counter], n);
}

#endif
