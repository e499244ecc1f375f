/* stress.c: many clients at once, on values that show by themselves whether they are whole.
 *
 *   stress threads N SECONDS KEY SEED     N attachments in one process, all on one mapping, so that ThreadSanitizer sees
 *                                         both sides of every access; now and then one "dies" with something in hand,
 *                                         and one only reads
 *   stress shared N SECONDS KEY SEED      the same, but all except two threads share one attachment as Python's do: one at
 *                                         a time, but for the calls that give the GIL up
 *   stress processes N SECONDS KEY SEED   N processes, one of which is killed every 20 ms and replaced
 *
 * At the end the dead are recovered, check() finds nothing, and the counters are the sums of what was added.
 * stress_worker.h has what each client does. */
#include "stress_worker.h"

static void *work(void *worker) {
    struct worker *w = worker;
    while (!shms_load_acquire(&tally->stop))
        operate(w);
    while (w->held_count)
        let_go(w);
    return NULL;
}

/* Threads of one Python process: one at a time, but for shms_w_* */
static void *work_shared(void *worker) {
    struct worker *w = worker;
    int64_t handle = 1 << 16;
    char what[200];
    struct shms_client_info holder;
    uint64_t version, deaths;
    uint32_t pid;
    while (!shms_load_acquire(&tally->stop)) {
        uint64_t r = next(w);
        pthread_mutex_lock(&interpreter);
        int rc = shms_usable(handle);
        EXPECT(rc == SHMS_OK);
        if (r % 64 > 4) {
            operate(w);
            pthread_mutex_unlock(&interpreter);
            continue;
        }
        shms_take_events(handle, &deaths, &pid);
        shms_lock_holder(handle, &holder);
        pthread_mutex_unlock(&interpreter);
        if (r % 64 == 0)
            EXPECT(shms_w_check(handle, what, sizeof what) == SHMS_OK);
        else if (r % 64 == 1)
            EXPECT(shms_w_recover(handle) >= 0);
        else
            EXPECT(shms_w_wait(handle, "k1", 2, 0, r >> 8 & 1, 0, MS, 0, &version) >= 0);
    }
    pthread_mutex_lock(&interpreter);
    while (w->held_count)
        let_go(w);
    pthread_mutex_unlock(&interpreter);
    return NULL;
}

/* Of a store that it may not write to: what another process would do through a mapping that it can only read. */
static void *observe(void *worker) {
    struct worker *w = worker;
    char what[200];
    while (!shms_load_acquire(&tally->stop)) {
        uint64_t r = next(w);
        get_value(w, (uint32_t)(r >> 8) % KEYS);
        if (r % 64 == 0)
            walk(w);
        if (r % 256 == 0)
            EXPECT(check(w->s, what, sizeof what) == SHMS_OK);
    }
    return NULL;
}

static void finish(struct shms_store *s) {
    struct worker *w = calloc(1, sizeof *w);
    w->s = s;
    shms_recover_all(s, false);
    for (uint32_t i = 0; i < s->client_count; i++)
        EXPECT(&s->me->owner == &shms_client_at(s, i)->owner ||
               SHMS_OWNER_STATE(shms_load_acquire(&shms_client_at(s, i)->owner)) == SHMS_CLIENT_FREE);
    check_now(w);
    for (uint32_t k = 0; k < KEYS; k++)
        get_value(w, k);
    for (uint32_t c = 0; c < COUNTERS; c++) {
        char name[16];
        struct shms_entry f;
        int64_t number = 0;
        snprintf(name, sizeof name, "c%u", c);
        struct shms_key n = name_of(s, name);
        if (shms_find(s, &n, &f) == SHMS_OK)
            EXPECT(shms_number_decode(f.value, f.value_length, &number) == SHMS_OK);
        EXPECT((uint64_t)number >= shms_load_relaxed(&tally->done[c]));
        EXPECT((uint64_t)number <= shms_load_relaxed(&tally->begun[c]));
    }
    for (uint32_t k = 0; k < KEYS; k++)
        change(w, k, 0, true);
    check_now(w);
    for (uint32_t c = 0; c < COUNTERS; c++) {
        char name[16];
        snprintf(name, sizeof name, "c%u", c);
        drop(s, name);
    }
    expect_empty(s); /* nothing is lost: no block, no page */
    free(w);
}

