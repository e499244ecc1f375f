/* spans.pml: spans of two pages: opened and closed page word by page word, with no lock, while others allocate in them and take
 * single pages; with deaths. The protocol of span.h.
 *
 * WHAT  NP pages. O opens a span of two pages; C and D close the span they find, and give its pages back to the system; A
 *   allocates a block in a span it finds, and frees it; S takes one page for a value, as an opener of a large block does; F and G
 *   are finders; Last is a finder that comes when nothing else can move. At first pages 0 and 1 are a span.
 * WORDS page[p]: 0 free, t taken by number t, SPAN+t the first page of the open span of number t (its other pages say t). m[p]:
 *   one block a page: FREEW(t), a life q, or bytes of a value (0). info[p]: what the span's opener wrote beside the page word.
 * STEPS  span.c take_words, shms_span_open, free_words, shms_span_close, give_back_more (a single page that is taken, given back,
 *   and freed), shms_span_settle; shms_span_at; heap.c take, shms_heap_end.
 * OPEN  record (p,2,t,t); words 0 -> t, ascending (a conflict: undone, descending); infos; m[..] = FREEW(t); first page t -> SPAN+t.
 * CLOSE record (p,2,r,t); every block FREEW(t) -> r (a failure: undone); first page SPAN+t -> r; pages given back; others t -> 0,
 *       descending; first page r -> 0.
 * FINDER of a record (p,n,r,f): first page is SPAN+f: every block r -> FREEW(f). First page is r: others f -> 0, descending, then
 *       the first page -> 0.
 * BOUNDS one operation each; at most NCR deaths in CR (2 A, 4 O, 8 C, 16 S, 32 F, 64 G, 128 D), each before any step.
 * LEFT OUT  The hints, `present` and `idle`; how a page finds its span's first page; check and repair. The finder's record is read
 *   in one step (blocks.pml shows [record-then-owner]).
 * PROPERTIES  A block that was handed out is in a span, and is nobody else's. What S wrote stays. In the end every page is free,
 *   or belongs to a whole span of free blocks.
 * MUTATIONS M_HEAD_EARLY the first page says open before infos and words are written; M_RECORD_LATE the record after the first page
 *   was taken; M_STORE a page is taken by a store; M_SAME_FREE free blocks of all spans have the same word; M_SOME a span is closed
 *   although one of its blocks was in use; M_GIVE_LATE pages go back after they were freed; M_FINDER_GIVES a finder gives pages back;
 *   M_NO_UNDO a finder leaves a closer's blocks; M_NO_PAGES it leaves pages; M_INNER_FIRST other pages go free before the first page
 *   has changed; M_HEAD_FIRST the first page goes free before the others; M_BLIND a finder frees the pages whatever the first one
 *   says; M_RECORD_EARLY the closer's record is cleared before the pages are free. */
#ifndef NP
#define NP 3
#endif
#define SPAN 128
#define ISSPAN(w) ((w)>=SPAN)
#ifdef M_SAME_FREE
#define FREEW(t) 200
#else
#define FREEW(t) (200+(t))
#endif
#ifndef CR
#define CR 0
#endif
#ifndef NCR
#define NCR 0
#endif
#ifndef WITHALLOC
#define WITHALLOC 1
#endif
#ifndef WITHOPEN
#define WITHOPEN 1
#endif
#ifndef WITHSINGLE
#define WITHSINGLE 1
#endif
#ifndef WITHF
#define WITHF 0
#endif
#ifndef WITHG
#define WITHG 0
#endif
#ifndef WITHD
#define WITHD 0
#endif
#define NPROC (WITHALLOC+WITHOPEN+1+WITHSINGLE+WITHF+WITHG+WITHD)
byte page[NP+1], m[NP+1], info[NP+1];
byte rb[8], rq[8], rp[8], rn[8], rr[8], rf[8], st[8];
byte vid=1, g[NP+1];
bool dead[8]; byte ncr, ndone; bool hopeless;
#define DIES (((CR>>me)&1) && ncr<NCR) -> dead[me]=1; ncr++; goto stop
#define P atomic { if :: DIES :: 1 fi;

