/* os.h: what the engine needs from the kernel. Only linux.c knows how to get it. */
#ifndef SHMS_OS_H
#define SHMS_OS_H

#include "base/atomic.h"

/* Nanoseconds since boot by the host's clock. A process in a time namespace sees another value and corrects it by its
 * offset, so an expiry means the same moment in every process. The clock never jumps, and counts while suspended. */
uint64_t shms_os_now(void);
/* Like shms_os_now, with the resolution of a tick (1 to 10 ms), at a sixth of the cost. Not corrected by the offset:
 * use it for differences only. */
uint64_t shms_os_now_coarse(void);
uint64_t shms_os_realtime(void);
uint32_t shms_os_seconds(void); /* since the epoch, modulo 2^32; about 2 ns */
/* Offset of this process's boot time in ns. Reads /proc once per process. */
int64_t shms_os_time_offset(void);
/* REQUIRES: called in a forked child. Discards what was read from /proc: the child may be in other namespaces. */
void shms_os_after_fork(void);

/* The identity of this process, in terms that another process can verify. */
struct shms_identity {
    uint32_t pid;
    uint64_t start_time;     /* clock ticks since boot by the host's clock; 0 = unknown */
    uint64_t pid_ns, net_ns; /* inodes; 0 = unknown */
};
/* Reads the parts that cannot change from /proc once per process. */
void shms_os_identity(struct shms_identity *me);
/* Namespaces of the calling thread, which may differ from those of its process; 0 = unknown. */
uint64_t shms_os_network_namespace(void);
uint64_t shms_os_ipc_namespace(void);
void shms_os_other_namespaces(uint64_t *ipc_ns, uint64_t *time_ns);

enum shms_life { SHMS_ALIVE, SHMS_GONE, SHMS_UNKNOWN };
/* Has the process that had `pid` and `start_time` in this pid namespace ended? A zombie without other threads has. A
 * stopped or traced process has not. Without an answer from /proc the result is SHMS_UNKNOWN, unless the kernel says
 * that no process has this id. */
enum shms_life shms_os_process_life(uint32_t pid, uint64_t start_time);
/* The kernel says that no process has this id. One cheap call. */
bool shms_os_no_such_process(uint32_t pid);
/* 1: the process maps System V segment `id`. 0: it does not, so it has called exec. -1: unknown. */
int shms_os_process_maps(uint32_t pid, int id);
/* The same for the file with this device and inode. */
int shms_os_process_maps_file(uint32_t pid, uint64_t device, uint64_t inode);
/* Copies the program's name to name[size]. False: it is unknown, and name is "?". */
bool shms_os_process_name(uint32_t pid, char *name, size_t size);

/* The liveness socket is an abstract socket. The kernel removes its name when the last descriptor is closed. So every
 * process in the same network namespace can see that its owner has ended, whatever pid namespace the owner is in. */
int shms_os_liveness_open(const uint8_t uuid[16], uint32_t client, uint64_t nonce);   /* a descriptor, or -1 */
int shms_os_liveness_exists(const uint8_t uuid[16], uint32_t client, uint64_t nonce); /* 1, 0, -1 unknown */
bool shms_os_descriptor_is_socket(int fd, uint64_t inode);
uint64_t shms_os_descriptor_inode(int fd);
void shms_os_close(int fd);

/* Sleeps while *word == value, for at most `nanoseconds`. A wake ends the sleep early. False: a signal ended it. */
bool shms_os_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds);
/* The same for several words: until one of them is woken or has another value than given. SHMS_OS_WORDS_MAX at most.
 * Only if shms_os_waits_for_several(). */
#define SHMS_OS_WORDS_MAX 128u
bool shms_os_futex_wait_any(_Atomic uint32_t *const *words, const uint32_t *values, uint32_t count,
                            uint64_t nanoseconds);
bool shms_os_waits_for_several(void);
void shms_os_futex_wake_all(_Atomic uint32_t *word);
void shms_os_yield(void);
void shms_os_nap(uint64_t nanoseconds);

/* A descriptor that an event loop can wait for, readable from shms_os_event_set to shms_os_event_clear. -1: there is none
 * to be had. */
int shms_os_event_open(void);
void shms_os_event_set(int fd);
void shms_os_event_clear(int fd);
/* A descriptor that is readable when the process has ended (pidfd, Linux 5.3); -1: there is none. */
int shms_os_process_open(uint32_t pid);
/* Until one of the descriptors is readable, or the time is up; UINT64_MAX: for ever. Sets readable[i] for each of them.
 * SHMS_OS_DESCRIPTORS_MAX at most. */
#define SHMS_OS_DESCRIPTORS_MAX 256u
void shms_os_await_readable(const int *fds, bool *readable, uint32_t count, uint64_t nanoseconds);
/* A thread that no signal handler runs in, and that nobody joins. False: there is none to be had. */
bool shms_os_thread(void *(*run)(void *), void *argument);

/* Gives whole pages back to the system. They read as zero afterwards. */
void shms_os_give_back(void *from, uint64_t bytes);
/* For `pages` pages of 4096 bytes from `from` on, the lowest bit of each byte says whether the page is in memory.
 * False: unknown. */
bool shms_os_resident(void *from, uint64_t pages, uint8_t *resident);
bool shms_os_random(void *to, size_t bytes);
/* May this process make a file of this size (ulimit -f)? Ask before making it: otherwise the kernel sends SIGXFSZ,
 * which ends a process that does not ignore it. */
bool shms_os_may_have_file(uint64_t bytes);

#endif
