#include "known.h"

static void
let_go(Known *known)
{
    Py_CLEAR(known->held);
    tape_release(known->tape, known->words);
    known->words = 0;
}

static int
reserve_tape(Known *known, Py_ssize_t words)
{
    if (words <= known->tape_room) {
        return 0;
    }
    Py_ssize_t room = words + words / 4 + 8;
    Word *tape = PyMem_Realloc(known->tape, (size_t)room * sizeof(Word));
    if (tape == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    known->tape = tape;
    known->tape_room = room;
    return 0;
}

/* Copy the tape of what was just rendered, if it tells anything. */
static int
keep_tape(Known *known, const Tape *tape)
{
    if (!tape->valid) {
        return 0;
    }
    if (reserve_tape(known, tape->size) < 0) {
        return -1;
    }
    tape_hold(tape->words, tape->size);
    memcpy(known->tape, tape->words, (size_t)tape->size * sizeof(Word));
    known->words = tape->size;
    return 0;
}

/* Append name and text of a list to which atoms were appended, from its last text; the cost is that
   of the new items. Returns 1 if it was such a list. */
static int
update_grown(Known *known, PyObject *list, const char *field, Py_ssize_t field_size,
             Render *render, Region *region)
{
    Py_ssize_t first = tape_grown(known->tape, known->words, list);
    if (first == 0) {
        return 0;
    }
    Buffer *out = &region->record;
    Mark start = buffer_mark(out);
    Py_ssize_t count = PyList_GET_SIZE(list), words = TAPE_HEADER + count;
    if (buffer_put(out, field, field_size) < 0 || reserve_tape(known, words) < 0) {
        return -1;
    }
    int done = render_grown(render, list, first, region_at(region, known->at), known->size);
    if (done <= 0) {
        buffer_rewind(out, start);
        return done;
    }
    memcpy(known->tape + TAPE_HEADER + first, ((PyListObject *)list)->ob_item + first,
           (size_t)(count - first) * sizeof(Word));
    tape_hold(known->tape + TAPE_HEADER + first, count - first);
    tape_set_count(known->tape, count);
    known->words = words;
    known->size = out->size - start.size - field_size;
    known->at = (uint64_t)(start.size + field_size);
    return region_defer(region, &known->at) < 0 ? -1 : 1;
}

int
known_update(Known *known, PyObject *value, const char *field, Py_ssize_t field_size,
             Render *render, Region *region)
{
    int grown = known->words
                    ? update_grown(known, value, field, field_size, render, region)
                    : 0;
    if (grown) {
        return grown < 0 ? -1 : 0;
    }
    Buffer *out = &region->record;
    bool atom = render_is_atom(Py_TYPE(value));
    Mark start = buffer_mark(out);
    Py_INCREF(value);
    if (buffer_put(out, field, field_size) < 0 || render_text(render, value, !atom) < 0) {
        Py_DECREF(value);
        return -1;
    }
    Py_ssize_t size = out->size - start.size - field_size;
    const char *text = out->data + start.size + field_size;
    bool same = known->bound && known->size == size &&
                !memcmp(region_at(region, known->at), text, (size_t)size);
    let_go(known);
    if (atom) {
        known->held = value; /* and the reference */
    }
    else {
        int failed = keep_tape(known, &render->tape);
        Py_DECREF(value);
        if (failed) {
            return -1;
        }
    }
    if (same) {
        buffer_rewind(out, start);
        return 0;
    }
    known->bound = true;
    known->size = size;
    known->at = (uint64_t)(start.size + field_size);
    return region_defer(region, &known->at);
}

int
known_forget(Known *known, const char *field, Py_ssize_t field_size, Region *region)
{
    known_clear(known);
    return buffer_put(&region->record, field, field_size);
}

void
known_clear(Known *known)
{
    let_go(known);
    PyMem_Free(known->tape);
    memset(known, 0, sizeof(*known));
}
