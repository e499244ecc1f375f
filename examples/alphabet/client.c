/* client.c: read the alphabet that a server has put into shared memory, and answer with a star
 *
 *     cc -o client client.c && ./client [KEY]
 */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <time.h>

#define LIMIT 30 /* seconds to wait for a server */

/* All 26 are asked for, not the first alone: some processors show them in another order. */
static int complete(const volatile char *memory) {
    for (int i = 0; i < 26; i++)
        if (memory[i] == 0)
            return 0;
    return 1;
}

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL); }

int main(int argc, char **argv) {
    key_t key = (key_t)strtoul(argc > 1 ? argv[1] : "5678", NULL, 0);
    time_t deadline = time(NULL) + LIMIT;

    /* System V cannot tell when a segment is created, so look again until it is. */
    int shmid;
    while ((shmid = shmget(key, 27, 0)) == -1 && errno == ENOENT && time(NULL) <= deadline)
        nap();
    if (shmid == -1) {
        perror("shmget");
        return 1;
    }
    char *memory = shmat(shmid, NULL, 0);
    if (memory == (void *)-1) {
        perror("shmat");
        return 1;
    }
    while (!complete(memory)) {
        if (time(NULL) > deadline) {
            fprintf(stderr, "key %d: no letters came within %d s\n", key, LIMIT);
            return 1;
        }
        nap();
    }
    printf("%.26s\n", memory);
    fflush(stdout);
    *(volatile char *)memory = '*';
    shmdt(memory);
    return 0;
}
