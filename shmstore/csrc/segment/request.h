/* request.h: what is asked for when a store is opened, as C sees it */
#ifndef SHMS_REQUEST_H
#define SHMS_REQUEST_H
#include <stdint.h>
#include "segment/request.cdef.h"
#endif
