/* The native twin of `recorder.Recorder`. */
#ifndef CWM_RECORDER_H
#define CWM_RECORDER_H

#include "activation.h"

typedef struct Recorder {
    PyObject_HEAD
    PyObject *renderer;   /* `values.Renderer` */
    PyObject *endings;    /* `endings.Endings` */
    PyObject *describe;   /* `codes.Code.of` */
    PyObject *implicit;   /* `codes.IMPLICIT` */
    PyObject *filename, *statements, *entry;
    PyObject *half_built; /* the renderer's */
    Region region;
    Render render;
    Codes codes;
    Threads threads;
    uint64_t own_codes, activations;
    Py_ssize_t steps_left, most_depth;
    bool call_repr, started, over;
    bool memory;               /* whether the entry's thread's last exception was a MemoryError */
    uint64_t error_at;         /* where in the region its text is */
    Py_ssize_t error_size;
} Recorder;

extern PyTypeObject RecorderType;

/* Whether to go on, have ended (the program goes on untraced), or have failed with an exception. */
enum { GO_ON = 0, ENDED = 1, FAILED = -1 };

/* What `PyEval_SetTrace` calls. */
int recorder_on_event(PyObject *self, PyFrameObject *frame, int what, PyObject *arg);
/* The same for an event with its Python name, as a Python trace function gets it. */
int recorder_on_named_event(Recorder *self, PyObject *args);
PyObject *activation_call(PyObject *self, PyObject *args, PyObject *named);

#endif
