/* create.pml: creating, opening and removing a store under one key
 *
 * WHAT  NOP (2) processes open the same key (open or create, all with the same request). Any of them may die at any
 *   step, at most NCR in all. With DESTROY, one process removes the store that it found ready. The kernel makes and
 *   removes segments. A removed segment exists as long as a process is attached to it.
 * STEPS  open.c find_memory (shmget; shmget with IPC_EXCL); create.c shms_create_or_wait (magic and state are loaded;
 *   the exchanges 1, 2, 4 and the store 5 of the opening comment; initialise in two halves, HALF; an opener that has
 *   proved the creator's death moves the state to itself, removes the segment and marks it destroyed); the loop of
 *   shms_open; shms_destroy with mark_destroyed.
 * BOUNDS  NSEG segments in all. Each opener makes TRIES rounds (a nap is a round; more rounds would change nothing).
 * LEFT OUT  Other requests (size, mode), time, other pid namespaces, and process ids that are used again. The client
 *   table, which an opener enters only after the magic (locks.pml).
 * PROPERTIES  A process that opens the store finds a header that one process wrote as a whole. A ready segment is
 *   initialised once. At no time do live processes have two segments under the key open, unless the first was removed
 *   by destroy(). In the end, if one live opener succeeded, no live opener gave up waiting for a dead creator.
 * MUTATIONS  M_NO_EXCL (each process that sees a blank state creates, without an exchange; needs NOP=3) M_READY_FIRST
 *   (the magic before the rest) M_TRUSTS (takeover without proof, and 4 by a plain store: either one alone is harmless)
 *   M_NO_FINISH (no process writes the magic after a death before 5) M_ONE_LOOK (a blank magic beside a state counts as
 *   foreign without a second look) */
#ifndef NCR
#define NCR 1
#endif
#ifndef NOP
#define NOP 2
#endif
#ifndef TRIES
#define TRIES 4
#endif
#define NSEG 4
#define BLANK 0
#define INITIALISING 1
#define READY 2
#define DESTROYED 3
#define MINIT 1
#define MREADY 2
byte key;                                /* the segment under the key, 0 = none */
byte made;                               /* segments made so far */
byte magic[NSEG+1], state[NSEG+1], owner[NSEG+1], gen[NSEG+1], cpid[NSEG+1];
byte half1[NSEG+1], half2[NSEG+1];       /* the process that wrote this half of the header */
bool dead[5], ended[5]; byte ncr, ndone;
bool removed[NSEG+1];                    /* ghost: by destroy() */
byte open[5];                            /* ghost: the segment that the process has open */
#define DIES ncr<NCR -> dead[me]=1; ncr++; open[me]=0; goto stop
#define P atomic { if :: DIES :: 1 fi;
#define GONE(p) (dead[p] || ended[p])

proctype Opener(byte me) {
  byte id, m, s, w, g, n=TRIES; bool created;
again:
  if :: n==0 -> goto stop :: else n--; fi;
  created=0;
  P id=key };
  if
  :: id==0 ->
     P if :: key==0 && made<NSEG -> made++; key=made; id=made; cpid[id]=me; created=1 :: else -> goto again fi }
  :: else
  fi;
  /* shms_create_or_wait */
  P m=magic[id] };
  P s=state[id]; w=owner[id]; g=gen[id] };
  if
  :: m==MREADY -> if :: s==READY -> goto ready :: else -> goto again fi
  :: else
  fi;
  if
  :: m==0 ->
#ifdef M_ONE_LOOK
     assert(s==BLANK);      /* NotAStore, for a store that is just being made */
#endif
     if :: s!=BLANK -> assert(magic[id]!=0); goto again :: else fi;
     if :: !created && !GONE(cpid[id]) -> goto again :: else fi;
     P if :: magic[id]==0 -> magic[id]=MINIT :: else fi }
  :: else
  fi;
  if
  :: s==READY ->
#ifndef M_NO_FINISH
     P magic[id]=MREADY };
#endif
     goto again
  :: s==DESTROYED -> goto again
  :: s==INITIALISING ->
#ifndef M_TRUSTS
     if :: !dead[w] -> goto again :: else fi
#endif
  :: s==BLANK -> if :: !created && !GONE(cpid[id]) -> goto again :: else fi
  fi;
#ifdef M_NO_EXCL
  P state[id]=INITIALISING; owner[id]=me; gen[id]=g+1 };
#else
  P if :: state[id]==s && owner[id]==w && gen[id]==g -> state[id]=INITIALISING; owner[id]=me; gen[id]=g+1 :: else -> goto again fi };
#endif
  if
  :: !created ->
     P if :: key==id -> key=0 :: else fi };
     P if :: state[id]==INITIALISING && owner[id]==me -> state[id]=DESTROYED :: else fi };
     goto again
  :: else
  fi;
#ifdef M_READY_FIRST
  P magic[id]=MREADY };
#endif
  P half1[id]=me };
  P half2[id]=me };
#ifdef M_TRUSTS
  P state[id]=READY };
#else
  P if :: state[id]==INITIALISING && owner[id]==me && gen[id]==g+1 -> state[id]=READY :: else -> goto again fi };
#endif
  P magic[id]=MREADY };
ready:
  atomic { if :: DIES :: 1 fi;
    if :: state[id]==DESTROYED -> goto again :: else fi;       /* shms_revalidate */
    assert(half1[id]!=0 && half1[id]==half2[id]);
    open[me]=id; id=0;
    do :: id<5 -> assert(open[id]==0 || open[id]==open[me] || removed[open[id]] || removed[open[me]]); id++ :: else -> break od };
  id=open[me];
#ifdef DESTROY
  if
  :: me==1 -> P if :: key==id -> key=0 :: else fi; removed[id]=1 };
     P state[id]=DESTROYED }
  :: else
  fi;
#endif
  assert(half1[id]==half2[id]);
stop:
  atomic { id=0; m=0; s=0; w=0; g=0; ndone++ }
}
/* Later, one more process opens. It waits as long as necessary, and no other process is there. */
proctype Last() {
  byte me=4, n=6, id, m, s, w, g; bool created;
  ndone==NOP -> ncr=NCR; ended[1]=1; ended[2]=1; ended[3]=1;
  run Opener(4);
  ndone==NOP+1 -> assert(open[4]!=0 || made==NSEG)
}
init { atomic { run Opener(1); run Opener(2);
#if NOP>2
  run Opener(3);
#endif
  run Last() } }
