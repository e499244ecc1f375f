/* posix.c: shm_open, ftruncate, posix_fallocate, mmap, munmap, shm_unlink, with the error in the result
 *
 * The error is part of the result, because errno may change on the way back through the interpreter.
 */
#include "os/posix.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "os/compat.h"
#include "os/os.h"

/* shmstore/posix/__init__.py contains these numbers as literals, so that type checkers know them. */
static_assert(PROT_NONE == 0 && PROT_READ == 1 && PROT_WRITE == 2 && PROT_EXEC == 4, "posix.py: PROT_*");
static_assert(MAP_SHARED == 0x01 && MAP_PRIVATE == 0x02 && MAP_FIXED == 0x10 && MAP_ANONYMOUS == 0x20,
              "posix.py: MAP_*");
static_assert(MAP_LOCKED == 0x2000 && MAP_NORESERVE == 0x4000 && MAP_POPULATE == 0x8000 && MAP_HUGETLB == 0x40000,
              "posix.py: MAP_* of Linux");
static_assert(MAP_FIXED_NOREPLACE == 0x100000, "posix.py: MAP_FIXED_NOREPLACE");
static_assert(RLIMIT_FSIZE == 1 && RLIMIT_NOFILE == 7 && RLIMIT_MEMLOCK == 8 && RLIMIT_AS == 9, "_limits.py: RLIMIT_*");
static_assert(sizeof(off_t) == 8, "lengths and offsets are passed as int64_t");

static int32_t status(int result) { return result == -1 ? -errno : result; }

/* Would the file grow beyond the limit of ulimit -f? The system call itself would also send SIGXFSZ. */
static bool grows_too_large(int32_t fd, int64_t offset, int64_t length) {
    struct stat st;
    uint64_t size = (uint64_t)offset + (uint64_t)length;
    return offset >= 0 && length > 0 && !shms_os_may_have_file(size) && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size < size;
}

int32_t shms_posix_shm_open(const char *name, int32_t oflag, uint32_t mode) {
    return status(shm_open(name, oflag, (mode_t)mode));
}

int32_t shms_posix_shm_unlink(const char *name) { return status(shm_unlink(name)); }

int32_t shms_w_posix_ftruncate(int32_t fd, int64_t length) {
    return grows_too_large(fd, 0, length) ? -EFBIG : status(ftruncate(fd, length));
}

int32_t shms_w_posix_fallocate(int32_t fd, int64_t offset, int64_t length) {
    if (grows_too_large(fd, offset, length))
        return -EFBIG;
    return -posix_fallocate(fd, offset, length); /* returns the error number and does not set errno */
}

void *shms_posix_mmap(uint64_t addr, uint64_t length, int32_t prot, int32_t flags, int32_t fd, int64_t offset,
                      int32_t *ret_error) {
    void *address = mmap((void *)(uintptr_t)addr, length, prot, flags, fd, offset);
    if (address == MAP_FAILED) {
        *ret_error = -errno;
        return NULL;
    }
    if (address == NULL) { /* root may map it with MAP_FIXED, but then every stray NULL would point to memory */
        munmap(address, length);
        *ret_error = -EINVAL;
    }
    return address;
}

uint64_t shms_posix_getrlimit(int32_t resource) {
    struct rlimit limit;
    return getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
}

int32_t shms_posix_munmap(void *addr, uint64_t length) { return status(munmap(addr, length)); }
