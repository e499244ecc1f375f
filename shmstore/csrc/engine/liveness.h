/* liveness.h: has a client's process ended? See liveness.c. */
#ifndef SHMS_LIVENESS_H
#define SHMS_LIVENESS_H

#include "engine/clients.h"

/* Has the process of this entry word ended? Proof or nothing: what cannot be shown is SHMS_UNKNOWN. */
enum shms_life shms_client_life(struct shms_store *s, uint32_t index, uint64_t owner);
/* The same without /proc and sockets, for places where hundreds are looked at. */
bool shms_client_obviously_gone(struct shms_store *s, uint32_t index, uint64_t owner);

#endif
