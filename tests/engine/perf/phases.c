/* phases.c: lets a Python program tell callgrind where a phase begins and ends. Loaded by operations.py.
 *
 * Between phases callgrind is off, which also makes it fast there. Zeroing its counters would not do: it misses what
 * callgrind counts for the caller when a call goes through the PLT. */
#include <valgrind/callgrind.h>

void begin(void) { CALLGRIND_START_INSTRUMENTATION; }

void end(const char *phase) {
    CALLGRIND_STOP_INSTRUMENTATION;
    CALLGRIND_DUMP_STATS_AT(phase);
}
