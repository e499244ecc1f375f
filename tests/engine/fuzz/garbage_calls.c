/* garbage_calls.c: every operation of the engine, as csrc/python makes it, and the attachments that make them. Each call
 * must end with a status that it may return, and what it reads must lie in the segment. */
#include "garbage_parts.h"

uint8_t pattern(uint8_t seed, uint64_t i) { return (uint8_t)(seed + i * 7 + (i >> 8)); }

struct shms_key name_of(const struct shms_store *s, const struct entry *e) {
    struct shms_key n;
    shms_key_init(s, &n, e->key, e->key_length, e->kind);
    return n;
}

/* ---- operations as csrc/python does them, with patience for locks that somebody else holds */
#define PATIENCE 3

bool may_be(int rc, const char *allowed) {
    static const struct {
        char letter;
        int rc;
    } known[] = {
        {'o', SHMS_OK},         {'m', SHMS_MISS},    {'u', SHMS_UNMET},      {'b', SHMS_BUSY},
        {'a', SHMS_AGAIN},      {'f', SHMS_FULL},    {'t', SHMS_TABLE_FULL}, {'l', SHMS_TOO_LARGE},
        {'c', SHMS_CORRUPT},    {'n', SHMS_NOT_INT}, {'v', SHMS_OVERFLOW},   {'d', SHMS_DESTROYED},
        {'p', SHMS_NO_CLIENT},  {'w', SHMS_TIMEOUT}, {'s', SHMS_CONTENDED},  {'r', SHMS_READ_ONLY},
        {'k', SHMS_FORKED},     /* robbed of its place, and there is no other */
        {'d', SHMS_SUPERSEDED}, /* the creation word says so; Python then follows, which finds nothing here */
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].rc == rc && strchr(allowed, known[i].letter))
            return true;
    return false;
}

static uint8_t copied[SIZE_MAX_OF_ALL];

int get(struct shms_store *s, const struct shms_key *n, struct shms_entry *f) {
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

bool is_right(const struct entry *e, const struct shms_entry *f) {
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

void expect(struct shms_store *s, const struct entry *e) {
    struct shms_key n = name_of(s, e);
    struct shms_entry f;
    int rc = get(s, &n, &f);
    MUST(rc == (e->present ? SHMS_OK : SHMS_MISS));
    MUST(!e->present || is_right(e, &f));
}

void make_room(struct shms_store *s) {
    struct shms_room room = {0};
    while (shms_make_room(s, &room) == SHMS_AGAIN)
        ;
}

static int wait_for(struct shms_store *s, struct shms_op *op) {
    if (op->busy)
        shms_await(s, op->busy, op->seen, 1000000);
    return SHMS_BUSY;
}

int put(struct shms_store *s, const struct entry *e, const struct wish *w) {
    uint8_t extension[64] = {0};
    struct shms_op op;
    int rc = SHMS_BUSY;
    uint32_t total = w->extension_length;
    if (w->counter && w->counter < s->counters) {
        struct shms_generations g = {0};
        MUST(shms_generations_add(s, w->counter, &g) && g.count <= 2);
        uint16_t record[] = {SHMS_EXT_GENERATIONS, (uint16_t)(4 + 8 * g.count)};
        total = shms_generations_bytes(g.count);
        memcpy(extension + 8, record, 4);
        memcpy(extension + 12, &g.count, 4);
        memcpy(extension + SHMS_EXT_WORDS, g.words, g.count * 8);
    }
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
            MAY_BE(rc, "oubcntva");
        } else if (rc == SHMS_FULL)
            make_room(s);
        _Atomic uint64_t *busy = op.busy;
        shms_op_end(&op);
        op.busy = busy;
        if (rc == SHMS_BUSY)
            wait_for(s, &op);
    }
    return rc;
}

