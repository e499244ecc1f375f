/* dies_at_step.h: the engine's writers, one of which is killed just after its n-th write to a shared word.
 *
 * The files that write, and the inline functions of the headers, are compiled here once more with writes that count. They
 * take the place of the archive's. Loads, and what is written to a block that is not published, need no step. */
#ifndef DIES_AT_STEP_H
#define DIES_AT_STEP_H

#include <signal.h>
#include <unistd.h>

#include "base/atomic.h"

static uint64_t steps_left; /* 0: nobody dies */

static inline void step(void) {
    if (steps_left && --steps_left == 0)
        kill(getpid(), SIGKILL);
}

#define THEN_STEP(kind, what)  \
    __extension__({            \
        kind result_ = (what); \
        step();                \
        result_;               \
    })
#undef shms_store_relaxed
#undef shms_store_release
#undef shms_fetch_add_acq_rel
#undef shms_fetch_or_acq_rel
#undef shms_fetch_and_acq_rel
#undef shms_exchange_acq_rel
#undef shms_cas_acq_rel
#undef shms_cas_seq_cst
#define shms_store_relaxed(p, v) (atomic_store_explicit((p), (v), memory_order_relaxed), step())
#define shms_store_release(p, v) (atomic_store_explicit((p), (v), memory_order_release), step())
#define shms_fetch_add_acq_rel(p, v) THEN_STEP(uint64_t, atomic_fetch_add_explicit((p), (v), memory_order_acq_rel))
#define shms_fetch_or_acq_rel(p, v) THEN_STEP(uint64_t, atomic_fetch_or_explicit((p), (v), memory_order_acq_rel))
#define shms_fetch_and_acq_rel(p, v) THEN_STEP(uint64_t, atomic_fetch_and_explicit((p), (v), memory_order_acq_rel))
#define shms_exchange_acq_rel(p, v) THEN_STEP(uint64_t, atomic_exchange_explicit((p), (v), memory_order_acq_rel))
#define shms_cas_acq_rel(p, was, v) \
    THEN_STEP(bool,                 \
              atomic_compare_exchange_strong_explicit((p), (was), (v), memory_order_acq_rel, memory_order_acquire))
#define shms_cas_seq_cst(p, was, v) \
    THEN_STEP(bool,                 \
              atomic_compare_exchange_strong_explicit((p), (was), (v), memory_order_seq_cst, memory_order_acquire))

#include "harness.h"

#include "engine/pages.c"
#define view span_view
#include "engine/span.c"
#undef view
#define take heap_take
#include "engine/heap.c"
#undef take
#include "engine/pin.c"
#define count publish_count
#define expired publish_expired
#include "engine/publish.c"
#undef expired
#undef count
#undef SECOND
#include "engine/op.c"
#include "engine/expire.c"

#endif
