/* garbage_parts.h: what garbage.c, which states the property, shares with the calls it makes (garbage_calls.c), the stores
 * it starts from (garbage_stores.c) and the damage it does to them (garbage_damage.c). */
#ifndef GARBAGE_PARTS_H
#define GARBAGE_PARTS_H

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
#define FREE_MAX 64
#define NAMES 40 /* that operations speak of */

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
    uint32_t free_blocks;
    struct {
        uint64_t at, bytes;
    } free_block[FREE_MAX];
    uint32_t used_slots;
    uint64_t used_slot[ENTRIES_MAX];
    bool busy; /* somebody holds something there */
};

/* ---- garbage_calls.c */
#define HANDLES 3
extern struct shms_handle handles[HANDLES];

bool may_be(int rc, const char *allowed);
#define MAY_BE(rc, allowed)                                                                   \
    do {                                                                                      \
        int rc_ = (rc);                                                                       \
        if (!may_be(rc_, (allowed))) {                                                        \
            char what_[160];                                                                  \
            snprintf(what_, sizeof what_, "%s:%d: %d from %s", __FILE__, __LINE__, rc_, #rc); \
            garbage_failed(what_);                                                            \
        }                                                                                     \
    } while (0)

struct wish {
    enum shms_mode mode;
    uint64_t expected, ttl;
    uint32_t codec, extension_length;
    uint32_t counter; /* whose generation the entry has; 0: none */
    bool keep;
};

uint8_t pattern(uint8_t seed, uint64_t i);
struct shms_key name_of(const struct shms_store *s, const struct entry *e);
int get(struct shms_store *s, const struct shms_key *n, struct shms_entry *f);
bool is_right(const struct entry *e, const struct shms_entry *f);
void expect(struct shms_store *s, const struct entry *e);
int put(struct shms_store *s, const struct entry *e, const struct wish *w);
int drop(struct shms_store *s, const struct entry *e, uint64_t expected);
int touch(struct shms_store *s, const struct entry *e, uint64_t ttl);
void make_room(struct shms_store *s);
int64_t number_of(uint32_t i);
struct shms_handle *attach_to(uint32_t i, uint8_t *base, uint64_t size, bool readonly, int *status);
void detach_from(struct shms_handle *h);
void look_at_everything(uint32_t i);
void view(uint32_t i, const struct shms_key *n, bool leave_open);

/* ---- garbage_stores.c */
extern struct template templates[10];
extern uint32_t template_count;
uint8_t *place_for(uint64_t size);

/* ---- garbage_damage.c */
struct reader {
    const uint8_t *at, *end;
};
struct survey {
    bool soft, mild, header, table; /* the last two: untouched */
};

uint64_t take(struct reader *r, int bytes);
void damage_once(const struct template *t, uint8_t *base, uint64_t *size, struct reader *r);
struct survey survey_of(const struct template *t, const uint8_t *base, uint64_t size);
bool intact(const struct template *t, const uint8_t *base, const struct survey *v, const struct entry *e);

#endif
