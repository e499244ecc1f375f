/* op.h: one writing operation on one key, from its operation record to its end
 *
 *   shms_op_begin      takes an operation record, hashes the key
 *   shms_op_reserve    allocates a block and fills everything but the value       } put, add, replace, cas, incr
 *   (the caller writes the value. No lock is held, so a gigabyte delays nothing)  }
 *   shms_op_publish    the critical section of the home bucket: judge, exchange the slot, free the old block
 *   shms_op_remove, shms_op_touch   the same without a new block
 *   shms_op_end        frees a block that was not published, gives the record back
 *
 * INVARIANTS
 *   O1  No call sleeps. If spinning does not get a lock, the call undoes what it did, sets op->busy and op->seen, and
 *       returns SHMS_BUSY. The caller holds nothing then. It may await that lock and call again. So waiting, proofs of
 *       death, signal handlers and the GIL never meet a held engine lock.
 *   O2  A call holds at most one bucket, and nothing else. So a process that is stopped in a call delays only writers
 *       whose keys share that bucket.
 *   O3  Only the holder of an entry's home bucket takes the entry out of its slot: an overwrite, a delete, an expiry. So
 *       between the probe and the exchange the entry cannot change.
 * WRITER  publish:
 *   1 record.bucket := home bucket
 *   2 lock the home bucket; probe for the key; judge the condition
 *   3 the used counters as they will be -> record.blocks, record.bytes; if the key has a block X of life x: record.other
 *     := x; record.old := X
 *   4 slot: X -> new block; or raise the reach of the home bucket, then slot: 0 -> new block
 *   5 used counters := record.blocks, record.bytes;  record.block := 0
 *   6 end the life of X;  record.old := 0
 *   7 note the expiry and the generations, if there are any
 *   8 unlock the home bucket, with the reach that the probe saw
 *   9 record.bucket := 0
 * CRASH
 *   before 4      The key has its old value. The slot of the new block does not name it, so recovery ends its life.
 *   after 4       The key has its new value. The slot names the new block, or no slot names X: recovery does 5 and 6.
 *   before 7 is done  Recovery makes due what may lack a note (expire.h), then releases the bucket.
 *   after 8       The record names a bucket that its client does not hold. Recovery leaves it alone. */
#ifndef SHMS_OP_H
#define SHMS_OP_H

#include "segment/attachments.h"
#include "engine/clients.h"
#include "engine/table.h"

/* INCR creates an absent counter, INCR_PRESENT does not. */
enum shms_mode { SHMS_SET, SHMS_ADD, SHMS_REPLACE, SHMS_CAS, SHMS_INCR, SHMS_INCR_PRESENT };

struct shms_op {
    struct shms_store *s;
    struct shms_key key;
    uint32_t epoch; /* of the process that began it: a forked child owns nothing of it */
    int index;      /* of the record; -1 = none */
    struct shms_record *record;
    uint64_t block, life; /* allocated and not published; 0 = none */
    uint64_t capacity;    /* of the block */
    uint8_t *value;       /* where the value goes */
    uint64_t value_length;
    uint64_t expiry;
    uint64_t wanted; /* the expiry asked for. With keep_expiry, `expiry` may become the old entry's */
    uint32_t kind;
    bool keep_expiry;       /* keep the expiry of the old entry, if there is one */
    bool tagged;            /* the new block has generations */
    bool keep_generations;  /* they are to be those of the entry that is replaced, if there is one */
    bool same_generations;  /* and they are those of one that was there */
    bool only_replaces;     /* an absent key stays absent, so a cache evicts nothing for it */
    _Atomic uint64_t *busy; /* after SHMS_BUSY: the lock to await; NULL = there is none, try again */
    uint64_t seen;
    uint64_t version; /* after success: the new one. After UNMET: the one found, 0 = absent */
    int64_t number;   /* incr: the amount, then the result */
    int64_t initial;
};

int shms_op_begin(struct shms_store *s, struct shms_op *op, const void *key, uint32_t length, uint32_t kind);
/* extension: NULL, or what stands between header and key. Fails with FULL or TOO_LARGE. */
int shms_op_reserve(struct shms_op *op, uint64_t value_length, uint32_t codec, const void *extension,
                    uint32_t extension_length, uint64_t expiry);
/* What the block needs. */
static inline uint64_t shms_op_bytes(const struct shms_op *op, uint32_t extension_length) {
    return SHMS_BLOCK_HEADER + extension_length + op->key.length + op->value_length +
           (op->value_length >= SHMS_ALIGNED_FROM ? SHMS_LINE - 1 : 0);
}
/* SHMS_AGAIN, of incr and with keep_generations: the entry has other generations than the new block. */
int shms_op_publish(struct shms_op *op, enum shms_mode mode, uint64_t expected);
/* expected: the version to remove; 0 = any. SHMS_OK, SHMS_MISS, SHMS_UNMET, SHMS_BUSY, SHMS_CORRUPT. */
int shms_op_remove(struct shms_op *op, uint64_t expected);
/* expiry: 0 = never. expected: the version to touch; 0 = any. SHMS_OK, SHMS_MISS, SHMS_UNMET, SHMS_BUSY,
 * SHMS_CORRUPT. */
int shms_op_touch(struct shms_op *op, uint64_t expiry, uint64_t expected);
void shms_op_end(struct shms_op *op);

/* After FULL or TABLE_FULL, in steps of less than a millisecond: recovers dead clients, sweeps what is due, tidies the heap.
 * BOUND  SHMS_ROOM_STEPS steps, and those that remove expired entries. Each part looks at so much and no more, and the next
 *   call of this process goes on where it ended: deaths in a table of thousands of clients, a wrong hint in a heap of
 *   gigabytes. Up to some thousand clients, some million slots and 256 MiB of heap it looks at everything.
 * REQUIRES: no lock is held; it may call the kernel. SHMS_AGAIN: there are steps left, call again. SHMS_OK: try again;
 * room->done tells whether calling this again makes more room. SHMS_BUSY: all is done, and something was passed over because
 * a lock was busy, so a later try may find room. */
#define SHMS_ROOM_STEPS 100u
struct shms_room {
    uint64_t
        bytes; /* that are wanted. 0: the hints of all blocks are to be right; SHMS_ROOM_IN_TABLE: a slot is wanted */
    enum { SHMS_ROOM_OF_DEAD, SHMS_ROOM_OF_EXPIRED, SHMS_ROOM_OF_HINTS } part;
    uint32_t steps;  /* of this part */
    uint32_t client; /* next to be looked at */
    uint64_t page, group;
    bool started; /* this part */
    bool passed_over, done;
};
#define SHMS_ROOM_IN_TABLE UINT64_MAX
int shms_make_room(struct shms_store *s, struct shms_room *room);

#endif
