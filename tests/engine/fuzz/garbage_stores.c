/* garbage_stores.c: the sound stores that cases start from, made by the engine itself, and what each entry should be. */
#include "segment/create.c" /* initialise(), for stores of odd shapes */

#include <sys/mman.h>

#include "garbage_parts.h"

static uint8_t *room; /* SIZE_MAX_OF_ALL bytes, guarded on both sides; a store stands at its end */

/* ---- stores to start from */
struct template templates[10];
uint32_t template_count;

uint32_t garbage_templates(void) { return template_count; }

uint8_t *place_for(uint64_t size) {
    stub_size = size;
    return stub_segment = room + SIZE_MAX_OF_ALL - size;
}

static struct entry *add_entry(struct template *t, struct shms_store *s, uint64_t length, uint64_t ttl, uint32_t codec,
                               uint32_t extension, uint32_t counter) {
    MUST(t->entries < ENTRIES_MAX);
    struct entry *e = &t->entry[t->entries];
    snprintf(e->key, sizeof e->key, "k%u%s", t->entries, &"..............."[15 - t->entries % 16]);
    *e = (struct entry){.key_length = (uint32_t)strlen(e->key),
                        .kind = t->entries % 3 ? 0 : SHMS_FLAG_BYTES_KEY,
                        .present = true,
                        .length = length,
                        .seed = (uint8_t)(t->entries * 37 + 11),
                        .mortal = ttl != 0};
    snprintf(e->key, sizeof e->key, "k%u%s", t->entries, &"..............."[15 - t->entries % 16]);
    e->key_length = (uint32_t)strlen(e->key);
    if (length == 0 && t->entries % 2) {
        e->is_number = true;
        e->number = (int64_t)t->entries * 1000;
    }
    struct wish w = {.mode = e->is_number ? SHMS_INCR : SHMS_SET,
                     .ttl = ttl,
                     .codec = codec,
                     .extension_length = extension,
                     .counter = counter};
    if (put(s, e, &w) != SHMS_OK)
        return NULL;
    t->entries++;
    return e;
}

static void remember(struct template *t, struct shms_store *s, bool sound) {
    char what[200] = "";
    struct shms_check *c = calloc(1, sizeof *c);
    int rc;
    c->what = what;
    c->size = sizeof what;
    while ((rc = shms_check_step(s, c)) == SHMS_AGAIN)
        ;
    free(c);
    if (rc != SHMS_OK)
        garbage_failed(what);
    for (uint32_t i = 0; i < t->entries; i++) {
        struct entry *e = &t->entry[i];
        struct shms_key n = name_of(s, e);
        struct shms_entry f;
        rc = get(s, &n, &f);
        e->present = rc == SHMS_OK;
        if (!e->present)
            continue;
        MUST(is_right(e, &f));
        e->slot = f.number;
        e->block = SHMS_SLOT_BLOCK(f.word);
        e->bytes = shms_heap_capacity(s, e->block);
        t->used_slot[t->used_slots++] = (uint64_t)((uint8_t *)f.slot - s->base);
    }
    for (uint64_t page = 0; page < s->heap_pages; page++) {
        struct shms_span span;
        if (!shms_span_at(s, page, &span))
            continue;
        for (uint32_t i = 0; i < span.blocks && t->free_blocks < FREE_MAX; i++) {
            uint64_t at = span.start + i * span.bytes;
            if (shms_load_relaxed(shms_word_at(s, at)) != span.free || (i % 3 && i + 1 < span.blocks))
                continue; /* some of each span */
            t->free_block[t->free_blocks].at = at;
            t->free_block[t->free_blocks++].bytes = span.bytes;
        }
    }
    t->busy = !sound;
    t->image = malloc(t->size);
    memcpy(t->image, s->base, t->size);
}

