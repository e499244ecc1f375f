/* sysv.cdef.h: the System V calls as cffi binds them. cffi reads this file, and sysv.h includes it.
 *
 * Every int32_t or int64_t result is >= 0, or -errno. Outputs are last and written only on success.
 */

/* The result of IPC_STAT in fixed widths, because struct shmid_ds differs between C libraries and machines. */
struct shms_sysv_stat {
    uint64_t size;   /* bytes, as asked for; the mapping is rounded up to pages */
    uint64_t nattch; /* attachments in all processes */
    int64_t atime;   /* seconds since 1970 of the last shmat, shmdt and change; 0 = never */
    int64_t dtime;
    int64_t ctime;
    int32_t key; /* 0 (IPC_PRIVATE) also after the segment was marked for removal */
    int32_t id;
    uint32_t mode; /* permission bits, and SHM_DEST and SHM_LOCKED */
    uint32_t uid;  /* owner; IPC_SET changes it */
    uint32_t gid;
    uint32_t cuid; /* creator; never changes */
    uint32_t cgid;
    int32_t cpid; /* process that created it; 0 = in another pid namespace */
    int32_t lpid; /* process of the last shmat or shmdt */
};

/* The result of IPC_INFO: the limits of this IPC namespace. */
struct shms_sysv_limits {
    uint64_t shmmax; /* bytes of one segment */
    uint64_t shmmin;
    uint64_t shmmni; /* segments */
    uint64_t shmseg; /* segments of one process; the kernel does not enforce it */
    uint64_t shmall; /* pages of all segments */
};

/* The result of SHM_INFO: what all segments of this IPC namespace use. */
struct shms_sysv_usage {
    uint64_t shm_tot; /* pages: of all segments, of these in memory, of these in swap */
    uint64_t shm_rss;
    uint64_t shm_swp;
    int32_t used_ids; /* segments */
};

/* The key is returned as 32 unsigned bits. So every key, 0xffffffff included, differs from an error. */
int64_t shms_sysv_ftok(const char *pathname, int32_t proj_id);

int32_t shms_sysv_shmget(int32_t key, uint64_t size, int32_t shmflg);

int32_t shms_sysv_ipc_stat(int32_t shmid, struct shms_sysv_stat *ret);
int32_t shms_sysv_ipc_set(int32_t shmid, uint32_t uid, uint32_t gid, uint32_t mode);
int32_t shms_sysv_ipc_rmid(int32_t shmid);

/* SHM_LOCK if `lock` is not 0. Otherwise SHM_UNLOCK, which visits every page in memory. */
int32_t shms_w_sysv_shm_lock(int32_t shmid, int32_t lock);

/* The kernel's table of segments. The first two return the highest index in use, also 0 when the table is empty.
 * SHM_STAT returns the id of the segment at an index, -EINVAL if there is none, -EACCES if the caller may not read it.
 * `any` selects SHM_STAT_ANY, which every user may call (Linux 4.17). */
int32_t shms_sysv_ipc_info(struct shms_sysv_limits *ret);
int32_t shms_sysv_shm_info(struct shms_sysv_usage *ret);
int32_t shms_sysv_shm_stat(int32_t index, int32_t any, struct shms_sysv_stat *ret);
