/* The control surface that cffi binds. Handles are numbers, checked; functions named shms_w_* may wait and give
 * the GIL up, all others keep it. Before shms_w_* call shms_usable, and again after SHMS_FORKED. Times are in nanoseconds, sizes in bytes. */
struct shms_info {
    int32_t key, id;
    uint64_t size, max_entries, created, last_writer; /* last_writer: when a client came, left, or was found dead */
    uint32_t kernel_known;    /* mode, uid, gid and creator_uid are the kernel's word; 0: it does not tell this process */
    uint32_t mode, uid, gid, creator_uid;
    int64_t attached;         /* -1: cannot be told */
    uint32_t creator_pid, format, name_kind, name_length, arenas, clients, readonly, backend;
    int32_t descriptor; /* POSIX: of the file; -1 */
    uint64_t buckets, arena_size, incompatible, read_compatible, compatible;
    uint8_t uuid[16];
    char name[4096];
};
struct shms_stats {
    uint64_t entries, bytes_used, bytes_free, largest_free, hits, misses, puts, deletes, evictions, expirations,
        reader_retries, takeovers, clients, zombies;
};
struct shms_client_info {
    uint32_t number, pid, state, alive, self; /* state: 1 claiming, 2 live, 3 dead; alive: 0 gone, 1 yes, 2 unknown */
    uint64_t attached;
    char program[32]; /* empty: cannot be told, or no process of this pid namespace */
};

/* Two steps, because only the second keeps the GIL: NULL with a status, or what shms_adopt makes
 * a handle > 0 (or a status) of. */
void *shms_w_open(const struct shms_open_request *request, struct shms_open_result *result, int *status);
int64_t shms_adopt(void *opened);
/* ttl: what entries get when a call says nothing, 0 = for ever; codec: enum shms_codec. */
int shms_configure(int64_t handle, uint64_t timeout, uint64_t ttl, uint32_t codec);
/* No further call gets in; the last one that is inside detaches. */
void shms_close(int64_t handle);
/* At the process's end: gives the place in the registry up, if nothing is in hand. The handle stays usable, for
 * threads that do not know yet: their next call takes another place. */
void shms_leave(int64_t handle);
int shms_w_destroy(int64_t handle);
/* After SHMS_SYSTEM from shms_w_destroy: the error number, and which call it is of. */
int shms_refused(int64_t handle, char *call, uint32_t size);
/* Also of a store that was destroyed meanwhile. */
int shms_get_info(int64_t handle, struct shms_info *info);
int shms_get_stats(int64_t handle, struct shms_stats *stats);
/* Up to `room` clients; how many there are, or a status. */
int64_t shms_get_clients(int64_t handle, struct shms_client_info *clients, uint32_t room);
/* Unexpired entries, or a status; any: stop at the first. */
int64_t shms_count_entries(int64_t handle, uint32_t any);
/* kind: 0 str names, 8 bytes names, 0xffffffff all. */
int shms_next_keys(int64_t handle, uint64_t *cursor, const char *prefix, uint32_t prefix_length, uint32_t kind,
                    uint8_t *buffer, uint64_t capacity, uint64_t *filled);
/* As shms_next_names of all names in the slots before `end`, each with version and expiry (walk.h). */
int shms_next_versions(int64_t handle, uint64_t *cursor, uint64_t end, uint8_t *buffer, uint64_t capacity,
                       uint64_t *filled);
/* SHMS_OK, or SHMS_CORRUPT with the invariant in `what`. */
int shms_w_check(int64_t handle, uint64_t timeout, char *what, uint32_t size);
/* *lost: entries that could not be kept. */
int shms_w_repair(int64_t handle, uint64_t timeout, uint64_t *lost);
int64_t shms_w_recover(int64_t handle);
int shms_w_wait(int64_t handle, const char *name, uint32_t length, uint32_t kind, uint32_t has_after, uint64_t after,
                uint64_t nanoseconds, uint64_t spin, uint64_t *version);
/* Ends a view, also of a handle that was closed meanwhile. */
void shms_view_end(int64_t handle, uint32_t pin, uint64_t owner);
/* Who held the lock that an operation last gave up waiting for: his process id or 0, and his program. */
uint32_t shms_lock_holder(int64_t handle, char *program, uint32_t size);
/* 1 if there is something that was not asked for yet: deaths dealt with by this handle so far, arenas rebuilt, and
 * the last one's process id. */
uint32_t shms_has_events(int64_t handle);
uint32_t shms_take_events(int64_t handle, uint64_t *deaths, uint64_t *rebuilds, uint32_t *pid);
/* The error number for which the last page that was needed could not be had; 0: it was not for that. */
int shms_short_of(int64_t handle);
/* SHMS_OK, SHMS_CLOSED or SHMS_DESTROYED: by what the segment says; and by what the kernel says now. In a forked
 * child either makes the handle a client of its own, which shms_w_* do not. */
int shms_usable(int64_t handle);
int shms_revalidate_now(int64_t handle);
uint64_t shms_now(void);
/* The first n bytes of memory that a handle has attached, for tests that scribble; NULL if closed. */
uint8_t *shms_memory(int64_t handle, uint64_t *size);
/* key_t of a str name: SipHash-1-3 under the fixed key "shmstore", "key_t   "; never 0 or -1. */
int32_t shms_key_of_name(const char *name, uint32_t length);
/* SipHash-1-3, for the test vectors of docs/format.md. */
uint64_t shms_hash(const char *data, uint32_t length, uint64_t k0, uint64_t k1);
