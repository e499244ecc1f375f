/* emulated_proc.c: for programs that run under qemu-user, which invents /proc/self/stat: there each thread of a process
 * started at another time than the process, and the engine, rightly, takes a process of another start for another one.
 * Linked by --wrap: a second slash makes qemu pass the kernel's own file through. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int __real_open(const char *path, int flags, ...);
FILE *__real_fopen(const char *path, const char *mode);

static const char *passed_through(const char *path, char *room, size_t size) {
    if (strncmp(path, "/proc/", 6) != 0)
        return path;
    snprintf(room, size, "/%s", path);
    return room;
}

int __wrap_open(const char *path, int flags) {
    char room[256];
    return __real_open(passed_through(path, room, sizeof room), flags);
}

FILE *__wrap_fopen(const char *path, const char *mode) {
    char room[256];
    return __real_fopen(passed_through(path, room, sizeof room), mode);
}
