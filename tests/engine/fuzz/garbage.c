/* garbage.c: one property of the engine, for any bytes in the segment.
 *
 * A CASE is a string of bytes: which store to start from, what to damage, what to do then. Any string is one, so that
 * three drivers share it: a loop over generated cases, libFuzzer, and hypothesis (drive.c, test_garbage.py).
 *
 * THE PROPERTY  Whatever stands in the segment: attaching, every operation, a walk, check(), the registry and a rebuild
 *   end, and say a status that they may say. Nothing outside the segment is touched: it lies in the midst of terabytes
 *   that nobody may touch, more than a slot's word can reach, and what its header does not claim is poisoned. A
 *   read-only attachment changes no byte. And what was not damaged is right:
 *     intact   an entry whose every byte and slot, and everything on the way there, is as it was, is read as it was
 *     mild     damage to derived state, to memory that is free, to keys and values: after a rebuild that still holds
 *     soft     damage to derived state and free memory alone: after a rebuild check() finds nothing, the store does
 *              what a model of it does, and check() finds nothing again
 *
 * It knows no magic value of a sound store: the stores to start from are made by the engine itself. */
#include "segment/create.c" /* initialise(), for stores of odd shapes */

#include <sys/mman.h>

#include "garbage.h"

#ifndef __has_feature /* clang's way to tell */
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(from, bytes) ((void)(from), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(from, bytes) ((void)(from), (void)(bytes))
#endif

#define SIZE_MAX_OF_ALL (512u << 10)
#define GUARD_BEHIND (18ull << 40) /* a slot's word reaches 16 TiB */
#define GUARD_BEFORE (1ull << 36)
#define ENTRIES_MAX 160
#define RUNS_MAX 64
#define NAMES 40 /* that operations speak of */

const uint8_t *garbage_data;
size_t garbage_length;
static uint8_t *room; /* SIZE_MAX_OF_ALL bytes, guarded on both sides; a store stands at its end */

#define MUST(condition)                                                                 \
    do {                                                                                \
        if (!(condition)) {                                                             \
            char what_[160];                                                            \
            snprintf(what_, sizeof what_, "%s:%d: %s", __FILE__, __LINE__, #condition); \
            garbage_failed(what_);                                                      \
        }                                                                               \
    } while (0)

/* ---- what an entry should be */
struct entry {
    char key[24];
    uint32_t key_length, kind; /* kind: SHMS_FLAG_BYTES_KEY or 0 */
    bool present, is_number, mortal;
    int64_t number;
    uint64_t length;
    uint8_t seed;
    uint32_t slot; /* where it lies in the template */
    uint64_t block, bytes;
};

struct template {
    uint8_t *image;
    uint64_t size;
    uint32_t entries;
    struct entry entry[ENTRIES_MAX];
    uint32_t runs;
    struct {
        uint64_t at, bytes;
    } run[RUNS_MAX];
    uint32_t used_slots;
    uint64_t used_slot[ENTRIES_MAX];
    bool busy; /* somebody holds something there */
};

static uint8_t pattern(uint8_t seed, uint64_t i) { return (uint8_t)(seed + i * 7 + (i >> 8)); }

static struct shms_key name_of(const struct shms_store *s, const struct entry *e) {
    struct shms_key n;
    shms_key_init(s, &n, e->key, e->key_length, e->kind);
    return n;
}

/* ---- operations as csrc/python does them, with patience for locks that somebody else holds */
#define PATIENCE 3

static bool may_be(int rc, const char *allowed) {
    static const struct {
        char letter;
        int rc;
    } known[] = {
        {'o', SHMS_OK},        {'m', SHMS_MISS},    {'u', SHMS_UNMET},      {'b', SHMS_BUSY},
        {'a', SHMS_AGAIN},     {'f', SHMS_FULL},    {'t', SHMS_TABLE_FULL}, {'l', SHMS_TOO_LARGE},
        {'c', SHMS_CORRUPT},   {'n', SHMS_NOT_INT}, {'v', SHMS_OVERFLOW},   {'d', SHMS_DESTROYED},
        {'p', SHMS_NO_CLIENT}, {'w', SHMS_TIMEOUT}, {'s', SHMS_CONTENDED},  {'r', SHMS_READ_ONLY},
        {'k', SHMS_FORKED}, /* robbed of its place, and there is no other */
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].rc == rc && strchr(allowed, known[i].letter))
            return true;
    return false;
}
#define MAY_BE(rc, allowed)                                                                   \
    do {                                                                                      \
        int rc_ = (rc);                                                                       \
        if (!may_be(rc_, (allowed))) {                                                        \
            char what_[160];                                                                  \
            snprintf(what_, sizeof what_, "%s:%d: %d from %s", __FILE__, __LINE__, rc_, #rc); \
            garbage_failed(what_);                                                            \
        }                                                                                     \
    } while (0)

static uint8_t copied[SIZE_MAX_OF_ALL];

static int get(struct shms_store *s, const struct shms_key *n, struct shms_entry *f) {
    for (int tries = 0; tries < PATIENCE; tries++) {
        int rc = shms_find(s, n, f);
        MAY_BE(rc, "ombc");
        if (rc != SHMS_OK) {
            if (rc != SHMS_BUSY)
                return rc;
            continue;
        }
        MUST(f->value_length <= s->size && f->value >= s->base && f->value + f->value_length <= s->base + s->size);
        if (f->extension)
            memcpy(copied, f->extension, f->extension_length);
        memcpy(copied, f->value, f->value_length);
        if (shms_entry_unchanged(f))
            return SHMS_OK;
    }
    return SHMS_BUSY;
}

static bool is_right(const struct entry *e, const struct shms_entry *f) {
    if (e->is_number) {
        int64_t number;
        return shms_number_decode(copied, f->value_length, &number) == SHMS_OK && number == e->number;
    }
    if (f->value_length != e->length)
        return false;
    for (uint64_t i = 0; i < e->length; i++)
        if (copied[i] != pattern(e->seed, i))
            return false;
    return true;
}

static void expect(struct shms_store *s, const struct entry *e) {
    struct shms_key n = name_of(s, e);
    struct shms_entry f;
    int rc = get(s, &n, &f);
    MUST(rc == (e->present ? SHMS_OK : SHMS_MISS));
    MUST(!e->present || is_right(e, &f));
}

static int wait_for(struct shms_store *s, struct shms_op *op) {
    if (op->busy)
        shms_await(s, op->busy, op->seen, 1000000);
    return SHMS_BUSY;
}

struct wish {
    enum shms_mode mode;
    uint64_t expected, ttl;
    uint32_t codec, extension_length;
    bool keep;
};

static int put(struct shms_store *s, const struct entry *e, const struct wish *w) {
    uint8_t extension[64] = {0};
    struct shms_op op;
    int rc = SHMS_BUSY;
    uint32_t total = w->extension_length;
    memcpy(extension, &total, 4);
    for (int tries = 0; tries < PATIENCE && rc == SHMS_BUSY; tries++) {
        if ((rc = shms_op_begin(s, &op, e->key, e->key_length, e->kind)) != SHMS_OK)
            break;
        op.number = e->number;
        op.initial = 0;
        rc = shms_op_reserve(&op, e->is_number ? SHMS_NUMBER_MAX : e->length,
                             e->is_number ? SHMS_CODEC_MSGPACK : w->codec, total ? extension : NULL, total,
                             w->ttl ? shms_os_now() + w->ttl : 0);
        op.keep_expiry = w->keep;
        MAY_BE(rc, "obflc");
        if (rc == SHMS_OK) {
            MUST(op.block >= s->heap_offset && op.block < s->heap_end &&
                 op.value + op.value_length <= s->base + s->heap_end);
            for (uint64_t i = 0; !e->is_number && i < e->length; i++)
                op.value[i] = pattern(e->seed, i);
            rc = shms_op_publish(&op, w->mode, w->expected);
            MAY_BE(rc, "oubcntv");
        } else if (rc == SHMS_FULL)
            shms_make_room(s);
        _Atomic uint64_t *busy = op.busy;
        shms_op_end(&op);
        op.busy = busy;
        if (rc == SHMS_BUSY)
            wait_for(s, &op);
    }
    return rc;
}

static int drop(struct shms_store *s, const struct entry *e, uint64_t expected) {
    struct shms_op op;
    int rc = SHMS_BUSY;
    for (int tries = 0; tries < PATIENCE && rc == SHMS_BUSY; tries++) {
        if ((rc = shms_op_begin(s, &op, e->key, e->key_length, e->kind)) != SHMS_OK)
            break;
        rc = shms_op_remove(&op, expected);
        MAY_BE(rc, "ombuc");
        shms_op_end(&op);
        if (rc == SHMS_BUSY)
            wait_for(s, &op);
    }
    return rc;
}

static int touch(struct shms_store *s, const struct entry *e, uint64_t ttl) {
    struct shms_op op;
    int rc = SHMS_BUSY;
    for (int tries = 0; tries < PATIENCE && rc == SHMS_BUSY; tries++) {
        if ((rc = shms_op_begin(s, &op, e->key, e->key_length, e->kind)) != SHMS_OK)
            break;
        rc = shms_op_touch(&op, ttl ? shms_os_now() + ttl : 0, 0);
        MAY_BE(rc, "ombc");
        shms_op_end(&op);
        if (rc == SHMS_BUSY)
            wait_for(s, &op);
    }
    return rc;
}

/* ---- attachments: a handle each, since views and the administrator's calls go through one */
#define HANDLES 3
static struct shms_handle handles[HANDLES];

static int64_t number_of(uint32_t i) { return (int64_t)1 << 16 | i; }

/* The handle's store is attached to what stands at `base`; NULL if it refuses. *status says why. */
static struct shms_handle *attach_to(uint32_t i, uint8_t *base, uint64_t size, bool readonly, int *status) {
    struct shms_handle *h = &handles[i];
    bool only_read = false;
    memset(h, 0, sizeof *h);
    h->s.liveness = h->s.fd = -1;
    h->s.memory = &shms_memory_sysv;
    *status = shms_segment_view(&h->s, base, size, &only_read);
    MUST(*status == SHMS_OK || *status == SHMS_CORRUPT || *status == SHMS_FORMAT);
    if (*status != SHMS_OK)
        return NULL;
    MUST(h->s.size <= size);
    h->s.readonly = readonly || only_read;
    shms_os_identity(&h->s.identity);
    h->s.validated_at = shms_os_now_coarse();
    h->s.fork_epoch = shms_fork_epoch;
    h->timeout = SHMS_SECOND / 100;
    shms_store_release(&h->word, 1ull << 32);
    shms_handles[i] = h;
    if (h->s.readonly)
        return h;
    *status = shms_client_claim(&h->s);
    MAY_BE(*status, "op");
    if (*status != SHMS_OK)
        return NULL;
    shms_recover_all(&h->s, true);
    return h;
}

static void detach_from(struct shms_handle *h) {
    shms_client_release(&h->s);
    shms_handles[h - handles] = NULL;
    h->s.base = NULL;
}

static void look_at_everything(uint32_t i) {
    struct shms_store *s = &handles[i].s;
    static struct shms_info info;
    static struct shms_client_info clients[8];
    static uint8_t names[SHMS_KEY_MAX + 20];
    struct shms_stats stats;
    char what[200] = "";
    struct shms_client_info holder;
    uint64_t cursor = 0, filled, deaths, rebuilds;
    uint32_t pid;
    int64_t number = number_of(i);
    MUST(shms_get_info(number, &info) == SHMS_OK && info.name_length <= SHMS_NAME_MAX);
    MAY_BE(shms_get_stats(number, &stats), "odcp");
    int64_t n = shms_get_clients(number, clients, 8);
    MUST(n >= 0 ? n <= s->client_count : may_be((int)n, "dcp"));
    struct shms_handle *h = shms_handle_get(number);
    struct shms_count counted;
    shms_count_begin(&h->s, number % 2, &counted);
    while (!shms_count_some(&h->s, &counted, 64))
        ;
    n = (int64_t)counted.count;
    MUST(n >= 0 ? (uint64_t)n <= s->bucket_count * SHMS_BUCKET_SLOTS : may_be((int)n, "dcp"));
    for (uint64_t rounds = 0; cursor != UINT64_MAX; rounds++) {
        uint64_t before = cursor;
        int rc = shms_next_keys(number, &cursor, "k", 1, i % 2 ? 0 : SHMS_WALK_ALL, names, sizeof names, &filled);
        MAY_BE(rc, "odcsp");
        MUST(filled <= sizeof names);
        if (rc != SHMS_OK)
            break;
        MUST(cursor > before); /* it goes on, or it would go on for ever */
    }
    cursor = 0;
    for (uint64_t rounds = 0; cursor != UINT64_MAX; rounds++) {
        uint64_t before = cursor, end = i % 2 ? UINT64_MAX : cursor + 448;
        int rc = shms_next_versions(number, &cursor, end, names, sizeof names, &filled);
        MAY_BE(rc, "odcsp");
        MUST(filled <= sizeof names);
        if (rc != SHMS_OK)
            break;
        MUST(cursor > before);
    }
    MAY_BE(shms_w_check(number, SHMS_SECOND / 100, what, sizeof what), "ocdwpk");
    MUST(memchr(what, 0, sizeof what));
    shms_take_events(number, &deaths, &rebuilds, &pid);
    shms_lock_holder(number, &holder);
    MAY_BE(shms_revalidate_now(number), "odcp");
}

static void view(uint32_t i, const struct shms_key *n, bool leave_open) {
    struct shms_handle *h = &handles[i];
    struct shms_view v;
    int rc = shms_view_begin(h, n, &v);
    MAY_BE(rc, "ombucrf");
    if (rc != SHMS_OK)
        return;
    MUST(v.bytes >= h->s.base && v.length <= h->s.size && v.bytes + v.length <= h->s.base + h->s.size);
    memcpy(copied, v.bytes, v.length);
    if (!leave_open)
        shms_view_end(number_of(i), v.pin, v.owner);
}

/* ---- stores to start from */
static struct template templates[10];
static uint32_t template_count;

uint32_t garbage_templates(void) { return template_count; }

static uint8_t *place_for(uint64_t size) {
    stub_size = size;
    return stub_segment = room + SIZE_MAX_OF_ALL - size;
}

static struct entry *add_entry(struct template *t, struct shms_store *s, uint64_t length, uint64_t ttl, uint32_t codec,
                               uint32_t extension) {
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
    struct wish w = {
        .mode = e->is_number ? SHMS_INCR : SHMS_SET, .ttl = ttl, .codec = codec, .extension_length = extension};
    if (put(s, e, &w) != SHMS_OK)
        return NULL;
    t->entries++;
    return e;
}

static void remember(struct template *t, struct shms_store *s, bool sound) {
    char what[200] = "";
    _Atomic uint64_t *busy;
    uint64_t seen;
    int rc = shms_check(s, what, sizeof what, &busy, &seen);
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
        e->bytes = shms_arena_block_size(s, shms_arena_of(s, e->block), e->block);
        t->used_slot[t->used_slots++] = (uint64_t)((uint8_t *)f.slot - s->base);
    }
    for (uint32_t a = 0; a < s->arena_count; a++)
        for (uint64_t at = shms_arena_base(s, a), top = shms_load_relaxed(&s->arenas[a].top); at < top;) {
            struct shms_block *b = (struct shms_block *)(s->base + at);
            bool is_free = shms_load_relaxed(&b->tag) & SHMS_TAG_FREE;
            uint64_t bytes = is_free ? shms_load_relaxed(&b->lengths) : shms_arena_block_size(s, a, at);
            if (is_free && t->runs < RUNS_MAX) {
                t->run[t->runs].at = at;
                t->run[t->runs++].bytes = bytes;
            }
            at += bytes;
        }
    t->busy = !sound;
    t->image = malloc(t->size);
    memcpy(t->image, s->base, t->size);
}

/* A blank segment becomes a store of this shape. */
static struct shms_store *create_store(struct template *t, const struct shms_geometry *g) {
    uint8_t *base = place_for(t->size = g->size);
    struct shms_header *h = (struct shms_header *)base;
    struct shms_open_request wish = {.name_kind = 2, .name = ""};
    struct shms_identity me;
    int status;
    memset(base, 0, g->size);
    shms_os_identity(&me);
    MUST(initialise(h, g, &wish, &me, SHMS_OWNER(1, SHMS_STATE_INITIALISING, 1, STUB_PID), 0));
    shms_store_relaxed(&h->state, SHMS_OWNER(1, SHMS_STATE_READY, 1, STUB_PID));
    shms_store_release(&h->magic, SHMS_MAGIC);
    MUST(attach_to(0, base, g->size, false, &status));
    return &handles[0].s;
}

/* As shms_geometry_plan would, but of any shape. */
static struct shms_geometry shape(uint32_t clients, uint32_t client_size, uint64_t buckets, uint32_t arenas,
                                  uint32_t pages) {
    struct shms_geometry g = {.client_count = clients,
                              .client_size = client_size,
                              .namespace_count = 2,
                              .bucket_count = buckets,
                              .arena_count = arenas,
                              .arena_size = (uint64_t)pages * SHMS_PAGE};
    uint64_t at = SHMS_HEADER_SIZE;
    uint64_t table = (buckets + SHMS_PAGE_BUCKETS - 1) / SHMS_PAGE_BUCKETS;
    g.pin_bits = at, at += SHMS_ALIGN_UP((clients + 63) / 64 * 8, SHMS_LINE);
    g.clients = at, at += (uint64_t)clients * client_size;
    g.summary = at, at += SHMS_ALIGN_UP((table + 63) / 64 * 8, SHMS_LINE);
    g.due = at, at += SHMS_ALIGN_UP((buckets + 7) / 8 * 8, SHMS_LINE);
    g.hints = at, at += SHMS_ALIGN_UP(buckets * SHMS_BUCKET_SLOTS, SHMS_LINE);
    g.namespaces = at, at += 2 * sizeof(struct shms_namespace);
    g.arenas = at, at += arenas * sizeof(struct shms_arena);
    g.heap = SHMS_ALIGN_UP(at, SHMS_PAGE);
    g.slots = g.heap + arenas * g.arena_size; /* behind the heaps: another order than writers of today lay out */
    g.size = SHMS_ALIGN_UP(g.slots + buckets * SHMS_LINE, SHMS_PAGE);
    MUST(g.size <= SIZE_MAX_OF_ALL);
    return g;
}

static void fill_plainly(struct template *t, struct shms_store *s, uint32_t count, uint64_t largest) {
    for (uint32_t i = 0; i < count; i++)
        if (!add_entry(t, s, i % 4 ? stub_random() % largest : 0, 0, SHMS_CODEC_RAW, 0))
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

    MUST(shms_geometry_plan(64 << 10, 0, &g) == SHMS_OK); /* 0 as users have it, small */
    s = create_store(t, &g);
    fill_plainly(t, s, 60, 400);
    done_with(t++, s, true);

    g = shape(3, 512, 5, 3, 2); /* 1 a crowded table, three arenas */
    s = create_store(t, &g);
    fill_plainly(t, s, 30, 500);
    done_with(t++, s, true);

    MUST(shms_geometry_plan(160 << 10, 40, &g) == SHMS_OK); /* 2 large values, every codec, extensions, expiries */
    s = create_store(t, &g);
    for (uint32_t i = 0; i < 24; i++)
        add_entry(t, s, i % 3 ? i * 13 : 4090 + i * 31, i % 5 ? 0 : 1ull << 50, i % 4 == 3 ? SHMS_CODEC_NAMED : i % 3,
                  i % 4 == 3 ? 16 : 0);
    for (uint32_t i = 1; i < t->entries; i += 4)
        MUST(drop(s, &t->entry[i], 0) == SHMS_OK);
    done_with(t++, s, true);

    MUST(shms_geometry_plan(96 << 10, 0, &g) == SHMS_OK); /* 3 full and fragmented */
    s = create_store(t, &g);
    for (uint32_t i = 0; i < ENTRIES_MAX && add_entry(t, s, 200 + stub_random() % 400, 0, SHMS_CODEC_RAW, 0); i++)
        ;
    for (uint32_t i = 0; i < t->entries; i += 2)
        drop(s, &t->entry[i], 0);
    done_with(t++, s, true);

    g = shape(1, 512, 1, 1, 1); /* 4 the smallest that there can be */
    s = create_store(t, &g);
    fill_plainly(t, s, 6, 100);
    done_with(t++, s, true);

    g = shape(70, 576, 300, 16, 1); /* 5 two words of pin bits, several pages of table, all arenas */
    s = create_store(t, &g);
    fill_plainly(t, s, 80, 300);
    done_with(t++, s, true);

    MUST(shms_geometry_plan(64 << 10, 0, &g) == SHMS_OK); /* 6 empty */
    s = create_store(t, &g);
    done_with(t++, s, true);

    g = shape(4, 512, 40, 2, 4); /* 7 in the midst of things: others attached, pins, zombies, records, a dead client */
    s = create_store(t, &g);
    fill_plainly(t, s, 40, 300);
    int status;
    MUST(attach_to(1, s->base, s->size, false, &status));
    struct shms_store *other = &handles[1].s;
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
    MUST(shms_op_begin(&handles[2].s, &op, "lost", 4, 0) == SHMS_OK &&
         shms_op_reserve(&op, 200, 0, NULL, 0, 0) == SHMS_OK);
    remember(t, s, false);
    struct shms_client *dead = (struct shms_client *)(t->image + ((uint8_t *)handles[2].s.me - s->base));
    shms_store_relaxed(&dead->owner, (shms_load_relaxed(&dead->owner) & ~0x3fffffull) | 4004); /* nobody's number */
    t++;
    memset(handles, 0, sizeof handles);
    memset(shms_handles, 0, HANDLES * sizeof *shms_handles);
    template_count = (uint32_t)(t - templates);
}

/* ---- damage */
struct reader {
    const uint8_t *at, *end;
};
static uint64_t take(struct reader *r, int bytes) {
    uint64_t n = 0;
    for (int i = 0; i < bytes && r->at < r->end; i++)
        n |= (uint64_t)*r->at++ << (8 * i);
    return n;
}

static uint64_t word_at(const uint8_t *base, uint64_t at) {
    uint64_t w;
    memcpy(&w, base + at, 8);
    return w;
}

/* The address of a word that somebody will look at. */
static uint64_t where(const struct template *t, uint32_t kind, uint32_t i) {
    const struct shms_header *h = (const struct shms_header *)t->image;
    uint64_t at;
    switch (kind % 20) {
    case 0:
        at = i % 35 * 8;
        break;
    case 1:
        at = SHMS_PAGE / 4 + i % 24 * 8;
        break;
    case 2:
        at = h->slots_offset + i % h->bucket_count * SHMS_LINE;
        break;
    case 3:
        at = t->used_slots ? t->used_slot[i % t->used_slots] : h->slots_offset + 8;
        break;
    case 4:
        at = h->slots_offset + i % (h->bucket_count * 8) * 8;
        break;
    case 5:
    case 6:
        at = t->entries ? t->entry[i % t->entries].block + i / 256 % 5 * 8 : h->heap_offset;
        break;
    case 7:
        at = t->entries ? t->entry[i % t->entries].block + i / 256 % 16 * 8 : h->heap_offset;
        break;
    case 8:
        at = h->arenas_offset + i % h->arena_count * sizeof(struct shms_arena) + i / 256 % 15 * 8;
        break;
    case 9:
        at = h->arenas_offset + i % h->arena_count * sizeof(struct shms_arena) + 128 + i / 256 % 32 * 8;
        break;
    case 10: /* a list that is not empty */
        at = h->arenas_offset + i % h->arena_count * sizeof(struct shms_arena) + 384;
        for (uint32_t k = 0, n = i / 256; k < SHMS_FL * SHMS_SL; k++)
            if (word_at(t->image, at + k * 8) && n-- == 0) {
                at += k * 8;
                break;
            }
        break;
    case 11:
    case 12:
        at = t->runs ? t->run[i % t->runs].at + i / 256 % 5 * 8 : h->heap_offset;
        break;
    case 13:
        at = t->runs ? t->run[i % t->runs].at + t->run[i % t->runs].bytes - 8 : h->heap_offset;
        break;
    case 14:
        at = h->clients_offset + i % h->client_count * h->client_size + i / 256 % 6 * 8;
        break;
    case 15:
        at = h->clients_offset + i % h->client_count * h->client_size + 192 + i / 256 % 32 * 8;
        break;
    case 16:
        at = h->clients_offset + i % h->client_count * h->client_size + 448 + i / 256 % 8 * 8;
        break;
    case 17:
        at = h->summary_offset + i % 64 * 8;
        break;
    case 18:
        at = h->due_offset + i % ((h->bucket_count + 7) / 8) * 8;
        break;
    default:
        at = (uint64_t)i * 8;
    }
    return at % (t->size - 7);
}

/* A value at a boundary of something, or one that means something elsewhere. */
static uint64_t boundary(const struct template *t, uint64_t own, uint32_t kind, uint32_t i) {
    const struct shms_header *h = (const struct shms_header *)t->image;
    static const uint64_t plain[] = {0,
                                     1,
                                     2,
                                     7,
                                     15,
                                     16,
                                     48,
                                     255,
                                     256,
                                     4095,
                                     4096,
                                     1ull << 31,
                                     (1ull << 32) - 1,
                                     1ull << 32,
                                     1ull << 40,
                                     (1ull << 40) - 1,
                                     1ull << 44,
                                     1ull << 62,
                                     1ull << 63,
                                     UINT64_MAX,
                                     UINT64_MAX - 15,
                                     UINT64_MAX - 63,
                                     UINT64_MAX - 4095,
                                     UINT64_MAX - 65535,
                                     UINT64_MAX - 0xfffff,
                                     0xcccccccccccccccdull,
                                     0x5555555555555555ull,
                                     0xffff000000000000ull};
    uint64_t arena = h->heap_offset + i % h->arena_count * h->arena_size;
    const uint64_t edges[] = {0,
                              8,
                              SHMS_HEADER_SIZE,
                              h->heap_offset,
                              arena,
                              arena + h->arena_size,
                              h->slots_offset,
                              h->heap_offset + h->arena_count * h->arena_size,
                              t->size,
                              h->arenas_offset,
                              h->clients_offset};
    static const int64_t steps[] = {0, 1, -1, 8, -8, 16, -16, 40, -40, 48, -48, 64, -64, 4096, -4096};
    uint64_t offset;
    switch (kind % 12) {
    case 0:
        return plain[i % (sizeof plain / sizeof *plain)];
    case 1:
    case 2:
        return edges[i / 16 % 11] + (uint64_t)steps[i % 15];
    case 3:
        return own + (uint64_t)steps[i % 15];
    case 4:
        return ~own;
    case 5:
        return __builtin_bswap64(own);
    case 6:
        return own ^ 1ull << i % 64;
    case 7: /* the offset of a block or run, or what lies near it */
        offset = i % 2 && t->runs ? t->run[i / 2 % t->runs].at
                 : t->entries     ? t->entry[i / 2 % t->entries].block
                                  : arena;
        return offset + (uint64_t)steps[i / 512 % 15];
    case 8: /* a slot's word, with another's tag or block */
        offset = t->used_slots ? word_at(t->image, t->used_slot[i % t->used_slots]) : 0;
        return i % 3 == 0   ? offset
               : i % 3 == 1 ? (own & ~SHMS_SLOT_OFFSET_MASK) | (offset & SHMS_SLOT_OFFSET_MASK)
                            : (own & SHMS_SLOT_OFFSET_MASK) | (offset & ~SHMS_SLOT_OFFSET_MASK);
    case 9: /* a lock word: any owner, any reach, waiters */
        return (own & ~0x1ffffffull) | (uint64_t)(i & 1) << 24 | (uint64_t)(i >> 1 & 0xff) << 16 |
               (i >> 9) % (h->client_count + 2u);
    case 10: /* an entry word: any state, any process */
        return SHMS_OWNER(own >> 48, i % 8, i / 8 % 2, i / 16 % 2 ? STUB_PID : i / 32 % 9);
    default: /* lengths of a block, at the edges of what fits */
        return SHMS_LENGTHS(i % 3 ? edges[i % 11] - (i & 48) : SHMS_VALUE_MAX, i / 16 % 5 == 0 ? 65535 : i / 16 % 64,
                            i % 32);
    }
}

static void set_word(uint8_t *base, uint64_t size, uint64_t at, uint64_t value) {
    at = size < 8 ? 0 : at % (size - 7);
    if (at % 8 == 0) /* others may be looking */
        shms_store_relaxed((_Atomic uint64_t *)(base + at), value);
    else
        memcpy(base + at, &value, 8);
}

static void damage_once(const struct template *t, uint8_t *base, uint64_t *size, struct reader *r) {
    uint32_t kind = (uint32_t)take(r, 1), a, i, j;
    uint64_t at, bytes;
    const struct template *other;
    switch (kind % 16) {
    case 0:
    case 1:
    case 2:
    case 3: /* a word at its boundaries */
        a = (uint32_t)take(r, 1), i = (uint32_t)take(r, 2), j = (uint32_t)take(r, 2);
        at = where(t, a, i);
        set_word(base, *size, at, boundary(t, word_at(base, at), j % 16 < 12 ? j % 16 : a, j >> 4));
        break;
    case 4: /* a word, any value */
        a = (uint32_t)take(r, 1), i = (uint32_t)take(r, 2);
        set_word(base, *size, where(t, a, i), take(r, 8));
        break;
    case 5: /* half a word */
        a = (uint32_t)take(r, 1), i = (uint32_t)take(r, 2), j = (uint32_t)take(r, 2);
        at = where(t, a, i) + (j & 1) * 4;
        if (at + 4 <= *size) {
            uint32_t value = (uint32_t)boundary(t, word_at(base, at & ~7ull), j >> 1, j >> 5);
            memcpy(base + at, &value, 4);
        }
        break;
    case 6: /* a bit */
        at = take(r, 3) % *size;
        base[at] ^= (uint8_t)(1u << (take(r, 1) & 7));
        break;
    case 7: { /* a random page, or line */
        i = (uint32_t)take(r, 1), j = (uint32_t)take(r, 2);
        bytes = j & 1 ? SHMS_PAGE : SHMS_LINE;
        at = (j & 1 ? i * (uint64_t)SHMS_PAGE : (uint64_t)j * SHMS_LINE) % *size / bytes * bytes;
        uint64_t x = i * 0x9e3779b97f4a7c15ull + j;
        for (uint64_t k = 0; k + 8 <= bytes && at + k + 8 <= *size; k += 8) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            set_word(base, *size, at + k, x);
        }
        break;
    }
    case 8: /* bytes of one value */
        at = take(r, 3) % *size;
        bytes = shms_min(take(r, 2), *size - at);
        memset(base + at, (int[]){0, 0xff, 0x80, 1}[take(r, 1) & 3], bytes);
        break;
    case 9: /* another store's bytes at the same place */
    case 10:
        other = &templates[take(r, 1) % template_count];
        at = kind % 16 == 9 ? take(r, 1) * SHMS_PAGE : take(r, 2) * SHMS_LINE;
        bytes = kind % 16 == 9 ? SHMS_PAGE << (take(r, 1) & 3) : SHMS_LINE << (take(r, 1) & 7);
        at %= shms_min(*size, other->size);
        memcpy(base + at, other->image + at, shms_min(bytes, shms_min(*size, other->size) - at));
        break;
    case 11: { /* the other byte order: of a word, of all */
        i = (uint32_t)take(r, 2);
        uint64_t first = i % 4 ? where(t, i / 4, (uint32_t)take(r, 2)) & ~7ull : 0, last = i % 4 ? first + 8 : *size;
        for (at = first; at + 8 <= last && at + 8 <= *size; at += 8)
            set_word(base, *size, at, __builtin_bswap64(word_at(base, at)));
        break;
    }
    case 12: { /* lists that lead into themselves: free runs, zombies */
        i = (uint32_t)take(r, 2), j = (uint32_t)take(r, 2);
        if (i % 3 && t->runs) {
            uint64_t one = t->run[i / 3 % t->runs].at, two = t->run[j % t->runs].at;
            set_word(base, *size, one + 8, two);
            set_word(base, *size, two + 16, one);
            if (i % 3 == 2) { /* back and forth */
                set_word(base, *size, two + 8, one);
                set_word(base, *size, one + 16, two);
            }
        } else if (t->entries) {
            const struct shms_header *h = (const struct shms_header *)t->image;
            uint64_t one = t->entry[i / 3 % t->entries].block, two = t->entry[j % t->entries].block;
            uint64_t arena = h->arenas_offset + j % h->arena_count * sizeof(struct shms_arena);
            set_word(base, *size, arena + offsetof(struct shms_arena, zombies), one);
            set_word(base, *size, arena + offsetof(struct shms_arena, zombie_count), j % 5 ? 2 : UINT64_MAX);
            set_word(base, *size, one + 8, two);
            set_word(base, *size, two + 8, j % 3 ? one : two);
        }
        break;
    }
    case 13: { /* from elsewhere in the same store */
        at = take(r, 3) % *size;
        uint64_t from = take(r, 3) % *size;
        bytes = shms_min(take(r, 2), *size - shms_max(at, from));
        memmove(base + at, base + from, bytes);
        break;
    }
    case 14: { /* bytes as they come */
        at = take(r, 3) % *size;
        bytes = shms_min(take(r, 1), *size - at);
        bytes = shms_min(bytes, (uint64_t)(r->end - r->at));
        memcpy(base + at, r->at, bytes);
        r->at += bytes;
        break;
    }
    default: /* a smaller segment, another version, a feature */
        i = (uint32_t)take(r, 1), j = (uint32_t)take(r, 1);
        if (i % 4 == 0) {
            uint64_t less = shms_max((uint64_t)(j % (*size / SHMS_PAGE) + 1) * SHMS_PAGE, SHMS_HEADER_SIZE);
            *size = shms_min(*size, less);
        } else
            ((uint32_t *)base)[i % 4 == 1 ? 4 : 6 + i / 4 % 6] = 1u << j % 32;
    }
}

