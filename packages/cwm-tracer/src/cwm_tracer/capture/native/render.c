#include "render.h"

#include "atoms.h"

static int put_value(Render *render, PyObject *value, Py_ssize_t depth);

static int
read_size(PyObject *object, const char *name, Py_ssize_t *found)
{
    PyObject *value = PyObject_GetAttrString(object, name);
    if (value == NULL) {
        return -1;
    }
    *found = PyLong_AsSsize_t(value);
    Py_DECREF(value);
    return PyErr_Occurred() ? -1 : 0;
}

int
render_init(Render *render, PyObject *python, Buffer *out)
{
    render->out = out;
    render->python = Py_NewRef(python);
    render->text = PyUnicode_InternFromString("text");
    return render->text == NULL || read_size(python, "value_bytes", &render->value_bytes) < 0 ||
                   read_size(python, "value_nodes", &render->value_nodes) < 0 ||
                   read_size(python, "value_depth", &render->value_depth) < 0
               ? -1
               : 0;
}

void
render_free(Render *render)
{
    PyMem_Free(render->open);
    render->open = NULL;
    tape_free(&render->tape);
    Py_CLEAR(render->python);
    Py_CLEAR(render->text);
}

static bool
is_open(Render *render, PyObject *container)
{
    for (Py_ssize_t index = 0; index < render->opened; index++) {
        if (render->open[index] == container) {
            return true;
        }
    }
    return false;
}

static int
enter(Render *render, PyObject *container)
{
    if (render->opened == render->open_room) {
        Py_ssize_t room = render->open_room + 64;
        PyObject **open = PyMem_Realloc(render->open, (size_t)room * sizeof(PyObject *));
        if (open == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        render->open = open;
        render->open_room = room;
    }
    render->open[render->opened++] = container;
    return 0;
}

static PyObject *
addresses_of_open(Render *render)
{
    PyObject *addresses = PyTuple_New(render->opened);
    for (Py_ssize_t index = 0; addresses != NULL && index < render->opened; index++) {
        PyObject *address = PyLong_FromVoidPtr(render->open[index]);
        if (address == NULL) {
            Py_CLEAR(addresses);
        }
        else {
            PyTuple_SET_ITEM(addresses, index, address);
        }
    }
    return addresses;
}

/* Have the Python renderer render a value inside of others, within what the budgets have left. */
static int
put_part(Render *render, PyObject *value, Py_ssize_t depth)
{
    PyObject *around = addresses_of_open(render);
    if (around == NULL) {
        return -1;
    }
    PyObject *found = PyObject_CallMethod(render->python, "part", "OnnnN", value, depth,
                                          render->left, render->nodes, around);
    if (found == NULL) {
        return -1;
    }
    PyObject *text;
    int failed = !PyArg_ParseTuple(found, "Unn:part", &text, &render->left, &render->nodes) ||
                 buffer_put_text(render->out, text) < 0;
    Py_DECREF(found);
    return failed ? -1 : 0;
}

/* Have the Python renderer render a value that this one does not know. */
static int
put_object(Render *render, PyObject *value, Py_ssize_t depth)
{
    render->tape.valid = false; /* it may look different each time */
    Py_INCREF(value);           /* its own code may run */
    int failed;
    if (render->opened) {
        failed = put_part(render, value, depth);
    }
    else {
        PyObject *text = PyObject_CallMethodOneArg(render->python, render->text, value);
        failed = text == NULL || buffer_put_text(render->out, text) < 0 ? -1 : 0;
        Py_XDECREF(text);
    }
    Py_DECREF(value);
    return failed;
}

/* Replace what was put since a mark by the note that rendering raised; fails again if it must. */
static int
put_raised(Render *render, Mark start, PyTypeObject *type)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError) ||
        PyErr_ExceptionMatches(PyExc_RecursionError)) {
        return -1;
    }
    const char *error = ((PyTypeObject *)PyErr_Occurred())->tp_name;
    const char *dot = strrchr(error, '.');
    char note[256];
    int size = PyOS_snprintf(note, sizeof(note), "<%s object (repr raised %s)>", type->tp_name,
                             dot ? dot + 1 : error);
    PyErr_Clear();
    render->tape.valid = false;
    buffer_rewind(render->out, start);
    return buffer_put(render->out, note, size);
}

