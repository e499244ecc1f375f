/* sysv.c: shmget, shmat, shmdt, shmctl and ftok in fixed-width types, with the error in the result
 *
 * The error is part of the result, because errno may change on the way back through the interpreter.
 */
#include "os/sysv.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "os/compat.h"

/* shmstore/sysv/_flags.py contains these numbers as literals, so that type checkers know them. */
static_assert(IPC_PRIVATE == 0 && IPC_CREAT == 01000 && IPC_EXCL == 02000, "_sysv_flags.py: IPC_*");
static_assert(IPC_RMID == 0 && IPC_SET == 1 && IPC_STAT == 2, "_sysv_flags.py: commands");
static_assert(SHM_RDONLY == 010000 && SHM_RND == 020000 && SHM_REMAP == 040000 && SHM_EXEC == 0100000,
              "_sysv_flags.py: flags of shmat");
static_assert(SHM_HUGETLB == 04000 && SHM_NORESERVE == 010000, "_sysv_flags.py: flags of shmget");
static_assert(SHM_DEST == 01000 && SHM_LOCKED == 02000, "_sysv_flags.py: bits of the mode");
static_assert(SHM_LOCK == 11 && SHM_UNLOCK == 12 && SHM_STAT == 13 && SHM_INFO == 14 && IPC_INFO == 3,
              "_sysv_flags.py: Linux's commands");
static_assert(SHM_R == 0400 && SHM_W == 0200, "_sysv_flags.py: permission bits");
static_assert(SHM_STAT_ANY == 15, "_sysv_flags.py: SHM_STAT_ANY");
#ifdef SHM_HUGE_SHIFT
static_assert(SHM_HUGE_SHIFT == 26 && SHM_HUGE_MASK == 0x3f, "_sysv_flags.py: SHM_HUGE_*");
#endif
static_assert(sizeof(key_t) == 4, "keys are passed as int32_t");

static int32_t status(int result) { return result == -1 ? -errno : result; }

int64_t shms_sysv_ftok(const char *pathname, int32_t proj_id) {
    errno = 0; /* -1 may be a key; only errno tells it from a failure */
    key_t key = ftok(pathname, proj_id);
    if (key == -1 && errno != 0)
        return -errno;
    return (uint32_t)key;
}

int32_t shms_sysv_shmget(int32_t key, uint64_t size, int32_t shmflg) { return status(shmget(key, size, shmflg)); }

void *shms_sysv_shmat(int32_t shmid, uint64_t shmaddr, int32_t shmflg, int32_t *ret_error) {
    void *address = shmat(shmid, (const void *)(uintptr_t)shmaddr, shmflg);
    if (address == (void *)-1) {
        *ret_error = -errno;
        return NULL;
    }
    if (address == NULL) { /* root may get it with SHM_RND, but then every stray NULL would point to memory */
        shmdt(address);
        *ret_error = -EINVAL;
    }
    return address;
}

int32_t shms_sysv_shmdt(const void *shmaddr) { return status(shmdt(shmaddr)); }

static struct shms_sysv_stat fixed_width(const struct shmid_ds *ds, int32_t shmid) {
    return (struct shms_sysv_stat){
        .size = ds->shm_segsz,
        .nattch = ds->shm_nattch,
        .atime = ds->shm_atime,
        .dtime = ds->shm_dtime,
        .ctime = ds->shm_ctime,
        .key = ds->shm_perm.__key,
        .id = shmid,
        .mode = ds->shm_perm.mode,
        .uid = ds->shm_perm.uid,
        .gid = ds->shm_perm.gid,
        .cuid = ds->shm_perm.cuid,
        .cgid = ds->shm_perm.cgid,
        .cpid = ds->shm_cpid,
        .lpid = ds->shm_lpid,
    };
}

int32_t shms_sysv_ipc_stat(int32_t shmid, struct shms_sysv_stat *ret) {
    struct shmid_ds ds;
    if (shmctl(shmid, IPC_STAT, &ds) == -1)
        return -errno;
    *ret = fixed_width(&ds, shmid);
    return 0;
}

int32_t shms_sysv_ipc_set(int32_t shmid, uint32_t uid, uint32_t gid, uint32_t mode) {
    struct shmid_ds ds = {0}; /* the kernel reads only these three fields */
    ds.shm_perm.uid = uid;
    ds.shm_perm.gid = gid;
    ds.shm_perm.mode = (unsigned short)mode;
    return status(shmctl(shmid, IPC_SET, &ds));
}

int32_t shms_sysv_ipc_rmid(int32_t shmid) { return status(shmctl(shmid, IPC_RMID, NULL)); }

int32_t shms_w_sysv_shm_lock(int32_t shmid, int32_t lock) {
    return status(shmctl(shmid, lock ? SHM_LOCK : SHM_UNLOCK, NULL));
}

/* The three commands below fill other structures than shmid_ds. Their man page prescribes the cast. */

int32_t shms_sysv_ipc_info(struct shms_sysv_limits *ret) {
    struct shminfo limits;
    int highest = shmctl(0, IPC_INFO, (struct shmid_ds *)&limits);
    if (highest == -1)
        return -errno;
    *ret = (struct shms_sysv_limits){
        .shmmax = limits.shmmax,
        .shmmin = limits.shmmin,
        .shmmni = limits.shmmni,
        .shmseg = limits.shmseg,
        .shmall = limits.shmall,
    };
    return highest;
}

int32_t shms_sysv_shm_info(struct shms_sysv_usage *ret) {
    struct shm_info usage;
    int highest = shmctl(0, SHM_INFO, (struct shmid_ds *)&usage);
    if (highest == -1)
        return -errno;
    *ret = (struct shms_sysv_usage){
        .shm_tot = usage.shm_tot,
        .shm_rss = usage.shm_rss,
        .shm_swp = usage.shm_swp,
        .used_ids = usage.used_ids,
    };
    return highest;
}

int32_t shms_sysv_shm_stat(int32_t index, int32_t any, struct shms_sysv_stat *ret) {
    struct shmid_ds ds;
    int shmid = shmctl(index, any ? SHM_STAT_ANY : SHM_STAT, &ds);
    if (shmid == -1)
        return -errno;
    *ret = fixed_width(&ds, shmid);
    return shmid;
}
