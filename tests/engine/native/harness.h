/* harness.h: what the programs in this directory share.
 *
 * Each program is one scenario about the engine, told on a store of its own: `program KEY` exits 0 if the scenario ends as
 * it should, else 1 with the broken expectation on stderr, or 77 if this machine cannot tell it. test_native.py
 * builds the engine's files but csrc/python once, with sanitizers, and each program against them.
 *
 * INTERLEAVINGS are made, not hoped for. Another process's steps are calls on a second attachment, between two calls on
 * the first; a process that stops or dies in the middle of a call includes the engine's file with one operation
 * redefined (dies_at_exchange.h). The engine itself has no hooks. */
#ifndef HARNESS_H
#define HARNESS_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/api.h"
#include "api/handle.h"
#include "engine/check.h"
#include "engine/expire.h"
#include "engine/heap.h"
#include "engine/lock.h"
#include "engine/op.h"
#include "engine/pin.h"
#include "engine/recover.h"
#include "engine/table.h"

#define CANNOT_TELL 77
#define MS 1000000ull
#define SECOND (1000 * MS)

#define EXPECT(condition)                                                            \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

static int32_t scenario_key;
static pid_t scenario_pid;

/* However a scenario ends, its segment does not outlive it. */
static inline void remove_segment(void) {
    int id = getpid() == scenario_pid ? shmget(scenario_key, 0, 0) : -1;
    if (id >= 0)
        shmctl(id, IPC_RMID, NULL);
}

static inline void begin_scenario(int argc, char **argv) {
    EXPECT(argc == 2);
    scenario_key = (int32_t)strtol(argv[1], NULL, 10);
    scenario_pid = getpid();
    atexit(remove_segment);
}

enum { OPEN_OR_CREATE, CREATE, ATTACH }; /* as in shms_open_request.create */

static inline struct shms_open_request wish_for(uint64_t size, uint32_t create) {
    return (struct shms_open_request){.key = scenario_key,
                                      .name_kind = 2,
                                      .name = "",
                                      .create = create,
                                      .size = size,
                                      .mode = 0600,
                                      .owner = -1,
                                      .timeout = SECOND};
}

/* An attachment as another process would have it; size 0: attach to what is there. */
static inline struct shms_store *open_store(uint64_t size) {
    struct shms_store *s = calloc(1, sizeof *s);
    struct shms_open_request wish = wish_for(size, size ? CREATE : ATTACH);
    struct shms_open_result found;
    EXPECT(shms_open(s, &wish, &found) == SHMS_OK);
    s->fork_epoch = shms_fork_epoch;
    shms_attachments_add(s);
    return s;
}

static inline void close_store(struct shms_store *s) {
    shms_attachments_remove(s);
    shms_detach(s);
    free(s);
}

static inline struct shms_key name_of(struct shms_store *s, const char *key) {
    struct shms_key n;
    shms_key_init(s, &n, key, (uint32_t)strlen(key), 0);
    return n;
}

/* A block with the value written into it, not published. */
static inline int reserve(struct shms_store *s, struct shms_op *op, const char *key, int byte, uint64_t length,
                          uint64_t expiry) {
    EXPECT(shms_op_begin(s, op, key, (uint32_t)strlen(key), 0) == SHMS_OK);
    int rc = shms_op_reserve(op, length, SHMS_CODEC_RAW, NULL, 0, expiry);
    if (rc == SHMS_OK)
        memset(op->value, byte, length);
    return rc;
}

static inline int put(struct shms_store *s, const char *key, int byte, uint64_t length) {
    struct shms_op op;
    int rc = reserve(s, &op, key, byte, length, 0);
    if (rc == SHMS_OK)
        rc = shms_op_publish(&op, SHMS_SET, 0);
    shms_op_end(&op);
    return rc;
}

static inline int drop(struct shms_store *s, const char *key) {
    struct shms_op op;
    EXPECT(shms_op_begin(s, &op, key, (uint32_t)strlen(key), 0) == SHMS_OK);
    int rc = shms_op_remove(&op, 0);
    shms_op_end(&op);
    return rc;
}

static inline int touch(struct shms_store *s, const char *key, uint64_t expiry) {
    struct shms_op op;
    EXPECT(shms_op_begin(s, &op, key, (uint32_t)strlen(key), 0) == SHMS_OK);
    int rc = shms_op_touch(&op, expiry, 0);
    shms_op_end(&op);
    return rc;
}

