/* near.pml: one key of a near cache: a copy in a host's store of what a server has, with a listener that removes it
 *
 * WHAT  The server's value is the number of writes to the key. A writer of another host writes WRITES times, a writer of this host
 *   PUTS times. Two readers of this host read READS and READS2 times. A listener applies what the server pushes. The connection
 *   of the listener is lost, or the listener dies and another one takes over, GAPS times, at any step. With FALSE, the first one
 *   was only held for dead: it goes on beside the second one, with its connection or without. DEATHS readers die, at any step.
 *   With ONCE, there is one beat for each connection.
 * STEPS  The entry is absent, a token or a value. A token and a value have a generation, and a token has an identity that is
 *   not used twice. The state is one entry: {term, generation, proved}. `proved` stands for valid_until: it is what the
 *   server's value was when the listener sent the beat that was answered, so at valid_until - B. A reader that finds
 *   valid_until passed goes past the store; here it may do so at any time, PASSES times.
 *   Reader: 1 read the state; 2 read the entry: a hit if the generation is that of the state; 3 put a token over what was read,
 *   or wait for the token of a live reader; 4 GET; 5 exchange the token for the value, or else delete the entry; return.
 *   Put: write to the server, delete the entry. Listener: 1 tracking on; 2 send a beat, get the answer; 3 write the state
 *   with a new term and generation; then beats, and a new `proved` for each one that is answered, while the term is its own.
 * SERVER  One iteration of its event loop: it polls, executes what it found, and pushes at the end. So an answer can be
 *   sent before the push of a write that was executed before it, but only if that write came after the beat was sent.
 * BOUNDS  Each call on the store is one step: linearizable (table.pml). Connections keep their order. There is no failover.
 * PROPERTIES  A hit is at least as new as `proved` of the state by which it is valid: the bound on staleness. No read
 *   that begins after a read or a put of this host has ended is older than that. When all has come to rest, no valid entry is
 *   stale. Nothing waits for ever (no invalid end state).
 * MUTATIONS  M_NO_TOKEN (a reader stores what it fetched, whatever happened meanwhile) M_NO_IDENTITY (any token will do)
 *   M_PUT_STORES (a put stores its value) M_REFUSED_KEEPS (a fetch whose store is refused leaves the entry) M_PASS_KEEPS (the same
 *   of a read that goes past the store) M_DELETE_FIRST (a put deletes before it writes) M_CHECK_AFTER (the state is read after
 *   the entry) M_GENERATION_LATE (the entry gets the generation of the moment when it is stored) M_TRACK_LATE (the state is written
 *   before tracking is on) M_VALID_FIRST (valid, then the generation) M_TIMER (a beat counts without an answer)
 *   M_NO_RAISE (a new connection keeps the generation) M_NO_TERM (FALSE: the first listener writes the state, too)
 *   M_NO_TAKEOVER (DEATHS: waits for the token of a dead reader) M_PUSH_LATE (a server that answers before pushes of former
 *   iterations) */
#ifndef WRITES
#define WRITES 1
#endif
#ifndef PUTS
#define PUTS 0
#endif
#ifndef READS
#define READS 2
#endif
#ifndef READS2
#define READS2 1
#endif
#ifndef GAPS
#define GAPS 0
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef PASSES
#define PASSES 0
#endif
#ifdef ONCE
#define MORE 0
#else
#define MORE 1
#endif
#define ABSENT 0
#define TOKEN 1
#define VALUE 2
#define INV 0
#define PONG 1

byte val;                                /* the server's */
bool pushes[2];                          /* to each connection, at the end of this iteration */
bool on[2], beat[2], polled[2];          /* tracking; a beat was sent; the server has seen it */
chan stream0 = [4] of { bit };
chan stream1 = [4] of { bit };
byte kind, value, gen, owner, id;        /* the entry */
byte term, now_gen, proved; bool valid;  /* the state */
byte seen, deaths, ended, gaps, passes;
bool dead[2], steady[2];

inline write() { val++; pushes[0] = on[0]; pushes[1] = on[1] }
inline remove() { kind = ABSENT; value = 0; gen = 0; owner = 0; id = 0 }

/* ---- the server */
inline flush(c, stream) { if :: pushes[c] -> stream!INV; pushes[c] = 0 :: else fi }
inline poll(c) { if :: beat[c] -> polled[c] = 1 :: else fi }
active proctype Server() {
end:
  do
  :: atomic {
       ((pushes[0] || pushes[1] || (beat[0] && !polled[0]) || (beat[1] && !polled[1])) && nfull(stream0) && nfull(stream1)) ->
#ifdef M_PUSH_LATE
       if :: flush(0, stream0); flush(1, stream1) :: skip fi;
#else
       flush(0, stream0); flush(1, stream1);
#endif
       poll(0); poll(1)
     }
  :: atomic { polled[0] && nfull(stream0) -> stream0!PONG; polled[0] = 0; beat[0] = 0 }
  :: atomic { polled[1] && nfull(stream1) -> stream1!PONG; polled[1] = 0; beat[1] = 0 }
  od
}

/* ---- another host */
active proctype Writer() {
  byte n;
  do
  :: n == WRITES -> break
  :: else -> atomic { write(); n++ }
  od;
  ended++
}

/* ---- this host */
active proctype Putter() {
  byte n, mine;
  do
  :: n == PUTS -> break
  :: else ->
#ifdef M_DELETE_FIRST
     atomic { remove() };
     atomic { write(); mine = val };
#else
     atomic { write(); mine = val };
#ifdef M_PUT_STORES
     atomic { kind = VALUE; value = mine; gen = now_gen; owner = 0; id = 0 };
#else
     atomic { remove() };
#endif
#endif
     atomic { if :: mine > seen -> seen = mine :: else fi; n++; mine = 0 }
  od;
  ended++
}

