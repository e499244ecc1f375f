/* memory.h: the kinds of memory that a store can live in, and everything in which they differ
 *
 *                     System V (memory_sysv.c)              POSIX (memory_posix.c, descriptor.c)
 *   found by          key_t, by shmget                      a file's name in /dev/shm; private: a memfd
 *   made              empty, under its key. create.c says   without a name; gets it when finished. So no process
 *                     how openers wait for the creator      sees half a store, and a dead creator leaves nothing
 *   a page without    the kernel finds memory, or kills     if /dev/shm is full: SIGBUS. So every page is committed
 *   memory touched    a process of its choice               before it is read or written
 *   trust             the creator's uid (cuid)              the owner of the file
 *   removed by        IPC_RMID                              unlink, so that no link is left
 *   liveness mark     an abstract socket                    a lock on a byte of the file, held by the open file
 *                                                           description: the kernel drops it with the process
 *   descriptors       the liveness socket                   one, which a forked child replaces
 * get and put never ask which kind it is. They look at `sparse` only where memory is touched for the first time, which
 * costs a page fault anyway. */
#ifndef SHMS_MEMORY_H
#define SHMS_MEMORY_H

#include "segment/segment.h"

struct shms_open_request;

/* What the kernel says about the memory of a store. */
struct shms_memory_state {
    bool known; /* false: the kernel does not tell this attachment (any more); all other fields are zero */
    uint64_t size;
    uint32_t trusted_uid; /* the user who must be trusted: creator or owner, see above */
    uint32_t uid, gid, mode;
    uint32_t creator; /* process id, 0 = unknown */
    bool removed;     /* no process can find it any more. Must be certain: the store is then marked destroyed */
};

/* Functions that return int return 0 or an error number, and leave the name of the failed call in s->call. */
struct shms_memory {
    /* Finds the memory that was asked for, and sets s->id or s->fd. ENOENT: there is none. */
    int (*find)(struct shms_store *s, const struct shms_open_request *a);
    /* Makes it. EEXIST: another process was faster. */
    int (*make)(struct shms_store *s, const struct shms_open_request *a, uint64_t size);
    int (*state)(struct shms_store *s, struct shms_memory_state *ret);
    /* Mappings in all processes, -1 if unknown. POSIX counts their locks, which takes some microseconds for each. */
    int64_t (*attached)(struct shms_store *s);
    /* Maps it at s->base. ENOEXEC: it is not a store, and was not touched. EIDRM: it has been removed meanwhile. */
    int (*map)(struct shms_store *s, const struct shms_open_request *a, uint64_t size, bool made);
    /* REQUIRES: the header is complete. From now on others find it. EEXIST: its name belongs to another store. */
    int (*publish)(struct shms_store *s, const struct shms_open_request *a);
    /* Undoes map and find. Afterwards nothing in *s refers to the kernel's objects, and s->base is NULL. */
    void (*unmap)(struct shms_store *s);
    /* Afterwards no process can find it; 0 also if that was so before. ETIMEDOUT: another remover is stopped. */
    int (*remove)(struct shms_store *s);
    /* REQUIRES: the memory holds no header yet. Has its creator ended? */
    bool (*creator_gone)(struct shms_store *s, const struct shms_memory_state *state);
    /* Commits these bytes: touching them cannot fault afterwards. False: no page is left; s->short_of says why. */
    bool (*commit)(struct shms_store *s, uint64_t offset, uint64_t bytes);
    /* Sets ret[i] to 1 if page i is in memory, to 0 if not. False: unknown. */
    bool (*resident)(struct shms_store *s, uint64_t offset, uint64_t pages, uint8_t *ret);
    /* May pages of free memory be given back now? */
    bool (*may_give_back)(struct shms_store *s);
    /* Keeps the memory out of swap. */
    int (*lock)(struct shms_store *s);

    /* Liveness marks: how liveness.c judges clients whose process ids mean nothing here. */
    bool (*mark_alive)(struct shms_store *s, uint32_t number, uint32_t generation);
    void (*unmark)(struct shms_store *s);
    /* Called once in a second of use. A program that closes descriptors it did not open may have removed the mark. */
    void (*mark_again)(struct shms_store *s);
    /* marked: 1 the client has its mark, 0 it has none, -1 unknown. can_see_mark: could this process see the mark of a
     * client in network namespace net_ns? */
    int (*marked)(struct shms_store *s, uint32_t number, uint32_t generation);
    bool (*can_see_mark)(struct shms_store *s, uint64_t net_ns);
    /* 1: process `pid` maps this memory. 0: it does not, so it has called exec. -1: unknown. */
    int (*maps)(struct shms_store *s, uint32_t pid);
    /* Proof that no other process is attached. */
    bool (*only_me)(struct shms_store *s);
    /* REQUIRES: called in a forked child, before fork() returns. Gives up what keeps the parent's liveness mark. */
    void (*forked)(struct shms_store *s);
    /* For resizing (resize.h). `successor`: that word of the header. */
    /* Finds the segment that supersedes one. ENOENT: it is gone. */
    int (*find_successor)(struct shms_store *s, const struct shms_open_request *a, uint64_t successor);
    /* REQUIRES: *s is mapped and superseded. From now on its name leads to the successor. Any process may do it again. */
    void (*settle)(struct shms_store *s, uint64_t successor);
    /* REQUIRES: it did not supersede *s, and never will. Removes it, if it is there. */
    void (*discard)(struct shms_store *s, uint64_t successor);
    /* Lets the users open *s who can open *from, and nobody else: owner, group, mode and access control list. EPERM: this
     * process may not give it that group, and group and others have different rights. */
    int (*inherit)(struct shms_store *s, const struct shms_store *from);
    bool hidden; /* others cannot find the memory before publish() */
};

/* The mark was missing and has been made again. By the count, liveness.c tells a later absence from this one. */
static inline void shms_marked_again(struct shms_store *s, bool marked) {
    shms_store_relaxed(&s->me->liveness, marked ? shms_load_relaxed(&s->me->liveness) + 1 : 0);
}

extern const struct shms_memory shms_memory_sysv, shms_memory_posix;

/* Prepares *s for the kind of memory that was asked for. Keeps its link in the list of attachments. */
void shms_memory_choose(struct shms_store *s, const struct shms_open_request *a);
/* Brings every page into memory and into this process's page table: 0 or an error number. Changes no byte. */
int shms_memory_prefault(struct shms_store *s);

#endif
