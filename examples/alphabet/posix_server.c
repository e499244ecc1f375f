/* posix_server.c: write the alphabet into a POSIX shared memory object and wait for somebody to answer with a star
 *
 *     cc -o posix_server posix_server.c -lrt && ./posix_server [NAME]
 *
 * The 27 bytes: a to z and a NUL. The first byte is 0 until the letters are there, `*` once they are read.
 */
#define _XOPEN_SOURCE 700
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const char letters[27] = "abcdefghijklmnopqrstuvwxyz";

static volatile sig_atomic_t stopped_by;

/* Leaves a note only, so that no signal can come between creating the object and removing it. */
static void stop(int signum) { stopped_by = signum; }

static int fail(const char *call, const char *name) {
    perror(call);
    shm_unlink(name);
    return 1;
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "/alphabet";
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    int fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (fd == -1) {
        perror("shm_open");
        return 1;
    }
    if (ftruncate(fd, sizeof letters) == -1)
        return fail("ftruncate", name);
    char *memory = mmap(NULL, sizeof letters, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return fail("mmap", name);
    close(fd); /* the mapping stays */
    _Atomic char *first = (_Atomic char *)memory;
    memcpy(memory + 1, letters + 1, sizeof letters - 1);
    atomic_store_explicit(first, letters[0], memory_order_release); /* after the others */
    printf("object %s: the letters are there\n", name);
    fflush(stdout);

    while (atomic_load_explicit(first, memory_order_acquire) != '*' && !stopped_by)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);

    munmap(memory, sizeof letters);
    if (shm_unlink(name) == -1) {
        perror("shm_unlink");
        return 1;
    }
    return stopped_by ? 128 + stopped_by : 0;
}
