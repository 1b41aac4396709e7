#include "atoms.h"

#define SHORT_BITS 128
#define MOST_DIGITS 4000

bool
render_is_atom(PyTypeObject *type)
{
    return type == &PyLong_Type || type == &PyUnicode_Type || type == &PyFloat_Type ||
           type == &PyBool_Type || type == Py_TYPE(Py_None) || type == &PyBytes_Type ||
           type == &PyComplex_Type || type == &PyRange_Type || type == Py_TYPE(Py_Ellipsis) ||
           type == Py_TYPE(Py_NotImplemented);
}

bool
atom_is_flat(PyTypeObject *type)
{
    return type == &PyLong_Type || type == &PyUnicode_Type || type == &PyFloat_Type ||
           type == &PyBool_Type || type == Py_TYPE(Py_None);
}

/* Returns 1 with the value where it fits a machine word, else 0. */
static inline int
small_integer(PyObject *value, long long *found)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (PyUnstable_Long_IsCompact((PyLongObject *)value)) {
        *found = PyUnstable_Long_CompactValue((PyLongObject *)value);
        return 1;
    }
#else
    Py_ssize_t size = Py_SIZE(value);
    if (size >= -1 && size <= 1) {
        *found = size * (long long)((PyLongObject *)value)->ob_digit[0];
        return size == 0 ? (*found = 0, 1) : 1;
    }
#endif
    int overflow;
    *found = PyLong_AsLongLongAndOverflow(value, &overflow);
    return !overflow;
}

static int
put_float(Buffer *out, PyObject *value)
{
    char *text = PyOS_double_to_string(PyFloat_AS_DOUBLE(value), 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (text == NULL) {
        return -1;
    }
    int failed = buffer_put(out, text, (Py_ssize_t)strlen(text));
    PyMem_Free(text);
    return failed;
}

/* The bytes of printable ASCII that need no escape between single quotes. */
static inline bool
is_simple(unsigned char byte)
{
    return byte >= ' ' && byte < 0x7f && byte != '\'' && byte != '\\';
}

static void
put_escaped(Buffer *out, unsigned char byte, char quote)
{
    static const char hexadecimal[] = "0123456789abcdef";
    char *at = out->data + out->size;
    char letter = byte == '\t' ? 't' : byte == '\n' ? 'n' : byte == '\r' ? 'r' : 0;
    if (byte == (unsigned char)quote || byte == '\\' || letter) {
        *at++ = '\\';
        *at++ = letter ? letter : (char)byte;
    }
    else if (byte < ' ' || byte >= 0x7f) {
        *at++ = '\\';
        *at++ = 'x';
        *at++ = hexadecimal[byte >> 4];
        *at++ = hexadecimal[byte & 15];
    }
    else {
        *at++ = (char)byte;
    }
    out->size = at - out->data;
}

static int
put_ascii(Buffer *out, const char *data, Py_ssize_t size)
{
    if (buffer_reserve(out, 4 * size + 2) < 0) {
        return -1;
    }
    char *at = out->data + out->size;
    Py_ssize_t simple = 0;
    while (simple < size && is_simple((unsigned char)data[simple])) {
        simple++;
    }
    char quote = '\'';
    if (simple < size && memchr(data, '\'', (size_t)size) && !memchr(data, '"', (size_t)size)) {
        quote = '"';
    }
    *at = quote;
    memcpy(at + 1, data, (size_t)simple);
    out->size += simple + 1;
    for (; simple < size; simple++) {
        put_escaped(out, (unsigned char)data[simple], quote);
    }
    out->data[out->size++] = quote;
    return 0;
}

static int
put_string(Buffer *out, PyObject *value)
{
    if (PyUnicode_IS_COMPACT_ASCII(value)) {
        return put_ascii(out, (const char *)PyUnicode_1BYTE_DATA(value),
                         PyUnicode_GET_LENGTH(value));
    }
    return buffer_put_repr(out, value);
}

int
atom_put_whole(Buffer *out, PyObject *atom)
{
    PyTypeObject *type = Py_TYPE(atom);
    long long value;
    if (type == &PyLong_Type && small_integer(atom, &value)) {
        return buffer_put_integer(out, value);
    }
    if (type == &PyUnicode_Type) {
        return put_string(out, atom);
    }
    if (atom == Py_None) {
        return buffer_put_literal(out, "None");
    }
    if (type == &PyBool_Type) {
        return atom == Py_True ? buffer_put_literal(out, "True")
                               : buffer_put_literal(out, "False");
    }
    if (type == &PyFloat_Type) {
        return put_float(out, atom);
    }
    return buffer_put_repr(out, atom);
}

/* Append an integer of many digits, or its size where the digits are too many. */
static int
put_big_integer(Render *render, PyObject *value, size_t bits)
{
    Py_ssize_t digits = render->left < MOST_DIGITS ? render->left : MOST_DIGITS;
    if ((double)bits * 0.30103 <= (double)digits) {
        if (buffer_put_repr(render->out, value) == 0) {
            return 0;
        }
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return -1;
        }
        PyErr_Clear();
    }
    return buffer_put_literal(render->out, "<int of ") < 0 ||
                   buffer_put_integer(render->out, (long long)bits) < 0 ||
                   buffer_put_literal(render->out, " bits>") < 0
               ? -1
               : 0;
}

/* Append a string or bytes, of which at most the remaining budget is shown. */
static int
put_cut(Render *render, PyObject *value, Py_ssize_t size)
{
    bool text = PyUnicode_CheckExact(value);
    Py_ssize_t room = render->left > 16 ? render->left : 16;
    if (size <= room) {
        return text ? put_string(render->out, value) : buffer_put_repr(render->out, value);
    }
    PyObject *shown = text ? PyUnicode_Substring(value, 0, room)
                           : PyBytes_FromStringAndSize(PyBytes_AS_STRING(value), room);
    if (shown == NULL) {
        return -1;
    }
    int failed = text ? put_string(render->out, shown) : buffer_put_repr(render->out, shown);
    Py_DECREF(shown);
    return failed < 0 || buffer_put_literal(render->out, "<+") < 0 ||
                   buffer_put_integer(render->out, size - room) < 0 ||
                   buffer_put_literal(render->out, " more>") < 0
               ? -1
               : 0;
}

int
atom_put(Render *render, PyObject *atom)
{
    Mark start = buffer_mark(render->out);
    PyTypeObject *type = Py_TYPE(atom);
    long long value;
    int failed;
    if (type == &PyUnicode_Type) {
        failed = put_cut(render, atom, PyUnicode_GET_LENGTH(atom));
    }
    else if (type == &PyBytes_Type) {
        failed = put_cut(render, atom, PyBytes_GET_SIZE(atom));
    }
    else if (type == &PyLong_Type && !small_integer(atom, &value)) {
        size_t bits = _PyLong_NumBits(atom);
        failed = bits > SHORT_BITS ? put_big_integer(render, atom, bits)
                                   : buffer_put_repr(render->out, atom);
    }
    else {
        failed = atom_put_whole(render->out, atom);
    }
    render->left -= buffer_characters(render->out, start) + 2;
    return failed;
}
