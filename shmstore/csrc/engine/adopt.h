/* adopt.h: how a process becomes a client */
#ifndef SHMS_ADOPT_H
#define SHMS_ADOPT_H

#include "engine/clients.h"

/* Makes this process a client of *s: SHMS_OK; SHMS_NO_CLIENT if every slot belongs to a live process; SHMS_FULL if
 * there is no memory for another slot. */
int shms_client_claim(struct shms_store *s);

#endif
