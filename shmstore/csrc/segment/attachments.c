/* attachments.c: the list of this process's attachments, which of them are shared, and what a fork does to them
 *
 * INVARIANTS  Every attachment that has a descriptor or a mapping is in the list. So a forked child can give up what it
 *   must not keep.
 *   A shared attachment is in the list as long as it has users, and its memory and identity do not change. So a process
 *   that finds it under the lock can add a use.
 * FORK  The prepare handler takes the lock, so no thread changes the list while the process forks. The child's only
 *   thread then finds a whole list and makes the lock anew. A thread of the parent that was claiming a slot does not
 *   exist in the child: what it had stays in the list, and nobody shares it. */
#include "segment/attachments.h"

#include <pthread.h>

#include "segment/memory.h"

uint32_t shms_fork_epoch = SHMS_FIRST_EPOCH;
static struct shms_store *attachments;
static bool handler_installed; /* without it every open fails: a child would use its parent's client slot */
/* Calls that released the GIL change the list, too, so the GIL alone does not protect it. */
static pthread_mutex_t attachments_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t claim_ended = PTHREAD_COND_INITIALIZER;
static void (*at_fork)(void);
void shms_attachments_at_fork(void (*child)(void)) { at_fork = child; }

static void before_fork(void) { pthread_mutex_lock(&attachments_lock); }
static void forked_parent(void) { pthread_mutex_unlock(&attachments_lock); }

/* Runs in the child before fork() returns there. The child is another process: it claims its own client slot at its
 * first call. The parent's liveness mark must not live on in the child, or the parent's death would go unseen. */
static void forked_child(void) {
    shms_fork_epoch++;
    shms_os_after_fork();
    for (struct shms_store *s = attachments; s; s = s->next) {
        if (s->memory)
            s->memory->forked(s);
        if (s->sharing == SHMS_CLAIMING)
            s->sharing = SHMS_ALONE;
        shms_store_relaxed(&s->calls_without_gil, 0);
    }
    if (at_fork)
        at_fork();
    pthread_mutex_init(&attachments_lock, NULL);
    pthread_cond_init(&claim_ended, NULL);
}

static void install_handler(void) { handler_installed = pthread_atfork(before_fork, forked_parent, forked_child) == 0; }

/* The first call installs the handler. Other threads wait in pthread_once until it is installed. A child that was
 * forked in between installs it again. */
bool shms_attachments_add(struct shms_store *s) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (pthread_once(&once, install_handler) != 0 || !handler_installed)
        return false;
    pthread_mutex_lock(&attachments_lock);
    s->next = attachments;
    attachments = s;
    pthread_mutex_unlock(&attachments_lock);
    return true;
}

/* REQUIRES: the lock. */
static void take_out(struct shms_store *s) {
    struct shms_store **p = &attachments;
    while (*p && *p != s)
        p = &(*p)->next;
    if (*p)
        *p = s->next;
}

void shms_attachments_remove(struct shms_store *s) {
    pthread_mutex_lock(&attachments_lock);
    take_out(s);
    pthread_mutex_unlock(&attachments_lock);
}

void shms_attachments_lose(struct shms_store *s, int fd) {
    pthread_mutex_lock(&attachments_lock);
    for (struct shms_store *other = attachments; other; other = other->next)
        if (other != s && other->fd == fd)
            other->fd = -1;
    pthread_mutex_unlock(&attachments_lock);
}

/* Two mappings of this process are of the same memory, not only of the same name: System V by identifier and IPC
 * namespace, POSIX by device and inode. Bytes alone would prove nothing: a copy of a file has the same uuid. */
static bool same_memory(const struct shms_store *a, const struct shms_store *b) {
    return a->memory == b->memory && a->id == b->id && a->device == b->device && a->inode && a->inode == b->inode &&
           memcmp(a->uuid, b->uuid, sizeof a->uuid) == 0;
}

/* An attachment whose pins are half used is full for new handles: they get another slot, with pins of its own. */
static bool has_room(const struct shms_store *s) { return shms_load_relaxed(&s->pins_used) * 2 < s->pin_count; }

struct shms_store *shms_attachments_join(struct shms_store *s, uint32_t number) {
    pthread_mutex_lock(&attachments_lock);
    for (;;) {
        struct shms_store *found = NULL;
        for (struct shms_store *other = attachments; other; other = other->next)
            if (other->sharing != SHMS_ALONE && same_memory(other, s) &&
                (other->sharing == SHMS_CLAIMING ? !found
                 : number                        ? other->number == number
                                                 : has_room(other)))
                found = other;
        if (!found)
            s->sharing = SHMS_CLAIMING;
        else if (found->sharing == SHMS_SHARED)
            found->users++;
        else {
            pthread_cond_wait(&claim_ended, &attachments_lock);
            continue;
        }
        pthread_mutex_unlock(&attachments_lock);
        return found;
    }
}

void shms_attachments_claimed(struct shms_store *s, bool shared) {
    pthread_mutex_lock(&attachments_lock);
    if (s->sharing == SHMS_CLAIMING) {
        s->sharing = shared ? SHMS_SHARED : SHMS_ALONE;
        pthread_cond_broadcast(&claim_ended);
    }
    pthread_mutex_unlock(&attachments_lock);
}

void shms_attachments_keep(struct shms_store *s, struct shms_store *successor) {
    pthread_mutex_lock(&attachments_lock);
    for (struct shms_store *other = attachments; other; other = other->next) {
        if (other->successor == s) { /* it leads past *s, which its own users keep */
            other->successor = successor;
            successor->users++;
            s->users--;
        }
    }
    if (!s->successor) {
        s->successor = successor;
        successor->users++;
    }
    pthread_mutex_unlock(&attachments_lock);
}

bool shms_attachments_drop(struct shms_store *s) {
    pthread_mutex_lock(&attachments_lock);
    bool last = --s->users == 0;
    if (last)
        take_out(s);
    pthread_mutex_unlock(&attachments_lock);
    return last;
}
