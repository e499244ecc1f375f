/* machine.h: every execution of a tiny program under C11's release and acquire.
 *
 * An operational model with views (Kang, Hur, Lahav, Vafeiadis, Dreyer, "A promising semantics for relaxed-memory
 * concurrency", POPL 2017, without its promises). Each word is the list of all that was ever stored there; a view says
 * how far along each list somebody has got.
 *   load        may read any message not older than the process's view of that word; acquire: joins the message's view
 *   store       appends a message; release: with the process's view, relaxed: with the view at its last release fence
 *   exchange    reads the latest message only, and carries that message's view on (release sequences)
 *   seq_cst     exchange and load: acquire and release, and a load reads nothing older than the last such exchange of its word
 *   fences      acquire: joins the views of all that was read relaxed; release: see store; seq_cst: both, and joins
 *               with one view that all such fences share
 * WEAKER THAN C11 ALLOWS  Stores to one word are ordered as they were executed, and no load reads what is stored later in
 *   the execution (load buffering). Both only take executions away. So: an outcome found here exists in C11; an outcome not
 *   found may exist still, by load buffering alone. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { WORDS = 6, MESSAGES = 8, THREADS = 3, STEPS = 12, REGISTERS = 8 };
enum order { RLX, ACQ, REL, AR, SC };
enum kind { END, LOAD, STORE, CAS, ADD, FENCE, UNLESS };

struct step {
    enum kind kind;
    int word;  /* FENCE: none; UNLESS: the register */
    int value; /* STORE, ADD: it; CAS: expected; UNLESS: goes on only if the register holds it, else ends */
    int new;   /* CAS */
    enum order order;
    int into; /* LOAD, CAS, ADD: the register for what was read */
};
#define LOAD(w, o, r) {LOAD, w, 0, 0, o, r}
#define STORE(w, v, o) {STORE, w, v, 0, o, 0}
#define CAS(w, was, v, o, r) {CAS, w, was, v, o, r}
#define ADD(w, v, o, r) {ADD, w, v, 0, o, r}
#define FENCE(o) {FENCE, 0, 0, 0, o, 0}
#define UNLESS(r, v) {UNLESS, r, v, 0, RLX, 0}

struct view {
    uint8_t at[WORDS];
};
struct message {
    int value;
    struct view view;
};
struct word {
    int count;
    struct message messages[MESSAGES];
};
struct thread {
    int pc;
    struct view now, seen, fenced;
};
struct world {
    struct word words[WORDS];
    struct thread threads[THREADS];
    struct view sc, exchanged; /* by fences; by seq_cst exchanges: the last one of each word */
    int registers[REGISTERS];  /* -1: not read */
};
struct program {
    const char *name;
    struct step threads[THREADS][STEPS];
    int initial[WORDS];
    bool (*bad)(const struct world *); /* of a final world */
};

static inline void join(struct view *a, const struct view *b) {
    for (int i = 0; i < WORDS; i++)
        if (a->at[i] < b->at[i])
            a->at[i] = b->at[i];
}
static inline bool acquires(enum order o) { return o == ACQ || o == AR || o == SC; }
static inline bool releases(enum order o) { return o == REL || o == AR || o == SC; }

static inline void read_message(struct thread *t, int word, int at, const struct message *m, enum order o) {
    t->now.at[word] = (uint8_t)at;
    join(&t->seen, &m->view);
    if (acquires(o))
        join(&t->now, &m->view);
}
static inline void append(struct world *w, struct thread *t, int word, int value, enum order o,
                          const struct view *carried) {
    struct word *x = &w->words[word];
    if (x->count == MESSAGES)
        __builtin_trap();
    struct message *m = &x->messages[x->count];
    t->now.at[word] = (uint8_t)x->count++;
    m->value = value;
    if (o == SC)
        w->exchanged.at[word] = t->now.at[word];
    m->view = releases(o) ? t->now : t->fenced;
    m->view.at[word] = t->now.at[word];
    if (carried)
        join(&m->view, carried);
}
static inline void fence(struct world *w, struct thread *t, enum order o) {
    if (acquires(o))
        join(&t->now, &t->seen);
    if (o == SC) {
        join(&t->now, &w->sc);
        w->sc = t->now;
    }
    if (releases(o))
        t->fenced = t->now;
}
static inline int latest(const struct world *w, int word) {
    return w->words[word].messages[w->words[word].count - 1].value;
}

struct tally {
    uint64_t executions, bad;
};

static inline void explore(const struct program *p, const struct world *before, struct tally *tally) {
    bool over = true;
    for (int i = 0; i < THREADS; i++) {
        const struct step *s = &p->threads[i][before->threads[i].pc];
        if (s->kind == END)
            continue;
        over = false;
        int choices = 1, first = 0;
        if (s->kind == LOAD) {
            first = before->threads[i].now.at[s->word];
            if (s->order == SC && first < before->exchanged.at[s->word])
                first = before->exchanged.at[s->word];
            choices = before->words[s->word].count - first;
        }
        for (int c = 0; c < choices; c++) {
            struct world w = *before;
            struct thread *t = &w.threads[i];
            t->pc++;
            struct word *x = &w.words[s->kind == UNLESS || s->kind == FENCE ? 0 : s->word];
            struct message m;
            switch (s->kind) {
            case LOAD:
                w.registers[s->into] = x->messages[first + c].value;
                read_message(t, s->word, first + c, &x->messages[first + c], s->order);
                break;
            case STORE:
                append(&w, t, s->word, s->value, s->order, NULL);
                break;
            case CAS:
            case ADD:
                m = x->messages[x->count - 1];
                w.registers[s->into] = m.value;
                read_message(t, s->word, x->count - 1, &m, s->order);
                if (s->kind == ADD || m.value == s->value)
                    append(&w, t, s->word, s->kind == ADD ? m.value + s->value : s->new, s->order, &m.view);
                break;
            case FENCE:
                fence(&w, t, s->order);
                break;
            case UNLESS:
                while (w.registers[s->word] != s->value && p->threads[i][t->pc].kind != END)
                    t->pc++;
                break;
            case END:
                break;
            }
            explore(p, &w, tally);
        }
    }
    if (over) {
        tally->executions++;
        tally->bad += p->bad(before);
    }
}

static inline struct tally all_executions(const struct program *p) {
    struct world w;
    struct tally tally = {0, 0};
    memset(&w, 0, sizeof w);
    for (int i = 0; i < WORDS; i++) {
        w.words[i].count = 1;
        w.words[i].messages[0].value = p->initial[i];
    }
    for (int i = 0; i < REGISTERS; i++)
        w.registers[i] = -1;
    explore(p, &w, &tally);
    return tally;
}

#endif
