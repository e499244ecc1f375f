/* garbage.h: what the parts of the garbage test share; garbage.c has the property, drive.c the drivers. */
#ifndef GARBAGE_H
#define GARBAGE_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "api/api.h"
#include "engine/check.h"
#include "engine/expire.h"
#include "api/handle.h"
#include "engine/heap.h"
#include "engine/lock.h"
#include "segment/memory.h"
#include "base/number.h"
#include "engine/op.h"
#include "engine/pin.h"
#include "engine/recover.h"
#include "engine/repair.h"
#include "engine/table.h"
#include "api/view.h"
#include "engine/walk.h"

/* ---- os_stub.c */
#define STUB_PID 1001u
extern uint8_t *stub_segment;
extern uint64_t stub_size, stub_random_state;
extern _Atomic uint64_t stub_questions;
uint64_t stub_random(void);

/* ---- garbage.c */
void garbage_prepare(void);
/* The property. A case is a store to start from, damage to it, and operations: any bytes are one. */
void garbage_case(const uint8_t *data, size_t size);
/* Readers and writers work while `scribble` damages the segment from another thread; until *stop. */
void garbage_under_scribbles(uint64_t seed, _Atomic bool *stop);
void garbage_scribble_once(uint64_t random);
uint32_t garbage_templates(void);

/* Where the bytes of the case under way are, for whoever reports a failure. */
extern const uint8_t *garbage_data;
extern size_t garbage_length;
_Noreturn void garbage_failed(const char *what);

#endif
