/* stress.c: many clients at once, on values that show by themselves whether they are whole.
 *
 *   stress threads N SECONDS KEY SEED     N attachments in one process, all on one mapping, so that ThreadSanitizer sees
 *                                         both sides of every access; now and then one "dies" with something in hand,
 *                                         and one only reads
 *   stress shared N SECONDS KEY SEED      the same, but all except two threads share one attachment as Python's do: one at
 *                                         a time, but for the calls that give the GIL up
 *   stress processes N SECONDS KEY SEED   N processes, one of which is killed every 20 ms and replaced
 *
 * A value names its key, its length and a stamp that all its bytes follow from. Counters count what was added to them.
 * At the end the dead are recovered, check() finds nothing, and the counters are the sums of what was added. */
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "harness.h"
#include "base/number.h"
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
            shms_make_room(w->s);
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
            shms_make_room(w->s);
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
        return f.sequence;
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
    int pin = shms_pin_set(w->s, SHMS_SLOT_BLOCK(f.word));
    if (pin < 0)
        return;
    if (shms_load_acquire(f.slot) != f.word || shms_load_acquire(&f.block->sequence) != f.sequence) {
        shms_pin_clear(w->s, pin);
        return;
    }
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
    _Atomic uint64_t *busy;
    uint64_t seen, deadline = 0;
    int rc;
    while ((rc = shms_check(w->s, what, sizeof what, &busy, &seen)) == SHMS_BUSY)
        await(w, busy, seen, &deadline);
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
    shms_op_reserve(&op, 100, SHMS_CODEC_RAW, NULL, 0, 0); /* or not, if others hold the arena */
    if (r & 2) {
        shms_store_relaxed(&op.record->bucket, op.key.home + 1);
        shms_bucket_use(s, op.key.home);
        shms_lock_try(s, &s->buckets[op.key.home].lock, 10, &seen);
    }
    if (r & 4)
        shms_arena_enter(s, (uint32_t)(r >> 8) % s->arena_count, 10, &seen);
    w->held_count = 0;
    EXPECT(shms_cas_acq_rel(&s->me->owner, &owner, (owner & ~0x3fffffull) | (uint32_t)nobody));
    shms_os_close(s->liveness);
    w->s = attach_beside(s);
    free(s);
    shms_fetch_add_acq_rel(&tally->deaths, 1);
}

static void operate(struct worker *w) {
    uint64_t r = next(w), version, cursor;
    uint32_t key = (uint32_t)(r >> 8) % KEYS;
    bool everything = true;
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
            shms_expire_all(w->s, &everything);
        break;
    case 21:
        if ((r >> 32) % 16 == 0)
            shms_recover_all(w->s, false);
        break;
    case 22:
        if ((r >> 32) % 64 == 0)
            check_now(w);
        break;
    case 23:
        if ((r >> 32) % 64 == 0 && w->mortal)
            die(w);
        break;
    case 24:
        if ((r >> 32) % 8 == 0 && !w->shares) {
            snprintf(name, sizeof name, "k%u", key);
            struct shms_key n = name_of(w->s, name);
            EXPECT(shms_wait(w->s, &n, true, get_value(w, key), shms_os_now(), MS, 0, &cursor) >= 0);
        }
        break;
    default:
        get_value(w, key);
    }
    shms_fetch_add_acq_rel(&tally->operations, 1);
}

static void *work(void *worker) {
    struct worker *w = worker;
    while (!shms_load_acquire(&tally->stop))
        operate(w);
    while (w->held_count)
        let_go(w);
    return NULL;
}

/* Threads of one Python process: one at a time, but for shms_w_* */
static void *work_shared(void *worker) {
    struct worker *w = worker;
    int64_t handle = 1 << 16;
    char what[200];
    struct shms_client_info holder;
    uint64_t version, deaths, rebuilds;
    uint32_t pid;
    while (!shms_load_acquire(&tally->stop)) {
        uint64_t r = next(w);
        pthread_mutex_lock(&interpreter);
        int rc = shms_usable(handle);
        EXPECT(rc == SHMS_OK);
        if (r % 64 > 4) {
            operate(w);
            pthread_mutex_unlock(&interpreter);
            continue;
        }
        shms_take_events(handle, &deaths, &rebuilds, &pid);
        shms_lock_holder(handle, &holder);
        pthread_mutex_unlock(&interpreter);
        if (r % 64 == 0)
            EXPECT(shms_w_check(handle, PATIENCE, what, sizeof what) == SHMS_OK);
        else if (r % 64 == 1)
            EXPECT(shms_w_recover(handle) >= 0);
        else
            EXPECT(shms_w_wait(handle, "k1", 2, 0, r >> 8 & 1, 0, MS, 0, &version) >= 0);
    }
    pthread_mutex_lock(&interpreter);
    while (w->held_count)
        let_go(w);
    pthread_mutex_unlock(&interpreter);
    return NULL;
}

/* Of a store that it may not write to: what another process would do through a mapping that it can only read. */
static void *observe(void *worker) {
    struct worker *w = worker;
    char what[200];
    _Atomic uint64_t *busy;
    uint64_t seen;
    while (!shms_load_acquire(&tally->stop)) {
        uint64_t r = next(w);
        get_value(w, (uint32_t)(r >> 8) % KEYS);
        if (r % 64 == 0)
            walk(w);
        if (r % 256 == 0) /* its look counts only if nobody held the lock meanwhile */
            shms_check(w->s, what, sizeof what, &busy, &seen);
    }
    return NULL;
}

