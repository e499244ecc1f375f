/* read_from_c.c: read objects out of a store, without Python and without the package's headers
 *
 *     cc -std=c11 -O2 -Wall -Wextra -o read_from_c read_from_c.c && ./read_from_c [-k] [-b] STORE KEY...
 *
 * Written from docs/format.md, whose words it uses. It attaches read-only, takes no lock and waits for nobody.
 * Whatever bytes the segment holds, it ends soon and reads nothing outside of it.
 */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOOKS = 10000, DEPTH = 256 }; /* bounds on what the segment can make us do */
/* Offsets in the header and in a block, and the parts of a lengths word. */
enum {
    MAGIC = 0,
    STATE = 8,
    FORMAT = 16,
    HEADER_SIZE = 20,
    INCOMPATIBLE = 24,
    SEGMENT_SIZE = 48,
    HASH_KEY = 72,
    NAME_KIND = 160,
    NAME_LENGTH = 164,
    SUMMARY = 200,
    SLOTS = 216,
    BUCKET_COUNT = 224,
    HEAP = 264,
    HEAP_PAGES = 272,
    GENERATIONS = 304,
    COUNTERS = 312,
    SUMMARY_TOP = 1152,
    NAME = 4096,
    HEADER_END = 8192
};
enum { WORD = 0, HASH = 8, EXPIRY = 16, LENGTHS = 24, BODY = 40, BLOCK_MIN = 48 };
enum { PINNED = 1, ENDED = 2 }; /* the lower bits of a block's word */
enum { MOVED = 0x20, EXTENDED = 0x10, BYTES_NAME = 0x08, CODEC = 0x07, MSGPACK = 1 };
enum { KIND_OF_NAME = BYTES_NAME | 0xc0 }; /* none of ours is the store's own, or in a namespace */

struct store { /* the header's fields: copied once, then checked */
    uint8_t *base;
    uint64_t size, k0, k1, summary, slots, buckets, heap, heap_pages, heap_end, generations, counters;
};
struct name {
    const char *bytes;
    uint64_t length, flag, hash, home, tag;
};
struct value {
    uint8_t *bytes;
    uint64_t length, codec;
};

#define FAIL(...) (fputs("read_from_c: ", stderr), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(2))

static uint64_t acquire(uint8_t *at) { return atomic_load_explicit((_Atomic uint64_t *)at, memory_order_acquire); }
static uint64_t relaxed(uint8_t *at) { return atomic_load_explicit((_Atomic uint64_t *)at, memory_order_relaxed); }
static uint32_t relaxed32(uint8_t *at) { return atomic_load_explicit((_Atomic uint32_t *)at, memory_order_relaxed); }

/* ---- SipHash-1-3 */

#define ROTATE(x, bits) ((x) = (x) << (bits) | (x) >> (64 - (bits)))
static void sip_round(uint64_t v[4]) {
    v[0] += v[1], ROTATE(v[1], 13), v[1] ^= v[0], ROTATE(v[0], 32);
    v[2] += v[3], ROTATE(v[3], 16), v[3] ^= v[2];
    v[0] += v[3], ROTATE(v[3], 21), v[3] ^= v[0];
    v[2] += v[1], ROTATE(v[1], 17), v[1] ^= v[2], ROTATE(v[2], 32);
}

static uint64_t siphash13(const char *bytes, uint64_t length, uint64_t k0, uint64_t k1) {
    uint64_t v[] = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573};
    for (uint64_t at = 0; at <= length; at += 8) {
        bool last = length - at < 8;
        uint64_t m = last ? length << 56 : 0;
        memcpy(&m, bytes + at, last ? length - at : 8);
        v[3] ^= m, sip_round(v), v[0] ^= m;
    }
    v[2] ^= 0xff, sip_round(v), sip_round(v), sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static key_t key_of(const char *store) {
    uint32_t key = (uint32_t)siphash13(store, strlen(store), 0x65726f74736d6873, 0x202020745f79656b);
    return (key_t)(key == 0 ? 1 : key == 0xffffffff ? 0xfffffffe : key);
}

