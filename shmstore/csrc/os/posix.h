/* posix.h: the POSIX shared memory calls, one thin function each. It knows nothing about stores. */
#ifndef SHMS_POSIX_H
#define SHMS_POSIX_H

#include <stdint.h>

#include "os/posix.cdef.h"

/* Not for cffi: what owns the descriptor or the mapping is made in C (python/mapping.c). Results as in posix.cdef.h. */
/* The descriptor has FD_CLOEXEC set. */
int32_t shms_posix_shm_open(const char *name, int32_t oflag, uint32_t mode);
/* NULL on failure, with -errno in *ret_error. With an addr of 0 the kernel chooses the address. */
void *shms_posix_mmap(uint64_t addr, uint64_t length, int32_t prot, int32_t flags, int32_t fd, int64_t offset,
                      int32_t *ret_error);
int32_t shms_posix_munmap(void *addr, uint64_t length);

#endif
