/* linux.c: os.h for Linux */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "os/compat.h"

#define NS 1000000000ll

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

/* What is read from /proc once per process. A process cannot move to another time or pid namespace, but its children
 * can be in another one, so a forked child reads again. Several threads may read at once; they store equal values. */
static _Atomic int64_t time_offset = INT64_MIN; /* INT64_MIN: not read yet */
static _Atomic int proc_is_mine = -1;           /* -1: not read yet */

static _Atomic uint32_t known_pid; /* the process whose identity is in known_start and known_pid_ns; 0 = none */

void shms_os_after_fork(void) {
    shms_store_relaxed(&time_offset, INT64_MIN);
    shms_store_relaxed(&proc_is_mine, -1);
    shms_store_relaxed(&known_pid, 0); /* a descendant may get the same process id again */
}

/* Does /proc show the pid namespace of this process? It may be mounted for another one (unshare --pid without
 * --mount-proc, or a container that mounts the host's). Then a process id in it belongs to another process. */
static bool proc_counts_as_i_do(void) {
    int known = shms_load_relaxed(&proc_is_mine);
    if (known < 0) {
        char self[32] = {0};
        ssize_t n = readlink("/proc/self", self, sizeof self - 1);
        known = n > 0 && strtol(self, NULL, 10) == (long)getpid();
        shms_store_relaxed(&proc_is_mine, known);
    }
    return known;
}

#define FIRST_TIME_NS 0xEFFFFFFAu /* inode of the initial time namespace, the same on every Linux; it has no offset */

static uint64_t namespace_inode(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 ? (uint64_t)s.st_ino : 0;
}

uint64_t shms_os_network_namespace(void) { return namespace_inode("/proc/thread-self/ns/net"); }
uint64_t shms_os_ipc_namespace(void) { return namespace_inode("/proc/thread-self/ns/ipc"); }

int64_t shms_os_time_offset(void) {
    int64_t known = shms_load_relaxed(&time_offset);
    if (known != INT64_MIN)
        return known;
    known = 0;
    uint64_t mine = namespace_inode("/proc/self/ns/time");
    /* The file shows the offsets of the namespace that children will be in. It is ours only if both are the same. */
    FILE *f = mine == FIRST_TIME_NS ? NULL : fopen("/proc/self/timens_offsets", "re");
    if (f) {
        char line[128];
        long long seconds, nanoseconds;
        while (fgets(line, sizeof line, f))
            if (sscanf(line, "boottime %lld %lld", &seconds, &nanoseconds) == 2)
                known = seconds * NS + nanoseconds;
        fclose(f);
        if (mine != namespace_inode("/proc/self/ns/time_for_children"))
            known = 0;
    }
    shms_store_relaxed(&time_offset, known);
    return known;
}

uint64_t shms_os_now(void) { return clock_ns(CLOCK_BOOTTIME) - (uint64_t)shms_os_time_offset(); }
uint64_t shms_os_now_coarse(void) { return clock_ns(CLOCK_MONOTONIC_COARSE); }
uint64_t shms_os_realtime(void) { return clock_ns(CLOCK_REALTIME); }
uint32_t shms_os_seconds(void) { return (uint32_t)time(NULL); }

/* Reads state, threads and start time from /proc/<pid>/stat. The program's name may contain any byte, so the fields
 * are counted from the last parenthesis. */
static bool read_stat(const char *path, char *state, long *threads, uint64_t *start) {
    char text[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    char *p = strrchr(text, ')');
    unsigned long long ticks;
    if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu", state,
                     threads, &ticks) != 3)
        return false;
    long hertz = sysconf(_SC_CLK_TCK);
    *start = (uint64_t)((int64_t)ticks - shms_os_time_offset() / (NS / hertz));
    return true;
}

/* The start time and pid namespace of a process do not change. Reading them costs a tenth of a millisecond in a fresh
 * process. known_pid is stored last, with release: a thread that loads it (acquire) sees the other two. */
static _Atomic uint64_t known_start, known_pid_ns;

void shms_os_identity(struct shms_identity *me) {
    char state;
    long threads;
    me->pid = (uint32_t)getpid();
    me->net_ns = shms_os_network_namespace();
    if (shms_load_acquire(&known_pid) == me->pid) {
        me->start_time = shms_load_relaxed(&known_start);
        me->pid_ns = shms_load_relaxed(&known_pid_ns);
        return;
    }
    if (!read_stat("/proc/self/stat", &state, &threads, &me->start_time))
        me->start_time = 0;
    me->pid_ns = namespace_inode("/proc/self/ns/pid");
    if (me->start_time && me->pid_ns) {
        shms_store_relaxed(&known_start, me->start_time);
        shms_store_relaxed(&known_pid_ns, me->pid_ns);
        shms_store_release(&known_pid, me->pid);
    }
}

