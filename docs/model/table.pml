/* table.pml: finding, putting, replacing, deleting and sweeping in the slot table, with deaths
 *
 * OF THE FORMER HEAP  Arenas, rebuilding and adopting are gone. tests/engine/models/REPORT.md says what still holds.
 * WHAT  Two keys K=0 (home bucket 0) and L=1 (home bucket 1) with the same tag, which is the worst case, in two buckets
 *   of one slot; three blocks of one arena. Writer A puts or deletes K, writer B its key BKEY. S is the sweeper, and
 *   may sweep any entry at any time. R reads K, and each of its loads is a step. With PIN, the reader pins the block
 *   after the second try (read.c) and copies it undisturbed.
 * STEPS  Reader: table.c probe, look; table.h shms_entry_unchanged. Writer: op.c shms_op_reserve, give_back; publish.c
 *   shms_op_publish, shms_op_remove, replace, insert, home_lock, leave. Sweeper: expire.c peek, take_out. free():
 *   arena.c free_now: the sequence goes first, then the block's words become links (GARBAGE). rebuild(): rebuild.c in
 *   three steps: marking, end_retiring, making free runs. No process waits with a lock held: a busy arena leads to
 *   leave(), and the writer tries again from the home lock on.
 * BOUNDS  AOPS, BOPS, SOPS operations. At most NCR deaths (0 to 2) among the clients of the bit mask CR (2 A, 4 B, 8
 *   S), each at any step. PRE chooses the first state.
 * LEFT OUT  A writer's validated look at one slot is one step, because the reader shows that look() is right. Marking
 *   is one step. Proofs of death (locks.pml). More arenas. Memory order (tests/engine/memory_order).
 * PROPERTIES  The reader returns a whole value that was published for K at some moment of its reading, or a miss if K
 *   was absent at one. No key is there twice. No block is freed twice, or while it is in a slot. In the end every block
 *   is in exactly one slot, record or free run, every entry is whole and within its reach, and only dead clients, whose
 *   locks were taken over, held locks.
 * MUTATIONS  (tests/engine/models/REPORT.md says what each one breaks) M_SLOT_LATE M_NO_MISMATCH M_NO_SEQ M_NO_SLOT
 *   M_OW_NOSEQ M_FREE_FIRST M_REACH_LATE M_REACH_LOW M_STORE M_NO_RETIRE M_KEEP_SEQ; M_WAITS is the liveness run. */
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
#define HOME(k) (k)
#define SL(h,i) (((h)+(i))%NSLOT)
#define DIST(h,s) (((s)+NSLOT-(h))%NSLOT)
#define GARBAGE 99

byte slot[NSLOT];                /* slot words: the tag is always the same, so they are block numbers */
byte own[NSLOT], reach[NSLOT];   /* bucket words */
byte al, retiring;                 /* arena: lock, retiring */
byte rec[4];                     /* records[].block of clients 1 A, 2 B, 3 S */
byte seq[NB+1], key[NB+1], c1[NB+1], c2[NB+1], bslot[NB+1];   /* blocks: sequence, key, two words of value, slot */
bool fre[NB+1];                  /* the heap's view */
byte vid;                        /* the arena's counter */
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

/* rebuild.c. Records of the dead are no roots. Words of what is free become links or footers of longer runs; only the
   first block of a run has its sequence cleared by that, so here none has. */
inline rebuild() {
  P d_step { fre[1]=1; fre[2]=1; fre[3]=1;
    if :: rec[1]!=0 && !dead[1] -> fre[rec[1]]=0 :: else fi;
    if :: rec[2]!=0 && !dead[2] -> fre[rec[2]]=0 :: else fi;
    if :: slot[0]!=0 -> fre[slot[0]]=0 :: else fi;
    if :: slot[1]!=0 -> fre[slot[1]]=0 :: else fi;
    fre[0]=0 } };
