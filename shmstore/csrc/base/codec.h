/* codec.h: codecs' numbers, declared once, for C and for cffi. */
#ifndef SHMS_CODEC_H
#define SHMS_CODEC_H
#include "base/codec.cdef.h"
#endif
