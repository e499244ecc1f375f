/* What is asked for when a store is opened (request), and what was found (result). Times in ns, sizes in bytes. */
enum shms_backend { SHMS_BACKEND_SYSV = 0, SHMS_BACKEND_POSIX = 1 };
struct shms_open_request {
    int32_t key;
    uint32_t name_kind; /* 1 str, 2 int, 3 path, 4 private */
    uint32_t name_length;
    uint32_t create; /* 0 open or create, 1 must create, 2 must exist */
    uint64_t size;
    uint64_t max_entries; /* 0: from the size */
    uint64_t max_clients; /* 0: the default; else it is compared, too */
    uint32_t evicts;      /* 1: a cache, which evicts entries when it is full. Must be that of an existing store */
    uint32_t mode;
    uint32_t size_given, entries_given; /* 1: is compared with that of an existing store, for `differs` */
    uint32_t mode_given;                /* 1: must equal that of an existing store */
    uint32_t readonly;
    int64_t owner; /* trusted users: -1 the effective uid and root, -2 every user, else this uid as well */
    uint64_t timeout;
    uint32_t uuid_given;
    uint8_t uuid[16]; /* only this store */
    const char *name;
    uint32_t backend;   /* enum shms_backend */
    int32_t id;         /* of a private System V store; -1: a new one */
    const char *object; /* POSIX: the file in /dev/shm, or the path to a private one; NULL: a new private one */
    uint64_t huge_page; /* the size of a huge page to use; 0: ordinary pages */
    uint32_t prefault, lock_memory;
    uint32_t follows; /* 1: the handle in whose place this one comes was of the same store before it was resized */
    uint32_t follows_number; /* the client slot that it had there; 0: none */
    uint64_t follows_owner;  /* and its owner word */
    const void *predecessor; /* the header of the segment that is being resized; NULL: a new store */
    uint64_t successor;      /* with it: the number of the new segment, as that header notes it */
    uint32_t shares;         /* 1: use this process's client slot, if it has one */
};
struct shms_open_result {
    int32_t error; /* errno, with SHMS_SYSTEM */
    int32_t id;
    uint32_t uid, mode, pid;
    uint64_t size;                                 /* of the segment that was found, or was to be made */
    uint64_t store_size, max_entries, max_clients; /* what its creator asked for */
    uint64_t minimum;
    uint32_t differs; /* what was asked for and is not what the creator chose: 1 size, 2 max_entries, 4 max_clients */
    uint32_t format, name_kind, name_length;
    uint64_t incompatible, read_compatible;
    uint32_t only_read; /* 1: a feature that this build does not know allows only reading */
    uint32_t created;
    uint8_t uuid[16];
    char name[4096];
    char what[64]; /* the call or field concerned */
};
