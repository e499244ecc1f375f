/* liveness.h: has a client's process ended? The argument is in liveness.c. */
#ifndef SHMS_LIVENESS_H
#define SHMS_LIVENESS_H

#include "engine/clients.h"

/* Has the process named by this owner word ended? Without proof of either answer the result is SHMS_UNKNOWN. */
enum shms_life shms_client_life(struct shms_store *s, uint32_t index, uint64_t owner);
/* The same by one cheap system call, for loops over hundreds of slots. False proves nothing. */
bool shms_client_obviously_gone(struct shms_store *s, uint32_t index, uint64_t owner);

#endif