/* ---- what damage leaves as it was */
struct survey {
    bool soft, mild, header, table; /* the last two: untouched */
};

static bool same(const struct template *t, const uint8_t *base, uint64_t at, uint64_t bytes) {
    return memcmp(t->image + at, base + at, bytes) == 0;
}

static bool outside_runs_same(const struct template *t, const uint8_t *base, bool *bodies) {
    const struct shms_header *h = (const struct shms_header *)t->image;
    const struct shms_store view_of = {.base = t->image, .size = t->size};
    *bodies = true;
    for (uint32_t a = 0; a < h->arena_count; a++) {
        struct shms_arena *arena = (struct shms_arena *)(t->image + h->arenas_offset) + a;
        for (uint64_t at = h->heap_offset + a * h->arena_size, top = shms_load_relaxed(&arena->top); at < top;) {
            struct shms_block *b = (struct shms_block *)(view_of.base + at);
            uint32_t tag = shms_load_relaxed(&b->tag);
            uint64_t bytes =
                tag & SHMS_TAG_FREE ? shms_load_relaxed(&b->lengths) : (uint64_t)(tag & SHMS_TAG_UNITS) * SHMS_GRANULE;
            if (!(tag & SHMS_TAG_FREE)) {
                if (!same(t, base, at, SHMS_BLOCK_HEADER))
                    return false;
                *bodies = *bodies && same(t, base, at, bytes);
            }
            at += bytes;
        }
    }
    return true;
}

