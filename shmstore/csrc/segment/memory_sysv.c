/* memory_sysv.c: a System V segment. The kernel keeps it until a process removes it, whichever process exits.
 *
 * A private store (IPC_PRIVATE) has no key. It is marked for removal as soon as it is attached, so the kernel removes
 * it with its last process. Until then Linux lets more processes attach by its identifier.
 * CRASH  Between shmget and the mark: a segment of key 0 is left, and no process is attached to it.
 *
 * A key cannot move to another segment. So after a resize the segment with the key, the root, stays as a signpost: its header
 * says which segment has the entries, and its other pages are given back when the last process has left it. The segment with
 * the entries has no key, and names its root.
 *   key -> root, superseded, successor D -> segment D, root R
 * The next resize makes another segment E: D is superseded by E. Then the root's word `leaving` names D, the root leads to E instead
 * of D, D is removed, and `leaving` names none. A death in between leaves root -> D -> E, or root -> E and a D that `leaving`
 * names. The next opener passes all of them, and does what is missing.
 * The new segment gets the uuid of the store before the old header notes its identifier. So an identifier in a header is used
 * only if the segment has that uuid: it may be another program's by now, or overwritten.
 * CRASH  Between shmget and the note in the header of the segment that is being resized: as above. */
#include <errno.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "os/compat.h"
#include "segment/memory.h"
#include "segment/request.h"

#define HUGE_SHIFT 26 /* SHM_HUGE_SHIFT of linux/shm.h, which cannot be included together with sys/shm.h */

static int result(struct shms_store *s, const char *call, bool well) {
    s->call = call;
    return well ? 0 : errno;
}

static bool is_gone(int error) { return error == EINVAL || error == EIDRM; }

static int find(struct shms_store *s, const struct shms_open_request *a) {
    struct shmid_ds d;
    if (a->name_kind != 4)
        return result(s, "shmget", (s->id = shmget(a->key, 0, 0)) >= 0);
    s->call = "shmctl";
    if (a->id < 0)
        return ENOENT;
    s->id = a->id;
    return shmctl(s->id, IPC_STAT, &d) == 0 ? 0 : is_gone(errno) ? ENOENT : errno;
}

static int make(struct shms_store *s, const struct shms_open_request *a, uint64_t size) {
    int flags = IPC_CREAT | IPC_EXCL | (int)a->mode;
    /* Huge pages are reserved at once. A huge page that is missing later would be a SIGBUS. */
    flags |= a->huge_page ? SHM_HUGETLB | __builtin_ctzll(a->huge_page) << HUGE_SHIFT : SHM_NORESERVE;
    return result(s, a->huge_page ? "shmget(SHM_HUGETLB)" : "shmget(IPC_CREAT)",
                  (s->id = shmget(a->name_kind == 4 || a->predecessor ? IPC_PRIVATE : a->key, size, flags)) >= 0);
}

/* After unshare(CLONE_NEWIPC) the identifier means nothing, or another segment. The mapping is still the store. */
static bool is_elsewhere(struct shms_store *s) {
    uint64_t now = s->base && s->inode ? shms_os_ipc_namespace() : 0;
    return now && now != s->inode;
}

/* False: errno says why. The kernel refuses IPC_STAT to a process that attached and then became another user.
 * SHM_STAT_ANY (Linux 4.17) answers every user. It takes the low bits of the identifier as an index into the kernel's
 * table and returns the identifier found there. EINVAL from an older kernel does not mean that the segment is gone. */
static bool kernel_stat(const struct shms_store *s, struct shmid_ds *d) {
    if (shmctl(s->id, IPC_STAT, d) == 0)
        return true;
    int error = errno;
    if (error == EACCES && s->base && shmctl(s->id, SHM_STAT_ANY, d) == s->id)
        return true;
    errno = error;
    return false;
}

/* Was the segment that has the key removed, or has another one the key by now? */
static bool lost_root(struct shms_store *s) { return s->base && s->root && shmget(s->key, 0, 0) != (int)(s->root - 1); }

static int state(struct shms_store *s, struct shms_memory_state *ret) {
    struct shmid_ds d;
    memset(ret, 0, sizeof *ret);
    if (is_elsewhere(s))
        return 0;
    if (!kernel_stat(s, &d)) {
        /* The kernel knows an attached segment until it is detached, even if it was removed. If it does not know it,
         * this process is in another IPC namespace by now. */
        ret->removed = is_gone(errno) && !s->base;
        return result(s, "shmctl", is_gone(errno));
    }
    *ret = (struct shms_memory_state){.known = true,
                                      .size = d.shm_segsz,
                                      .trusted_uid = d.shm_perm.cuid,
                                      .uid = d.shm_perm.uid,
                                      .gid = d.shm_perm.gid,
                                      .mode = d.shm_perm.mode & 0777,
                                      .creator = (uint32_t)d.shm_cpid,
                                      .removed = ((d.shm_perm.mode & SHM_DEST) && !s->private_store) || lost_root(s)};
    return 0;
}

