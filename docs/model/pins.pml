/* pins.pml: reading blocks in place, zombies, and rebuilding while both exist
 *
 * WHAT  One key in one slot, three blocks of one arena. W overwrites, or fails on a condition, WOPS times. Two readers
 *   pin what they find, and unpin it. B rebuilds the arena NRB times (as suspect), and takes it over if W died.
 * STEPS  Reader: view.c shms_view_begin, read.c pin; pin.c shms_pin_set (bit, pin: two steps), the look at slot
 *   and sequence (two steps), shms_pin_clear (pin, bit: two steps). W: arena.c reap_zombies, shms_arena_alloc,
 *   shms_arena_free with pin.c shms_pin_covers (bits, then owner word and pin of each client: a step each),
 *   shms_arena_add_zombie; publish.c replace; op.c give_back. B: rebuild.c records, slots, pins, end_retiring, pieces.
 * BOUNDS  WOPS (2) operations, NRB (1) rebuilds, NR (2) readers. Each reader pins once, with two tries. Deaths: W
 *   anywhere with CRW, the first reader anywhere with CRR. STOPPED: W only stops, anywhere, and nothing is taken over;
 *   the readers still finish.
 * LEFT OUT  Contention without end; runs of different sizes (a pin on memory that has another shape by now).
 * PROPERTIES  A pinned block keeps its bytes until the reader unpins it, and is not free. Nothing is freed twice. In
 *   the end, after all zombies were looked at, every block is free or in the slot. A reader waits for no process.
 * MUTATIONS  M_UNPIN_FREES (unpinning frees, without the lock) M_UNPIN_LOCKS (unpinning takes the lock, in STOPPED)
 *   M_BLIND (no look at the pins) M_CHECK_FIRST (the reader checks before it pins) M_LOOK_FIRST (the writer looks at
 *   the pins before it empties the slot) M_NO_PINS (a rebuild ignores pins) M_PIN_IS_USED (a rebuild takes a pinned
 *   block for used) M_BIT_LATE (the bit after the check) */
#ifndef WOPS
#define WOPS 2
#endif
#ifndef NRB
#define NRB 1
#endif
#ifndef NR
#define NR 2
#endif
#ifndef CRW
#define CRW 0
#endif
#ifndef CRR
#define CRR 0
#endif
#define NB 3
#ifdef STOPPED
#undef CRW
#define CRW 1
#endif
#define FREE 0
#define USED 1
#define ZOMBIE 2
byte slot, al, retiring, rec;
bool pbit[3]; byte pin[3];      /* pin bits and pins of the readers, clients 1 and 2 */
bool dead[4];                  /* 1, 2 readers, 3 W: also the state in its owner word, from its death on */
byte seq[NB+1], c[NB+1];       /* sequence; value */
byte heap[NB+1];               /* the arena's view */
byte vid, ndone;
byte held[3];                  /* ghost: what the reader holds */
#define FREED(x) assert(heap[x]!=FREE); assert(held[1]!=(x) && held[2]!=(x)); heap[x]=FREE
#define DIESW CRW && me==3 -> dead[3]=1; goto stop
#define P atomic { if :: DIESW :: 1 fi;

/* shms_pin_covers: hit */
inline covers(x) {
  hit=0;
#ifndef M_BLIND
  if :: pbit[1] -> if :: !dead[1] && pin[1]==x -> hit=1 :: else fi :: else fi;
  if :: !hit && pbit[2] -> if :: !dead[2] && pin[2]==x -> hit=1 :: else fi :: else fi
#endif
}
inline free_block(x) {
#ifndef M_LOOK_FIRST
  covers(x);
#endif
  P seq[x]=0 };
  P if :: hit -> heap[x]=ZOMBIE :: else -> FREED(x); c[x]=99 fi; hit=0 }
}
inline reap() {
  z=1;
  do
  :: z>NB -> z=0; break
  :: else -> if :: heap[z]==ZOMBIE -> covers(z); P if :: hit :: else -> FREED(z); c[z]=99 fi; hit=0 } :: else fi; z++
  od
}
inline rebuild() {
  d_step { mk[1]=0; mk[2]=0; mk[3]=0; mk[0]=0; k=0 };
  P if :: !dead[3] -> mk[rec]=1 :: else fi };
  P mk[slot]=1 };
#ifndef M_NO_PINS
  P if :: !dead[1] && !mk[pin[1]] -> mk[pin[1]]=2 :: else fi };
  P if :: !dead[2] && !mk[pin[2]] -> mk[pin[2]]=2 :: else fi };
#endif
  P if :: retiring!=0 && !mk[retiring] -> seq[retiring]=0 :: else fi };
  k=1;
  do
  :: k>NB -> break
  :: else -> P if :: mk[k]==1 -> heap[k]=USED