static struct survey survey_of(const struct template *t, const uint8_t *base, uint64_t size) {
    const struct shms_header *h = (const struct shms_header *)t->image;
    struct survey v = {0};
    bool bodies;
    if (size != t->size || !same(t, base, 0, SHMS_HEADER_SIZE))
        return v;
    v.header = true;
    v.table = same(t, base, h->slots_offset, h->bucket_count * SHMS_LINE) && same(t, base, h->summary_offset, 8);
    v.mild = v.table && !t->busy && same(t, base, h->pin_bits_offset, (h->client_count + 63) / 64 * 8) &&
             same(t, base, h->clients_offset, (uint64_t)h->client_count * h->client_size) &&
             same(t, base, h->due_offset, (h->bucket_count + 7) / 8 * 8) && outside_runs_same(t, base, &bodies);
    for (uint32_t a = 0; a < h->arena_count; a++)
        v.mild = v.mild && same(t, base, h->arenas_offset + a * sizeof(struct shms_arena), 8); /* the lock */
    v.soft = v.mild && bodies;
    return v;
}

/* Every byte that a reader of this entry looks at is as it was. */
static bool intact(const struct template *t, const uint8_t *base, const struct survey *v, const struct entry *e) {
    const struct shms_header *h = (const struct shms_header *)t->image;
    if (!v->header || !e->present || !same(t, base, e->block, e->bytes))
        return false;
    uint64_t words = ((h->bucket_count + SHMS_PAGE_BUCKETS - 1) / SHMS_PAGE_BUCKETS + 63) / 64 * 8;
    uint64_t hash = word_at(t->image, e->block + 8), home = ((hash >> 32) * h->bucket_count) >> 32;
    if (!same(t, base, h->summary_offset, words) || !same(t, base, h->slots_offset + home * SHMS_LINE + 2, 1))
        return false;
    if (v->table)
        return true;
    uint64_t tag = SHMS_SLOT_TAG(hash, home), mine = h->slots_offset + e->slot / 7 * SHMS_LINE + 8 + e->slot % 7 * 8;
    if (!same(t, base, mine, 8))
        return false;
    for (uint64_t at = h->slots_offset; at < h->slots_offset + h->bucket_count * SHMS_LINE; at += 8)
        if (at % SHMS_LINE && at != mine &&
            (SHMS_SLOT_TAG_OF(word_at(t->image, at)) == tag || SHMS_SLOT_TAG_OF(word_at(base, at)) == tag))
            return false;
    return true;
}

