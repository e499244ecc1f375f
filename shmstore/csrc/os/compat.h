/* compat.h: names that Linux has and the oldest supported C libraries lack: glibc 2.17 (manylinux2014) and musl 1.2
 *
 * The engine includes no header of linux/, because musl-gcc does not find them. The numbers below are Linux's ABI and
 * are the same on x86-64 and ARM64. Each is defined only if the C library does not define it. The comment after a
 * number names the first glibc that has the name and the first Linux that knows the number. An older kernel answers
 * with an error (EINVAL, ENOSYS, EOPNOTSUPP), which is an ordinary error of the call, with a message of its own. The
 * store itself needs Linux 3.17.
 *
 * System calls whose wrapper is later than glibc 2.17 are made by number with every C library. So each build tests
 * this way. */
#ifndef SHMS_COMPAT_H
#define SHMS_COMPAT_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#ifndef FALLOC_FL_KEEP_SIZE
#define FALLOC_FL_KEEP_SIZE 1 /* glibc 2.18, Linux 2.6.23 */
#endif
#ifndef O_TMPFILE
#define O_TMPFILE (020000000 | O_DIRECTORY) /* glibc 2.19, Linux 3.11 */
#endif
#ifndef F_OFD_GETLK /* glibc 2.20, Linux 3.15 */
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif
#ifndef F_ADD_SEALS /* glibc 2.27, Linux 3.17 */
#define F_ADD_SEALS 1033
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#endif
#ifndef MFD_CLOEXEC /* glibc 2.27, Linux 3.17 */
#define MFD_CLOEXEC 1u
#define MFD_ALLOW_SEALING 2u
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4u /* glibc 2.27, Linux 4.14 */
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1u /* glibc 2.27, Linux 4.4 */
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* glibc 2.28, Linux 4.17 */
#endif
#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15 /* glibc 2.28, Linux 4.17 */
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* glibc 2.38, Linux 6.3 */
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* glibc 2.35, Linux 5.14 */
#endif

#ifndef FUTEX_WAIT /* linux/futex.h */
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#endif
#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6 /* linux/magic.h */
#endif

#ifdef __x86_64__
#define SHMS_NUMBER(x86_64, aarch64) x86_64
#else
#define SHMS_NUMBER(x86_64, aarch64) aarch64
#endif
#ifndef SYS_getrandom
#define SYS_getrandom SHMS_NUMBER(318, 278) /* glibc's wrapper 2.25, Linux 3.17 */
#endif
#ifndef SYS_memfd_create
#define SYS_memfd_create SHMS_NUMBER(319, 279) /* glibc's wrapper 2.27, Linux 3.17 */
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* glibc's wrapper 2.36, Linux 5.3 */
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* Linux 5.16 */
#endif
#ifndef SYS_mlock2
#define SYS_mlock2 SHMS_NUMBER(325, 284) /* glibc's wrapper 2.27, Linux 4.4 */
#endif

static inline ssize_t shms_getrandom(void *to, size_t bytes) { return syscall(SYS_getrandom, to, bytes, 0); }
static inline int shms_memfd_create(const char *name, unsigned flags) {
    return (int)syscall(SYS_memfd_create, name, flags);
}
/* linux/futex.h */
struct shms_futex_waitv {
    uint64_t value, address;
    uint32_t flags, reserved;
};
#define SHMS_FUTEX_32 2u
static inline int shms_futex_waitv(const struct shms_futex_waitv *waits, unsigned count, const struct timespec *until) {
    return (int)syscall(SYS_futex_waitv, waits, count, 0, until, CLOCK_MONOTONIC);
}
static inline int shms_mlock2(const void *from, size_t bytes, unsigned flags) {
    return (int)syscall(SYS_mlock2, from, bytes, flags);
}

#endif
