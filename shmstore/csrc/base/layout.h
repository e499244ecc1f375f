/* layout.h: THE FORMAT. Everything that lives in the segment is declared here, and nowhere else. docs/format.md
 * describes the same in prose. Version 1, little-endian, 64-bit. It contains no pointer and no libc type.
 *
 * LAYOUT
 *   +--------+----------+---------+---------+---------+--------+---------+-----+-------+------+-------+--------+------+
 *   | header | pin bits | classes | client  | gene-   | ghosts | summary | due | hints | page | pages | slot   | heap |
 *   | 8 KiB  |          |         | table   | rations |        | (page)  |     |       | bits |       | table  |      |
 *   +--------+----------+---------+---------+---------+--------+---------+-----+-------+------+-------+--------+------+
 *   |<---------- beside the size that was asked for ---------->|<----------- the size that was asked for ------------>|
 *   The header says where each region begins and how much it holds. Every region begins on a cache line; the slot
 *   table and the heap begin on a page. The segment starts as zero bytes, and zero is a valid state of everything
 *   but the header. So a region that no process touches uses no memory.
 *
 * INVARIANTS (check.c and the tests cite the numbers)
 *   I1  An entry exists if and only if a slot refers to its block. All other statements about entries are derived.
 *   I2  A slot's word names a block of an open span; its tag is the tag of the block's hash.
 *   I3  The block's hash is the hash of its key, unless the entry was moved; and its slot field names this slot.
 *   I4  The slot lies in a bucket from home to home + reach(home), and in no later one.
 *   I5  No key is in two slots.
 *   I6  A page's word is 0, or belongs to an open span, or names a number in the operation record of a client. The
 *       pages of a span follow one another and name its number.
 *   I7  The word of each block of an open span is the span's free word, a life, a zombie, or a closer's number.
 *   I8  The sums of the clients' used counters are the entries and the bytes of their blocks.
 *   I9  A block that is alive is in a slot or in an operation record. A zombie is pinned, was the
 *       last one of a pin, or is in an operation record.
 *   I10 A page of the slot table that holds a lock or an entry has its bit in the summary.
 *   I11 An entry with an expiry lies in a group whose due time is not later; one with generations, in a group that is
 *       marked.
 *   I12 A lock's holder is a client: live, or dead and not yet recovered.
 *   I13 In a cache, the hint of an entry's slot has the bit `used`, or the entry is in an operation record.
 *
 * The tag in front of each field says which process may write it:
 *   [create]  the creator, once, before it writes the magic
 *   [owner]   the client that owns the client slot, the record, or the block that is not yet published
 *   [home]    the holder of the lock of the entry's home bucket
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
#define SHMS_CLIENTS_MAX 65000u

/* Feature masks. What a build does with a bit that it does not know: incompatible, it does not attach;
 * read-compatible, it attaches read-only; compatible, it ignores the bit. */
#define SHMS_KNOWN_INCOMPATIBLE 0ull
#define SHMS_KNOWN_READ_COMPATIBLE 0ull

/* ---- owner word: a process and a state. The header's creation word and the first word of each client slot.
 *   63          48 47   44 43          22 21          0
 *   | generation  | state | namespace tag | process id  |  changed by compare-and-swap only */
enum { SHMS_CLIENT_FREE = 0, SHMS_CLIENT_CLAIMING = 1, SHMS_CLIENT_LIVE = 2, SHMS_CLIENT_DEAD = 3 };
enum {
    SHMS_STATE_BLANK = 0,
    SHMS_STATE_INITIALISING = 1,
    SHMS_STATE_READY = 2,
    SHMS_STATE_DESTROYED = 3,
    SHMS_STATE_SUPERSEDED = 4 /* its entries are in another segment: `successor` says in which (resize.h) */
};
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

/* ---- resize word of the header: 63..17 count of resizes | 16 frozen | 15..0 client number of the resizer, 0 = none.
 * Changed by compare-and-swap only (freeze.h). */
#define SHMS_RESIZER(w) ((uint32_t)(w) & 0xffffu)
#define SHMS_RESIZE_FROZEN (1ull << 16)
#define SHMS_RESIZE_ONE (1ull << 17)

