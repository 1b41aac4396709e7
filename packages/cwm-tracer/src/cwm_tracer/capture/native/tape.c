#include "tape.h"

#include <string.h>

/* A header: kind, whether all parts are atoms, whether the text is the whole `repr`, length | parts
   on the tape | version of a dict. */
#define FLAT 8
#define WHOLE 16
#define KIND(word) (((word) >> 1) & 7)
#define IS_FLAT(word) (((word) >> 1) & FLAT)
#define COUNT(word) ((Py_ssize_t)((word) >> 8))
#define IS_ATOM(word) (!((word) & 1))

int
tape_grow(Tape *tape, Py_ssize_t more)
{
    Py_ssize_t room = tape->room ? tape->room : 256;
    while (room - tape->size < more) {
        room *= 2;
    }
    Word *words = PyMem_Realloc(tape->words, (size_t)room * sizeof(Word));
    if (words == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    tape->words = words;
    tape->room = room;
    return 0;
}

void
tape_free(Tape *tape)
{
    PyMem_Free(tape->words);
    memset(tape, 0, sizeof(*tape));
}

int
tape_kind(PyTypeObject *type)
{
    return type == &PyList_Type        ? TAPE_LIST
           : type == &PyDict_Type      ? TAPE_DICT
           : type == &PyTuple_Type     ? TAPE_TUPLE
           : type == &PySet_Type       ? TAPE_SET
           : type == &PyFrozenSet_Type ? TAPE_FROZENSET
                                       : 0;
}

/* A number that no other state of any dict has; 0 where there is none. */
static Word
version_of(PyObject *container, int kind)
{
#if PY_VERSION_HEX < 0x030C0000
    if (kind == TAPE_DICT) {
        return (Word)((PyDictObject *)container)->ma_version_tag;
    }
#endif
    (void)container;
    (void)kind;
    return 0;
}

Py_ssize_t
tape_open(Tape *tape, int kind, Py_ssize_t count)
{
    if (!tape->valid) {
        return 0;
    }
    if (tape_reserve(tape, TAPE_HEADER) < 0) {
        return -1;
    }
    Py_ssize_t header = tape->size;
    tape->words[header] = ((Word)count << 8) | ((Word)kind << 1) | 1;
    tape->size += TAPE_HEADER;
    return header;
}

void
tape_close(Tape *tape, Py_ssize_t header, PyObject *container, Py_ssize_t visited)
{
    if (!tape->valid) {
        return;
    }
    Word *words = tape->words + header;
    int kind = KIND(words[0]);
    Py_ssize_t parts = kind == TAPE_DICT ? 2 * visited : visited;
    if (tape->size - header - TAPE_HEADER == parts) {
        words[0] |= FLAT << 1;
    }
    words[1] = ((Word)visited << 1) | 1;
    words[2] = (version_of(container, kind) << 1) | 1;
}

void
tape_mark_whole(Tape *tape, Py_ssize_t header)
{
    if (tape->valid) {
        tape->words[header] |= WHOLE << 1;
    }
}

void
tape_set_count(Word *words, Py_ssize_t count)
{
    words[0] = (words[0] & 0xff) | ((Word)count << 8);
    words[1] = ((Word)count << 1) | 1;
}

Py_ssize_t
tape_grown(const Word *words, Py_ssize_t size, PyObject *list)
{
    if (size <= TAPE_HEADER || !PyList_CheckExact(list) || KIND(words[0]) != TAPE_LIST ||
        !((words[0] >> 1) & WHOLE)) {
        return 0;
    }
    Py_ssize_t count = COUNT(words[0]);
    bool grown = PyList_GET_SIZE(list) > count &&
                 !memcmp(((PyListObject *)list)->ob_item, words + TAPE_HEADER,
                         (size_t)count * sizeof(Word));
    return grown ? count : 0;
}

static bool
same_row(PyObject *const *items, Py_ssize_t visited, bool flat, const Word **at)
{
    if (flat) {
        bool same = !memcmp(items, *at, (size_t)visited * sizeof(Word));
        *at += visited;
        return same;
    }
    for (Py_ssize_t index = 0; index < visited; index++) {
        if (!tape_same(items[index], at)) {
            return false;
        }
    }
    return true;
}

static bool
same_dict(PyObject *dict, Py_ssize_t visited, const Word *header, const Word **at)
{
    Word version = version_of(dict, TAPE_DICT);
    if (version && IS_FLAT(header[0]) && header[2] == ((version << 1) | 1)) {
        *at += 2 * visited;
        return true;
    }
    PyObject *key, *value;
    Py_ssize_t position = 0;
    for (Py_ssize_t index = 0; index < visited; index++) {
        if (!PyDict_Next(dict, &position, &key, &value) || !tape_same(key, at) ||
            !tape_same(value, at)) {
            return false;
        }
    }
    return true;
}

static bool
same_set(PyObject *set, Py_ssize_t visited, const Word **at)
{
    const setentry *entry = ((PySetObject *)set)->table;
    for (Py_ssize_t index = 0; index < visited; entry++) {
        if (entry->key == NULL || entry->hash == -1) { /* free, or was deleted */
            continue;
        }
        if (!tape_same(entry->key, at)) {
            return false;
        }
        index++;
    }
    return true;
}

bool
tape_same(PyObject *value, const Word **at)
{
    const Word *header = *at;
    if (IS_ATOM(header[0])) {
        *at += 1;
        return (Word)value == header[0];
    }
    int kind = tape_kind(Py_TYPE(value));
    if (kind != (int)KIND(header[0])) {
        return false;
    }
    Py_ssize_t count = COUNT(header[0]), visited = (Py_ssize_t)(header[1] >> 1);
    bool flat = IS_FLAT(header[0]);
    *at += TAPE_HEADER;
    switch (kind) {
    case TAPE_LIST:
        return PyList_GET_SIZE(value) == count &&
               same_row(((PyListObject *)value)->ob_item, visited, flat, at);
    case TAPE_TUPLE:
        return PyTuple_GET_SIZE(value) == count &&
               same_row(((PyTupleObject *)value)->ob_item, visited, flat, at);
    case TAPE_DICT:
        return PyDict_GET_SIZE(value) == count && same_dict(value, visited, header, at);
    default:
        return PySet_GET_SIZE(value) == count && same_set(value, visited, at);
    }
}

void
tape_hold(const Word *words, Py_ssize_t size)
{
    for (const Word *end = words + size; words < end; words++) {
        if (IS_ATOM(*words)) {
            Py_INCREF((PyObject *)*words);
        }
    }
}

void
tape_release(const Word *words, Py_ssize_t size)
{
    for (const Word *end = words + size; words < end; words++) {
        if (IS_ATOM(*words)) {
            Py_DECREF((PyObject *)*words);
        }
    }
}
