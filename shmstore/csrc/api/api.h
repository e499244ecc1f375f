/* api.h: the control surface as C sees it */
#ifndef SHMS_API_H
#define SHMS_API_H
#include <stdint.h>
#include "base/codec.h"
#include "segment/request.h"
#include "base/status.h"
#include "engine/compact.cdef.h"
#include "engine/repair.h"
#include "api/api.cdef.h"
#endif