proctype Alloc() { byte me=1;
  byte h, t, b, q, i; bool won;
  if :: h=0 :: h=1 fi;
  P t=page[h] };
  if :: !ISSPAN(t) -> goto out :: else -> t=t-SPAN fi;
  P i=info[h] };
  if :: b=h :: b=h+1 fi;
  P vid++; q=vid };
  P rq[me]=q; rb[me]=b+1 };
  P if :: m[b]==FREEW(t) -> m[b]=q; won=1; assert(page[h]==SPAN+t && i==t && g[b]==0 && page[b]!=0); g[b]=me :: else fi };
  if
  :: won ->
     P assert(m[b]==q && g[b]==me) };
     P assert(m[b]==q); m[b]=FREEW(t); g[b]=0; assert(page[h]==SPAN+t) }
  :: else
  fi;
  P rb[me]=0 };
out: skip;
stop: atomic { h=0; t=0; b=0; q=0; i=0; won=0; ndone++ }
}
proctype Opener() { byte me=2;
  byte p, t, n, i; bool won;
  if :: p=0 :: p=1 fi;
  P vid++; t=vid };
  P rr[me]=t; rf[me]=t; rn[me]=2 };
#ifndef M_RECORD_LATE
  P rp[me]=p+1 };
#endif
  do :: n==2 -> break
     :: else ->
#ifdef M_STORE
     P won=(page[p+n]==0) }; if :: won -> P page[p+n]=t } :: else fi;
#else
     P if :: page[p+n]==0 -> page[p+n]=t; won=1 :: else -> won=0 fi };
#endif
#ifdef M_RECORD_LATE
     P rp[me]=p+1 };
#endif
     if :: won -> n++ :: else -> break fi od;
  if
  :: n<2 -> do :: n==0 -> break :: else -> n--; P assert(page[p+n]==t); page[p+n]=0 } od
  :: else ->
#ifdef M_HEAD_EARLY
     P page[p]=SPAN+t };
#endif
     P info[p]=t };
     i=0;
     do :: i==2 -> break :: else -> P assert(g[p+i]==0); m[p+i]=FREEW(t) }; i++ od;
#ifndef M_HEAD_EARLY
     P assert(page[p]==t && page[p+1]==t); page[p]=SPAN+t }
#endif
  fi;
  P rp[me]=0 };
stop: atomic { p=0; t=0; n=0; i=0; won=0; ndone++ }
}
proctype Closer(byte me) {
  byte p, t, r, i; bool all;
  if :: p=0 :: p=1 fi;
  P t=page[p] };
  if :: !ISSPAN(t) -> goto out :: else -> t=t-SPAN fi;
  P vid++; r=vid };
  P rr[me]=r; rf[me]=t; rn[me]=2 }; P rp[me]=p+1 };
  all=1; i=0;
  do :: i==2 || !all -> break
     :: else -> P if :: m[p+i]==FREEW(t) -> m[p+i]=r; assert(g[p+i]==0); g[p+i]=me :: else -> all=0 fi }; i++ od;
#ifdef M_SOME
  all=1;
#endif
  if
  :: all ->
#ifdef M_INNER_FIRST
     P if :: page[p+1]==t -> page[p+1]=0 :: else fi };
#endif
     P assert(page[p]==SPAN+t); page[p]=r; g[p]=0; g[p+1]=0 };
#ifdef M_RECORD_EARLY
     P rp[me]=0 };
#endif
#ifndef M_GIVE_LATE
     i=0; do :: i==2 -> break :: else -> P m[p+i]=0 }; i++ od;
#endif
#ifdef M_HEAD_FIRST
     P if :: page[p]==r -> page[p]=0 :: else fi };
#endif
     P if :: page[p+1]==t -> page[p+1]=0 :: else fi };
#ifdef M_GIVE_LATE
     P m[p+1]=0 };
#endif
     P if :: page[p]==r -> page[p]=0 :: else fi }
  :: else ->
     i=0;
     do :: i==2 -> break :: else -> P if :: m[p+i]==r -> m[p+i]=FREEW(t); g[p+i]=0 :: else fi }; i++ od
  fi;
  P rp[me]=0 };
