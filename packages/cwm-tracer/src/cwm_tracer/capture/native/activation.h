/* One frame of the program: what was last shown of it. Lives as the frame's `f_trace`. */
#ifndef CWM_ACTIVATION_H
#define CWM_ACTIVATION_H

#include "codes.h"
#include "known.h"
#include "threads.h"

struct Recorder;

/* A name of a class body's namespace, and what was last shown of it. */
typedef struct {
    PyObject *name;
    Known known;
    bool gone; /* said to be; the next event drops it */
} Bound;

typedef struct {
    PyObject_HEAD
    struct Recorder *recorder; /* owned */
    Code *code;                /* the recorder's */
    uint64_t number;           /* 1 for the entry's own frame */
    char tag[24];              /* the number between field separators */
    int tag_size;
    bool active;     /* entered and not left */
    Thread *thread;  /* the recorder's; where it was entered last */
    int step;        /* the line shown for the statement over several lines that runs, or 0 */
    int raised_at;   /* the code unit of the last exception, or -2 */
    Known *known;    /* of each of the code's variables */
    Bound *bound;    /* for a class body instead: its names, in the order of binding */
    Py_ssize_t bound_count, bound_room, bound_gone;
} Activation;

extern PyTypeObject ActivationType;

Activation *activation_new(struct Recorder *recorder, Code *code, uint64_t number);
/* Append the names whose text is new, and those that are gone, to the record. */
int activation_changes(Activation *self, PyFrameObject *frame, Render *render, Region *region);

#endif
