/* create.h: how a segment becomes a store. open.c calls this. */
#ifndef SHMS_CREATE_H
#define SHMS_CREATE_H

#include "segment/memory.h"
#include "segment/request.h"

enum shms_creation {
    SHMS_CREATION_READY,      /* the segment is a store */
    SHMS_CREATION_WAIT,       /* another process is making it: look again */
    SHMS_CREATION_GONE,       /* it is marked destroyed */
    SHMS_CREATION_SUPERSEDED, /* another segment has the entries: its header says which */
    SHMS_CREATION_FOREIGN,    /* it is not a store */
    SHMS_CREATION_UNPLANNED,  /* it is for this process to make, but the sizes asked for do not fit */
    SHMS_CREATION_FAILED      /* a system call failed: the result says which */
};

/* A segment that supersedes another one gives out numbers from so many above its own on. The old one must not reach them
 * before it is superseded: four billion puts during one resize. */
#define SHMS_NUMBERS_AHEAD (1ull << 32)

/* Looks at an attached segment once, and does its part of the creation, if it has one. planned: SHMS_OK if *g is valid.
 * waited: for how long the segment has been watched, in ns. */
enum shms_creation shms_create_or_wait(struct shms_store *s, const struct shms_geometry *g, int planned,
                                       const struct shms_open_request *a, struct shms_open_result *r,
                                       const struct shms_memory_state *d, uint64_t waited);
/* Notes in *r which call failed with which error number. Returns SHMS_SYSTEM. */
int shms_open_failed(struct shms_open_result *r, const char *what, int error);

#endif