static void finish(struct shms_store *s) {
    struct worker *w = calloc(1, sizeof *w);
    w->s = s;
    shms_recover_all(s, false);
    for (uint32_t i = 0; i < s->client_count; i++)
        EXPECT(&s->me->owner == &shms_client_at(s, i)->owner ||
               SHMS_OWNER_STATE(shms_load_acquire(&shms_client_at(s, i)->owner)) == SHMS_CLIENT_FREE);
    check_now(w);
    for (uint32_t k = 0; k < KEYS; k++)
        get_value(w, k);
    for (uint32_t c = 0; c < COUNTERS; c++) {
        char name[16];
        struct shms_entry f;
        int64_t number = 0;
        snprintf(name, sizeof name, "c%u", c);
        struct shms_key n = name_of(s, name);
        if (shms_find(s, &n, &f) == SHMS_OK)
            EXPECT(shms_number_decode(f.value, f.value_length, &number) == SHMS_OK);
        EXPECT((uint64_t)number >= shms_load_relaxed(&tally->done[c]));
        EXPECT((uint64_t)number <= shms_load_relaxed(&tally->begun[c]));
    }
    for (uint32_t k = 0; k < KEYS; k++)
        change(w, k, 0, true);
    check_now(w);
    for (uint32_t a = 0; a < s->arena_count; a++) /* nothing is lost: the counters are all that is left */
        shms_rebuild(s, a);
    struct shms_stats stats = {0};
    for (uint32_t a = 0; a < s->arena_count; a++)
        stats.entries += shms_load_relaxed(&s->arenas[a].blocks);
    EXPECT(stats.entries <= COUNTERS);
    check_now(w);
    free(w);
}

static void in_threads(struct shms_store *s, uint32_t count, uint64_t nanoseconds, uint64_t seed) {
    struct worker *workers[WORKERS_MAX];
    struct shms_store observed = *s;
    observed.readonly = true;
    observed.me = NULL;
    observed.number = 0;
    for (uint32_t i = 0; i < count; i++) {
        /* The first only reads; the second has an attachment of its own in any case, and may die. */
        struct worker *w = workers[i] = calloc(1, sizeof *w);
        EXPECT(w);
        w->random = seed + i * 1000003;
        w->shares = shared && i > 1;
        w->mortal = i > 0 && !w->shares;
        w->s = i == 0 ? &observed : w->shares ? &shared->s : attach_beside(s);
        EXPECT(pthread_create(&w->thread, NULL, i == 0 ? observe : w->shares ? work_shared : work, w) == 0);
    }
    for (uint64_t end = shms_os_now() + nanoseconds; shms_os_now() < end;)
        shms_os_nap(10 * MS);
    shms_store_release(&tally->stop, true);
    for (uint32_t i = 0; i < count; i++) {
        EXPECT(pthread_join(workers[i]->thread, NULL) == 0);
        if (workers[i]->mortal) {
            shms_client_release(workers[i]->s);
            free(workers[i]->s);
        }
        free(workers[i]);
    }
}

static pid_t start_process(uint64_t seed) {
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid)
        return pid;
    struct worker *w = calloc(1, sizeof *w);
    w->s = open_store(0);
    w->random = seed;
    work(w);
    close_store(w->s);
    free(w);
    exit(0);
}

static void in_processes(uint32_t count, uint64_t nanoseconds, uint64_t seed) {
    pid_t pids[WORKERS_MAX];
    int status;
    uint64_t born = 0;
    for (uint32_t i = 0; i < count; i++)
        pids[i] = start_process(seed + 7919 * born++);
    for (uint64_t end = shms_os_now() + nanoseconds; shms_os_now() < end;) {
        shms_os_nap(20 * MS);
        uint32_t i = (uint32_t)((seed + born * 0x9e3779b97f4a7c15ull) >> 40) % count;
        kill(pids[i], SIGKILL);
        EXPECT(waitpid(pids[i], &status, 0) == pids[i]);
        EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* it did not end by itself */
        shms_fetch_add_acq_rel(&tally->deaths, 1);
        pids[i] = start_process(seed + 7919 * born++);
    }
    shms_store_release(&tally->stop, true);
    for (uint32_t i = 0; i < count; i++)
        EXPECT(waitpid(pids[i], &status, 0) == pids[i] && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv) {
    EXPECT(argc == 6);
    begin_scenario(2, argv + 3);
    uint32_t count = (uint32_t)atoi(argv[2]);
    uint64_t nanoseconds = (uint64_t)(atof(argv[3]) * 1e9), seed = strtoull(argv[5], NULL, 0);
    EXPECT(count >= 1 && count <= WORKERS_MAX);
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(tally != MAP_FAILED);
    nobody = fork();
    if (nobody == 0)
        _exit(0);
    EXPECT(waitpid(nobody, NULL, 0) == nobody);
    struct shms_store *s = open_store(1 << 20);
    if (!strcmp(argv[1], "processes"))
        in_processes(count, nanoseconds, seed);
    else {
        if (!strcmp(argv[1], "shared")) {
            shared = calloc(1, sizeof *shared);
            struct shms_store *beside = attach_beside(s);
            shared->s = *beside;
            free(beside);
            shms_store_release(&shared->word, 1ull << 32);
            shms_handles[0] = shared;
        }
        in_threads(s, count, nanoseconds, seed);
        if (shared)
            shms_client_release(&shared->s);
    }
    finish(s);
    printf("%llu operations, %llu values found whole, %llu held in place, %llu deaths\n",
           (unsigned long long)shms_load_relaxed(&tally->operations),
           (unsigned long long)shms_load_relaxed(&tally->hits), (unsigned long long)shms_load_relaxed(&tally->holds),
           (unsigned long long)shms_load_relaxed(&tally->deaths));
    close_store(s);
    return 0;
}
