/* driver.c: runs a process up to its n-th instruction inside one shared object, with ptrace; loaded by driver.py.
 *
 * A victim stops itself before and after the operation by sending itself SIGUSR1 and SIGUSR2. In between, it is
 * single-stepped while its program counter is inside the object. What it does elsewhere, a copy in libc or a hundred
 * thousand instructions of the interpreter, is one step: it runs freely until it hits a breakpoint (int3), and these
 * stand at the entry of every function of the object and at the address to which a call out of it returns.
 *
 * Stepping to the n-th instruction anew for each n would take n * n / 2 steps. So a first run is recorded, and a later
 * one is let run to an instruction shortly before the n-th that was executed only a few times, its breakpoint hit that
 * many times; the rest is stepped. Where a victim really stands is read from it, never assumed.
 *
 * x86-64 Linux only. One thread may use it; victims may be several. Functions return -1 with errno for what should not
 * happen. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define INT3 0xcc
#define TEMPORARY 16
enum follow { STAY = 0, FOLLOW_CHILD = 1 };
enum { ENDED = 0, INSIDE = 1 };

/* The object as every victim has it: they are forked from one process. */
static uint64_t text_start, text_size;
static uint8_t *clean, *trapped; /* its instructions, without and with breakpoints at the entries */

struct victim {
    pid_t pid;
    int follow;
    bool traps, gone;
    pid_t other;                   /* the other of the two after a fork, unwatched */
    uint64_t temporary[TEMPORARY]; /* breakpoints at return addresses; 0 = none */
    uint64_t pc, sp;
    int status; /* how it ended */
};

static bool inside(uint64_t pc) { return pc - text_start < text_size; }

int driver_object(uint64_t start, uint64_t size, const uint8_t *bytes, const uint64_t *entries, uint64_t count) {
    free(clean);
    free(trapped);
    clean = malloc(size);
    trapped = malloc(size);
    if (!clean || !trapped)
        return -1;
    memcpy(clean, bytes, size);
    memcpy(trapped, bytes, size);
    text_start = start;
    text_size = size;
    for (uint64_t i = 0; i < count; i++)
        if (inside(entries[i]))
            trapped[entries[i] - start] = INT3;
    return 0;
}

static int poke(struct victim *v, uint64_t address, uint8_t byte) {
    uint64_t at = address & ~7ull;
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, v->pid, (void *)at, NULL);
    if (word == -1 && errno)
        return -1;
    ((uint8_t *)&word)[address - at] = byte;
    return (int)ptrace(PTRACE_POKETEXT, v->pid, (void *)at, (void *)word);
}

static int write_text(pid_t pid, const uint8_t *bytes) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = pwrite(fd, bytes, text_size, (off_t)text_start);
    close(fd);
    return n == (ssize_t)text_size ? 0 : -1;
}

static int temporary(struct victim *v, uint64_t address) {
    for (int i = 0; i < TEMPORARY; i++)
        if (v->temporary[i] == address)
            return i;
    return -1;
}

/* The byte that stands at an address of the object just now. */
static uint8_t standing(struct victim *v, uint64_t address) {
    if (temporary(v, address) >= 0)
        return INT3;
    return (v->traps ? trapped : clean)[address - text_start];
}

static int read_registers(struct victim *v, struct user_regs_struct *r) {
    if (ptrace(PTRACE_GETREGS, v->pid, NULL, r) != 0)
        return -1;
    v->pc = r->rip;
    v->sp = r->rsp;
    return 0;
}

/* Waits for the next stop. 1 stopped by a signal, in *sig; 2 at a fork; 0 it has ended. */
static int wait_stop(struct victim *v, int *sig) {
    int status;
    while (waitpid(v->pid, &status, __WALL) != v->pid)
        if (errno != EINTR)
            return -1;
    if (!WIFSTOPPED(status)) {
        v->gone = true;
        v->status = status;
        return 0;
    }
    *sig = WSTOPSIG(status);
    int event = status >> 16;
    return event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE ? 2
           : event == PTRACE_EVENT_STOP                                                             ? 3
                                                                                                    : 1;
}

/* At a fork one of the two goes on unwatched, without our breakpoints. */
static int forked(struct victim *v) {
    unsigned long child;
    int status;
    if (ptrace(PTRACE_GETEVENTMSG, v->pid, NULL, &child) != 0 || waitpid((pid_t)child, &status, __WALL) != (pid_t)child)
        return -1;
    pid_t other = v->follow == FOLLOW_CHILD ? v->pid : (pid_t)child;
    if (v->follow == FOLLOW_CHILD)
        v->pid = (pid_t)child;
    v->other = other;
    if (write_text(other, clean) != 0)
        return -1;
    return (int)ptrace(PTRACE_DETACH, other, NULL, NULL);
}