/* ---- attaching, and all that must hold before anything else in the segment is used */

static bool fits(const struct store *s, uint64_t offset, uint64_t bytes, uint64_t align) {
    return offset >= HEADER_END && offset % align == 0 && offset <= s->size && bytes <= s->size - offset;
}

/* name: what the store must be called; NULL if it was asked for by its key. */
static struct store attach(key_t key, const char *name) {
    struct shmid_ds kernel;
    int id = shmget(key, 0, 0);
    if (id == -1 && errno == ENOENT)
        FAIL("no store has the key 0x%08x: is it created, and its name spelled right?", (unsigned)key);
    if (id == -1 || shmctl(id, IPC_STAT, &kernel) == -1)
        FAIL("the segment with the key 0x%08x cannot be looked at: %s", (unsigned)key, strerror(errno));
    uint8_t *at = shmat(id, NULL, SHM_RDONLY);
    if (at == (void *)-1)
        FAIL("segment %d cannot be attached: %s", id, strerror(errno));

    uint64_t magic = kernel.shm_segsz >= HEADER_END ? acquire(at + MAGIC) : 0;
    if (magic == 0x54494e49534d4853) /* "SHMSINIT" */
        FAIL("segment %d is a store being created: try again", id);
    if (magic != 0x45524f54534d4853) /* "SHMSTORE" */
        FAIL("segment %d is no store: another program made it", id);
    if ((acquire(at + STATE) >> 44 & 15) != 2)
        FAIL("segment %d holds a store that was destroyed: try again", id);
    if (relaxed32(at + FORMAT) != 1 || relaxed(at + INCOMPATIBLE) != 0)
        FAIL("segment %d has a format or feature unknown to this program: use a newer one", id);

    struct store s = {.base = at,
                      .size = relaxed(at + SEGMENT_SIZE),
                      .k0 = relaxed(at + HASH_KEY),
                      .k1 = relaxed(at + HASH_KEY + 8),
                      .summary = relaxed(at + SUMMARY),
                      .slots = relaxed(at + SLOTS),
                      .buckets = relaxed(at + BUCKET_COUNT),
                      .generations = relaxed(at + GENERATIONS),
                      .counters = relaxed32(at + COUNTERS),
                      .heap = relaxed(at + HEAP),
                      .heap_pages = relaxed(at + HEAP_PAGES)};
    uint64_t length = relaxed32(at + NAME_LENGTH);
    if (relaxed32(at + HEADER_SIZE) != HEADER_END || s.size < HEADER_END || s.size > kernel.shm_segsz ||
        length >= HEADER_END - NAME || s.buckets < 1 || s.buckets > 613566756 || s.heap_pages < 1 ||
        s.heap_pages > s.size / 4096 || !fits(&s, s.summary, (s.buckets + 4095) / 4096 * 8, 64) || s.counters > 32768 ||
        (s.counters && !fits(&s, s.generations, s.counters * 8, 4096)) || !fits(&s, s.slots, s.buckets * 64, 4096) ||
        !fits(&s, s.heap, s.heap_pages * 4096, 4096))
        FAIL("segment %d is damaged: a size or an offset in its header cannot be", id);
    s.heap_end = s.heap + s.heap_pages * 4096;
    if (name && (relaxed32(at + NAME_KIND) != 1 || length != strlen(name) || memcmp(at + NAME, name, length) != 0))
        FAIL("the key of \"%s\" belongs to a store of another name", name);
    return s;
}

/* ---- looking a name up */

