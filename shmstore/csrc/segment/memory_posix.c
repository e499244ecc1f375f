/* memory_posix.c: POSIX shared memory: a file in /dev/shm, or, for a private store, a file without a name (memfd)
 *
 * WRITER  Creating: a file without a name (O_TMPFILE) gets its mode, its size, its first pages and the whole header.
 *   Then linkat gives it its name, and fails if the name exists. So a name leads to a finished store or to none, and of
 *   several creators one wins.
 *   Removing: under a lock, the name is compared with the open file and then unlinked. So two processes that remove the
 *   same store cannot remove the next store of that name.
 * CRASH  While creating: the kernel frees the file. Nothing needs to be taken over. While removing: the kernel drops
 *   the lock, and the name is there or not.
 * PAGES  The file is sparse. A missing page is committed by fallocate before it is touched, even for reading: a fault
 *   in a full /dev/shm would be SIGBUS. shms_commit in segment.h lists which code commits what.
 * GIVING BACK  A reader may still read a block that was freed a moment ago. If its pages had gone back, the read would
 *   fault in a new page, which kills the reader if /dev/shm is full. So pages go back only while no other process is
 *   attached. Otherwise the store keeps them for later puts.
 * LIMITS  A user who may write to the file may also truncate it, and then every process that uses it gets SIGBUS. This
 *   does not happen by accident. A private store is sealed against it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "os/compat.h"
#include "segment/descriptor.h"
#include "segment/memory.h"
#include "segment/request.h"

#define DIRECTORY "/dev/shm"
#define HUGE_SHIFT 26                                  /* MFD_HUGE_SHIFT */
#define RESIZED DIRECTORY "/.shmstore-resized-%016llx" /* what a resize makes, until it has the name of the store */
#define ACL "system.posix_acl_access"
#define ACL_MAX 65536
#define REMOVAL_TRIES 5000 /* with a millisecond between two */

static int result(struct shms_store *s, const char *call, bool well) {
    s->call = call;
    return well ? 0 : errno;
}

static void path_of(const struct shms_store *s, char path[sizeof DIRECTORY + 1 + SHMS_OBJECT_MAX]) {
    if (s->object[0] == '/') /* a private store of another process, by a path in /proc */
        snprintf(path, sizeof DIRECTORY + 1 + SHMS_OBJECT_MAX, "%s", s->object);
    else
        snprintf(path, sizeof DIRECTORY + 1 + SHMS_OBJECT_MAX, DIRECTORY "/%s", s->object);
}

/* Opens an ordinary file: 0 or an error number. Never blocks on a file of another type, a FIFO for example. */
static int open_path(struct shms_store *s, const char *path, bool readonly) {
    struct stat st;
    int follow = s->private_store ? 0 : O_NOFOLLOW;
    if ((follow ? lstat(path, &st) : stat(path, &st)) != 0)
        return errno;
    if (!S_ISREG(st.st_mode))
        return ENOEXEC;
    int fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | follow);
    if (fd < 0)
        return errno;
    shms_descriptor_keep(s, fd);
    return 0;
}

static int open_file(struct shms_store *s, bool readonly) {
    char path[sizeof DIRECTORY + 1 + SHMS_OBJECT_MAX];
    path_of(s, path);
    return open_path(s, path, readonly);
}

static int find(struct shms_store *s, const struct shms_open_request *a) {
    s->call = "shm_open";
    if (!a->object)
        return ENOENT; /* a private store is always new, unless a path leads to it */
    snprintf(s->object, sizeof s->object, "%s", a->object);
    return open_file(s, a->readonly);
}

/* With vm.memfd_noexec=2 the kernel refuses a memfd without MFD_NOEXEC_SEAL (EACCES). Older kernels do not know the
 * flag, and do not refuse. */
static int make_unnamed(uint64_t huge_page) {
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    if (huge_page)
        flags |= MFD_HUGETLB | (unsigned)__builtin_ctzll(huge_page) << HUGE_SHIFT;
    int fd = shms_memfd_create("shmstore", flags);
    return fd < 0 && errno == EACCES ? shms_memfd_create("shmstore", flags | MFD_NOEXEC_SEAL) : fd;
}

