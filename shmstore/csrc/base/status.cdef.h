/* 0 is success. Positive values are documented outcomes that are not errors. Negative values are errors. */
enum shms_status {
    SHMS_OK = 0,
    SHMS_MISS = 1,        /* there is no such entry */
    SHMS_UNMET = 2,       /* the condition of add, replace or cas does not hold; nothing changed */
    SHMS_BUSY = 3,        /* spinning did not get a lock: nothing is held; await the lock and call again */
    SHMS_AGAIN = 4,       /* a wait ended without its event: look and call again */
    SHMS_FULL = -1,       /* no room in the heap */
    SHMS_TABLE_FULL = -2, /* no empty slot within reach of the key's home bucket */
    SHMS_TOO_LARGE = -3,  /* would not fit into the empty store */
    SHMS_READ_ONLY = -4,  /* the attachment is read-only */
    SHMS_CLOSED = -5,     /* the handle was closed */
    SHMS_DESTROYED = -6,  /* the store was removed */
    SHMS_CORRUPT = -7,    /* the segment breaks an invariant */
    SHMS_TIMEOUT = -8,    /* the lock's holder is alive but does not release it */
    SHMS_NOT_INT = -9,    /* the value that incr found is not an integer */
    SHMS_OVERFLOW = -10,  /* the result of incr would exceed 64 bits */
    SHMS_NO_CLIENT = -11, /* every client slot belongs to a live process */
    SHMS_NO_MEMORY = -12, /* this process has no memory for its own bookkeeping */
    SHMS_SYSTEM = -13,    /* a system call failed; the error number is in the result */
    SHMS_NOT_A_STORE = -14,
    SHMS_FORMAT = -15,    /* a format or feature that this build does not know */
    SHMS_COLLISION = -16, /* the store under this System V key has another name */
    SHMS_FOREIGN = -17,   /* created by a user who is not trusted */
    SHMS_NOT_FOUND = -18,
    SHMS_EXISTS = -19,
    SHMS_MISMATCH = -20,   /* the mode differs from the creator's; or it is no cache */
    SHMS_TOO_SMALL = -21,  /* the size does not hold the tables and a heap */
    SHMS_CONTENDED = -22,  /* writers overtook the read until its time was up */
    SHMS_FORKED = -23,     /* this process was forked while the call waited: begin again as a new client */
    SHMS_NO_COUNTER = -24, /* every counter for namespaces was given to one */
    SHMS_SUPERSEDED = -25  /* the store was resized: its entries are in another segment now */
};
