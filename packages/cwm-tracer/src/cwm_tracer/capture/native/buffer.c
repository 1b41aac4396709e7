#include "buffer.h"

int
buffer_grow(Buffer *buffer, Py_ssize_t more)
{
    Py_ssize_t room = buffer->room ? buffer->room : 4096;
    while (room - buffer->size < more) {
        room *= 2;
    }
    char *data = PyMem_Realloc(buffer->data, (size_t)room);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    buffer->data = data;
    buffer->room = room;
    return 0;
}

void
buffer_free(Buffer *buffer)
{
    PyMem_Free(buffer->data);
    memset(buffer, 0, sizeof(*buffer));
}

/* Append a `str` as UTF-8, lone surrogates as escapes, as Region.write does. */
int
buffer_put_text(Buffer *buffer, PyObject *text)
{
    Py_ssize_t size;
    PyObject *bytes = NULL;
    const char *data = PyUnicode_AsUTF8AndSize(text, &size);
    if (data == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
            return -1;
        }
        PyErr_Clear();
        bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
        if (bytes == NULL) {
            return -1;
        }
        data = PyBytes_AS_STRING(bytes);
        size = PyBytes_GET_SIZE(bytes);
    }
    int failed = buffer_put(buffer, data, size);
    buffer->beyond += size - PyUnicode_GET_LENGTH(text);
    Py_XDECREF(bytes);
    return failed;
}

int
buffer_put_repr(Buffer *buffer, PyObject *value)
{
    PyObject *text = PyObject_Repr(value);
    if (text == NULL) {
        return -1;
    }
    int failed = buffer_put_text(buffer, text);
    Py_DECREF(text);
    return failed;
}

int
buffer_put_integer(Buffer *buffer, long long value)
{
    char digits[24];
    char *at = digits + sizeof(digits);
    unsigned long long left = value < 0 ? 0ULL - (unsigned long long)value
                                        : (unsigned long long)value;
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (value < 0) {
        *--at = '-';
    }
    return buffer_put(buffer, at, digits + sizeof(digits) - at);
}
