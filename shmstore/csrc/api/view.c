/* view.c: the contract is in view.h. Every function here REQUIRES the GIL. */
#include "api/view.h"

#include "base/number.h"
#include "engine/pin.h"

#define TRIES 64

/* If the whole value is one msgpack bin 8, 16 or 32, steps over its head, to the bytes. */
static bool unwrap(struct shms_entry *e) {
    uint8_t head[5];
    if (e->value_length < 2)
        return false;
    shms_copy_short(head, e->value, shms_min(e->value_length, sizeof head));
    if (head[0] < 0xc4 || head[0] > 0xc6)
        return false;
    uint64_t width = 1ull << (head[0] - 0xc4);
    if (e->value_length < 1 + width || e->value_length - 1 - width != shms_big_endian(head + 1, (int)width))
        return false;
    e->value += 1 + width;
    e->value_length -= 1 + width;
    return true;
}

int shms_view_begin(struct shms_handle *h, const struct shms_key *k, struct shms_view *view) {
    struct shms_store *s = h->s;
    struct shms_entry e;
    int may_pin = shms_handle_may_write(h);
    if (may_pin != SHMS_OK)
        return may_pin;
    for (int tries = 0; tries < TRIES; tries++) {
        int rc = shms_find(s, k, &e);
        if (rc != SHMS_OK)
            return rc;
        int pin = shms_pin_set(s, SHMS_SLOT_BLOCK(e.word), e.life);
        if (pin == -1)
            return SHMS_FULL;
        if (pin < 0)
            continue;
        uint32_t codec = e.kind & SHMS_CODEC_MASK;
        if (codec != SHMS_CODEC_RAW && !(codec == SHMS_CODEC_MSGPACK && unwrap(&e))) {
            shms_pin_clear(s, pin);
            return SHMS_UNMET;
        }
        shms_handle_view_add(h);
        *view = (struct shms_view){e.value, e.value_length, (uint32_t)pin, s->owner};
        return SHMS_OK;
    }
    return SHMS_BUSY;
}

void shms_view_end(int64_t handle, uint32_t pin, uint64_t owner) {
    struct shms_handle *h = shms_handle_of_view(handle);
    if (!h)
        return;
    if (h->s->fork_epoch == shms_fork_epoch && h->s->me && h->s->owner == owner)
        shms_pin_clear(h->s, (int)pin);
    shms_handle_view_remove(h);
}
