/* pairs.c: the release/acquire pairs of the engine, each as a litmus test, and each with its orders taken away.
 *
 * A pair is a function that builds the program of one tag for one mutation; mutation 0 is the code as built. In no
 * execution of that may the bad outcome be found; for each mutation it must be. Prints a line for each and exits 1 if
 * one is not as it should be. The orders are those of shmstore/csrc; test_memory_order.py checks that every tag of a pair in the
 * code is here. */
#include "machine.h"

#define M(n, mutated, built) (mutation == (n) ? (mutated) : (built))
#define R(w, i) ((w)->registers[i])
#define PROGRAM(bad, ...) \
    (struct program) { __func__, __VA_ARGS__, bad }
typedef struct program maker(int mutation);

/* The checker itself: store buffering and message passing, with and without what forbids them. */
static bool sb(const struct world *w) { return R(w, 0) == 0 && R(w, 1) == 0; }
static struct program self_store_buffering(int mutation) {
    enum order o = M(1, AR, SC); /* weaker fences do not do */
    return PROGRAM(sb, {{STORE(0, 1, RLX), FENCE(o), LOAD(1, RLX, 0)}, {STORE(1, 1, RLX), FENCE(o), LOAD(0, RLX, 1)}},
                   {0});
}
static bool mp(const struct world *w) { return R(w, 0) == 1 && R(w, 1) == 0; }
static struct program self_message_passing(int mutation) {
    return PROGRAM(mp, {{STORE(0, 1, RLX), STORE(1, 1, M(1, RLX, REL))}, {LOAD(1, M(2, RLX, ACQ), 0), LOAD(0, RLX, 1)}},
                   {0});
}

/* lock.h: what was written under a lock is seen under it. 0 data, 1 lock word: 0 free, 1 first holder, 10 free again,
 * 12 second holder. */
static bool lost_update(const struct world *w) { return R(w, 2) == 10 && R(w, 0) == 0; }
static struct program lock_release(int mutation) {
    return PROGRAM(lost_update,
                   {{CAS(1, 0, 1, AR, 1), STORE(0, 1, RLX), CAS(1, 1, 10, M(1, RLX, AR), 1)},
                    {CAS(1, 10, 12, M(2, RLX, AR), 2), UNLESS(2, 10), LOAD(0, RLX, 0)}},
                   {0});
}

/* lock.h shms_lock_try, recover.c: a client that was held for dead sees it after it took a lock, or the finder sees the
 * lock held. 0 lock word: 1 held; 1 owner word: 1 live, 2 dead. */
static bool held_by_the_dead(const struct world *w) { return R(w, 0) == 1 && R(w, 1) == 0; }
static struct program take_then_owner(int mutation) {
    return PROGRAM(held_by_the_dead,
                   {{CAS(0, 0, 1, M(1, AR, SC), 7), LOAD(1, M(2, ACQ, SC), 0)},
                    {CAS(1, 1, 2, M(3, AR, SC), 6), LOAD(0, M(4, ACQ, SC), 1)}},
                   {0, 1});
}

/* lock.h shms_lock_try, segment.c shms_page_use, resize.c drain_all: a writer that took a lock sees that the store is frozen, or
 * the resizer sees the page in use and the lock held. 0 lock word, 1 resize word: 1 frozen; 2 summary: 1 the page is in use. */
static bool writes_into_the_old(const struct world *w) {
    return R(w, 7) == 0 && R(w, 0) == 0 && (R(w, 1) == 0 || R(w, 2) == 0);
}
static struct program lock_then_frozen(int mutation) {
    return PROGRAM(writes_into_the_old,
                   {{ADD(2, 1, M(1, AR, SC), 5), CAS(0, 0, 1, M(2, AR, SC), 7), LOAD(1, M(3, ACQ, SC), 0)},
                    {CAS(1, 0, 1, M(4, AR, SC), 6), LOAD(2, M(5, ACQ, SC), 1), LOAD(0, M(6, ACQ, SC), 2)}},
                   {0});
}
static bool not_copied(const struct world *w) { return R(w, 0) == 0 && R(w, 1) == 0; }
/* call.c shms_call_thaw, resize.c: an eviction is in the copied counter, or its process sees that the store is frozen. 0
 * counter, 1 resize word. */
