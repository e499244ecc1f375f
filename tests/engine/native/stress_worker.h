/* stress_worker.h: what one client of stress.c does, on values that show by themselves whether they are whole.
 *
 * A value names its key, its length and a stamp that all its bytes follow from. Counters count what was added to them. */
#ifndef STRESS_WORKER_H
#define STRESS_WORKER_H

#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "harness.h"
#include "base/number.h"
#include "engine/compact.h"
#include "engine/sleepers.h"
#include "engine/wait.h"
#include "engine/walk.h"

#define KEYS 48u
#define COUNTERS 4u
#define VALUE_MAX 9000u
#define WORKERS_MAX 16u
#define HELD_MAX 3u
#define PATIENCE (60 * SECOND) /* sanitizers, two cores, other work beside it */

struct head {
    uint32_t key, length;
    uint64_t stamp;
};

static struct tally {
    _Atomic uint64_t begun[COUNTERS], done[COUNTERS], operations, deaths, hits, holds;
    _Atomic bool stop;
} *tally;
static pid_t nobody; /* was a process */
static pthread_mutex_t interpreter = PTHREAD_MUTEX_INITIALIZER;
static struct shms_handle *shared; /* mode "shared" */

struct held {
    const uint8_t *value;
    struct head head;
    int pin;
};
struct worker {
    pthread_t thread;
    struct shms_store *s;
    uint64_t random;
    uint32_t held_count;
    struct held held[HELD_MAX];
    uint8_t value[VALUE_MAX], copy[VALUE_MAX];
    bool mortal; /* may die */
    bool shares; /* its attachment, with other threads */
};

