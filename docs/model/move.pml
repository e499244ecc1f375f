/* move.pml: moving an entry to another block, beside overwrites, deletes, touches, readers and another mover. The protocol of
 * move.h.
 *
 * WHAT  One key, one slot, its home lock, NB blocks. Movers 1 and 3, a writer (client 2) that puts, deletes and touches, a reader
 *   that reads twice, and a finder. A mover or the writer may die before any step (CR, a mask of clients; at most one does).
 *   Allocation, the end of a life and the recovery of a record are one step each: blocks.pml has their parts.
 * WORD  word[b]: 0 free, or a life. ver[b]: the version of the entry in it. val[b], exp[b]: value and expiry.
 * BOUNDS  MOPS moves of each mover (MOVERS: 1 or 2), WOPS operations of the writer. ALONE: without the reader.
 * PROPERTIES  A reader gets value and version of one put, and never an older version than before. A move changes neither
 *   version, value nor expiry: what a reader gets is what the last put and touch left (ghosts). In the end the slot's block
 *   is the only one that is not free, and the home is free.
 * MUTATIONS  M_NO_LOCK no home lock; M_NO_LOOK the entry is not looked at again under the lock; M_NO_LIFE only the slot is,
 *   not the life; M_NEW_VERSION the version is the new block's life; M_EXPIRY_EARLY the expiry is not copied again; M_REC_LATE the
 *   record is written after the exchange of the slot; M_SAME_LIFE the new block gets the life of the old one: fails if a block
 *   comes back to where it was while a reader or a mover looks.
 * RUN   tests/engine/models/test_models.py has the defines of all runs. */
#ifndef MOPS
#define MOPS 1
#endif
#ifndef WOPS
#define WOPS 2
#endif
#ifndef NB
#define NB 3
#endif
#ifndef CR
#define CR 0
#endif
#ifndef MOVERS
#define MOVERS 1
#endif
byte slot, own;                                   /* block in the slot, 0 none; client that holds the home */
byte word[NB+1], ver[NB+1], val[NB+1], exp[NB+1];
byte rblock[4], rlife[4], rold[4], rother[4], rhome[4];   /* records */
byte number, value, gver, gval, gexp;             /* numbers given out; ghosts: what the last put and touch left. gver 0: absent */
bool dead[4], died; byte ended;
#define DIES if :: ((CR>>me)&1) && !died -> died=1; dead[me]=1; goto stop :: 1 fi
#define P atomic { DIES;
inline lives(b, q) { if :: word[b]==q -> word[b]=0 :: else fi }

/* Steps 1 and 2 of an allocation, as one. n: the block, 0: there is none. */
inline alloc(n, q) {
  P n=0; if :: word[1]==0 -> n=1 :: else -> if :: word[2]==0 -> n=2 :: else -> if :: NB>2 && word[NB]==0 -> n=NB :: else fi fi fi;
    if :: n -> number++;
#ifdef M_SAME_LIFE
      q=(me==2 -> number : life);
#else
      q=number;
#endif
      rlife[me]=q; rblock[me]=n; word[n]=q :: else fi }
}

proctype Mover(byte me) {
  byte x, life, n, q, v, w, e, i; bool same;
  do
  :: i==MOPS -> break
  :: else -> i++;
     P x=slot };                                       /* 1 */
     if :: x==0 -> goto next :: else fi;
     P life=word[x] };
     P same=(slot==x && life!=0) };
     if :: !same -> goto next :: else fi;
     alloc(n, q);                                      /* 2 */
     if :: n==0 -> goto next :: else fi;
     P v=ver[x] }; P w=val[x] }; P e=exp[x] };
#ifdef M_NEW_VERSION
     v=q;
#endif
     P ver[n]=v; exp[n]=e }; P val[n]=w };
     P same=(word[x]==life) };                         /* 3 */
#ifndef M_NO_LOOK
     if :: !same -> goto undo :: else fi;
#endif
#ifndef M_NO_LOCK
     P rhome[me]=1 };
     P same=(own==0); if :: same -> own=me :: else fi };   /* 4: tried, not awaited */
     if :: !same -> P rhome[me]=0 }; goto undo :: else fi;
#endif
#ifdef M_NO_LOOK
     P same=(slot!=0) };
#else
#ifdef M_NO_LIFE
     P same=(slot==x) };
#else
     P same=(slot==x && word[x]==life) };              /* 5 */
#endif
#endif
#ifndef M_EXPIRY_EARLY
     if :: same -> P exp[n]=exp[x] } :: else fi;
#endif
     if
     :: same ->
