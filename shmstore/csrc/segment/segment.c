/* segment.c: the sizes of a planned store, and the checked view of an existing one
 *
 * Planning places one region after the other (layout.h has the drawing). The plan is used only by the creator. Every
 * other process reads sizes and offsets from the header, so a later version may plan differently without a new format.
 * What does not depend on the size lies beside the size that was asked for, so unused client slots, which use no memory,
 * cost no room. A store of any size accepts one value of nine tenths of its size: what its tables need beyond the rest comes
 * on top of the size. That is a few pages of a small store, and more with many entries for the size. */
#include "segment/segment.h"

/* Places a region of `bytes` bytes at or after *at, and moves *at behind it. */
static uint64_t next_region(uint64_t *at, uint64_t bytes, uint64_t align) {
    uint64_t offset = SHMS_ALIGN_UP(*at, align);
    *at = offset + bytes;
    return offset;
}

#define VALUE_HEAD 1024u /* a block's header, padding and key, beside a value */
#define CLIENTS_DEFAULT 1024u
#define CLIENTS_IN_HUGE_PAGES 128u /* huge pages are reserved for all of the segment */
#define CLIENT_SIZE 4096u          /* a page, so that a client slot is committed by its owner alone */

/* Places what depends on the number of pages of the heap, from g->page_bits on. Returns where the heap ends. */
static uint64_t place_heap(struct shms_geometry *g, uint64_t pages) {
    uint64_t at = g->page_bits;
    next_region(&at, (pages + 63) / 64 * 16, SHMS_LINE);
    g->pages = next_region(&at, pages * sizeof(struct shms_page), SHMS_LINE);
    g->slots = next_region(&at, g->bucket_count * SHMS_LINE, SHMS_PAGE);
    g->heap = next_region(&at, 0, SHMS_PAGE);
    g->heap_pages = pages;
    return g->heap + pages * SHMS_PAGE;
}

int shms_geometry_plan(uint64_t size, uint64_t max_entries, uint64_t max_clients, bool evicts, uint64_t unit,
                       struct shms_geometry *g) {
    memset(g, 0, sizeof *g);
    if (size > 1ull << 44 || max_entries > 0xffffffffull || max_clients > SHMS_CLIENTS_MAX)
        return SHMS_TOO_LARGE;
    g->max_entries = max_entries;
    g->client_count = max_clients ? (uint32_t)max_clients : unit == SHMS_PAGE ? CLIENTS_DEFAULT : CLIENTS_IN_HUGE_PAGES;
    g->client_size = CLIENT_SIZE;
    g->size = SHMS_ALIGN_UP(size, SHMS_PAGE);
    /* The default is a slot for every 128 bytes of the size: few stores have smaller entries. With a max_entries above
     * 1024 the table gets a quarter more slots, so it is at most four fifths full and a search over the largest reach
     * of 256 buckets practically always finds an empty slot. */
    uint64_t slots = max_entries ? max_entries + (max_entries > 1024 || evicts ? max_entries / 4 : 0) : g->size / 128;
    slots = shms_min(slots, 0xfffffff0ull);
    g->bucket_count = shms_max((slots + SHMS_BUCKET_SLOTS - 1) / SHMS_BUCKET_SLOTS, 2);
    uint64_t at = SHMS_HEADER_SIZE;
    g->pin_bits = next_region(&at, (g->client_count + 63) / 64 * 8, SHMS_LINE);
    g->classes = next_region(&at, SHMS_CLASSES * sizeof(struct shms_class), SHMS_LINE);
    g->clients = next_region(&at, (uint64_t)g->client_count * g->client_size, SHMS_PAGE);
    g->counters = SHMS_COUNTERS;
    g->counters_of_namespaces = SHMS_COUNTERS_OF_NAMESPACES;
    g->generations = next_region(&at, g->counters * 8ull, SHMS_PAGE);
    if (evicts) { /* a ghost for each slot */
        g->ghost_sets = (g->bucket_count * SHMS_BUCKET_SLOTS + SHMS_GHOST_WAYS - 1) / SHMS_GHOST_WAYS;
        g->ghosts = next_region(&at, g->ghost_sets * SHMS_GHOST_WAYS * 2, SHMS_LINE);
    }
    uint64_t beside = SHMS_ALIGN_UP(at, SHMS_PAGE);
    g->segment_size = SHMS_ALIGN_UP(beside + g->size, unit);
    size = g->segment_size - beside; /* the table and the heap get what rounding up to huge pages adds */
    uint64_t table_pages = (g->bucket_count + SHMS_PAGE_BUCKETS - 1) / SHMS_PAGE_BUCKETS;
    uint64_t groups = (g->bucket_count + SHMS_GROUP_BUCKETS - 1) / SHMS_GROUP_BUCKETS;
    g->summary = next_region(&at, (table_pages + 63) / 64 * 8, SHMS_LINE);
    g->due = next_region(&at, groups * 8, SHMS_LINE);
    g->hints = next_region(&at, g->bucket_count * SHMS_BUCKET_SLOTS, SHMS_LINE);
    g->page_bits = SHMS_ALIGN_UP(at, SHMS_LINE);
    uint64_t fixed = g->page_bits + SHMS_ALIGN_UP(g->bucket_count * SHMS_LINE, SHMS_PAGE);
    if (fixed >= g->segment_size)
        return SHMS_TOO_SMALL;
    /* A page of the heap costs 4096 bytes, 32 of its struct shms_page and a quarter of a byte of bits. What alignment
     * takes is found by trying. */
    uint64_t pages = (g->segment_size - fixed) * 4 / 16513 + 1;
    while (place_heap(g, pages) > g->segment_size && pages)
        pages--;
    if (pages * SHMS_PAGE < size / 5 * 2 || pages == 0)
        return SHMS_TOO_SMALL;
    uint64_t least = (g->size / 10 * 9 + VALUE_HEAD + SHMS_PAGE - 1) / SHMS_PAGE;
    if (pages < least)
        g->segment_size = SHMS_ALIGN_UP(place_heap(g, least), unit);
    return SHMS_OK;
}

