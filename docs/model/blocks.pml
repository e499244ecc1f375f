/* blocks.pml: small blocks of one open span: allocate, publish, replace, remove, give back, expire; pins and zombies; used
 * counters; deaths, finders, and a new owner of a dead client's slot.
 *
 * WHAT  Two keys K (home 0) and L (home 1) of one tag, two slots, NB blocks. A (client 1) works on K, B (client 2) on BKEY,
 *   E (client 3) takes out whatever it finds, as a sweep does, R and R2 pin what they find, F and G are finders, N claims slot 1
 *   when it is free. Last is a finder that comes when nothing else can move.
 * WORD  seq[b]: 0 free, q a life, q+PB the same, pinned at least once, q+Z a zombie of that life. cnt[c]: generation and entries.
 * STEPS  heap.c take, shms_heap_end, end_zombie; publish.c shms_op_publish, insert, shms_op_remove, shms_op_touch; replace.c; op.c
 *   shms_op_end; expire.c take_out; pin.c; pinned.c shms_pin_any; recover.c settle_record, shms_recover_client; clients.c
 *   become_live. Every load or exchange of a shared word is one step; a writer's validated look at a slot is one (read.pml
 *   shows it), so is a takeover of a lock (locks.pml).
 * BOUNDS  AOPS BOPS EOPS operations; at most NCR deaths among the processes of the mask CR (2 A, 4 B, 8 E, 16 F, 32 G, 64 N,
 *   128 R, 256 R2), each before any step. PREL: L is there, too. GARBAGE: slot fields of former lives. TOUCH: A and B may write
 *   into what is published, under the home's lock.
 * LEFT OUT  The reach (table.pml), spans (spans.pml), waiting, a client that is held for dead and goes on (locks.pml).
 * PROPERTIES  A block that is published, in a living client's hand or held by a pin is never freed. In the end every block is
 *   free or in one slot, no zombie is left, no home is locked, every client slot is free or its owner lives, and the sum of
 *   the used counters is the number of entries.
 * STOP  The victim is stopped instead, anywhere, and B, on another home, must come to its end all the same (W1). E takes only
 *   what has A's home then.
 * MUTATIONS  M_REC_LATE the record after the allocation; M_OLD_LATE `old` after the exchange of the slot; M_REC_EARLY, M_OLD_EARLY
 *   a record cleared too early; M_NOSLOT a finder does not ask the slot; M_PLAIN_FREE the life is ended by a store; M_FREE_EARLY the
 *   client slot is free before its records are settled; M_NO_OWNER the owner word is not read again after the record;
 *   M_BUCKETS_FIRST buckets are released before the records are settled;
 *   M_SWEEP_NOSEQ, M_SWEEP_NOLOCK a sweep does not look at the life again, or takes no home; M_INSERT_STORE an empty slot is filled
 *   by a store; M_ZOMBIE_LOST a finder passes over zombies of the record; M_SWEEPS_ANY (STOP) E takes what has B's home.
 *   Pins: M_NO_PINNED a pin leaves the word alone; M_NO_CHECK the word is not looked at after the pin; M_BIT_LATE the client's bit
 *   is set after that; M_NO_UNPIN a process that unpins frees nothing; M_UNPIN_BLIND it does not ask for other pins; M_NO_PINS a
 *   finder does not look at the dead client's pins; M_PIN_BY_LIFE it passes over pins that were cleared; M_DEAD_PINS pins of the
 *   dead count.
 *   Counters: M_COUNT_LATE what they will be is stated after the exchange of the slot; M_COUNT_AFTER they are written after the
 *   record was cleared; M_NO_COUNT a finder does not finish them; M_NO_HOLD it does not ask whether the dead client still holds the
 *   home; M_LIFE_ONCE it does not look at the life again after the slot; M_NO_TAG a new owner keeps the generation in them.
 * RUN   tests/engine/models/test_models.py has the defines of all runs. */
