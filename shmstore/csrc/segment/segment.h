/* segment.h: a process's view of an attached store, and the only translation of offsets into addresses
 *
 * The header is read once, when a process attaches. It is checked and kept here, so nothing depends later on header
 * bytes that another process could overwrite. Every offset that is read from the segment afterwards passes through
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

/* What this process keeps of a size class (heap.c): a span that it allocates from, and the block that it freed last. */
struct shms_own_span {
    uint32_t span; /* first page + 1; 0 = none */
    uint32_t half; /* which word of the map `bits` came from */
    uint64_t bits; /* blocks that are free and this process's to take */
    uint64_t kept; /* offset of a free block; 0 = none */
};

/* A pin of this process. Views of the same life share it. */
struct shms_own_pin {
    uint64_t block, life;
    uint32_t users; /* 0: the pin is free */
};
#define SHMS_PINS_MAX 512u
#define SHMS_POLICY_SHARE 1024u /* a process keeps back a 1024th of the entries that the cache may have, */
#define SHMS_POLICY_MOST 8u     /* and at most eight */

struct shms_store {
    /* Protected by the lock of the list of attachments (attachments.c). */
    struct shms_store *next;
    uint32_t users; /* handles, and calls that are about to make one */
    enum shms_sharing { SHMS_ALONE, SHMS_CLAIMING, SHMS_SHARED } sharing;
    struct shms_store *successor; /* one that this one uses: after a resize, its client has gone on there */

    uint8_t *base; /* from here on shms_memory_choose clears everything */
    uint64_t size;
    int id; /* System V identifier, else -1 */
    int32_t key;
    bool readonly;
    bool without_slot; /* a forked child for which there was none: read-only until it claims one (handle.c) */
    struct shms_header *header;
    struct shms_bucket *buckets;
    _Atomic uint64_t *summary, *due, *pin_bits, *generations;
    uint32_t counters, counters_of_namespaces; /* 0: there are none (generations.h) */
    uint64_t counters_committed;               /* a bit for each page of them that this process has committed */
    _Atomic uint8_t *hints;
    _Atomic uint16_t *ghosts;
    uint8_t *clients;
    struct shms_class *classes;
    _Atomic uint64_t *taken, *present; /* a bit for each page of the heap: hints (span.h) */
    struct shms_page *pages;
    uint64_t bucket_count, group_count, table_pages;
    uint64_t ghost_sets, entries_max; /* 0: it is not a cache, and a full store refuses entries */
    uint64_t heap_offset, heap_end, heap_pages;
    uint32_t client_count, client_size, pin_count;
    uint64_t hash_key[2], number_multiplier, number_xor;
    uint8_t uuid[16];
    bool private_store;
    bool sparse; /* a page must be committed before it is read or written (memory.h) */

