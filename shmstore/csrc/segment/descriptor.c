/* descriptor.c: the contract is in descriptor.h. */
#include "segment/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/compat.h"
#include "segment/attachments.h"

#define LIVENESS_BYTES (1ll << 62)
#define ATTACHED (1ll << 61)
#define ATTACHED_BYTES (1ll << 32)
#define REMOVAL (1ll << 60)

/* Takes or releases a lock on one byte: 0 or an error number. EAGAIN: another description holds a lock on it. */
static int set_lock(const struct shms_store *s, short type, int64_t byte) {
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    if (!shms_descriptor_mine(s))
        return EBADF;
    return fcntl(s->fd, F_OFD_SETLK, &l) == 0 ? 0 : errno == EACCES ? EAGAIN : errno;
}

/* Finds a lock that another description holds in these bytes: 1 and the lock in *l, 0 none, -1 unknown. */
static int get_lock(const struct shms_store *s, int64_t byte, int64_t bytes, struct flock *l) {
    *l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = bytes};
    if (!shms_descriptor_mine(s) || fcntl(s->fd, F_OFD_GETLK, l) != 0)
        return -1;
    return l->l_type != F_UNLCK;
}

void shms_descriptor_keep(struct shms_store *s, int fd) {
    struct stat st;
    bool known = fstat(fd, &st) == 0;
    s->device = known ? (uint64_t)st.st_dev : 0;
    s->inode = known ? (uint64_t)st.st_ino : 0;
    s->fd = fd;
    shms_attachments_lose(s, fd);
}

bool shms_descriptor_mine(const struct shms_store *s) {
    struct stat st;
    return s->fd >= 0 && fstat(s->fd, &st) == 0 && (uint64_t)st.st_dev == s->device && (uint64_t)st.st_ino == s->inode;
}

void shms_descriptor_close(struct shms_store *s) {
    if (shms_descriptor_mine(s))
        close(s->fd);
    s->fd = -1;
}

/* Runs in the child of a process with threads, so it calls only what is safe there. */
int shms_descriptor_renew(struct shms_store *s) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", s->fd);
    int fd = open(path, (fcntl(s->fd, F_GETFL) & O_ACCMODE) | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = dup3(fd, s->fd, O_CLOEXEC) < 0 ? errno : 0; /* closes the old one in the same step */
    close(fd);
    return error;
}

/* Each attachment locks another byte, so that they can be counted. Two that choose the same byte count as one. */
int shms_descriptor_attach(struct shms_store *s) {
    uint32_t byte = 0;
    shms_os_random(&byte, sizeof byte);
    return set_lock(s, F_RDLCK, ATTACHED + byte);
}

/* Counts bytes that others hold, from the lowest on. get_lock returns any of the locks in a range, not the first. So
 * the inner loop shortens the range until no lock is left before the one it has. Between two calls attachments may come
 * and go: the count is a snapshot of no exact moment. */
int64_t shms_descriptor_others(const struct shms_store *s, uint32_t enough) {
    struct flock l;
    uint32_t count = 0;
    int there = 1;
    for (int64_t at = 0; at < ATTACHED_BYTES && count < enough; count++) {
        int64_t from = at;
        if ((there = get_lock(s, ATTACHED + from, ATTACHED_BYTES - from, &l)) <= 0)
            break;
        if (count + 1 == enough)
            return enough;
        /* Is there another one before the lock that was returned? */
        int64_t met = l.l_start - ATTACHED;
        while (met > from && (there = get_lock(s, ATTACHED + from, met - from, &l)) > 0)
            met = l.l_start - ATTACHED;
        at = met + 1;
    }
    return there < 0 ? -1 : (int64_t)count;
}

int shms_descriptor_lock_removal(struct shms_store *s) { return set_lock(s, F_WRLCK, REMOVAL); }
void shms_descriptor_unlock_removal(struct shms_store *s) { set_lock(s, F_UNLCK, REMOVAL); }

static int64_t liveness_byte(uint32_t number, uint32_t generation) {
    return LIVENESS_BYTES + ((int64_t)number << 16) + (generation & 0xffff);
}

bool shms_descriptor_mark(struct shms_store *s, uint32_t number, uint32_t generation) {
    int64_t byte = liveness_byte(number, generation);
    if (set_lock(s, F_WRLCK, byte) != 0)
        return false;
    s->liveness_byte = byte;
    return true;
}

void shms_descriptor_unmark(struct shms_store *s) {
    if (s->liveness_byte)
        set_lock(s, F_UNLCK, s->liveness_byte);
    s->liveness_byte = 0;
}

int shms_descriptor_marked(struct shms_store *s, uint32_t number, uint32_t generation) {
    struct flock l;
    return get_lock(s, liveness_byte(number, generation), 1, &l);
}

void shms_descriptor_forked(struct shms_store *s) {
    s->liveness_byte = 0; /* it was the parent's */
    if (!shms_descriptor_mine(s) || shms_descriptor_renew(s) != 0)
        shms_descriptor_close(s);
    else
        shms_descriptor_attach(s);
}
