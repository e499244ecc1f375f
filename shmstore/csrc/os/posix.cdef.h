/* posix.cdef.h: the POSIX shared memory calls as cffi binds them; read by cffi and included by posix.h
 *
 * Every int32_t result is >= 0, or -errno. What can take long, for the many pages it goes through, is shms_w_*.
 */

/* The descriptor is closed on exec. */
int32_t shms_posix_shm_open(const char *name, int32_t oflag, uint32_t mode);
int32_t shms_posix_shm_unlink(const char *name);

int32_t shms_w_posix_ftruncate(int32_t fd, int64_t length);
int32_t shms_w_posix_fallocate(int32_t fd, int64_t offset, int64_t length);

/* The soft limit, UINT64_MAX: none. (Python's module for it is a file, which cannot be opened when descriptors ran out.) */
uint64_t shms_posix_getrlimit(int32_t resource);

/* NULL on failure, and then -errno in *ret_error. An addr of 0 lets the kernel choose. */
void *shms_w_posix_mmap(uint64_t addr, uint64_t length, int32_t prot, int32_t flags, int32_t fd, int64_t offset,
                        int32_t *ret_error);
int32_t shms_w_posix_munmap(void *addr, uint64_t length);