#ifndef M_NO_RETIRE
  P if :: retiring!=0 && fre[retiring] -> seq[retiring]=0 :: else fi };
#endif
  P d_step { if :: fre[1] -> c1[1]=GARBAGE :: else fi;
    if :: fre[2] -> c1[2]=GARBAGE :: else fi;
    if :: fre[3] -> c1[3]=GARBAGE :: else fi } }
}
/* shms_await, holding nothing, then shms_arena_enter. A dead holder's arena is rebuilt before its lock is released. */
inline enter() {
  do
  :: atomic { if :: DIES :: al==0 -> al=me; took=1 :: (al!=0 && GONE(al)) -> al=me; took=0 fi };
     if :: took -> break :: else -> rebuild(); P al=0 } fi
  od
}
#ifdef M_KEEP_SEQ
#define ENDSEQ(x) skip
#else
#define ENDSEQ(x) seq[x]=0
#endif
inline free(x) {
  P assert(!fre[x]); ENDSEQ(x) };
  P c1[x]=GARBAGE; fre[x]=1 }
}
/* REQUIRES al==me and x as the probe saw it: takes it out of its slot s, for w. */
#define STILL (slot[xp]==x && seq[x]==xq)
#ifdef M_OW_NOSEQ
#undef STILL
#define STILL (slot[xp]==x)
#endif

proctype Writer(byte me; byte nops; byte k) {
  byte n, h, i, w, x, xp, xq, mx, v, d; bool del, took;
nextop:
  if :: nops==0 -> goto stop :: else nops--; fi;
  atomic { h=HOME(k); if :: del=0 :: del=1 fi }
  if
  :: !del ->
     enter();
     if :: rec[me]!=0 -> n=rec[me]; free(n); P rec[me]=0; n=0 } :: else fi;   /* left by an earlier operation */
     P d_step { n=(fre[1] -> 1 : (fre[2] -> 2 : (fre[3] -> 3 : 0)));
       if :: n!=0 -> fre[n]=0; rec[me]=n; vid++; v=vid; seq[n]=v :: else fi } };
     P al=0 };
     if :: n==0 -> goto nextop :: else fi;
     P key[n]=k; c1[n]=v };
     P c2[n]=v }
  :: else
  fi;
home:
  atomic { if :: DIES :: own[h]==0 -> own[h]=me :: (own[h]!=0 && GONE(own[h])) -> own[h]=0; goto home fi };
again:
  i=0; x=0; mx=0;
  do
  :: i==NSLOT -> break
  :: i>0 && reach[h]<i -> break
  :: else ->
     atomic { w=slot[SL(h,i)];
       if :: w==0 -> skip
       :: else ->
          if :: key[w]==k -> x=w; xp=SL(h,i); xq=seq[w]
             :: else -> if :: HOME(key[w])==h -> mx=i :: else fi fi
       fi; w=0 };
     i++
  od;
  i=0;
  if
  :: !del ->     /* UNMET: the reach as seen, then give_back with no lock held */
     if :: x!=0 -> d=DIST(h,xp); if :: d>mx -> mx=d :: else fi :: else fi;
     P own[h]=0; reach[h]=mx };
     enter();
     free(n);
     P rec[me]=0 };
     P al=0; d=0; n=0; x=0; xp=0; xq=0; mx=0 };
     goto nextop
  :: x!=0 ->
     if :: !del -> bslot[n]=xp :: else fi;
     atomic { if :: DIES :: al==0 -> al=me :: al!=0 -> x=0; xp=0; xq=0; mx=0; own[h]=0;   /* BUSY: leave */
#ifdef M_WAITS
       goto stop
#else
       goto home
#endif
       fi };
     if
     :: STILL ->
#ifdef M_FREE_FIRST
        free(x);
#endif
        P retiring=x };
        P assert(slot[xp]==x && key[x]==k); d=DIST(h,xp);
          if :: del -> slot[xp]=0; SETCUR(k,0) :: else -> slot[xp]=n; SETCUR(k,v) fi };
        if :: !del -> P rec[me]=0 } :: else fi;
