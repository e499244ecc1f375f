/* attachments.c: every attachment of this process, and what a fork does to them. */
#include "segment/attachments.h"

#include <pthread.h>

#include "segment/memory.h"

uint32_t shms_fork_epoch = 1;
static struct shms_store *attachments;
static bool handler_installed; /* or an open fails: a child would go on in its parent's name */
/* The list is changed by calls without the GIL, too; a fork happens while nobody changes it. */
static pthread_mutex_t attachments_lock = PTHREAD_MUTEX_INITIALIZER;
static void before_fork(void) { pthread_mutex_lock(&attachments_lock); }
static void forked_parent(void) { pthread_mutex_unlock(&attachments_lock); }

/* Runs in the child between fork() and its return there. The child is another process: it takes a place of its
 * own at its first call, and must not keep the parent's beacons burning. */
static void forked_child(void) {
    shms_fork_epoch++;
    shms_os_after_fork();
    for (struct shms_store *s = attachments; s; s = s->next)
        if (s->memory)
            s->memory->forked(s);
    pthread_mutex_init(&attachments_lock, NULL);
}

static void install_handler(void) { handler_installed = pthread_atfork(before_fork, forked_parent, forked_child) == 0; }

/* The first to come installs the handler, and nobody goes on before it is there; a child of a fork meanwhile does it anew. */
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
