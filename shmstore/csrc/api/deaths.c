/* deaths.c: the contract is in deaths.h.
 *
 * INVARIANTS  With the lock held: an entry of the list has users; its descriptor is open until its process has ended, and no
 *   two entries of a process have open ones. While the list is not empty, the thread runs, unless none could be made.
 *   A descriptor that was closed may still be waited for, and be another file's by then. So an event counts only for
 *   an entry with the number that was noted with the descriptor. */
#include "api/deaths.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine/sleepers.h"

#define LINGER 50000000ull /* ns that the thread waits for another process to watch */
#define OWN UINT32_MAX     /* the watch of this process itself, whose death needs no telling */
#define MOST (SHMS_OS_DESCRIPTORS_MAX - 1)

struct watched {
    struct watched *next;
    uint32_t number, pid, users;
    int fd; /* -1: it has ended */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct watched *list;
static uint32_t numbers, open_ones;
static bool runs;
static int changed = -1; /* an event: the list is another one */

static void close_descriptor(struct watched *w) {
    if (w->fd >= 0)
        open_ones--;
    shms_os_close(w->fd);
    w->fd = -1;
}

static bool ended(uint32_t number) {
    for (struct watched *w = list; w; w = w->next)
        if (w->number == number && w->fd >= 0) {
            close_descriptor(w);
            return true;
        }
    return false;
}

static void *run(void *none) {
    int fds[MOST + 1];
    bool readable[MOST + 1];
    uint32_t of[MOST + 1];
    for (bool lingered = false;;) {
        pthread_mutex_lock(&lock);
        uint32_t count = 1;
        fds[0] = changed;
        shms_os_event_clear(changed);
        for (struct watched *w = list; w; w = w->next)
            if (w->fd >= 0) {
                fds[count] = w->fd;
                of[count++] = w->number;
            }
        bool ends = !list && lingered;
        if (ends) {
            runs = false;
            shms_os_close(changed);
            changed = -1;
        }
        lingered = !list;
        pthread_mutex_unlock(&lock);
        if (ends)
            return NULL;
        shms_os_await_readable(fds, readable, count, lingered ? LINGER : UINT64_MAX);
        bool any = false;
        pthread_mutex_lock(&lock);
        for (uint32_t i = 1; i < count; i++)
            any |= readable[i] && ended(of[i]);
        pthread_mutex_unlock(&lock);
        if (any)
            shms_poke();
    }
}

static bool thread_runs(void) {
    if (!runs) {
        changed = shms_os_event_open();
        runs = changed >= 0 && shms_os_thread(run, NULL); /* it waits for the lock, if it is made */
        if (!runs) {
            shms_os_close(changed);
            changed = -1;
        }
    }
    return runs;
}

static struct watched *watched(uint32_t pid) {
    for (struct watched *w = list; w; w = w->next)
        if (w->pid == pid && w->fd >= 0)
            return w;
    struct watched *w = open_ones < MOST && thread_runs() ? calloc(1, sizeof *w) : NULL;
    if (!w)
        return NULL;
    w->fd = shms_os_process_open(pid);
    if (w->fd < 0) {
        free(w);
        return NULL;
    }
    open_ones++;
    numbers = numbers + 1 < OWN ? numbers + 1 : 1;
    w->number = numbers;
    w->pid = pid;
    w->next = list;
    list = w;
    shms_os_event_set(changed);
    return w;
}

uint32_t shms_deaths_watch(struct shms_store *s, struct shms_lock_owner owner) {
    if (owner.number - 1 >= s->client_count)
        return 0;
    uint64_t pid_ns = shms_load_relaxed(&shms_client_at(s, (uint32_t)owner.number - 1)->pid_ns);
    uint32_t pid = SHMS_OWNER_PID(owner.word);
    if (!pid_ns || pid_ns != s->identity.pid_ns || !shms_owner_stays(s, owner))
        return 0; /* if the owner has left, the caller will see that */
    if (pid == s->identity.pid)
        return OWN;
    pthread_mutex_lock(&lock);
    struct watched *w = watched(pid);
    uint32_t watch = w ? w->number : 0;
    if (w)
        w->users++;
    pthread_mutex_unlock(&lock);
    return watch;
}

void shms_deaths_unwatch(uint32_t watch) {
    pthread_mutex_lock(&lock);
    for (struct watched **p = &list; *p; p = &(*p)->next)
        if ((*p)->number == watch) {
            struct watched *w = *p;
            if (--w->users == 0) {
                *p = w->next;
                close_descriptor(w);
                free(w);
                if (!list)
                    shms_os_event_set(changed);
            }
            break;
        }
    pthread_mutex_unlock(&lock);
}

/* The thread's descriptors are the parent's. The list is whole: each change of it is one store, and an entry leaves it
 * before it is freed. */
void shms_deaths_forked(void) {
    pthread_mutex_init(&lock, NULL);
    for (struct watched *w = list; w; w = w->next)
        shms_os_close(w->fd);
    shms_os_close(changed);
    list = NULL;
    open_ones = 0;
    runs = false;
    changed = -1;
}
