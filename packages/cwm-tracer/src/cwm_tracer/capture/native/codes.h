/* What is known of a code object, decided once (see `codes.py`), and found by its address. */
#ifndef CWM_CODES_H
#define CWM_CODES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

enum { MARK_RETURNS = 1, MARK_SUSPENDS = 2, MARK_REPEATS = 4 };

typedef struct {
    char *field; /* the name between two field separators */
    Py_ssize_t size;
    int slot;
    bool cell;
} Variable;

typedef struct {
    PyObject *code; /* keeps the address from meaning another */
    bool own;       /* false: not the program's, the rest is unset */
    bool starts, init, namespace;
    const char *marks; /* one for each code unit */
    Py_ssize_t units;
    PyObject *marks_object;
    Variable *variables;
    Py_ssize_t count;
    int *lines;       /* of each code unit */
    int first, last;  /* of the lines */
    int *shown;       /* for each line from the first: the one to show instead, or 0 */
    char place[24];   /* the code's number after a field separator */
    int place_size;
} Code;

typedef struct {
    Code **slots;
    size_t size, used;
} Codes;

/* Borrowed; NULL when the code is new. */
static inline Code *
codes_find(const Codes *codes, PyObject *code)
{
    if (codes->size == 0) {
        return NULL;
    }
    size_t at = ((size_t)code >> 4) & (codes->size - 1);
    while (codes->slots[at] != NULL) {
        if (codes->slots[at]->code == code) {
            return codes->slots[at];
        }
        at = (at + 1) & (codes->size - 1);
    }
    return NULL;
}

/* Note a code object; `facts` is its `codes.Code`, or None. */
Code *codes_add(Codes *codes, PyObject *code, PyObject *facts);
void codes_free(Codes *codes);

/* The line to show for one, or 0 for itself. */
static inline int
code_shown(const Code *code, int line)
{
    return line < code->first || line > code->last ? 0 : code->shown[line - code->first];
}

static inline char
code_mark(const Code *code, int unit)
{
    Py_ssize_t at = unit < 0 ? unit + code->units : unit;
    return at >= 0 && at < code->units ? code->marks[at] : 0;
}

static inline int
code_line(const Code *code, int unit)
{
    return unit >= 0 && unit < code->units ? code->lines[unit] : code->first;
}

#endif
