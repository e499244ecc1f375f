/* read.pml: readers while blocks are freed, become zombies, are reused, and while their page becomes something else and a span
 * again. The steps of table.h.
 *
 * WHAT  One slot; keys K and L with the same slot word (tag and block). W puts K or L, or removes, WOPS times, and V does so VOPS
 *   times (the home lock keeps them apart), each with new blocks of NB. X takes a page whose blocks are all free, fills it with a
 *   value whose bytes look like a block of K, and opens it as a span again, XOPS times. R reads K; each of its loads is a step.
 *   Z1: blocks that were taken out may become zombies, and are freed later. EXPIRY: blocks may expire at time 1; the clock moves
 *   once.
 * WORDS  F free (the same for all lives of a span), q a life, q+Z a zombie.
 * PROPERTIES  R returns a whole value that K had during the reading, or a miss if K was absent, or had expired, during it.
 * MUTATIONS M_ACCEPT_FREE the reader accepts the word of a free block; M_NO_SLOT it does not load the slot again; M_NO_SEQ it does
 *   not load the word again; M_NO_MISMATCH "another key" is concluded without that; M_EXPIRED "expired" is concluded without a
 *   second look at the slot after the clock; M_ZOMBIE_ALIVE a zombie keeps the word of its life (with M_EXPIRED). */
#ifndef WOPS
#define WOPS 2
#endif
#ifndef VOPS
#define VOPS 0
#endif
#ifndef XOPS
#define XOPS 0
#endif
#ifndef NB
#define NB 2
#endif
#ifdef EXPIRY
#define EXPIRE 1
#else
#define EXPIRE 0
#endif
#define Z 100
#define F 255
#define K 0
#define L 1
byte slot, holder, seq[NB+1], key[NB+1], c1[NB+1], c2[NB+1], ex[NB+1];
byte vid=1, now;
byte ndone;
/* ghosts */
byte cur, curex; bool reading; bool absent; int hist; bool rdone;
#define PRESENT (cur!=0 && (curex==0 || curex>now))
#define SEE if :: reading && PRESENT -> hist=hist|(1<<cur) :: reading && !PRESENT -> absent=1 :: else fi

inline end(x,q) {
  if
  :: atomic { seq[x]==q -> seq[x]=F }
#ifdef Z1
#ifdef M_ZOMBIE_ALIVE
  :: skip
#else
  :: atomic { seq[x]==q -> seq[x]=q+Z }
#endif
#endif
  fi
}
proctype Writer(byte me; byte ops) {
  byte n, q, x, xq, k, e;
  do
  :: ops==0 -> break
  :: else -> ops--;
     if :: k=K :: k=L fi;
     n=0;
#ifdef Z1
     if
     :: atomic { seq[1]>Z && seq[1]!=F -> seq[1]=F }
     :: atomic { seq[NB]>Z && seq[NB]!=F -> seq[NB]=F }
     :: skip
     fi;
#endif
     if
     :: atomic { seq[1]==F -> vid++; q=vid; seq[1]=q; n=1 }
     :: atomic { seq[NB]==F -> vid++; q=vid; seq[NB]=q; n=NB }
     :: k=9
     fi;
     if
     :: n!=0 ->
        key[n]=k;
        atomic { if :: EXPIRE && now==0 -> e=1 :: e=0 fi; ex[n]=e };
        c1[n]=q; c2[n]=q
     :: else
     fi;
     atomic { holder==0 -> holder=me };
     x=slot; xq=seq[x];
     if
     :: n!=0 && x==0 -> atomic { slot=n; if :: k==K -> cur=q; curex=e; SEE :: else fi }
     :: n!=0 && x!=0 && key[x]==k -> atomic { slot=n; if :: k==K -> cur=q; curex=e; SEE :: else fi }; end(x,xq)
     :: n!=0 && x!=0 && key[x]!=k -> end(n,q)
     :: n==0 && x!=0 -> atomic { slot=0; if :: key[x]==K -> cur=0; SEE :: else fi }; end(x,xq)
     :: n==0 && x==0
     fi;
     holder=0;
     n=0; q=0; x=0; xq=0; k=0; e=0
  od;
  ndone++
}
proctype Recycler(byte ops) {
  byte t1, t2;
  do
  :: ops==0 -> break
  :: else -> ops--;
     atomic { if :: seq[1]==F -> seq[1]=90; t1=1 :: else -> t1=0 fi };       /* allocates all of it, then it is a value */
     if
     :: t1 ->
        atomic { if :: seq[1]==90 -> seq[1]=91 :: else -> assert(0) fi };     /* bytes of a value */
        key[1]=K; c1[1]=88; c2[1]=89;
        seq[1]=92;
        c2[1]=88;
        seq[1]=F
     :: else
     fi;
     t1=0
  od;
  ndone++
}
proctype Reader() {
  byte w, q, k, a, b, e, t, tries;
  atomic { reading=1; SEE };
again:
  atomic { w=0; q=0; k=0; a=0; b=0; e=0; t=0; tries++ };
  if :: tries==4 -> goto out :: else fi;
  w=slot;
  if :: w==0 -> goto miss :: else fi;
  q=seq[w];
#ifndef M_NO_SLOT
  if :: slot!=w -> goto again :: else fi;
#endif
#ifndef M_ACCEPT_FREE
  if :: q==F -> goto again :: else fi;
#endif
  k=key[w]; a=c1[w]; b=c2[w];
#ifdef M_NO_MISMATCH
  if :: k!=K -> goto miss :: else fi;
#endif
#ifndef M_NO_SEQ
  if :: seq[w]!=q -> goto again :: else fi;
#endif
  if :: k!=K -> goto miss :: else fi;
#ifdef EXPIRY
  t=now;
  e=ex[w];
  if :: seq[w]!=q -> goto again :: else fi;
  if
  :: e!=0 && e<=t ->
#ifndef M_EXPIRED
     if :: slot!=w -> goto again :: else fi;
     if :: seq[w]!=q -> goto again :: else fi;
#endif
     goto miss
  :: else
  fi;
#endif
  atomic { assert(a==b); assert(a<32 && ((hist>>a)&1)); goto out };
miss:
  assert(absent);
out: atomic { w=0; q=0; k=0; a=0; b=0; e=0; t=0; tries=0; reading=0; hist=0; absent=0; ndone++; rdone=1 }
}
proctype Clock() { atomic { now=1; SEE } }
init { atomic {
  seq[1]=1; key[1]=K; c1[1]=1; c2[1]=1; slot=1; cur=1; seq[NB]=F; key[NB]=L;
#ifdef EXPIRY
  ex[1]=1; curex=1; run Clock();
#endif
#ifdef PREFREE
  seq[1]=F; slot=0; cur=0;
#endif
  run Writer(1,WOPS);
#if VOPS>0
  run Writer(2,VOPS);
#endif
#if XOPS>0
  run Recycler(XOPS);
#endif
  run Reader() } }
