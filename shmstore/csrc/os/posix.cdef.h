/* posix.cdef.h: the POSIX shared memory calls as cffi binds them. cffi reads this file, and posix.h includes it.
 *
 * Every int32_t result is >= 0, or -errno. Calls that may take long, because they touch many pages, are named shms_w_*.
 */

int32_t shms_posix_shm_unlink(const char *name);

int32_t shms_w_posix_ftruncate(int32_t fd, int64_t length);
int32_t shms_w_posix_fallocate(int32_t fd, int64_t offset, int64_t length);

/* The soft limit; UINT64_MAX: none. (Python's resource module is a file; importing it needs a free descriptor.) */
uint64_t shms_posix_getrlimit(int32_t resource);
