/* generations.c: the contract is in generations.h. */
#include "engine/generations.h"

#include "engine/bell.h"

/* How many words, or UINT32_MAX: they make no sense. */
static uint32_t words_in(const uint8_t *extension, uint32_t length) {
    uint16_t bytes;
    uint32_t count;
    shms_copy_short(&bytes, extension + 10, 2);
    shms_copy_short(&count, extension + 12, 4);
    return count <= SHMS_GENERATIONS_MAX && bytes == 4 + 8 * count && shms_generations_bytes(count) <= length
               ? count
               : UINT32_MAX;
}

static uint64_t word_at(const uint8_t *extension, uint32_t i) {
    uint64_t word;
    shms_copy_short(&word, extension + SHMS_EXT_WORDS + 8 * i, 8);
    return word;
}

enum shms_generation shms_generation_of(const struct shms_store *s, const uint8_t *extension, uint32_t length) {
    if (!shms_has_generations(extension, length))
        return SHMS_TIMELESS;
    uint32_t count = words_in(extension, length);
    if (count == UINT32_MAX)
        return SHMS_OUTDATED;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t word = word_at(extension, i);
        uint32_t index = SHMS_GENERATION_INDEX(word);
        if (index >= s->counters ||
            ((shms_load_acquire(&s->generations[index]) ^ word) & SHMS_GENERATION)) /* [generation-then-publish] */
            return SHMS_OUTDATED;
    }
    return SHMS_CURRENT;
}

void shms_generations_copy(const uint8_t *extension, uint32_t length, struct shms_generations *g) {
    uint32_t count = shms_has_generations(extension, length) ? words_in(extension, length) : 0;
    g->count = count == UINT32_MAX ? 0 : count;
    for (uint32_t i = 0; i < g->count; i++)
        g->words[i] = word_at(extension, i);
}

bool shms_generations_equal(const uint8_t *a, uint32_t a_length, const uint8_t *b, uint32_t b_length) {
    uint32_t n = shms_has_generations(a, a_length) ? words_in(a, a_length) : 0;
    uint32_t m = shms_has_generations(b, b_length) ? words_in(b, b_length) : 0;
    return n == m && (n == 0 || n == UINT32_MAX || memcmp(a + SHMS_EXT_WORDS, b + SHMS_EXT_WORDS, n * 8ull) == 0);
}

/* A page of counters is committed once by each process, which costs a system call. */
static bool commit(struct shms_store *s, uint32_t index) {
    uint64_t bit = 1ull << (index / (SHMS_PAGE / 8));
    if (SHMS_LIKELY(!s->sparse || s->counters_committed & bit))
        return true;
    uint64_t first = (uint64_t)((uint8_t *)&s->generations[index] - s->base) / SHMS_PAGE * SHMS_PAGE;
    if (!shms_commit_sparse(s, first, SHMS_PAGE))
        return false;
    s->counters_committed |= bit;
    return true;
}

static bool has(const struct shms_generations *g, uint32_t index) {
    for (uint32_t i = 0; i < g->count; i++)
        if (SHMS_GENERATION_INDEX(g->words[i]) == index)
            return true;
    return false;
}

bool shms_generations_add(struct shms_store *s, uint32_t index, struct shms_generations *g) {
    for (uint32_t depth = 0; index && index < s->counters && depth <= SHMS_DEPTH_MAX; depth++) {
        if (has(g, index) || g->count == SHMS_GENERATIONS_MAX)
            return true; /* and so are those around it */
        if (!commit(s, index))
            return false;
        uint64_t counter = shms_load_acquire(&s->generations[index]); /* [generation-then-publish] */
        g->words[g->count++] = SHMS_GENERATION_WORD(index, counter);
        index = index < s->counters_of_namespaces ? SHMS_GENERATION_INDEX(counter) : 0;
    }
    return true;
}

#define SLEEPS 1u

bool shms_await_eviction(struct shms_store *s, uint32_t *seen) {
    uint32_t w = *seen;
    while (!(w & SLEEPS) && w >> 1 == *seen >> 1 && !shms_cas_acq_rel(&s->header->evictions, &w, w | SLEEPS))
        ;
    bool same = w >> 1 == *seen >> 1;
    *seen |= SLEEPS;
    return same;
}

/* Steps 2 to 4 of an eviction. */
static void announce(struct shms_store *s) {
    shms_fetch_add_acq_rel(&s->header->outdated, 1); /* [counter-then-outdated] */
    uint32_t w = shms_load_relaxed(&s->header->evictions);
    while (!shms_cas_acq_rel(&s->header->evictions, &w, (w & ~SLEEPS) + 2)) /* [evict-then-count] */
        ;
    if (SHMS_UNLIKELY(w & SLEEPS)) {
        shms_os_futex_wake_all(&s->header->evictions);
        shms_bell_ring_all(s);
    }
}

bool shms_outdate(struct shms_store *s, uint32_t index) {
    if (index >= s->counters)
        return true;
    if (!commit(s, index))
        return false;
    shms_fetch_add_acq_rel(&s->generations[index], 1); /* [evict-then-gone] */
    announce(s);
    return true;
}

void shms_published(struct shms_store *s, const uint8_t *extension) {
    if (shms_generation_of(s, extension, SHMS_EXT_MAX) == SHMS_OUTDATED)
        shms_fetch_add_acq_rel(&s->header->outdated, 1);
}

uint32_t shms_counter_give(struct shms_store *s, uint32_t parent) {
    uint64_t given = shms_load_relaxed(&s->header->namespaces);
    do /* not beyond the end, however often it is asked for */
        if (given + 1 >= s->counters_of_namespaces)
            return 0;
    while (!shms_cas_acq_rel(&s->header->namespaces, &given, given + 1));
    uint32_t index = (uint32_t)given + 1;
    if (!commit(s, index))
        return 0;
    shms_store_release(&s->generations[index], (uint64_t)parent << 48);
    return index;
}

void shms_outdate_namespaces(struct shms_store *s) {
    uint64_t last = shms_min(shms_load_acquire(&s->header->namespaces), s->counters_of_namespaces - 1ull);
    if (!s->counters || !last)
        return;
    for (uint32_t index = 1; index <= last; index++)
        if (commit(s, index))
            shms_fetch_add_acq_rel(&s->generations[index], 1); /* [evict-then-gone] */
    announce(s);
}
