/* pinned.c: ordering is in pin.h and heap.h. */
#include "engine/pinned.h"

bool shms_pin_any(struct shms_store *s, uint64_t offset, uint64_t life) {
    shms_fence_seq_cst(); /* [pin-fence] pairs with the fences in shms_pin_set and release */
    uint64_t high = shms_min(shms_load_relaxed(&s->header->clients_high), s->client_count);
    for (uint64_t w = 0; w * 64 < high; w++)
        for (uint64_t bits = shms_load_acquire(&s->pin_bits[w]); bits; bits &= bits - 1) {
            uint64_t index = w * 64 + (uint64_t)__builtin_ctzll(bits);
            if (index >= s->client_count)
                break;
            struct shms_client *c = shms_client_at(s, (uint32_t)index);
            if (SHMS_OWNER_STATE(shms_load_acquire(&c->owner)) != SHMS_CLIENT_LIVE)
                continue;
            for (uint32_t i = 0; i < s->pin_count; i++)
                if (shms_load_acquire(&c->pins[i].life) == life && /* [unpin] */
                    shms_load_relaxed(&c->pins[i].block) == offset)
                    return true;
        }
    return false;
}

bool shms_pin_named(struct shms_store *s, uint64_t offset) {
    uint64_t used = shms_min(shms_load_acquire(&s->header->clients_high), s->client_count);
    for (uint32_t index = 0; index < used; index++) {
        struct shms_client *c = shms_client_at(s, index);
        if (SHMS_OWNER_STATE(shms_load_acquire(&c->owner)) < SHMS_CLIENT_LIVE)
            continue;
        for (uint32_t i = 0; i < s->pin_count; i++)
            if (shms_load_acquire(&c->pins[i].block) == offset)
                return true;
    }
    return false;
}

uint64_t shms_pin_zombies(struct shms_store *s) {
    uint64_t count = 0, high = shms_min(shms_load_relaxed(&s->header->clients_high), s->client_count);
    for (uint64_t index = 0; index < high; index++) {
        if (!(shms_load_acquire(&s->pin_bits[index / 64]) >> (index % 64) & 1))
            continue;
        struct shms_client *c = shms_client_at(s, (uint32_t)index);
        if (SHMS_OWNER_STATE(shms_load_acquire(&c->owner)) < SHMS_CLIENT_LIVE)
            continue;
        for (uint32_t i = 0; i < s->pin_count; i++) {
            uint64_t life = shms_load_acquire(&c->pins[i].life), offset = shms_load_relaxed(&c->pins[i].block);
            count += life && shms_block_at(s, offset) &&
                     shms_load_relaxed(&shms_block_at(s, offset)->word) == (life | SHMS_WORD_ENDED);
        }
    }
    return count;
}
