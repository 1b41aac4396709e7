#include "known.h"

static void
let_go(Known *known)
{
    Py_CLEAR(known->held);
    tape_release(known->tape, known->words);
    known->words = 0;
}

/* Copy the tape of what was just rendered, if it tells anything. */
static int
keep_tape(Known *known, const Tape *tape)
{
    if (!tape->valid) {
        return 0;
    }
    if (tape->size > known->tape_room) {
        Py_ssize_t room = tape->size + tape->size / 4 + 8;
        Word *words = PyMem_Realloc(known->tape, (size_t)room * sizeof(Word));
        if (words == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        known->tape = words;
        known->tape_room = room;
    }
    tape_hold(tape->words, tape->size);
    memcpy(known->tape, tape->words, (size_t)tape->size * sizeof(Word));
    known->words = tape->size;
    return 0;
}

int
known_update(Known *known, PyObject *value, const char *field, Py_ssize_t field_size,
             Render *render, Region *region)
{
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
