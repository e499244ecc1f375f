/* descriptor.h: the open file that a POSIX attachment keeps, and the locks that it holds with it.
 *
 * The locks belong to the open file description (F_OFD_SETLK), not to the process: two handles of one process are
 * two, and the kernel drops them when the last descriptor of the description is closed, however that happens. They
 * are on bytes far beyond the end of the file, and mean the same in every namespace. No byte of memory changes.
 *   2^62 + client * 2^16 + generation   written by a client as long as it lives: its beacon
 *   2^61 + anything below 2^32          read by every attachment, the read-only ones too: "attached"
 *   2^60                                written by whoever removes the store, while he does
 * A mapping keeps the description alive that it was made with, so locks are not held with that one but with another,
 * opened through /proc/self/fd once the file is mapped.
 * FORK  A child inherits both, and would keep its parent's beacon burning. So it opens the file once more, in the
 *   handler that runs before fork() returns there, and closes what it inherited.
 * CLOSED BY OTHERS  A program that closes descriptors which it did not open may close this one, and its number may
 *   be somebody else's file the next moment. So nothing is done with it before device and inode were compared, whoever
 *   is given a number takes it from other attachments of this process that have it noted, and a file that still has its
 *   name is opened again at the next second of use. */
#ifndef SHMS_DESCRIPTOR_H
#define SHMS_DESCRIPTOR_H

#include "segment/segment.h"

/* From now on s->fd is this open file, whose device and inode are remembered. */
void shms_descriptor_keep(struct shms_store *s, int fd);
/* Puts another description of the same file in the place of s->fd: 0 or an error number. */
int shms_descriptor_renew(struct shms_store *s);
/* s->fd is still the file of this store. */
bool shms_descriptor_mine(const struct shms_store *s);
void shms_descriptor_close(struct shms_store *s);
/* Says "attached" by a lock: 0 or an error number. */
int shms_descriptor_attach(struct shms_store *s);
/* How many other attachments say so, -1 where that cannot be told; at most `enough` are counted. */
int64_t shms_descriptor_others(const struct shms_store *s, uint32_t enough);
/* One remover at a time: 0, EAGAIN, or another error number. */
int shms_descriptor_lock_removal(struct shms_store *s);
void shms_descriptor_unlock_removal(struct shms_store *s);

bool shms_descriptor_mark(struct shms_store *s, uint32_t number, uint32_t generation);
void shms_descriptor_unmark(struct shms_store *s);
/* 1 lit, 0 out, -1 cannot be told. */
int shms_descriptor_marked(struct shms_store *s, uint32_t number, uint32_t generation);
void shms_descriptor_forked(struct shms_store *s);

#endif
