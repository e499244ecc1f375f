/* api.h: the control surface as C sees it. */
#ifndef SHMS_API_H
#define SHMS_API_H
#include <stdint.h>
#include "codec.h"
#include "request.h"
#include "status.h"
#include "api.cdef.h"
#endif
