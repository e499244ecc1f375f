/* sysv.h: the System V shared memory calls, one thin function each. It knows nothing about stores. */
#ifndef SHMS_SYSV_H
#define SHMS_SYSV_H

#include <stdint.h>

#include "os/sysv.cdef.h"

#endif