static inline int find(struct shms_store *s, const char *key, struct shms_entry *f) {
    struct shms_key n = name_of(s, key);
    return shms_find(s, &n, f);
}

static inline bool all_are(const void *bytes, int byte, uint64_t length) {
    for (uint64_t i = 0; i < length; i++)
        if (((const uint8_t *)bytes)[i] != byte)
            return false;
    return true;
}

/* Everything that a call does before it says that the store is full. */
static inline void make_room(struct shms_store *s) {
    struct shms_room room = {0};
    while (shms_make_room(s, &room) == SHMS_AGAIN)
        ;
}

/* Empty spans are closed, and hints are right. */
static inline void tidy(struct shms_store *s) {
    for (uint64_t page = 0; !shms_heap_tidy(s, &page, 1000);)
        ;
}

static inline uint64_t expire_all(struct shms_store *s) {
    uint64_t group = 0, gone = 0;
    bool passed_over = false;
    int index = shms_record_take(s);
    EXPECT(index >= 0);
    while (!shms_expire_all(s, &s->me->records[index], &group, UINT64_MAX, &gone, &passed_over))
        ;
    shms_record_put(s, index);
    return gone;
}

/* SHMS_OK: the invariants of layout.h hold. */
static inline int check(struct shms_store *s, char *what, size_t size) {
    struct shms_check *c = calloc(1, sizeof *c);
    int rc;
    EXPECT(c);
    c->what = what;
    c->size = size;
    while ((rc = shms_check_step(s, c)) == SHMS_AGAIN)
        ;
    free(c);
    return rc;
}

static inline void expect_sound(struct shms_store *s) {
    char what[200] = "";
    int rc = check(s, what, sizeof what);
    if (rc != SHMS_OK)
        fprintf(stderr, "check: %d %s\n", rc, what);
    EXPECT(rc == SHMS_OK);
}

/* The sum of a used counter over all clients. */
static inline uint64_t counted(struct shms_store *s, int counter) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < shms_clients_used(s); i++)
        sum += shms_load_acquire(&shms_client_at(s, i)->counters[counter]);
    return SHMS_USED(sum);
}

struct census {
    uint64_t free, alive, zombies, spans, pages; /* blocks by their words; open spans; pages that are not free */
};

/* What stands in the heap by the words alone, while nobody writes. No hint is asked. */
static inline struct census census_of(struct shms_store *s) {
    struct census c = {0};
    struct shms_span span;
    for (uint64_t page = 0; page < s->heap_pages; page++) {
        c.pages += shms_load_acquire(&s->pages[page].word) != 0;
        if (!shms_span_at(s, page, &span))
            continue;
        c.spans++;
        for (uint32_t i = 0; i < span.blocks; i++) {
            uint64_t w = shms_load_acquire(shms_word_at(s, span.start + i * span.bytes));
            c.free += w == span.free;
            c.alive += SHMS_WORD_ALIVE(w);
            c.zombies += (w & 3) == SHMS_WORD_ENDED;
        }
    }
    return c;
}

/* With every entry gone and every pin cleared, every page is free. */
static inline void expect_empty(struct shms_store *s) {
    struct census c = census_of(s);
    EXPECT(c.alive == 0 && c.zombies == 0);
    EXPECT(counted(s, SHMS_USED_BLOCKS) == 0 && counted(s, SHMS_USED_BYTES) == 0);
    tidy(s);
    c = census_of(s);
    EXPECT(c.spans == 0 && c.pages == 0);
    EXPECT(shms_pages_longest_free(s) == s->heap_pages);
    expect_sound(s);
}

/* Another process attaches, acts and is killed; its number, from 1. It is killed at the latest after `act`. */
static inline uint32_t let_die(void (*act)(struct shms_store *s)) {
    int ends[2], status;
    uint32_t number = 0;
    EXPECT(pipe(ends) == 0);
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
        struct shms_store *s = open_store(0);
        if (write(ends[1], &s->number, sizeof number) == sizeof number)
            act(s);
        kill(getpid(), SIGKILL);
    }
    close(ends[1]);
    EXPECT(read(ends[0], &number, sizeof number) == sizeof number);
    EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(ends[0]);
    return number;
}

#endif
