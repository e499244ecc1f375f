/* posix.h: the POSIX shared memory calls, one thin function each; it knows nothing of stores */
#ifndef SHMS_POSIX_H
#define SHMS_POSIX_H

#include <stdint.h>

#include "os/posix.cdef.h"

#endif
