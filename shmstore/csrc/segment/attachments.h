/* attachments.h: the attachments of this process as a list, so that a fork can let go of what the child must not keep. */
#ifndef SHMS_ATTACHMENTS_H
#define SHMS_ATTACHMENTS_H

#include "segment/segment.h"

/* Moved in every forked child: a handle with another epoch belongs to the parent. */
extern uint32_t shms_fork_epoch;
#define SHMS_NO_EPOCH 0u /* of an attachment that has no place, though nobody forked */
/* All attachments of this process, so that a forked child can close the beacons it inherited. */
bool shms_attachments_add(struct shms_store *s);
void shms_attachments_remove(struct shms_store *s);
/* The kernel just gave this descriptor to *s: whichever other attachment has it noted lost its own. */
void shms_attachments_lose(struct shms_store *s, int fd);

#endif
