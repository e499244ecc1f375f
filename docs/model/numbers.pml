/* numbers.pml: where numbers come from (life.h). Two owners of one client slot, one after the other; the first dies anywhere, or
 * (FALSE) is only held for dead and goes on; or (FORK) it forks anywhere, and the child goes on with a copy of its memory until
 * its first call, when it claims a slot of its own.
 *
 * WHAT  V=2, what is built: a counter in the header is advanced by an atomic addition of LEASE numbers before any of them is used;
 *   the rest of the range is a process's own memory, dropped by a child and by a process that claims a slot anew. V=0 and V=1 are
 *   the alternatives: a counter in the client slot, by a plain load and store, and by an atomic addition.
 * PROPERTY  No number is given out twice. Each owner uses NUSE numbers.
 * MUTATIONS M_KEEP_LEASE a child keeps the range (fails with FORK); M_TAKE_LATE numbers are used before the addition; M_STORE_LATE
 *   (V=0) the counter is stored after the number was used. V=0 fails with FALSE. */
#ifndef V
#define V 2
#endif
#ifndef NUSE
#define NUSE 3
#endif
#define LEASE 2
byte counter;                 /* V<2: in the entry, never reset; V=2: in the header */
byte entry=1;                 /* 1 the first's, 2 dead, 3 vacant, 4 the second's */
bool used[32], gone;
#define S atomic { if :: kind==1 && gone -> goto stop :: else fi;      /* no step after a death */
#define USE(n) assert(!used[n]); used[n]=1
inline number() {
#if V==0
  S n=counter+1 };
#ifdef M_STORE_LATE
  S USE(n) };
  S counter=n }
#else
  S counter=n };
  S USE(n) }
#endif
#elif V==1
  S counter++; n=counter };
  S USE(n) }
#else
  if
  :: next<end -> n=next; next++
  :: else ->
#ifdef M_TAKE_LATE
     S n=counter };
     S USE(n) };
     S counter=counter+LEASE };
     next=n+1; end=n+LEASE; goto taken;
#else
     S n=counter; counter=counter+LEASE }; next=n+1; end=n+LEASE
#endif
  fi;
  S USE(n) };
taken: skip
#endif
}
/* kind: 1 the first tenant, 2 the second, 3 a child with a place of its own */
proctype Client(byte kind; byte next; byte end; byte k) {
  byte n; bool forked;
  if
  :: kind==2 -> entry==3; entry=4
  :: else
  fi;
  do
  :: k==0 -> break
#ifdef FORK
  :: kind==1 && !forked && !gone -> forked=1;
#ifdef M_KEEP_LEASE
     run Client(3,next,end,1)
#else
     run Client(3,0,0,1)
#endif
#endif
  :: k>0 -> k--; number()
  od;
stop: n=0
}
/* Whoever proves the first one dead, rightly or wrongly. */
proctype Finder() {
#ifndef FALSE
  if :: gone=1 :: goto stop fi;    /* a death, at any moment; or none */
#endif
  entry=2; entry=3;
stop: skip
}
init { atomic { run Client(1,0,0,NUSE); run Client(2,0,0,NUSE); run Finder() } }