void shms_os_other_namespaces(uint64_t *ipc_ns, uint64_t *time_ns) {
    *ipc_ns = namespace_inode("/proc/self/ns/ipc");
    *time_ns = namespace_inode("/proc/self/ns/time");
}

/* kill with signal 0 sends nothing. EPERM means that the process exists. */
bool shms_os_no_such_process(uint32_t pid) {
    return pid > 0 && pid <= INT32_MAX && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

enum shms_life shms_os_process_life(uint32_t pid, uint64_t start_time) {
    char path[64], state;
    long threads;
    uint64_t start;
    if (shms_os_no_such_process(pid))
        return SHMS_GONE;
    if (pid == 0 || pid > INT32_MAX)
        return SHMS_UNKNOWN;
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    if (!proc_counts_as_i_do() || !read_stat(path, &state, &threads, &start))
        /* /proc hides the process, or it has ended since. Only the kernel's own answer counts. */
        return shms_os_no_such_process(pid) ? SHMS_GONE : SHMS_UNKNOWN;
    if ((state == 'Z' || state == 'X') && threads <= 1)
        return SHMS_GONE;
    if (start_time == 0)
        return SHMS_UNKNOWN;
    /* The offset of a time namespace may not be a multiple of a tick. Then two readers round differently, by one. */
    uint64_t difference = start > start_time ? start - start_time : start_time - start;
    return difference <= 1 ? SHMS_ALIVE : SHMS_GONE;
}

/* Searches the memory map of a process: 1 found, 0 not there, -1 unknown. A map without
 * lines is unknown, too. */
static int process_maps(uint32_t pid, bool sysv, uint64_t device, uint64_t inode) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%u/maps", pid);
    FILE *f = proc_counts_as_i_do() ? fopen(path, "re") : NULL;
    if (!f)
        return -1;
    int found = 0, lines = 0;
    while (!found && fgets(line, sizeof line, f)) {
        unsigned on_major, on_minor;
        unsigned long long at;
        lines++;
        /* The map lists a System V segment as /SYSV<key>, with its identifier in the inode column. */
        if (sscanf(line, "%*s %*s %*s %x:%x %llu", &on_major, &on_minor, &at) == 3 && at == inode)
            found = sysv ? strstr(line, "/SYSV") != NULL : makedev(on_major, on_minor) == device;
    }
    fclose(f);
    return found ? 1 : lines ? 0 : -1;
}

int shms_os_process_maps(uint32_t pid, int id) { return process_maps(pid, true, 0, (uint64_t)id); }

int shms_os_process_maps_file(uint32_t pid, uint64_t device, uint64_t inode) {
    return process_maps(pid, false, device, inode);
}

/* The name is for messages only: nothing is decided by it. */
bool shms_os_process_name(uint32_t pid, char *name, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/comm", pid);
    int fd = proc_counts_as_i_do() ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, name, size - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0) {
        snprintf(name, size, "?");
        return false;
    }
    name[n] = 0;
    name[strcspn(name, "\n")] = 0;
    return true;
}