static struct program counter_then_frozen(int mutation) {
    return PROGRAM(not_copied,
                   {{ADD(0, 1, AR, 7), FENCE(M(1, AR, SC)), LOAD(1, SC, 0)},
                    {CAS(1, 0, 1, SC, 6), FENCE(M(2, AR, SC)), LOAD(0, ACQ, 1)}},
                   {0});
}

/* heap.c: who gets a free block writes there after everything that its former owner did. 0 word: 1 the former life, 10
 * free, 12 the next life; 1 stands for what the former owner did. */
static struct program alloc(int mutation) {
    return PROGRAM(lost_update,
                   {{STORE(1, 1, RLX), CAS(0, 1, 10, M(1, RLX, AR), 7)},
                    {CAS(0, 10, 12, M(2, RLX, AR), 2), UNLESS(2, 10), LOAD(1, RLX, 0)}},
                   {1});
}

/* heap.c: a byte of a later life implies another word. 0 word: 1 former life, 0 free, 2 next; 1 a word of contents. */
static bool torn(const struct world *w) { return R(w, 1) == 2 && R(w, 2) == 1; }
static struct program block_life(int mutation) {
    return PROGRAM(torn,
                   {{CAS(0, 1, 0, AR, 7), CAS(0, 0, 2, AR, 7), FENCE(M(1, RLX, REL)), STORE(1, 2, RLX)},
                    {LOAD(0, ACQ, 0), UNLESS(0, 1), LOAD(1, RLX, 1), FENCE(M(2, RLX, ACQ)), LOAD(0, RLX, 2)}},
                   {1, 1});
}
/* span.c shms_span_open: the words of the new span's blocks lie within blocks of the old one. 0 word of the old block, 1 a
 * word of its contents, 2 the page: 1 the old span's, 0 free, 3 the new span's. */
static struct program block_life_span(int mutation) {
    return PROGRAM(torn,
                   {{CAS(0, 1, 0, AR, 7), CAS(2, 1, 0, AR, 7)},
                    {CAS(2, 0, 3, AR, 6), UNLESS(6, 0), FENCE(M(1, RLX, REL)), STORE(1, 2, RLX)},
                    {LOAD(0, ACQ, 0), UNLESS(0, 1), LOAD(1, RLX, 1), FENCE(M(2, RLX, ACQ)), LOAD(0, RLX, 2)}},
                   {1, 1, 1});
}

/* span.c: a process that finds a span open finds what stands in it. 0 word of the first page: 1 taken, 2 open; 1 an info, or the word
 * of a block. */
static bool not_yet_open(const struct world *w) { return R(w, 0) == 2 && R(w, 1) != 5; }
static struct program open_span(int mutation) {
    return PROGRAM(not_yet_open,
                   {{STORE(1, 5, RLX), CAS(0, 1, 2, M(1, RLX, AR), 7)},
                    {LOAD(0, M(2, RLX, ACQ), 0), UNLESS(0, 2), LOAD(1, RLX, 1)}},
                   {1, 0});
}

/* publish.c: who finds a block in a slot finds it whole. 0 slot, 1 sequence, 2 contents. */
static bool half(const struct world *w) { return R(w, 0) == 1 && (R(w, 1) != 5 || R(w, 2) != 5); }
static struct program publish(int mutation) {
    return PROGRAM(half,
                   {{STORE(1, 5, REL), FENCE(REL), STORE(2, 5, RLX), CAS(0, 0, 1, M(1, RLX, AR), 7)},
                    {LOAD(0, M(2, RLX, ACQ), 0), UNLESS(0, 1), LOAD(1, M(2, RLX, ACQ), 1), LOAD(2, RLX, 2)}},
                   {0});
}

