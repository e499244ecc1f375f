/* os_stub.c: os.h without a kernel, in place of os_linux.c, so that a case of garbage.c costs microseconds.
 *
 * Time moves when it is asked for and when somebody sleeps, so every wait ends; which process lives is told by its
 * number. Whatever address the engine hands to the kernel must lie within the segment; how often it asks is counted,
 * and a case that asks without end is a hang. */
#include "garbage.h"

#define QUESTIONS_MAX 3000000ull /* some hundred times what the worst sound case needs */

uint8_t *stub_segment;
uint64_t stub_size;
_Atomic uint64_t stub_questions;
uint64_t stub_random_state = 1;
static _Atomic uint64_t now = 1000 * 1000000000ull;

static uint64_t pass(uint64_t nanoseconds) {
    if (atomic_fetch_add(&stub_questions, 1) > QUESTIONS_MAX)
        garbage_failed("the kernel is asked without end");
    return atomic_fetch_add(&now, nanoseconds) + nanoseconds;
}

static void inside(const void *from, uint64_t bytes) {
    const uint8_t *p = from;
    if (p < stub_segment || bytes > stub_size || (uint64_t)(p - stub_segment) > stub_size - bytes)
        garbage_failed("an address outside the segment is given to the kernel");
}

uint64_t shms_os_now(void) { return pass(1000); }
uint64_t shms_os_now_coarse(void) { return pass(1000); }
uint64_t shms_os_realtime(void) { return pass(1000); }
uint32_t shms_os_seconds(void) { return (uint32_t)(pass(1000) / 1000000000); }
int64_t shms_os_time_offset(void) { return 0; }
void shms_os_after_fork(void) {}

void shms_os_identity(struct shms_identity *me) { *me = (struct shms_identity){STUB_PID, 77, 1, 2}; }
bool shms_os_may_have_file(uint64_t bytes) { return true; }
void shms_os_other_namespaces(uint64_t *ipc_ns, uint64_t *time_ns) { *ipc_ns = 3, *time_ns = 4; }
uint64_t shms_os_ipc_namespace(void) { return 3; }
uint64_t shms_os_network_namespace(void) { return 2; }

/* Of four numbers one is nobody's, one is a living process's, one cannot be told, one depends on the start. */
enum shms_life shms_os_process_life(uint32_t pid, uint64_t start_time) {
    pass(1000);
    if (pid == STUB_PID)
        return start_time == 77 || start_time == 0 ? SHMS_ALIVE : SHMS_GONE;
    return pid % 4 == 0       ? SHMS_GONE
           : pid % 4 == 1     ? SHMS_ALIVE
           : pid % 4 == 2     ? SHMS_UNKNOWN
           : start_time == 77 ? SHMS_ALIVE
                              : SHMS_GONE;
}
bool shms_os_no_such_process(uint32_t pid) { return pid % 4 == 0; }
int shms_os_process_maps(uint32_t pid, int id) { return (int)(pid % 3) - 1; }
int shms_os_process_maps_file(uint32_t pid, uint64_t device, uint64_t inode) { return (int)(pid % 3) - 1; }
bool shms_os_process_name(uint32_t pid, char *name, size_t size) {
    snprintf(name, size, "p%u", pid);
    return true;
}

int shms_os_liveness_open(const uint8_t uuid[16], uint32_t client, uint64_t nonce) { return client % 2 ? 1000 : -1; }
int shms_os_liveness_exists(const uint8_t uuid[16], uint32_t client, uint64_t nonce) { return (int)(nonce % 3) - 1; }
bool shms_os_descriptor_is_socket(int fd, uint64_t inode) { return fd >= 0; }
uint64_t shms_os_descriptor_inode(int fd) { return 1; }
void shms_os_close(int fd) {}

bool shms_os_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t nanoseconds) {
    inside(word, sizeof *word);
    pass(nanoseconds);
    return true;
}
void shms_os_futex_wake_all(_Atomic uint32_t *word) {
    inside(word, sizeof *word);
    pass(100);
}
bool shms_os_futex_wait_any(_Atomic uint32_t *const *words, const uint32_t *values, uint32_t count,
                            uint64_t nanoseconds) {
    pass(nanoseconds);
    return true;
}
bool shms_os_waits_for_several(void) { return true; }
int shms_os_event_open(void) { return 1000; }
void shms_os_event_set(int fd) {}
void shms_os_event_clear(int fd) {}
int shms_os_process_open(uint32_t pid) { return -1; }
void shms_os_await_readable(const int *fds, bool *readable, uint32_t count, uint64_t nanoseconds) { pass(nanoseconds); }
bool shms_os_thread(void *(*run)(void *), void *argument) { return false; }
void shms_os_yield(void) { pass(50000); }
void shms_os_nap(uint64_t nanoseconds) { pass(nanoseconds); }

void shms_os_give_back(void *from, uint64_t bytes) {
    inside(from, bytes);
    memset(from, 0, bytes);
}
bool shms_os_resident(void *from, uint64_t pages, uint8_t *resident) {
    if (pages > stub_size / SHMS_PAGE)
        garbage_failed("more pages than the segment has");
    inside(from, pages * SHMS_PAGE);
    memset(resident, 1, pages);
    return true;
}

uint64_t stub_random(void) {
    uint64_t z = stub_random_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}
bool shms_os_random(void *to, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)to)[i] = (uint8_t)stub_random();
    return true;
}

/* Linked by --wrap=shmctl: there is no segment that the kernel knows. */
int __wrap_shmctl(int id, int command, struct shmid_ds *d) {
    pass(1000);
    if (command == IPC_STAT)
        *d = (struct shmid_ds){.shm_segsz = stub_size, .shm_nattch = 2};
    return 0;
}