/* ---- the stages */
static void read_all(struct shms_store *s, const struct template *t, const bool *right) {
    for (uint32_t i = 0; i < t->entries; i++) {
        const struct entry *e = &t->entry[i];
        if (right && right[i]) {
            expect(s, e);
            continue;
        }
        struct shms_key n = name_of(s, e);
        struct shms_entry f;
        get(s, &n, &f);
    }
}

static void rebuild_all(struct shms_store *s) {
    for (uint32_t a = 0; a < s->arena_count; a++) {
        uint64_t seen;
        if (!shms_arena_enter(s, a, 1, &seen)) {
            shms_await(s, &s->arenas[a].lock, seen, 1000000);
            if (!shms_arena_enter(s, a, 1, &seen))
                continue;
        }
        MUST(shms_rebuild(s, a) == SHMS_OK);
        shms_arena_leave(s, a);
    }
}

static void expect_sound(struct shms_store *s) {
    char what[200] = "";
    _Atomic uint64_t *busy;
    uint64_t seen;
    if (shms_check(s, what, sizeof what, &busy, &seen) != SHMS_OK)
        garbage_failed(what);
}

static struct entry spoken_of(const struct template *t, uint64_t random) {
    uint32_t i = (uint32_t)(random % NAMES);
    struct entry e = {0};
    if (i < t->entries)
        e = t->entry[i];
    else
        e.key_length = (uint32_t)snprintf(e.key, sizeof e.key, "k new %u", i);
    return e;
}