/* table.c look: having seen life 2's sequence, the slot that still says "life 1 is here" cannot be read any more.
 * 0 slot: 1 the block, 0 none, and 1 only when life 2 is published (not here); 1 sequence. */
static bool unpublished(const struct world *w) { return R(w, 0) == 1 && R(w, 1) == 2 && R(w, 2) == 1; }
static struct program slot_between(int mutation) {
    return PROGRAM(unpublished,
                   {{CAS(0, 1, 0, AR, 7), STORE(1, 0, RLX), FENCE(RLX), STORE(1, 2, M(1, RLX, REL))},
                    {LOAD(0, ACQ, 0), LOAD(1, M(2, RLX, ACQ), 1), LOAD(0, ACQ, 2)}},
                   {1, 1});
}

/* heap.c, pin.c: who ends the life sees that the pin is gone, or who clears the pin sees the zombie. 0 word: 3 the pinned
 * life, 5 the zombie; 1 pin. */
static bool nobody_frees(const struct world *w) { return R(w, 0) == 1 && R(w, 1) == 3; }
static struct program pin_fence(int mutation) {
    return PROGRAM(nobody_frees,
                   {{CAS(0, 3, 5, AR, 7), FENCE(M(1, AR, SC)), LOAD(1, ACQ, 0)},
                    {STORE(1, 0, REL), FENCE(M(2, AR, SC)), LOAD(0, ACQ, 1)}},
                   {3, 1});
}
/* pin.c, heap.c: who finds the life marked as pinned finds the pin. 0 word: 1 the life, 3 pinned, 5 the zombie; 1 pin, 2 pin
 * bit. */
static bool freed_while_read(const struct world *w) { return R(w, 0) == 3 && (R(w, 1) == 0 || R(w, 2) == 0); }
static struct program pin_then_word(int mutation) {
    return PROGRAM(freed_while_read,
                   {{ADD(2, 1, AR, 7), STORE(1, 1, RLX), CAS(0, 1, 3, M(1, RLX, AR), 7)},
                    {CAS(0, 3, 5, M(2, RLX, AR), 0), UNLESS(0, 3), LOAD(2, ACQ, 2), UNLESS(2, 1), LOAD(1, ACQ, 1)}},
                   {1, 0, 0});
}

/* pin.c: a writer that finds the pin gone writes over the block only after the reader read it. 0 pin; 1 stands for the reading: that
 * it happened before is what makes it read nothing newer, which this machine could not show (load buffering). */
static bool overtaken(const struct world *w) { return R(w, 0) == 0 && R(w, 1) == 0; }
static struct program unpin(int mutation) {
    return PROGRAM(overtaken,
                   {{STORE(1, 1, RLX), STORE(0, 0, M(1, RLX, REL))}, {LOAD(0, M(2, RLX, ACQ), 0), LOAD(1, RLX, 1)}},
                   {1, 0});
}

/* publish.c: a block that left its record is in its slot. 0 slot, 1 record. */
static bool swept(const struct world *w) { return R(w, 0) == 0 && R(w, 1) == 0; }
static struct program records_then_slots(int mutation) {
    return PROGRAM(swept,
                   {{CAS(0, 0, 1, AR, 7), STORE(1, 0, M(1, RLX, REL))}, {LOAD(1, M(2, RLX, ACQ), 1), LOAD(0, ACQ, 0)}},
                   {0, 1});
}
/* check.c: a block that left its slot is in a record, or its word has changed. 0 slot, 1 record, 2 word. */
static bool unowned(const struct world *w) { return R(w, 0) == 0 && R(w, 1) == 0 && R(w, 2) == 1; }
static struct program records_slot_records(int mutation) {
    return PROGRAM(unowned,
                   {{STORE(1, 1, REL), CAS(0, 1, 0, M(1, RLX, AR), 7), CAS(2, 1, 9, AR, 7), STORE(1, 0, REL)},
                    {LOAD(0, M(2, RLX, ACQ), 0), UNLESS(0, 0), LOAD(1, ACQ, 1), LOAD(2, ACQ, 2)}},
                   {1, 0, 1});
}
static struct program left_its_record(int mutation) {
    return PROGRAM(unowned,
                   {{STORE(1, 1, REL), CAS(0, 1, 0, AR, 7), CAS(2, 1, 9, AR, 7), STORE(1, 0, M(1, RLX, REL))},
                    {LOAD(0, ACQ, 0), UNLESS(0, 0), LOAD(1, M(2, RLX, ACQ), 1), LOAD(2, ACQ, 2)}},
                   {1, 0, 1});
}