static int map(struct shms_store *s, const struct shms_open_request *a, uint64_t size, bool made) {
    void *base = shmat(s->id, NULL, a->readonly ? SHM_RDONLY : 0);
    if (base == (void *)-1)
        return is_gone(errno) ? EIDRM : result(s, "shmat", false);
    s->base = base;
    s->size = size;
    s->inode = shms_os_ipc_namespace();
    return result(s, "shmctl(IPC_RMID)", !made || !s->private_store || shmctl(s->id, IPC_RMID, NULL) == 0);
}

static int publish(struct shms_store *s, const struct shms_open_request *a) { return 0; }

/* The last process that leaves a superseded root gives its pages back. Two that leave at once may both see the other: then
 * the next opener does it, when it leaves. */
static void give_root_back(struct shms_store *s) {
    struct shmid_ds d;
    struct shms_header *h = (struct shms_header *)s->base;
    if (shms_load_acquire(&h->magic) == SHMS_MAGIC && !s->readonly && !h->root &&
        SHMS_OWNER_STATE(shms_load_acquire(&h->state)) == SHMS_STATE_SUPERSEDED && shmctl(s->id, IPC_STAT, &d) == 0 &&
        d.shm_nattch == 1)
        madvise(s->base + SHMS_HEADER_SIZE, s->size - SHMS_HEADER_SIZE, MADV_REMOVE);
}

static void unmap(struct shms_store *s) {
    if (s->base) {
        give_root_back(s);
        shmdt(s->base);
    }
    s->id = -1;
    s->root = 0;
    s->base = NULL;
}

static bool resident(struct shms_store *s, uint64_t offset, uint64_t pages, uint8_t *ret) {
    return shms_os_resident(s->base + offset, pages, ret);
}

static int64_t attached(struct shms_store *s) {
    struct shmid_ds d;
    return !is_elsewhere(s) && kernel_stat(s, &d) ? (int64_t)d.shm_nattch : -1;
}

/* ---- resizing. Identifiers that were read from a segment are used only for segments of this store, which have its uuid. */

/* Maps the segment, if it is one of this store; else NULL. */
static struct shms_header *map_relative(const struct shms_store *s, uint64_t number) {
    struct shmid_ds d;
    int id = (int)(number - 1);
    if (number == 0 || number > INT32_MAX || shmctl(id, IPC_STAT, &d) != 0 || d.shm_segsz < SHMS_HEADER_SIZE)
        return NULL;
    void *base = shmat(id, NULL, 0);
    if (base == (void *)-1)
        return NULL;
    struct shms_header *h = base;
    if (memcmp(h->uuid, ((struct shms_header *)s->base)->uuid, sizeof h->uuid) == 0)
        return h;
    shmdt(base);
    return NULL;
}

/* Removes what a process has left that died in settle(). What the root leads through stays. */
static void remove_left(struct shms_store *s, struct shms_header *root) {
    uint64_t number = shms_load_acquire(&root->leaving);
    if (number == 0 || number == shms_load_acquire(&root->successor))
        return;
    struct shms_header *h = map_relative(s, number);
    bool removes = h && SHMS_OWNER_STATE(shms_load_acquire(&h->state)) == SHMS_STATE_SUPERSEDED;
    if (h)
        shmdt(h);
    if (!removes || shmctl((int)(number - 1), IPC_RMID, NULL) == 0 || is_gone(errno))
        shms_cas_acq_rel(&root->leaving, &number, 0);
}

static int remove_segment(struct shms_store *s) {
    if (is_elsewhere(s)) {
        s->call = "shmctl, from another IPC namespace";
        return EPERM;
    }
    struct shms_header *root = s->root ? map_relative(s, s->root) : NULL;
    if (root) {
        remove_left(s, root);
        shmdt(root);
    }
    /* The root comes last: after a death in between, the next opener finds that it leads to nothing, and removes it. */
    int rc = result(s, "shmctl(IPC_RMID)", shmctl(s->id, IPC_RMID, NULL) == 0 || is_gone(errno));
    if (rc == 0 && s->root && shmget(s->key, 0, 0) == (int)(s->root - 1))
        rc = result(s, "shmctl(IPC_RMID)", shmctl((int)(s->root - 1), IPC_RMID, NULL) == 0 || is_gone(errno));
    return rc;
}

static int find_successor(struct shms_store *s, const struct shms_open_request *a, uint64_t successor) {
    struct shmid_ds d;
    s->id = successor && successor <= INT32_MAX ? (int)(successor - 1) : -1;
    s->call = "shmctl";
    return shmctl(s->id, IPC_STAT, &d) != 0 ? (is_gone(errno) ? ENOENT : errno)
           : d.shm_perm.mode & SHM_DEST     ? ENOENT
                                            : 0;
}

static void discard(struct shms_store *s, uint64_t successor) {
    struct shms_header *h = map_relative(s, successor);
    if (h) {
        shmdt(h);
        shmctl((int)(successor - 1), IPC_RMID, NULL);
    }
}

