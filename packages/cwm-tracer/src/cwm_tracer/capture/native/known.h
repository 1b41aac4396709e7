/* What was last shown of one variable. */
#ifndef CWM_KNOWN_H
#define CWM_KNOWN_H

#include "region.h"
#include "render.h"

typedef struct {
    PyObject *held;  /* the value itself, owned, if it is an atom */
    Word *tape;      /* what a container's text was made from; owns the atoms */
    Py_ssize_t words, tape_room;
    uint64_t at;     /* where in the region its text is */
    Py_ssize_t size; /* bytes of its text */
    bool bound;
} Known;

/* Whether the text of a value is surely the one that was last shown. */
static inline bool
known_same(const Known *known, PyObject *value)
{
    if (known->held == value) {
        return true;
    }
    if (known->words == 0) {
        return false;
    }
    const Word *at = known->tape;
    return tape_same(value, &at);
}

/* Append name and text of a value to the record if the text is new. */
int known_update(Known *known, PyObject *value, const char *field, Py_ssize_t field_size,
                 Render *render, Region *region);
/* Append the name alone: the variable is unbound. */
int known_forget(Known *known, const char *field, Py_ssize_t field_size, Region *region);
void known_clear(Known *known);

#endif
