/* table.pml: finding, putting, replacing, deleting and sweeping in the slot table, with deaths: where an entry may lie, and what a
 * reader that probes several buckets concludes. The protocol of table.h and publish.c.
 *
 * WHAT  Two keys K=0 (home bucket 0) and L=1 (home bucket 1) with the same tag, which is the worst case, in two buckets
 *   of one slot; three blocks. Writer A puts or deletes K, writer B its key BKEY. S sweeps, and may sweep any entry at any time.
 *   R reads K, and each of its loads is a step.
 * STEPS  table.c probe, look; publish.c home_lock, shms_op_publish, insert, shms_op_remove, home_unlock; replace.c
 *   shms_entry_replace, shms_entry_take_out; recover.c settle_record and release_buckets as one step, by the process that waits.
 * BOUNDS  AOPS, BOPS, SOPS operations. At most NCR deaths (0 to 2) among the clients of the bit mask CR (2 A, 4 B, 8
 *   S), each at any step. PRE chooses the first state. ONEHOME: L has the home of K.
 * LEFT OUT  A writer's validated look at one slot is one step, because the reader shows that look() is right. Several finders,
 *   pins, counters (blocks.pml). A page that becomes another span under a reader (read.pml). Proofs of death (locks.pml).
 *   Memory order (tests/engine/memory_order).
 * PROPERTIES  The reader returns a whole value that was published for K at some moment of its reading, or a miss if K
 *   was absent at one. No key is there twice. In the end every block is free or in exactly one slot, every entry is whole and
 *   within its reach, and no home is locked.
 * STOPPED  The victim is only stopped, and a reader comes to its end (P1, with fairness).
 * MUTATIONS  M_SLOT_LATE the slot is looked at after both loads of the word; M_NO_SLOT not at all; M_NO_SEQ the word is not loaded
 *   again; M_NO_MISMATCH "another key" is concluded without that; M_FREE_FIRST a life is ended before the block is taken out of
 *   its slot; M_KEEP_SEQ it is not ended, although the block is free; M_REACH_LATE the reach is raised after publishing; M_REACH_LOW
 *   an unlock sets it to what the others need, not the new entry; M_REACH_STOPS it is set to the distance of the new entry alone;
 *   M_REACH_ZERO a takeover clears it; M_STORE an empty slot is filled by a store; M_PROBE_EARLY the key is probed for before its
 *   home is locked; M_SWEEP_HERE a sweep locks the bucket that the entry lies in, not its home; M_SWEEP_FAST it does not look
 *   at the slot and the life again under the lock; M_WAITS (STOPPED) a reader waits for the bucket's lock. */
#ifndef AOPS
#define AOPS 1
#endif
#ifndef BOPS
#define BOPS 1
#endif
#ifndef SOPS
#define SOPS 1
#endif
#ifndef BKEY
#define BKEY 1
#endif
#ifndef CR
#define CR 0
#endif
#ifndef NCR
#define NCR 0
#endif
#ifndef PRE
#define PRE 1
#endif
#define NB 3
#define NSLOT 2
#ifdef ONEHOME      /* both keys have home 0 */
#define HOME(k) 0
#else
#define HOME(k) (k)
#endif
#define SL(h,i) (((h)+(i))%NSLOT)
#define DIST(h,s) (((s)+NSLOT-(h))%NSLOT)

byte slot[NSLOT];                /* slot words: the tag is always the same, so they are block numbers */
byte own[NSLOT], reach[NSLOT];   /* lock words */
byte rb[4], rq[4], rx[4], rxq[4];/* records of clients 1 A, 2 B, 3 S: block and life, old and life */
byte seq[NB+1], key[NB+1], c1[NB+1], c2[NB+1], bslot[NB+1];   /* blocks: word (0 free), key, two words of value, slot */
byte vid;                        /* numbers */
byte ncr; bool dead[4]; byte ndone;
/* ghosts */
byte cur[2];                     /* the value published for each key, 0 = absent */
byte hist; bool reading, rdone;  /* what K was while R reads, a bit each */
#define SETCUR(k,v) cur[k]=(v); if :: (reading && (k)==0) -> hist = hist | (1<<(v)) :: else fi

/* Before each step of a client: it may die here. */
#define DIES (((CR>>me)&1) && ncr<NCR) -> dead[me]=1; ncr++; goto stop
#define P atomic { if :: DIES :: 1 fi;
#ifdef STOPPED        /* the victim is only stopped: nothing is taken over */
#define GONE(x) false
#else
#define GONE(x) dead[x]
#endif

