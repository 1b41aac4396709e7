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
/* Append the text of a list, given that of its first items (its whole `repr`, with the bracket that
   ends it). Returns 0 if it has to be rendered by `render_text` instead: then nothing is put. */
int render_grown(Render *render, PyObject *list, Py_ssize_t first, const char *text,
                 Py_ssize_t size);
bool render_is_atom(PyTypeObject *type);

#endif
