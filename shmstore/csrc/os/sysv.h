/* sysv.h: the System V shared memory calls, one thin function each. It knows nothing about stores. */
#ifndef SHMS_SYSV_H
#define SHMS_SYSV_H

#include <stdint.h>

#include "os/sysv.cdef.h"

/* Not for cffi: what owns the mapping is made in C (python/mapping.c). NULL on failure, with -errno in *ret_error. With a shmaddr of
 * 0 the kernel chooses the address. */
void *shms_sysv_shmat(int32_t shmid, uint64_t shmaddr, int32_t shmflg, int32_t *ret_error);
int32_t shms_sysv_shmdt(const void *shmaddr);

#endif