/* What the dead client c states; then its home is free. */
inline settle(c) {
  if :: rb[c]!=0 && seq[rb[c]]==rq[c] && slot[bslot[rb[c]]]!=rb[c] -> seq[rb[c]]=0 :: else fi;
  if :: rx[c]!=0 && seq[rx[c]]==rxq[c] && slot[bslot[rx[c]]]!=rx[c] -> seq[rx[c]]=0 :: else fi;
  rb[c]=0; rx[c]=0
}
#ifdef M_REACH_ZERO
#define RELEASE(h) own[h]=0; reach[h]=0
#else
#define RELEASE(h) own[h]=0
#endif
/* The holder alone, or a process that takes over from it, changes the word. */
inline lock(h) {
  do
  :: atomic { if :: DIES :: own[h]==0 -> own[h]=me; won=1 :: own[h]!=0 && GONE(own[h]) -> d_step { d=own[h]; settle(d); RELEASE(h); d=0 } fi };
     if :: won -> won=0; break :: else fi
  od
}
inline endlife(x,q) {
#ifndef M_KEEP_SEQ
  P if :: seq[x]==q -> seq[x]=0; c1[x]=99 :: else fi }
#else
  P c1[x]=99; lost[x]=1 }
#endif
}
#ifdef M_KEEP_SEQ
bool lost[NB+1];                 /* free, and its word is the old one */
#define ISFREE(b) (seq[b]==0 || lost[b])
#define TAKE(b) lost[b]=0
#else
#define ISFREE(b) (seq[b]==0)
#define TAKE(b) skip
#endif

proctype Writer(byte me; byte nops; byte k) {
  byte n, h, i, x, xp, xq, mx, v, d; bool del, won;
nextop:
  if :: nops==0 -> goto stop :: else nops--; fi;
  atomic { h=HOME(k); if :: del=0 :: del=1 fi }
  if
  :: !del ->
     P d_step { n=(ISFREE(1) -> 1 : (ISFREE(2) -> 2 : (ISFREE(3) -> 3 : 0)));
       if :: n!=0 -> vid++; v=vid; rq[me]=v; rb[me]=n; TAKE(n); seq[n]=v :: else fi } };
     if :: n==0 -> goto nextop :: else fi;
     P key[n]=k; c1[n]=v };
     P c2[n]=v }
  :: else
  fi;
#ifndef M_PROBE_EARLY
  lock(h);
#endif
  do
  :: i==NSLOT -> break
  :: i>0 && reach[h]<i -> break
  :: else ->
     P d=slot[SL(h,i)];
       if :: d==0 -> skip
       :: else ->
          if :: key[d]==k -> x=d; xp=SL(h,i); xq=seq[d]
             :: else -> if :: HOME(key[d])==h -> mx=i :: else fi fi
       fi; d=0 };
     i++
  od;
  i=0;
#ifdef M_PROBE_EARLY
  lock(h);
#endif
  if
  :: !del ->     /* a condition is not met: the reach as seen, then the block is given back with no lock held */
     if :: x!=0 -> d=DIST(h,xp); if :: d>mx -> mx=d :: else fi :: else fi;
     P own[h]=0; reach[h]=mx };
giveback:
     endlife(n,v);
     P rb[me]=0 }
  :: x!=0 ->
     if :: !del -> bslot[n]=xp :: else fi;
     P rxq[me]=xq; rx[me]=x };
#ifdef M_FREE_FIRST
     endlife(x,xq);
#endif
     P assert(slot[xp]==x && key[x]==k); d=DIST(h,xp);
       if :: del -> slot[xp]=0; SETCUR(k,0) :: else -> slot[xp]=n; SETCUR(k,v) fi };
     if :: !del -> P rb[me]=0 } :: else fi;
#ifndef M_FREE_FIRST
     endlife(x,xq);
#endif
     P rx[me]=0 };
     if :: !del && d>mx -> mx=d :: else fi;
     P own[h]=0; reach[h]=mx }
  :: x==0 && del -> P own[h]=0; reach[h]=mx }
  :: x==0 && !del ->
     do
     :: i==NSLOT -> P own[h]=0 }; goto giveback      /* the table is full */
     :: slot[SL(h,i)]!=0 -> i++
     :: else ->
        bslot[n]=SL(h,i);
#ifndef M_REACH_LATE
        P if :: reach[h]<i -> reach[h]=i :: else fi };
#endif
        P
#ifdef M_STORE
          slot[SL(h,i)]=n; SETCUR(k,v); d=1
#else
          if :: slot[SL(h,i)]==0 -> assert(cur[k]==0); slot[SL(h,i)]=n; SETCUR(k,v); d=1 :: else -> d=0 fi
#endif
        };
        if :: d -> break :: else -> i++ fi
     od;
#ifdef M_REACH_LATE
     P if :: reach[h]<i -> reach[h]=i :: else fi };
#endif
     P rb[me]=0 };
#ifdef M_REACH_STOPS
     mx=i;
#elif !defined(M_REACH_LOW)
     if :: i>mx -> mx=i :: else fi;
#endif
     P own[h]=0; reach[h]=mx }
  fi;
  atomic { n=0; d=0; x=0; xp=0; xq=0; mx=0; i=0; v=0; goto nextop };
stop:
  atomic { n=0; h=0; i=0; x=0; xp=0; xq=0; mx=0; v=0; d=0; won=0; ndone++ }
}