/* expire.c: a note made before the sweeper's look at the due word is of an entry that the sweeper sees. 0 slot,
 * 1 due word: 0, +1 by the note, replaced by 50 if it did not move. */
static bool forgotten(const struct world *w) {
    return R(w, 0) == 0 && R(w, 1) == 1 &&
           R(w, 2) == 1; /* the note was there, the slot looked empty, and it was written */
}
static struct program publish_then_due(int mutation) {
    return PROGRAM(forgotten,
                   {{CAS(0, 0, 1, AR, 7), ADD(1, 1, M(1, RLX, AR), 7)},
                    {LOAD(1, M(2, RLX, ACQ), 1), LOAD(0, ACQ, 0), CAS(1, 1, 50, AR, 2)}},
                   {0});
}

/* generations.h: a reader finds no older generation than that in the entry. 0 counter, 1 slot; the put has it in register 0. */
static bool taken_for_outdated(const struct world *w) { return R(w, 0) == 1 && R(w, 1) == 1 && R(w, 2) == 0; }
static struct program generation_then_publish(int mutation) {
    return PROGRAM(taken_for_outdated,
                   {{ADD(0, 1, AR, 7)},
                    {LOAD(0, ACQ, 0), CAS(1, 0, 1, M(1, RLX, AR), 6)},
                    {LOAD(1, M(2, RLX, ACQ), 1), UNLESS(1, 1), LOAD(0, ACQ, 2)}},
                   {0});
}
/* generations.c: who finds the entries gone sees what was done before they were evicted. 0 counter; 1 stands for that. */
static bool not_done(const struct world *w) { return R(w, 0) == 1 && R(w, 1) == 0; }
static struct program evict_then_gone(int mutation) {
    return PROGRAM(not_done,
                   {{STORE(1, 1, RLX), ADD(0, 1, M(1, RLX, AR), 7)}, {LOAD(0, M(2, RLX, ACQ), 0), LOAD(1, RLX, 1)}},
                   {0});
}
/* expire.c: a round that counts an eviction sees the counter moved on. 0 header.outdated, 1 counter. */
static struct program counter_then_outdated(int mutation) {
    return PROGRAM(not_done,
                   {{ADD(1, 1, AR, 7), ADD(0, 1, M(1, RLX, AR), 6)}, {LOAD(0, M(2, RLX, ACQ), 0), LOAD(1, ACQ, 1)}},
                   {0});
}
/* generations.c: a waiter that finds the number of evictions moved sees the counter moved. 0 header.evictions, 1 counter. */
static struct program evict_then_count(int mutation) {
    return PROGRAM(not_done,
                   {{ADD(1, 1, AR, 7), ADD(0, 1, M(1, RLX, AR), 6)}, {LOAD(0, M(2, RLX, ACQ), 0), LOAD(1, ACQ, 1)}},
                   {0});
}
/* sleepers.c: a process that ends something wakes a sleeper, or the sleeper sees the end. 0 what has ended, 1 lock word. */
static struct program told_then_flags(int mutation) {
    return PROGRAM(not_copied,
                   {{CAS(0, 0, 1, AR, 7), FENCE(M(1, AR, SC)), LOAD(1, ACQ, 0)},
                    {CAS(1, 0, 1, AR, 6), FENCE(M(2, AR, SC)), LOAD(0, ACQ, 1)}},
                   {0});
}

