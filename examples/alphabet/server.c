/* server.c: write the alphabet into a segment of shared memory and wait for somebody to answer with a star
 *
 *     cc -o server server.c && ./server [KEY]
 *
 * The 27 bytes: a to z and a NUL. The first byte is 0 until the letters are there, `*` once they are read.
 */
#define _XOPEN_SOURCE 700
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <time.h>

static const char letters[27] = "abcdefghijklmnopqrstuvwxyz";

static volatile sig_atomic_t stopped_by;

/* Leaves a note only, so that no signal can come between creating the segment and removing it. */
static void stop(int signum) { stopped_by = signum; }

int main(int argc, char **argv) {
    key_t key = (key_t)strtoul(argc > 1 ? argv[1] : "5678", NULL, 0);
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    int shmid = shmget(key, sizeof letters, IPC_CREAT | IPC_EXCL | 0600);
    if (shmid == -1) {
        perror("shmget");
        return 1;
    }
    char *memory = shmat(shmid, NULL, 0);
    if (memory == (void *)-1) {
        perror("shmat");
        shmctl(shmid, IPC_RMID, NULL);
        return 1;
    }
    _Atomic char *first = (_Atomic char *)memory;
    memcpy(memory + 1, letters + 1, sizeof letters - 1);
    atomic_store_explicit(first, letters[0], memory_order_release); /* after the others */
    printf("key %d: the letters are there\n", key);
    fflush(stdout);

    while (atomic_load_explicit(first, memory_order_acquire) != '*' && !stopped_by)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);

    shmdt(memory);
    if (shmctl(shmid, IPC_RMID, NULL) == -1) {
        perror("shmctl");
        return 1;
    }
    return stopped_by ? 128 + stopped_by : 0;
}