static int
put_more(Render *render, Py_ssize_t count)
{
    return buffer_put_literal(render->out, "<+") < 0 ||
                   buffer_put_integer(render->out, count) < 0 ||
                   buffer_put_literal(render->out, " more>") < 0
               ? -1
               : 0;
}

static int
put_opening(Buffer *out, int kind)
{
    switch (kind) {
    case TAPE_LIST: return buffer_put_byte(out, '[');
    case TAPE_TUPLE: return buffer_put_byte(out, '(');
    case TAPE_FROZENSET: return buffer_put_literal(out, "frozenset({");
    default: return buffer_put_byte(out, '{');
    }
}

static int
put_closing(Buffer *out, int kind, Py_ssize_t count)
{
    switch (kind) {
    case TAPE_LIST: return buffer_put_byte(out, ']');
    case TAPE_TUPLE:
        return count == 1 ? buffer_put_literal(out, ",)") : buffer_put_byte(out, ')');
    case TAPE_FROZENSET: return buffer_put_literal(out, "})");
    default: return buffer_put_byte(out, '}');
    }
}

static int
put_empty(Buffer *out, int kind)
{
    switch (kind) {
    case TAPE_LIST: return buffer_put_literal(out, "[]");
    case TAPE_TUPLE: return buffer_put_literal(out, "()");
    case TAPE_DICT: return buffer_put_literal(out, "{}");
    case TAPE_SET: return buffer_put_literal(out, "set()");
    default: return buffer_put_literal(out, "frozenset()");
    }
}

static Py_ssize_t
count_of(PyObject *container, int kind)
{
    return kind == TAPE_LIST    ? PyList_GET_SIZE(container)
           : kind == TAPE_TUPLE ? PyTuple_GET_SIZE(container)
           : kind == TAPE_DICT  ? PyDict_GET_SIZE(container)
                                : PySet_GET_SIZE(container);
}

/* Characters of the strings among atoms that `repr` alone can render; -1 if there is another. */
static inline Py_ssize_t
flat_characters(PyObject *item)
{
    PyTypeObject *type = Py_TYPE(item);
    return type == &PyUnicode_Type ? PyUnicode_GET_LENGTH(item) : atom_is_flat(type) ? 0 : -1;
}

/* The items of a list or tuple, in place. */
static inline PyObject *const *
items_of(PyObject *row, int kind)
{
    return kind == TAPE_LIST ? ((PyListObject *)row)->ob_item : ((PyTupleObject *)row)->ob_item;
}

/* Whether `Renderer._flat` would take a container for one of plain atoms that may fit. */
static bool
may_be_flat(Render *render, PyObject *container, int kind, Py_ssize_t count)
{
    if (2 * count > render->nodes || count > render->left) {
        return false;
    }
    Py_ssize_t room = render->left, size;
    if (kind != TAPE_DICT) {
        PyObject *const *items = items_of(container, kind);
        for (Py_ssize_t index = 0; index < count; index++) {
            if ((size = flat_characters(items[index])) < 0) {
                return false;
            }
            room -= size;
        }
        return room >= 0;
    }
    PyObject *key, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(container, &position, &key, &value)) {
        if ((size = flat_characters(key)) < 0) {
            return false;
        }
        room -= size;
        if ((size = flat_characters(value)) < 0) {
            return false;
        }
        room -= size;
    }
    return room >= 0;
}

