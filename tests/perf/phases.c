/* phases.c: lets a Python program tell callgrind where a phase begins and ends. Loaded by operations.py. */
#include <valgrind/callgrind.h>

void begin(void) { CALLGRIND_ZERO_STATS; }

void end(const char *phase) { CALLGRIND_DUMP_STATS_AT(phase); }