#ifndef M_FREE_FIRST
        free(x);
#endif
        P al=0 }
     :: else -> P al=0 }; x=0; xp=0; xq=0; mx=0; goto again
     fi;
     if :: !del && d>mx -> mx=d :: else fi;
     P own[h]=0; reach[h]=mx; n=0; d=0; x=0; xp=0; xq=0; mx=0 }
  :: x==0 && del -> P own[h]=0; reach[h]=mx; mx=0 }
  :: x==0 && !del ->
     do
     :: i==NSLOT -> /* TABLE_FULL */
        P own[h]=0 };
        enter();
        free(n);
        P rec[me]=0 };
        P al=0; n=0; mx=0; i=0 };
        goto nextop
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
     P rec[me]=0 };
#ifndef M_REACH_LOW
     if :: i>mx -> mx=i :: else fi;
#endif
     P own[h]=0; reach[h]=mx; n=0; d=0; mx=0; i=0 }
  fi;
  goto nextop;
stop:
  atomic { n=0; h=0; i=0; w=0; x=0; xp=0; xq=0; mx=0; v=0; d=0; ndone++ }
}

proctype Sweeper(byte me; byte nops) {
  byte s, w, q, h; bool took;
  do
  :: nops==0 -> break
  :: else -> nops--;
     if :: s=0 :: s=1 fi;
     w=slot[s];
     if :: w==0 -> goto next :: else q=seq[w] fi;
     if :: slot[s]!=w -> goto next :: else fi;
     atomic { if :: DIES :: al==0 -> al=me :: al!=0 -> goto next fi };     /* busy: passed over */
     if
     :: slot[s]==w && seq[w]==q && bslot[w]==s ->
        h=HOME(key[w]);
        if
        :: own[h]==0 ->         /* shms_lock_touch moves the count and returns the holder */
           P retiring=w };
           P assert(slot[s]==w); slot[s]=0; assert(cur[key[w]]!=0); SETCUR(key[w],0) };
           free(w)
        :: else
        fi
     :: else
     fi;
     P al=0 };
next: s=0; w=0; q=0; h=0
  od;
stop: atomic { s=0; w=0; q=0; h=0; ndone++ }
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

/* When all are done or dead: recovery as shms_recover_all does it, then everything must be in order. */
proctype Final() {
  byte t, me, ri, h;
  ndone==4 ->
  assert(al==0 || dead[al]);
  assert((own[0]==0 || dead[own[0]]) && (own[1]==0 || dead[own[1]]));
  if :: dead[1]||dead[2]||dead[3] -> al=0; rebuild() :: else fi;
  atomic {
    t=1;
    do :: t<=NB ->
         ri=fre[t]+(slot[0]==t)+(slot[1]==t)+(rec[1]==t && !dead[1])+(rec[2]==t && !dead[2]);
         assert(ri==1); t++
       :: else -> break od;
    t=0;
    do :: t<NSLOT ->
         if :: slot[t]!=0 -> h=slot[t]; assert(seq[h]!=0 && c1[h]==seq[h] && c2[h]==seq[h] && bslot[h]==t);
               assert(cur[key[h]]==seq[h]); assert(reach[HOME(key[h])]>=DIST(HOME(key[h]),t))
            :: else fi; t++
       :: else -> break od;
    t=0;
    do :: t<2 -> assert(cur[t]==0 || (slot[0]!=0 && seq[slot[0]]==cur[t]) || (slot[1]!=0 && seq[slot[1]]==cur[t])); t++
       :: else -> break od
  };
stop: skip
}

#define ENTRY(b,k,s) fre[b]=0; vid=1; seq[b]=1; key[b]=k; c1[b]=1; c2[b]=1; bslot[b]=s; slot[s]=b; cur[k]=1
init { atomic {
  fre[1]=1; fre[2]=1; fre[3]=1;
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
