/* layout.h: THE FORMAT. Everything that lives in the segment is declared here, and nowhere else. docs/format.md
 * describes the same in prose. Version 1, little-endian, 64-bit. It contains no pointer and no libc type.
 *
 * LAYOUT
 *   +--------+----------+---------+---------+-----+-------+------------+--------+-------------+---------+--
 *   | header | pin bits | client  | summary | due | hints | namespaces | arenas | slot table  | heap of | ..
 *   | 8 KiB  |          | table   |         |     |       |            |        | (page)      | arena 0 |
 *   +--------+----------+---------+---------+-----+-------+------------+--------+-------------+---------+--
 *   The header says where each region begins and how much it holds. Every region begins on a cache line; the slot
 *   table and each heap begin on a page. The segment starts as zero bytes, and zero is a valid state of everything
 *   but the header and the arenas. So a region that no process touches uses no memory.
 *
 * INVARIANTS (check.c and the tests cite the numbers)
 *   I1  A block is alive if and only if a slot refers to it. All other statements about blocks are derived.
 *   I2  A slot's word names a block of some arena, on a granule; its tag is the tag of the block's hash.
 *   I3  The block's hash is the hash of its key, and its slot field names this slot.
 *   I4  The slot lies in a bucket from home to home + reach(home), and in no later one.
 *   I5  No key is in two slots.
 *   I6  Blocks do not overlap. The physical chain of blocks and free runs covers each arena's heap from its base
 *       to its top.
 *   I7  No two free runs touch. Each is in the list of its size, and the lists hold nothing else.
 *   I8  The fields used and blocks of an arena equal the sums over its chain.
 *   I9  An allocated block is in a slot, in an operation record, or on the zombie list.
 *   I10 A page of the slot table that holds a lock or an entry has its bit in the summary.
 *   I11 An entry with an expiry lies in a group whose due time is not later.
 *   I12 A lock's holder is a client: live, or dead and not yet recovered.
 *
 * The tag in front of each field says which process may write it:
 *   [create]  the creator, once, before it writes the magic
 *   [arena]   the holder of the arena's lock
 *   [owner]   the client that owns the client slot, the record, or the block that is not yet published
 *   [any]     any process, by an atomic operation
 * Constants are part of the format: changing one makes another format. */
#ifndef SHMS_LAYOUT_H
#define SHMS_LAYOUT_H

#include "base/atomic.h"

#define SHMS_MAGIC 0x45524f54534d4853ull      /* "SHMSTORE" */
#define SHMS_MAGIC_INIT 0x54494e49534d4853ull /* "SHMSINIT": being created */
#define SHMS_FORMAT_VERSION 1u
#define SHMS_PAGE 4096u
#define SHMS_LINE 64u
#define SHMS_GRANULE 16u
#define SHMS_HEADER_SIZE 8192u
#define SHMS_NAME_OFFSET 4096u
#define SHMS_NAME_MAX 4095u
#define SHMS_KEY_MAX 32768u

/* Feature masks. What a build does with a bit that it does not know: incompatible, it does not attach;
 * read-compatible, it attaches read-only; compatible, it ignores the bit. */
#define SHMS_KNOWN_INCOMPATIBLE 0ull
#define SHMS_KNOWN_READ_COMPATIBLE 0ull

/* ---- owner word: a process and a state. The header's creation word and the first word of each client slot.
 *   63          48 47   44 43          22 21          0
 *   | generation  | state | namespace tag | process id  |  changed by compare-and-swap only */
enum {
    SHMS_CLIENT_FREE = 0,
    SHMS_CLIENT_CLAIMING = 1,
    SHMS_CLIENT_LIVE = 2,
    SHMS_CLIENT_DEAD = 3,
    SHMS_CLIENT_ADOPTING = 4 /* a new owner recovers what the dead client held (clients.h) */
};
enum { SHMS_STATE_BLANK = 0, SHMS_STATE_INITIALISING = 1, SHMS_STATE_READY = 2, SHMS_STATE_DESTROYED = 3 };
#define SHMS_OWNER(generation, state, tag, pid)                                                                       \
    (((uint64_t)((generation) & 0xffffu) << 48) | ((uint64_t)(state) << 44) | ((uint64_t)((tag) & 0x3fffffu) << 22) | \
     ((pid) & 0x3fffffu))