#ifndef AOPS
#define AOPS 1
#endif
#ifndef BOPS
#define BOPS 1
#endif
#ifndef EOPS
#define EOPS 0
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
#ifndef NB
#define NB 3
#endif
#define PB 30
#define Z 60
#define LIFE(v) ((v)>=Z -> (v)-Z : ((v)>=PB -> (v)-PB : (v)))
#define ALIVE(v) ((v)!=0 && (v)<Z)
#define LIVE 1
#define DEAD 2
#define VACANT 3
#define ENDED 4
#define CLAIMING 5
#define PUB 50            /* ghost: published under key k: PUB+k */
#define OUT 100           /* ghost: taken out by process p: OUT+p */

byte slot[2], own[2];                        /* slots (block numbers); home locks (client numbers) */
byte seq[NB+1], key[NB+1], bslot[NB+1];
byte rbk[4], rb[4], rq[4], rx[4], rxq[4], rcn[4]; /* records: home + 1; block; old; the counter to be */
byte st[4], gen[4], who[4], cnt[4];          /* client slots */
byte pin[2], pblk[2]; bool pbit[2], rmarked[2]; /* of R, R2: the life it names, the block; its bit; it is marked dead */
byte vid;                                    /* unique numbers: numbers.pml shows how */
byte g[NB+1], held[2];                       /* ghosts */
bool dead[9]; byte ncr, ndone; bool hopeless, bdone;
#define TAG 32                               /* cnt[c] is gen[c]*TAG + BASE + entries that c published less those it took out */
#define BASE 8
#define NPROC (2 + (EOPS>0) + WITHF + WITHG + WITHN + WITHR)
#ifndef WITHF
#define WITHF 0
#endif
#ifndef WITHG
#define WITHG 0
#endif
#ifndef WITHN
#define WITHN 0
#endif
#ifndef WITHR
#define WITHR 0
#endif

#define DIES (((CR>>me)&1) && ncr<NCR) -> dead[me]=1; ncr++; goto stop
#define P atomic { if :: DIES :: 1 fi;
#ifdef STOP      /* the victim is only stopped: nobody takes anything over */
#undef FREED
#define FREED(b) assert(held[0]!=(b) && held[1]!=(b)); g[b]=0
#else
#define FREED(b) assert(g[b]==me || (g[b]<PUB && dead[g[b]]) || g[b]>=OUT); assert(held[0]!=(b) && held[1]!=(b)); g[b]=0
#endif

#define STILL (st[c]==DEAD && gen[c]==ge)
/* shms_pin_any, for one reader. */
#ifdef M_DEAD_PINS
#define COUNTS(i) 1
#else
#define COUNTS(i) !rmarked[i]
#endif
inline pinned(i,q) {
  P hit=pbit[i] };
  if :: hit -> P hit=COUNTS(i) }; if :: hit -> P hit=(pin[i]==q) } :: else fi :: else fi
}
/* Frees a zombie that nobody pins: the process that ended the life, unpinned it, or recovers one that did. */
inline endzombie(b,q) {
  pinned(0,q);
#if WITHR>1
  if :: !hit -> pinned(1,q) :: else fi;
#endif
  if :: !hit -> P if :: seq[b]==q+Z -> seq[b]=0; FREED(b) :: else fi } :: else fi;
  hit=0
}
/* Ends life q of block b, which is in no slot. */
inline endlife(b,q) {
#ifdef M_PLAIN_FREE
  P hit=(seq[b]==q) };
  if :: hit -> hit=0; P seq[b]=0; FREED(b) } :: else
#else
  P if :: seq[b]==q -> seq[b]=0; FREED(b) :: seq[b]==q+PB || seq[b]==q+Z -> hit=1 :: else fi };
  if
  :: hit -> hit=0;
     P if :: seq[b]==q+PB -> seq[b]=q+Z :: else fi };
     endzombie(b,q)
  :: else
#endif
  fi
}
/* Is life q of block b in its slot: yes. It is in none: out. Its life is over: neither. */
inline look(b,q,yes,out) {
  yes=0; out=0;
  if
  :: b!=0 && q!=0 ->
     P hit=(seq[b]==q || seq[b]==q+PB) };
     if
     :: hit ->
        P s=bslot[b] };
#ifdef M_NOSLOT
        out=1;
#else
        P hit=(slot[s]==b) };
        if :: hit -> yes=1 :: else -> out=1 fi;
