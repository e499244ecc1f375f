/* sysv.c: shmget, shmat, shmdt, shmctl and ftok in fixed-width types, with the error in the result
 *
 * The error travels in the result because errno does not survive the way back through the interpreter.
 */
#include "sysv.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/shm.h>

/* shmstore/sysv.py holds these numbers as literals, so that type checkers know them. */
static_assert(IPC_PRIVATE == 0 && IPC_CREAT == 01000 && IPC_EXCL == 02000, "sysv.py: IPC_*");
static_assert(IPC_RMID == 0 && IPC_SET == 1 && IPC_STAT == 2, "sysv.py: commands");
static_assert(SHM_RDONLY == 010000 && SHM_RND == 020000 && SHM_REMAP == 040000 && SHM_EXEC == 0100000,
              "sysv.py: flags of shmat");
static_assert(SHM_HUGETLB == 04000 && SHM_NORESERVE == 010000, "sysv.py: flags of shmget");
static_assert(SHM_DEST == 01000 && SHM_LOCKED == 02000, "sysv.py: bits of the mode");
static_assert(sizeof(key_t) == 4, "keys are passed as int32_t");

static int32_t status(int result) {
    return result == -1 ? -errno : result;
}

int64_t shms_sysv_ftok(const char *pathname, int32_t proj_id) {
    errno = 0;  /* -1 may be a key: only errno tells it from a failure */
    key_t key = ftok(pathname, proj_id);
    if (key == -1 && errno != 0)
        return -errno;
    return (uint32_t)key;
}

int32_t shms_sysv_shmget(int32_t key, uint64_t size, int32_t shmflg) {
    return status(shmget(key, size, shmflg));
}

void *shms_sysv_shmat(int32_t shmid, uint64_t shmaddr, int32_t shmflg, int32_t *ret_error) {
    void *address = shmat(shmid, (const void *)(uintptr_t)shmaddr, shmflg);
    if (address == (void *)-1) {
        *ret_error = -errno;
        return NULL;
    }
    return address;
}

int32_t shms_sysv_shmdt(const void *shmaddr) {
    return status(shmdt(shmaddr));
}

int32_t shms_sysv_ipc_stat(int32_t shmid, struct shms_sysv_stat *ret) {
    struct shmid_ds ds;
    if (shmctl(shmid, IPC_STAT, &ds) == -1)
        return -errno;
    *ret = (struct shms_sysv_stat){
        .size = ds.shm_segsz,
        .nattch = ds.shm_nattch,
        .atime = ds.shm_atime,
        .dtime = ds.shm_dtime,
        .ctime = ds.shm_ctime,
        .key = ds.shm_perm.__key,
        .id = shmid,
        .mode = ds.shm_perm.mode,
        .uid = ds.shm_perm.uid,
        .gid = ds.shm_perm.gid,
        .cuid = ds.shm_perm.cuid,
        .cgid = ds.shm_perm.cgid,
        .cpid = ds.shm_cpid,
        .lpid = ds.shm_lpid,
    };
    return 0;
}

int32_t shms_sysv_ipc_set(int32_t shmid, uint32_t uid, uint32_t gid, uint32_t mode) {
    struct shmid_ds ds = {0};  /* the kernel reads these three fields and no other */
    ds.shm_perm.uid = uid;
    ds.shm_perm.gid = gid;
    ds.shm_perm.mode = (unsigned short)mode;
    return status(shmctl(shmid, IPC_SET, &ds));
}

int32_t shms_sysv_ipc_rmid(int32_t shmid) {
    return status(shmctl(shmid, IPC_RMID, NULL));
}
