/* posix.h: the POSIX shared memory calls, one thin function each. It knows nothing about stores. */
#ifndef SHMS_POSIX_H
#define SHMS_POSIX_H

#include <stdint.h>

#include "os/posix.cdef.h"

#endif