/* Nanoseconds since the host's boot. In a time namespace our own clock is off by what this file says. */
static uint64_t host_now(void) {
    struct timespec now;
    struct stat ours, childrens;
    char clock[16];
    long long seconds, ns, offset = 0;
    FILE *f = fopen("/proc/self/timens_offsets", "r");
    while (f && fscanf(f, "%15s %lld %lld", clock, &seconds, &ns) == 3)
        if (strcmp(clock, "boottime") == 0)
            offset = seconds * 1000000000 + ns;
    if (f)
        fclose(f);
    if (stat("/proc/self/ns/time", &ours) != 0 || stat("/proc/self/ns/time_for_children", &childrens) != 0 ||
        ours.st_ino != childrens.st_ino)
        offset = 0;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec - (uint64_t)offset;
}

/* Looking at memory that was never used would allocate it: the summary knows, its upper level first. */
static bool ever_used(const struct store *s, uint64_t bucket) {
    uint64_t page = bucket / 64, top = page / 32768;
    return (acquire(s->base + SUMMARY_TOP + top / 64 * 8) >> top % 64 & 1) &&
           (acquire(s->base + s->summary + page / 64 * 8) >> page % 64 & 1);
}

/* Has the life of the block ended? Another reader may set the pinned bit at any moment, which changes nothing. */
static bool ended(uint8_t *block, uint64_t life) {
    atomic_thread_fence(memory_order_acquire);
    return (relaxed(block + WORD) & ~(uint64_t)PINNED) != life;
}

/* Has a counter of the entry moved on since it was put: was a tag of it evicted? The words are looked at within the
 * extension, which lies in the heap; they may be another life's. */
static bool outdated(const struct store *s, uint8_t *extension, uint64_t length) {
    if (length < 16 || (relaxed32(extension + 8) & 0xffff) != 3)
        return false;
    uint64_t n = relaxed32(extension + 12);
    if (n > (length - 16) / 8)
        return true;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t word = relaxed(extension + 16 + i * 8), index = word >> 48;
        if (index >= s->counters || (acquire(s->base + s->generations + index * 8) ^ word) << 16)
            return true;
    }
    return false;
}

enum look { FOUND, EXPIRED, OTHER, AGAIN, DAMAGED };

/* Reads the block that slot word w names. Nothing is concluded from it, and no memory is asked for, unless the slot
 * named this life of the block at a moment between two loads of the same life. */
static enum look look(const struct store *s, uint8_t *slot, uint64_t w, const struct name *n, struct value *v) {
    uint64_t at = (w & 0xffffffffff) * 16;
    if (at < s->heap || at > s->heap_end - BLOCK_MIN)
        return acquire(slot) == w ? DAMAGED : AGAIN;
    uint8_t *block = s->base + at;
    uint64_t word = acquire(block + WORD), life = word & ~(uint64_t)PINNED;
    if (acquire(slot) != w || word == 0 || word & ENDED) /* free, or a zombie that another reader has pinned */
        return AGAIN;
    uint64_t lengths = relaxed(block + LENGTHS), name_length = lengths >> 8 & 0xffff;
    uint64_t extension = lengths & EXTENDED ? relaxed32(block + BODY) : 0, name_at = at + BODY + extension;
    bool sound = !(lengths & EXTENDED) || (extension >= 8 && extension <= 4096 && extension % 8 == 0);
    at = name_at + name_length;
    v->length = lengths >> 24;
    v->codec = lengths & CODEC;
    if (v->length >= 4096) { /* msgpack: what follows a head of five bytes is aligned */
        uint64_t head = v->codec == MSGPACK ? 5 : 0;
        at = (at + head + 63) / 64 * 64 - head;
    }
    sound = sound && name_length <= 32768 && at <= s->heap_end && v->length <= s->heap_end - at;
    bool match = sound && (relaxed(block + HASH) == n->hash || lengths & MOVED) && name_length == n->length &&
                 (lengths & KIND_OF_NAME) == n->flag && memcmp(s->base + name_at, n->bytes, name_length) == 0;
    if (ended(block, life))
        return AGAIN;
    if (!match)
        return sound ? OTHER : DAMAGED;
    uint8_t *bytes = realloc(v->bytes, v->length + 1);
    if (!bytes)
        FAIL("no memory for a value of %" PRIu64 " bytes", v->length);
    v->bytes = memcpy(bytes, s->base + at, v->length);
    uint64_t now = relaxed(block + EXPIRY) ? host_now() : 0; /* the clock first, then the expiry that counts */
    uint64_t expiry = acquire(block + EXPIRY);
    bool is_outdated = outdated(s, block + BODY, extension);
    if (ended(block, life))
        return AGAIN;
    if ((!expiry || expiry > now) && !is_outdated)
        return FOUND;
    /* It may have been overwritten before the clock, or a counter, was read. Then the slot shows it. */
    return acquire(slot) != w || ended(block, life) ? AGAIN : EXPIRED;
}

