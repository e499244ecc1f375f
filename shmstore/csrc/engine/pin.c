/* pin.c: steps and ordering are in pin.h. */
#include "engine/pin.h"

#include "engine/heap.h"

static void release(struct shms_store *s, int pin) {
    uint32_t index = s->number - 1;
    shms_store_release(&s->me->pins[pin].life, 0); /* [unpin] */
    s->own_pins[pin].users = 0;
    uint32_t used = shms_load_relaxed(&s->pins_used) - 1;
    shms_store_relaxed(&s->pins_used, used);
    if (used == 0)
        shms_fetch_and_acq_rel(&s->pin_bits[index / 64], ~(1ull << (index % 64)));
    shms_fence_seq_cst(); /* [pin-fence] pairs with the exchange for a zombie in shms_heap_end */
}

/* The pin of this life, or a free one, or pin_count: none is free. */
static uint32_t choose(const struct shms_store *s, uint64_t offset, uint64_t life) {
    uint32_t used = shms_load_relaxed(&s->pins_used), free = s->pin_count;
    for (uint32_t i = 0; i < s->pin_count && (used || free == s->pin_count); i++) {
        const struct shms_own_pin *own = &s->own_pins[i];
        if (!own->users && free == s->pin_count)
            free = i;
        if (!own->users)
            continue;
        if (own->life == life && own->block == offset)
            return i;
        used--;
    }
    return free;
}

int shms_pin_set(struct shms_store *s, uint64_t offset, uint64_t life) {
    uint32_t index = s->number - 1, used = shms_load_relaxed(&s->pins_used), i = choose(s, offset, life);
    if (i == s->pin_count)
        return -1;
    struct shms_own_pin *own = &s->own_pins[i];
    if (own->users++) /* the block stays as long as this pin, so no word needs to be looked at */
        return (int)i;
    own->block = offset;
    own->life = life;
    shms_store_relaxed(&s->pins_used, used + 1);
    if (used == 0)
        shms_fetch_or_acq_rel(&s->pin_bits[index / 64], 1ull << (index % 64));
    shms_store_relaxed(&s->me->pins[i].block, offset);
    shms_store_release(&s->me->pins[i].life, life);
    uint64_t w = life;
    shms_cas_seq_cst(shms_word_at(s, offset), &w, life | SHMS_WORD_PINNED);
    shms_fence_seq_cst(); /* [pin-fence] pairs with the fence in shms_pin_any */
    if (SHMS_LIKELY(shms_load_acquire(shms_word_at(s, offset)) == (life | SHMS_WORD_PINNED)))
        return (int)i;
    release(s, (int)i);
    shms_heap_unpinned(s, offset, life);
    return -2;
}

void shms_pin_clear(struct shms_store *s, int pin) {
    struct shms_own_pin *own = &s->own_pins[pin];
    if (own->users > 1) {
        own->users--;
        return;
    }
    release(s, pin);
    shms_heap_unpinned(s, own->block, own->life);
}

void shms_pin_settle(struct shms_store *s, struct shms_client *c) {
    shms_fence_seq_cst(); /* [pin-fence] the mark "dead" is written, then the words are read */
    for (uint32_t i = 0; i < s->pin_count; i++) {
        uint64_t offset = shms_load_acquire(&c->pins[i].block);
        uint64_t w = shms_block_at(s, offset) ? shms_load_acquire(shms_word_at(s, offset)) : 0;
        if ((w & 3) == SHMS_WORD_ENDED)
            shms_heap_unpinned(s, offset, w & ~3ull);
    }
}