struct victim *driver_seize(pid_t pid, int follow) {
    struct victim *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->pid = pid;
    v->follow = follow;
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)(long)(PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK)) != 0) {
        free(v);
        return NULL;
    }
    return v;
}

/* Lets it run to a signal of its own: INSIDE when that came, ENDED when it ended first. */
static int run_to_signal(struct victim *v, int wanted) {
    for (int sig = 0;;) {
        int w = wait_stop(v, &sig);
        if (w <= 0)
            return w;
        if (w == 2 && forked(v) != 0)
            return -1;
        if (w == 1 && sig == wanted)
            return INSIDE;
        if (ptrace(PTRACE_CONT, v->pid, NULL, (void *)(long)(w == 1 ? sig : 0)) != 0)
            return -1;
    }
}

int driver_begin(struct victim *v) { return run_to_signal(v, SIGUSR1); }

/* REQUIRES: stopped outside of the object. Runs until it is inside again. */
static int enter(struct victim *v) {
    struct user_regs_struct r;
    int sig = 0;
    if (!v->traps) {
        if (write_text(v->pid, trapped) != 0)
            return -1;
        v->traps = true;
        for (int i = 0; i < TEMPORARY; i++)
            if (v->temporary[i])
                poke(v, v->temporary[i], INT3);
    }
    for (;;) {
        if (ptrace(PTRACE_CONT, v->pid, NULL, (void *)(long)sig) != 0)
            return -1;
        int w = wait_stop(v, &sig);
        if (w <= 0)
            return w;
        if (w >= 2) {
            if (w == 2 && forked(v) != 0)
                return -1;
            sig = 0;
            continue;
        }
        if (sig == SIGUSR2)
            return ENDED;
        if (sig != SIGTRAP)
            continue; /* its own affair */
        if (read_registers(v, &r) != 0)
            return -1;
        if (!inside(v->pc - 1) || standing(v, v->pc - 1) != INT3)
            return -1;
        int t = temporary(v, --v->pc);
        if (t >= 0) {
            v->temporary[t] = 0;
            poke(v, v->pc, standing(v, v->pc));
        }
        r.rip = v->pc;
        return ptrace(PTRACE_SETREGS, v->pid, NULL, &r) == 0 ? INSIDE : -1;
    }
}

/* One instruction, with a breakpoint taken out of its way. */
static int single(struct victim *v) {
    struct user_regs_struct r;
    uint64_t at = v->pc;
    bool covered = inside(at) && standing(v, at) == INT3;
    if (covered && poke(v, at, clean[at - text_start]) != 0)
        return -1;
    int sig = 0, pass = 0;
    for (;;) {
        if (ptrace(PTRACE_SINGLESTEP, v->pid, NULL, (void *)(long)pass) != 0)
            return -1;
        int w = wait_stop(v, &sig);
        if (w <= 0)
            return w;
        if (w == 1 && sig == SIGTRAP)
            break;
        if (w == 1 && sig == SIGUSR2)
            return ENDED;
        pass = w == 1 ? sig : 0;
    }
    if (covered && poke(v, at, INT3) != 0)
        return -1;
    return read_registers(v, &r) == 0 ? INSIDE : -1;
}

/* REQUIRES: stopped inside. The next instruction inside, or the end. */
static int step(struct victim *v) {
    uint64_t sp = v->sp;
    int rc = single(v);
    if (rc != INSIDE || inside(v->pc))
        return rc;
    if (v->sp <= sp) { /* a call, or a jump to a function that will return to our caller */
        errno = 0;
        uint64_t back = (uint64_t)ptrace(PTRACE_PEEKDATA, v->pid, (void *)v->sp, NULL);
        if (!errno && inside(back) && temporary(v, back) < 0) {
            int free_place = temporary(v, 0);
            if (free_place < 0)
                return -1;
            v->temporary[free_place] = back;
            if (v->traps && poke(v, back, INT3) != 0)
                return -1;
        }
    }
    return enter(v);
}

struct range {
    const uint8_t *at;
    uint64_t size;
};

/* Has the memory changed since `before`? Makes `before` what it is now. */
static bool differs(const struct range *ranges, uint64_t count, uint8_t *before) {
    bool changed = false;
    for (uint64_t i = 0; i < count; before += ranges[i++].size)
        if (memcmp(before, ranges[i].at, ranges[i].size) != 0) {
            memcpy(before, ranges[i].at, ranges[i].size);
            changed = true;
        }
    return changed;
}

/* Records where the operation goes, and the indices before which the memory changed. Returns the number of
 * instructions; the victim is at its second marker, or has ended. */
