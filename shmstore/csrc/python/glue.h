/* glue.h: the hot calls as CPython functions. glue*.c are the only files that know Python.h.
 *
 * Why not cffi: a call of two arguments costs 100 ns more there, and cffi gives the GIL up
 * around every call. These take the name itself and return finished objects.
 *
 * RESULTS  a success is what each function says; a failure of the engine is a tuple of one status, which
 *   store.py turns into an exception; wrong argument types raise here. No Python code runs while an engine
 *   lock is held; waiting gives the GIL up and looks at signals between slices. */
#ifndef SHMS_GLUE_H
#define SHMS_GLUE_H

#include <stdint.h>

#include "python/glue.cdef.h"

#endif