uint64_t shms_geometry_least(uint64_t max_entries, bool evicts) {
    struct shms_geometry g;
    uint64_t low = 1, high = (1ull << 44) / SHMS_PAGE; /* pages: low is too few, high is enough */
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        if (shms_geometry_plan(middle * SHMS_PAGE, max_entries, 0, evicts, SHMS_PAGE, &g) == SHMS_OK)
            high = middle;
        else
            low = middle;
    }
    return high * SHMS_PAGE;
}

/* No sum here can wrap: offset <= size is tested before size - offset is formed. */
static bool region_fits(uint64_t offset, uint64_t bytes, uint64_t size, uint64_t align) {
    return offset >= SHMS_HEADER_SIZE && offset % align == 0 && offset <= size && bytes <= size - offset;
}

static uint64_t common_divisor(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The header is copied, and the copy is both checked and used. Otherwise the compiler could load a plain field twice,
 * and a hostile process could change it between check and use. The empty asm makes the compiler forget that the copy
 * equals the header. */
int shms_segment_view(struct shms_store *s, uint8_t *base, uint64_t size, bool *only_read) {
    struct shms_header copy, *h = &copy;
    memcpy(h, base, sizeof copy);
    __asm__ volatile("" : "+m"(copy));
    if (h->format != SHMS_FORMAT_VERSION || (h->incompatible & ~SHMS_KNOWN_INCOMPATIBLE))
        return SHMS_FORMAT;
    *only_read = (h->read_compatible & ~SHMS_KNOWN_READ_COMPATIBLE) != 0;
    s->base = base;
    s->header = (struct shms_header *)base;
    s->size = h->segment_size;
    s->bucket_count = h->bucket_count;
    s->client_count = h->client_count;
    s->client_size = h->client_size;
    s->heap_offset = h->heap_offset;
    s->heap_pages = h->heap_pages;
    uint64_t slots = h->slots_offset, due = h->due_offset, summary = h->summary_offset, hints = h->hints_offset;
    uint64_t clients = h->clients_offset, pin_bits = h->pin_bits_offset, classes = h->classes_offset;
    uint64_t page_bits = h->page_bits_offset, pages = h->pages_offset, ghosts = h->ghosts_offset;
    uint64_t generations = h->generations_offset;
    s->counters = h->counters;
    s->counters_of_namespaces = h->counters_of_namespaces;
    s->ghost_sets = h->ghost_sets;
    s->root = h->root;
    s->number_multiplier = h->number_multiplier;
    s->number_xor = h->number_xor;
    if (s->size > size || s->size < SHMS_HEADER_SIZE || h->header_size != SHMS_HEADER_SIZE ||
        h->name_length > SHMS_NAME_MAX)
        return SHMS_CORRUPT;
    if (s->bucket_count < 1 || s->bucket_count > 0xffffffffull / SHMS_BUCKET_SLOTS || s->client_count < 1 ||
        s->client_count > SHMS_CLIENTS_MAX || s->client_size < 1024 || s->client_size > 1 << 16 ||
        s->client_size % SHMS_LINE || s->heap_pages < 1 || s->heap_pages > s->size / SHMS_PAGE ||
        !(s->number_multiplier & 1) || s->ghost_sets > s->size / SHMS_GHOST_WAYS || s->counters > SHMS_COUNTERS_MAX ||
        (s->counters && (s->counters_of_namespaces < 1 || s->counters_of_namespaces >= s->counters)))
        return SHMS_CORRUPT;
    s->table_pages = (s->bucket_count + SHMS_PAGE_BUCKETS - 1) / SHMS_PAGE_BUCKETS;
    s->group_count = (s->bucket_count + SHMS_GROUP_BUCKETS - 1) / SHMS_GROUP_BUCKETS;
    if (!region_fits(pin_bits, (s->client_count + 63) / 64 * 8, s->size, SHMS_LINE) ||
        !region_fits(clients, (uint64_t)s->client_count * s->client_size, s->size, SHMS_LINE) ||
        (s->counters && !region_fits(generations, s->counters * 8ull, s->size, SHMS_PAGE)) ||
        !region_fits(summary, (s->table_pages + 63) / 64 * 8, s->size, SHMS_LINE) ||
        !region_fits(due, s->group_count * 8, s->size, SHMS_LINE) ||
        !region_fits(slots, s->bucket_count * SHMS_LINE, s->size, SHMS_PAGE) ||
        !region_fits(hints, s->bucket_count * SHMS_BUCKET_SLOTS, s->size, SHMS_LINE) ||
        (s->ghost_sets && !region_fits(ghosts, s->ghost_sets * SHMS_GHOST_WAYS * 2, s->size, SHMS_LINE)) ||
        !region_fits(classes, SHMS_CLASSES * sizeof(struct shms_class), s->size, SHMS_LINE) ||
        !region_fits(page_bits, (s->heap_pages + 63) / 64 * 16, s->size, SHMS_LINE) ||
        !region_fits(pages, s->heap_pages * sizeof(struct shms_page), s->size, SHMS_LINE) ||
        !region_fits(s->heap_offset, s->heap_pages * SHMS_PAGE, s->size, SHMS_PAGE))
        return SHMS_CORRUPT;
    s->heap_end = s->heap_offset + s->heap_pages * SHMS_PAGE;
    s->pin_bits = (_Atomic uint64_t *)(base + pin_bits);
    s->clients = base + clients;
    s->summary = (_Atomic uint64_t *)(base + summary);
    s->due = (_Atomic uint64_t *)(base + due);
    s->buckets = (struct shms_bucket *)(base + slots);
    s->hints = (_Atomic uint8_t *)(base + hints);
    s->ghosts = s->ghost_sets ? (_Atomic uint16_t *)(base + ghosts) : NULL;
    s->generations = s->counters ? (_Atomic uint64_t *)(base + generations) : NULL;
    /* A table that is fuller than seven eighths makes probes long. */
    s->entries_max = s->ghost_sets ? shms_min(h->max_entries ? h->max_entries : UINT64_MAX,
                                              shms_max(s->bucket_count * SHMS_BUCKET_SLOTS * 7 / 8, 1))
                                   : 0;
    s->policy.most = (int32_t)shms_min(s->entries_max / SHMS_POLICY_SHARE, SHMS_POLICY_MOST);
    s->pages_missed = UINT64_MAX;
    uint64_t words = (s->bucket_count * SHMS_BUCKET_SLOTS + 7) / 8;
    for (s->hand_stride = words * 618 / 1000 + 1; common_divisor(s->hand_stride, words) != 1;)
        s->hand_stride++;
    s->classes = (struct shms_class *)(base + classes);
    s->taken = (_Atomic uint64_t *)(base + page_bits);
    s->present = s->taken + (s->heap_pages + 63) / 64;
    s->pages = (struct shms_page *)(base + pages);
    s->pin_count = (uint32_t)shms_min(
        (s->client_size - offsetof(struct shms_client, pins)) / sizeof(struct shms_client_pin), SHMS_PINS_MAX);
    memcpy(s->hash_key, h->hash_key, sizeof s->hash_key);
    memcpy(s->uuid, h->uuid, sizeof s->uuid);
    return SHMS_OK;
}

/* ORDERING [summary]  Pages are committed before their bit is set: a process that sees the bit touches them. The upper
 * bit is set before the lower one, and both before any lock or slot of the page is written. A death in between leaves a
 * bit without entries, which costs a walk one look. */
bool shms_page_use(struct shms_store *s, uint64_t page) {
    uint64_t top = page >> 15, due = page * (SHMS_PAGE_BUCKETS / SHMS_GROUP_BUCKETS);
    uint64_t words = shms_min((s->table_pages + 63) / 64 - (top << 9), 1 << 9); /* words under this upper bit */
    uint64_t groups = shms_min(s->group_count - due, SHMS_PAGE_BUCKETS / SHMS_GROUP_BUCKETS);
    uint64_t buckets = shms_min(s->bucket_count - page * SHMS_PAGE_BUCKETS, SHMS_PAGE_BUCKETS);
    if (s->sparse && ((s->ghost_sets &&
                       !shms_commit_sparse(
                           s, (uint64_t)((uint8_t *)&s->hints[page * SHMS_PAGE_BUCKETS * SHMS_BUCKET_SLOTS] - s->base),
                           buckets * SHMS_BUCKET_SLOTS)) ||
                      !shms_commit_sparse(s, (uint64_t)((uint8_t *)&s->summary[top << 9] - s->base), words * 8) ||
                      !shms_commit_sparse(s, (uint64_t)((uint8_t *)&s->due[due] - s->base), groups * 8) ||
                      !shms_commit_sparse(s, (uint64_t)((uint8_t *)&s->buckets[page * SHMS_PAGE_BUCKETS] - s->base),
                                          buckets * SHMS_LINE)))
        return false;
    shms_fetch_or_seq_cst(&s->header->summary_top[top >> 6 & (SHMS_SUMMARY_TOP_WORDS - 1)], 1ull << (top & 63));
    shms_fetch_or_seq_cst(&s->summary[page >> 6], 1ull << (page & 63)); /* [lock-then-frozen] */
    return true;
}

uint64_t shms_next_page_in_use(const struct shms_store *s, uint64_t page) {
    while (page < s->table_pages) {
        uint64_t top = page >> 15; /* one upper bit stands for 2^15 pages of the table, a page of the summary */
        uint64_t word = shms_load_seq_cst(&s->header->summary_top[top >> 6 & (SHMS_SUMMARY_TOP_WORDS - 1)]);
        if (!(word >> (top & 63) & 1)) {
            page = (top + 1) << 15;
            continue;
        }
        uint64_t bits = shms_load_seq_cst(&s->summary[page >> 6]) >> (page & 63); /* [lock-then-frozen] */
        if (bits)
            return shms_min(page + (uint64_t)__builtin_ctzll(bits), s->table_pages);
        page = (page | 63) + 1;
    }
    return s->table_pages;
}
