/* locks.pml: one lock word, and the client slot that its holder names
 *
 * WHAT  D (slot 1, generation 1) takes and releases the lock and may die anywhere. F (slot 2) wants the lock, too, and
 *   recovers a dead holder. G (slot 3) recovers as well. N claims slot 1 when it is free, and takes the lock in its
 *   turn. T sets the waiters flag. The word is count, flag and holder, and is always changed by a read-modify-write of the
 *   whole.
 *   FALSE: D is only held for dead, at any step, and goes on with what it has begun.
 * STEPS  lock.h shms_lock_try (exchange, owner word), shms_unlock (word, owner word, exchange); publish.c home_lock,
 *   home_unlock (the record around the lock); recover.c shms_recover_client: proof, (g, live) -> (g, dead), release_buckets
 *   (lock word, owner word, exchange: three steps), (g, dead) -> (g, free); clients.c shms_client_claim_free, become_live.
 * BOUNDS  D and F take the lock DOPS and FOPS times, N once. One death. FALSE: D begins nothing after it was held for dead.
 * LEFT OUT  How a death is proved; waiting (sleep.pml); what the lock protects (table.pml, blocks.pml).
 * PROPERTIES  At most one live process is in the critical section. Only a dead holder's lock is taken over. In the end
 *   the lock is free, and the next owner of the slot had what it took until it released it.
 * MUTATIONS  M_NO_COUNT (a release does not move the count) M_REUSE_EARLY (the number is free before its lock is
 *   released) M_NO_OWNER (the owner word is not read after the lock word) M_OWNER_FIRST (it is read only before the
 *   lock word) M_NOGEN (marked dead without the generation) M_HOLDER_ONLY (the exchange compares only the holder)
 *   M_RECORD_LATE (the record is written after the lock was taken) M_FREE_STORE (dead -> free by a plain store)
 *   With FALSE: M_TAKE_BLIND (the owner word is not looked at after the lock was taken) M_LEAVE_BLIND (nor before it is
 *   released) M_LEAVE_EARLY (it is, but before the lock word) M_LEAVE_HOLDER (the release compares only the holder) */
#ifndef DOPS
#define DOPS 2
#endif
#ifndef FOPS
#define FOPS 2
#endif
#define FREE 0
#define CLAIMING 1
#define LIVE 2
#define DEAD 3
byte count, own; bool flag; /* the lock word */
#define REST (count*2+flag)
byte st=LIVE, gen=1, owner=1; /* the owner word of slot 1; owner: 1 D, 4 N */
byte record;                /* of slot 1: 1 = the bucket is about to be locked, or is */
bool dead[5];               /* only D dies */
byte inside;                /* ghost: the process in the critical section, dead or alive */
bool Dend; byte ndone;
#ifdef FALSE
#define DIES !dead[1] -> dead[1]=1
#define MINE (st==LIVE && gen==1)
#else
#define DIES dead[1]=1; goto stop
#define MINE 1
#endif
#define STEP atomic { if :: DIES :: 1 fi; 
#ifdef M_NO_COUNT
#define MOVE flag=0
#else
#define MOVE count++; flag=0
#endif
#ifdef M_HOLDER_ONLY
#define SAME (own==o)
#else
#define SAME (own==o && REST==s)
#endif
#define ENTER(p) assert(inside==0 || dead[inside]); inside=p
#define LEAVE(p) assert(inside==p); inside=0

#ifdef M_TAKE_BLIND
#define KEPT 1
#else
#define KEPT MINE
#endif
#ifdef M_LEAVE_BLIND
#define LOOK 1
#else
#define LOOK MINE
#endif
#ifdef M_LEAVE_HOLDER
#define WORD (own==1)
#else
#define WORD (own==1 && REST==c)
#endif
proctype D() { byte n=DOPS, c; bool ok;
  do
  :: n==0 -> Dend=1; break
  :: else -> n--;
#ifdef FALSE
     if :: atomic { !MINE -> Dend=1; goto stop } :: atomic { MINE -> skip } fi;
#endif
#ifndef M_RECORD_LATE
     STEP record=1 };
