/* told.pml: a thread sleeps on a bucket for a key that does not change, and something else ends its wait
 *
 * WHAT  S waits. One of these happens: E evicts the tag of its entry; L, the owner of the lock, leaves, or the store ends (the
 *   same steps); P closes the handle, or learns that the owner has died. Two writers W lock the bucket and release it, for other
 *   keys. The bucket's word is count, flag and holder; the word of evictions is a number and a bit.
 * STEPS  wait.c shms_wait, from the note of the pokes by its caller to the sleep; generations.c announce (exchange, wake: two
 *   steps); sleepers.c shms_wake_everybody (load, count, wake: three steps) and shms_poke (with the lock of the list).
 * BOUNDS  One sleeper and one event. Each writer releases once. The futex compares the words, as in the kernel.
 * PROPERTIES  S ends (no invalid end state).
 * MUTATIONS  M_NOTE_LATE (the pokes are noted after the look at what a poke announces) M_OWNER_FIRST (S looks at the owner before it
 *   sets the flag) M_WAKE_ONLY (L wakes and does not move the count) M_TOUCH_ONLY (P wakes and does not move the count)
 *   M_BIT_BLIND (S sets the bit without comparing the number) M_COUNT_FIRST (E counts the eviction before it moves the counter)
 *   M_JOIN_BLIND (S joins the list without comparing the pokes) M_NO_FLAG (S sleeps on the word of evictions without the bit) */
byte count, evictions, pokes; bool flag, held, sleeps, listed, listlock;
bool evicted, left, closed, asleep;

/* A count moves if no client holds the lock. Otherwise the holder's release moves it, and sees the flag. */
inline touch() { atomic { if :: !held -> count++ :: else fi }; asleep=0 }
proctype S() { byte c, e, p; bool o;
again:
#ifdef M_NOTE_LATE
  if :: closed -> goto done :: else fi; p=pokes;
#else
  p=pokes; if :: closed -> goto done :: else fi;
#endif
look:
  c=count; e=evictions;
  if :: evicted -> goto done :: else fi;
  if :: p!=pokes -> goto again :: else fi;
#ifdef M_OWNER_FIRST
  if :: left -> goto done :: else fi;
#endif
  atomic { if :: count==c -> flag=1; o=1 :: else -> o=0 fi };
  if :: !o -> goto look :: else fi;
#ifdef M_BIT_BLIND
  atomic { sleeps=1; e=evictions };
#else
#ifndef M_NO_FLAG
  atomic { if :: evictions==e -> sleeps=1; o=1 :: else -> o=0 fi };
  if :: !o -> goto look :: else fi;
#endif
#endif
#ifndef M_OWNER_FIRST
  if :: left -> goto done :: else fi;
#endif
  atomic { !listlock;
#ifndef M_JOIN_BLIND
    if :: p==pokes -> listed=1; o=1 :: else -> o=0 fi };
#else
    listed=1; o=1 };
#endif
  if :: !o -> goto again :: else fi;
  atomic { if :: count==c && evictions==e -> asleep=1 :: else fi };
  !asleep;
  atomic { !listlock; listed=0 };
  goto look;
done: skip }
proctype W() { bool fl; atomic { !held -> held=1 }; atomic { fl=flag; flag=0; held=0; count++ }; if :: fl -> asleep=0 :: else fi }
proctype E() { bool b;
#ifdef M_COUNT_FIRST
  atomic { evictions++; b=sleeps; sleeps=0 }; if :: b -> asleep=0 :: else fi; evicted=1
#else
  evicted=1; atomic { evictions++; b=sleeps; sleeps=0 }; if :: b -> asleep=0 :: else fi
#endif
}
proctype L() { left=1;
#ifdef M_WAKE_ONLY
  if :: flag -> asleep=0 :: else fi
#else
  if :: flag -> touch() :: else fi
#endif
}
proctype P() { closed=1; atomic { !listlock -> listlock=1 }; pokes++;
#ifdef M_TOUCH_ONLY
  if :: listed -> asleep=0 :: else fi;
#else
  if :: listed -> touch() :: else fi;
#endif
  listlock=0
}
init { atomic { run S(); run W(); run W(); if :: run E() :: run L() :: run P() fi } }
