/* resize.pml: a store gets another segment while others write to it and read it
 *
 * WHAT  RESIZERS (1) processes resize the store once each. A writer adds one to an entry, WOPS (2) times; a reader looks at it, READS
 *   (2) times; a finder recovers a resizer that is gone. Up to DEATHS (1) of resizers and writers die, at any step.
 *   STOP: the writer stops for ever, at any step, and a second one has another entry; no reader, no finder. FALSE: a resizer is
 *   held for dead, and goes on.
 * STEPS  freeze.h and resize.h: begin; the note of the successor; the early copy; the bit; the drain, or the bit taken away; the
 *   copy; the commit. shms_freeze_end (give_up): word, creation word and successor are loaded; the generation; discard; the
 *   resize word. lock.h: the lock, then the bit. Each call looks at the creation word, and follows the successors.
 * BOUNDS  A segment for each resize. An entry is a number, its bucket is its own.
 * LEFT OUT  Memory order (tests/engine/memory_order), client slots, names and keys, tables, evictions, generations.
 * PROPERTIES  A write finds what was acknowledged, a read returns no less than what was acknowledged when it began, and so does
 *   the new segment at the commit (assertions). It is not discarded, and no process follows to one that is. Whoever lives comes
 *   to an end (no invalid end state): so no dead process keeps the store frozen, and with STOP a stopped writer does not keep
 *   the other one waiting.
 * MUTATIONS  M_BIT_LATE (drained, then frozen) M_COPY_EARLY (copied, then drained) M_NO_DRAIN M_CHECK_EARLY (a writer looks at the
 *   bit before it takes the lock) M_NO_CHECK M_NO_STATE (a reader follows at its first call only) M_NO_BUMP (FALSE; giving up
 *   leaves the generation) M_BUMP_LATE (FALSE; resize word, then generation) M_DISCARD_EARLY (FALSE; before the generation)
 *   M_READY_LATE (FALSE; the creation word is loaded at the commit) M_NO_PROOF (no process asks whether the resizer lives) M_NO_THAW (STOP;
 *   a resizer drains until it is done) M_WORD (FALSE; the resize word is released, whichever it is by then) */
#ifndef RESIZERS
#define RESIZERS 1
#endif
#ifndef WOPS
#define WOPS 2
#endif
#ifndef READS
#define READS 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#define SEGMENTS (RESIZERS + 1)
#define RESIZER(w) ((w) & 3)
#define FROZEN(w) ((w) & 4)
#define NEXT 8 /* one more in the count of the resize word */
#define CELL(segment, b) (2 * (segment) + (b))

byte word[SEGMENTS], gen[SEGMENTS], successor[SEGMENTS], made;
bool superseded[SEGMENTS], discarded[SEGMENTS];
byte value[2 * SEGMENTS], lock[2 * SEGMENTS];
byte acked[2];
bool gone[6]; /* dead, or held for dead: 1 and 2 resize, 3 and 4 write */
byte deaths;
bool halted;

#define MAYDIE if :: atomic { deaths < DEATHS -> deaths++; gone[me] = true }; goto out :: skip fi
inline follow() {
  do
  :: superseded[at] -> at = successor[at]; assert(!discarded[at])
  :: else -> break
  od
}
/* shms_freeze_end of the resize with the word w */
inline give_up(w) {
  atomic { g = gen[at]; next = successor[at]; given = word[at] == w };
  if
  :: given ->
#ifdef M_DISCARD_EARLY
     if :: next -> discarded[next] = true :: else fi;
#endif
#if !defined(M_NO_BUMP) && !defined(M_BUMP_LATE)
     atomic { if :: !superseded[at] && gen[at] == g -> gen[at]++ :: else fi; given = !superseded[at] };
#else
     given = !superseded[at];
#endif
     if
     :: given ->
        if :: next -> discarded[next] = true :: else fi;
        atomic { if :: successor[at] == next -> successor[at] = 0 :: else fi };
#ifdef M_WORD
        word[at] = (word[at] & ~7) + NEXT;
#else
        atomic { if :: word[at] == w -> word[at] = (w & ~7) + NEXT :: else fi };
#endif
#ifdef M_BUMP_LATE
        atomic { if :: !superseded[at] && gen[at] == g -> gen[at]++ :: else fi }
#endif
     :: else
     fi
  :: else
  fi;
  g = 0; next = 0; given = 0
}

