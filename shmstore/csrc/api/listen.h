/* listen.h: threads that sleep on the bells of stores (bell.h), for event loops that wait for many keys
 *
 * A listener is an event loop's descriptor and a handle. One thread serves the listeners of all stores of this process, by
 * futex_waitv; where the kernel lacks that, each store has a thread. A thread is there only while there are listeners. It
 * runs no Python and touches shared memory only with the lock, so closing a handle needs to wait for nothing. */
#ifndef SHMS_LISTEN_H
#define SHMS_LISTEN_H

#include "engine/bell.h"

/* From now on the descriptor is set after each ring, about once a second without one, and when the handle is closed. *rings:
 * those that it is not told of. SHMS_OK or SHMS_NO_MEMORY. REQUIRES: no such listener is there; the handle of s is open. */
int shms_listen_add(struct shms_store *s, int64_t handle, int fd, uint32_t *rings);
void shms_listen_remove(int64_t handle, int fd);
/* The handle is about to be closed. Afterwards no thread touches its memory. */
void shms_listen_ended(int64_t handle);
/* In a forked child: the threads, and the event loops that they woke, are the parent's. */
void shms_listen_forked(void);

#endif