#endif
#ifdef FALSE
     do
     :: atomic { own==0 -> own=1; ok=1; c=count; break }
     :: atomic { DIES }
     :: atomic { own!=0 && dead[1] -> ok=0; break }      /* it gives up */
     od;
     if
     :: ok ->
        STEP ok=KEPT; if :: MINE && own==1 -> ENTER(1) :: else fi };
        if
        :: ok
        :: else -> atomic { if :: own==1 && count==c -> own=0; MOVE :: else fi }; Dend=1; goto stop
        fi
     :: else -> Dend=1; goto stop
     fi;
#else
     atomic { if :: DIES :: own==0 -> own=1; ENTER(1) fi };
#endif
#ifdef M_RECORD_LATE
     STEP record=1 };
#endif
#ifdef FALSE
     do
     ::
#ifdef M_LEAVE_EARLY
        STEP ok=LOOK };
        STEP ok=(ok && own==1); c=REST };
#else
        STEP ok=(own==1); c=REST };
        if :: ok -> STEP ok=LOOK } :: else fi;
#endif
        if :: !ok -> break :: else fi;
        STEP if :: WORD -> LEAVE(1); own=0; MOVE; ok=0 :: else fi };
        if :: !ok -> break :: else fi
     od;
     STEP if :: MINE -> record=0 :: else fi }
#else
     STEP assert(own==1); LEAVE(1); own=0; MOVE };
     STEP record=0 }
#endif
  od;
stop: atomic { c=0; ok=0; ndone++ } }

/* recover.c, for slot 1. */
inline recover() {
  atomic { g=gen; e=st; p=owner };
  if
  :: (e==DEAD) || (e==LIVE && dead[p]) ->
#ifdef M_NOGEN
     atomic { if :: st==LIVE -> st=DEAD; g=gen :: st==DEAD -> g=gen :: else -> g=0 fi };
#else
     atomic { if :: st==LIVE && gen==g -> st=DEAD :: st==DEAD && gen==g :: else -> g=0 fi };
#endif
#ifdef M_REUSE_EARLY
     atomic { if :: g!=0 && st==DEAD && gen==g -> st=FREE :: else fi };
#endif
     if
     :: g==0
     :: else ->
        if
        :: record!=0 ->
           do
           :: atomic { o=own; s=REST };
              if :: o!=1 -> break :: else fi;
#ifdef M_OWNER_FIRST
              if :: 1 ->
#elif !defined(M_NO_OWNER)
              if :: !(gen==g && st==DEAD) -> g=0; break
                 :: else ->
#else
              if :: 1 ->
#endif
              fi;
              atomic { if :: SAME -> assert(inside==0 || dead[inside]); own=0; inside=0; MOVE; break :: else fi }
           od
        :: else
        fi;
#ifdef M_FREE_STORE
        if :: g!=0 -> st=FREE :: else fi
#else
        atomic { if :: g!=0 && st==DEAD && gen==g -> st=FREE :: else fi }
#endif
     fi
  :: else
  fi;
  e=0; p=0; g=0; o=0; s=0
}
proctype F() { byte n=FOPS, o, s, g, e, p;
  do
  :: n==0 -> break
  :: else -> n--;
again:
     atomic { if :: own==0 -> own=2; ENTER(2) :: own!=0 -> goto held fi };
     atomic { assert(own==2); LEAVE(2); own=0; MOVE };
     goto next;
held:
     if :: own==1 && (dead[owner] || st==DEAD) -> recover() :: own!=1 fi;   /* else it sleeps and looks again */
     goto again;
next: skip
  od;
  ndone++ }
proctype G() { byte o, s, g, e, p;
  if :: Dend :: st==FREE || gen>1 :: (dead[1] && st==LIVE && gen==1) || st==DEAD -> recover() fi;
  ndone++ }
proctype T() { flag=1; ndone++ }
proctype N() {
  if :: Dend -> goto stop :: atomic { st==FREE -> st=CLAIMING; gen++; owner=4 } fi;
  record=0;
  st=LIVE;
  record=1;
  atomic { own==0 -> own=1; ENTER(4) };
  atomic { assert(own==1); LEAVE(4); own=0; MOVE };
  record=0;
  assert(st==LIVE && gen==2);      /* the live client still has its slot */
stop: ndone++ }
/* The next recovering process, later. */
proctype Last() { byte o, s, g, e, p;
  ndone==5 -> recover();
  assert(own==0 && inside==0) }
init { atomic { run D(); run F(); run G(); run T(); run N(); run Last() } }