/* A blank segment becomes a store of this shape. */
static struct shms_store *create_store(struct template *t, const struct shms_geometry *g) {
    uint8_t *base = place_for(t->size = g->segment_size);
    struct shms_header *h = (struct shms_header *)base;
    struct shms_open_request wish = {.name_kind = 2, .name = ""};
    struct shms_identity me;
    int status;
    memset(base, 0, t->size);
    shms_os_identity(&me);
    MUST(initialise(h, g, &wish, &me, SHMS_OWNER(1, SHMS_STATE_INITIALISING, 1, STUB_PID), 0));
    shms_store_relaxed(&h->state, SHMS_OWNER(1, SHMS_STATE_READY, 1, STUB_PID));
    shms_store_release(&h->magic, SHMS_MAGIC);
    MUST(attach_to(0, base, t->size, false, &status));
    return handles[0].s;
}

/* As shms_geometry_plan would, but of any shape. */
static struct shms_geometry shape(uint32_t clients, uint32_t client_size, uint64_t buckets, uint64_t pages) {
    struct shms_geometry g = {
        .client_count = clients, .client_size = client_size, .bucket_count = buckets, .heap_pages = pages};
    uint64_t at = SHMS_HEADER_SIZE;
    uint64_t table = (buckets + SHMS_PAGE_BUCKETS - 1) / SHMS_PAGE_BUCKETS;
    g.pin_bits = at, at += SHMS_ALIGN_UP((clients + 63) / 64 * 8, SHMS_LINE);
    g.clients = at, at += (uint64_t)clients * client_size;
    g.summary = at, at += SHMS_ALIGN_UP((table + 63) / 64 * 8, SHMS_LINE);
    g.due = at, at += SHMS_ALIGN_UP((buckets + 7) / 8 * 8, SHMS_LINE);
    g.hints = at, at += SHMS_ALIGN_UP(buckets * SHMS_BUCKET_SLOTS, SHMS_LINE);
    g.page_bits = at, at += SHMS_ALIGN_UP((pages + 63) / 64 * 16, SHMS_LINE);
    g.pages = at, at += SHMS_ALIGN_UP(pages * sizeof(struct shms_page), SHMS_LINE);
    g.classes = at, at += SHMS_CLASSES * sizeof(struct shms_class);
    g.heap = SHMS_ALIGN_UP(at, SHMS_PAGE);
    g.slots = g.heap + pages * SHMS_PAGE; /* behind the heap: another order than writers of today lay out */
    g.generations = SHMS_ALIGN_UP(g.slots + buckets * SHMS_LINE, SHMS_PAGE);
    g.counters = 64;
    g.counters_of_namespaces = 32;
    g.size = g.segment_size = g.generations + SHMS_PAGE;
    MUST(g.size <= SIZE_MAX_OF_ALL);
    return g;
}

static void fill_plainly(struct template *t, struct shms_store *s, uint32_t count, uint64_t largest) {
    for (uint32_t i = 0; i < count; i++)
        if (!add_entry(t, s, i % 4 ? stub_random() % largest : 0, 0, SHMS_CODEC_RAW, 0, 0))
            break;
    for (uint32_t i = 0; i < t->entries; i += 3)
        MUST(drop(s, &t->entry[i], 0) == SHMS_OK);
}

static void done_with(struct template *t, struct shms_store *s, bool sound) {
    remember(t, s, sound);
    detach_from(&handles[0]);
}