/* An operation on any of two attachments. model: what should be where, or NULL if nobody can know. */
static void operate(const struct template *t, struct shms_handle **h, uint32_t attached, uint64_t random,
                    struct entry *model) {
    uint32_t i = (uint32_t)(random >> 8) % attached;
    struct shms_store *s = &h[i]->s;
    struct entry fresh = spoken_of(t, random >> 16), *e = model ? &model[(random >> 16) % NAMES] : &fresh;
    struct entry new = *e;
    uint64_t r = random >> 32, seen;
    struct shms_key n = name_of(s, e);
    struct shms_entry f;
    struct wish w = {.mode = SHMS_SET, .ttl = r % 8 ? 0 : model ? 1ull << 50 : r % 1000 * 10000, .keep = r % 32 == 5};
    bool everything = true;
    int rc;
    new.present = true;
    new.is_number = false;
    new.number = 0;
    new.length = r % 4 ? r % 300 : r % 4 == 1 ? r % 6000 : r % (s->arena_size + 100);
    new.seed = (uint8_t)(r >> 16);
    if (!s->me || (shms_load_relaxed(&s->me->owner) != s->owner && random % 3))
        return; /* the place was taken away; what goes on regardless is a thread that did not look yet */
    switch (random % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
        w.mode = random % 16 == 1 ? SHMS_ADD : random % 16 == 2 ? SHMS_REPLACE : SHMS_SET;
        rc = put(s, &new, &w);
        MAY_BE(rc, "oubftlc");
        if (model) {
            bool holds = w.mode == SHMS_ADD ? !e->present : w.mode == SHMS_REPLACE ? e->present : true;
            MUST(rc == SHMS_FULL || rc == SHMS_TABLE_FULL || rc == SHMS_TOO_LARGE ||
                 rc == (holds ? SHMS_OK : SHMS_UNMET));
            if (rc == SHMS_OK)
                *e = new;
        }
        break;
    case 4:
    case 5:
        rc = drop(s, e, 0);
        if (model) {
            MUST(rc == (e->present ? SHMS_OK : SHMS_MISS));
            e->present = false;
        }
        break;
    case 6:
        rc = get(s, &n, &f);
        w.mode = SHMS_CAS;
        w.expected = rc == SHMS_OK ? f.sequence : r % 2 ? r : 0;
        rc = put(s, &new, &w);
        MAY_BE(rc, "oubftlc");
        if (model && rc == SHMS_OK)
            *e = new;
        break;
    case 7:
    case 8:
        new.is_number = true;
        new.number = (int64_t)(r % 5 ? r % 100 : r << 40);
        w.mode = SHMS_INCR;
        w.keep = true;
        rc = put(s, &new, &w);
        MAY_BE(rc, "obftlcnv");
        if (model && rc == SHMS_OK) {
            MUST(!e->present || e->is_number);
            new.number += e->present ? e->number : 0;
            *e = new;
        }
        break;
    case 9:
        rc = touch(s, e, w.ttl);
        if (model)
            MUST(rc == (e->present ? SHMS_OK : SHMS_MISS));
        break;
    case 10:
        view(i, &n, r % 3 == 0);
        break;
    case 11:
        shms_expire_all(s, &everything);
        break;
    case 12:
        if (r % 4 == 0)
            shms_recover_all(s, false);
        else if (r % 4 == 1)
            rebuild_all(s);
        else if (r % 4 == 2)
            shms_make_room(s);
        else
            shms_handle_recheck(h[i]);
        break;
    case 13:
        if (shms_w_wait(number_of(i), e->key, e->key_length, e->kind, r & 1, r % 3 ? r : 0, 1000000, r & 2 ? 1000 : 0,
                        &seen) == SHMS_CLOSED)
            MUST(!"closed");
        break;
    case 14:
        if (r % 4 == 0)
            look_at_everything(i);
        break;
    default:
        if (model)
            expect(s, e);
        else
            get(s, &n, &f);
    }
}

