/* clients.c: claiming and leaving the registry; what a fork does to it. */
#include "clients.h"

#include <pthread.h>

#include "memory.h"
#include "recover.h"

uint32_t shms_fork_epoch = 1;
static struct shms_store *attachments;
static bool handler_installed; /* or an open fails: a child would go on in its parent's name */
/* The list is changed by calls without the interpreter's lock, too; a fork happens while nobody changes it. */
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

uint32_t shms_namespace_tag(uint64_t pid_ns) { return (uint32_t)((pid_ns * 0x9e3779b97f4a7c15ull) >> 52); }

static void raise_high(struct shms_store *s, uint64_t count) {
    uint64_t high = shms_load_relaxed(&s->header->clients_high);
    while (high < count && !shms_cas_acq_rel(&s->header->clients_high, &high, count))
        ;
}

/* REQUIRES: the entry is in state claiming or inheriting, by this process, with word `entry`. */
static bool become_live(struct shms_store *s, uint32_t index, uint64_t entry) {
    struct shms_client *c = shms_client_at(s, index);
    for (uint32_t i = 0; i < SHMS_CLIENT_RECORDS; i++) {
        shms_store_relaxed(&c->records[i].bucket, 0);
        shms_store_relaxed(&c->records[i].arena, 0);
        shms_store_relaxed(&c->records[i].block, 0);
    }
    for (uint32_t i = 0; i < s->pin_count; i++)
        shms_store_relaxed(&c->pins[i], 0);
    uint64_t word = shms_load_relaxed(&s->pin_bits[index / 64]);
    while (!shms_cas_acq_rel(&s->pin_bits[index / 64], &word, word & ~(1ull << (index % 64))))
        ;
    bool lit = s->memory->light(s, index + 1, SHMS_WHO_GENERATION(entry));
    shms_store_relaxed(&c->start_time, s->identity.start_time);
    shms_store_relaxed(&c->pid_ns, s->identity.pid_ns);
    shms_store_relaxed(&c->net_ns, s->identity.net_ns);
    shms_store_relaxed(&c->beacon, lit);
    shms_store_relaxed(&c->attached, shms_os_realtime());
    uint64_t live = SHMS_WHO_WITH_STATE(entry, SHMS_ENTRY_LIVE);
    if (!shms_cas_acq_rel(&c->entry, &entry, live)) { /* [claim-then-live] pairs with the acquire in whoever read `entry` */
        s->memory->put_out(s);
        return false;
    }
    s->me = c;
    s->number = index + 1;
    s->entry = live;
    shms_store_relaxed(&s->records_busy, 0);
    memset(s->pins_busy, 0, sizeof s->pins_busy);
    s->pins_used = 0;
    s->fork_epoch = shms_fork_epoch;
    return true;
}

/* Entries below this one were used, and have their memory. */
static uint32_t used(struct shms_store *s) {
    return (uint32_t)shms_min(shms_load_acquire(&s->header->clients_high), s->client_count);
}

static int claim_free(struct shms_store *s) {
    for (uint32_t i = 0; i < s->client_count; i++) {
        struct shms_client *c = shms_client_at(s, i);
        if (i >= used(s) && !shms_commit(s, (uint64_t)((uint8_t *)c - s->base), s->client_size))
            return SHMS_FULL;
        uint64_t w = shms_load_acquire(&c->entry);
        if (SHMS_WHO_STATE(w) != SHMS_ENTRY_FREE)
            continue;
        uint64_t claim = SHMS_WHO(SHMS_WHO_GENERATION(w) + 1, SHMS_ENTRY_CLAIMING,
                                  shms_namespace_tag(s->identity.pid_ns), s->identity.pid);
        raise_high(s, i + 1); /* before: whoever dies from here on is looked at */
        if (shms_cas_acq_rel(&c->entry, &w, claim) && become_live(s, i, claim))
            return SHMS_OK;
    }
    return SHMS_NO_CLIENT;
}

static bool claim_dead(struct shms_store *s) {
    for (uint32_t i = 0; i < used(s); i++) {
        struct shms_client *c = shms_client_at(s, i);
        uint64_t w = shms_load_acquire(&c->entry);
        if (SHMS_WHO_STATE(w) != SHMS_ENTRY_DEAD)
            continue;
        uint64_t mine = SHMS_WHO(SHMS_WHO_GENERATION(w) + 1, SHMS_ENTRY_INHERITING,
                                 shms_namespace_tag(s->identity.pid_ns), s->identity.pid);
        if (!shms_cas_acq_rel(&c->entry, &w, mine))
            continue;
        s->number = i + 1;
        bool emptied = shms_recover_inherited(s, i, mine);
        s->number = 0;
        if (emptied && become_live(s, i, mine))
            return true;
        if (!emptied)
            shms_cas_acq_rel(&c->entry, &mine, SHMS_WHO_WITH_STATE(mine, SHMS_ENTRY_DEAD));
    }
    return false;
}

int shms_client_claim(struct shms_store *s) {
    s->me = NULL;
    s->number = 0;
    shms_os_identity(&s->identity);
    int rc = claim_free(s);
    if (rc == SHMS_OK)
        return rc;
    /* A full registry, or no memory for another entry: look closely who of them still lives. Recovery takes arenas in
     * the name of a client, so a process without a place can free only entries that leave no block or arena lock
     * behind; others it inherits. */
    shms_recover_all(s, false);
    rc = claim_free(s);
    return rc == SHMS_OK || claim_dead(s) ? SHMS_OK : rc;
}

void shms_client_leave(struct shms_store *s) {
    bool holds = false;
    for (uint32_t i = 0; i < SHMS_CLIENT_RECORDS; i++)
        holds |= shms_load_relaxed(&s->me->records[i].block) != 0;
    for (uint32_t i = 0; i < s->pin_count; i++)
        shms_store_release(&s->me->pins[i], 0);
    uint64_t w = s->entry;
    shms_cas_acq_rel(&s->me->entry, &w, SHMS_WHO_WITH_STATE(w, holds ? SHMS_ENTRY_DEAD : SHMS_ENTRY_FREE));
    s->memory->put_out(s);
    s->me = NULL;
    s->number = 0;
}

void shms_client_release(struct shms_store *s) {
    if (s->me && s->fork_epoch == shms_fork_epoch)
        shms_client_leave(s);
    s->me = NULL;
    s->number = 0;
}
