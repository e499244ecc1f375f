/* lease.pml: taking a lease, taking it over from the dead, and releasing it
 *
 * WHAT  A and B each take the lease ROUNDS times, and C claims the client slot of A once A is gone, and then does the same. Up to
 *   DEATHS of them die, at any step. The entry is its version, 0: absent, and the owner that its value names: slot and generation.
 * STEPS  leases.py attempt: add; look; prove; cas, and Held.release: delete of the version. A waiter sleeps until the version
 *   changes, or the owner is gone: await_change looks at that again and again, so here it just waits for either.
 * BOUNDS  Every step is one call on one key, which is linearizable (table.pml). Versions are not used twice.
 * PROPERTIES  No two live processes are inside (assertion). Whoever lives comes to an end, whoever died where (no invalid
 *   end state).
 *   With LOST, one of them is held for dead while it is inside, and goes on: it counts as outside, and must not release what
 *   another one has by then.
 * MUTATIONS  M_UNPROVED (takes over without a proof) M_NO_GENERATION (the value names the slot alone) M_NO_VERSION (takes over
 *   whatever is there by then) M_SPLIT (owner and version are read one after the other) M_RELEASE_ANY (LOST; release deletes
 *   the entry, whatever its version is) M_NO_TAKEOVER (waits for a release only) */
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
byte gen[2], alive[2];
byte version, slot, generation; /* the entry */
byte versions = 1, deaths, inside, lost;
#ifdef M_NO_GENERATION
#define GONE(s, g) (!alive[s])
#else
#define GONE(s, g) (!alive[s] || gen[s] != g)
#endif
/* A process that is inside is so no more when it dies. */
#define MAYDIE                                                                     \
  if                                                                               \
  :: atomic { deaths < DEATHS -> deaths++; inside = inside - in; in = 0; leave() }; \
     goto out                                                                      \
  :: skip                                                                          \
  fi
/* Its slot is free, unless it is another one's already. */
inline leave() { if :: my == gen[me] -> alive[me] = 0 :: else fi }
inline write() { version = versions; versions++; slot = me; generation = my; mine = version }

proctype P(byte me; bool second) {
  byte my, mine, seen, s, g, round; bool in;
  if
  :: second -> atomic { gen[me] > 0 && !alive[me] -> gen[me]++; alive[me] = 1; my = gen[me] }
  :: else -> atomic { gen[me]++; alive[me] = 1; my = gen[me] }
  fi;
  do
  :: round == ROUNDS -> break
  :: else ->
     mine = 0;
     do
     :: mine -> break
     :: else ->
        MAYDIE;
        atomic { if :: version == 0 -> write() :: else fi }; /* add */
        if
        :: mine -> goto got
        :: else
        fi;
        MAYDIE;
#ifdef M_SPLIT
        atomic { s = slot; g = generation };
        seen = version;
#else
        atomic { seen = version; s = slot; g = generation };
#endif
        if
        :: seen == 0 -> goto next
        :: else
        fi;
#ifdef M_UNPROVED
        skip;
#else
#ifdef M_NO_TAKEOVER
        version != seen;
        goto next;
#else
        if /* asleep */
        :: version != seen -> goto next
        :: GONE(s, g)
        fi;
#endif
#endif
        MAYDIE;
#ifdef M_NO_VERSION
        atomic { if :: version -> write() :: else fi };
#else
        atomic { if :: version == seen -> write() :: else fi }; /* cas */
#endif
next:   seen = 0; s = 0; g = 0
     od;
got: MAYDIE;
     atomic { if :: my == gen[me] && alive[me] -> inside++; in = 1; assert(inside == 1) :: else fi };
     MAYDIE;
#ifdef LOST
     /* Others hold it for dead: a claim of another slot follows, which is left out here. */
     if :: atomic { !lost && !second -> lost = 1; inside = inside - in; in = 0; leave() } :: skip fi;
#endif
     atomic { inside = inside - in; in = 0 };
     MAYDIE;
#ifdef M_RELEASE_ANY
     version = 0;
#else
     atomic { if :: version == mine -> version = 0 :: else fi }; /* delete */
#endif
     if :: !alive[me] || my != gen[me] -> goto out :: else fi;
     round++
  od;
  leave();
out: skip
}
init { atomic { run P(0, 0); run P(1, 0); run P(0, 1) } }
