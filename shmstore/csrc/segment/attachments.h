/* attachments.h: the attachments of this process as a list. So handles of one store share a mapping and a client slot,
 * and a forked child gives up what it must not keep. */
#ifndef SHMS_ATTACHMENTS_H
#define SHMS_ATTACHMENTS_H

#include "segment/segment.h"

/* Increased in every forked child. A handle with another epoch belongs to the parent. */
extern uint32_t shms_fork_epoch;
#define SHMS_FIRST_EPOCH 1u /* this process was not forked after it first opened a store */
#define SHMS_NO_EPOCH 0u    /* of an attachment without a client slot, in a process that did not fork */
/* Every attachment of the process is in the list: a forked child gives up the descriptors that keep liveness marks. */
bool shms_attachments_add(struct shms_store *s);
void shms_attachments_remove(struct shms_store *s);

/* Finds an attachment of the same memory that can be shared, and counts a use of it. NULL: there is none, and *s is to
 * claim a client slot; shms_attachments_claimed must follow. Another thread that claims one for this memory is waited
 * for. So threads that open a store at once share a slot, too. */
/* number: only one that has this client number, which the caller wants to keep (resize.h); 0: any. */
struct shms_store *shms_attachments_join(struct shms_store *s, uint32_t number);
/* shared: others may share this attachment from now on. Otherwise nothing has become of it. */
void shms_attachments_claimed(struct shms_store *s, bool shared);
/* The client of *s has gone on in *successor (resize.h), by the handle that called. Other handles of *s have yet to follow. Until
 * they have, or are closed, *successor stays in use, and with it the client slot. REQUIRES: the caller uses both. */
void shms_attachments_keep(struct shms_store *s, struct shms_store *successor);
/* A use ends. True: it was the last one. Then *s is not in the list any more, and the caller detaches it. */
bool shms_attachments_drop(struct shms_store *s);

/* What a forked child does besides. It must be safe in a signal handler. */
void shms_attachments_at_fork(void (*child)(void));
/* The kernel has just returned this descriptor for *s. An attachment that holds the same number has lost its file. */
void shms_attachments_lose(struct shms_store *s, int fd);

#endif