static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static void poison_behind(struct shms_store *s, uint64_t size) {
    uint64_t end = SHMS_ALIGN_UP(s->size, SHMS_PAGE); /* the kernel maps whole pages */
    if (end < size)
        ASAN_POISON_MEMORY_REGION(s->base + end, size - end);
}

static void restore(uint8_t *base, const uint8_t *damaged, uint64_t size) {
    ASAN_UNPOISON_MEMORY_REGION(base, size);
    memcpy(base, damaged, size);
}

static void one_by_one(const struct template *t, uint8_t *base, uint64_t size, uint64_t random, uint32_t operations,
                       struct entry *model, const bool *right, bool soft) {
    struct shms_handle *h[2];
    uint32_t attached = 0;
    int status;
    for (uint32_t i = 0; i < 2; i++)
        if ((h[attached] = attach_to(attached, base, size, false, &status)))
            attached++;
    if (!attached)
        return;
    if (h[0]->s.readonly) { /* by a feature it does not know */
        read_all(&h[0]->s, t, NULL);
        return;
    }
    poison_behind(&h[0]->s, size);
    if (right) { /* mild */
        rebuild_all(&h[0]->s);
        read_all(&h[0]->s, t, right);
    }
    if (soft)
        expect_sound(&h[0]->s);
    for (uint32_t k = 0; k < operations; k++)
        operate(t, h, attached, next(&random), soft ? model : NULL);
    for (uint32_t i = 0; soft && i < NAMES; i++)
        expect(&h[i % attached]->s, &model[i]);
    rebuild_all(&h[0]->s);
    read_all(&h[0]->s, t, NULL);
    look_at_everything(0);
    if (soft)
        expect_sound(&h[0]->s);
    for (uint32_t i = 0; i < attached; i++)
        detach_from(h[i]);
}

