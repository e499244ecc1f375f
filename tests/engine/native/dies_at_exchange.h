/* dies_at_exchange.h: the engine's writers, one of which is killed just after it changed a certain word.
 *
 * publish.c and expire.c are compiled here once more, with an exchange that is followed by death if `deadly` is what it
 * changed; they take the place of the archive's. */
#ifndef DIES_AT_EXCHANGE_H
#define DIES_AT_EXCHANGE_H

#include "harness.h"

static _Atomic uint64_t *deadly; /* NULL: nobody dies */

static bool exchange(_Atomic uint64_t *word, uint64_t *expected, uint64_t value) {
    bool done = shms_cas_acq_rel(word, expected, value);
    if (done && word == deadly)
        kill(getpid(), SIGKILL);
    return done;
}

#undef shms_cas_acq_rel
#define shms_cas_acq_rel(word, expected, value) exchange((word), (expected), (value))
#include "engine/expire.c"
#include "engine/publish.c"

#endif
