/* adopt.h: how a process becomes a client. */
#ifndef SHMS_ADOPT_H
#define SHMS_ADOPT_H

#include "engine/clients.h"

/* Makes this process a client of *s: SHMS_OK, SHMS_NO_CLIENT when all places belong to the living, SHMS_FULL when there
 * is no memory for another one. */
int shms_client_claim(struct shms_store *s);

#endif
