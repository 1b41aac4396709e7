/* The writing side of the record region (see `stream.py`), shared with its Python half. */
#ifndef CWM_REGION_H
#define CWM_REGION_H

#include "buffer.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    Py_buffer view;
    uint64_t room;       /* where records must end */
    PyObject *full;      /* the class `FullError` */
    Buffer record;       /* the record that is being made */
    uint64_t **deferred; /* places in that record that become places in the region */
    Py_ssize_t deferrals, deferred_room;
} Region;

int region_init(Region *region, PyObject *python, PyObject *full);
void region_free(Region *region);
/* Begin a record: kind, then `tag`. */
int region_begin(Region *region, char kind, const char *tag, Py_ssize_t tag_size);
/* End and commit the record. Raises FullError where it does not fit. */
int region_commit(Region *region);
/* Have `place`, an offset in the record, made one in the region when it is committed. */
int region_defer(Region *region, uint64_t *place);

static inline const char *
region_at(const Region *region, uint64_t place)
{
    return (const char *)region->view.buf + place;
}

#endif
