/* generations.h: entries that end together: those with a tag, and those in a namespace
 *
 * A counter belongs to one namespace, or is shared by the tags whose hashes select it. An entry that is put with tags, or in
 * a namespace, has in its extension a word for each of its counters: the generation that the counter had when the put
 * began. It is *outdated* as soon as one of the counters has another generation. So adding 1 to a counter ends all entries
 * of a tag or a namespace at once. An outdated entry is absent, like an expired one: both are decided in shms_entry_gone and
 * in shms_find (table.h), and the sweep gives the memory back (expire.h).
 *
 * A namespace has its counter to itself: clearing it ends no entry outside of it. Tags share counters, so evicting a tag may
 * end entries of another one.
 *
 * WRITER   put    1 load the generations (acquire)           before anything of the value is made
 *                 2 fill a block, publish it [publish]
 *          evict  1 add 1 to the counter (acquire, release): this is the eviction
 *                 2 add 1 to header.outdated: a hint that there is something to sweep
 *                 3 count it in header.evictions, and clear the bit `sleeps` there
 *                 4 if the bit was set, wake those that sleep on that word, and ring the bell for every bucket
 * WAITER   1 load header.evictions (acquire)   2 look at the key
 *          3 set the bit, if the number is that of step 1   4 sleep while the word has this value, or listen to the bell
 * READER   1 the slot, as table.h has it (acquire)
 *          2 the words of the block;  the counters (acquire)
 *          3 does the block have the same life? If not, the words were those of another entry
 *          4 to conclude "outdated": does the slot still name the block? If not, another process may have overwritten the
 *            entry before the counter changed
 * ORDERING
 *   [generation-then-publish]  The load of step 1 of a put is before its publication (release), which pairs with step 1 of
 *     the reader. So the reader finds a generation that is not older than that in the entry, and no new entry is taken for
 *     outdated. If an eviction comes after step 1 of a put, the reader finds another generation, unless the eviction came
 *     after its step 2. So no value that was made before an eviction is found after it.
 *   [evict-then-gone]  A process that finds the entries gone sees what the evicting process did before it evicted.
 *   [counter-then-outdated]  A sweep that loads a number from header.outdated sees the counters that changed before that.
 *   [evict-then-count]  A waiter that finds the number moved looks again, and sees the counter moved. If the number moves
 *     after the waiter's step 3, the evicting process sees the bit.
 * CRASH  of an evicting process after its step 1: the entries are gone. Waiters are not woken before step 4 (wait.c). The sweep of puts may not look for them before the next
 *   eviction; the sweeps of expire_due and before StoreFull look for them anyway. Of a process that gives a counter to a
 *   namespace: only the counter is lost.
 * LIMITS  A generation has 48 bits. An entry that is still in memory after 2^48 evictions of its tag would be found again. */
#ifndef SHMS_GENERATIONS_H
#define SHMS_GENERATIONS_H

#include "segment/segment.h"

#define SHMS_GENERATIONS_MAX (SHMS_TAGS_MAX + SHMS_DEPTH_MAX)

/* The words of an entry, or of one that is to be put. */
struct shms_generations {
    uint32_t count;
    uint64_t words[SHMS_GENERATIONS_MAX];
};
static inline uint32_t shms_generations_bytes(uint32_t count) { return SHMS_EXT_WORDS + count * 8; }

enum shms_generation { SHMS_TIMELESS, SHMS_CURRENT, SHMS_OUTDATED };
/* What the generations in this extension say; TIMELESS: there are none. The extension lies within the heap; its bytes may
 * be those of another life, so the caller checks that afterwards. Words that make no sense are outdated. */
enum shms_generation shms_generation_of(const struct shms_store *s, const uint8_t *extension, uint32_t length);
/* Copies the words out of an extension; to be checked as above. */
void shms_generations_copy(const uint8_t *extension, uint32_t length, struct shms_generations *g);
/* Do the two extensions, either of which may be NULL, have the same words? */
bool shms_generations_equal(const uint8_t *a, uint32_t a_length, const uint8_t *b, uint32_t b_length);
static inline bool shms_has_generations(const uint8_t *extension, uint32_t length) {
    uint16_t type;
    if (!extension || length < SHMS_EXT_WORDS)
        return false;
    shms_copy_short(&type, extension + 8, 2);
    return type == SHMS_EXT_GENERATIONS;
}

/* The counter of the tags with this hash. REQUIRES: the store has counters. */
static inline uint32_t shms_counter_of_tag(const struct shms_store *s, uint64_t hash) {
    uint64_t all = s->counters - s->counters_of_namespaces;
    return s->counters_of_namespaces + (uint32_t)((hash >> 32) * all >> 32);
}
/* Adds the word of this counter, unless it is there already, and those of all namespaces around it. An index outside the table
 * is left out. False: the system has no memory for the counter. */
bool shms_generations_add(struct shms_store *s, uint32_t index, struct shms_generations *g);
/* Ends the entries of this counter. False: the system has no memory for the counter, so it has no entries. */
bool shms_outdate(struct shms_store *s, uint32_t index);
/* REQUIRES: an entry with this extension was published. If it is outdated already, another sweep is asked for. */
void shms_published(struct shms_store *s, const uint8_t *extension);
static inline uint32_t shms_evictions(const struct shms_store *s) { return shms_load_acquire(&s->header->evictions); }
/* Step 3 of a waiter: sets the bit in the word and in *seen. False: the number has moved since. */
bool shms_await_eviction(struct shms_store *s, uint32_t *seen);
/* Gives a counter to a new namespace in `parent`, 0: none. 0: there are none left, or the system has no memory. */
uint32_t shms_counter_give(struct shms_store *s, uint32_t parent);
/* Ends the entries of all namespaces. */
void shms_outdate_namespaces(struct shms_store *s);

#endif