#define MAYDIE if :: atomic { deaths < DEATHS -> deaths++; dead[me] = 1; goto out } :: skip fi
#define LOOK atomic { k = kind; x = value; g = gen; w = owner; i = id }
#define STATE atomic { low = seen; s_gen = now_gen; s_proved = proved; s_valid = valid }
/* Has the entry changed since the look? A value that is there again is the same to this reader. */
#define SAME (k == kind && x == value && g == gen && w == owner && i == id)
proctype Reader(byte me; byte reads) {
  byte n, low, got, s_gen, s_proved, k, x, g, w, i; bool s_valid;
  do
  :: n == reads -> break
  :: else ->
again:
#ifdef M_CHECK_AFTER
     LOOK; STATE;
#else
     STATE; LOOK; /* 1, 2 */
#endif
     if
     :: atomic { !s_valid -> goto pass }
     :: atomic { s_valid && passes < PASSES -> passes++; goto pass }
     :: atomic { s_valid && k == VALUE && g == s_gen -> got = x; assert(got >= s_proved); goto done }
     :: atomic { s_valid && k == TOKEN && w != me -> /* 3: wait */
        if
        :: !SAME -> goto forget
#ifndef M_NO_TAKEOVER
        :: dead[w]
#endif
        fi }
     :: atomic { s_valid && !(k == VALUE && g == s_gen) && !(k == TOKEN && w != me) }
     fi;
     MAYDIE;
#ifndef M_NO_TOKEN
     atomic {
       if
       :: SAME -> kind = TOKEN; value = 0; gen = s_gen; owner = me; id = n + 1
       :: else -> goto forget
       fi
     };
#endif
     MAYDIE;
     got = val; /* 4 */
     MAYDIE;
     atomic { /* 5 */
       if
#ifdef M_NO_TOKEN
       :: true ->
#else
#ifdef M_NO_IDENTITY
       :: kind == TOKEN ->
#else
       :: kind == TOKEN && owner == me && id == n + 1 ->
#endif
#endif
          kind = VALUE; value = got; owner = 0; id = 0;
#ifdef M_GENERATION_LATE
          gen = now_gen;
#else
          gen = s_gen;
#endif
          goto done
       :: else
       fi
     };
     MAYDIE;
#ifndef M_REFUSED_KEEPS
     atomic { remove(); goto done };
#endif
     goto done;
pass:
     got = val;
#ifndef M_PASS_KEEPS
     atomic { remove(); goto done };
#endif
done: atomic {
       assert(got >= low);
       if :: got > seen -> seen = got :: else fi;
       n++; low = 0; got = 0; k = 0; x = 0; g = 0; w = 0; i = 0; s_gen = 0; s_proved = 0; s_valid = 0; goto next
     };
forget: atomic { k = 0; x = 0; g = 0; w = 0; i = 0; goto again };
next: skip
  od;
out: ended++
}

/* The stream of this connection ends, with all that is in it. */
inline cut(c, stream) {
  on[c] = 0; pushes[c] = 0; beat[c] = 0; polled[c] = 0; steady[c] = 0;
  do :: nempty(stream) -> stream?_ :: empty(stream) -> break od
}
proctype Listener(byte me; chan stream) {
  byte mine, sent, own_gen; bool asked;
start:
#ifdef M_TRACK_LATE
  atomic { term++; mine = term; now_gen++; own_gen = now_gen; proved = val; valid = 1 };
#endif
  on[me] = 1; /* 1 */
end:
  do
  :: atomic { on[me] && !asked && (mine == 0 || (MORE && sent != val)) -> sent = val; beat[me] = 1; asked = 1 } /* 2, where it changes something */
#ifdef M_TIMER
  :: atomic { mine && mine == term && asked && proved != val -> proved = val }
#endif
  :: atomic { stream?INV -> remove() }
  :: atomic { stream?PONG -> asked = 0; goto answered }
  :: atomic { gaps < GAPS -> gaps++; cut(me, stream); mine = 0; sent = 0; own_gen = 0; asked = 0; goto start }
  od;
answered:
#ifdef FALSE
  skip; /* others go on before the next step */
#endif
  atomic {
    if
    :: mine == 0 -> /* 3 */
       term++; mine = term; proved = sent; valid = 1; steady[me] = on[me];
#ifdef M_VALID_FIRST
       goto late
#else
#ifndef M_NO_RAISE
       now_gen++;
#endif
       own_gen = now_gen; goto end
#endif
#ifdef M_NO_TERM
    :: mine != 0 -> proved = sent; now_gen = own_gen; goto end
#else
    :: mine != 0 && mine == term -> proved = sent; goto end
    :: mine != 0 && mine != term -> cut(me, stream); goto gone
#endif
    fi
  };
#ifdef M_VALID_FIRST
late: atomic { now_gen++; own_gen = now_gen; goto end };
#endif
gone: skip
}

#ifdef FALSE
/* The first listener is held for dead. Its connection may be lost, which it does not see before it goes on. */
active proctype Takeover() {
  atomic { term > 0 -> if :: cut(0, stream0) :: skip fi; run Listener(1, stream1) }
}
#endif

active proctype Rest() {
  atomic { run Listener(0, stream0); run Reader(0, READS); run Reader(1, READS2) };
  atomic {
    ended == 4 && (steady[0] || steady[1]) && empty(stream0) && empty(stream1) && !pushes[0] && !pushes[1] ->
    assert(!(valid && kind == VALUE && gen == now_gen) || value == val)
  }
}