#endif
        hit=0; s=0
     :: else
     fi
  :: else
  fi
}
/* What the dead client states: block b of life q, `old` x of life xq, the counter to be. */
inline settle() {
  look(b,q,yes,out);
#ifndef M_LIFE_ONCE
  if :: yes -> P yes=(seq[b]==q || seq[b]==q+PB) } :: else fi;
#endif
  out=0;
  look(x,xq,there,out);
  there=0;
#ifndef M_NO_COUNT
  ok=(yes || (b==0 && out));
#else
  ok=0;
#endif
#ifndef M_NO_HOLD
  if :: ok -> P ok=(l!=0 && own[l-1]==c) }; if :: ok -> P ok=STILL } :: else fi :: else fi;
#endif
  if
  :: ok ->
     P w=cnt[c] };
     if :: w!=to && w/TAG==to/TAG -> P if :: cnt[c]==w -> cnt[c]=to :: else fi } :: else fi;
     w=0
  :: else
  fi;
  if :: b!=0 && !yes -> endlife(b,q) :: else fi;
  if
  :: out -> endlife(x,xq)
#ifndef M_ZOMBIE_LOST
  :: x!=0 && !out -> P hit=(seq[x]==xq+Z) }; if :: hit -> endzombie(x,xq) :: else fi
#endif
  :: else
  fi;
  yes=0; out=0; hit=0; ok=0
}
/* The pins of a reader, if it is dead. Marking comes first. */
#ifdef M_PIN_BY_LIFE
#define NAMES(i) (pblk[i]!=0 && pin[i]!=0)
#else
#define NAMES(i) (pblk[i]!=0)
#endif
inline pins(i) {
  P ok=(dead[7+i] && pblk[i]!=0) };
  if
  :: ok -> P rmarked[i]=1 };
     P b=(NAMES(i) -> pblk[i] : 0) }; P w=seq[b] };
#ifndef M_NO_PINS
     if :: w>=Z -> q=w-Z; endzombie(b,q) :: else fi;
#endif
     P pblk[i]=0 }
  :: else
  fi;
  b=0; q=0; w=0; ok=0
}
/* The counter as the record states it; then the new block's record is cleared. */
#ifdef M_COUNT_AFTER
#define USED(c) P rb[c]=0 }; P cnt[c]=rcn[c] }
#else
#define USED(c) P cnt[c]=rcn[c] }; P rb[c]=0 }
#endif
inline buckets() {
  P l=rbk[c] };
  if :: l!=0 -> P if :: own[l-1]==c && STILL -> own[l-1]=0 :: else fi } :: else fi;
  l=0
}
inline recover() {
  P if :: st[c]==DEAD || (st[c]==LIVE && dead[who[c]]) -> st[c]=DEAD; ge=gen[c]; ok=1
       :: st[c]==CLAIMING && dead[who[c]] -> st[c]=VACANT; ok=0 :: else -> ok=0 fi };
  if
  :: !ok
  :: else ->
#ifdef M_FREE_EARLY
     P if :: STILL -> st[c]=VACANT :: else fi };
#endif
#ifdef M_BUCKETS_FIRST
     buckets();
#endif
     P l=rbk[c] }; P b=rb[c] }; P x=rx[c] }; P q=rq[c] }; P xq=rxq[c] }; P to=rcn[c] };
#ifndef M_NO_OWNER
     P ok=STILL };
#endif
#ifdef M_FREE_EARLY
     ok=1;
#endif
     if :: ok -> settle() :: else fi;
     b=0; q=0; x=0; xq=0; to=0; l=0;
     buckets();
     P if :: STILL -> st[c]=VACANT :: else fi }
  fi;
  ok=0; ge=0
}
proctype Writer(byte me; byte c; byte k; byte nops) {
  byte n, q, x, xq, at, w, s, i; bool hit, del;
  if
  :: me==6 ->
     if :: atomic { st[1]==VACANT -> gen[1]++; who[1]=6; st[1]=CLAIMING } :: hopeless -> goto stop fi;
     P rb[1]=0 }; P rx[1]=0 }; P rbk[1]=0 };
