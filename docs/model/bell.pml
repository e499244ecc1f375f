/* bell.pml: one process waits for keys in two buckets, asleep on the bell
 *
 * WHAT  W writers change bucket 0 or 1; two of them make what is awaited. T is the thread that sleeps on the bell, and sets
 *   the descriptor `ev` of L, the event loop that waits. With DIE, a writer may die after any step. Then L looks at everything
 *   now and then, and T wakes by itself (TIMED).
 * STEPS  bell.c ring (exchange, log, wake: three steps) after the release; shms_bell_heard; shms_bell_may_sleep and the futex
 *   (two steps); wait.c shms_wait_announce (word, look, flag); listening.py _heard.
 * BOUNDS  Three writers with one change each; FEW: the two that are awaited. The log has LOG entries, so that it is overrun.
 * PROPERTIES  L sees both changes (no invalid end state).
 * MUTATIONS  M_RING_FIRST (the ring before the release) M_NOTE_LATE (L notes the rings after its first looks) M_NO_FLAG (a
 *   bucket that is looked at again is not announced again) M_LOG_BLIND (an entry of the log is taken for the ring's without a look at
 *   its number) M_SLEEP_BLIND (T says that it sleeps without comparing the rings) M_LATE_READ (L clears the descriptor after
 *   it has read the log) M_DIE_UNTIMED (DIE without TIMED) */
#ifndef LOG
#define LOG 2
#endif
#ifdef M_DIE_UNTIMED
#define DIE
#undef TIMED
#endif
#ifdef DIE
#define DIES if :: 1 :: goto out fi
#else
#define DIES skip
#endif
byte count[2], val[2]; bool flag[2];
byte rings; bool sleeps; byte ring_of[LOG], bucket_of[LOG]; /* an entry is one word: read and written at once */
bool ev, asleep, fin[2];

inline release(b) { atomic { fl=flag[b]; flag[b]=0; count[b]++ } }
inline ring(b) {
  atomic { rings++; r=rings; sl=sleeps; sleeps=0 };
  DIES;
  d_step { ring_of[r % LOG]=r; bucket_of[r % LOG]=b };
  DIES;
  if :: sl -> asleep=0 :: else fi
}
proctype W(byte b; bool makes) { bool fl, sl; byte r;
  if :: makes -> val[b]=1 :: else fi;
#ifdef M_RING_FIRST
  fl=flag[b]; if :: fl -> ring(b) :: else fi; release(b);
#else
  release(b); DIES; if :: fl -> ring(b) :: else fi;
#endif
out: skip }
proctype T() { byte told; bool o;
  do
  :: rings!=told -> told=rings; ev=1
  :: rings==told ->
#ifdef M_SLEEP_BLIND
     atomic { told=rings; sleeps=1; o=1 };
#else
     atomic { if :: rings==told -> sleeps=1; o=1 :: else -> o=0 fi };
#endif
     if :: o -> atomic { if :: rings==told && sleeps -> asleep=1 :: else fi };
end_sleep: if :: !asleep
#ifdef TIMED
              :: timeout -> asleep=0
#endif
           fi
     :: else fi
  od
}
#ifdef M_NO_FLAG
#define ANNOUNCE if :: again -> skip :: else -> flag[x]=1 fi
#else
#define ANNOUNCE flag[x]=1
#endif
inline look(x) {
  o=0;
  do
  :: fin[x] || o -> s=0; v=0; o=0; break
  :: else -> s=count[x]; v=val[x];
     if :: v -> fin[x]=1
        :: else -> atomic { if :: count[x]==s -> ANNOUNCE; o=1 :: else fi }
     fi
  od
}
proctype L() { byte noted, now, i, s, v, e, b; bool o, all, again;
#ifndef M_NOTE_LATE
  noted=rings;
#endif
  look(0); look(1);
#ifdef M_NOTE_LATE
  noted=rings;
#endif
  again=1;
  do
  :: fin[0] && fin[1] -> break
  :: else ->
#ifdef TIMED
     if :: atomic { ev -> ev=0 } :: timeout -> all=1 fi;
#elif defined(M_LATE_READ)
     ev;
#else
     atomic { ev -> ev=0 };
#endif
     now=rings; i=noted+1;
     if :: now-noted>LOG -> all=1
        :: else ->
           do
           :: i<=now -> d_step { e=ring_of[i % LOG]; b=bucket_of[i % LOG] };
#ifdef M_LOG_BLIND
              e=i;
#endif
              if :: e==i -> look(b) :: else -> all=1 fi; i++
           :: else -> break
           od
     fi;
     if :: all -> look(0); look(1); all=0 :: else fi;
     noted=now; i=0; e=0; b=0;
#ifdef M_LATE_READ
     ev=0
#endif
  od
}
init { atomic { run T(); run L(); run W(0,1); run W(1,1);
#ifndef FEW
  run W(0,0)
#endif
} }
