/* Numbers, strings and constants as text. */
#ifndef CWM_ATOMS_H
#define CWM_ATOMS_H

#include "render.h"

/* Append an atom within the budget, as `Renderer._atom` does. */
int atom_put(Render *render, PyObject *atom);
/* Append an int, bool, float, str or None as its whole `repr`, spending nothing. */
int atom_put_whole(Buffer *out, PyObject *atom);
bool atom_is_flat(PyTypeObject *type);

#endif
