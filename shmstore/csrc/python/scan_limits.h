/* scan_limits.h: what a value may be at most, for everything that walks one. codecs/scan.py has the same numbers. */
#ifndef SHMS_SCAN_LIMITS_H
#define SHMS_SCAN_LIMITS_H

enum {
    SHMS_SCAN_DEPTH = 256,     /* containers inside one another; a scalar alone has depth 0 */
    SHMS_SCAN_NODES = 1 << 27, /* about a second of walking */
};

#endif