/* v->bytes: NULL or from malloc, before and after. */
static bool find(const struct store *s, const struct name *n, struct value *v) {
    if (!ever_used(s, n->home))
        return false;
    uint64_t reach = acquire(s->base + s->slots + n->home * 64) >> 16 & 255;
    int looks = 0;
    for (uint64_t d = 0; d <= reach && d < s->buckets; d++) {
        uint64_t bucket = (n->home + d) % s->buckets, w;
        for (uint64_t i = 0; i < 7 && ever_used(s, bucket); i++) {
            uint8_t *slot = s->base + s->slots + bucket * 64 + 8 + i * 8;
            while ((w = acquire(slot)) != 0 && w >> 40 == n->tag) {
                enum look seen = look(s, slot, w, n, v);
                if (seen == FOUND || seen == EXPIRED)
                    return seen == FOUND;
                if (seen == OTHER)
                    break;
                if (seen == DAMAGED)
                    FAIL("the segment is damaged: an entry reaches out of the heap");
                if (++looks == LOOKS)
                    FAIL("overtaken %d times by overwrites of \"%s\", or the segment is damaged", LOOKS, n->bytes);
                sched_yield();
            }
        }
    }
    return false;
}

/* ---- msgpack as text, like JSON, with h'00ff' for bytes; extensions are left to others */

struct cursor {
    const uint8_t *at, *end;
};

static bool number(struct cursor *c, int width, uint64_t *n) {
    if (c->end - c->at < width)
        return false;
    for (*n = 0; width > 0; width--)
        *n = *n << 8 | *c->at++;
    return true;
}

static bool show_text(FILE *out, struct cursor *c, uint64_t n, bool is_str) {
    if (n > (uint64_t)(c->end - c->at))
        return false;
    fputs(is_str ? "\"" : "h'", out);
    for (uint8_t byte; n > 0; n--) {
        byte = *c->at++;
        if (is_str && byte >= 0x20 && byte != 0x7f)
            fprintf(out, byte == '"' || byte == '\\' ? "\\%c" : "%c", byte);
        else
            fprintf(out, is_str ? "\\u%04x" : "%02x", byte);
    }
    return fputc(is_str ? '"' : '\'', out) != EOF;
}