/* ---- lock word of a bucket
 *   63               32 31     25   24     23     16 15        0
 *   |  count            | spare | waiters | reach   | holder    |  read-modify-write of the whole word only
 * holder: client number, from 1; 0 = unlocked. The count moves with every release and takeover; waiters sleep on it. */
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

/* ---- due word of a group of buckets: 63..24 earliest expiry in ms since boot, 0 = none; 23 there may be entries with
 * generations; 22..0 count of changes */
#define SHMS_DUE_MS(w) ((w) >> 24)
#define SHMS_DUE_MARK (1ull << 23)
#define SHMS_DUE_MAX 0xffffffffffull /* 34 years: a later expiry is noted as this; the sweep then finds it unexpired */
#define SHMS_DUE(ms, mark, count) ((shms_min((ms), SHMS_DUE_MAX) << 24) | (mark) | ((count) & 0x7fffffull))

/* ---- generations: counters, each of a namespace, or of all tags with one hash (generations.h)
 *   counter  63..48 the namespace that this one is in, 0 = none; 47..0 its generation, which an eviction moves on
 *   word     63..48 the counter's index; 47..0 its generation when the entry was put. In the extension of an entry */
#define SHMS_GENERATION 0xffffffffffffull
#define SHMS_GENERATION_INDEX(w) ((uint32_t)((w) >> 48))
#define SHMS_GENERATION_WORD(index, counter) ((uint64_t)(index) << 48 | ((counter) & SHMS_GENERATION))
#define SHMS_COUNTERS 16384u              /* in a new store */
#define SHMS_COUNTERS_OF_NAMESPACES 8192u /* those below, but for 0, which is none; the others are for tags */
#define SHMS_COUNTERS_MAX 32768u
#define SHMS_TAGS_MAX 256u      /* of an entry */
#define SHMS_NAMESPACE_MAX 255u /* bytes of a name */
#define SHMS_DEPTH_MAX 16u      /* of namespaces inside one another */

/* ---- numbers and words
 * A number is given out once in the life of the store (header.numbers). Scrambled by a bijection of the store and moved
 * up by two bits, it makes words that bytes of a value do not equal by accident:
 *   63                       2  1       0
 *   | scrambled number        | ended | pinned |
 *     00 a life: the block belongs to the client or the entry that has this number
 *     01 the same, and it was pinned at least once (pin.h)
 *     10 a zombie: this life has ended, and somebody may still read the block in place
 *     11 free: the number is that of the span, so it differs in each life of the span
 * 0 is no word of a block: a page that was given back reads as 0. */
#define SHMS_WORD_PINNED 1ull
#define SHMS_WORD_ENDED 2ull
#define SHMS_WORD_LIFE(w) ((w) & ~SHMS_WORD_PINNED)
#define SHMS_WORD_ALIVE(w) ((w) && !((w) & SHMS_WORD_ENDED))

/* ---- block: header, extension (if flagged), key, value
 *   0 word | 8 hash | 16 expiry | 24 lengths | 32 slot | 36 created | 40 [extension] key [padding] value
 * The version of an entry is the life of the block that it was put into. An entry that was moved since (move.h) has its
 * version in place of the hash, so that it takes no more bytes than before, and fits into a block of the same class.
 * A value of SHMS_ALIGNED_FROM bytes or more begins on a cache line, so that it can be read in place. In msgpack the
 * byte after a head of five bytes (bin 32 and the like) is aligned instead. */
