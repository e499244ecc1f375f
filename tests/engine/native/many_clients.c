/* Clients that do nothing cost others nothing: not before SHMS_FULL, not beside a put that pins do not concern, not by
 * zombies. Counted is how often a client's life is asked for, and how often pins are looked at (recover.c and heap.c are
 * compiled here once more). */
#include "harness.h"

#include <sys/resource.h>

static uint64_t lives_asked, pins_looked_at;
#define shms_client_life(s, index, owner) (lives_asked++, shms_client_life(s, index, owner))
#define shms_pin_any(s, offset, life) (pins_looked_at++, shms_pin_any(s, offset, life))
#include "engine/heap.c"
#include "engine/recover.c"

enum { CLIENTS = 1000, ZOMBIES = 10000, PUTS = 1000 };

static struct shms_store *s, *clients[CLIENTS];

static void fill(void) {
    char key[16];
    for (int i = 0, rc = SHMS_OK; rc == SHMS_OK; i++) {
        snprintf(key, sizeof key, "f%d", i);
        rc = put(s, key, 1, 100000);
    }
}

/* How often a life is asked for, until it is known that the store is full. */
static uint64_t asked_before_full(void) {
    uint64_t before = lives_asked;
    s->recovered_at = 0; /* a second has passed */
    make_room(s);
    EXPECT(put(s, "no room", 1, 100000) == SHMS_FULL);
    return lives_asked - before;
}

static uint64_t looked_at_in_puts(void) {
    uint64_t before = pins_looked_at;
    for (int i = 0; i < PUTS; i++)
        EXPECT(put(s, "k", i, 100) == SHMS_OK);
    return pins_looked_at - before;
}

static int pin(struct shms_store *client, const char *key) {
    struct shms_entry x;
    EXPECT(find(client, key, &x) == SHMS_OK);
    return shms_pin_set(client, SHMS_SLOT_BLOCK(x.word), x.life);
}

int main(int argc, char **argv) {
    struct rlimit files = {2 * CLIENTS, 2 * CLIENTS};
    begin_scenario(argc, argv);
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        return CANNOT_TELL;
    s = open_store(32 << 20);
    EXPECT(put(s, "seen", 7, 1000) == SHMS_OK);
    EXPECT(put(s, "k", 0, 100) == SHMS_OK);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = open_store(0);
    EXPECT(shms_clients_used(s) == CLIENTS + 1);

    char key[16];
    static int pins[ZOMBIES];
    for (int i = 0; i < ZOMBIES; i++) {
        snprintf(key, sizeof key, "z%d", i);
        EXPECT(put(s, key, 1, 100) == SHMS_OK);
    }
    for (int i = 0; i < ZOMBIES; i++) {
        snprintf(key, sizeof key, "z%d", i);
        pins[i] = pin(clients[i / 200], key);
        EXPECT(pins[i] >= 0 && drop(s, key) == SHMS_OK);
    }
    EXPECT(shms_pin_zombies(s) == ZOMBIES && looked_at_in_puts() == 0);
    for (int i = 0; i < ZOMBIES; i++)
        shms_pin_clear(clients[i / 200], pins[i]);
    EXPECT(shms_pin_zombies(s) == 0);

    for (int i = 0; i < CLIENTS; i++)
        EXPECT((pins[i] = pin(clients[i], "seen")) >= 0);
    EXPECT(looked_at_in_puts() == 0);
    uint64_t before = pins_looked_at;
    EXPECT(put(s, "seen", 8, 1000) == SHMS_OK && pins_looked_at - before == 1); /* by the process that ends its life */
    for (int i = 0; i < CLIENTS; i++)
        shms_pin_clear(clients[i], pins[i]);
    EXPECT(shms_pin_zombies(s) == 0);

    fill();
    EXPECT(asked_before_full() == 0);
    int one = pin(clients[500], "seen"); /* it may have died with this pin, so it is asked for */
    EXPECT(asked_before_full() == 1);
    shms_pin_clear(clients[500], one);
    expect_sound(s);
    for (int i = 0; i < CLIENTS; i++)
        close_store(clients[i]);
    close_store(s);
    return 0;
}
