/* life.h: numbers that are given out once, and the words that are made of them (layout.h, "numbers and words")
 *
 * INVARIANT  No number is given out twice, whatever dies or forks. A process takes a range from the header's counter by
 *   an atomic addition before it uses any number of it. The rest of the range is the process's own memory: a forked
 *   child and a process that claims a client slot anew drop theirs (clients.c).
 * LIMITS  2^62 numbers: at ten million a second they last for 14,000 years. */
#ifndef SHMS_LIFE_H
#define SHMS_LIFE_H

#include "segment/segment.h"

#define SHMS_NUMBERS_TAKEN 1024u /* at once */

static inline uint64_t shms_life_of(const struct shms_store *s, uint64_t number) {
    return (number * s->number_multiplier ^ s->number_xor) << 2;
}
static inline uint64_t shms_free_word(const struct shms_store *s, uint64_t number) {
    return shms_life_of(s, number) | SHMS_WORD_ENDED | SHMS_WORD_PINNED;
}
static inline uint64_t shms_zombie_word(uint64_t life) { return life | SHMS_WORD_ENDED; }

/* For calls that have released the GIL: takes a number of its own. Never one whose life would be 0, "none". */
static inline uint64_t shms_number_shared(struct shms_store *s) {
    uint64_t number;
    do
        number = shms_fetch_add_acq_rel(&s->header->numbers, 1) + 1;
    while (SHMS_UNLIKELY(shms_life_of(s, number) == 0));
    return number;
}

/* REQUIRES: the GIL. */
static inline uint64_t shms_number(struct shms_store *s) {
    uint64_t number;
    do {
        if (SHMS_UNLIKELY(s->next_number == s->numbers_end)) {
            s->next_number = shms_fetch_add_acq_rel(&s->header->numbers, SHMS_NUMBERS_TAKEN) + 1;
            s->numbers_end = s->next_number + SHMS_NUMBERS_TAKEN;
        }
        number = s->next_number++;
    } while (SHMS_UNLIKELY(shms_life_of(s, number) == 0));
    return number;
}

#endif
