/* handles.c: threads of one process open, use and close handles at once, and now and then it forks.
 *
 * Opening runs without the GIL (here: a mutex) and ends in the list of attachments; so does the last call
 * out of a closed handle, which detaches if no other handle shares the attachment. So the list is changed from several
 * threads, and an attachment that is being detached must not be found by a thread that opens. At the end nothing of it is left: no client,
 * no mapping, no beacon in a child. ThreadSanitizer sees the races that need not show here (test_stress.py). */
#include <poll.h>
#include <pthread.h>
#include <time.h>

#include "harness.h"

enum { OPENERS = 3, USERS = 3, PLACES = 4, MILLISECONDS = 1500 };

static pthread_mutex_t interpreter = PTHREAD_MUTEX_INITIALIZER;
static int64_t places[PLACES]; /* with the GIL; 0: none */
static _Atomic bool stop;
static _Atomic uint64_t opened, refused, used, closed_beneath;

static void lock(void) { EXPECT(pthread_mutex_lock(&interpreter) == 0); }
static void unlock(void) { EXPECT(pthread_mutex_unlock(&interpreter) == 0); }

static int64_t open_handle(bool there, bool shares) {
    struct shms_open_request wish = wish_for(0, ATTACH);
    struct shms_open_result found;
    int status;
    wish.shares = shares;
    wish.key += there ? 0 : 1; /* nobody's: the way on which the list is left again */
    void *o = shms_open_begin(&wish, &found, &status);
    if (!there) {
        EXPECT(o == NULL && status == SHMS_NOT_FOUND);
        refused++;
        return 0;
    }
    EXPECT(o);
    lock();
    int64_t handle = shms_adopt(o);
    EXPECT(handle > 0);
    opened++;
    return handle; /* and the lock */
}

static void *open_and_close(void *seed) {
    uint32_t random = (uint32_t)(uintptr_t)seed;
    while (!stop) {
        random = random * 1664525u + 1013904223u;
        if (random >> 30 == 0) {
            open_handle(false, true);
            continue;
        }
        int64_t handle = open_handle(true, random >> 8 & 3), *place = &places[random >> 16 & (PLACES - 1)],
                former = *place;
        *place = handle;
        shms_close(former);
        unlock();
    }
    return NULL;
}

static void *use(void *seed) {
    uint32_t random = (uint32_t)(uintptr_t)seed;
    while (!stop) {
        random = random * 1664525u + 1013904223u;
        lock();
        int64_t handle = places[random >> 16 & (PLACES - 1)];
        int rc = shms_usable(handle);
        EXPECT(rc == SHMS_OK || handle == 0);
        unlock();
        uint64_t version;
        if (rc == SHMS_OK) {
            rc = shms_w_wait(handle, "never", 5, 0, 0, 0, 200000, random & 1 << 20 ? 100000 : 0, &version);
            EXPECT(rc == SHMS_AGAIN || rc == SHMS_CLOSED);
            used++;
            closed_beneath += rc == SHMS_CLOSED;
        }
    }
    return NULL;
}

#ifndef __SANITIZE_THREAD__ /* which cannot follow a fork in the midst of threads */
/* The child uses a handle of its parent's, as its own client, and leaves no place behind. */
static void fork_once(void) {
    lock();
    pid_t child = fork();
    if (child == 0) {
        for (uint32_t i = 0; i < PLACES; i++)
            if (places[i]) {
                EXPECT(shms_usable(places[i]) == SHMS_OK);
                shms_leave(places[i]);
            }
        _exit(0);
    }
    unlock();
    int status;
    EXPECT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}
#else
static void fork_once(void) {}
#endif

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *observer = open_store(1 << 20);
    pthread_t threads[OPENERS + USERS];
    for (uint32_t i = 0; i < OPENERS + USERS; i++)
        EXPECT(pthread_create(&threads[i], NULL, i < OPENERS ? open_and_close : use, (void *)(uintptr_t)(i + 1)) == 0);
    uint64_t end = shms_os_now() + MILLISECONDS * MS;
    for (; shms_os_now() < end || opened <= 20 || !refused || !used || !closed_beneath; poll(NULL, 0, 5))
        fork_once();
    stop = true;
    for (uint32_t i = 0; i < OPENERS + USERS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
    for (uint32_t i = 0; i < PLACES; i++)
        shms_close(places[i]);
    struct shmid_ds d;
    do /* a test of ls beside this one may be attached for a moment */
        EXPECT(shmctl(shmget(scenario_key, 0, 0), IPC_STAT, &d) == 0);
    while (d.shm_nattch != 1 && poll(NULL, 0, 1) == 0);
    for (uint32_t i = 0; i < observer->client_count; i++) {
        struct shms_client *c = shms_client_at(observer, i);
        EXPECT(c == observer->me || SHMS_OWNER_STATE(shms_load_relaxed(&c->owner)) == SHMS_CLIENT_FREE);
    }
    expect_sound(observer);
    close_store(observer);
    return 0;
}