#ifndef M_NO_TAG
     P cnt[1]=gen[1]*TAG+cnt[1]%TAG };
#endif
     P st[1]=LIVE }
  :: else
  fi;
nextop:
  if :: nops==0 -> goto leaves :: else nops-- fi;
  if :: del=0 :: me!=6 -> del=1 fi;
  if
  :: !del ->
     do
     :: P vid++; q=vid };
        P n=(seq[1]==0 -> 1 : (seq[2]==0 -> 2 : ((NB>2 && seq[NB]==0) -> NB : 0))) };    /* the free map */
        if :: n==0 -> break :: else fi;
#ifndef M_REC_LATE
        P rq[c]=q }; P rb[c]=n };
#endif
        P if :: seq[n]==0 -> assert(g[n]==0); g[n]=me; seq[n]=q; hit=1 :: else -> hit=0 fi };
#ifdef M_REC_LATE
        P rq[c]=q }; P rb[c]=n };
#endif
        if :: hit -> hit=0; break :: else -> P rb[c]=0 } fi
     od;
     if :: n==0 -> q=0; goto nextop :: else fi;
     P assert(seq[n]==q && g[n]==me); key[n]=k }
  :: else
  fi;
  P rbk[c]=k+1 };
  atomic { if :: DIES :: own[k]==0 -> own[k]=c fi };
  atomic { x=0; if :: slot[0]!=0 && key[slot[0]]==k -> at=0; x=slot[0]; xq=LIFE(seq[x]) :: else ->
               if :: slot[1]!=0 && key[slot[1]]==k -> at=1; x=slot[1]; xq=LIFE(seq[x]) :: else fi fi };
  if
#ifdef TOUCH
  :: x!=0 && del -> P assert(slot[at]==x && ALIVE(seq[x]) && LIFE(seq[x])==xq && g[x]==PUB+k) };     /* touch: its expiry is written, under the home alone */
     P own[k]=0 }; P rbk[c]=0 }
#endif
  :: !del -> /* a condition fails, or the table is full: given back with no lock held */
     P own[k]=0 }; P rbk[c]=0 };
back:
     P assert(seq[n]==q); seq[n]=0; FREED(n) };
     P rb[c]=0 }
  :: x==0 && del -> P own[k]=0 }; P rbk[c]=0 }
  :: x==0 && !del ->
     P rcn[c]=cnt[c]+1 };
     do        /* any empty slot: other names may have filled the nearer ones */
     :: slot[0]!=0 && slot[1]!=0 -> P own[k]=0 }; P rbk[c]=0 }; goto back
     :: else ->
#ifdef M_REC_EARLY
        P rb[c]=0 };
#endif
        if :: slot[0]==0 -> i=0 :: slot[1]==0 -> i=1 :: slot[0]!=0 && slot[1]!=0 fi;
        P bslot[n]=i };
#ifdef M_INSERT_STORE
        P slot[i]=n; g[n]=PUB+k; hit=1 };
#else
        P if :: slot[i]==0 -> slot[i]=n; g[n]=PUB+k; hit=1 :: else fi };
#endif
        if :: hit -> hit=0; break :: else fi
     od;
     i=0;
     USED(c);
     P own[k]=0 }; P rbk[c]=0 }
  :: x!=0 ->
     if :: !del -> P bslot[n]=at } :: else fi;
#ifndef M_COUNT_LATE
     P rcn[c]=cnt[c]-del };
#endif
#ifndef M_OLD_LATE
     P rxq[c]=xq }; P rx[c]=x };
#endif
#ifdef M_REC_EARLY
     P rb[c]=0 };
#endif
     P assert(slot[at]==x && ALIVE(seq[x]) && LIFE(seq[x])==xq && g[x]==PUB+k); g[x]=OUT+me;
       if :: del -> slot[at]=0 :: else -> slot[at]=n; g[n]=PUB+k fi };
#ifdef M_OLD_LATE
     P rxq[c]=xq }; P rx[c]=x };
#endif
#ifdef M_COUNT_LATE
     P rcn[c]=cnt[c]-del };
#endif
     USED(c);
#ifdef M_OLD_EARLY
     P rx[c]=0 };