#ifndef M_REC_LATE
        P rother[me]=life; rold[me]=x };
#endif
#ifdef M_NO_LOOK
        P slot=n };
#else
        P if :: slot==x -> slot=n :: else -> same=0 fi };  /* 6 */
#endif
#ifdef M_REC_LATE
        P rother[me]=life; rold[me]=x };
#endif
        if :: same -> P rblock[me]=0 }; P lives(x, life) } :: else fi;
        P rold[me]=0 }
     :: else
     fi;
#ifndef M_NO_LOCK
     P if :: own==me -> own=0 :: else fi };            /* 7 */
     P rhome[me]=0 };
#endif
     if :: same -> goto next :: else fi;
undo:
     P lives(n, q) };
     P rblock[me]=0 };
next: x=0; life=0; n=0; q=0; v=0; w=0; e=0; same=0
  od;
stop: atomic { x=0; life=0; n=0; q=0; v=0; w=0; e=0; i=0; same=0; ended++ }
}

proctype Writer(byte me) {
  byte x, life, n, q, i, what;
  do
  :: i==WOPS -> break
  :: else -> i++;
     if :: what=0 :: what=1 :: what=2 fi;              /* put, delete, touch */
     if
     :: what==0 -> alloc(n, q);
        if :: n==0 -> goto next :: else fi;
        P value++; val[n]=value; ver[n]=q; exp[n]=0 }
     :: else
     fi;
     P rhome[me]=1 };
     atomic { DIES; own==0 -> own=me };
     P x=slot; life=word[x] };
     if
     :: what==2 -> if :: x!=0 -> P exp[x]=i; gexp=i } :: else fi
     :: what==1 && x!=0 ->
        P rother[me]=life; rold[me]=x };
        P assert(slot==x); slot=0; gver=0; gval=0; gexp=0 };
        P lives(x, life) };
        P rold[me]=0 }
     :: what==1 && x==0
     :: what==0 ->
        P rother[me]=life; rold[me]=x };
        P assert(slot==x); slot=n; gver=q; gval=val[n]; gexp=0 };
        P rblock[me]=0 };
        if :: x!=0 -> P lives(x, life) } :: else fi;
        P rold[me]=0 }
     fi;
     P if :: own==me -> own=0 :: else fi };
     P rhome[me]=0 };
next: x=0; life=0; n=0; q=0; what=0
  od;
stop: atomic { x=0; life=0; n=0; q=0; i=0; what=0; ended++ }
}

/* Reads until it has an answer, twice. */
proctype Reader() {
  byte x, life, v, w, last, i, tries, lastval;
  do
  :: i==2 -> break
  :: else ->
     x=slot;
     if :: x==0 -> i++; goto next :: else fi;
     life=word[x];
     if :: life==0 || slot!=x -> goto again :: else fi;
     v=ver[x];
     w=val[x];
     atomic { if :: word[x]!=life -> goto again :: else ->
       assert(v>=last); assert(v!=last || w==lastval); last=v; lastval=w; i++ fi };
     goto next;
again: tries++; if :: tries==3 -> i=2 :: else fi;
next: x=0; life=0; v=0; w=0
  od;
  atomic { last=0; lastval=0; tries=0; i=0; ended++ }
}

/* Takes over what a dead client had: records first, then the home. */
proctype Finder() {
  byte c;
  do
  :: atomic { died -> c=(dead[1] -> 1 : (dead[2] -> 2 : 3)) };
     atomic { if :: rblock[c]!=0 && slot!=rblock[c] -> lives(rblock[c], rlife[c]) :: else fi };
     atomic { if :: rold[c]!=0 && slot!=rold[c] -> lives(rold[c], rother[c]) :: else fi };
     atomic { if :: own==c -> own=0 :: else fi };
     break
  :: ended==MOVERS+2 && !died -> break
  od;
  (ended==MOVERS+2);
  atomic {
    assert(own==0);
    assert((slot==0) == (gver==0));
    if :: slot!=0 -> assert(word[slot]!=0 && ver[slot]==gver && val[slot]==gval && exp[slot]==gexp) :: else fi;
    c=1;
    do :: c>NB -> break :: else -> assert((word[c]!=0) == (slot==c)); c++ od
  }
}

init { atomic {
  number=1; value=1; slot=1; word[1]=1; ver[1]=1; val[1]=1; gver=1; gval=1;
  run Mover(1);
#if MOVERS>1
  run Mover(3);
#endif
  run Writer(2); run Finder();
#ifndef ALONE
  run Reader()
#else
  ended++
#endif
} }
