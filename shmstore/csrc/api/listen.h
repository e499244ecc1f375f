/* listen.h: threads that sleep on the bells of stores (bell.h), for event loops that wait for many keys
 *
 * A listener is an event loop's descriptor and a handle. One thread serves the listeners of up to 127 stores of this
 * process, by futex_waitv. Where the kernel lacks futex_waitv, each store has a thread. A thread ends soon after its last
 * listener. It runs no Python, and touches shared memory only with the lock held. So closing a handle waits for that lock only. */
#ifndef SHMS_LISTEN_H
#define SHMS_LISTEN_H

#include "engine/bell.h"

/* From now on the descriptor is set after each ring, about once a second without one, and when the handle is closed. *rings: the
 * rings before that. SHMS_OK or SHMS_NO_MEMORY. REQUIRES: there is no such listener yet; the handle of s is open. */
int shms_listen_add(struct shms_store *s, int64_t handle, int fd, uint32_t *rings);
void shms_listen_remove(int64_t handle, int fd);
/* REQUIRES: the handle is about to be closed. Afterwards no thread touches its memory. */
void shms_listen_ended(int64_t handle);
/* In a forked child: the threads, and the event loops that they woke, are the parent's. */
void shms_listen_forked(void);

#endif
