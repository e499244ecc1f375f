/* status.h: the results of engine calls. Names and values are declared once, for C and for cffi. */
#ifndef SHMS_STATUS_H
#define SHMS_STATUS_H
#include <stdint.h>
#include "base/status.cdef.h"
#endif