#define SHMS_OWNER_GENERATION(w) ((uint32_t)((w) >> 48))
#define SHMS_OWNER_STATE(w) ((uint32_t)((w) >> 44) & 0xfu)
#define SHMS_OWNER_TAG(w) ((uint32_t)((w) >> 22) & 0x3fffffu)
#define SHMS_OWNER_PID(w) ((uint32_t)(w) & 0x3fffffu) /* Linux has no process id of more than 22 bits */
#define SHMS_OWNER_WITH_STATE(w, state) (((w) & ~(0xfull << 44)) | ((uint64_t)(state) << 44))
/* The lower 22 bits of the inode of a pid namespace. The kernel numbers these inodes from a base upwards and uses the
 * lowest free one. So two namespaces of one machine have the same tag only if it has four million of them. */
static inline uint32_t shms_namespace_tag(uint64_t pid_ns) { return (uint32_t)pid_ns & 0x3fffffu; }

/* ---- lock word of buckets and arenas
 *   63               32 31     25   24     23     16 15        0
 *   |  count            | spare | waiters | reach   | holder    |  read-modify-write of the whole word only
 * holder: client number, from 1; 0 = unlocked. reach: buckets only. The count moves with every release, takeover and
 * expiry; waiters sleep on it. */
#define SHMS_LOCK_HOLDER(w) ((uint32_t)(w) & 0xffffu)
#define SHMS_LOCK_REACH(w) ((uint32_t)((w) >> 16) & 0xffu)
#define SHMS_LOCK_COUNT(w) ((uint32_t)((w) >> 32))
#define SHMS_LOCK_WAITERS (1ull << 24)
#define SHMS_LOCK_ONE (1ull << 32)
#define SHMS_REACH_MAX 255u

/* ---- slot word
 *   63      48 47      40 39                    0
 *   | hash 16 | home & 255 |  block, in granules  |  0 = empty
 * hash 16: bits 0 to 15 of the key's hash. home: (hash >> 32) * buckets >> 32. */
#define SHMS_SLOT_OFFSET_MASK 0xffffffffffull
#define SHMS_SLOT_TAG(hash, home) (((uint64_t)((hash) & 0xffffu) << 48) | ((uint64_t)((home) & 0xffu) << 40))
#define SHMS_SLOT_TAG_OF(w) ((w) & ~SHMS_SLOT_OFFSET_MASK)
#define SHMS_SLOT_HOME8(w) ((uint32_t)((w) >> 40) & 0xffu)
#define SHMS_SLOT_BLOCK(w) (((w) & SHMS_SLOT_OFFSET_MASK) * SHMS_GRANULE)
#define SHMS_BUCKET_SLOTS 7u
#define SHMS_PAGE_BUCKETS (SHMS_PAGE / SHMS_LINE)
#define SHMS_GROUP_BUCKETS 8u /* buckets that share one due word */

struct shms_bucket {
    _Atomic uint64_t lock;                     /* [any] by read-modify-write */
    _Atomic uint64_t slots[SHMS_BUCKET_SLOTS]; /* [any] by compare-and-swap; the rules are in table.h and publish.c */
};
static_assert(sizeof(struct shms_bucket) == SHMS_LINE, "a bucket is a cache line");

/* ---- due word of a group of buckets: 63..24 earliest expiry in ms since boot, 0 = none; 23..0 count of changes */
#define SHMS_DUE_MS(w) ((w) >> 24)
#define SHMS_DUE_MAX 0xffffffffffull /* 34 years: a later expiry is noted as this; the sweep then finds it unexpired */
#define SHMS_DUE(ms, count) ((shms_min((ms), SHMS_DUE_MAX) << 24) | ((count) & 0xffffffull))

/* ---- block: header, extension (if flagged), key, value
 *   0 sequence | 8 hash | 16 expiry | 24 lengths | 32 slot | 36 tag | 40 [extension] key [padding] value
 * A value of SHMS_ALIGNED_FROM bytes or more begins on a cache line, so that it can be read in place. In msgpack the
 * byte after a head of five bytes (bin 32 and the like) is aligned instead. A free run holds its links in the words
 * hash and expiry, and its size in the word lengths and in its last eight bytes. */
