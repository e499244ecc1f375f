/* The control surface that cffi binds. Handles are numbers and are verified. Functions named shms_w_* may wait, and
 * release the GIL; all others keep it. Call shms_usable before shms_w_*, and again after SHMS_FORKED. Times are in ns,
 * sizes in bytes. */
struct shms_info {
    int32_t key, id;
    uint64_t size, max_entries, created, last_writer; /* last_writer: when a client came, left, or was found dead */
    uint32_t kernel_known; /* 0: the kernel does not tell this process; then the next four are zero */
    uint32_t mode, uid, gid, creator_uid;
    int64_t attached; /* -1: unknown */
    uint32_t creator_pid, format, name_kind, name_length, clients, readonly, backend, evicts;
    int32_t descriptor; /* POSIX: of the file; otherwise -1 */
    uint64_t segment_size, buckets, heap_bytes, incompatible, read_compatible, compatible;
    /* What the last process that attached with sizes asked for, where it differs from what the store has; else 0. */
    uint64_t requested_size, requested_max_entries, requested_max_clients, requested_at, requested_by;
    uint8_t uuid[16];
    char name[4096];
};
struct shms_stats {
    uint64_t entries, bytes_used, bytes_free, largest_free, hits, misses, puts, deletes, evictions, evicted_for_memory,
        evicted_for_entries, expirations, reader_retries, takeovers, clients, zombies, moves;
};
struct shms_client_info {
    uint32_t number, pid, state, alive, self; /* state: 1 claiming, 2 live, 3 dead; alive: 0 gone, 1 yes, 2 unknown */
    uint64_t attached;
    char program[32]; /* empty: unknown, or a process of another pid namespace */
};

/* ttl: of entries for which a call names none, 0 = never expires; codec: enum shms_codec. */
int shms_configure(int64_t handle, uint64_t timeout, uint64_t ttl, uint32_t codec);
int shms_w_destroy(int64_t handle);
/* After SHMS_SYSTEM from shms_w_destroy: the error number, and the name of the call that failed. */
int shms_refused(int64_t handle, char *call, uint32_t size);
/* Works also for a store that has been destroyed meanwhile. */
int shms_get_info(int64_t handle, struct shms_info *info);
/* A hit was a value that cannot be read: it becomes a miss. */
void shms_count_unreadable(int64_t handle);
int shms_get_stats(int64_t handle, struct shms_stats *stats);
/* Free blocks that this process keeps for its next puts become free for all, and empty spans are closed. */
void shms_give_up_hints(int64_t handle);
/* Fills up to `room` clients, from the slot *from on, and moves *from. Returns how many, or a status. Less than room: there
 * are no more. Asking whether one is alive takes some system calls. */
int64_t shms_get_clients(int64_t handle, uint32_t *from, struct shms_client_info *clients, uint32_t room);
/* Fills the buffer with the next keys of all in the slots before `end`, each with version and expiry (walk.h). */
int shms_next_versions(int64_t handle, uint64_t *cursor, uint64_t end, uint8_t *buffer, uint64_t capacity,
                       uint64_t *filled);
/* SHMS_OK, or SHMS_CORRUPT with the broken invariant in `what`. */
int shms_w_check(int64_t handle, char *what, uint32_t size);
/* One step of a repair: SHMS_AGAIN, call again; SHMS_BUSY, a lock is held, nap and call again; SHMS_OK, it is done. */
int shms_repair_some(int64_t handle, struct shms_repair *repair);
/* One step of a compaction: SHMS_AGAIN, call again; SHMS_BUSY, nap and call again; SHMS_OK, it is done. Whatever came of
 * it, shms_compact_leave lets go of what it holds. */
int shms_compact_some(int64_t handle, struct shms_compaction *compaction);
void shms_compact_leave(int64_t handle, struct shms_compaction *compaction);
/* A resize: shms_resize_start checks the size that the request says, and fills *resizing, which was NULL; shms_w_resize makes the
 * new segment, and is repeated while it returns SHMS_AGAIN, and the store is resized after SHMS_OK; shms_resize_leave ends it,
 * and gives it up if it is not done. Request and result must exist until then. SHMS_BUSY from either: another process resizes, or
 * made this one give up: begin again. */