#ifdef M_PIN_IS_USED
                  :: mk[k]==2 -> heap[k]=USED
#else
                  :: mk[k]==2 -> seq[k]=0; heap[k]=ZOMBIE
#endif
                  :: else -> assert(held[1]!=k && held[2]!=k); heap[k]=FREE; c[k]=99 fi; k++ }
  od;
  skip;
  d_step { mk[0]=0; mk[1]=0; mk[2]=0; mk[3]=0; k=0 }
}

proctype Writer() {
  byte me=3; byte n, x, z, k, ops=WOPS; bool hit;
  do
  :: ops==0 -> break
  :: else -> ops--;
     atomic { if :: DIESW :: al==0 -> al=3 fi };
     reap();
     P n=(heap[1]==FREE -> 1 : (heap[2]==FREE -> 2 : (heap[3]==FREE -> 3 : 0)));
       if :: n!=0 -> heap[n]=USED; rec=n; vid++; seq[n]=vid :: else fi };
     P al=0 };
     if
     :: n==0
     :: else ->
        P c[n]=seq[n] };
        x=slot;
        atomic { if :: DIESW :: al==0 -> al=3 fi };
        if
        :: P retiring=x };
#ifdef M_LOOK_FIRST
           covers(x);
#endif
           P slot=n };
           P rec=0 };
           free_block(x)
        :: /* the condition fails: the block is freed */
           hit=0;
#ifdef M_LOOK_FIRST
           covers(n);
#endif
           free_block(n);
           P rec=0 }
        fi;
        P al=0 }
     fi;
     n=0; x=0
  od;
stop: atomic { n=0; x=0; z=0; k=0; hit=0; ndone++ }
}
proctype Rebuilder() {
  byte me=4; byte k, n=NRB; byte mk[NB+1];
  do
  :: n==0 -> break
  :: else -> n--; atomic { al==0 || (al==3 && dead[3]) -> al=4 }; rebuild(); al=0
  od;
  /* a death: the arena is taken over, or entered for the block in the record */
  if
  :: atomic { dead[3] && (al==0 || al==3) -> al=4 }; rebuild(); al=0
  :: ndone==1+NR && !dead[3]
  fi;
stop: ndone++
}
#define DIESR CRR && r==1 -> dead[1]=1; held[1]=0; goto done
#define R atomic { if :: DIESR :: 1 fi;
proctype Reader(byte r) {
  byte w, q, v, tries=2;
  do
  :: tries==0 -> break
  :: else -> tries--;
     R w=slot };
     q=seq[w];
     if :: slot!=w || q==0 -> goto next :: else fi;
#ifdef M_CHECK_FIRST
     if :: slot!=w -> goto next :: else fi;
     if :: seq[w]!=q -> goto next :: else fi;
     R pbit[r]=1 };
     R pin[r]=w };
     d_step { held[r]=w; v=c[w] };
#else
#ifndef M_BIT_LATE
     R pbit[r]=1 };
#endif
     R pin[r]=w };
     if :: slot!=w -> goto unpin :: else fi;
     atomic { if :: seq[w]!=q -> goto unpin :: else fi; held[r]=w; v=c[w] };
#ifdef M_BIT_LATE
     R pbit[r]=1 };
#endif
#endif
     R assert(v==q && c[w]==v) };
     R assert(c[w]==v && heap[w]!=FREE); held[r]=0; tries=0 };
unpin:
     R pin[r]=0 };
     R pbit[r]=0 };
#ifdef M_UNPIN_FREES
     if :: heap[w]==ZOMBIE && !(pin[3-r]==w && pbit[3-r]) -> FREED(w); c[w]=99 :: else fi;
#endif
#ifdef M_UNPIN_LOCKS
     if :: heap[w]==ZOMBIE -> atomic { al==0 -> al=r };
           if :: heap[w]==ZOMBIE && !(pin[3-r]==w && pbit[3-r]) -> FREED(w); c[w]=99 :: else fi; al=0
        :: else fi;
#endif
next: w=0; q=0; v=0
  od;
done: atomic { w=0; q=0; v=0; ndone++ }
}
proctype Last() {
  byte me=4; byte z; bool hit;
  ndone==2+NR ->
  assert(al==0);
  reap();
  z=1;
  do :: z>NB -> break :: else -> assert((heap[z]==FREE)==(slot!=z)); z++ od;
stop: skip
}
init { atomic {
  heap[1]=USED; slot=1; c[1]=1; seq[1]=1; vid=1;
  run Writer();
#ifndef STOPPED
  run Rebuilder(); run Last();
#endif
  run Reader(1);
#if NR>1
  run Reader(2);
#endif
} }