/* segment.h: whoever knows of an entry finds its page marked. 0 bit, 1 slot; the reader knows by the slot. */
static bool overlooked(const struct world *w) { return R(w, 0) == 1 && R(w, 1) == 0; }
static struct program summary(int mutation) {
    return PROGRAM(overlooked,
                   {{ADD(0, 1, AR, 7), CAS(1, 0, 1, M(1, RLX, AR), 7)}, {LOAD(1, M(2, RLX, ACQ), 0), LOAD(0, ACQ, 1)}},
                   {0});
}

/* recover.c release_lock: a lock word that a new owner of the slot wrote cannot be followed by the former owner's word.
 * 0 lock word: 0, then 1; 1 owner word: 1 dead, 2 free, 3 claimed and live. */
static bool stolen(const struct world *w) { return R(w, 0) == 1 && R(w, 1) == 1; }
static struct program word_then_owner(int mutation) {
    return PROGRAM(stolen,
                   {{CAS(1, 1, 2, AR, 7), CAS(1, 2, 3, AR, 7), CAS(0, 0, 1, M(1, RLX, AR), 7)},
                    {LOAD(0, M(2, RLX, ACQ), 0), UNLESS(0, 1), LOAD(1, ACQ, 1)}},
                   {0, 1});
}

/* recover.c: what the next owner of the slot writes into a record cannot be followed by the former owner's word: neither
 * `block`, nor its life beside the former owner's `block`. 0 a word of the record, 1 owner word: 1 dead, 2 free, 3 claimed
 * and live; 2 record.block, 5 as the dead client left it. */
static struct program record_then_owner(int mutation) {
    return PROGRAM(stolen,
                   {{CAS(1, 1, 2, AR, 7), CAS(1, 2, 3, AR, 7), STORE(0, 1, M(1, RLX, REL))},
                    {LOAD(0, M(2, RLX, ACQ), 0), UNLESS(0, 1), LOAD(1, ACQ, 1)}},
                   {0, 1});
}
static bool mixed(const struct world *w) { return R(w, 2) == 5 && stolen(w); }
static struct program life_beside_block(int mutation) {
    return PROGRAM(
        mixed,
        {{CAS(1, 1, 2, AR, 7), CAS(1, 2, 3, AR, 7), STORE(2, 0, REL), STORE(0, 1, M(1, RLX, REL)), STORE(2, 6, REL)},
         {LOAD(2, ACQ, 2), UNLESS(2, 5), LOAD(0, RLX, 0), UNLESS(0, 1), FENCE(M(2, RLX, ACQ)), LOAD(1, ACQ, 1)}},
        {0, 1, 5});
}

/* clients.c become_live, liveness.c: the identity in a live slot is its owner's. 0 owner word: 1 the former owner's,
 * 2 claimed, 3 live; 1 identity: 1 the former owner's, 3 the new one's. */
static bool mistaken(const struct world *w) { return R(w, 0) == 3 && R(w, 1) == 1; }
static struct program claim_then_live(int mutation) {
    return PROGRAM(mistaken,
                   {{CAS(0, 1, 2, AR, 7), STORE(1, 3, RLX), CAS(0, 2, 3, M(1, RLX, AR), 7)},
                    {LOAD(0, M(2, RLX, ACQ), 0), UNLESS(0, 3), LOAD(1, RLX, 1)}},
                   {1, 1});
}
/* The other way round, the former owner's word with the new one's identity, is not excluded by the second look at
 * the owner word, since nothing keeps the identity behind the claim. What is excluded is that anything is done about it:
 * the exchange (g, live) -> (g, dead) compares the word as it is now. */