/* The one in between is removed only when no word leads through it any more. */
static void settle(struct shms_store *s, uint64_t successor) {
    uint64_t number = *(volatile const uint64_t *)&((struct shms_header *)s->base)->root, mine = (uint64_t)s->id + 1;
    struct shmid_ds d;
    /* The root was removed, by a process that could not see the successor: so the store is destroyed. */
    int error = shmctl(number ? (int)(number - 1) : s->id, IPC_STAT, &d) == 0 ? 0 : errno;
    if (is_gone(error) || (error == 0 && d.shm_perm.mode & SHM_DEST))
        discard(s, successor);
    if (error == 0 && !number) /* this is the root */
        remove_left(s, (struct shms_header *)s->base);
    struct shms_header *root = error == 0 && number ? map_relative(s, number) : NULL;
    if (!root)
        return;
    uint64_t none = 0, leads = mine, leaves = mine;
    remove_left(s, root);
    if (SHMS_OWNER_STATE(shms_load_acquire(&root->state)) == SHMS_STATE_SUPERSEDED) {
        if (shms_load_acquire(&root->successor) == mine)
            shms_cas_acq_rel(&root->leaving, &none, mine); /* before the root leads past it */
        bool moved = shms_cas_acq_rel(&root->successor, &leads, successor) || leads == successor;
        if (!moved || shmctl(s->id, IPC_RMID, NULL) == 0 || is_gone(errno))
            shms_cas_acq_rel(&root->leaving, &leaves, 0);
    }
    shmdt(root);
}

/* The kernel lets in the members of two groups alike: the owner's, and the creator's, which nobody can change. */
static int inherit(struct shms_store *s, const struct shms_store *from) {
    struct shmid_ds old, new;
    if (!kernel_stat(from, &old) || !kernel_stat(s, &new))
        return result(s, "shmctl", false);
    struct ipc_perm *o = &old.shm_perm, *n = &new.shm_perm;
    s->call = "shmctl(IPC_SET)";
    if (n->cgid != o->cgid && n->cgid != o->gid && (o->mode >> 3 & 7) != (o->mode & 7))
        return EPERM;
    n->uid = o->uid;
    n->gid = n->cgid == o->gid ? o->cgid : o->gid;
    n->mode = o->mode & 0777;
    return shmctl(s->id, IPC_SET, &new) == 0 ? 0 : errno;
}

static bool creator_gone(struct shms_store *s, const struct shms_memory_state *state) {
    return shms_os_process_life(state->creator, 0) == SHMS_GONE;
}

static bool commit(struct shms_store *s, uint64_t offset, uint64_t bytes) { return true; }
static bool may_give_back(struct shms_store *s) { return true; }
/* Called while the store is being opened. */
static int lock(struct shms_store *s) { return result(s, "shmctl(SHM_LOCK)", shmctl(s->id, SHM_LOCK, NULL) == 0); }

/* Any local user may bind any name of this kind. So the name contains a random number of this client's slot: no other
 * process can hold the name before the client has it. The slot belongs to this process, but it may be claiming it. */
static bool mark_alive(struct shms_store *s, uint32_t number, uint32_t generation) {
    uint64_t nonce = 0;
    s->liveness = -1;
    if (!shms_os_random(&nonce, sizeof nonce))
        return false;
    shms_store_relaxed(&shms_client_at(s, number - 1)->nonce, nonce);
    s->liveness = shms_os_liveness_open(s->uuid, number, nonce);
    s->liveness_inode = shms_os_descriptor_inode(s->liveness);
    return s->liveness >= 0;
}

static void unmark(struct shms_store *s) {
    if (shms_os_descriptor_is_socket(s->liveness, s->liveness_inode))
        shms_os_close(s->liveness);
    s->liveness = -1;
}

static void mark_again(struct shms_store *s) {
    if (s->me && s->liveness >= 0 && !shms_os_descriptor_is_socket(s->liveness, s->liveness_inode))
        shms_marked_again(s, mark_alive(s, s->number, SHMS_OWNER_GENERATION(s->owner)));
}

static int marked(struct shms_store *s, uint32_t number, uint32_t generation) {
    return shms_os_liveness_exists(s->uuid, number, shms_load_relaxed(&shms_client_at(s, number - 1)->nonce));
}

/* Asks where the calling thread is now: in another network namespace every liveness socket would seem missing. */
static bool can_see_mark(struct shms_store *s, uint64_t net_ns) {
    return net_ns && net_ns == shms_os_network_namespace();
}
static int maps(struct shms_store *s, uint32_t pid) { return shms_os_process_maps(pid, s->id); }

static bool only_me(struct shms_store *s) {
    struct shmid_ds d;
    return s->inode && !is_elsewhere(s) && kernel_stat(s, &d) && d.shm_nattch == 1;
}

const struct shms_memory shms_memory_sysv = {
    find,   make,     state,         attached,       map,        publish, unmap,      remove_segment, creator_gone,
    commit, resident, may_give_back, lock,           mark_alive, unmark,  mark_again, marked,         can_see_mark,
    maps,   only_me,  unmark,        find_successor, settle,     discard, inherit,    false,
};