void garbage_prepare(void) {
    for (uint64_t behind = GUARD_BEHIND; !room && behind >= 1 << 20; behind /= 2) {
        uint64_t before = shms_min(GUARD_BEFORE, behind);
        uint8_t *all = mmap(NULL, before + SIZE_MAX_OF_ALL + behind, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (all != MAP_FAILED && mprotect(all + before, SIZE_MAX_OF_ALL, PROT_READ | PROT_WRITE) == 0)
            room = all + before;
    }
    MUST(room);
    struct template *t = templates;
    struct shms_geometry g;
    struct shms_store *s;

    MUST(shms_geometry_plan(64 << 10, 0, 3, false, SHMS_PAGE, &g) == SHMS_OK); /* 0 as users have it, small */
    s = create_store(t, &g);
    fill_plainly(t, s, 60, 400);
    done_with(t++, s, true);

    g = shape(3, 1024, 5, 6); /* 1 a crowded table */
    s = create_store(t, &g);
    fill_plainly(t, s, 30, 500);
    done_with(t++, s, true);

    MUST(shms_geometry_plan(160 << 10, 40, 3, false, SHMS_PAGE, &g) ==
         SHMS_OK); /* 2 large values, every codec, extensions, expiries */
    s = create_store(t, &g);
    MUST(shms_counter_give(s, 0) == 1 && shms_counter_give(s, 1) == 2);
    for (uint32_t i = 0; i < 24; i++)
        add_entry(t, s, i % 3 ? i * 13 : 4090 + i * 31, i % 5 ? 0 : 1ull << 50, i % 4 == 3 ? SHMS_CODEC_NAMED : i % 3,
                  i % 4 == 3 ? 16 : 0,
                  i % 6 == 2   ? 2
                  : i % 6 == 4 ? 9000 + i
                               : 0);
    for (uint32_t i = 1; i < t->entries; i += 4)
        MUST(drop(s, &t->entry[i], 0) == SHMS_OK);
    done_with(t++, s, true);

    MUST(shms_geometry_plan(96 << 10, 0, 3, false, SHMS_PAGE, &g) == SHMS_OK); /* 3 full and fragmented */
    s = create_store(t, &g);
    for (uint32_t i = 0; i < ENTRIES_MAX && add_entry(t, s, 200 + stub_random() % 400, 0, SHMS_CODEC_RAW, 0, 0); i++)
        ;
    for (uint32_t i = 0; i < t->entries; i += 2)
        drop(s, &t->entry[i], 0);
    done_with(t++, s, true);

    g = shape(1, 1024, 1, 1); /* 4 the smallest that there can be */
    s = create_store(t, &g);
    fill_plainly(t, s, 6, 100);
    done_with(t++, s, true);

    g = shape(70, 1088, 300, 70); /* 5 two words of pin bits and page bits, several pages of table */
    s = create_store(t, &g);
    fill_plainly(t, s, 80, 300);
    done_with(t++, s, true);

    MUST(shms_geometry_plan(64 << 10, 0, 3, false, SHMS_PAGE, &g) == SHMS_OK); /* 6 empty */
    s = create_store(t, &g);
    done_with(t++, s, true);

    g = shape(4, 1024, 40, 10); /* 7 in the midst of things: others attached, pins, zombies, records, a dead client */
    s = create_store(t, &g);
    fill_plainly(t, s, 40, 300);
    int status;
    MUST(attach_to(1, s->base, s->size, false, &status));
    struct shms_store *other = handles[1].s;
    for (uint32_t i = 1; i < 12; i++) {
        struct shms_key n = name_of(s, &t->entry[i]);
        if (t->entry[i].present && !t->entry[i].is_number)
            view(1, &n, true);
        if (i % 2 && i % 3)
            drop(s, &t->entry[i], 0);
    }
    struct shms_op op;
    MUST(shms_op_begin(other, &op, "unpublished", 11, 0) == SHMS_OK &&
         shms_op_reserve(&op, 100, 0, NULL, 0, 0) == SHMS_OK);
    MUST(attach_to(2, s->base, s->size, false, &status));
    MUST(shms_op_begin(handles[2].s, &op, "lost", 4, 0) == SHMS_OK &&
         shms_op_reserve(&op, 200, 0, NULL, 0, 0) == SHMS_OK);
    remember(t, s, false);
    struct shms_client *dead = (struct shms_client *)(t->image + ((uint8_t *)handles[2].s->me - s->base));
    shms_store_relaxed(&dead->owner, (shms_load_relaxed(&dead->owner) & ~0x3fffffull) | 4004); /* nobody's number */
    t++;
    memset(handles, 0, sizeof handles);
    memset(shms_handles, 0, HANDLES * sizeof *shms_handles);
    template_count = (uint32_t)(t - templates);
}