/* The address begins with a zero byte, which makes it abstract: it is a name in the network namespace, not a file. */
static socklen_t liveness_address(struct sockaddr_un *a, const uint8_t uuid[16], uint32_t client, uint64_t nonce) {
    static const char digits[] = "0123456789abcdef";
    char hex[33] = {0};
    for (int i = 0; i < 16; i++) {
        hex[2 * i] = digits[uuid[i] >> 4];
        hex[2 * i + 1] = digits[uuid[i] & 15];
    }
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    int n = snprintf(a->sun_path + 1, sizeof a->sun_path - 1, "shmstore/%s/%u/%016llx", hex, client,
                     (unsigned long long)nonce);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

int shms_os_liveness_open(const uint8_t uuid[16], uint32_t client, uint64_t nonce) {
    struct sockaddr_un a;
    socklen_t n = liveness_address(&a, uuid, client, nonce);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&a, n) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Connecting a datagram socket sends nothing. It fails with ECONNREFUSED if no socket has the name. */
int shms_os_liveness_exists(const uint8_t uuid[16], uint32_t client, uint64_t nonce) {
    struct sockaddr_un a;
    socklen_t n = liveness_address(&a, uuid, client, nonce);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int seen = connect(fd, (struct sockaddr *)&a, n) == 0 ? 1 : errno == ECONNREFUSED ? 0 : -1;
    close(fd);
    return seen;
}

uint64_t shms_os_descriptor_inode(int fd) {
    struct stat s;
    return fd >= 0 && fstat(fd, &s) == 0 ? (uint64_t)s.st_ino : 0;
}

bool shms_os_descriptor_is_socket(int fd, uint64_t inode) {
    struct stat s;
    return fd >= 0 && fstat(fd, &s) == 0 && S_ISSOCK(s.st_mode) && (uint64_t)s.st_ino == inode;
}

void shms_os_close(int fd) {
    if (fd >= 0)
        close(fd);
}

/* Not FUTEX_PRIVATE: the sleepers are in different processes. EAGAIN (the value has changed) and ETIMEDOUT end the
 * sleep in the ordinary way; only EINTR means a signal. */
bool shms_os_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds) {
    struct timespec t = {(time_t)(nanoseconds / NS), (long)(nanoseconds % NS)};
    return syscall(SYS_futex, word, FUTEX_WAIT, value, &t, NULL, 0) == 0 || errno != EINTR;
}

/* A kernel that knows the call refuses an empty list; a filter of system calls may refuse every list. */
bool shms_os_waits_for_several(void) { return shms_futex_waitv(NULL, 0, NULL) < 0 && errno == EINVAL; }

/* EFAULT, too, ends the sleep: the memory of a word may be unmapped meanwhile. */
bool shms_os_futex_wait_any(_Atomic uint32_t *const *words, const uint32_t *values, uint32_t count,
                            uint64_t nanoseconds) {
    struct shms_futex_waitv waits[SHMS_OS_WORDS_MAX];
    for (uint32_t i = 0; i < count; i++)
        waits[i] = (struct shms_futex_waitv){values[i], (uint64_t)(uintptr_t)words[i], SHMS_FUTEX_32, 0};
    uint64_t until = clock_ns(CLOCK_MONOTONIC) + nanoseconds;
    struct timespec t = {(time_t)(until / NS), (long)(until % NS)};
    return shms_futex_waitv(waits, count, &t) >= 0 || errno != EINTR;
}

int shms_os_event_open(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
/* It fails only if 2^64 sets were not read. */
void shms_os_event_set(int fd) {
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0)
        return;
}

void shms_os_event_clear(int fd) {
    uint64_t sets;
    if (read(fd, &sets, sizeof sets) < 0)
        return; /* it was clear */
}

int shms_os_process_open(uint32_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

void shms_os_await_readable(const int *fds, bool *readable, uint32_t count, uint64_t nanoseconds) {
    struct pollfd polled[SHMS_OS_DESCRIPTORS_MAX];
    for (uint32_t i = 0; i < count; i++)
        polled[i] = (struct pollfd){fds[i], POLLIN, 0};
    int ready = poll(polled, count, nanoseconds == UINT64_MAX ? -1 : (int)(nanoseconds / 1000000));
    for (uint32_t i = 0; i < count; i++)
        readable[i] = ready > 0 && (polled[i].revents & POLLIN);
}

bool shms_os_thread(void *(*run)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it */
    bool made = pthread_create(&thread, &attributes, run, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return made;
}

void shms_os_futex_wake_all(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0); }
void shms_os_yield(void) { sched_yield(); }

void shms_os_nap(uint64_t nanoseconds) {
    struct timespec t = {(time_t)(nanoseconds / NS), (long)(nanoseconds % NS)};
    nanosleep(&t, NULL);
}

/* MADV_REMOVE frees the pages of the segment itself, for every process, not only this process's view of them. */
void shms_os_give_back(void *from, uint64_t bytes) { madvise(from, bytes, MADV_REMOVE); }

bool shms_os_resident(void *from, uint64_t pages, uint8_t *resident) {
    return sysconf(_SC_PAGESIZE) == 4096 && mincore(from, pages * 4096, resident) == 0;
}

bool shms_os_may_have_file(uint64_t bytes) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur;
}

bool shms_os_random(void *to, size_t bytes) {
    uint8_t *p = to;
    while (bytes) {
        ssize_t n = shms_getrandom(p, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        bytes -= (size_t)n;
    }
    return true;
}