static void in_threads(struct shms_store *s, uint32_t count, uint64_t nanoseconds, uint64_t seed) {
    struct worker *workers[WORKERS_MAX];
    struct shms_store observed = *s;
    observed.readonly = true;
    observed.me = NULL;
    observed.number = 0;
    for (uint32_t i = 0; i < count; i++) {
        /* The first only reads; the second has an attachment of its own in any case, and may die. */
        struct worker *w = workers[i] = calloc(1, sizeof *w);
        EXPECT(w);
        w->random = seed + i * 1000003;
        w->shares = shared && i > 1;
        w->mortal = i > 0 && !w->shares;
        w->s = i == 0 ? &observed : w->shares ? shared->s : attach_beside(s);
        EXPECT(pthread_create(&w->thread, NULL, i == 0 ? observe : w->shares ? work_shared : work, w) == 0);
    }
    for (uint64_t end = shms_os_now() + nanoseconds; shms_os_now() < end;)
        shms_os_nap(10 * MS);
    shms_store_release(&tally->stop, true);
    for (uint32_t i = 0; i < count; i++) {
        EXPECT(pthread_join(workers[i]->thread, NULL) == 0);
        if (workers[i]->mortal) {
            shms_client_release(workers[i]->s);
            free(workers[i]->s);
        }
        free(workers[i]);
    }
}

static pid_t start_process(uint64_t seed) {
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid)
        return pid;
    struct worker *w = calloc(1, sizeof *w);
    w->s = open_store(0);
    w->random = seed;
    work(w);
    close_store(w->s);
    free(w);
    exit(0);
}

static void in_processes(uint32_t count, uint64_t nanoseconds, uint64_t seed) {
    pid_t pids[WORKERS_MAX];
    int status;
    uint64_t born = 0;
    for (uint32_t i = 0; i < count; i++)
        pids[i] = start_process(seed + 7919 * born++);
    for (uint64_t end = shms_os_now() + nanoseconds; shms_os_now() < end;) {
        shms_os_nap(20 * MS);
        uint32_t i = (uint32_t)((seed + born * 0x9e3779b97f4a7c15ull) >> 40) % count;
        kill(pids[i], SIGKILL);
        EXPECT(waitpid(pids[i], &status, 0) == pids[i]);
        EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* it did not end by itself */
        shms_fetch_add_acq_rel(&tally->deaths, 1);
        pids[i] = start_process(seed + 7919 * born++);
    }
    shms_store_release(&tally->stop, true);
    for (uint32_t i = 0; i < count; i++)
        EXPECT(waitpid(pids[i], &status, 0) == pids[i] && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv) {
    EXPECT(argc == 6);
    begin_scenario(2, argv + 3);
    uint32_t count = (uint32_t)atoi(argv[2]);
    uint64_t nanoseconds = (uint64_t)(atof(argv[3]) * 1e9), seed = strtoull(argv[5], NULL, 0);
    EXPECT(count >= 1 && count <= WORKERS_MAX);
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(tally != MAP_FAILED);
    nobody = fork();
    if (nobody == 0)
        _exit(0);
    EXPECT(waitpid(nobody, NULL, 0) == nobody);
    struct shms_store *s = open_store(1 << 20);
    if (!strcmp(argv[1], "processes"))
        in_processes(count, nanoseconds, seed);
    else {
        if (!strcmp(argv[1], "shared")) {
            shared = calloc(1, sizeof *shared);
            shared->s = attach_beside(s);
            shms_store_release(&shared->word, 1ull << 32);
            shms_handles[0] = shared;
        }
        in_threads(s, count, nanoseconds, seed);
        if (shared) {
            shms_client_release(shared->s);
            free(shared->s);
        }
    }
    finish(s);
    printf("%llu operations, %llu values found whole, %llu held in place, %llu deaths\n",
           (unsigned long long)shms_load_relaxed(&tally->operations),
           (unsigned long long)shms_load_relaxed(&tally->hits), (unsigned long long)shms_load_relaxed(&tally->holds),
           (unsigned long long)shms_load_relaxed(&tally->deaths));
    close_store(s);
    return 0;
}
