/* drive.c: the drivers of garbage.c but hypothesis, which speaks to `garbage ask`.
 *
 *   garbage loop SEED CASES SECONDS   generated cases, until so many or so long (0: no limit); prints how many
 *   garbage scribble SEED SECONDS     readers and writers beside a thread that damages the segment
 *   garbage seeds DIRECTORY           writes cases that are worth starting from, for libFuzzer
 *   garbage ask                       length (u32) and case on stdin, a byte on stdout for each that was survived
 *   garbage FILE ..                   a case each
 * With -DLIBFUZZER it is a target of libFuzzer. Whatever fails prints the case in hexadecimal digits. */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "garbage.h"

#define CASE_MAX 256
#define CPU_SECONDS_MAX 20 /* for one case: the slowest takes a hundredth */

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void print_case(void) {
    char digits[3];
    static const char head[] = "\nthe case: ", none[] = "(a scribbled one)";
    ssize_t ignored = write(2, head, sizeof head - 1);
    if (!garbage_data)
        ignored = write(2, none, sizeof none - 1);
    for (size_t i = 0; i < garbage_length; i++) {
        snprintf(digits, sizeof digits, "%02x", garbage_data[i]);
        ignored = write(2, digits, 2);
    }
    ignored = write(2, "\n", 1);
    (void)ignored;
}

_Noreturn void garbage_failed(const char *what) {
    fprintf(stderr, "FAILED: %s\n", what);
    print_case();
    abort();
}

static void died(int signal) {
    static const char hang[] = "FAILED: a hang", fault[] = "FAILED: a fault";
    ssize_t ignored = signal == SIGVTALRM ? write(2, hang, sizeof hang - 1) : write(2, fault, sizeof fault - 1);
    (void)ignored;
    print_case();
    _exit(1);
}

static void prepare(void) {
    garbage_prepare();
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(print_case);
    else {
        signal(SIGSEGV, died);
        signal(SIGBUS, died);
    }
    signal(SIGVTALRM, died);
}

static void watch(void) { setitimer(ITIMER_VIRTUAL, &(struct itimerval){.it_value.tv_sec = CPU_SECONDS_MAX}, NULL); }

#ifdef LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool prepared;
    if (!prepared)
        garbage_prepare();
    prepared = true;
    garbage_case(data, size);
    return 0;
}
#else

static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* Every third case has damage of one kind, so that each store meets each kind often; one in sixteen is raw bytes. */
static size_t generate(uint64_t n, uint64_t *random, uint8_t *data) {
    uint64_t r = next(random);
    size_t length = 6 + (r % 5 == 0 ? 0 : r >> 8 & 1 ? r >> 16 & 15 : r >> 16 & 127);
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)next(random);
    data[0] = (uint8_t)(n % 16 == 15 ? 0xf8 | (data[0] & 7) : data[0] % 0xf8);
    if (n % 3 == 0)
        for (size_t i = 6; i < length; i += 6)
            data[i] = (uint8_t)(n / 3 % 16);
    if (n % 16 == 15 && length >= 30) { /* raw, but it says that it is a store */
        uint64_t magic = SHMS_MAGIC;
        memcpy(data + 6, &magic, 8);
        data[22] = 1, data[23] = data[24] = data[25] = 0;
    }
    return length;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int loop(uint64_t seed, uint64_t cases, double limit) {
    static uint8_t data[CASE_MAX];
    double start = seconds(), slowest = 0;
    uint64_t n = 0;
    for (; (!cases || n < cases) && (!limit || seconds() - start < limit); n++) {
        uint64_t random = seed + n * 0x9e3779b97f4a7c15ull;
        size_t length = generate(n, &random, data);
        double before = seconds();
        watch();
        garbage_case(data, length);
        double took = seconds() - before;
        slowest = took > slowest ? took : slowest;
    }
    printf("%llu cases in %.1f s, the slowest %.1f ms, seed %llu\n", (unsigned long long)n, seconds() - start,
           slowest * 1e3, (unsigned long long)seed);
    return 0;
}

static _Atomic bool stop;

static void *scribbler(void *seed) {
    uint64_t random = *(uint64_t *)seed, done = 0;
    while (!shms_load_relaxed(&stop)) {
        garbage_scribble_once(next(&random));
        if (++done % 8 == 0)
            usleep(20);
    }
    *(uint64_t *)seed = done;
    return NULL;
}

static void *timer(void *limit) {
    double start = seconds();
    while (seconds() - start < *(double *)limit)
        usleep(10000);
    shms_store_release(&stop, true);
    return NULL;
}

static int scribble(uint64_t seed, double limit) {
    pthread_t one, two;
    uint64_t random = seed;
    garbage_data = NULL;
    if (pthread_create(&one, NULL, scribbler, &random) || pthread_create(&two, NULL, timer, &limit))
        return 1;
    garbage_under_scribbles(seed, &stop);
    pthread_join(one, NULL);
    pthread_join(two, NULL);
    printf("%llu scribbles, seed %llu\n", (unsigned long long)random, (unsigned long long)seed);
    return 0;
}

static int seeds(const char *directory) {
    static uint8_t data[CASE_MAX];
    char path[4096];
    uint64_t random = 1;
    for (uint32_t n = 0; n < 16 * 3 * garbage_templates(); n++) {
        size_t length = generate(n, &random, data);
        snprintf(path, sizeof path, "%s/%03u", directory, n);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(data, 1, length, f) != length || fclose(f))
            return 1;
    }
    return 0;
}

static int ask(void) {
    static uint8_t data[1 << 20];
    uint32_t length;
    while (fread(&length, 4, 1, stdin) == 1) {
        if (length > sizeof data || fread(data, 1, length, stdin) != length)
            return 1;
        watch();
        garbage_case(data, length);
        putchar('.');
        fflush(stdout);
    }
    return 0;
}

static int files(char **paths) {
    static uint8_t data[1 << 20];
    for (; *paths; paths++) {
        FILE *f = fopen(*paths, "rb");
        if (!f)
            return 1;
        size_t length = fread(data, 1, sizeof data, f);
        fclose(f);
        watch();
        garbage_case(data, length);
    }
    return 0;
}

int main(int argc, char **argv) {
    prepare();
    if (argc == 5 && !strcmp(argv[1], "loop"))
        return loop(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0), atof(argv[4]));
    if (argc == 4 && !strcmp(argv[1], "scribble"))
        return scribble(strtoull(argv[2], NULL, 0), atof(argv[3]));
    if (argc == 3 && !strcmp(argv[1], "seeds"))
        return seeds(argv[2]);
    if (argc == 2 && !strcmp(argv[1], "ask"))
        return ask();
    return files(argv + 1);
}
#endif