int64_t driver_trace(struct victim *v, uint64_t *pcs, uint64_t room, const struct range *ranges, uint64_t count,
                     uint64_t *changed, uint64_t *changes) {
    uint64_t n = 0, seen = 0, size = 0;
    for (uint64_t i = 0; i < count; i++)
        size += ranges[i].size;
    uint8_t *before = malloc(size + 1);
    if (!before)
        return -1;
    differs(ranges, count, before);
    int rc = enter(v);
    while (rc == INSIDE && n < room) {
        pcs[n] = v->pc;
        if (differs(ranges, count, before))
            changed[seen++] = n;
        n++;
        rc = step(v);
    }
    free(before);
    if (changes)
        *changes = seen;
    return rc < 0 ? -1 : (int64_t)n;
}

/* From the marker to the `hits`-th time at `anchor` (0: the first instruction), then `more` instructions further, which
 * are recorded. INSIDE: it stands before *pc. ENDED: the operation was over before. */
int driver_run_to(struct victim *v, uint64_t anchor, uint64_t hits, uint64_t more, uint64_t *pc) {
    struct user_regs_struct r;
    int rc = INSIDE, sig = 0;
    if (!anchor)
        rc = enter(v);
    else {
        if (poke(v, anchor, INT3) != 0)
            return -1;
        while (hits) {
            if (ptrace(PTRACE_CONT, v->pid, NULL, (void *)(long)sig) != 0)
                return -1;
            int w = wait_stop(v, &sig);
            if (w <= 0)
                return w;
            if (w >= 2) {
                if (w == 2 && forked(v) != 0)
                    return -1;
                sig = 0;
                continue;
            }
            if (sig == SIGUSR2)
                return ENDED;
            if (sig != SIGTRAP)
                continue;
            sig = 0;
            if (read_registers(v, &r) != 0 || v->pc - 1 != anchor)
                return -1;
            r.rip = --v->pc;
            if (ptrace(PTRACE_SETREGS, v->pid, NULL, &r) != 0 || poke(v, anchor, clean[anchor - text_start]) != 0)
                return -1;
            if (--hits) {
                if ((rc = single(v)) != INSIDE)
                    return rc;
                if (poke(v, anchor, INT3) != 0)
                    return -1;
            }
        }
        rc = INSIDE;
    }
    for (; rc == INSIDE && more; more--)
        rc = step(v);
    *pc = v->pc;
    return rc;
}

/* REQUIRES: stopped inside. So many instructions further, or to the end; records them from where it stands. */
int64_t driver_go_on(struct victim *v, uint64_t *pcs, uint64_t many) {
    int rc = INSIDE;
    uint64_t n = 0;
    for (; rc == INSIDE && n < many; n++) {
        pcs[n] = v->pc;
        rc = step(v);
    }
    if (rc == INSIDE)
        pcs[n++] = v->pc;
    return rc < 0 ? -1 : (int64_t)n;
}

/* Its process, which after a fork may be another than was seized. */
pid_t driver_pid(struct victim *v) { return v->pid; }
/* The other one, or 0. */
pid_t driver_other(struct victim *v) { return v->other; }

/* Kills it where it stands and waits for its end. */
int driver_kill(struct victim *v) {
    int sig;
    if (!v->gone) {
        kill(v->pid, SIGKILL);
        while (wait_stop(v, &sig) > 0)
            ptrace(PTRACE_CONT, v->pid, NULL, NULL);
    }
    free(v);
    return 0;
}

static int let_go(struct victim *v, int sig) {
    if (write_text(v->pid, clean) != 0)
        return -1;
    if (sig)
        kill(v->pid, sig);
    return (int)ptrace(PTRACE_DETACH, v->pid, NULL, NULL);
}

/* Lets it stand where it is, stopped by SIGSTOP and not traced any more: an ordinary process that somebody stopped. */
int driver_stop(struct victim *v) {
    char path[64], text[512];
    pid_t pid = v->pid;
    if (let_go(v, SIGSTOP) != 0)
        return -1;
    free(v);
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    for (int tries = 0; tries < 100000; tries++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        if (n <= 0)
            return -1;
        text[n] = 0;
        char *p = strrchr(text, ')');
        if (p && p[2] == 'T')
            return 0;
        usleep(20);
    }
    return -1;
}

/* Lets it go on by itself from here. */
int driver_release(struct victim *v) {
    int rc = v->gone ? 0 : let_go(v, 0);
    free(v);
    return rc;
}

/* Waits for the end of a process that is not ours: 1 it is gone, 0 not within the time. */
int driver_gone(pid_t pid, int milliseconds) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return errno == ESRCH;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = poll(&p, 1, milliseconds);
    close(fd);
    return n > 0;
}
