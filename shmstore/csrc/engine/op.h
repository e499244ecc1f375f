/* op.h: one writing operation on one key, from its record to its end.
 *
 *   shms_op_begin      takes a record, hashes the name
 *   shms_op_reserve    a block of its own, with everything but the value     } put, add, replace, cas, incr
 *   (the caller writes the value: no lock is held, a gigabyte stops nobody)  }
 *   shms_op_publish    the critical section of the home bucket: judge, swap, free the old
 *   shms_op_remove, shms_op_touch, likewise, without a block
 *   shms_op_end        gives back what was not published, and the record
 *
 * No call sleeps. A lock that is not had by spinning makes the call undo what it did and return SHMS_BUSY with
 * op->busy and op->seen set; the caller, who holds nothing then, may await that lock and call again. So waiting,
 * proofs of death, signals and the GIL never meet a held engine lock.
 *
 * ORDER IN publish  record.bucket := home; home lock; probe; [arena lock of the old block X; X.sequence and slot
 *   as probed; slot: X -> new; record.block := 0; free X; unlock] or [raise reach; slot: 0 -> new; record.block
 *   := 0]; note the expiry; unlock home with reach as seen; record.bucket := 0.
 * CRASH  before the slot changes: the new block is in the record of a dead client, so it is free; the key has
 *   its old value. After: the key has its new value; X is in no slot and in no record of a living client, so a
 *   rebuild of its arena, which its lock demands, frees it. The home bucket's lock is moved on by recovery. */
#ifndef SHMS_OP_H
#define SHMS_OP_H

#include "segment/attachments.h"
#include "engine/clients.h"
#include "engine/table.h"

enum shms_mode { SHMS_SET, SHMS_ADD, SHMS_REPLACE, SHMS_CAS, SHMS_INCR };

struct shms_op {
    struct shms_store *s;
    struct shms_key key;
    uint32_t epoch;             /* of the process that began it: a forked child owns nothing of it */
    int index;                  /* of the record */
    struct shms_record *record;
    uint64_t block;             /* owned, not published; 0 = none */
    uint8_t *value;             /* where its value goes */
    uint64_t value_length;
    uint64_t asked;             /* bytes that the block needs */
    uint64_t expiry;
    uint64_t wanted;            /* the expiry asked for; keep_expiry may put the old value's in `expiry` */
    uint32_t kind;
    bool keep_expiry;           /* take the old value's expiry, if there is one */
    _Atomic uint64_t *busy;     /* after SHMS_BUSY: the lock; NULL = nothing to sleep on */
    uint64_t seen;
    uint64_t version;           /* after success: the new one; after UNMET: the one in the way, 0 = absent */
    int64_t number;             /* incr: the amount, then the result */
    int64_t initial;
};

int shms_op_begin(struct shms_store *s, struct shms_op *op, const void *key, uint32_t length, uint32_t kind);
/* extension: NULL, or what stands between header and key. Not found: FULL, TOO_LARGE, BUSY, CORRUPT. */
int shms_op_reserve(struct shms_op *op, uint64_t value_length, uint32_t codec, const void *extension,
                    uint32_t extension_length, uint64_t expiry);
int shms_op_publish(struct shms_op *op, enum shms_mode mode, uint64_t expected);
/* expected: 0 = whatever is there. SHMS_OK, SHMS_MISS, SHMS_UNMET, SHMS_BUSY, SHMS_CORRUPT. */
int shms_op_remove(struct shms_op *op, uint64_t expected);
/* expiry 0: never. SHMS_OK, SHMS_MISS, .. */
int shms_op_touch(struct shms_op *op, uint64_t expiry);
void shms_op_end(struct shms_op *op);

/* After FULL or TABLE_FULL: everything that is due goes, everybody dead is emptied. May call the kernel; no lock
 * is held. False: something was passed over because its lock was busy; worth another try. */
bool shms_make_room(struct shms_store *s);

#endif
