/* What a text was made from: a copy of all that the renderer visited, to tell whether it changed.

A tape is a row of words. An atom (an immutable value that holds no other) is its address, and
the tape owns a reference to it, so that the address cannot come to mean another value. A container is
not kept alive: it is a header of three words with the lowest bit set, then its parts. A later value
has the same text if it has the same shape and the same atoms.
*/
#ifndef CWM_TAPE_H
#define CWM_TAPE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

typedef uintptr_t Word;

typedef struct {
    Word *words;
    Py_ssize_t size;
    Py_ssize_t room;
    bool valid; /* whether equal words mean an equal text */
} Tape;

enum { TAPE_LIST = 1, TAPE_TUPLE, TAPE_DICT, TAPE_SET, TAPE_FROZENSET };
enum { TAPE_HEADER = 3 };

int tape_grow(Tape *tape, Py_ssize_t more);
void tape_free(Tape *tape);
/* Begin a container; returns where its header is, for `tape_close`. */
Py_ssize_t tape_open(Tape *tape, int kind, Py_ssize_t count);
/* End a container of which `visited` words or parts were put. */
void tape_close(Tape *tape, Py_ssize_t header, PyObject *container, Py_ssize_t visited);
/* Note that the text of the container is its whole `repr`. */
void tape_mark_whole(Tape *tape, Py_ssize_t header);
/* How many items a list had when the tape was made, if that tells its whole `repr` and all that
   happened since is that some were appended; else 0. */
Py_ssize_t tape_grown(const Word *words, Py_ssize_t size, PyObject *list);
/* Note the count of a list of atoms that has grown, whose tape this is. */
void tape_set_count(Word *words, Py_ssize_t count);
/* Whether a value would put the same words; `at` is moved behind its part. */
bool tape_same(PyObject *value, const Word **at);
void tape_hold(const Word *words, Py_ssize_t size);
void tape_release(const Word *words, Py_ssize_t size);
int tape_kind(PyTypeObject *type);

static inline int
tape_reserve(Tape *tape, Py_ssize_t more)
{
    if (tape->room - tape->size >= more) {
        return 0;
    }
    return tape_grow(tape, more);
}

static inline int
tape_put(Tape *tape, PyObject *atom)
{
    if (!tape->valid) {
        return 0;
    }
    if (tape_reserve(tape, 1) < 0) {
        return -1;
    }
    tape->words[tape->size++] = (Word)atom;
    return 0;
}

#endif