struct shms_block {
    _Atomic uint64_t sequence; /* [arena] unique for each life of the block; 0 in a free run */
    _Atomic uint64_t hash;     /* [owner] before publishing;  free run: offset of the next free run, 0 = none */
    _Atomic uint64_t expiry;   /* [owner], then [arena] by touch: ns since boot, 0 never;  free run: the previous one */
    _Atomic uint64_t lengths;  /* [owner]: value 40 | key 16 | codec 3, flags 5;  free run: its size in bytes */
    _Atomic uint32_t slot;     /* [owner]: bucket * 7 + index;  free run: how many of its pages were given back */
    _Atomic uint32_t tag;      /* [arena]: boundary tag of the heap */
    uint8_t body[];
};
static_assert(sizeof(struct shms_block) == 40, "every header byte counts");
#define SHMS_BLOCK_HEADER 40u
#define SHMS_BLOCK_MIN 48u
#define SHMS_ALIGNED_FROM 4096u
#define SHMS_ALIGNED_HEAD 5u
/* Where a large value begins that could begin at `at`. kind: the lower byte of the lengths word. */
#define SHMS_ALIGN_VALUE(at, kind)                                                \
    (((kind) & SHMS_CODEC_MASK) == SHMS_CODEC_MSGPACK                             \
         ? SHMS_ALIGN_UP((at) + SHMS_ALIGNED_HEAD, SHMS_LINE) - SHMS_ALIGNED_HEAD \
         : SHMS_ALIGN_UP((at), SHMS_LINE))
#define SHMS_VALUE_MAX ((1ull << 40) - 1)
#define SHMS_LENGTHS(value, key, codec) (((uint64_t)(value) << 24) | ((uint64_t)(key) << 8) | (codec))
#define SHMS_LENGTHS_VALUE(w) ((w) >> 24)
#define SHMS_LENGTHS_KEY(w) ((uint32_t)((w) >> 8) & 0xffffu)
#define SHMS_LENGTHS_KIND(w) ((uint32_t)(w) & 0xffu)
#define SHMS_CODEC_MASK 0x07u     /* enum shms_codec in codec.cdef.h */
#define SHMS_FLAG_BYTES_KEY 0x08u /* the key was bytes, not str */
#define SHMS_FLAG_EXTENDED 0x10u  /* an extension stands between header and key */
/* Boundary tag: capacity in granules, or in pages if SHMS_TAG_LARGE is set. */
#define SHMS_TAG_FREE 0x80000000u
#define SHMS_TAG_PREV_FREE 0x40000000u
#define SHMS_TAG_LARGE 0x20000000u
#define SHMS_TAG_UNITS 0x1fffffffu
#define SHMS_LARGE_FROM (1ull << 32) /* capacities from here on are multiples of a page */

/* Extension: uint32 length of the whole (a multiple of 8), uint32 zero, then records: uint16 type, uint16 length,
 * bytes, padding to 8. Readers skip types that they do not know. */
enum { SHMS_EXT_CODEC = 1, SHMS_EXT_NAMESPACE = 2, SHMS_EXT_TAGS = 3, SHMS_EXT_BUFFERS = 4 };
#define SHMS_EXT_MAX 4096u

/* ---- operation record: one write in progress. It counts only while its client is live (clients.h). */
struct shms_record {
    _Atomic uint64_t bucket; /* [owner] number + 1 of the bucket that is about to be locked, or is; 0 = none */
    _Atomic uint64_t arena;  /* [owner] reserved: recovery looks at every arena */
    _Atomic uint64_t block;  /* [owner] offset of a block that is allocated and not yet published; 0 = none */
    uint64_t reserved;
};
#define SHMS_CLIENT_RECORDS 8u
#define SHMS_CLIENT_COUNTERS 16u
enum {
    SHMS_HITS,
    SHMS_MISSES,
    SHMS_PUTS,
    SHMS_DELETES,
    SHMS_EVICTIONS,
    SHMS_EXPIRATIONS,
    SHMS_RETRIES,
    SHMS_TAKEOVERS
};

/* ---- client slot: number n - 1 in the client table belongs to client n */
struct shms_client {
    _Atomic uint64_t owner;      /* [any] by compare-and-swap: generation, state, namespace tag, pid */
    _Atomic uint64_t start_time; /* [owner] clock ticks since boot at which the process started, by the host's clock */
    _Atomic uint64_t pid_ns;     /* [owner] inode of its pid namespace, 0 = unknown */
    _Atomic uint64_t net_ns;     /* [owner] inode of its network namespace, 0 = unknown */
    _Atomic uint64_t liveness;   /* [owner] how often its liveness mark was made (liveness.c); 0: there is none */
    _Atomic uint64_t attached;   /* [owner] when, ns since the epoch;  [any] that frees the slot: when it did */
    _Atomic uint64_t nonce;      /* [owner] random: part of the name of its liveness socket */
    uint64_t reserved;
    _Atomic uint64_t counters[SHMS_CLIENT_COUNTERS]; /* [owner] never reset: stats are sums over all client slots */
    struct shms_record records[SHMS_CLIENT_RECORDS];
    _Atomic uint64_t pins[]; /* [owner] offsets of blocks that are read in place; 0 = not in use */
};
static_assert(offsetof(struct shms_client, counters) == 64, "counters have their own lines");
static_assert(offsetof(struct shms_client, records) == 192, "records after counters");
static_assert(offsetof(struct shms_client, pins) == 448, "pins last");

