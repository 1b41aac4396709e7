/* Reading a running frame without building a dict of its variables: the part that knows CPython. */
#ifndef CWM_FRAMES_H
#define CWM_FRAMES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if PY_VERSION_HEX < 0x030B0000 || PY_VERSION_HEX >= 0x030E0000
#error "frames are laid out otherwise in this version of CPython"
#endif
#if defined(Py_GIL_DISABLED)
#error "frames of other threads may run while they are read"
#endif

#define Py_BUILD_CORE 1
#include "internal/pycore_code.h"
#include "internal/pycore_frame.h"
#undef Py_BUILD_CORE

/* Borrowed. */
static inline PyCodeObject *
frame_code(PyFrameObject *frame)
{
#if PY_VERSION_HEX >= 0x030D0000
    return _PyFrame_GetCode(frame->f_frame);
#else
    return frame->f_frame->f_code;
#endif
}

/* The offset of the last instruction, in code units; -1 before the first. */
static inline int
frame_last(PyFrameObject *frame)
{
    return _PyInterpreterFrame_LASTI(frame->f_frame);
}

/* Borrowed; NULL while the variable is unbound. `cell` tells that the slot may hold a cell. */
static inline PyObject *
frame_variable(PyFrameObject *frame, int slot, bool cell)
{
    PyObject *value = frame->f_frame->localsplus[slot];
    if (cell && value != NULL && PyCell_Check(value)) {
        return PyCell_GET(value);
    }
    return value;
}

static inline bool
slot_may_be_cell(PyCodeObject *code, int slot)
{
    const char *kinds = PyBytes_AS_STRING(code->co_localspluskinds);
    return (kinds[slot] & (CO_FAST_CELL | CO_FAST_FREE)) != 0;
}

/* The namespace of a class body or module; borrowed, may be NULL. */
static inline PyObject *
frame_namespace(PyFrameObject *frame)
{
    return frame->f_frame->f_locals;
}

/* The trace function that is kept with the frame; borrowed, may be NULL. */
static inline PyObject *
frame_trace(PyFrameObject *frame)
{
    return frame->f_trace;
}

/* The number that the interpreter set for the event, or 0. */
static inline int
frame_line_set(PyFrameObject *frame)
{
    return frame->f_lineno;
}

static inline void
frame_set_trace(PyFrameObject *frame, PyObject *trace)
{
    Py_XSETREF(frame->f_trace, Py_XNewRef(trace));
}

#endif