#endif
     endlife(x,xq);
     P rx[c]=0 };
     P own[k]=0 }; P rbk[c]=0 }
  fi;
  n=0; q=0; x=0; xq=0; at=0;
  goto nextop;
leaves:
  P st[c]=ENDED; bdone=(bdone || me==2) };
stop: atomic { n=0; q=0; x=0; xq=0; at=0; w=0; s=0; i=0; hit=0; ndone++ }
}

proctype Sweeper(byte me; byte nops) {
  byte w, q, k, s, at; bool hit; byte c=3;
  do
  :: nops==0 -> break
  :: else -> nops--;
     if :: at=0 :: at=1 fi;
     atomic { w=slot[at]; q=LIFE(seq[w]); k=key[w] };  /* validated, as a reader does it */
     if :: w==0 -> goto next :: else fi;
#if defined(STOP) && !defined(M_SWEEPS_ANY)
     if :: k==1 -> goto next :: else fi;
#endif
#ifndef M_SWEEP_NOLOCK
     P rbk[c]=k+1 };
     atomic { if :: DIES :: own[k]==0 -> own[k]=c; hit=1 :: own[k]!=0 -> hit=0 fi };
     if :: !hit -> P rbk[c]=0 }; goto next :: else -> hit=0 fi;
#ifdef M_SWEEP_NOSEQ
     P hit=(slot[at]==w) };
#else
     P hit=(slot[at]==w) };
     P hit=(hit && ALIVE(seq[w]) && LIFE(seq[w])==q) };
#endif
     if :: !hit -> P own[k]=0 }; P rbk[c]=0 }; goto next :: else -> hit=0 fi;
#endif
     P rcn[c]=cnt[c]-1 }; P rxq[c]=q }; P rx[c]=w };
#ifdef M_SWEEP_NOLOCK
     P if :: slot[at]==w -> slot[at]=0; g[w]=OUT+me; hit=1 :: else fi };
     if :: !hit -> P rx[c]=0 }; goto next :: else -> hit=0 fi;
#else
     P assert(slot[at]==w && g[w]==PUB+k); slot[at]=0; g[w]=OUT+me };
#endif
     USED(c);
     endlife(w,q);
     P rx[c]=0 };
     P if :: own[k]==c -> own[k]=0 :: else fi }; P rbk[c]=0 };
next: w=0; q=0; k=0; at=0; hit=0
  od;
  P st[c]=ENDED };
stop: atomic { w=0; q=0; k=0; s=0; at=0; hit=0; ndone++ }
}

proctype Reader(byte i) {
  byte w, q, s; bool hit; byte me=7+i;
#define HOLDS atomic { if :: (((CR>>me)&1) && ncr<NCR) -> dead[me]=1; ncr++; held[i]=0; goto stop :: 1 fi; assert(LIFE(seq[w])==q)
  if :: s=0 :: s=1 fi;
  w=slot[s];
  if :: w==0 -> goto done :: else fi;
  q=seq[w];
  if :: !ALIVE(q) || slot[s]!=w -> goto done :: else -> q=LIFE(q) fi;
#ifndef M_BIT_LATE
  P pbit[i]=1 };
#endif
  P pblk[i]=w }; P pin[i]=q };
#ifndef M_NO_PINNED
  P if :: seq[w]==q -> seq[w]=q+PB :: else fi };
#endif
  atomic { if :: DIES
#ifdef M_NO_CHECK
           :: 1 -> held[i]=w
#elif defined(M_NO_PINNED)
           :: seq[w]!=q && seq[w]!=q+PB -> goto unpin :: else -> held[i]=w
#else
           :: seq[w]!=q+PB -> goto unpin :: else -> held[i]=w
#endif
           fi };
#ifdef M_BIT_LATE
  HOLDS; pbit[i]=1 };
#endif
  HOLDS };
  HOLDS; held[i]=0 };
unpin: P pin[i]=0 }; P pbit[i]=0 };
#ifndef M_NO_UNPIN
  P hit=(seq[w]==q+Z) };
#ifdef M_UNPIN_BLIND
  if :: hit -> P if :: seq[w]==q+Z -> seq[w]=0; FREED(w) :: else fi } :: else fi;
