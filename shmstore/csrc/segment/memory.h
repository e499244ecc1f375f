/* memory.h: the kinds of memory that a store can live in, and all in which they differ.
 *
 *                     System V (memory_sysv.c)              POSIX (memory_posix.c, descriptor.c)
 *   found by          key_t, by shmget                      a file's name in /dev/shm; private: a memfd
 *   made              empty, under its key; create.c says   without a name, finished, and then named: nobody
 *                     how others wait for the creator       ever sees half a store, a dead creator leaves nothing
 *   page without      the kernel finds one, or the process  none left in /dev/shm: SIGBUS. So every page is
 *   memory touched    is killed for the machine's need      allocated before it is read or written: commit
 *   trust             who created it (cuid)                 who owns the file
 *   removed           IPC_RMID                              unlink: no link is left
 *   beacon of a       an abstract socket                    a lock on a byte of the file, of the open file
 *   client                                                  description: the kernel drops it with the process
 *   descriptors       the beacon                            one, which a forked child replaces by its own
 * Nothing on the way of get and put asks which kind it is; `sparse` is looked at where memory is touched for the
 * first time, which costs a page fault anyway. */
#ifndef SHMS_MEMORY_H
#define SHMS_MEMORY_H

#include "segment/segment.h"

struct shms_open_request;

/* The kernel's word of a piece of memory. */
struct shms_memory_state {
    bool known;           /* false: the kernel does not tell this attachment (any more); the fields below are zero then */
    uint64_t size;
    uint32_t trusted_uid; /* whose it is for the question of trust */
    uint32_t uid, gid, mode;
    uint32_t creator;     /* process id, 0 = not known */
    bool removed;         /* nobody will find it any more: proven, for on this word the store is marked destroyed */
};

/* Functions that return int return 0 or an error number, with the call that failed in s->call. */
struct shms_memory {
    /* Looks for the memory that is wished for: fills id or descriptor. ENOENT: there is none. */
    int (*find)(struct shms_store *s, const struct shms_open_request *a);
    /* Makes it. EEXIST: somebody was faster. */
    int (*make)(struct shms_store *s, const struct shms_open_request *a, uint64_t size);
    int (*state)(struct shms_store *s, struct shms_memory_state *ret);
    /* Mappings in all processes, -1 where the kernel does not tell; POSIX: counted by their locks, which takes some
     * microseconds for each. */
    int64_t (*attached)(struct shms_store *s);
    /* Maps it at s->base. ENOEXEC: it is no store, and was left untouched; EIDRM: it has gone meanwhile. */
    int (*map)(struct shms_store *s, const struct shms_open_request *a, uint64_t size, bool made);
    /* After the header was written: from now on others find it. EEXIST: another one has its name. */
    int (*publish)(struct shms_store *s, const struct shms_open_request *a);
    /* Undoes map and find; nothing of *s refers to the kernel's things any more, and then s->base is NULL. */
    void (*unmap)(struct shms_store *s);
    /* Nobody will find it any more; 0 also if that was so. ETIMEDOUT: somebody is stopped in the midst of this. */
    int (*remove)(struct shms_store *s);
    /* Of memory that holds no header yet: is its maker gone? */
    bool (*creator_gone)(struct shms_store *s, const struct shms_memory_state *state);
    /* The bytes may be read and written without a fault that kills. False: no page is left; s->short_of says why. */
    bool (*commit)(struct shms_store *s, uint64_t offset, uint64_t bytes);
    /* Which of these pages have their memory: 1 or 0 in ret[]. False: that cannot be told. */
    bool (*resident)(struct shms_store *s, uint64_t offset, uint64_t pages, uint8_t *ret);
    /* May pages of free memory go back to the system now? */
    bool (*may_give_back)(struct shms_store *s);
    /* Keeps it out of the swap. */
    int (*lock)(struct shms_store *s);

    /* Beacons: what liveness.c knows of clients whose process ids tell nothing. */
    bool (*mark_alive)(struct shms_store *s, uint32_t number, uint32_t generation);
    void (*unmark)(struct shms_store *s);
    /* Once a second of use: somebody who closes descriptors that he did not open put it out by mistake. */
    void (*mark_again)(struct shms_store *s);
    /* 1 lit, 0 out, -1 cannot be told; sees: whether one of that network namespace could be seen from here. */
    int (*marked)(struct shms_store *s, uint32_t number, uint32_t generation);
    bool (*can_see_mark)(struct shms_store *s, uint64_t net_ns);
    /* 1 the process has this memory mapped, 0 not (it called exec), -1 cannot be told. */
    int (*maps)(struct shms_store *s, uint32_t pid);
    /* Proof that no other process is attached. */
    bool (*only_me)(struct shms_store *s);
    /* In a forked child, before fork() returns: lets go of what keeps the parent's beacon burning. */
    void (*forked)(struct shms_store *s);
    bool hidden; /* until publish() nobody finds it */
};

/* The last store of an unmap: from here on the structure may be somebody else's (place() in handle.c). */
static inline void shms_store_unmapped(struct shms_store *s) { __atomic_store_n(&s->base, NULL, __ATOMIC_RELEASE); }

/* The beacon was out for a while, and is not again: the next darkness is another one (liveness.c). */
static inline void shms_marked_again(struct shms_store *s, bool marked) {
    shms_store_relaxed(&s->me->liveness, marked ? shms_load_relaxed(&s->me->liveness) + 1 : 0);
}

extern const struct shms_memory shms_memory_sysv, shms_memory_posix;

/* Sets *s up for the kind of memory that is wished for; keeps its place in the list of attachments. */
void shms_memory_choose(struct shms_store *s, const struct shms_open_request *a);
/* Every page in memory, of the system and of this process: 0 or an error number. Changes no byte. */
int shms_memory_prefault(struct shms_store *s);

#endif