/* After a repair all invariants hold, whatever stood there; only what a stranger holds may be in its way. Not where the
 * header is damaged: its regions may lie over each other. */
static void repair_it(const struct template *t, uint8_t *base, uint64_t size, bool header, const bool *right) {
    int status;
    uint64_t lost = 0;
    struct shms_handle *h = attach_to(0, base, size, false, &status);
    if (!h)
        return;
    poison_behind(&h->s, size);
    int rc = shms_w_repair(number_of(0), SHMS_SECOND / 50, &lost);
    MAY_BE(rc, "odwpkrfc");
    if (rc == SHMS_OK) {
        MUST(lost <= h->s.bucket_count * SHMS_BUCKET_SLOTS);
        char what[200] = "";
        _Atomic uint64_t *busy;
        uint64_t seen;
        /* The check may find a process dead whose id stood in a lock that it never took. */
        if (header && shms_check(&h->s, what, sizeof what, &busy, &seen) != SHMS_OK) {
            MUST(strstr(what, "I12") && shms_w_repair(number_of(0), SHMS_SECOND / 50, &lost) == SHMS_OK);
            expect_sound(&h->s);
        }
        read_all(&h->s, t, right);
    }
    detach_from(h);
}

void garbage_case(const uint8_t *data, size_t length) {
    static uint8_t damaged[SIZE_MAX_OF_ALL];
    struct reader r = {data, data + length};
    garbage_data = data;
    garbage_length = length;
    uint32_t first = (uint32_t)take(&r, 1), operations = (uint32_t)take(&r, 1) % 64;
    uint64_t random = take(&r, 4);
    const struct template *t = &templates[first % template_count];
    uint64_t size = t->size;
    uint8_t *base = place_for(size);
    stub_questions = 0;
    stub_random_state = random;
    restore(base, t->image, size);
    if (first >= 0xf8) { /* raw: these bytes are the segment */
        memset(base, 0, size);
        memcpy(base, r.at, shms_min(size, (uint64_t)(r.end - r.at)));
    } else
        for (int n = 0; r.at < r.end && n < 64; n++)
            damage_once(t, base, &size, &r);
    uint8_t *whole = base;
    base = place_for(size); /* a smaller one still ends at the guard */
    memmove(base, whole, size);
    memcpy(damaged, base, size);

    struct survey v = survey_of(t, base, size);
    bool right[ENTRIES_MAX];
    for (uint32_t i = 0; i < t->entries; i++)
        right[i] = intact(t, base, &v, &t->entry[i]);

    int status;
    struct shms_handle *h = attach_to(0, base, size, true, &status);
    MUST(!v.header || h);
    if (h) {
        poison_behind(&h->s, size);
        read_all(&h->s, t, right);
        look_at_everything(0);
        uint64_t version;
        MAY_BE(shms_w_wait(number_of(0), "k1", 2, 0, 0, 0, 1000000, 0, &version), "oacds");
        struct shms_key n = name_of(&h->s, &t->entry[0]);
        view(0, &n, false);
        detach_from(h);
        ASAN_UNPOISON_MEMORY_REGION(base, size);
        MUST(memcmp(base, damaged, size) == 0);
    }

    struct entry model[NAMES];
    for (uint32_t i = 0; i < NAMES; i++)
        model[i] = spoken_of(t, i);
    one_by_one(t, base, size, random, operations, NULL, NULL, false);
    if (v.mild) {
        restore(base, damaged, size);
        one_by_one(t, base, size, random, operations, model, right, v.soft);
    }
    restore(base, damaged, size);
    repair_it(t, base, size, v.header, v.mild ? right : NULL);
    ASAN_UNPOISON_MEMORY_REGION(base, size);
}

