/* expiry.pml: the due word of a group of buckets, and the reader's clock
 *
 * WHAT  Two slots of one group, one key each. Writers A and B put an entry that expires at a time (1, 3, or never),
 *   replace it, or touch it. S sweeps while the clock moves. R reads the key of slot 0. One writer may die anywhere;
 *   recovery then makes the group due at once.
 * STEPS  publish.c shms_op_publish, shms_op_touch: publish or store the expiry, then note; expire.c shms_expire_note
 *   (load, exchange: two steps, repeated), sweep (due word; each slot; take out; exchange), shms_expire_suspect from
 *   recover.c release_buckets, before the home lock is released; table.c shms_find (clock, expiry,
 *   shms_entry_unchanged).
 * BOUNDS  NOPS writes each, NSW sweeps; the clock goes from 0 to 4. PRE: R's entry exists at the start.
 * LEFT OUT  The width of the count. More groups. Home locks keep writers of one key apart, so A and B have a
 *   slot each. A touch is one step.
 * PROPERTIES  I11: when a writer is done, or has been recovered, an entry with an expiry lies in a group whose due time
 *   is not later. R says "absent" only if its entry had expired or was absent at some moment of its reading, and
 *   "present" only if it was present and not expired at one.
 * MUTATIONS  M_RAISE (the sweeper stores without comparing) M_NO_COUNT (a note does not move the count) M_NOTE_FIRST
 *   (the note before publishing) M_NO_SUSPECT (recovery makes nothing due) M_EXPIRY_FIRST (the expiry, then the clock)
 *   M_LATE_LOOK (the sweeper loads the word after the slots) */
#ifndef NOPS
#define NOPS 1
#endif
#ifndef NSW
#define NSW 2
#endif
#ifndef WITHB
#define WITHB 1
#endif
#ifndef CR
#define CR 0
#endif
byte due, count;               /* the due word: 0 none, else a time */
byte exp[2], there[2], life[2];/* entries: expiry (0 never), in the slot, sequence */
bool noted[2];                 /* ghost: its writer is through with it */
byte now; byte ndone; bool dead;
byte v;
/* ghosts of the reader's key */
bool reading, was_there, was_absent;
#define PRESENT (there[0] && (exp[0]==0 || exp[0]>now))
#define SEE if :: PRESENT -> was_there=1 :: else -> was_absent=1 fi
#define LESS(a,b) ((a)!=0 && (a)<(b))
#define P atomic { if :: CR && me==0 -> dead=1; goto died :: 1 fi;
/* I11, for entries that no writer is working on */
#define I11(i) (!noted[i] || !there[i] || exp[i]==0 || (due!=0 && due<=exp[i]))

inline note(t) {
  do
  :: P w=due; q=count };
     P if :: due==w && count==q -> if :: LESS(w,t) -> due=w :: else -> due=t fi;
#ifndef M_NO_COUNT
             count++;
#endif
             break
          :: else fi }
  od;
  w=0; q=0
}
proctype Writer(byte me) { byte e, w, q, n=NOPS;
  do
  :: n==0 -> break
  :: else -> n--;
     if :: e=0 :: e=1 :: e=3 fi;
#ifdef M_NOTE_FIRST
     if :: e -> note(e) :: else fi;
#endif
     if
     :: P d_step { noted[me]=0; there[me]=1; exp[me]=e; v++; life[me]=v; SEE } }      /* put */
     :: P if :: there[me] && (exp[me]==0 || exp[me]>now) -> d_step { noted[me]=0; exp[me]=e; SEE } :: else -> e=9 fi }  /* touch */
     fi;
     if
     :: e==9 -> e=0
     :: else ->
#ifndef M_NOTE_FIRST
        if :: e -> note(e) :: else fi;
#endif
        P noted[me]=1 }
     fi; e=0
  od;
  goto out;
died:
  w=0; q=0; e=0;
#ifdef M_NO_SUSPECT
  noted[0]=1;
#else
  goto suspect;     /* a recovering process does it, later: from here on these are its steps */
suspect:
  do
  :: w=due; q=count; atomic { if :: due==w && count==q -> due=(LESS(w,1) -> w : 1); count++; break :: else fi }
  od;
  noted[0]=1; w=0; q=0;
#endif
out: ndone++ }

proctype Sweeper() { byte w, q, i, e, l, first, n=NSW, t;
  do
  :: n==0 -> break
  :: else -> n--;
#ifndef M_LATE_LOOK
     atomic { w=due; q=count };
#endif
     t=now; i=0; first=0;
     do
     :: i==2 -> break
     :: else ->
        atomic { e=(there[i] -> exp[i] : 0); l=life[i] };
        if
        :: e!=0 && e<=t -> atomic { if :: there[i] && life[i]==l && exp[i]!=0 && exp[i]<=now && noted[i] -> there[i]=0; e=0; SEE :: else fi }
        :: else fi;
        if :: e!=0 -> if :: LESS(first,e) :: else -> first=e fi :: else fi;
        i++
     od;
#ifdef M_LATE_LOOK
     atomic { w=due; q=count };
#endif
     atomic {
#ifdef M_RAISE
       if :: 1 -> due=first; count++
#else
       if :: due==w && count==q -> due=first; count++ :: else
#endif
       fi };
     w=0; q=0; i=0; e=0; l=0; first=0; t=0
  od;
  ndone++ }
proctype Clock() { do :: now<4 -> d_step { now++; SEE } :: break od; ndone++ }
proctype Reader() { byte l, t, e;
  d_step { was_there=0; was_absent=0; SEE };
again:
  atomic { if :: !there[0] -> goto missed :: else -> l=life[0] fi };
#ifdef M_EXPIRY_FIRST
  e=exp[0];
  t=now;
#else
  t=now;
  e=exp[0];
#endif
  if :: !(there[0] && life[0]==l) -> goto again :: else fi;
  if :: e!=0 && e<=t -> goto missed :: else fi;
  assert(was_there); goto out;
missed:
  assert(was_absent);
out: atomic { l=0; t=0; e=0; ndone++ } }
proctype Last() { ndone==4+WITHB -> assert(I11(0) && I11(1)) }
/* At any moment: */
proctype Watch() { assert(I11(0) && I11(1)) }
init { atomic {
#ifdef PRE       /* R's entry is there, due at 1 */
  there[0]=1; exp[0]=1; v=1; life[0]=1; noted[0]=1; due=1; count=1;
#endif
  run Writer(0);
#if WITHB
  run Writer(1);
#endif
  run Sweeper(); run Clock(); run Reader(); run Last(); run Watch() } }
