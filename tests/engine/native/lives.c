/* Numbers are given out once, whatever is forked, claimed anew or killed; and the words made of them differ. */
#include <sys/mman.h>

#include "harness.h"

#define EACH 3000u
#define PROCESSES 8u

static struct shared {
    _Atomic uint64_t count;
    uint64_t numbers[EACH * (2 * PROCESSES + 4)];
} *all;

static void take(struct shms_store *s, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        all->numbers[shms_fetch_add_acq_rel(&all->count, 1)] = i % 7 ? shms_number(s) : shms_number_shared(s);
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void expect_no_number_twice(struct shms_store *s) {
    uint64_t count = shms_load_relaxed(&all->count);
    qsort(all->numbers, count, sizeof *all->numbers, ascending);
    for (uint64_t i = 0; i < count; i++) {
        EXPECT(all->numbers[i] > 0 && all->numbers[i] <= shms_load_relaxed(&s->header->numbers));
        EXPECT(i == 0 || all->numbers[i] != all->numbers[i - 1]);
    }
}

static void takes_some_and_dies(struct shms_store *s) { take(s, EACH / 2); }

static void words(struct shms_store *s) {
    uint64_t former = 0;
    for (uint64_t number = 1; number < 10000; number++) {
        uint64_t life = shms_life_of(s, number);
        EXPECT(life && life % 4 == 0 && life != former && SHMS_WORD_ALIVE(life));
        EXPECT(SHMS_WORD_ALIVE(life | SHMS_WORD_PINNED) && SHMS_WORD_LIFE(life | SHMS_WORD_PINNED) == life);
        EXPECT(!SHMS_WORD_ALIVE(shms_zombie_word(life)) && !SHMS_WORD_ALIVE(shms_free_word(s, number)));
        EXPECT(shms_zombie_word(life) != shms_free_word(s, number) && shms_life_of(s, number + (1ull << 62)) == life);
        EXPECT(SHMS_PAGE_NUMBER(SHMS_PAGE_OPEN(number)) == number && SHMS_PAGE_IS_OPEN(SHMS_PAGE_OPEN(number)));
        EXPECT(SHMS_PAGE_NUMBER(SHMS_PAGE_TAKEN(number)) == number && !SHMS_PAGE_IS_OPEN(SHMS_PAGE_TAKEN(number)));
        former = life;
    }
    EXPECT(!SHMS_WORD_ALIVE(0));
    /* The number whose life would be 0, "none", is passed over. */
    uint64_t inverse = 1, none;
    for (int i = 0; i < 6; i++)
        inverse *= 2 - s->number_multiplier * inverse;
    EXPECT(inverse * s->number_multiplier == 1);
    none = s->number_xor * inverse & (~0ull >> 2);
    EXPECT(shms_life_of(s, none) == 0);
    uint64_t before = shms_load_relaxed(&s->header->numbers);
    shms_store_relaxed(&s->header->numbers, none - 1);
    EXPECT(shms_number_shared(s) == none + 1);
    shms_store_relaxed(&s->header->numbers, none - 1);
    s->next_number = s->numbers_end = 0;
    EXPECT(shms_number(s) == none + 1);
    s->next_number = s->numbers_end = 0;
    shms_store_relaxed(&s->header->numbers, before);
}

/* A process takes a range at once; a client slot that is claimed anew begins with none of it. */
static void ranges(struct shms_store *s) {
    uint64_t before = shms_load_relaxed(&s->header->numbers), first = 0;
    s->next_number = s->numbers_end = 0;
    for (uint64_t i = 0; i < 2 * SHMS_NUMBERS_TAKEN; i++) {
        uint64_t number = shms_number(s);
        EXPECT(i % SHMS_NUMBERS_TAKEN == 0 || number == first + i % SHMS_NUMBERS_TAKEN);
        first = i % SHMS_NUMBERS_TAKEN ? first : number;
    }
    EXPECT(shms_load_relaxed(&s->header->numbers) == before + 2 * SHMS_NUMBERS_TAKEN);
    shms_number(s);
    EXPECT(s->numbers_end - s->next_number == SHMS_NUMBERS_TAKEN - 1);
    shms_client_release(s);
    EXPECT(shms_client_claim(s) == SHMS_OK && s->next_number == s->numbers_end);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    struct shms_store *observer = open_store(1 << 20);
    words(observer);
    ranges(observer);
    all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(all != MAP_FAILED);
    struct shms_open_request wish = wish_for(0, ATTACH);
    struct shms_open_result found;
    int status;
    int64_t handle = shms_adopt(shms_open_begin(&wish, &found, &status));
    struct shms_store *s = shms_handle_enter(handle)->s;
    take(s, EACH / 2 + 5); /* in the midst of a range */
    for (uint32_t i = 0; i < PROCESSES; i++) {
        pid_t child = fork();
        EXPECT(child >= 0);
        if (child == 0) {
            EXPECT(shms_usable(handle) == SHMS_OK && s->me);
            take(s, EACH);
            pid_t grandchild = i % 2 ? 0 : fork();
            if (!grandchild && i % 2 == 0) {
                EXPECT(shms_usable(handle) == SHMS_OK);
                take(s, EACH / 2);
                _exit(0);
            }
            EXPECT(i % 2 || (waitpid(grandchild, &status, 0) == grandchild && status == 0));
            take(s, EACH / 4);
            _exit(0);
        }
        take(s, 3);
        if (i % 3 == 0)
            EXPECT(waitpid(child, &status, 0) == child && status == 0);
    }
    while (wait(&status) > 0)
        EXPECT(status == 0);
    let_die(takes_some_and_dies);
    take(observer, EACH / 2);
    take(s, EACH / 2);
    expect_no_number_twice(observer);
    shms_handle_leave(shms_handle_enter(handle));
    shms_recover_all(observer, false);
    expect_sound(observer);
    return 0;
}
