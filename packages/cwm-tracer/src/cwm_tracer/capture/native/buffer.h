/* A growing string of bytes that knows its length in characters. */
#ifndef CWM_BUFFER_H
#define CWM_BUFFER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

typedef struct {
    char *data;
    Py_ssize_t size;
    Py_ssize_t room;
    Py_ssize_t beyond; /* bytes beyond one for each character */
} Buffer;

typedef struct {
    Py_ssize_t size, beyond;
} Mark;

int buffer_grow(Buffer *buffer, Py_ssize_t more);
void buffer_free(Buffer *buffer);
int buffer_put_text(Buffer *buffer, PyObject *text);
int buffer_put_integer(Buffer *buffer, long long value);
int buffer_put_repr(Buffer *buffer, PyObject *value);

static inline int
buffer_reserve(Buffer *buffer, Py_ssize_t more)
{
    if (buffer->room - buffer->size >= more) {
        return 0;
    }
    return buffer_grow(buffer, more);
}

/* Append bytes of ASCII. */
static inline int
buffer_put(Buffer *buffer, const char *data, Py_ssize_t size)
{
    if (buffer_reserve(buffer, size) < 0) {
        return -1;
    }
    memcpy(buffer->data + buffer->size, data, (size_t)size);
    buffer->size += size;
    return 0;
}

#define buffer_put_literal(buffer, text) buffer_put((buffer), (text), sizeof(text) - 1)

static inline int
buffer_put_byte(Buffer *buffer, char byte)
{
    if (buffer_reserve(buffer, 1) < 0) {
        return -1;
    }
    buffer->data[buffer->size++] = byte;
    return 0;
}

static inline Mark
buffer_mark(const Buffer *buffer)
{
    Mark mark = {buffer->size, buffer->beyond};
    return mark;
}

static inline void
buffer_rewind(Buffer *buffer, Mark mark)
{
    buffer->size = mark.size;
    buffer->beyond = mark.beyond;
}

/* Characters appended since a mark. */
static inline Py_ssize_t
buffer_characters(const Buffer *buffer, Mark since)
{
    return (buffer->size - since.size) - (buffer->beyond - since.beyond);
}

#endif
