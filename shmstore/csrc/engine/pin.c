/* pin.c: steps and ordering are in pin.h. */
#include "engine/pin.h"

int shms_pin_set(struct shms_store *s, uint64_t offset) {
    uint32_t index = s->number - 1;
    for (uint32_t i = 0; i < s->pin_count; i++) {
        if (s->pins_busy[i / 64] >> (i % 64) & 1)
            continue;
        s->pins_busy[i / 64] |= 1ull << (i % 64);
        if (s->pins_used++ == 0)
            shms_fetch_or_acq_rel(&s->pin_bits[index / 64], 1ull << (index % 64));
        shms_store_relaxed(&s->me->pins[i], offset);
        shms_fence_seq_cst(); /* [pin-fence] pairs with the fence in shms_pin_covers */
        return (int)i;
    }
    return -1;
}

void shms_pin_clear(struct shms_store *s, int pin) {
    uint32_t index = s->number - 1;
    shms_store_release(&s->me->pins[pin], 0); /* [unpin] */
    s->pins_busy[pin / 64] &= ~(1ull << (pin % 64));
    if (--s->pins_used == 0)
        atomic_fetch_and_explicit(&s->pin_bits[index / 64], ~(1ull << (index % 64)), memory_order_acq_rel);
}

bool shms_pin_any(struct shms_store *s) {
    shms_fence_seq_cst(); /* [pin-fence] pairs with the fence in shms_pin_set */
    uint64_t high = shms_min(shms_load_relaxed(&s->header->clients_high), s->client_count);
    for (uint64_t w = 0; w * 64 < high; w++)
        if (shms_load_acquire(&s->pin_bits[w])) /* [unpin] */
            return true;
    return false;
}

bool shms_pin_covers(struct shms_store *s, uint64_t offset, uint64_t bytes) {
    uint64_t high = shms_min(shms_load_relaxed(&s->header->clients_high), s->client_count);
    for (uint64_t w = 0; w * 64 < high; w++)
        for (uint64_t bits = shms_load_acquire(&s->pin_bits[w]); bits; bits &= bits - 1) { /* [unpin] */
            uint64_t index = w * 64 + (uint64_t)__builtin_ctzll(bits);
            if (index >= s->client_count)
                break;
            struct shms_client *c = shms_client_at(s, (uint32_t)index);
            if (SHMS_OWNER_STATE(shms_load_acquire(&c->owner)) != SHMS_CLIENT_LIVE)
                continue;
            for (uint32_t i = 0; i < s->pin_count; i++)
                if (shms_load_acquire(&c->pins[i]) - offset < bytes) /* [unpin] */
                    return true;
        }
    return false;
}
