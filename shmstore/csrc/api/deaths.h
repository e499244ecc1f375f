/* deaths.h: a thread that learns of the death of processes, for threads of this process that wait for their locks
 *
 * The kernel tells of a death by a descriptor (pidfd). One thread of C code waits for up to 255 of them. When a process has
 * ended, it pokes the sleepers of this process (engine/sleepers.h), and each looks at the owners that it waits for. The
 * thread ends soon after the last process is watched. It runs no Python, and touches no shared memory.
 * LIMITS  None of this works for a process in another pid namespace, nor on a kernel that has no pidfd. A process that calls
 *   exec has not ended. So waiters also look by themselves (shmstore/_store/leases.py). */
#ifndef SHMS_DEATHS_H
#define SHMS_DEATHS_H

#include "engine/owner.h"

/* From now on the death of this owner's process is told. Returns what shms_deaths_unwatch takes; 0: nobody can tell.
 * The caller looks whether the owner is gone after this, because its process may have ended before. */
uint32_t shms_deaths_watch(struct shms_store *s, struct shms_lock_owner owner);
void shms_deaths_unwatch(uint32_t watch);
/* In a forked child: the thread is the parent's. */
void shms_deaths_forked(void);

#endif