/* ---- a scribbler beside it */
static const struct template *scribbled;
static _Atomic bool may_scribble, scribbling; /* asked and answered in one order by both: sequentially consistent */

static void scribble_once(uint64_t random) {
    uint8_t bytes[24];
    uint64_t size = scribbled->size;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)next(&random);
    if (bytes[0] % 16 == 9 || bytes[0] % 16 == 11 || bytes[0] % 16 == 15)
        bytes[0] = 0; /* nothing that ends it at once */
    struct reader r = {bytes, bytes + sizeof bytes};
    damage_once(scribbled, stub_segment, &size, &r);
}

void garbage_scribble_once(uint64_t random) {
    atomic_store(&scribbling, true);
    if (atomic_load(&may_scribble))
        scribble_once(random);
    atomic_store(&scribbling, false);
}

void garbage_under_scribbles(uint64_t seed, _Atomic bool *stop) {
    for (uint64_t round = 0; !shms_load_relaxed(stop); round++) {
        const struct template *t = &templates[round % template_count];
        uint8_t *base = place_for(t->size);
        struct shms_handle *h[2];
        int status;
        stub_questions = 0;
        memcpy(base, t->image, t->size);
        for (uint32_t i = 0; i < 2 && (h[i] = attach_to(i, base, t->size, i == 1 && round % 2, &status)); i++)
            ;
        if (!h[0] || !h[1])
            continue;
        scribbled = t;
        atomic_store(&may_scribble, true);
        for (int k = 0; k < 300 && !shms_load_relaxed(stop); k++) {
            stub_questions = 0;
            operate(t, h, h[1]->s.readonly ? 1 : 2, next(&seed), NULL);
            if (k % 8 == 0)
                read_all(&h[1]->s, t, NULL);
            if (k % 32 == 0)
                look_at_everything(1);
        }
        atomic_store(&may_scribble, false);
        while (
            atomic_load(&scribbling)) /* the other thread may be in the midst of it; then the segment goes elsewhere */
            shms_pause();
        detach_from(h[0]);
        detach_from(h[1]);
    }
}
