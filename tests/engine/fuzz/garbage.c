/* garbage.c: one property of the engine, for any bytes in the segment.
 *
 * A CASE is a string of bytes: which store to start from, what to damage, what to do then. Any string is one, so that
 * three drivers share it: a loop over generated cases, libFuzzer, and hypothesis (drive.c, test_garbage.py).
 *
 * THE PROPERTY  Whatever stands in the segment: attaching, every operation, a walk, check(), the registry and a repair
 *   end, and say a status that they may say. Nothing outside the segment is touched: it lies in the midst of terabytes
 *   that nobody may touch, more than a slot's word can reach, and what its header does not claim is poisoned. A
 *   read-only attachment changes no byte. And what was not damaged is right:
 *     intact   an entry whose every byte and slot, and everything on the way there, is as it was, is read as it was
 *     mild     damage to hints, to memory that is free, to keys and values: after the heap was tidied that still holds
 *     soft     damage to hints and free memory alone: check() finds nothing, the store does what a model of it does,
 *              and check() finds nothing again
 *
 * It knows no magic value of a sound store: the stores to start from are made by the engine itself. */
#include "garbage_parts.h"

const uint8_t *garbage_data;
size_t garbage_length;

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

static void tidy_all(struct shms_store *s) {
    for (uint64_t page = 0; !shms_heap_tidy(s, &page, 100);)
        ;
}

static int check(struct shms_store *s, char *what, size_t size) {
    static struct shms_check c;
    int rc;
    memset(&c, 0, sizeof c);
    c.what = what;
    c.size = size;
    while ((rc = shms_check_step(s, &c)) == SHMS_AGAIN)
        ;
    return rc;
}

static void expect_sound(struct shms_store *s) {
    char what[200] = "";
    if (check(s, what, sizeof what) != SHMS_OK)
        garbage_failed(what);
}

static void sweep_all(struct shms_store *s) {
    uint64_t group = 0, gone = 0;
    bool passed_over = false;
    int index = shms_record_take(s);
    if (index < 0)
        return;
    while (!shms_expire_all(s, &s->me->records[index], &group, 64, &gone, &passed_over))
        ;
    shms_record_put(s, index);
}

/* As shmstore.Store.repair() does it, with little patience. */
static int repair_all(uint32_t i, uint64_t *lost) {
    struct shms_repair repair = {0};
    int rc, busy = 0;
    while ((rc = shms_repair_some(number_of(i), &repair)) == SHMS_AGAIN || (rc == SHMS_BUSY && busy++ < 50))
        if (rc == SHMS_BUSY)
            shms_os_nap(1000000);
    *lost = repair.lost;
    return rc;
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
    struct shms_store *s = h[i]->s;
    struct entry fresh = spoken_of(t, random >> 16), *e = model ? &model[(random >> 16) % NAMES] : &fresh;
    struct entry new = *e;
    uint64_t r = random >> 32, seen;
    struct shms_key n = name_of(s, e);
    struct shms_entry f;
    struct wish w = {.mode = SHMS_SET, .ttl = r % 8 ? 0 : model ? 1ull << 50 : r % 1000 * 10000, .keep = r % 32 == 5};
    int rc;
    new.present = true;
    new.is_number = false;
    new.number = 0;
    new.length = r % 4 ? r % 300 : r % 4 == 1 ? r % 6000 : r % (s->heap_pages * SHMS_PAGE + 100);
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
        w.expected = rc == SHMS_OK ? f.life : r % 2 ? r : 0;
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
        MAY_BE(rc, "obftlcnva");
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
        if (!model && s->counters && r % 4 < 3)
            shms_outdate(s, r % 4 ? 9000 + r / 4 % 30 : r / 4 % 4);
        else if (!model && r % 16 == 3)
            shms_outdate_namespaces(s);
        else if (!model && r % 16 == 7)
            shms_counter_give(s, (uint32_t)r / 16 % 4);
        sweep_all(s);
        break;
    case 12:
        if (r % 4 == 0)
            shms_recover_all(s, false);
        else if (r % 4 == 1)
            tidy_all(s);
        else if (r % 4 == 2 && r % 8 == 2)
            shms_heap_leave(s);
        else if (r % 4 == 2)
            make_room(s);
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
    if (h[0]->s->readonly) { /* by a feature it does not know */
        read_all(h[0]->s, t, NULL);
        return;
    }
    poison_behind(h[0]->s, size);
    if (right) { /* mild */
        tidy_all(h[0]->s);
        read_all(h[0]->s, t, right);
    }
    if (soft)
        expect_sound(h[0]->s);
    for (uint32_t k = 0; k < operations; k++)
        operate(t, h, attached, next(&random), soft ? model : NULL);
    for (uint32_t i = 0; soft && i < NAMES; i++)
        expect(h[i % attached]->s, &model[i]);
    tidy_all(h[0]->s);
    read_all(h[0]->s, t, NULL);
    look_at_everything(0);
    if (soft)
        expect_sound(h[0]->s);
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
    poison_behind(h->s, size);
    int rc = repair_all(0, &lost);
    MAY_BE(rc, "odbpkrfc");
    if (rc == SHMS_OK) {
        MUST(lost <= h->s->bucket_count * SHMS_BUCKET_SLOTS);
        char what[200] = "";
        /* The check may find a process dead whose id stood in a lock that it never took. */
        if (header && check(h->s, what, sizeof what) != SHMS_OK) {
            if (!strstr(what, "I12"))
                garbage_failed(what);
            MUST(repair_all(0, &lost) == SHMS_OK);
            expect_sound(h->s);
        }
        read_all(h->s, t, right);
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
        poison_behind(h->s, size);
        read_all(h->s, t, right);
        look_at_everything(0);
        uint64_t version;
        MAY_BE(shms_w_wait(number_of(0), "k1", 2, 0, 0, 0, 1000000, 0, &version), "oacds");
        struct shms_key n = name_of(h->s, &t->entry[0]);
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
            operate(t, h, h[1]->s->readonly ? 1 : 2, next(&seed), NULL);
            if (k % 8 == 0)
                read_all(h[1]->s, t, NULL);
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
