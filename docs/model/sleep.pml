/* sleep.pml: sleeping on a bucket's count, for its lock or for a change of a key
 *
 * WHAT  D holds the lock, may publish, and releases. W1 and W2 want the lock. C waits for the value (wait.c). T moves
 *   the count without holding the lock, as a takeover does. The word is count, waiters flag and holder. With DIE, D may die
 *   before it releases, or between release and wake. Then sleeps are bounded (TIMED) and end in another look.
 * STEPS  lock.h shms_lock_try, shms_unlock_with_reach, and recover.c release_lock (exchange, then wake: two steps);
 *   shms_await (word, flag by exchange, futex: three steps); wait.c shms_wait (word, look, flag, futex).
 * BOUNDS  Each lock waiter takes the lock once. The futex compares only the count, as in the kernel.
 * PROPERTIES  Without deaths and without bounded sleeps, no process sleeps for ever (no invalid end state).
 * MUTATIONS  M_NO_COUNT (a release does not move the count) M_FLAG_LATE (the flag after the last look at the count)
 *   M_WAKE_BLIND (the release drops the flag and does not wake) M_LOOK_FIRST (wait looks at the value before the word)
 *   M_DIE_UNTIMED (DIE without TIMED) */
byte count, own=9, val; bool flag;
bool asleep[4]; byte at[4]; bool dd;
#ifdef M_NO_COUNT
#define MOVE skip
#else
#define MOVE count++
#endif
#ifdef M_DIE_UNTIMED
#define DIE
#undef TIMED
#endif
#ifdef DIE
#define DIESD if :: 1 :: dd=1; goto out fi
#else
#define DIESD skip
#endif
#ifdef M_WAKE_BLIND
#define WAKE fl=0
#else
#define WAKE if :: fl -> d_step { asleep[1]=0; asleep[2]=0; asleep[3]=0; fl=0 } :: else fi
#endif
inline unlock() { atomic { fl=flag; flag=0; own=0; MOVE } }
/* futex_wait on count k; a bounded one may end at any time when nothing else moves */
inline futex(k) {
  atomic { if :: count==k -> asleep[me]=1 :: else fi };
#ifdef TIMED
  if :: !asleep[me] :: timeout -> asleep[me]=0 fi
#else
  !asleep[me]
#endif
}
proctype D() { bool fl; byte me=0;
  if :: val=1 :: 1 fi;
  DIESD; unlock(); DIESD; WAKE;
  if :: val==0 -> atomic { own==0 -> own=9 }; val=1; DIESD; unlock(); DIESD; WAKE :: else fi;
out: skip }
proctype W(byte me) { byte s; bool fl, o;
  do
  :: atomic { if :: own==0 -> own=me; break :: own==9 && dd -> own=0; MOVE; flag=0; asleep[1]=0; asleep[2]=0; asleep[3]=0; s=255 :: else -> s=count fi };
     if
     :: s==255 -> s=0
     :: else ->
#ifdef M_FLAG_LATE
        atomic { if :: own!=0 -> skip :: else -> goto next fi }; s=count; futex(s); flag=1;
#else
        /* the flag goes into the word whose count is slept on */
        atomic { if :: own!=0 && count==s -> flag=1; o=1 :: else -> o=0 fi };
        if :: o -> futex(s) :: else fi;
#endif
     fi;
next: s=0; o=0
  od;
  unlock(); WAKE;
  s=0
}
proctype C() { byte s, v, me=3; bool o;
  do
  :: 
#ifdef M_LOOK_FIRST
     v=val; s=count;
#else
     s=count; v=val;
#endif
     if :: v==1 -> break :: else fi;
#ifdef DIE
     if :: dd && own==0 -> break :: else fi;
#endif
     atomic { if :: count==s -> flag=1; o=1 :: else -> o=0 fi };
     if :: o -> futex(s) :: else fi
  od
}
proctype T() { bool fl; atomic { fl=flag; flag=0; MOVE }; WAKE }
init { atomic { run D(); run W(1); run W(2); run C(); run T() } }