struct shms_block {
    _Atomic uint64_t word;    /* [any] by compare-and-swap, see above */
    _Atomic uint64_t hash;    /* [owner] before publishing: of the key; of an entry that was moved, its version */
    _Atomic uint64_t expiry;  /* [owner], then [home] by touch: ns since boot, 0 never */
    _Atomic uint64_t lengths; /* [owner]: value 40 | key 16 | codec 3, flags 5 */
    _Atomic uint32_t slot;    /* [owner]: bucket * 7 + index */
    _Atomic uint32_t created; /* [owner]: when the value was stored, seconds since the epoch modulo 2^32; 0 unknown */
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
#define SHMS_FLAG_MOVED 0x20u     /* the block was not the entry's first: `hash` is its version */
#define SHMS_FLAG_KEPT 0x40u      /* the store's own entry, of a lock: never evicted, and no key of a user finds it */
#define SHMS_FLAG_INSIDE 0x80u    /* an entry of a namespace, whose id its key begins with */
#define SHMS_KEY_FLAGS (SHMS_FLAG_BYTES_KEY | SHMS_FLAG_KEPT | SHMS_FLAG_INSIDE) /* part of the key */
/* Extension: uint32 length of the whole (a multiple of 8), uint32 zero, then records: uint16 type, uint16 length,
 * bytes, padding to 8. Readers skip types that they do not know. Generations come first: uint32 n, n words. */
enum { SHMS_EXT_CODEC = 1, SHMS_EXT_GENERATIONS = 3, SHMS_EXT_BUFFERS = 4, SHMS_EXT_COST = 5 };
#define SHMS_EXT_MAX 4096u
#define SHMS_EXT_WORDS 16u /* where the words begin */

/* ---- operation record: one write in progress. It counts only while its client is live or dead (clients.h). The words
 * from `other` on belong to `page` while that is set, else to `old` and `block`. */
struct shms_record {
    _Atomic uint64_t bucket; /* [owner] number + 1 of the bucket that is about to be locked, or is; 0 = none */
    _Atomic uint64_t block;  /* [owner] a block that is about to be allocated, or is, and not published; 0 = none */
    _Atomic uint64_t life;   /* [owner] the life of that block */
    _Atomic uint64_t old;    /* [owner] the block that is about to leave its slot; 0 = none */
    _Atomic uint64_t page;   /* [owner] pages 32 | first page + 1: a run that is being opened or closed; 0 = none */
    _Atomic uint64_t other;  /* [owner] the life of `old`; or the number by which the run is held */
    _Atomic uint64_t
        blocks; /* [owner] used counter of the client after the exchange of the slot; or the span's number */
    _Atomic uint64_t bytes; /* [owner] the other used counter */
};
static_assert(sizeof(struct shms_record) == SHMS_LINE, "a record is a cache line");
#define SHMS_RECORD_RUN(first, pages) ((uint64_t)(pages) << 32 | ((first) + 1))
#define SHMS_CLIENT_RECORDS 8u /* operations at once */
#define SHMS_CLIENT_CLOSER 8u  /* one more: for closing spans (span.h) */
#define SHMS_CLIENT_COUNTERS 16u
enum {
    SHMS_HITS,
    SHMS_MISSES,
    SHMS_PUTS,
    SHMS_DELETES,
    SHMS_EVICTIONS,
    SHMS_EXPIRATIONS,
    SHMS_RETRIES,
    SHMS_TAKEOVERS,
    SHMS_USED_BLOCKS,        /* used counters: entries that this client published less those it took out; */
    SHMS_USED_BYTES,         /* and the capacity of their blocks */
    SHMS_EVICTIONS_BY_COUNT, /* for max_entries; SHMS_EVICTIONS: for memory */
    SHMS_MOVES,
    SHMS_LAST_SLOT /* no counter, but a hint: 1 + the slot in which this client published a new key last */
};
/* ---- used counter: 63..48 the generation of the slot's owner; 47..0 the figure, modulo 2^48. */
#define SHMS_USED(w) ((w) & 0xffffffffffffull)
#define SHMS_USED_ADD(w, n) (((w) & ~0xffffffffffffull) | SHMS_USED((w) + (n)))
#define SHMS_USED_OF(owner, w) (((owner) & ~0xffffffffffffull) | SHMS_USED(w))
#define SHMS_USED_SAME_OWNER(v, w) (((v) ^ (w)) >> 48 == 0)

struct shms_client_pin {
    _Atomic uint64_t block; /* [owner] offset of a block that is read in place, or was last */
    _Atomic uint64_t life;  /* [owner] its life; 0 = not in use */
};

#define SHMS_CARRIED (1ull << 63)

/* ---- client slot: number n - 1 in the client table belongs to client n */
struct shms_client {
    _Atomic uint64_t owner;      /* [any] by compare-and-swap: generation, state, namespace tag, pid */
    _Atomic uint64_t start_time; /* [owner] clock ticks since boot at which the process started, by the host's clock */
    _Atomic uint64_t pid_ns;     /* [owner] inode of its pid namespace, 0 = unknown */
    _Atomic uint64_t net_ns;     /* [owner] inode of its network namespace, 0 = unknown */
    _Atomic uint64_t liveness;   /* [owner] how often its liveness mark was made (liveness.c); 0: there is none;
                                    SHMS_CARRIED: it has not followed from the segment before this one yet */
    _Atomic uint64_t attached;   /* [owner] when, ns since the epoch;  [any] that frees the slot: when it did */
    _Atomic uint64_t nonce;      /* [owner] random: part of the name of its liveness socket */
    uint64_t reserved;
    _Atomic uint64_t counters[SHMS_CLIENT_COUNTERS]; /* [owner] never reset: stats are sums over all client slots */
    struct shms_record records[SHMS_CLIENT_RECORDS + 1];
    struct shms_client_pin pins[];
};
static_assert(offsetof(struct shms_client, counters) == 64, "counters have their own lines");
static_assert(offsetof(struct shms_client, records) == 192, "records after counters");
static_assert(offsetof(struct shms_client, pins) == 768, "pins last");

/* ---- page of the heap: its word says who owns it
 *   0                free
 *   number << 2 | 1  taken by this number: a run that is being opened or closed, or a page inside a span
 *   number << 2 | 2  the first page of the open span of this number
 * The maps are hints: a bit is set if the block is free and no process keeps it to itself. */
struct shms_page {
    _Atomic uint64_t word;   /* [any] by compare-and-swap */
    _Atomic uint64_t info;   /* [any] that opens the span: pages << 8 | class; inside: distance from the first page */
    _Atomic uint64_t map[2]; /* [any] of the first page of a span */
};
#define SHMS_PAGE_TAKEN(number) ((number) << 2 | 1)
#define SHMS_PAGE_OPEN(number) ((number) << 2 | 2)
#define SHMS_PAGE_IS_OPEN(w) (((w) & 3) == 2)
#define SHMS_PAGE_NUMBER(w) ((w) >> 2)
#define SHMS_SPAN_BLOCKS_MAX 128u

/* ---- size classes of blocks: 16 bytes apart up to 256, then eight per doubling, up to SHMS_SMALL_MAX. A larger block
 * has a span of its own (span.h). */
#define SHMS_SMALL_MAX 8192u
#define SHMS_CLASSES 54u
#define SHMS_CLASS_LARGE 255u
/* Hints where spans of a class have free blocks. */
#define SHMS_CLASS_HINTS 15u
struct shms_class {
    _Atomic uint32_t hints[SHMS_CLASS_HINTS]; /* [any] first page of a span + 1; 0 = not in use */
    _Atomic uint32_t more;                    /* [any] 1: there may be spans for which there was no hint left */
};
static_assert(sizeof(struct shms_class) == SHMS_LINE, "a class is a cache line");

/* ---- policy of a cache: what to evict (policy.h). A hint byte for each slot, ghosts, and these words. All are hints,
 * except that an entry without SHMS_HINT_USED is never evicted (I13).
 *   hint   7 used | 6 spare | 5..3 step | 2 main share | 1..0 frequency     changed by read-modify-write only
 *   ghost  15..12 epoch | 11..0 bits 16 to 27 of the key's hash, the lowest of them 1; 0 = none */
#define SHMS_HINT_USED 0x80u
#define SHMS_HINT_MAIN 0x04u
#define SHMS_HINT_FREQUENCY 0x03u
#define SHMS_HINT_STEP(step) (((step) & 7u) << 3)
#define SHMS_HINT_STEP_OF(hint) ((uint32_t)(hint) >> 3 & 7u)
#define SHMS_GHOST_WAYS 8u /* ghosts in a set */
struct shms_policy {
    _Atomic uint64_t counts;   /* [any] entries 32 | of them in the small share 32 */
    _Atomic uint64_t inserted; /* [any] into the small share */
    _Atomic uint64_t step;     /* [any] `inserted` at which it ends << 3 | step */
    _Atomic uint64_t evicted;  /* [any] from the small share */
    _Atomic uint64_t epoch;    /* [any] `evicted` at which it ends << 4 | epoch */
    uint64_t reserved[3];
    _Atomic uint64_t hands[2]; /* [any] turns taken from the hand of the small share, and of the main share (hands.h) */
    uint64_t reserved_hands[6];
};

/* ---- bell: tells processes that wait for many keys which bucket's waiters were woken (bell.h)
 *   word  31..1 rings, modulo 2^31 | 0 somebody sleeps on this word
 *   log   the ring 32 | its bucket 32, at ring % SHMS_BELL_LOG */
#define SHMS_BELL_LOG 64u
#define SHMS_BELL_SLEEPS 1u
#define SHMS_BELL_RINGS(w) ((w) >> 1)
#define SHMS_BELL_EVERY UINT32_MAX /* instead of a bucket: any may have changed */
struct shms_bell {
    _Atomic uint32_t word; /* [any] by compare-and-swap */
    uint32_t reserved[15];
    _Atomic uint64_t log[SHMS_BELL_LOG]; /* [any] a hint */
};

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
    uint64_t number_multiplier; /* odd */
    uint64_t number_xor;
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
    uint64_t size; /* as asked for: without header, pin bits, classes and client table */
    uint64_t classes_offset;
    uint64_t pages_offset;
    uint64_t heap_offset;
    uint64_t heap_pages;
    uint64_t page_bits_offset;
    uint64_t ghosts_offset;
    uint64_t ghost_sets; /* 0: a full store refuses entries; else it is a cache, which evicts (policy.h) */
    uint64_t generations_offset;
    uint32_t counters, counters_of_namespaces; /* how many there are, and of them for namespaces */
    uint64_t root; /* System V: identifier + 1 of the segment that has the key; 0: this one (resize.h) */
    uint8_t reserved_create[SHMS_PAGE / 4 - 328];
    /* dynamic, on their own cache lines */
    _Atomic uint64_t has_expiry;   /* [any] 1 since the first entry with an expiry; 2 since that with generations */
    _Atomic uint64_t clients_high; /* [any] client slots below this index may have been used; only grows */
    _Atomic uint64_t first_due;    /* [any] the due word of the whole store (expire.h) */
    _Atomic uint64_t has_kept;     /* [any] 1 since the first entry with SHMS_FLAG_KEPT */
    /* [any] hints for people: what the last process that attached with a size, max_entries or max_clients asked for, if
     * that is not what the creator chose; else 0 (open.c) */
    _Atomic uint64_t requested_size, requested_max_entries;
    _Atomic uint32_t requested_max_clients, requested_by; /* process id, in its own pid namespace */
    _Atomic uint64_t requested_at;                        /* ns since the epoch */
    _Atomic uint64_t numbers;                             /* [any] numbers given out */
    _Atomic uint64_t pages_high; /* [any] pages of the heap below this index may have been used; only grows */
    _Atomic uint64_t keep;       /* [any] hint: so many free pages keep their memory */
    _Atomic uint64_t idle;       /* [any] hint: free pages that have memory */
    _Atomic uint64_t returned;   /* [any] hint: pages given back and not taken since */
    _Atomic uint64_t closed;     /* [any] spans that were closed: a search for free pages can find more (pages.c) */
    _Atomic uint64_t resize;     /* [any] the resize word, see above */
    _Atomic uint64_t successor;  /* [any] of the segment that supersedes this one: System V identifier + 1; POSIX: the
                                    number in the name that its file has at first; 0 = none */
    _Atomic uint64_t summary_top[SHMS_SUMMARY_TOP_WORDS]; /* [any] a bit for each page of the summary */
    struct shms_policy policy;
    struct shms_bell bell;
    _Atomic uint64_t namespaces; /* [any] counters given to namespaces */
    _Atomic uint64_t outdated;   /* [any] hint: how often a counter was moved on */
    _Atomic uint64_t swept;      /* [any] hint: what was outdated by so many moves has been swept */
    _Atomic uint32_t evictions;  /* [any] by compare-and-swap: 31..1 how often, 0 somebody sleeps on this word */
    uint32_t reserved_evictions;
    _Atomic uint64_t
        leaving; /* [any] System V, of a root: identifier + 1 of the segment that is being removed; 0 = none */
    uint64_t reserved_last[3];
};
#define SHMS_HAS_EXPIRY 1ull
#define SHMS_HAS_GENERATIONS 2ull
static_assert(offsetof(struct shms_header, has_expiry) == SHMS_PAGE / 4, "dynamic part");
static_assert(offsetof(struct shms_header, bell) % SHMS_LINE == 0, "the bell has its own lines");
static_assert(sizeof(struct shms_header) <= SHMS_NAME_OFFSET, "name page");

#endif