proctype Sweeper(byte me; byte nops) {
  byte s, w, q, h; bool won;
  do
  :: nops==0 -> break
  :: else -> nops--;
     if :: s=0 :: s=1 fi;
     w=slot[s];
     if :: w==0 -> goto next :: else q=seq[w] fi;
     if :: slot[s]!=w || q==0 -> goto next :: else fi;
     h=HOME(key[w]);
     if :: seq[w]!=q -> goto next :: else fi;
#ifdef M_SWEEP_HERE
     h=s;
#endif
     atomic { if :: DIES :: own[h]==0 -> own[h]=me; won=1 :: own[h]!=0 -> won=0 fi };     /* busy: passed over */
     if
     :: won ->
#ifndef M_SWEEP_FAST
        P won=(slot[s]==w) }; if :: won -> P won=(seq[w]==q) } :: else fi;
#endif
        if
        :: won ->
           P rxq[me]=q; rx[me]=w };
           P assert(slot[s]==w && cur[key[w]]!=0); slot[s]=0; SETCUR(key[w],0) };
           endlife(w,q);
           P rx[me]=0 }
        :: else
        fi;
        P own[h]=0 }
     :: else
     fi;
next: s=0; w=0; q=0; h=0; won=0
  od;
stop: atomic { s=0; w=0; q=0; h=0; won=0; ndone++ }
}

proctype Reader() {
  byte i, w, q, k, a1, a2, r; 
  atomic { hist = 1<<cur[0]; reading=1 };
#ifdef M_WAITS
  own[0]==0 || GONE(own[0]);
#endif
  r=reach[0];
  do
  :: i==NSLOT || i>r -> goto miss
  :: else ->
     w=slot[i];
     if
     :: w==0 -> i++
     :: else ->
        q=seq[w];
#if !defined(M_SLOT_LATE) && !defined(M_NO_SLOT)
        if :: slot[i]!=w -> goto cont :: else fi;
#endif
        if :: q==0 -> goto cont :: else fi;      /* LOOK_VOID */
        k=key[w];
#ifdef M_NO_MISMATCH
        if :: k!=0 -> i++; goto cont :: else fi;
#endif
        a1=c1[w]; a2=c2[w];
#ifndef M_NO_SEQ
        if :: seq[w]!=q -> goto cont :: else fi;
#endif
#ifdef M_SLOT_LATE
        if :: slot[i]!=w -> goto cont :: else fi;
#endif
        if :: k==0 -> goto found :: else -> i++ fi
     fi;
cont: atomic { w=0; q=0; k=0; a1=0; a2=0 }
  od;
found:
  atomic { assert(a1==a2); assert((hist>>a1)&1); goto fin };
miss:
  assert(hist&1);
fin:
  atomic { i=0; r=0; w=0; q=0; k=0; a1=0; a2=0; reading=0; hist=0; ndone++; rdone=1 }
}

/* When all are done or dead: recovery, then everything must be in order. */
proctype Final() {
  byte t, h;
  ndone==4 ->
  assert((own[0]==0 || dead[own[0]]) && (own[1]==0 || dead[own[1]]));
  atomic {
    t=1;
    do :: t<4 -> if :: dead[t] -> settle(t) :: else fi; t++ :: else -> break od;
    t=0;
    do :: t<NSLOT -> if :: own[t]!=0 -> RELEASE(t) :: else fi; t++ :: else -> break od;
    t=1;
    do :: t<=NB -> assert(ISFREE(t)+(slot[0]==t)+(slot[1]==t)==1); t++ :: else -> break od;
    t=0;
    do :: t<NSLOT ->
         if :: slot[t]!=0 -> h=slot[t]; assert(seq[h]!=0 && c1[h]==seq[h] && c2[h]==seq[h] && bslot[h]==t);
               assert(cur[key[h]]==seq[h]); assert(reach[HOME(key[h])]>=DIST(HOME(key[h]),t))
            :: else fi; t++
       :: else -> break od;
    t=0;
    do :: t<2 -> assert(cur[t]==0 || (slot[0]!=0 && seq[slot[0]]==cur[t]) || (slot[1]!=0 && seq[slot[1]]==cur[t])); t++
       :: else -> break od
  }
}

#define ENTRY(b,k,s) vid=1; seq[b]=1; key[b]=k; c1[b]=1; c2[b]=1; bslot[b]=s; slot[s]=b; cur[k]=1
init { atomic {
#if PRE==1      /* K in its home */
  ENTRY(1,0,0);
#elif PRE==2    /* K in bucket 1, since its home was taken then */
  ENTRY(1,0,1); reach[0]=1;
#elif PRE==3    /* L in bucket 0; K absent: a put of K goes to bucket 1 */
  ENTRY(1,1,0); reach[1]=1;
#endif
  run Writer(1,AOPS,0); run Writer(2,BOPS,BKEY); run Sweeper(3,SOPS); run Reader();
#ifndef STOPPED
  run Final();
#endif
} }
#ifdef STOPPED
ltl progress { <> rdone }
#endif
