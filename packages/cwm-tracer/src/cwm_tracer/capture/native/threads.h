/* The threads in which frames of the program run; `tracks.Tracks` tells them apart. */
#ifndef CWM_THREADS_H
#define CWM_THREADS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

typedef struct {
    PyObject *python; /* the `tracks.Thread` */
    bool entry;       /* whether it is the one that called the entry function */
    Py_ssize_t depth; /* nested calls of the program's functions */
} Thread;

typedef struct {
    PyObject *tracks; /* the `tracks.Tracks` */
    PyObject *lock;   /* taken by every event once there may be a second thread; else NULL */
    PyObject *asyncio;
    Thread **all;
    Py_ssize_t count;
} Threads;

int threads_init(Threads *threads, PyObject *region);
void threads_free(Threads *threads);
/* The thread of a call event; writes a record if its track is a new one. NULL on failure. */
Thread *threads_enter(Threads *threads);
int threads_share(Threads *threads);
int threads_end(Threads *threads);
int threads_lock(Threads *threads);
void threads_unlock(PyObject *lock);

#endif
