/* sysv.cdef.h: the System V calls as cffi binds them; read by cffi and included by sysv.h
 *
 * Every int32_t or int64_t result is >= 0, or -errno. Outputs are last and written only on success.
 */

/* What IPC_STAT tells, in fixed widths: struct shmid_ds differs between C libraries and machines. */
struct shms_sysv_stat {
    uint64_t size;    /* bytes, as asked for; the mapping is rounded up to pages */
    uint64_t nattch;  /* attachments in all processes */
    int64_t atime;    /* seconds since 1970 of the last shmat, shmdt and change; 0 = never */
    int64_t dtime;
    int64_t ctime;
    int32_t key;      /* 0 (IPC_PRIVATE) also once the segment is marked for removal */
    int32_t id;
    uint32_t mode;    /* permission bits, and SHM_DEST and SHM_LOCKED */
    uint32_t uid;     /* owner, whom IPC_SET changes */
    uint32_t gid;
    uint32_t cuid;    /* creator, whom nothing changes */
    uint32_t cgid;
    int32_t cpid;     /* creator's process; 0 = of another pid namespace */
    int32_t lpid;     /* process of the last shmat or shmdt */
};

/* What IPC_INFO tells: the limits of this IPC namespace. */
struct shms_sysv_limits {
    uint64_t shmmax;  /* bytes of one segment */
    uint64_t shmmin;
    uint64_t shmmni;  /* segments */
    uint64_t shmseg;  /* segments of one process; the kernel does not hold anybody to it */
    uint64_t shmall;  /* pages of all segments */
};

/* What SHM_INFO tells: what all segments of this IPC namespace take. */
struct shms_sysv_usage {
    uint64_t shm_tot;  /* pages: of all sizes together, of those in memory, of those swapped out */
    uint64_t shm_rss;
    uint64_t shm_swp;
    int32_t used_ids;  /* segments */
};

/* The key is returned as 32 unsigned bits, so that every key, 0xffffffff too, differs from an error. */
int64_t shms_sysv_ftok(const char *pathname, int32_t proj_id);

int32_t shms_sysv_shmget(int32_t key, uint64_t size, int32_t shmflg);

/* NULL on failure, and then -errno in *ret_error. A shmaddr of 0 lets the kernel choose. */
void *shms_sysv_shmat(int32_t shmid, uint64_t shmaddr, int32_t shmflg, int32_t *ret_error);
int32_t shms_sysv_shmdt(const void *shmaddr);

int32_t shms_sysv_ipc_stat(int32_t shmid, struct shms_sysv_stat *ret);
int32_t shms_sysv_ipc_set(int32_t shmid, uint32_t uid, uint32_t gid, uint32_t mode);
int32_t shms_sysv_ipc_rmid(int32_t shmid);

/* SHM_LOCK if `lock`, else SHM_UNLOCK, which goes through all pages in memory. */
int32_t shms_w_sysv_shm_lock(int32_t shmid, int32_t lock);

/* The kernel's table. The first two return its highest index in use, 0 also when it is empty. SHM_STAT returns
 * the id of the segment at an index, -EINVAL where there is none, -EACCES where the caller may not read it;
 * `any` asks by SHM_STAT_ANY, which everybody may (Linux 4.17). */
int32_t shms_sysv_ipc_info(struct shms_sysv_limits *ret);
int32_t shms_sysv_shm_info(struct shms_sysv_usage *ret);
int32_t shms_sysv_shm_stat(int32_t index, int32_t any, struct shms_sysv_stat *ret);
