/* attachments.h: the attachments of this process as a list, so that a forked child gives up what it must not keep */
#ifndef SHMS_ATTACHMENTS_H
#define SHMS_ATTACHMENTS_H

#include "segment/segment.h"

/* Increased in every forked child. A handle with another epoch belongs to the parent. */
extern uint32_t shms_fork_epoch;
#define SHMS_NO_EPOCH 0u /* of an attachment without a client slot, in a process that did not fork */
/* Every attachment of the process is in the list: a forked child gives up the descriptors that keep liveness marks. */
bool shms_attachments_add(struct shms_store *s);
void shms_attachments_remove(struct shms_store *s);
/* The kernel has just returned this descriptor for *s. An attachment that holds the same number has lost its file. */
void shms_attachments_lose(struct shms_store *s, int fd);

#endif
