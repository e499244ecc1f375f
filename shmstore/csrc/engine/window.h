/* window.h: evicting by place. A window is a run of whole spans and free pages, on at least as many pages as are wanted.
 *
 * Of a few windows at random places the one is taken that is worth least: bytes in use, times how often their entries were
 * used. An entry that is too young to have been used again counts as used once. So what it costs differs little from the least
 * that is possible, and no order of windows has to be kept. Other processes may allocate in a window that is being emptied. Then
 * a span in it is not closed, and the caller chooses another window.
 *
 * The old entry of the key that is put may be in the middle of the heap, and then every window of half the heap holds it. It is
 * evicted when nothing else is left in the window. So a put that is refused because of views leaves it where it is (P5). It is
 * lost only if another process takes the window in the same moment. */
#ifndef SHMS_WINDOW_H
#define SHMS_WINDOW_H

#include "engine/victim.h"

#define SHMS_CLASSES_ABOVE 5u /* a block of such a class is at most one and a half times as large, or so */

struct shms_window {
    uint64_t first, end;  /* pages; end 0: none is chosen */
    uint64_t at;          /* the next page to empty */
    uint64_t used, bytes; /* bytes of blocks in use; bytes of all pages */
    uint64_t worth;       /* bytes in use, times how often they were used */
    uint32_t tries;       /* of the caller */
    uint64_t spared;      /* likewise: hash of the key for which room is being made. Its entry goes last; 0: none */
    uint64_t last;        /* its block, once it was found in the window */
};

/* Chooses a window on at least so many pages. False: each one that was looked at has a page that is being opened. */
bool shms_window_choose(struct shms_store *s, uint64_t pages, struct shms_window *w);
/* Evicts what is in the window, from w->at on, and closes its spans; looks at so many blocks at most. SHMS_AGAIN: there is
 * more. SHMS_OK: all its pages were free for a moment. SHMS_FULL: something in it cannot be evicted. */
int shms_window_clear_some(struct shms_store *s, struct shms_record *record, struct shms_window *w, uint32_t blocks);
/* Evicts the least used of some blocks that hold `kind` without much waste. False: none was found. */
bool shms_window_coldest(struct shms_store *s, struct shms_record *record, uint32_t kind);

#endif
