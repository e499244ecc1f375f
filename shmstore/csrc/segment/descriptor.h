/* descriptor.h: the open file of a POSIX attachment, and the locks that the attachment holds with it
 *
 * LAYOUT  The locks belong to the open file description (F_OFD_SETLK), not to the process. So two handles of one
 *   process are told apart, and the kernel drops the locks when the last descriptor of the description is closed, for
 *   whatever reason. The locked bytes are far beyond the end of the file. They mean the same in every namespace, and no
 *   byte of memory changes.
 *     2^62 + client * 2^16 + generation   write lock: the liveness lock of a client
 *     2^61 + a random number below 2^32   read lock: "attached", held by every attachment, read-only ones included
 *     2^60                                write lock, held by a process while it removes the store
 * INVARIANTS
 *   D1  The locks are not held by the description that is mapped. A mapping keeps its description alive, so a forked
 *       child that inherits the mapping would keep the locks. map() opens the file once more through /proc/self/fd.
 *   D2  Nothing is done with the descriptor before its device and inode were compared. A program that closes
 *       descriptors which it did not open may close this one, and the number may soon be another file's.
 *   D3  When the kernel returns a number for one attachment, other attachments of the process that hold the same
 *       number forget it.
 * FORK  A child inherits the descriptor and so keeps its parent's liveness lock alive. Before fork() returns in the
 *   child, the handler opens the file once more and closes the inherited descriptor.
 * CRASH  The kernel drops every lock of a process that ends.
 * LIMITS  A descriptor that was closed by mistake is opened again at the next second of use, if the file still has its
 *   name. Until then the client has no liveness lock (liveness.c says what that means). */
#ifndef SHMS_DESCRIPTOR_H
#define SHMS_DESCRIPTOR_H

#include "segment/segment.h"

/* s->fd becomes this open file. Its device and inode are remembered (D2). */
void shms_descriptor_keep(struct shms_store *s, int fd);
/* Replaces s->fd by another description of the same file (D1): 0 or an error number. */
int shms_descriptor_renew(struct shms_store *s);
/* True if s->fd is still the file of this store (D2). */
bool shms_descriptor_mine(const struct shms_store *s);
void shms_descriptor_close(struct shms_store *s);
/* Takes the lock that says "attached": 0 or an error number. */
int shms_descriptor_attach(struct shms_store *s);
/* How many other attachments hold such a lock, -1 if unknown. Counts at most `enough`. */
int64_t shms_descriptor_others(const struct shms_store *s, uint32_t enough);
/* One process removes at a time: 0, EAGAIN, or another error number. */
int shms_descriptor_lock_removal(struct shms_store *s);
void shms_descriptor_unlock_removal(struct shms_store *s);

bool shms_descriptor_mark(struct shms_store *s, uint32_t number, uint32_t generation);
void shms_descriptor_unmark(struct shms_store *s);
/* 1: the liveness lock is held. 0: it is not. -1: unknown. */
int shms_descriptor_marked(struct shms_store *s, uint32_t number, uint32_t generation);
void shms_descriptor_forked(struct shms_store *s);

#endif