int shms_resize_start(int64_t handle, const struct shms_open_request *request, struct shms_open_result *result,
                      void **resizing);
int shms_w_resize(void *resizing);
void shms_resize_leave(void **resizing);
int64_t shms_w_recover(int64_t handle);
/* Sweeps some pages of the table from *page on; UINT64_MAX: it is over. *gone: the number of expired entries removed.
 * SHMS_BUSY: a lock was held by another process, so *page stays and some entries with it. */
int shms_expire_due(int64_t handle, uint64_t *page, uint64_t *gone);
int shms_w_wait(int64_t handle, const char *key, uint32_t length, uint32_t kind, uint32_t has_after, uint64_t after,
                uint64_t nanoseconds, uint64_t spin, uint64_t *version);
/* Waiting for many keys in an event loop (hear.c). Opens a descriptor, unless *fd is one; -1: there is none to
 * be had. */
void shms_event_open(int *fd);
void shms_event_close(int *fd);
/* It is not readable until the next event. */
void shms_event_clear(int fd);
/* The descriptor becomes readable when a bucket has changed for which a waiter was announced, about once a second otherwise,
 * and when the handle is closed, which ends the listening. SHMS_OK, SHMS_NO_MEMORY, or what makes the handle unusable. */
int shms_listen(int64_t handle, int fd, uint32_t *rings);
void shms_unlisten(int64_t handle, int fd);
/* Fills buckets[64] with what has changed since *rings: how many. -1: anything may have changed, also the handle. */
int shms_heard(int64_t handle, uint32_t *rings, uint32_t *buckets);
struct shms_announced {
    uint64_t version, left; /* left: look again after so many ns; 0: not without being told */
    uint32_t bucket, count;
    uint32_t tagged; /* an eviction may end it: then anything may have changed */
};
/* One look. SHMS_OK: the version. SHMS_AGAIN: the next change of the bucket is told. Otherwise what makes the handle
 * unusable. */
int shms_announce(int64_t handle, const char *key, uint32_t length, uint32_t kind, uint32_t has_after, uint64_t after,
                  struct shms_announced *answer);
/* Threads that wait for the death of an owner (deaths.h): *watch was 0; it stays 0 if nobody can tell of it. */
uint32_t shms_pokes_now(void);
void shms_watch(int64_t handle, const char *owner, uint32_t length, uint32_t *watch);
void shms_unwatch(uint32_t *watch);
/* Keeps those of the buckets whose count is another one: how many. -1: the handle is unusable. */
int64_t shms_moved(int64_t handle, uint32_t *buckets, const uint32_t *counts, uint32_t count);
/* The client that held the lock for which an operation last waited in vain. 0: none is known. 2: it has left since, and
 * only its process id is told. 1: it is still there. */
uint32_t shms_lock_holder(int64_t handle, struct shms_client_info *holder);
/* 1 if there is something new since the last call: deaths that this handle has recovered, and the process id of the
 * last dead client. */
uint32_t shms_has_events(int64_t handle);
uint32_t shms_take_events(int64_t handle, uint64_t *deaths, uint32_t *pid);
/* Why the last page that was needed could not be committed: an error number; 0: none failed. */
int shms_short_of(int64_t handle);
/* SHMS_OK, SHMS_CLOSED or SHMS_DESTROYED: by the segment, or by what the kernel says now. In a forked child either one
 * makes the handle a client of its own, which shms_w_* cannot do. */
int shms_usable(int64_t handle);
int shms_revalidate_now(int64_t handle);
uint64_t shms_now(void);
/* For tests that overwrite bytes: the memory that a handle has attached, and its size; NULL if closed. */
uint8_t *shms_memory(int64_t handle, uint64_t *size);
/* The key_t of a str name: SipHash-1-3 under the fixed key "shmstore", "key_t   ". Never 0 or -1. */
int32_t shms_key_of_name(const char *name, uint32_t length);
/* SipHash-1-3, for the test vectors of docs/format.md. */
uint64_t shms_hash(const char *data, uint32_t length, uint64_t k0, uint64_t k1);
