/* recovery.pml: blocks, records, the arena's lock, rebuilding, and recovery
 *
 * WHAT  Two keys in fixed slots 0 and 1 with home locks; one arena of three blocks. A (client slot 1) puts on a
 *   condition or deletes; B (slot 2) puts; S (slot 3) sweeps; F and G (slots 4 and 5) recover. F first rebuilds the
 *   arena NSUSP times without need (as suspect). N comes later: it takes slot 1 when that is free or, with ADOPT, while
 *   it is dead.
 * STEPS  op.c allocate, give_back; publish.c home_lock, replace, insert, leave, home_unlock; expire.c
 *   take_out; rebuild.c mark_clients (the owner word, then the record, of each client), mark_slots, the pieces one by
 *   one; recover.c shms_recover_client, release_buckets, rebuild_arenas, shms_recover_adopted; clients.c
 *   shms_client_claim_free, shms_client_become_live; adopt.c claim_dead. A busy arena leads to leave() and another try.
 * BOUNDS  One operation each. At most NCR deaths among the processes of the bit mask CR (1 A, 2 B, 3 S, 4 F, 5 G, 6 N),
 *   each at any step. WITHB, WITHS, WITHF, WITHG and WITHN leave processes out.
 * LEFT OUT  What readers see (table.pml); pins (pins.pml). Reading the owner word and exchanging the lock word is one
 *   step here, and locks.pml shows why that is allowed. The proof of a death is the knowledge of which process is dead.
 * PROPERTIES  Rebuilding frees no block that is alive or that a live client has. Nothing is freed twice. In the end,
 *   after a last recovery, every block is in exactly one slot, record or free run, and no lock is held.
 * MUTATIONS  (tests/engine/models/REPORT.md says what each one breaks) M_SLOTS_FIRST M_SWEEP_BLIND M_SWEEP_NOSLOT
 *   M_MARK_NOGEN M_FASTER M_REC_LATE M_REC_EARLY M_NOTE_LATE M_GIVE_LATE M_CLEAR M_DEAD_ROOTS M_ZERO_LATE M_FREE_EARLY
 *   M_ADOPT_ANYWAY M_NO_WANTED */
#ifndef WITHB
#define WITHB 1
#endif
#ifndef WITHS
#define WITHS 1
#endif
#ifndef WITHF
#define WITHF 1
#endif
#ifndef WITHG
#define WITHG 0
#endif
#ifndef WITHN
#define WITHN 0
#endif
#ifndef NSUSP
#define NSUSP 0
#endif
#ifndef CR
#define CR 0
#endif
#ifndef NCR
#define NCR 0
#endif
#define NB 3
#define FREE 0
#define CLAIMING 1
#define LIVE 2
#define DEAD 3
#define ADOPTING 4
#define ENDED 5            /* model only: its owner left */

byte slot[2], hl[2], al;   /* slots, home locks, arena lock: the slot that holds it */
byte st[7], gen[7], owner[7];/* owner words: state, generation, process id */
byte rec[8], rbk[8];       /* records: block; bucket + 1 */
byte bs[NB+1]; bool fre[NB+1];
byte life[NB+1];           /* ghost: 0 free, p owned by process p, 10 published, 20+p taken out by p */
byte ncr; bool dead[8]; byte ndone; bool hopeless;
#define DIES (((CR>>me)&1) && ncr<NCR) -> dead[me]=1; ncr++; goto stop
#define P atomic { if :: DIES :: 1 fi;
#define GHOSTDEAD(o) (o==0 || (o<10 && dead[o]) || (o>20 && dead[o-20]))
#define FREED(x) assert(!fre[x]); fre[x]=1; life[x]=0

/* The owner word is read first, and the record after it: two steps. */
#ifdef M_DEAD_ROOTS
#define ROOTSTATE(c) true
#else
#define ROOTSTATE(c) (st[c]==LIVE)
#endif
inline mark_client(c) {
  P l=ROOTSTATE(c) };
  if :: l -> P l=rec[c]; mk[l]=1 } :: else fi
}
inline mark_clients() { mark_client(1); mark_client(2) }
inline mark_slots() { P mk[slot[0]]=1 }; P mk[slot[1]]=1 } }
inline rebuild() {
  d_step { mk[0]=0; mk[1]=0; mk[2]=0; mk[3]=0; l=0 };
#ifdef M_SLOTS_FIRST
  mark_slots(); mark_clients();
#else
  mark_clients(); mark_slots();
#endif
  rb=1;
  do
  :: rb>NB -> break
  :: else -> P
     if :: mk[rb] -> fre[rb]=0
        :: else -> assert(GHOSTDEAD(life[rb])); life[rb]=0; fre[rb]=1 fi; rb++ }
  od;
  skip;
  d_step { rb=0; l=0; mk[0]=0; mk[1]=0; mk[2]=0; mk[3]=0 }
}

/* recover.c for slot c, by process me of slot my. Leaves done=1 if there is nothing more to do. `as` is the state in
 * the owner word: ADOPTING if me adopts the slot (my==c), otherwise DEAD. */