static bool show(FILE *out, struct cursor *c, int depth) {
    static const int widths[] = {[4] = 1, 2, 4, [10] = 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, [25] = 1, 2, 4, 2, 4, 2, 4};
    uint64_t tag, n;
    if (depth > DEPTH || !number(c, 1, &tag))
        return false;
    if (tag <= 0x7f || tag >= 0xe0)
        return fprintf(out, "%d", (int8_t)tag) > 0;
    int width = tag < 0xc0 ? 0 : widths[tag - 0xc0];
    if (!number(c, width, &n))
        return false;
    if (tag < 0xc0)
        n = tag & (tag < 0xa0 ? 15 : 31);
    if (tag < 0xa0 || tag >= 0xdc) {
        bool is_map = tag < 0x90 || tag >= 0xde;
        fputc(is_map ? '{' : '[', out);
        for (uint64_t i = 0; i < n; i++) { /* an item takes a byte at least: a false n ends with the bytes */
            fputs(i ? ", " : "", out);
            if (!show(out, c, depth + 1) || (is_map && (fputs(": ", out) < 0 || !show(out, c, depth + 1))))
                return false;
        }
        return fputc(is_map ? '}' : ']', out) != EOF;
    }
    if (tag < 0xc0 || tag >= 0xd9 || (tag >= 0xc4 && tag <= 0xc6))
        return show_text(out, c, n, tag < 0xc0 || tag >= 0xd9);
    if (tag >= 0xd0 && tag <= 0xd3)
        return fprintf(out, "%" PRId64, (int64_t)(n << (64 - 8 * width)) >> (64 - 8 * width)) > 0;
    if (tag >= 0xcc && tag <= 0xcf)
        return fprintf(out, "%" PRIu64, n) > 0;
    if (tag == 0xca)
        return fprintf(out, "%.9g",
                       (double)((union {
                           uint32_t bits;
                           float real;
                       }){(uint32_t)n})
                           .real) > 0;
    if (tag == 0xcb)
        return fprintf(out, "%.17g",
                       ((union {
                           uint64_t bits;
                           double real;
                       }){n})
                           .real) > 0;
    return (tag == 0xc0 || tag == 0xc2 || tag == 0xc3) && fputs(tag == 0xc0   ? "null"
                                                                : tag == 0xc2 ? "false"
                                                                              : "true",
                                                                out) >= 0;
}

static void dump(const uint8_t *bytes, uint64_t length) {
    for (uint64_t i = 0; i < length; i++) {
        if (i % 16 == 0)
            printf("%08" PRIx64 " ", i);
        printf(i % 16 == 15 || i + 1 == length ? " %02x\n" : " %02x", bytes[i]);
    }
}

static void print(const struct value *v) {
    struct cursor c = {v->bytes, v->bytes + v->length};
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length); /* whole, or not shown at all */
    bool shown = out && v->codec == MSGPACK && show(out, &c, 0) && c.at == c.end;
    if (out && fclose(out) == 0 && shown)
        puts(text);
    else
        dump(v->bytes, v->length);
    free(text);
}

int main(int argc, char **argv) {
    bool is_key = false, is_bytes = false;
    for (int option; (option = getopt(argc, argv, "kb")) != -1;) {
        if (option == '?')
            return 2;
        *(option == 'k' ? &is_key : &is_bytes) = true;
    }
    if (argc - optind < 2)
        FAIL("usage: read_from_c [-k] [-b] STORE KEY...   -k: STORE is a key_t, such as 0x1234; -b: bytes keys");
    char *store = argv[optind], *end = store;
    unsigned long key = is_key ? strtoul(store, &end, 0) : 0;
    if (is_key && (*end || end == store || (uint32_t)key == 0))
        FAIL("a key is a number other than 0, not \"%s\"", store);

    struct store s = attach(is_key ? (key_t)key : key_of(store), is_key ? NULL : store);
    int code = 0;
    for (int i = optind + 1; i < argc; i++) {
        struct name n = {.bytes = argv[i], .length = strlen(argv[i]), .flag = is_bytes ? BYTES_NAME : 0};
        struct value v = {.bytes = NULL};
        n.hash = siphash13(n.bytes, n.length, s.k0 ^ n.flag, s.k1);
        n.home = (n.hash >> 32) * s.buckets >> 32;
        n.tag = (n.hash & 0xffff) << 8 | (n.home & 0xff);
        if (find(&s, &n, &v))
            print(&v);
        else {
            fprintf(stderr, "read_from_c: no entry is named \"%s\"\n", argv[i]);
            code = 1;
        }
        free(v.bytes);
    }
    if (fflush(stdout) != 0)
        FAIL("the output cannot be written: %s", strerror(errno));
    return code;
}