static int
put_flat_items(Render *render, PyObject *container, int kind, Py_ssize_t count)
{
    Buffer *out = render->out;
    if (kind != TAPE_DICT) {
        PyObject *const *items = items_of(container, kind);
        for (Py_ssize_t index = 0; index < count; index++) {
            if ((index && buffer_put_literal(out, ", ") < 0) ||
                atom_put_whole(out, items[index]) < 0 || tape_put(&render->tape, items[index]) < 0) {
                return -1;
            }
        }
        return 0;
    }
    PyObject *key, *value;
    Py_ssize_t position = 0;
    for (Py_ssize_t index = 0; PyDict_Next(container, &position, &key, &value); index++) {
        if ((index && buffer_put_literal(out, ", ") < 0) || atom_put_whole(out, key) < 0 ||
            buffer_put_literal(out, ": ") < 0 || atom_put_whole(out, value) < 0 ||
            tape_put(&render->tape, key) < 0 || tape_put(&render->tape, value) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Render a small list, tuple or dict of plain atoms as `repr` does. Returns 1 if it did, 0 if it is
   not such a container or does not fit: then nothing was put or spent. */
static int
put_flat(Render *render, PyObject *container, int kind, Py_ssize_t count)
{
    if (!may_be_flat(render, container, kind, count)) {
        return 0;
    }
    Mark start = buffer_mark(render->out);
    Py_ssize_t header = tape_open(&render->tape, kind, count);
    if (header < 0) {
        return -1;
    }
    if (put_opening(render->out, kind) < 0 ||
        put_flat_items(render, container, kind, count) < 0 ||
        put_closing(render->out, kind, count) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return -1;
        }
        PyErr_Clear(); /* an integer of too many digits */
        render->tape.size = header;
        buffer_rewind(render->out, start);
        return 0;
    }
    Py_ssize_t characters = buffer_characters(render->out, start);
    if (characters > render->left) {
        render->tape.size = header;
        buffer_rewind(render->out, start);
        return 0;
    }
    tape_close(&render->tape, header, container, count);
    tape_mark_whole(&render->tape, header);
    render->left -= characters + 2;
    render->nodes -= kind == TAPE_DICT ? 2 * count : count;
    return 1;
}

/* Put what goes before an item: a comma, or the mark that ends the items where a budget has ended.
   Returns 1 if it has. */
static int
before_item(Render *render, Py_ssize_t index, Py_ssize_t count)
{
    if (index && buffer_put_literal(render->out, ", ") < 0) {
        return -1;
    }
    if (render->nodes > 0 && render->left > 0) {
        return 0;
    }
    return put_more(render, count - index) < 0 ? -1 : 1;
}

/* Returns how many items were shown. */
static Py_ssize_t
put_row(Render *render, PyObject *row, int kind, Py_ssize_t count, Py_ssize_t depth)
{
    for (Py_ssize_t index = 0;; index++) {
        if (index >= count_of(row, kind)) { /* a list may change when code of its items runs */
            return index;
        }
        int ended = before_item(render, index, count);
        if (ended) {
            return ended < 0 ? -1 : index;
        }
        if (put_value(render, items_of(row, kind)[index], depth) < 0) {
            return -1;
        }
    }
}

static Py_ssize_t
put_entries(Render *render, PyObject *dict, Py_ssize_t count, Py_ssize_t depth)
{
    PyObject *key, *value;
    Py_ssize_t position = 0, index = 0;
    while (PyDict_Next(dict, &position, &key, &value)) {
        int ended = before_item(render, index, count);
        if (ended) {
            return ended < 0 ? -1 : index;
        }
        Py_INCREF(value);
        int failed = put_value(render, key, depth) < 0 ||
                     buffer_put_literal(render->out, ": ") < 0 ||
                     put_value(render, value, depth) < 0;
        Py_DECREF(value);
        if (failed) {
            return -1;
        }
        index++;
        if (PyDict_GET_SIZE(dict) != count) {
            PyErr_SetString(PyExc_RuntimeError, "dictionary changed size during iteration");
            return -1;
        }
    }
    return index;
}

typedef struct {
    Py_ssize_t start, size;
} Span;

static const char *span_data; /* for `compare_spans`, which runs under the interpreter's lock */

static int
compare_spans(const void *left, const void *right)
{
    const Span *one = left, *other = right;
    Py_ssize_t size = one->size < other->size ? one->size : other->size;
    int order = memcmp(span_data + one->start, span_data + other->start, (size_t)size);
    return order ? order : one->size < other->size ? -1 : one->size > other->size;
}

/* Sort texts that were put one after the other, and separate them by commas. */
static int
sort_texts(Buffer *out, Span *spans, Py_ssize_t count, Py_ssize_t sorted)
{
    Py_ssize_t start = spans[0].start, size = out->size - start;
    char *copy = PyMem_Malloc((size_t)size + 1);
    if (copy == NULL || buffer_reserve(out, 2 * count) < 0) {
        PyMem_Free(copy);
        PyErr_NoMemory();
        return -1;
    }
    memcpy(copy, out->data + start, (size_t)size);
    span_data = out->data;
    qsort(spans, (size_t)sorted, sizeof(Span), compare_spans);
    char *at = out->data + start;
    for (Py_ssize_t index = 0; index < count; index++) {
        if (index) {
            *at++ = ',';
            *at++ = ' ';
        }
        memcpy(at, copy + spans[index].start - start, (size_t)spans[index].size);
        at += spans[index].size;
    }
    out->size = at - out->data;
    PyMem_Free(copy);
    return 0;
}

/* Put the members one after the other; returns how many texts there are, the mark included. */
static Py_ssize_t
put_texts(Render *render, PyObject *members, Py_ssize_t depth, Span *spans)
{
    Py_ssize_t count = PyList_GET_SIZE(members);
    for (Py_ssize_t index = 0; index < count; index++) {
        spans[index].start = render->out->size;
        bool ended = render->nodes <= 0 || render->left <= 0;
        int failed = ended ? put_more(render, count - index)
                           : put_value(render, PyList_GET_ITEM(members, index), depth);
        if (failed < 0) {
            return -1;
        }
        spans[index].size = render->out->size - spans[index].start;
        if (ended) {
            render->tape.valid = false;
            return index + 1;
        }
    }
    return count;
}

static int
put_sorted_texts(Render *render, PyObject *members, Py_ssize_t depth)
{
    Py_ssize_t count = PyList_GET_SIZE(members);
    Span *spans = PyMem_Malloc((size_t)count * sizeof(Span));
    if (spans == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    Py_ssize_t texts = put_texts(render, members, depth, spans);
    int failed = texts < 0;
    if (!failed) {
        const Span *last = &spans[texts - 1];
        bool mark = last->size >= 2 && !memcmp(render->out->data + last->start, "<+", 2);
        failed = sort_texts(render->out, spans, texts, texts - mark) < 0;
    }
    PyMem_Free(spans);
    return failed ? -1 : 0;
}

/* Ascending integers; the tape gets all of them in the order of the set. */
static int
put_sorted_integers(Render *render, PyObject *members, Py_ssize_t depth)
{
    Py_ssize_t count = PyList_GET_SIZE(members);
    for (Py_ssize_t index = 0; index < count; index++) {
        if (tape_put(&render->tape, PyList_GET_ITEM(members, index)) < 0) {
            return -1;
        }
    }
    bool keep = render->tape.valid;
    render->tape.valid = false;
    if (PyList_Sort(members) < 0) {
        return -1;
    }
    Py_ssize_t shown = put_row(render, members, TAPE_LIST, count, depth);
    render->tape.valid = keep && shown == count;
    return shown < 0 ? -1 : 0;
}

static bool
all_integers(PyObject *members)
{
    for (Py_ssize_t index = 0; index < PyList_GET_SIZE(members); index++) {
        if (!PyLong_CheckExact(PyList_GET_ITEM(members, index))) {
            return false;
        }
    }
    return true;
}

/* Put the members of a set in an order that does not depend on hashes. */
static Py_ssize_t
put_members(Render *render, PyObject *set, Py_ssize_t count, Py_ssize_t depth)
{
    PyObject *members = PySequence_List(set);
    if (members == NULL) {
        return -1;
    }
    int failed = all_integers(members) ? put_sorted_integers(render, members, depth)
                                       : put_sorted_texts(render, members, depth);
    Py_DECREF(members);
    return failed < 0 ? -1 : count;
}

static int
put_content(Render *render, PyObject *container, int kind, Py_ssize_t count, Py_ssize_t depth)
{
    Buffer *out = render->out;
    if (depth >= render->value_depth && count) {
        render->tape.valid = false; /* what is below decides whether it is shown */
        return put_opening(out, kind) < 0 || put_more(render, count) < 0 ||
                       put_closing(out, kind, count) < 0
                   ? -1
                   : 0;
    }
    Py_ssize_t header = tape_open(&render->tape, kind, count), shown = 0;
    if (header < 0) {
        return -1;
    }
    if (!count) {
        render->left -= 4;
        tape_close(&render->tape, header, container, 0);
        return put_empty(out, kind);
    }
    render->left -= 2;
    if (put_opening(out, kind) < 0) {
        return -1;
    }
    shown = kind == TAPE_DICT ? put_entries(render, container, count, depth + 1)
            : kind == TAPE_LIST || kind == TAPE_TUPLE
                ? put_row(render, container, kind, count, depth + 1)
                : put_members(render, container, count, depth + 1);
    if (shown < 0) {
        return -1;
    }
    tape_close(&render->tape, header, container, shown);
    return put_closing(out, kind, count);
}

static int
put_container(Render *render, PyObject *container, int kind, Py_ssize_t depth)
{
    Py_ssize_t count = count_of(container, kind);
    if (kind == TAPE_LIST || kind == TAPE_TUPLE || kind == TAPE_DICT) {
        int done = put_flat(render, container, kind, count);
        if (done) {
            return done < 0 ? -1 : 0;
        }
    }
    if (is_open(render, container)) {
        render->tape.valid = false;
        return put_opening(render->out, kind) < 0 ||
                       buffer_put_literal(render->out, "...") < 0 ||
                       put_closing(render->out, kind, 2) < 0
                   ? -1
                   : 0;
    }
    Mark start = buffer_mark(render->out);
    if (enter(render, container) < 0) {
        return -1;
    }
    int failed = put_content(render, container, kind, count, depth);
    render->opened--;
    return failed ? put_raised(render, start, Py_TYPE(container)) : 0;
}

/* Append an atom; one whose `repr` raises (a range of huge numbers) is left to the Python side. */
static int
put_atom(Render *render, PyObject *atom, Py_ssize_t depth)
{
    Mark start = buffer_mark(render->out);
    Py_ssize_t left = render->left, nodes = render->nodes--;
    if (atom_put(render, atom) == 0) {
        return tape_put(&render->tape, atom);
    }
    if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
        return -1;
    }
    PyErr_Clear();
    buffer_rewind(render->out, start);
    render->left = left;
    render->nodes = nodes;
    return put_object(render, atom, depth);
}

static int
put_value(Render *render, PyObject *value, Py_ssize_t depth)
{
    PyTypeObject *type = Py_TYPE(value);
    if (render_is_atom(type)) {
        return put_atom(render, value, depth);
    }
    int kind = tape_kind(type);
    if (!kind) {
        return put_object(render, value, depth);
    }
    render->nodes--;
    Py_INCREF(value);
    int failed = put_container(render, value, kind, depth);
    Py_DECREF(value);
    return failed;
}

int
render_text(Render *render, PyObject *value, bool keep)
{
    render->left = render->value_bytes;
    render->nodes = render->value_nodes;
    render->opened = 0;
    render->tape.size = 0;
    render->tape.valid = keep;
    return put_value(render, value, 0);
}

/* Append items and the bracket that ends them; 0 if one is no plain atom or they do not fit. */
static int
put_tail(Render *render, PyObject *list, Py_ssize_t first, Mark start)
{
    Buffer *out = render->out;
    for (Py_ssize_t index = first; index < PyList_GET_SIZE(list); index++) {
        PyObject *item = PyList_GET_ITEM(list, index);
        Py_ssize_t size = flat_characters(item);
        if (size < 0 || size + out->size - start.size > render->value_bytes) {
            return 0;
        }
        if (buffer_put_literal(out, ", ") < 0) {
            return -1;
        }
        if (atom_put_whole(out, item) < 0) {
            if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
                return -1;
            }
            PyErr_Clear();
            return 0;
        }
    }
    if (buffer_put_byte(out, ']') < 0) {
        return -1;
    }
    return out->size - start.size <= render->value_bytes;
}

int
render_grown(Render *render, PyObject *list, Py_ssize_t first, const char *text, Py_ssize_t size)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    if (2 * count >= render->value_nodes || count > render->value_bytes) {
        return 0;
    }
    Mark start = buffer_mark(render->out);
    if (buffer_put(render->out, text, size - 1) < 0) {
        return -1;
    }
    int done = put_tail(render, list, first, start);
    if (done <= 0) {
        buffer_rewind(render->out, start);
    }
    return done;
}
