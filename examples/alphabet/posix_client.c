/* posix_client.c: read the alphabet that a server has put into shared memory, and answer with a star
 *
 *     cc -o posix_client posix_client.c -lrt && ./posix_client [NAME]
 */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LIMIT 30 /* seconds to wait for a server */
#define SIZE 27

/* All 26 are asked for, not the first alone: some processors show them in another order. */
static int complete(const volatile char *memory) {
    for (int i = 0; i < 26; i++)
        if (memory[i] == 0)
            return 0;
    return 1;
}

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL); }

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "/alphabet";
    time_t deadline = time(NULL) + LIMIT;

    int fd;
    while ((fd = shm_open(name, O_RDWR, 0)) == -1 && errno == ENOENT && time(NULL) <= deadline)
        nap();
    if (fd == -1) {
        perror("shm_open");
        return 1;
    }
    /* A new object has 0 bytes, and touching what it does not have ends the process: wait for its size. */
    struct stat found;
    while (fstat(fd, &found) == 0 && found.st_size < SIZE) {
        if (time(NULL) > deadline) {
            fprintf(stderr, "object %s: it has %lld bytes\n", name, (long long)found.st_size);
            return 1;
        }
        nap();
    }
    char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    close(fd);
    while (!complete(memory)) {
        if (time(NULL) > deadline) {
            fprintf(stderr, "object %s: no letters came within %d s\n", name, LIMIT);
            return 1;
        }
        nap();
    }
    printf("%.26s\n", memory);
    fflush(stdout);
    *(volatile char *)memory = '*';
    munmap(memory, SIZE);
    return 0;
}