    /* This process as a client; number 0 = it is none (read-only, or not yet). A field below that is not atomic is
     * changed only with the GIL held, or by the thread that owns the bit concerned. */
    uint32_t number;
    struct shms_client *me;
    uint64_t owner;
    struct shms_identity identity;
    int liveness;
    uint64_t liveness_inode;
    uint32_t fork_epoch;
    _Atomic uint32_t records_busy;
    struct shms_own_pin own_pins[SHMS_PINS_MAX];
    _Atomic uint32_t pins_used;
    /* the last block, and its capacity: never read back from the segment (heap.c) */
    uint64_t allocated, allocated_life, allocated_bytes;
    uint64_t next_number, numbers_end; /* numbers that this process took and has not used (number of a life, life.h) */
    struct shms_own_span own[SHMS_CLASSES];
    uint64_t run_cursor, look_cursor;   /* where this process looks for free pages, and for spans, next */
    uint64_t closed_seen, pages_missed; /* no run of so many free pages was found, as long as no span has been closed */
    struct shms_own_hand {
        uint64_t turn, end;   /* this process's, of the hand */
        uint64_t word, found; /* eight hints, and a bit for each that is still to be looked at */
    } own_hands[2];
    uint64_t hand_stride;
    /* What this process has not yet added to the counts and clocks of the policy (policy.h, E4). */
    struct shms_own_policy {
        int32_t most, entries, small;
        uint32_t inserted, evicted;
    } policy;
    uint64_t random; /* of window.c */
    uint64_t spared; /* hash of the key for which room is being made: its own entry is not evicted (P5); 0: none */
    uint64_t due_cursor, due_earliest; /* this process's round over the due words (expire.c) */
    _Atomic uint32_t is_closing;       /* the closer record is in use */
    _Atomic uint64_t validated_at;     /* coarse clock when the kernel was last asked about the segment */
    uint64_t recovered_at;             /* coarse clock when all clients were looked at for want of room (op.c) */
    uint32_t recover_cursor;           /* and where the next look at clients, due words, pages begins */
    uint64_t room_group, tidy_page;
    uint64_t hunt_page;    /* where the next hunt for free pages looks (compact.c), */
    uint64_t run_found;    /* and what the last one has found, + 1 (pages.c) */
    uint64_t sweep_cursor; /* next group of buckets to sweep (expire.c) */
    struct shms_round {    /* over all groups, for what is outdated */
        uint64_t outdated; /* header.outdated at its beginning */
        bool passed_over;  /* something was left */
    } sweep_round, due_round;
    _Atomic uint64_t seen_at; /* slot in which the last entry was found (walk.c) */
    _Atomic uint64_t
        unmarked[SHMS_UNMARKED_REMEMBERED]; /* clients without liveness mark, and since when (liveness.c) */
    _Atomic uint64_t own_counters[SHMS_CLIENT_COUNTERS]; /* read-only attachments count here */
    _Atomic uint32_t last_dead_pid; /* for the log: the last dead process that left locks or blocks */
    _Atomic uint64_t takeovers;
    uint64_t deaths_logged;    /* how many of them were logged */
    struct shms_store *joined; /* after shms_open: the attachment to use instead of this one; NULL: this one */

    /* The memory that the store lives in (memory.h). */
    const struct shms_memory *memory;
    uint64_t root;    /* System V: identifier + 1 of the segment with the key, if that is another one (resize.h) */
    const char *call; /* the system call that failed last */
    int refused;      /* error number of the last removal; 0 = it succeeded */
    int fd;           /* POSIX: the open file; device and inode identify it (descriptor.h) */
    uint64_t device, inode;
    int64_t liveness_byte;              /* POSIX: the byte of this client's liveness lock; 0 = none */
    bool named;                         /* POSIX: the file has, or may have, a name */
    int short_of;                       /* error number of the last commit; 0 = it succeeded */
    _Atomic uint32_t calls_without_gil; /* threads that are reading without the GIL */
    bool is_named;                      /* an entry may name this client as its owner (owner.h) */
    char object[SHMS_OBJECT_MAX];       /* POSIX: the file's name in /dev/shm, or a path */
};

/* Sizes and offsets of a planned store. */
struct shms_geometry {
    uint64_t size, segment_size, max_entries; /* size: as asked for, in whole pages */
    uint32_t client_count, client_size, counters, counters_of_namespaces;
    uint64_t bucket_count, heap_pages;
    uint64_t pin_bits, classes, clients, generations, summary, due, hints, ghosts, page_bits, pages, slots,
        heap; /* offsets */
    uint64_t ghost_sets;
};
/* max_entries, max_clients: 0 = the default. evicts: it is a cache. unit: the segment is a multiple of it, a page or a
 * huge page.
 * SHMS_TOO_SMALL if the heap would be smaller than two fifths of the size; SHMS_TOO_LARGE. */
int shms_geometry_plan(uint64_t size, uint64_t max_entries, uint64_t max_clients, bool evicts, uint64_t unit,
                       struct shms_geometry *g);
/* The smallest size that can be planned for this number of entries. */
uint64_t shms_geometry_least(uint64_t max_entries, bool evicts);