#else
  if :: hit -> endzombie(w,q) :: else fi;
#endif
#endif
done: skip;
stop: atomic { w=0; q=0; s=0; hit=0; ndone++ }
}

proctype Finder(byte me) {
  byte c, b, q, x, xq, to, w, s, l, ge; bool hit, ok, yes, there, out;
  do
  :: atomic { if :: DIES
        :: st[1]==DEAD || (st[1]==LIVE && dead[who[1]]) -> c=1
        :: st[2]==DEAD || (st[2]==LIVE && dead[who[2]]) -> c=2
        :: st[3]==DEAD || (st[3]==LIVE && dead[who[3]]) -> c=3
        :: dead[7] && pblk[0]!=0 -> c=9
        :: dead[8] && pblk[1]!=0 -> c=10
        :: hopeless -> break
        fi };
     if :: c==9 -> pins(0) :: c==10 -> pins(1) :: else -> recover() fi;
     if :: c=0 :: break fi
  od;
stop: atomic { c=0; b=0; q=0; x=0; xq=0; to=0; w=0; s=0; l=0; ge=0; hit=0; ok=0; yes=0; there=0; out=0; ndone++ }
}

#ifdef STOP
proctype Watch() { timeout -> assert(bdone) }
#endif
/* Nothing else can move: everybody is done, dead, or waits for what the dead hold. */
proctype Last() {
  byte c, b, q, x, xq, to, w, s, l, ge, t; bool hit, ok, yes, there, out; byte me=0;
  do
  :: t==2 -> break
  :: else ->
     if :: timeout :: ndone==NPROC fi; hopeless=1;
     c=1; do :: c>3 -> break :: else -> recover(); c++ od;
     pins(0);
#if WITHR>1
     pins(1);
#endif
     t++
  od;
  if :: timeout :: ndone==NPROC fi;
  assert(ndone==NPROC);
  atomic {
    assert(own[0]==0 && own[1]==0);
    c=1;
    do :: c>NB -> break
       :: else -> assert((seq[c]==0)+(slot[0]==c)+(slot[1]==c)==1); assert(seq[c]!=0 || g[c]==0); assert(seq[c]<Z); c++
    od;
    assert(cnt[1]%TAG+cnt[2]%TAG+cnt[3]%TAG==3*BASE+(slot[0]!=0)+(slot[1]!=0));
    c=1;
    do :: c>3 -> break :: else -> assert(st[c]==VACANT || st[c]==ENDED || st[c]==0 || (st[c]==LIVE && !dead[who[c]])); c++ od
  };
stop: skip
}
init { atomic {
  cnt[1]=TAG+BASE+1; cnt[2]=TAG+BASE; cnt[3]=TAG+BASE; rcn[1]=TAG+31;    /* of an operation that is over */
  st[1]=LIVE; st[2]=LIVE; gen[1]=1; gen[2]=1; gen[3]=1; who[1]=1; who[2]=2; who[3]=3;
  vid=1; slot[0]=1; seq[1]=1; key[1]=0; bslot[1]=0; g[1]=PUB;
#ifdef PREL       /* L is there, too: in its home, or, with K absent, in bucket 0 */
  cnt[2]=TAG+BASE+1; vid=2; slot[1]=2; seq[2]=2; key[2]=1; bslot[2]=1; g[2]=PUB+1;
#endif
#ifdef GARBAGE    /* slot fields of former lives */
  if :: bslot[2]=0 :: bslot[2]=1 fi; if :: bslot[NB]=0 :: bslot[NB]=1 fi;
#endif
  run Writer(1,1,0,AOPS); run Writer(2,2,BKEY,BOPS);
#if EOPS>0
  st[3]=LIVE; run Sweeper(3,EOPS);
#endif
#if WITHF
  run Finder(4);
#endif
#if WITHG
  run Finder(5);
#endif
#if WITHN
  run Writer(6,1,0,1);
#endif
#if WITHR
  run Reader(0);
#if WITHR>1
  run Reader(1);
#endif
#endif
#ifdef STOP
  run Watch()
#else
  run Last()
#endif
} }
