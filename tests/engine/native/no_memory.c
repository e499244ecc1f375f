/* span.c, where the system has no memory for more pages: what the store has serves every length, and goes back only while
 * no other process may look at it. The system is an own `commit` that counts the pages of the heap with memory. */
#include <errno.h>

#include "harness.h"
#include "segment/memory.h"

enum { MOST = 6000, KEPT = 4096 }; /* pages that the system has; that the store keeps */

static struct shms_store *s;
static struct shms_memory scarce;
static bool is_alone;

static uint64_t with_memory(uint64_t from, uint64_t to) {
    uint64_t count = 0;
    for (uint64_t page = from; page < to; page++)
        count += shms_load_relaxed(&s->present[page / 64]) >> (page % 64) & 1;
    return count;
}

static bool commit(struct shms_store *store, uint64_t offset, uint64_t bytes) {
    if (offset < store->heap_offset)
        return true;
    uint64_t from = (offset - store->heap_offset) / SHMS_PAGE, to = from + bytes / SHMS_PAGE;
    uint64_t missing = to - from - with_memory(from, to);
    store->short_of = with_memory(0, s->heap_pages) + missing > MOST ? ENOSPC : 0;
    return store->short_of == 0;
}

static bool may_give_back(struct shms_store *store) { return is_alone; }

static const char *name(int i) {
    static char key[16];
    snprintf(key, sizeof key, "%05d", i % 100000);
    return key;
}

static int fill(uint64_t pages) {
    int n = 0;
    while (put(s, name(n), n % 251, pages * SHMS_PAGE - 200) == SHMS_OK)
        n++;
    EXPECT(s->short_of == ENOSPC && with_memory(0, s->heap_pages) <= MOST);
    expect_sound(s);
    return n;
}

static void drop_all(int n, int step) {
    for (int i = 0; i < n; i += step)
        EXPECT(drop(s, name(i)) == SHMS_OK);
}

/* A large block that ends: the store keeps what it keeps of any other, and the next large blocks have it. */
static void a_part_is_kept(void) {
    is_alone = true;
    EXPECT(put(s, "large", 1, 5800ull * SHMS_PAGE) == SHMS_OK && drop(s, "large") == SHMS_OK);
    EXPECT(with_memory(0, s->heap_pages) == KEPT && shms_load_relaxed(&s->header->idle) == KEPT);
    is_alone = false;
    for (int i = 0; i < 4; i++)
        EXPECT(put(s, name(i), 1, 1000ull * SHMS_PAGE) == SHMS_OK);
    EXPECT(with_memory(0, s->heap_pages) <= KEPT);
    expect_sound(s);
    drop_all(4, 1);
    expect_empty(s);
}

/* Free pages without memory stand above free ones with memory, and beside them. */
static void what_is_there_is_used(void) {
    static const uint64_t lengths[] = {25, 3, 700, 8, 9};
    is_alone = false;
    for (int i = 0; i < 5; i++) {
        uint64_t pages = lengths[i];
        int n = fill(pages);
        uint64_t there = with_memory(0, s->heap_pages);
        EXPECT(i > 0 || n == MOST / 25); /* to the last page */
        drop_all(n, 2);
        int k = (n + 1) / 2;
        for (int again = 0; again < k; again++)
            EXPECT(put(s, name(2 * again), 1, pages * SHMS_PAGE - 200) == SHMS_OK);
        EXPECT(put(s, "more", 1, pages * SHMS_PAGE - 200) == SHMS_FULL && s->short_of == ENOSPC);
        EXPECT(with_memory(0, s->heap_pages) == there);
        drop_all(n, 2); /* between the others: no run of free pages is long enough */
        EXPECT(put(s, "large", 1, 2500ull * SHMS_PAGE) == SHMS_FULL && s->short_of == ENOSPC);
        EXPECT(with_memory(0, s->heap_pages) == there); /* another process may read what was freed */
        is_alone = true;                                /* now its pages may go where they are needed */
        EXPECT(put(s, "large", 1, 2500ull * SHMS_PAGE) == SHMS_OK && with_memory(0, s->heap_pages) <= MOST);
        expect_sound(s);
        EXPECT(drop(s, "large") == SHMS_OK);
        is_alone = false;
        for (int odd = 1; odd < n; odd += 2)
            EXPECT(drop(s, name(odd)) == SHMS_OK);
    }
    expect_empty(s);
}

int main(int argc, char **argv) {
    begin_scenario(argc, argv);
    s = open_store(64 << 20);
    scarce = *s->memory;
    scarce.commit = commit;
    scarce.may_give_back = may_give_back;
    s->memory = &scarce;
    s->sparse = true;
    a_part_is_kept();
    what_is_there_is_used();
    return 0;
}