#define STILL_DEAD(c) (st[c]==as && gen[c]==g)
inline take_over(c, my) {
  /* release_buckets */
  P l=rbk[c] };
  if :: l!=0 -> P if :: hl[l-1]==c && STILL_DEAD(c) -> hl[l-1]=0 :: else fi } :: else fi;
  l=0;
  /* rebuild_arenas */
  P want=(rec[c]!=0) };
#ifdef M_NO_WANTED
  want=0;
#endif
#ifdef M_FREE_EARLY
  P if :: st[c]==as && gen[c]==g && as==DEAD -> st[c]=FREE :: else fi };
#endif
  atomic { if :: DIES
     :: al==c -> if :: STILL_DEAD(c) -> al=my; took=1 :: else -> took=0; done=0 fi        /* transfer_lock */
     :: al!=c && !want -> took=0
     :: al!=c && want && al==0 -> al=my; took=2
     :: al!=c && want && al!=0 -> took=0; done=0
     fi };
  if
  :: took==1 ->
#ifdef M_FASTER
     if :: STILL_DEAD(c) -> rebuild() :: else fi;
#else
     rebuild();
#endif
     P al=0 }
  :: took==2 -> if :: STILL_DEAD(c) -> rebuild() :: else fi; P al=0 }
  :: else
  fi;
  want=0; took=0
}
inline recover_client(c, my) {
  done=1; as=DEAD;
  P if :: st[c]==DEAD || ((st[c]==LIVE || st[c]==CLAIMING || st[c]==ADOPTING) && dead[owner[c]]) -> g=gen[c]; l=st[c] :: else -> g=0; l=0 fi };
  if
  :: g==0
  :: l==CLAIMING -> P if :: st[c]==CLAIMING && gen[c]==g -> st[c]=FREE :: else fi }; l=0
  :: else -> l=0;
#ifdef M_MARK_NOGEN
     P if :: st[c]==LIVE || st[c]==ADOPTING -> st[c]=DEAD; g=gen[c]
          :: st[c]==DEAD -> g=gen[c] :: else -> g=0 fi };
#else
     P if :: (st[c]==LIVE || st[c]==ADOPTING) && gen[c]==g -> st[c]=DEAD
          :: st[c]==DEAD && gen[c]==g :: else -> g=0 fi };
#endif
     if
     :: g==0
     :: else ->
        take_over(c, my);
#ifdef M_CLEAR
        P rec[c]=0 };
#endif
        P if :: done && st[c]==DEAD && gen[c]==g -> st[c]=FREE :: else fi }
     fi
  fi;
  l=0; g=0; as=0
}

#define PLACE(p) ((p)==6 -> 1 : (p))
proctype Writer(byte me) {
  byte n, j, x, l, rb, g, want, took, as, c; bool mk[NB+1]; bool del, done;
  c=PLACE(me);
  if
  :: me==6 ->      /* N claims slot 1 */
     if
     :: atomic { st[1]==FREE -> st[1]=CLAIMING; gen[1]++; owner[1]=6 }
#ifdef ADOPT
     :: atomic { st[1]==DEAD -> st[1]=ADOPTING; gen[1]++; owner[1]=6 };
        as=ADOPTING; g=gen[1]; done=1;
        take_over(1, 1);
#ifndef M_ADOPT_ANYWAY
        if :: !done -> P st[1]=DEAD }; goto stop :: else fi;    /* ADOPTING -> DEAD: another process may try */
#endif
        as=0; g=0; done=0
#endif
     :: hopeless -> goto stop
     fi;
#ifdef M_ZERO_LATE
     P st[1]=LIVE };
     P rec[1]=0; rbk[1]=0 }
#else
     P rbk[1]=0 };
     P rec[1]=0 };
     P st[1]=LIVE }
#endif
  :: else
  fi;
  if :: j=0 :: j=1 fi;
  if :: me==1 -> del=1 :: del=0 fi;
  if
  :: !del ->
     atomic { if :: DIES :: al==0 -> al=c fi };
     P n=(fre[1] -> 1 : (fre[2] -> 2 : (fre[3] -> 3 : 0))); if :: n!=0 -> assert(life[n]==0); fre[n]=0; life[n]=me :: else fi };
#ifndef M_NOTE_LATE
     P rec[c]=n };
#endif
     P al=0 };
#ifdef M_NOTE_LATE
     P rec[c]=n };
#endif
     if :: n==0 -> goto leaves :: else fi
  :: else
  fi;
home:
  P assert(del || rec[c]==n); rbk[c]=j+1 };
  atomic { if :: DIES :: hl[j]==0 -> hl[j]=c :: hl[j]!=0 -> rbk[c]=0; goto busy fi };
again:
  x=slot[j];
  if
  :: !del && me==1 ->                    /* UNMET */
     P hl[j]=0 };
     P rbk[c]=0 };
     atomic { if :: DIES :: al==0 -> al=c fi };
     P FREED(n) };
#ifdef M_GIVE_LATE
     P al=0 };
     P rec[c]=0 };
#else
     P rec[c]=0 };
     P al=0 };