/* Fills *s from a finished header: SHMS_OK, SHMS_CORRUPT, SHMS_FORMAT. *only_read: attach read-only. */
int shms_segment_view(struct shms_store *s, uint8_t *base, uint64_t size, bool *only_read);

static inline struct shms_client *shms_client_at(const struct shms_store *s, uint32_t index) {
    return (struct shms_client *)(s->clients + (uint64_t)index * s->client_size);
}

/* The block at an offset that was read from the segment; NULL if no block can be there. */
static inline struct shms_block *shms_block_at(const struct shms_store *s, uint64_t offset) {
    if (SHMS_UNLIKELY(offset < s->heap_offset || offset > s->heap_end - SHMS_BLOCK_MIN || offset % SHMS_GRANULE))
        return NULL;
    return (struct shms_block *)(s->base + offset);
}

static inline uint64_t shms_home_of(const struct shms_store *s, uint64_t hash) {
    return ((hash >> 32) * s->bucket_count) >> 32;
}
static inline uint64_t shms_hash_of(const struct shms_store *s, const void *key, uint32_t length, uint32_t kind) {
    /* The kind of the key is hashed with it, so "a" and b"a" are different keys. */
    return shms_siphash13(key, length, s->hash_key[0] ^ (kind & SHMS_KEY_FLAGS), s->hash_key[1]);
}

/* Commits memory before it is touched for the first time, even for reading. False: the system has no page for it. A
 * committed page stays, except in free memory (pages.c). Code that must call it:
 *   header, pin bits, classes       the creator (prepare in open.c)
 *   a client slot                   the first process that claims it, before it raises clients_high (clients.c)
 *   a page of the slot table, with its words of the summary and its due words
 *                                   shms_bucket_use, before it sets the bit of the summary
 *   page bits and pages             the process that raises pages_high (pages.c)
 *   the heap                        the process that opens a span, before any block of it is free (span.c)
 *   a page of the generations       the process that puts or evicts by a counter of it (generations.c)
 *   the hints of a cache            with their page of the slot table
 *   the ghosts of a cache           the creator
 * The hints of other stores are never touched. */
bool shms_commit_sparse(struct shms_store *s, uint64_t offset, uint64_t bytes);
static inline bool shms_commit(struct shms_store *s, uint64_t offset, uint64_t bytes) {
    return SHMS_LIKELY(!s->sparse) || shms_commit_sparse(s, offset, bytes);
}

/* ---- occupancy summary [summary]: a bit for each page of the slot table, set before the page is first written. So no
 * process touches a page of a sparse store just by looking. The set pairs with the acquire loads here: a process that
 * knows of an entry finds its bucket marked, and one that finds it unmarked looked before the entry was published. */
static inline bool shms_page_in_use(const struct shms_store *s, uint64_t page) {
    if (!((shms_load_acquire(&s->header->summary_top[(page >> 15) >> 6 & (SHMS_SUMMARY_TOP_WORDS - 1)]) >>
           ((page >> 15) & 63)) &
          1))
        return false;
    return (shms_load_acquire(&s->summary[page >> 6]) >> (page & 63)) & 1;
}
static inline bool shms_bucket_in_use(const struct shms_store *s, uint64_t bucket) {
    return shms_page_in_use(s, bucket / SHMS_PAGE_BUCKETS);
}
/* Marks the page as used. False: the system has no memory for it. */
bool shms_page_use(struct shms_store *s, uint64_t page);
static inline bool shms_bucket_use(struct shms_store *s, uint64_t bucket) {
    uint64_t page = bucket / SHMS_PAGE_BUCKETS;
    return SHMS_LIKELY(shms_page_in_use(s, page)) || shms_page_use(s, page);
}
/* The first used page at or after `page`; table_pages if there is none. */
uint64_t shms_next_page_in_use(const struct shms_store *s, uint64_t page);

static inline bool shms_evicts(const struct shms_store *s) { return s->ghost_sets != 0; }

static inline void shms_stat(struct shms_store *s, int counter, uint64_t n) {
    shms_count(s->me ? &s->me->counters[counter] : &s->own_counters[counter], n);
}

#endif