static int make(struct shms_store *s, const struct shms_open_request *a, uint64_t size) {
    int fd;
    if (s->private_store) {
        fd = make_unnamed(a->huge_page);
        s->call = a->huge_page ? "memfd_create(MFD_HUGETLB)" : "memfd_create";
    } else {
        fd = open(DIRECTORY, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        s->call = "open(O_TMPFILE)";
    }
    if (fd < 0)
        return errno;
    shms_descriptor_keep(s, fd);
    int rc = result(s, "fchmod", fchmod(fd, a->mode) == 0); /* the exact mode, without the umask */
    if (rc)
        return rc;
    s->call = "ftruncate";
    if (!shms_os_may_have_file(size))
        return EFBIG;
    return ftruncate(fd, (off_t)size) == 0 ? 0 : errno;
}

/* Proof that the store was removed. That its file cannot be opened is no proof: the process may be in a chroot, may be
 * another user by now, or may have no descriptor left. */
static bool another_has_its_name(const struct shms_store *s) {
    char path[sizeof DIRECTORY + 1 + SHMS_OBJECT_MAX];
    struct stat st;
    path_of(s, path);
    return lstat(path, &st) == 0 && (uint64_t)st.st_dev == s->device && (uint64_t)st.st_ino != s->inode;
}

static int64_t attached(struct shms_store *s) {
    int64_t others = shms_descriptor_others(s, 1 << 16);
    return others < 0 ? -1 : (s->base != NULL) + others;
}

static int state(struct shms_store *s, struct shms_memory_state *ret) {
    struct stat st;
    memset(ret, 0, sizeof *ret);
    if (!shms_descriptor_mine(s)) { /* another part of the program closed it, and it could not be opened again */
        ret->removed = !s->private_store && another_has_its_name(s);
        return 0;
    }
    if (fstat(s->fd, &st) != 0)
        return result(s, "fstat", false);
    *ret = (struct shms_memory_state){.known = true,
                                      .size = (uint64_t)st.st_size,
                                      .trusted_uid = st.st_uid,
                                      .uid = st.st_uid,
                                      .gid = st.st_gid,
                                      .mode = st.st_mode & 0777,
                                      .removed = st.st_nlink == 0 && s->named};
    return 0;
}

/* 0, ENOEXEC or another error number. Uses pread: a page of a file that is not a store must not be touched. */
static int look_for_magic(struct shms_store *s) {
    uint64_t magic = 0;
    ssize_t n = pread(s->fd, &magic, sizeof magic, 0);
    return n < 0 ? result(s, "pread", false) : n == sizeof magic && magic == SHMS_MAGIC ? 0 : ENOEXEC;
}

static int map(struct shms_store *s, const struct shms_open_request *a, uint64_t size, bool made) {
    struct statfs fs;
    int rc = made ? 0 : look_for_magic(s);
    if (rc)
        return rc;
    void *base = mmap(NULL, size, a->readonly ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    if (base == MAP_FAILED)
        return result(s, "mmap", false);
    s->base = base;
    s->size = size;
    /* Huge pages are reserved when the file is first mapped, so none can be missing later. */
    s->sparse = fstatfs(s->fd, &fs) != 0 || fs.f_type != HUGETLBFS_MAGIC;
    s->named = !s->private_store && !made;
    rc = shms_descriptor_renew(s);
    if (rc) {
        s->call = "open(/proc/self/fd)";
        return rc;
    }
    s->call = "fcntl(F_OFD_SETLK)";
    return shms_descriptor_attach(s);
}

static int publish(struct shms_store *s, const struct shms_open_request *a) {
    if (s->private_store)
        return result(s, "fcntl(F_ADD_SEALS)", fcntl(s->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    char from[40], path[sizeof DIRECTORY + 1 + SHMS_OBJECT_MAX];
    path_of(s, path);
    if (a->predecessor)
        snprintf(path, sizeof path, RESIZED, (unsigned long long)a->successor);
    snprintf(from, sizeof from, "/proc/self/fd/%d", s->fd);
    int rc = result(s, "linkat", linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0);
    if (rc == ENOENT) /* /proc is not mounted; a process with CAP_DAC_READ_SEARCH can do without it */
        rc = result(s, "linkat", linkat(s->fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0);
    s->named = rc == 0;
    return rc;
}

static void unmap(struct shms_store *s) {
    if (s->base)
        munmap(s->base, s->size);
    shms_descriptor_close(s);
    s->base = NULL;
}

/* A hole in the file is a page that is not in memory. mincore tells only users who may write to the file. */
static bool resident(struct shms_store *s, uint64_t offset, uint64_t pages, uint8_t *ret) {
    if (!s->sparse || !shms_descriptor_mine(s))
        return false;
    memset(ret, 0, pages);
    off_t end = (off_t)(offset + pages * SHMS_PAGE);
    for (off_t at = (off_t)offset, hole; at < end; at = hole) {
        at = lseek(s->fd, at, SEEK_DATA);
        if (at < 0 || at >= end)
            return at >= 0 || errno == ENXIO;
        if ((hole = lseek(s->fd, at, SEEK_HOLE)) < 0)
            return false;
        hole = hole < end ? hole : end;
        for (off_t page = at; page < hole; page += SHMS_PAGE)
            ret[(uint64_t)(page - (off_t)offset) / SHMS_PAGE] = 1;
    }
    return true;
}

static int unlink_mine(struct shms_store *s) {
    char path[sizeof DIRECTORY + 1 + SHMS_OBJECT_MAX];
    struct stat st;
    path_of(s, path);
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : result(s, "lstat", false);
    if ((uint64_t)st.st_dev != s->device || (uint64_t)st.st_ino != s->inode)
        return 0; /* it was removed before, and this is the next store of that name */
    return result(s, "shm_unlink", unlink(path) == 0 || errno == ENOENT);
}

/* The lock that keeps removers apart. ETIMEDOUT: one of them is stopped. */
static int lock_removal(struct shms_store *s) {
    int rc;
    for (int tries = 0; (rc = shms_descriptor_lock_removal(s)) == EAGAIN && tries < REMOVAL_TRIES; tries++)
        shms_os_nap(1000000);
    s->call = "fcntl(F_OFD_SETLK)";
    return rc == EAGAIN ? ETIMEDOUT : rc;
}

static int remove_file(struct shms_store *s) {
    if (!s->named)
        return 0;
    int rc = lock_removal(s);
    if (rc)
        return rc;
    rc = unlink_mine(s);
    shms_descriptor_unlock_removal(s);
    return rc;
}

/* ---- resizing. The new file first has a name of its own, with the number that the header of the old one gives. Renaming it
 * replaces the old one at once. Only one of several processes that rename it finds it. A file of such a name is touched only
 * if it has the uuid of this store. */

/* Does the file have the uuid of this store? */
static bool is_relative(const struct shms_store *s, const char *path) {
    uint8_t uuid[sizeof s->uuid];
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    bool same = fd >= 0 && pread(fd, uuid, sizeof uuid, offsetof(struct shms_header, uuid)) == (ssize_t)sizeof uuid &&
                memcmp(uuid, ((const struct shms_header *)s->base)->uuid, sizeof uuid) == 0;
    if (fd >= 0)
        close(fd);
    return same;
}

/* It may not have been renamed: by a reader, or because the directory entry is another user's. */
static int find_successor(struct shms_store *s, const struct shms_open_request *a, uint64_t successor) {
    char from[64];
    snprintf(from, sizeof from, RESIZED, (unsigned long long)successor);
    snprintf(s->object, sizeof s->object, "%s", a->object ? a->object : "");
    s->call = "shm_open";
    int error = open_path(s, from, a->readonly);
    return error == ENOENT ? open_file(s, a->readonly) : error;
}

/* With the lock, the name leads to the old file until the rename, or it does not lead there before. Then another process has
 * renamed it, so that `from` is gone; or the store was destroyed, and the name may be the next store's. A remover that is
 * stopped keeps the lock: it has yet to remove what has the name, the old file or the new one. */
static void settle(struct shms_store *s, uint64_t successor) {
    char from[64], to[sizeof DIRECTORY + 1 + SHMS_OBJECT_MAX];
    struct stat st;
    path_of(s, to);
    snprintf(from, sizeof from, RESIZED, (unsigned long long)successor);
    if (!is_relative(s, from))
        return;
    bool locked = lock_removal(s) == 0;
    if (lstat(to, &st) == 0 && (uint64_t)st.st_dev == s->device && (uint64_t)st.st_ino == s->inode)
        rename(from, to);
    else if (!is_relative(s, to))
        unlink(from);
    if (locked)
        shms_descriptor_unlock_removal(s);
}

static void discard(struct shms_store *s, uint64_t successor) {
    char path[64];
    snprintf(path, sizeof path, RESIZED, (unsigned long long)successor);
    if (is_relative(s, path))
        unlink(path);
}

static bool has_no_acl(int error) { return error == ENODATA || error == EOPNOTSUPP; }

/* *any: *from has an access control list, or it may have one. A new file may have one of the folder. */
static int inherit_acl(struct shms_store *s, const struct shms_store *from, bool *any) {
    void *acl = malloc(ACL_MAX);
    *any = true;
    if (!acl)
        return ENOMEM;
    ssize_t length = fgetxattr(from->fd, ACL, acl, ACL_MAX);
    int rc = result(s, "fgetxattr", length >= 0);
    if (has_no_acl(rc)) {
        *any = false;
        rc = result(s, "fremovexattr", fremovexattr(s->fd, ACL) == 0 || has_no_acl(errno));
    } else if (rc == 0)
        rc = result(s, "fsetxattr", fsetxattr(s->fd, ACL, acl, (size_t)length, 0) == 0);
    free(acl);
    return rc;
}

static int inherit(struct shms_store *s, const struct shms_store *from) {
    struct stat st;
    bool acl;
    s->call = "fstat";
    if (!shms_descriptor_mine(s) || !shms_descriptor_mine(from))
        return EBADF;
    if (fstat(from->fd, &st) != 0)
        return errno;
    int rc = inherit_acl(s, from, &acl), owned = fchown(s->fd, (uid_t)-1, st.st_gid) == 0 ? 0 : errno;
    if (owned && (acl || (st.st_mode >> 3 & 7) != (st.st_mode & 7))) {
        s->call = "fchown";
        return owned;
    }
    return rc ? rc : result(s, "fchmod", fchmod(s->fd, st.st_mode & 0777) == 0); /* with a list: the same once more */
}

static bool creator_gone(struct shms_store *s, const struct shms_memory_state *state) { return true; }

/* For an attachment without a descriptor: commits through the mapping. Where a touch would raise SIGBUS, madvise fails
 * with EFAULT. Linux before 5.14 does not have this advice (EINVAL). */
static bool commit_mapped(struct shms_store *s, uint64_t offset, uint64_t bytes) {
    uint64_t from = offset / SHMS_PAGE * SHMS_PAGE;
    while (madvise(s->base + from, offset + bytes - from, MADV_POPULATE_WRITE) != 0)
        if (errno != EINTR && errno != EAGAIN) {
            s->short_of = errno == EFAULT ? ENOSPC : errno;
            return false;
        }
    s->short_of = 0;
    return true;
}

/* If the kernel cannot allocate the whole range, it undoes what it allocated. A signal interrupts the call, too. Then
 * the range is halved, so that a process that gets signals at a high rate makes progress. */
static bool commit(struct shms_store *s, uint64_t offset, uint64_t bytes) {
    if (!shms_descriptor_mine(s))
        return commit_mapped(s, offset, bytes);
    for (uint64_t step = bytes; bytes;) {
        step = shms_min(step, bytes);
        if (fallocate(s->fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)step) == 0) {
            offset += step;
            bytes -= step;
        } else if (errno == EINTR)
            step = shms_max(step / 2, SHMS_PAGE);
        else {
            s->short_of = errno;
            return false;
        }
    }
    return true;
}

/* True only if no reader can be in memory that was freed: there is no other attachment, no other thread of this process
 * reads without the GIL, and no live client is left whose descriptor was closed by mistake. */
static bool may_give_back(struct shms_store *s) {
    if (shms_load_relaxed(&s->calls_without_gil) || !shms_descriptor_mine(s) || shms_descriptor_others(s, 1) != 0)
        return false;
    uint64_t high = shms_min(shms_load_relaxed(&s->header->clients_high), s->client_count);
    for (uint32_t i = 0; i < high; i++) {
        uint64_t w = shms_load_relaxed(&shms_client_at(s, i)->owner);
        if (SHMS_OWNER_STATE(w) == SHMS_CLIENT_LIVE && w != s->owner)
            return false;
    }
    return true;
}

/* Locks pages when they are first touched, so unused ones cost nothing. Lasts as long as this process's mapping. */
static int lock(struct shms_store *s) { return result(s, "mlock", shms_mlock2(s->base, s->size, MLOCK_ONFAULT) == 0); }

static void mark_again(struct shms_store *s) {
    if (!shms_descriptor_mine(s)) {
        uint64_t device = s->device, inode = s->inode;
        s->fd = -1;
        bool again = !s->private_store && open_file(s, s->readonly) == 0;
        if (again && (s->device != device || s->inode != inode)) {
            shms_descriptor_close(s);
            again = false;
        }
        s->device = device;
        s->inode = inode;
        if (!again) { /* there is no liveness lock now: others must not take its absence for a death */
            if (s->me)
                shms_store_relaxed(&s->me->liveness, 0);
            return;
        }
        shms_descriptor_attach(s);
        s->liveness_byte = 0;
    }
    if (s->me && !s->liveness_byte)
        shms_marked_again(s, shms_descriptor_mark(s, s->number, SHMS_OWNER_GENERATION(s->owner)));
}

static bool can_see_mark(struct shms_store *s, uint64_t net_ns) { return shms_descriptor_mine(s); }
static int maps(struct shms_store *s, uint32_t pid) { return shms_os_process_maps_file(pid, s->device, s->inode); }
static bool only_me(struct shms_store *s) { return false; } /* the liveness locks tell more */

const struct shms_memory shms_memory_posix = {
    find,
    make,
    state,
    attached,
    map,
    publish,
    unmap,
    remove_file,
    creator_gone,
    commit,
    resident,
    may_give_back,
    lock,
    shms_descriptor_mark,
    shms_descriptor_unmark,
    mark_again,
    shms_descriptor_marked,
    can_see_mark,
    maps,
    only_me,
    shms_descriptor_forked,
    find_successor,
    settle,
    discard,
    inherit,
    true,
};