out: skip;
stop: atomic { p=0; t=0; r=0; i=0; all=0; ndone++ }
}
proctype Single() { byte me=4;
  byte p, q; bool won;
  if :: p=0 :: p=1 :: p=2 fi;
  P vid++; q=vid };
  P rr[me]=q; rf[me]=q; rn[me]=1 }; P rp[me]=p+1 };
  P if :: page[p]==0 -> page[p]=q; won=1 :: else fi };
  if
  :: won ->
     P m[p]=77 };
     P assert(page[p]==q && m[p]==77) };
     P assert(page[p]==q && m[p]==77); page[p]=0 }
  :: else
  fi;
  P rp[me]=0 };
stop: atomic { p=0; q=0; won=0; ndone++ }
}
inline recover(c) {
  P b=rb[c]; r=rq[c] };
  if
  :: b!=0 -> b--;
     P w=m[b] };
     if
     :: w==r ->
        /* the head of its span: spans begin at multiples of their size in the store; here: whichever of the two is a head */
        P f=(ISSPAN(page[b]) -> page[b]-SPAN : page[b]) };
        P if :: m[b]==r -> assert(g[b]==c); m[b]=FREEW(f); g[b]=0 :: else fi }
     :: else
     fi
  :: else
  fi;
  P b=rp[c]; n=rn[c]; r=rr[c]; f=rf[c] };
  if
  :: b!=0 -> b--;
     P w=page[b] };
     if
#ifndef M_NO_UNDO
     :: w==SPAN+f -> i=0; do :: i==n -> break :: else -> P if :: m[b+i]==r -> m[b+i]=FREEW(f); g[b+i]=0 :: else fi }; i++ od
#endif
#ifdef M_NO_PAGES
#elif defined(M_BLIND)
     :: w!=SPAN+f ->
#else
     :: w==r ->
#endif
#ifndef M_NO_PAGES
#ifdef M_FINDER_GIVES
        i=0; do :: i==n -> break :: else -> P m[b+i]=0 }; i++ od;
#endif
        i=n; do :: i<=1 -> break :: else -> i--; P if :: page[b+i]==f -> page[b+i]=0 :: else fi } od;
        P if :: page[b]==r -> page[b]=0 :: else fi }
#endif
     :: else
     fi
  :: else
  fi;
  P st[c]=2 };
  b=0; n=0; r=0; f=0; w=0; i=0
}
proctype Finder(byte me) {
  byte c, b, n, r, f, w, i;
  do
  :: atomic { if :: DIES
        :: dead[1] && st[1]!=2 -> c=1 :: dead[2] && st[2]!=2 -> c=2 :: dead[3] && st[3]!=2 -> c=3 :: dead[4] && st[4]!=2 -> c=4
        :: dead[7] && st[7]!=2 -> c=7
        :: hopeless -> break fi };
     recover(c);
     if :: c=0 :: break fi
  od;
stop: atomic { c=0; b=0; n=0; r=0; f=0; w=0; i=0; ndone++ }
}
proctype Last() {
  byte c, b, n, r, f, w, i; byte me=0;
  timeout -> hopeless=1;
  if :: timeout :: ndone==NPROC fi;
  assert(ndone==NPROC);
  c=1;
  do :: c>7 -> break :: c==5 || c==6 -> c++ :: else -> if :: dead[c] -> recover(c) :: else fi; c++ od;
  atomic {
    c=0;
    do :: c>=NP -> break
       :: c<NP && page[c]==0 -> c++
       :: c<NP && ISSPAN(page[c]) -> f=page[c]-SPAN; assert(page[c+1]==f && m[c]==FREEW(f) && m[c+1]==FREEW(f)); c=c+2
       :: else -> assert(0)
    od
  };
stop: skip
}
init { atomic {
  page[NP]=250;
#ifndef EMPTY
  page[0]=SPAN+1; page[1]=1; info[0]=1; m[0]=FREEW(1); m[1]=FREEW(1);
#endif
#if WITHALLOC
  run Alloc();
#endif
#if WITHOPEN
  run Opener();
#endif
  run Closer(3);
#if WITHD
  run Closer(7);
#endif
#if WITHSINGLE
  run Single();
#endif
#if WITHF
  run Finder(5);
#endif
#if WITHG
  run Finder(6);
#endif
  run Last() } }
