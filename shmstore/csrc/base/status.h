/* status.h: how a call of the engine ends; the names and values are declared once, for C and for cffi. */
#ifndef SHMS_STATUS_H
#define SHMS_STATUS_H
#include <stdint.h>
#include "base/status.cdef.h"
#endif
