/* codec.h: the numbers of the codecs, declared once, for C and for cffi. */
#ifndef SHMS_CODEC_H
#define SHMS_CODEC_H
#include "base/codec.cdef.h"
#endif