static bool struck(const struct world *w) { return R(w, 0) == 1 && R(w, 1) == 3 && R(w, 2) == 1 && R(w, 3) == 1; }
static struct program live_then_dead(int mutation) {
    struct step mark = M(1, ((struct step)LOAD(0, RLX, 3)), ((struct step)CAS(0, 1, 9, AR, 3)));
    return PROGRAM(struck,
                   {{CAS(0, 1, 2, AR, 7), UNLESS(7, 1), STORE(1, 3, RLX), CAS(0, 2, 3, AR, 7)},
                    {LOAD(0, ACQ, 0), UNLESS(0, 1), LOAD(1, RLX, 1), FENCE(ACQ), LOAD(0, ACQ, 2), UNLESS(2, 1), mark}},
                   {1, 1});
}

/* create.c: behind the magic everything is written. 0 magic, 1 a field of the header. */
static bool half_open(const struct world *w) { return R(w, 0) == 1 && R(w, 1) == 0; }
static struct program magic_last(int mutation) {
    return PROGRAM(half_open,
                   {{STORE(1, 1, RLX), STORE(0, 1, M(1, RLX, REL))}, {LOAD(0, M(2, RLX, ACQ), 0), LOAD(1, RLX, 1)}},
                   {0});
}
/* The same for the next opener, who writes the magic for a creator who died between ready and magic. 0 state,
 * 1 field, 2 magic. */
static struct program ready_then_magic(int mutation) {
    return PROGRAM(half_open,
                   {{STORE(1, 1, RLX), CAS(0, 0, 1, M(1, RLX, AR), 7)},
                    {LOAD(0, M(2, RLX, ACQ), 2), UNLESS(2, 1), STORE(2, 1, REL)},
                    {LOAD(2, ACQ, 0), LOAD(1, RLX, 1)}},
                   {0});
}

static const struct {
    const char *tag;
    maker *make;
    int mutations;
} pairs[] = {
    {"self", self_store_buffering, 1},
    {"self", self_message_passing, 2},
    {"lock-release", lock_release, 2},
    {"take-then-owner", take_then_owner, 4},
    {"lock-then-frozen", lock_then_frozen, 6},
    {"counter-then-frozen", counter_then_frozen, 2},
    {"alloc", alloc, 2},
    {"block-life", block_life, 2},
    {"block-life", block_life_span, 2},
    {"open-span", open_span, 2},
    {"publish", publish, 2},
    {"slot-between", slot_between, 2},
    {"pin-fence", pin_fence, 2},
    {"pin-fence", pin_then_word, 2},
    {"unpin", unpin, 2},
    {"records-then-slots", records_then_slots, 2},
    {"records-slot-records", records_slot_records, 2},
    {"records-slot-records", left_its_record, 2},
    {"publish-then-due", publish_then_due, 2},
    {"generation-then-publish", generation_then_publish, 2},
    {"evict-then-gone", evict_then_gone, 2},
    {"counter-then-outdated", counter_then_outdated, 2},
    {"evict-then-count", evict_then_count, 2},
    {"told-then-flags", told_then_flags, 2},
    {"summary", summary, 2},
    {"word-then-owner", word_then_owner, 2},
    {"record-then-owner", record_then_owner, 2},
    {"record-then-owner", life_beside_block, 2},
    {"claim-then-live", claim_then_live, 2},
    {"claim-then-live", live_then_dead, 1},
    {"magic-last", magic_last, 2},
    {"magic-last", ready_then_magic, 2},
};

int main(void) {
    int wrong = 0;
    for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (int mutation = 0; mutation <= pairs[i].mutations; mutation++) {
            struct program p = pairs[i].make(mutation);
            struct tally t = all_executions(&p);
            bool right = mutation ? t.bad > 0 : t.bad == 0 && t.executions > 0;
            char built[] = "as built", mutated[] = "mutation 0";
            mutated[9] = (char)('0' + mutation);
            printf("%-20s %-22s %-10s %8llu executions %6llu bad%s\n", pairs[i].tag, p.name, mutation ? mutated : built,
                   (unsigned long long)t.executions, (unsigned long long)t.bad, right ? "" : "  WRONG");
            wrong += !right;
        }
    return wrong ? 1 : 0;
}