struct shms_namespace { /* reserved: all zero in version 1 */
    _Atomic uint64_t generation;
    uint8_t name_length;
    uint8_t name[55];
};

/* ---- arena: the heap's derived state. The arena's lock covers every field but lock, base and end. */
#define SHMS_FL 34u /* size classes: powers of two .. */
#define SHMS_SL 16u /* .. each divided into 16 */
struct shms_arena {
    _Atomic uint64_t lock;    /* [any] by read-modify-write */
    _Atomic uint64_t counter; /* sequences given out */
    _Atomic uint64_t base;    /* [create] offset of its first byte */
    _Atomic uint64_t end;     /* [create] offset behind its last byte */
    _Atomic uint64_t top;     /* behind the last block; no free run touches it */
    _Atomic uint64_t high;    /* memory from here to the end has no pages: never used, or given back */
    _Atomic uint64_t keep;    /* how many bytes of a large free run keep their pages (arena.c) */
    _Atomic uint64_t used;    /* bytes in allocated blocks, with headers and zombies */
    _Atomic uint64_t blocks;  /* allocated blocks, with zombies */
    _Atomic uint64_t suspect; /* 1: some derived state does not fit; rebuild before use */
    _Atomic uint64_t zombies; /* first block that was freed while pinned; linked through `hash` */
    _Atomic uint64_t zombie_count;
    _Atomic uint64_t returned; /* bytes given back and not allocated since, roughly */
    _Atomic uint64_t retiring; /* the block last taken out of its slot: readers may still be copying it */
    uint64_t reserved[2];
    struct { /* eviction queues, reserved: all zero without a policy */
        _Atomic uint64_t head, tail, bytes, count;
    } queues[3];
    uint64_t reserved_queue[4];
    _Atomic uint64_t fl_map;
    _Atomic uint16_t sl_map[SHMS_FL];
    uint8_t pad[64 - (8 + 2 * SHMS_FL) % 64];
    _Atomic uint64_t heads[SHMS_FL][SHMS_SL];
};
static_assert(sizeof(struct shms_arena) % SHMS_LINE == 0, "arenas on lines of their own");

/* ---- header */
#define SHMS_SUMMARY_TOP_WORDS 16u
struct shms_header {
    _Atomic uint64_t magic; /* [create] after everything else */
    _Atomic uint64_t state; /* [any] by compare-and-swap: the creation word (create.c) */
    uint32_t format;        /* [create], and so is everything down to `dynamic` */
    uint32_t header_size;
    uint64_t incompatible, read_compatible, compatible;
    uint64_t segment_size;
    uint8_t uuid[16];
    uint64_t hash_key[2];
    uint64_t sequence_multiplier; /* odd */
    uint64_t sequence_xor;
    uint64_t created; /* ns since the epoch */
    /* Identity of the initialising process. It counts only while creator_word equals the creation word. */
    _Atomic uint64_t creator_start, creator_word;
    uint64_t creator_ipc_ns, creator_pid_ns, creator_time_ns;
    uint32_t creator_pid, creator_uid;
    uint32_t name_kind;   /* 1 str, 2 int, 3 path, 4 private */
    uint32_t name_length; /* the name is at SHMS_NAME_OFFSET */
    uint64_t max_entries; /* as asked for; 0 = from the size */
    uint64_t pin_bits_offset;
    uint64_t clients_offset;
    uint32_t client_count, client_size;
    uint64_t summary_offset;
    uint64_t due_offset;
    uint64_t slots_offset;
    uint64_t bucket_count;
    uint64_t hints_offset;
    uint64_t namespaces_offset;
    uint32_t namespace_count, arena_count;
    uint64_t arenas_offset;
    uint64_t heap_offset;
    uint64_t arena_size;
    uint8_t reserved_create[SHMS_PAGE / 4 - 280];
    /* dynamic, on their own cache lines */
    _Atomic uint64_t has_expiry;   /* [any] 1 since the first entry with an expiry */
    _Atomic uint64_t clients_high; /* [any] client slots below this index may have been used; only grows */
    uint64_t reserved_line[6];
    _Atomic uint64_t summary_top[SHMS_SUMMARY_TOP_WORDS]; /* [any] a bit for each page of the summary */
};
static_assert(offsetof(struct shms_header, has_expiry) == SHMS_PAGE / 4, "dynamic part");
static_assert(sizeof(struct shms_header) <= SHMS_NAME_OFFSET, "name page");

#endif