#endif
     goto leaves
  :: !del && x==0 ->
     bs[n]=j;
#ifdef M_REC_EARLY
     P rec[c]=0 };
#endif
     P if :: slot[j]==0 -> slot[j]=n; assert(life[n]==me); life[n]=10 :: else -> goto again fi };
  :: x!=0 ->
     if :: !del -> bs[n]=j :: else fi;
     atomic { if :: DIES :: al==0 -> al=c :: al!=0 -> x=0; hl[j]=0; rbk[c]=0; goto busy fi };
#ifdef M_REC_EARLY
     P rec[c]=0 };
#endif
     P if :: slot[j]==x -> assert(life[x]==10); life[x]=20+me;
             if :: del -> slot[j]=0 :: else -> slot[j]=n; assert(life[n]==me); life[n]=10 fi
          :: else -> al=0; goto again fi };
#ifndef M_REC_LATE
     if :: !del -> P rec[c]=0 } :: else fi;
#endif
     P FREED(x) };
     P al=0 }
  :: del && x==0
  fi;
#ifdef M_REC_LATE
  P hl[j]=0 };
  P if :: !del -> rec[c]=0 :: else fi };
#else
  if :: !del && x==0 -> P rec[c]=0 } :: else fi;
  P assert(hl[j]==c); hl[j]=0 };
#endif
  P rbk[c]=0 };
leaves:
  P assert(rec[c]==0); st[c]=ENDED };    /* shms_client_release: the slot stays unused here */
  goto stop;
busy:
  atomic { if :: DIES :: hl[j]==0 && al==0 -> goto home fi };
stop:
  atomic { n=0; j=0; x=0; del=0; ndone++ }
}

proctype Sweeper() {
  byte me=3; byte v, s;
  atomic { if :: DIES :: al==0 -> al=3 fi };
  if :: v=1 :: v=2 :: v=3 fi;
  s=bs[v];
  if
#ifdef M_SWEEP_NOSLOT
  :: !fre[v] ->
#else
  :: slot[s]==v ->
#endif
#ifndef M_SWEEP_BLIND
     if :: hl[s]!=0 -> goto out :: else fi;
#endif
     P if :: slot[s]==v -> slot[s]=0 :: else fi; assert(life[v]==10); life[v]=23 };
     P FREED(v) }
  :: else
  fi;
out:
  P al=0 };
stop: atomic { v=0; s=0; ndone++ }
}

proctype Finder(byte me) {
  byte c, l, rb, g, want, took, as, n=NSUSP; bool mk[NB+1]; bool done;
  do
  :: me!=4 || n==0 -> break
  :: else -> n--; atomic { if :: DIES :: al==0 -> al=me fi }; rebuild(); P al=0 }
  od;
  /* A process that waits looks again and again; it is enough to look after a death. */
  do
  :: atomic { if :: DIES
        :: (st[1]==DEAD || (dead[owner[1]] && st[1]!=FREE && st[1]!=ENDED)) && (al==0 || al==1) -> c=1
        :: me==5 && dead[4] && st[4]!=FREE && (al==0 || al==4) -> c=4
        :: hopeless -> break
        fi };
     recover_client(c, me);
     if :: c==1 -> break :: 1 -> c=0 fi
  od;
stop: atomic { c=0; ndone++ }
}

/* Nothing else can move: each process is done, dead, or waits for what the dead hold. Now a last process recovers. */
proctype Last() {
  byte me=7; byte c, l, rb, g, want, took, as, t; bool mk[NB+1]; bool done;
  timeout -> hopeless=1;
  c=1;
  do
  :: c<6 -> recover_client(c, 7); c++
  :: else ->
     if
     :: t==2 -> break
     :: t<2 -> t++; c=1; if :: timeout :: ndone==1+WITHB+WITHS+WITHF+WITHG+WITHN fi
     fi
  od;
  assert(ndone==1+WITHB+WITHS+WITHF+WITHG+WITHN);
  atomic {
    assert(al==0 && hl[0]==0 && hl[1]==0);
    t=1;
    do :: t<=NB -> assert(fre[t]+(slot[0]==t)+(slot[1]==t)==1); assert(!fre[t] || life[t]==0); t++ :: else -> break od;
    t=1;
    do :: t<7 -> assert(st[t]==FREE || st[t]==ENDED || !dead[owner[t]]); t++ :: else -> break od
  };
stop: skip
}
init { atomic {
  fre[2]=1; fre[3]=1; slot[0]=1; life[1]=10;
  st[1]=LIVE; st[2]=LIVE; st[3]=LIVE; st[4]=LIVE; st[5]=LIVE;
  gen[1]=1; gen[2]=1; gen[3]=1; gen[4]=1; gen[5]=1;
  owner[1]=1; owner[2]=2; owner[3]=3; owner[4]=4; owner[5]=5;
  run Writer(1);
#if WITHB
  run Writer(2);
#endif
#if WITHS
  run Sweeper();
#endif
#if WITHF
  run Finder(4);
#endif
#if WITHG
  run Finder(5);
#endif
#if WITHN
  run Writer(6);
#endif
  run Last() } }
