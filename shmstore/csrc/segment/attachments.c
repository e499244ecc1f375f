/* attachments.c: the list of this process's attachments, and what a fork does to them
 *
 * INVARIANT  Every attachment that has a descriptor or a mapping is in the list. So a forked child can give up what it
 *   must not keep.
 * FORK  The prepare handler takes the lock, so no thread changes the list while the process forks. The child's only
 *   thread then finds a whole list and makes the lock anew. */
#include "segment/attachments.h"

#include <pthread.h>

#include "segment/memory.h"

uint32_t shms_fork_epoch = 1;
static struct shms_store *attachments;
static bool handler_installed; /* without it every open fails: a child would use its parent's client slot */
/* Calls that released the GIL change the list, too, so the GIL alone does not protect it. */
static pthread_mutex_t attachments_lock = PTHREAD_MUTEX_INITIALIZER;
static void before_fork(void) { pthread_mutex_lock(&attachments_lock); }
static void forked_parent(void) { pthread_mutex_unlock(&attachments_lock); }

/* Runs in the child before fork() returns there. The child is another process: it claims its own client slot at its
 * first call. The parent's liveness mark must not live on in the child, or the parent's death would go unseen. */
static void forked_child(void) {
    shms_fork_epoch++;
    shms_os_after_fork();
    for (struct shms_store *s = attachments; s; s = s->next)
        if (s->memory)
            s->memory->forked(s);
    pthread_mutex_init(&attachments_lock, NULL);
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

void shms_attachments_remove(struct shms_store *s) {
    pthread_mutex_lock(&attachments_lock);
    struct shms_store **p = &attachments;
    while (*p && *p != s)
        p = &(*p)->next;
    if (*p)
        *p = s->next;
    pthread_mutex_unlock(&attachments_lock);
}

void shms_attachments_lose(struct shms_store *s, int fd) {
    pthread_mutex_lock(&attachments_lock);
    for (struct shms_store *other = attachments; other; other = other->next)
        if (other != s && other->fd == fd)
            other->fd = -1;
    pthread_mutex_unlock(&attachments_lock);
}
