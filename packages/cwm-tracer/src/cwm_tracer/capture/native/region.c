#include "region.h"

#define HEADER 8

int
region_init(Region *region, PyObject *python, PyObject *full)
{
    PyObject *map = PyObject_GetAttrString(python, "map");
    PyObject *room = map == NULL ? NULL : PyObject_GetAttrString(python, "room");
    if (room != NULL) {
        region->room = PyLong_AsUnsignedLongLong(room);
    }
    int failed = room == NULL || PyErr_Occurred() ||
                 PyObject_GetBuffer(map, &region->view, PyBUF_WRITABLE) < 0;
    Py_XDECREF(map);
    Py_XDECREF(room);
    if (!failed && region->room > (uint64_t)region->view.len) {
        PyErr_SetString(PyExc_ValueError, "the region is larger than its mapping");
        failed = 1;
    }
    region->full = Py_NewRef(full);
    return failed ? -1 : 0;
}

void
region_free(Region *region)
{
    if (region->view.obj != NULL) {
        PyBuffer_Release(&region->view);
    }
    buffer_free(&region->record);
    PyMem_Free(region->deferred);
    region->deferred = NULL;
    Py_CLEAR(region->full);
}

int
region_begin(Region *region, char kind, const char *tag, Py_ssize_t tag_size)
{
    region->record.size = region->record.beyond = 0;
    region->deferrals = 0;
    return buffer_put_byte(&region->record, kind) < 0 ||
                   buffer_put(&region->record, tag, tag_size) < 0
               ? -1
               : 0;
}

int
region_defer(Region *region, uint64_t *place)
{
    if (region->deferrals == region->deferred_room) {
        Py_ssize_t room = 2 * region->deferred_room + 16;
        uint64_t **deferred = PyMem_Realloc(region->deferred, (size_t)room * sizeof(uint64_t *));
        if (deferred == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        region->deferred = deferred;
        region->deferred_room = room;
    }
    region->deferred[region->deferrals++] = place;
    return 0;
}

int
region_commit(Region *region)
{
    Buffer *record = &region->record;
    if (buffer_put_byte(record, '\x1e') < 0) {
        return -1;
    }
    uint64_t *committed = region->view.buf;
    uint64_t start = *committed, size = (uint64_t)record->size;
    if (start < HEADER || start > region->room || size > region->room - start) {
        PyErr_SetNone(region->full);
        return -1;
    }
    memcpy((char *)region->view.buf + start, record->data, size);
    for (Py_ssize_t index = 0; index < region->deferrals; index++) {
        *region->deferred[index] += start;
    }
    /* A process that dies at any moment leaves whole records. */
    __atomic_store_n(committed, start + size, __ATOMIC_RELEASE);
    return 0;
}