proctype R(byte me) {
  byte at, ready, w, mine, to, g, next; bool given, done;
again:
  follow();
  ready = gen[at];
  if :: superseded[at] -> goto again :: else fi;
  w = word[at];
  if
  :: RESIZER(w) ->
     if /* SHMS_BUSY: it waits, and asks whether that one lives */
     :: gone[RESIZER(w)] -> give_up(w)
     :: word[at] != w
     :: superseded[at]
     fi;
     goto again
  :: else
  fi;
  atomic { if :: word[at] == w -> mine = (w + NEXT) | me; word[at] = mine :: else -> mine = 0 fi };
  if :: !mine -> goto again :: else fi;
  MAYDIE;
  to = 0;
  atomic { if :: made < RESIZERS -> made++; to = made :: else fi };
  if :: !to -> goto end :: else fi; /* after it was given up: there is no memory for another segment */
  successor[at] = to;
  MAYDIE;
  value[CELL(to, 0)] = value[CELL(at, 0)]; /* early */
freeze:
#ifndef M_BIT_LATE
  atomic { if :: word[at] == mine -> mine = mine | 4; word[at] = mine :: else -> goto end fi };
  MAYDIE;
#endif
#ifdef M_COPY_EARLY
  value[CELL(to, 0)] = value[CELL(at, 0)];
#endif
#ifndef M_NO_DRAIN
  given = 0;
  do /* the locks, one after the other */
#ifdef STOP
  :: lock[CELL(at, given)] == 0 -> if :: given -> break :: else -> given = 1 fi
#else
  :: lock[CELL(at, 0)] == 0 -> break
#endif
  :: atomic { lock[CELL(at, given)] && gone[lock[CELL(at, given)]] -> lock[CELL(at, given)] = 0 }
#if defined(STOP) && !defined(M_NO_THAW)
  :: lock[CELL(at, given)] && halted ->
     atomic { if :: word[at] == mine -> mine = (mine & ~4) + NEXT; word[at] = mine :: else fi };
     given = 0;
     if :: goto freeze :: goto end fi /* once more, or the time is up */
#endif
  od;
  given = 0;
#endif
#ifdef M_BIT_LATE
  atomic { if :: word[at] == mine -> mine = mine | 4; word[at] = mine :: else -> goto end fi };
#endif
#ifndef M_COPY_EARLY
  value[CELL(to, 0)] = value[CELL(at, 0)];
#ifdef STOP
  value[CELL(to, 1)] = value[CELL(at, 1)];
#endif
#endif
  MAYDIE;
#ifdef M_READY_LATE
  ready = gen[at];
#endif
  atomic {
    if
    :: !superseded[at] && gen[at] == ready ->
       superseded[at] = true; done = true;
       assert(!discarded[to] && value[CELL(to, 0)] >= acked[0] && value[CELL(to, 1)] >= acked[1])
    :: else
    fi
  };
end:
  MAYDIE;
  if :: !done -> give_up(mine) :: else fi;
out: skip
}

proctype W(byte me; byte b) {
  byte at, w, n, ops, g, next; bool given;
  do
  :: ops == WOPS -> break
  :: else ->
again:
     follow();
     MAYDIE;
#ifdef M_CHECK_EARLY
     w = word[at];
#endif
     lock[CELL(at, b)] = me; /* its bucket is its own */
     MAYDIE;
#ifdef STOP
     if :: atomic { !halted && me == 3 -> halted = true }; goto stop :: skip fi;
#endif
#ifndef M_CHECK_EARLY
     w = word[at];
#endif
#ifndef M_NO_CHECK
     if
     :: FROZEN(w) ->
        lock[CELL(at, b)] = 0;
        if
        :: word[at] != w
        :: superseded[at]
#ifndef M_NO_PROOF
        :: gone[RESIZER(w)] -> give_up(w)
#endif
        fi;
        goto again
     :: else
     fi;
#endif
     atomic {
       if
       :: lock[CELL(at, b)] == me -> assert(value[CELL(at, b)] >= acked[b]); value[CELL(at, b)]++; n = value[CELL(at, b)]
       :: else
       fi
     };
     MAYDIE;
#ifdef STOP
     if :: atomic { !halted && me == 3 -> halted = true }; goto stop :: skip fi;
#endif
     lock[CELL(at, b)] = 0;
     MAYDIE;
     acked[b] = n;
     ops++
  od;
  goto out;
stop:
end_stopped: false;
out: skip
}

proctype Reader() {
  byte at, before, reads;
  do
  :: reads == READS -> break
  :: else ->
     before = acked[0];
#ifdef M_NO_STATE
     if :: reads == 0 -> follow() :: else fi;
#else
     follow();
#endif
     assert(value[CELL(at, 0)] >= before);
     before = 0;
     reads++
  od
}
#ifdef FALSE
/* Somebody takes a resizer for dead that is not. */
proctype Mistaken() { if :: gone[1] = true :: gone[2] = true fi }
#endif
/* Another process comes by, and recovers a resizer that is gone. */
proctype Finder() {
  byte at, w, g, next; bool given;
  if
  :: gone[1] || gone[2] -> w = word[at]; if :: RESIZER(w) && gone[RESIZER(w)] -> give_up(w) :: else fi
  :: timeout
  fi
}
init {
  atomic {
    run R(1);
#if RESIZERS > 1
    run R(2);
#endif
    run W(3, 0);
#ifdef STOP
    run W(4, 1);
#else
    run Reader();
#ifndef M_NO_PROOF
    run Finder();
#endif
#endif
#ifdef FALSE
    run Mistaken();
#endif
  }
}
