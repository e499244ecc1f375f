/* listen.c: the contract is in listen.h.
 *
 * INVARIANTS  With the lock held: every listener's bell is that of exactly one sleeper, and the memory of a bell in the list
 *   is mapped. A sleeper reads bells with the lock, and sleeps without it. So it may sleep on a word that was unmapped
 *   meanwhile: the kernel reads the word once, as it goes to sleep, and answers EFAULT, or another page is there by then,
 *   and the sleep ends with the next poke, ring or second.
 * FORK  The child has neither the threads nor the lock's holder. It begins with an empty list and a new lock. */
#include "api/listen.h"

#include <pthread.h>
#include <stdlib.h>

#define SECOND 1000000000ull
#define LINGER 50000000ull   /* ns that a thread without listeners waits for another one */
#define READ_ONLY 4000000ull /* ns between two looks for a handle that cannot set the waiters flag */
#define BELLS (SHMS_OS_WORDS_MAX - 1)

struct sleeper {
    struct sleeper *next;
    uint32_t count, room;
    _Atomic uint32_t pokes; /* the first word that it sleeps on */
    struct served {
        struct shms_bell *bell;
        uint32_t rings; /* of which its listeners were told */
        bool readonly;  /* an attachment cannot say that it sleeps, so it does not sleep for long */
    } served[BELLS];
    uint64_t told_at; /* coarse clock: when all listeners were told */
};
struct listener {
    struct listener *next;
    struct shms_bell *bell;
    int64_t handle;
    int fd;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sleeper *sleepers;
static struct listener *listeners;

static void tell(const struct shms_bell *bell) {
    for (struct listener *l = listeners; l; l = l->next)
        if (l->bell == bell)
            shms_os_event_set(l->fd);
}

static uint64_t longest_sleep(const struct sleeper *t) {
    for (uint32_t i = 0; i < t->count; i++)
        if (t->served[i].readonly)
            return READ_ONLY;
    return t->count ? SECOND : LINGER;
}

static void take_off(struct sleeper *t) {
    struct sleeper **p = &sleepers;
    while (*p != t)
        p = &(*p)->next;
    *p = t->next;
}

/* Tells listeners what has rung, and fills in what to sleep on: how many words. REQUIRES: the lock. */
static uint32_t prepare(struct sleeper *t, uint64_t longest, _Atomic uint32_t **words, uint32_t *values) {
    uint64_t now = shms_os_now_coarse();
    bool tell_all = now - t->told_at >= shms_min(longest, SECOND / 2);
    uint32_t count = 1;
    words[0] = &t->pokes;
    values[0] = shms_load_acquire(&t->pokes);
    for (uint32_t i = 0; i < t->count; i++) {
        struct served *v = &t->served[i];
        bool is_due = tell_all;
        while (!v->readonly && !shms_bell_may_sleep(v->bell, v->rings, &values[count])) {
            v->rings = SHMS_BELL_RINGS(shms_load_acquire(&v->bell->word));
            is_due = true;
        }
        if (!v->readonly)
            words[count++] = &v->bell->word;
        if (is_due)
            tell(v->bell);
    }
    if (tell_all)
        t->told_at = now;
    return count;
}

static void *run(void *argument) {
    struct sleeper *t = argument;
    _Atomic uint32_t *words[BELLS + 1];
    uint32_t values[BELLS + 1];
    for (uint64_t slept = 0, began;; slept = shms_os_now() - began) {
        pthread_mutex_lock(&lock);
        bool goes_on = t->count || slept < LINGER;
        uint64_t longest = longest_sleep(t);
        uint32_t count = goes_on ? prepare(t, longest, words, values) : 0;
        if (!goes_on)
            take_off(t);
        pthread_mutex_unlock(&lock);
        if (!goes_on)
            break;
        began = shms_os_now();
        if (t->room > 1)
            shms_os_futex_wait_any(words, values, count, longest);
        else
            shms_os_futex_wait(words[count - 1], values[count - 1], longest);
    }
    free(t);
    return NULL;
}

static void poke(struct sleeper *t) {
    shms_fetch_add_acq_rel(&t->pokes, 1);
    shms_os_futex_wake_all(&t->pokes);
}

static bool has(const struct sleeper *t, const struct shms_bell *bell) {
    for (uint32_t i = 0; i < t->count; i++)
        if (t->served[i].bell == bell)
            return true;
    return false;
}

/* The thread that sleeps on this bell, or one that has room, or a new one. */
static struct sleeper *sleeper_for(const struct shms_bell *bell) {
    struct sleeper *t;
    for (t = sleepers; t; t = t->next)
        if (has(t, bell))
            return t;
    for (t = sleepers; t; t = t->next)
        if (t->count < t->room)
            return t;
    t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->room = shms_os_waits_for_several() ? BELLS : 1;
    t->told_at = shms_os_now_coarse();
    t->next = sleepers;
    if (!shms_os_thread(run, t)) { /* it waits for the lock, if it is made */
        free(t);
        return NULL;
    }
    return sleepers = t;
}

int shms_listen_add(struct shms_store *s, int64_t handle, int fd, uint32_t *rings) {
    struct shms_bell *bell = &s->header->bell;
    struct listener *l = calloc(1, sizeof *l);
    if (!l)
        return SHMS_NO_MEMORY;
    pthread_mutex_lock(&lock);
    struct sleeper *t = sleeper_for(bell);
    if (t) {
        *rings = shms_bell_rings(s);
        *l = (struct listener){listeners, bell, handle, fd};
        listeners = l;
        if (!has(t, bell))
            t->served[t->count++] = (struct served){bell, *rings, s->readonly};
        poke(t);
    }
    pthread_mutex_unlock(&lock);
    if (!t)
        free(l);
    return t ? SHMS_OK : SHMS_NO_MEMORY;
}

/* REQUIRES: the lock. */
static void forget_bell(const struct shms_bell *bell) {
    for (struct listener *l = listeners; l; l = l->next)
        if (l->bell == bell)
            return;
    for (struct sleeper *t = sleepers; t; t = t->next)
        for (uint32_t i = 0; i < t->count; i++)
            if (t->served[i].bell == bell) {
                t->served[i] = t->served[--t->count];
                if (t->count == 0)
                    poke(t);
                return;
            }
}

/* fd -1: all of the handle, which are told. */
static void take_out(int64_t handle, int fd) {
    pthread_mutex_lock(&lock);
    for (struct listener **p = &listeners; *p;) {
        struct listener *l = *p;
        if (l->handle != handle || (fd >= 0 && l->fd != fd)) {
            p = &l->next;
            continue;
        }
        if (fd < 0)
            shms_os_event_set(l->fd);
        *p = l->next;
        forget_bell(l->bell);
        free(l);
    }
    pthread_mutex_unlock(&lock);
}

void shms_listen_remove(int64_t handle, int fd) { take_out(handle, fd); }
void shms_listen_ended(int64_t handle) { take_out(handle, -1); }

void shms_listen_forked(void) {
    pthread_mutex_init(&lock, NULL);
    listeners = NULL;
    sleepers = NULL;
}
