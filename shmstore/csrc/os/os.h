/* os.h: what the engine asks of the kernel; os_linux.c is the only file that knows how. */
#ifndef SHMS_OS_H
#define SHMS_OS_H

#include "base/atomic.h"

/* Nanoseconds since boot by the host's clock: a process in a time namespace sees another value and corrects it
 * by its offset, so that expiries mean the same to everybody. Never jumps, counts while suspended. */
uint64_t shms_os_now(void);
/* The same to a tick (1 to 10 ms), for a sixth of the price; not corrected: for differences only. */
uint64_t shms_os_now_coarse(void);
uint64_t shms_os_realtime(void);
/* This process's boot time offset in ns; reads /proc, once per process. */
int64_t shms_os_time_offset(void);
/* In a forked child: it may be in another time namespace. */
void shms_os_after_fork(void);

/* Who this process is, in terms that another one can check. */
struct shms_identity {
    uint32_t pid;
    uint64_t start_time; /* clock ticks since boot, host's clock; 0 = unknown */
    uint64_t pid_ns, net_ns; /* inodes; 0 = unknown */
};
/* What cannot change is read from /proc once per process. */
void shms_os_identity(struct shms_identity *me);
/* Those that the calling thread is in now, which need not be its process's: 0 = unknown. */
uint64_t shms_os_network_namespace(void);
uint64_t shms_os_ipc_namespace(void);
void shms_os_other_namespaces(uint64_t *ipc_ns, uint64_t *time_ns);

enum shms_life { SHMS_ALIVE, SHMS_GONE, SHMS_UNKNOWN };
/* Is the process that had `pid` and `start_time` in my pid namespace gone? A zombie whose threads all ended is;
 * a stopped or traced process is not; if /proc does not tell, it is UNKNOWN, unless the kernel knows no such pid. */
enum shms_life shms_os_process_life(uint32_t pid, uint64_t start_time);
/* The kernel knows no such process: one cheap call. */
bool shms_os_no_such_process(uint32_t pid);
/* 1 the process maps System V segment `id`, 0 it does not (it called exec), -1 cannot be told. */
int shms_os_process_maps(uint32_t pid, int id);
/* The same of the file with this device and inode. */
int shms_os_process_maps_file(uint32_t pid, uint64_t device, uint64_t inode);
/* The program's name into name[size]. False: it cannot be told, and "?" stands there. */
bool shms_os_process_name(uint32_t pid, char *name, size_t size);

/* A beacon is an abstract socket: the kernel drops its name when its last descriptor is closed, so it shows a
 * death to whoever shares the network namespace, whatever namespace process ids come from. */
int shms_os_liveness_open(const uint8_t uuid[16], uint32_t client, uint32_t generation); /* descriptor, or -1 */
int shms_os_liveness_exists(const uint8_t uuid[16], uint32_t client, uint32_t generation);  /* 1, 0, -1 unknown */
bool shms_os_descriptor_is_socket(int fd, uint64_t inode);
uint64_t shms_os_descriptor_inode(int fd);
void shms_os_close(int fd);

/* Sleeps while *word == value, at most `nanoseconds`; ends early on a wake. False: on a signal. */
bool shms_os_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds);
void shms_os_futex_wake_all(_Atomic uint32_t *word);
void shms_os_yield(void);
void shms_os_nap(uint64_t nanoseconds);

/* Gives whole pages back to the system; they read as zero afterwards. */
void shms_os_give_back(void *from, uint64_t bytes);
/* Which of `pages` pages of 4096 bytes from `from` on are in memory: one byte each, lowest bit. False: cannot be told. */
bool shms_os_resident(void *from, uint64_t pages, uint8_t *resident);
bool shms_os_random(void *to, size_t bytes);
/* May this process make a file of so many bytes (ulimit -f)? Asked before, for the kernel's answer to who does not ask is
 * SIGXFSZ, which ends a process that does not ignore it. */
bool shms_os_may_have_file(uint64_t bytes);

#endif
