/* Builtin values as text, byte for byte as `values.py` renders them; all else is rendered there. */
#ifndef CWM_RENDER_H
#define CWM_RENDER_H

#include "buffer.h"
#include "tape.h"

typedef struct {
    PyObject *python; /* the `values.Renderer` that renders objects */
    PyObject *text;   /* the name of its method */
    Py_ssize_t value_bytes, value_nodes, value_depth;
    Buffer *out;
    Tape tape;
    Py_ssize_t left, nodes; /* what the budgets of the current value have left */
    PyObject **open;        /* containers that are being rendered, outermost first */
    Py_ssize_t opened, open_room;
} Render;

int render_init(Render *render, PyObject *python, Buffer *out);
void render_free(Render *render);
/* Append the text of a value; with `keep`, the tape tells afterwards what it was made from. */
int render_text(Render *render, PyObject *value, bool keep);
bool render_is_atom(PyTypeObject *type);

#endif