static uint64_t next(struct worker *w) {
    uint64_t z = w->random += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint8_t pattern(uint64_t stamp, uint32_t i) { return (uint8_t)(stamp + i * 5 + (i >> 8)); }

static uint32_t compose(struct worker *w, uint32_t key) {
    uint64_t r = next(w);
    struct head head = {key, (uint32_t)(sizeof head + (r % 16 ? r % 300 : r % (VALUE_MAX - sizeof head))), next(w)};
    memcpy(w->value, &head, sizeof head);
    for (uint32_t i = sizeof head; i < head.length; i++)
        w->value[i] = pattern(head.stamp, i);
    return head.length;
}

static void expect_whole(const uint8_t *value, uint64_t length, uint32_t key) {
    struct head head;
    EXPECT(length >= sizeof head && length <= VALUE_MAX);
    memcpy(&head, value, sizeof head);
    EXPECT(head.key == key && head.length == length);
    for (uint32_t i = sizeof head; i < head.length; i++)
        EXPECT(value[i] == pattern(head.stamp, i));
}

/* What a call does when a lock was not had; in mode "shared" the GIL is given up for it. */
static void await(struct worker *w, _Atomic uint64_t *busy, uint64_t seen, uint64_t *deadline) {
    if (!*deadline)
        *deadline = shms_os_now() + PATIENCE;
    EXPECT(shms_os_now() < *deadline);
    if (w->shares)
        pthread_mutex_unlock(&interpreter);
    if (busy)
        shms_await(w->s, busy, seen, 2 * MS);
    else
        shms_os_yield();
    if (w->shares)
        pthread_mutex_lock(&interpreter);
}

static int put_value(struct worker *w, uint32_t key, enum shms_mode mode, uint64_t expected, uint64_t expiry) {
    char name[16];
    uint32_t n = (uint32_t)snprintf(name, sizeof name, "k%u", key), length = compose(w, key);
    struct shms_op op;
    uint64_t deadline = 0;
    for (int full = 0;;) {
        int rc = shms_op_begin(w->s, &op, name, n, 0);
        if (rc == SHMS_OK)
            rc = shms_op_reserve(&op, length, SHMS_CODEC_RAW, NULL, 0, expiry);
        if (rc == SHMS_OK) {
            shms_write_racy(op.value, w->value, length);
            rc = shms_op_publish(&op, mode, expected);
        }
        _Atomic uint64_t *busy = op.busy;
        shms_op_end(&op);
        if (rc == SHMS_FULL && full++ < 20) {
            make_room(w->s);
            continue;
        }
        EXPECT(rc == SHMS_OK || rc == SHMS_UNMET || rc == SHMS_BUSY || rc == SHMS_FULL);
        if (rc != SHMS_BUSY)
            return rc;
        await(w, busy, op.seen, &deadline);
    }
}

static void add(struct worker *w, uint32_t counter) {
    char name[16];
    uint32_t n = (uint32_t)snprintf(name, sizeof name, "c%u", counter);
    struct shms_op op;
    uint64_t deadline = 0;
    int rc = SHMS_BUSY;
    shms_fetch_add_acq_rel(&tally->begun[counter], 1);
    for (int full = 0; rc != SHMS_OK;) {
        rc = shms_op_begin(w->s, &op, name, n, 0);
        op.number = 1;
        op.initial = 0;
        if (rc == SHMS_OK)
            rc = shms_op_reserve(&op, SHMS_NUMBER_MAX, SHMS_CODEC_MSGPACK, NULL, 0, 0);
        if (rc == SHMS_OK)
            rc = shms_op_publish(&op, SHMS_INCR, 0);
        _Atomic uint64_t *busy = op.busy;
        shms_op_end(&op);
        if (rc == SHMS_FULL && full++ < 1000) {
            make_room(w->s);
            continue;
        }
        EXPECT(rc == SHMS_OK || rc == SHMS_BUSY);
        if (rc == SHMS_BUSY)
            await(w, busy, op.seen, &deadline);
    }
    shms_fetch_add_acq_rel(&tally->done[counter], 1);
}

static void change(struct worker *w, uint32_t key, uint64_t expiry, bool removes) {
    char name[16];
    uint32_t n = (uint32_t)snprintf(name, sizeof name, "k%u", key);
    struct shms_op op;
    uint64_t deadline = 0;
    for (;;) {
        int rc = shms_op_begin(w->s, &op, name, n, 0);
        if (rc == SHMS_OK)
            rc = removes ? shms_op_remove(&op, 0) : shms_op_touch(&op, expiry, 0);
        _Atomic uint64_t *busy = op.busy;
        shms_op_end(&op);
        EXPECT(rc == SHMS_OK || rc == SHMS_MISS || rc == SHMS_BUSY);
        if (rc != SHMS_BUSY)
            return;
        await(w, busy, op.seen, &deadline);
    }
}

/* A value copied out and found whole: its version, or 0. */
static uint64_t get_value(struct worker *w, uint32_t key) {
    char name[16];
    snprintf(name, sizeof name, "k%u", key);
    struct shms_key n = name_of(w->s, name);
    struct shms_entry f;
    for (int tries = 0; tries < 1000; tries++) {
        int rc = shms_find(w->s, &n, &f);
        EXPECT(rc == SHMS_OK || rc == SHMS_MISS || rc == SHMS_BUSY);
        if (rc == SHMS_MISS)
            return 0;
        if (rc == SHMS_BUSY || f.value_length > VALUE_MAX) {
            EXPECT(rc == SHMS_BUSY || !shms_entry_unchanged(&f));
            continue;
        }
        shms_copy_racy(w->copy, f.value, f.value_length);
        if (!shms_entry_unchanged(&f))
            continue;
        expect_whole(w->copy, f.value_length, key);
        shms_fetch_add_acq_rel(&tally->hits, 1);
        return shms_entry_version(&f);
    }
    return 0;
}

/* Reads in place, as view() does, and keeps it for a while. */
static void hold(struct worker *w, uint32_t key) {
    char name[16];
    snprintf(name, sizeof name, "k%u", key);
    struct shms_key n = name_of(w->s, name);
    struct shms_entry f;
    if (w->held_count == HELD_MAX || shms_find(w->s, &n, &f) != SHMS_OK)
        return;
    int pin = shms_pin_set(w->s, SHMS_SLOT_BLOCK(f.word), f.life);
    if (pin < 0)
        return;
    expect_whole(f.value, f.value_length, key);
    struct held *h = &w->held[w->held_count++];
    *h = (struct held){.value = f.value, .pin = pin};
    memcpy(&h->head, f.value, sizeof h->head);
    shms_fetch_add_acq_rel(&tally->holds, 1);
}

static void let_go(struct worker *w) {
    if (!w->held_count)
        return;
    struct held *h = &w->held[--w->held_count];
    EXPECT(memcmp(h->value, &h->head, sizeof h->head) == 0); /* nobody wrote there meanwhile */
    expect_whole(h->value, h->head.length, h->head.key);
    shms_pin_clear(w->s, h->pin);
}

static void walk(struct worker *w) {
    static _Thread_local uint8_t names[SHMS_KEY_MAX + 4];
    struct shms_walk walk = {0, UINT64_MAX, NULL, 0, SHMS_WALK_ALL, UINT32_MAX};
    uint64_t filled;
    while (walk.cursor < walk.end) {
        EXPECT(shms_walk(w->s, &walk, names, sizeof names, &filled) == SHMS_OK);
        for (uint64_t at = 0; at < filled;) {
            uint32_t mark;
            memcpy(&mark, names + at, 4);
            EXPECT(mark >= 2 && mark <= 5 && (names[at + 4] == 'k' || names[at + 4] == 'c'));
            at += 4 + mark;
        }
    }
}

static void check_now(struct worker *w) {
    char what[200] = "";
    int rc = check(w->s, what, sizeof what);
    if (rc != SHMS_OK)
        fprintf(stderr, "check: %d %s\n", rc, what);
    EXPECT(rc == SHMS_OK);
}

/* Another attachment to the mapping that s has. */
static struct shms_store *attach_beside(struct shms_store *s) {
    struct shms_store *beside = calloc(1, sizeof *beside);
    bool only_read;
    EXPECT(beside && shms_segment_view(beside, s->base, s->size, &only_read) == SHMS_OK);
    beside->id = s->id;
    beside->liveness = beside->fd = -1;
    beside->memory = s->memory;
    beside->validated_at = shms_os_now_coarse();
    EXPECT(shms_client_claim(beside) == SHMS_OK);
    beside->fork_epoch = shms_fork_epoch;
    return beside;
}

/* From here on this client is a process that has ended, in the midst of something. */
static void die(struct worker *w) {
    struct shms_store *s = w->s;
    struct shms_op op;
    char name[16];
    uint64_t r = next(w), seen, owner = s->owner;
    uint32_t n = (uint32_t)snprintf(name, sizeof name, "k%u", (uint32_t)(r % KEYS));
    while (w->held_count && r & 1)
        let_go(w);
    EXPECT(shms_op_begin(s, &op, name, n, 0) == SHMS_OK);
    shms_op_reserve(&op, 100, SHMS_CODEC_RAW, NULL, 0, 0);
    if (r & 2) {
        shms_store_relaxed(&op.record->bucket, op.key.home + 1);
        shms_bucket_use(s, op.key.home);
        shms_lock_try(s, &s->buckets[op.key.home].lock, 10, &seen);
    }
    if (r & 4) { /* or in the midst of opening a span */
        struct shms_span span;
        shms_span_open(s, &s->me->records[SHMS_CLIENT_CLOSER], SHMS_CLASS_LARGE, 1 + (r >> 8) % 5, &span);
    }
    w->held_count = 0;
    EXPECT(shms_cas_acq_rel(&s->me->owner, &owner, (owner & ~0x3fffffull) | (uint32_t)nobody));
    shms_os_close(s->liveness);
    w->s = attach_beside(s);
    free(s);
    shms_fetch_add_acq_rel(&tally->deaths, 1);
}

static void sweep(struct worker *w) {
    uint64_t group = 0, gone = 0;
    bool passed_over = false;
    int index = shms_record_take(w->s);
    if (index < 0)
        return;
    shms_expire_all(w->s, &w->s->me->records[index], &group, UINT64_MAX, &gone, &passed_over);
    shms_record_put(w->s, index);
}

/* In mode "shared" other threads go on between two steps. It may be given up in the middle. */
static void compact(struct worker *w) {
    struct shms_compact c = {0};
    uint64_t steps = next(w) % 200, deadline = 0;
    while (shms_compact_step(w->s, &c) == SHMS_AGAIN && steps--)
        if (w->shares)
            await(w, NULL, 0, &deadline);
    shms_compact_end(w->s, &c);
}

static void operate(struct worker *w) {
    uint64_t r = next(w), version, cursor;
    uint32_t key = (uint32_t)(r >> 8) % KEYS;
    char name[16];
    switch (r % 32) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        put_value(w, key, SHMS_SET, 0, 0);
        break;
    case 5:
        put_value(w, key, SHMS_SET, 0, shms_os_now() + (r >> 32) % (5 * MS));
        break;
    case 6:
        put_value(w, key, r >> 32 & 1 ? SHMS_ADD : SHMS_REPLACE, 0, 0);
        break;
    case 7:
        version = get_value(w, key);
        put_value(w, key, SHMS_CAS, version, 0);
        break;
    case 8:
    case 9:
    case 10:
        change(w, key, 0, true);
        break;
    case 11:
        change(w, key, shms_os_now() + (r >> 32) % (5 * MS), false);
        break;
    case 12:
    case 13:
    case 14:
        add(w, key % COUNTERS);
        break;
    case 15:
    case 16:
        hold(w, key);
        break;
    case 17:
    case 18:
        let_go(w);
        break;
    case 19:
        if ((r >> 32) % 4 == 0)
            walk(w);
        break;
    case 20:
        if ((r >> 32) % 16 == 0)
            sweep(w);
        break;
    case 21:
        if ((r >> 32) % 16 == 0)
            shms_recover_all(w->s, false);
        break;
    case 22:
        if ((r >> 32) % 64 == 0)
            check_now(w);
        else if ((r >> 32) % 16 == 1)
            make_room(w->s);
        else if ((r >> 32) % 16 == 2)
            shms_heap_leave(w->s);
        else if ((r >> 32) % 16 == 3)
            compact(w);
        break;
    case 23:
        if ((r >> 32) % 64 == 0 && w->mortal)
            die(w);
        break;
    case 24:
        if ((r >> 32) % 8 == 0 && !w->shares) {
            snprintf(name, sizeof name, "k%u", key);
            struct shms_key n = name_of(w->s, name);
            struct shms_also also = {shms_pokes(), 0, NULL};
            EXPECT(shms_wait(w->s, &n, true, get_value(w, key), shms_os_now(), MS, 0, &also, &cursor) >= 0);
        }
        break;
    default:
        get_value(w, key);
    }
    shms_fetch_add_acq_rel(&tally->operations, 1);
}

#endif