int drop(struct shms_store *s, const struct entry *e, uint64_t expected) {
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

int touch(struct shms_store *s, const struct entry *e, uint64_t ttl) {
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
struct shms_handle handles[HANDLES];
static struct shms_store stores[HANDLES];

int64_t number_of(uint32_t i) { return (int64_t)1 << 16 | i; }

/* The handle's store is attached to what stands at `base`; NULL if it refuses. *status says why. */
struct shms_handle *attach_to(uint32_t i, uint8_t *base, uint64_t size, bool readonly, int *status) {
    struct shms_handle *h = &handles[i];
    bool only_read = false;
    memset(h, 0, sizeof *h);
    memset(&stores[i], 0, sizeof stores[i]);
    h->s = &stores[i];
    h->s->liveness = h->s->fd = -1;
    h->s->memory = &shms_memory_sysv;
    *status = shms_segment_view(h->s, base, size, &only_read);
    MUST(*status == SHMS_OK || *status == SHMS_CORRUPT || *status == SHMS_FORMAT);
    if (*status != SHMS_OK)
        return NULL;
    MUST(h->s->size <= size);
    h->s->readonly = readonly || only_read;
    shms_os_identity(&h->s->identity);
    h->s->validated_at = shms_os_now_coarse();
    h->s->fork_epoch = shms_fork_epoch;
    h->timeout = SHMS_SECOND / 100;
    shms_store_release(&h->word, 1ull << 32);
    shms_handles[i] = h;
    if (h->s->readonly)
        return h;
    *status = shms_client_claim(h->s);
    MAY_BE(*status, "op");
    if (*status != SHMS_OK)
        return NULL;
    shms_recover_all(h->s, true);
    return h;
}

void detach_from(struct shms_handle *h) {
    shms_client_release(h->s);
    shms_handles[h - handles] = NULL;
    h->s->base = NULL;
}

void look_at_everything(uint32_t i) {
    struct shms_store *s = handles[i].s;
    static struct shms_info info;
    static struct shms_client_info clients[8];
    static uint8_t names[SHMS_KEY_MAX + 20];
    struct shms_stats stats;
    char what[200] = "";
    struct shms_client_info holder;
    uint64_t cursor = 0, filled, deaths;
    uint32_t pid;
    int64_t number = number_of(i);
    MUST(shms_get_info(number, &info) == SHMS_OK && info.name_length <= SHMS_NAME_MAX);
    MAY_BE(shms_get_stats(number, &stats), "odcp");
    uint32_t from = 0;
    int64_t n = shms_get_clients(number, &from, clients, 8);
    MUST(n >= 0 ? n <= s->client_count : may_be((int)n, "dcp"));
    struct shms_handle *h = shms_handle_get(number);
    struct shms_count counted;
    shms_count_begin(h->s, number % 2, &counted);
    while (!shms_count_some(h->s, &counted, 64))
        ;
    n = (int64_t)counted.count;
    MUST(n >= 0 ? (uint64_t)n <= s->bucket_count * SHMS_BUCKET_SLOTS : may_be((int)n, "dcp"));
    for (uint64_t rounds = 0; cursor != UINT64_MAX; rounds++) {
        uint64_t before = cursor;
        struct shms_walk keys = {cursor, UINT64_MAX, "k", 1, i % 2 ? 0 : SHMS_WALK_ALL, UINT32_MAX};
        int rc = shms_walk(h->s, &keys, names, sizeof names, &filled);
        cursor = keys.cursor;
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
    MAY_BE(shms_w_check(number, what, sizeof what), "ocdwpk");
    MUST(memchr(what, 0, sizeof what));
    shms_take_events(number, &deaths, &pid);
    shms_lock_holder(number, &holder);
    MAY_BE(shms_revalidate_now(number), "odcp");
}

void view(uint32_t i, const struct shms_key *n, bool leave_open) {
    struct shms_handle *h = &handles[i];
    struct shms_view v;
    int rc = shms_view_begin(h, n, &v);
    MAY_BE(rc, "ombucrf");
    if (rc != SHMS_OK)
        return;
    MUST(v.bytes >= h->s->base && v.length <= h->s->size && v.bytes + v.length <= h->s->base + h->s->size);
    memcpy(copied, v.bytes, v.length);
    if (!leave_open)
        shms_view_end(number_of(i), v.pin, v.owner);
}
