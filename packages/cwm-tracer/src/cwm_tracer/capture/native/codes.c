#include "codes.h"

#include "frames.h"

static int
read_flag(PyObject *facts, const char *name, bool *flag)
{
    PyObject *value = PyObject_GetAttrString(facts, name);
    int truth = value == NULL ? -1 : PyObject_IsTrue(value);
    Py_XDECREF(value);
    *flag = truth > 0;
    return truth < 0 ? -1 : 0;
}

static int
read_marks(Code *code, PyObject *facts)
{
    code->marks_object = PyObject_GetAttrString(facts, "marks");
    if (code->marks_object == NULL) {
        return -1;
    }
    char *marks;
    int failed = PyBytes_AsStringAndSize(code->marks_object, &marks, &code->units);
    code->marks = marks;
    return failed;
}

static int
read_number(Code *code, PyObject *facts)
{
    PyObject *value = PyObject_GetAttrString(facts, "number");
    if (value == NULL) {
        return -1;
    }
    long long number = PyLong_AsLongLong(value);
    Py_DECREF(value);
    code->place_size = PyOS_snprintf(code->place, sizeof(code->place), "\x1f%lld", number);
    return PyErr_Occurred() ? -1 : 0;
}

/* Write down that the code units from `start` to `end` belong to a line. */
static void
fill_lines(Code *code, Py_ssize_t start, Py_ssize_t end, int line)
{
    for (Py_ssize_t unit = start / 2; unit < end / 2 && unit < code->units; unit++) {
        code->lines[unit] = line;
    }
    if (line && (code->first == 0 || line < code->first)) {
        code->first = line;
    }
    if (line > code->last) {
        code->last = line;
    }
}

static int
read_lines(Code *code)
{
    code->lines = PyMem_Calloc((size_t)code->units + 1, sizeof(int));
    PyObject *ranges = PyObject_CallMethod(code->code, "co_lines", NULL);
    PyObject *range;
    if (code->lines == NULL || ranges == NULL) {
        Py_XDECREF(ranges);
        return code->lines == NULL ? (PyErr_NoMemory(), -1) : -1;
    }
    while ((range = PyIter_Next(ranges)) != NULL) {
        Py_ssize_t start, end;
        PyObject *line;
        if (PyArg_ParseTuple(range, "nnO", &start, &end, &line)) {
            fill_lines(code, start, end, line == Py_None ? 0 : (int)PyLong_AsLong(line));
        }
        Py_DECREF(range);
        if (PyErr_Occurred()) {
            break;
        }
    }
    Py_DECREF(ranges);
    return PyErr_Occurred() ? -1 : 0;
}

static int
read_shown(Code *code, PyObject *facts)
{
    PyObject *multi = PyObject_GetAttrString(facts, "multi");
    if (multi == NULL) {
        return -1;
    }
    code->shown = PyMem_Calloc((size_t)(code->last - code->first) + 1, sizeof(int));
    if (code->shown == NULL) {
        PyErr_NoMemory();
    }
    PyObject *key, *value;
    Py_ssize_t position = 0;
    while (!PyErr_Occurred() && PyDict_Next(multi, &position, &key, &value)) {
        long line = PyLong_AsLong(key);
        if (line >= code->first && line <= code->last) {
            code->shown[line - code->first] = (int)PyLong_AsLong(value);
        }
    }
    Py_DECREF(multi);
    return PyErr_Occurred() ? -1 : 0;
}

static int
read_variable(Variable *variable, PyObject *name)
{
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    variable->field = text == NULL ? NULL : PyMem_Malloc((size_t)size + 2);
    if (variable->field == NULL) {
        return text == NULL ? -1 : (PyErr_NoMemory(), -1);
    }
    variable->field[0] = variable->field[size + 1] = '\x1f';
    memcpy(variable->field + 1, text, (size_t)size);
    variable->size = size + 2;
    return 0;
}

/* Find the slots of the names to show, which are in the order of the slots. */
static int
find_slots(Code *code, PyObject *names)
{
    PyCodeObject *object = (PyCodeObject *)code->code;
    int slot = 0;
    for (Py_ssize_t index = 0; index < code->count; index++, slot++) {
        PyObject *name = PyTuple_GET_ITEM(names, index);
        Variable *variable = &code->variables[index];
        while (slot < object->co_nlocalsplus &&
               PyUnicode_Compare(PyTuple_GET_ITEM(object->co_localsplusnames, slot), name)) {
            slot++;
        }
        if (slot == object->co_nlocalsplus) {
            PyErr_Format(PyExc_SystemError, "no slot for %R", name);
            return -1;
        }
        variable->slot = slot;
        variable->cell = slot_may_be_cell(object, slot);
        if (read_variable(variable, name) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
read_variables(Code *code, PyObject *facts)
{
    PyObject *names = PyObject_GetAttrString(facts, "names");
    if (names == NULL) {
        return -1;
    }
    int failed = 0;
    code->namespace = names == Py_None;
    if (!code->namespace) {
        code->count = PyTuple_GET_SIZE(names);
        code->variables = PyMem_Calloc((size_t)code->count + 1, sizeof(Variable));
        failed = code->variables == NULL ? (PyErr_NoMemory(), -1) : find_slots(code, names);
    }
    Py_DECREF(names);
    return failed;
}

static int
read_facts(Code *code, PyObject *facts)
{
    code->own = true;
    return read_flag(facts, "starts", &code->starts) < 0 ||
                   read_flag(facts, "init", &code->init) < 0 || read_number(code, facts) < 0 ||
                   read_marks(code, facts) < 0 || read_lines(code) < 0 ||
                   read_shown(code, facts) < 0 || read_variables(code, facts) < 0
               ? -1
               : 0;
}

static void
code_free(Code *code)
{
    for (Py_ssize_t index = 0; code->variables != NULL && index < code->count; index++) {
        PyMem_Free(code->variables[index].field);
    }
    PyMem_Free(code->variables);
    PyMem_Free(code->lines);
    PyMem_Free(code->shown);
    Py_XDECREF(code->marks_object);
    Py_DECREF(code->code);
    PyMem_Free(code);
}

static void
put_slot(Codes *codes, Code *code)
{
    size_t at = ((size_t)code->code >> 4) & (codes->size - 1);
    while (codes->slots[at] != NULL) {
        at = (at + 1) & (codes->size - 1);
    }
    codes->slots[at] = code;
}

static int
grow(Codes *codes)
{
    Codes old = *codes;
    codes->size = old.size ? 2 * old.size : 64;
    codes->slots = PyMem_Calloc(codes->size, sizeof(Code *));
    if (codes->slots == NULL) {
        *codes = old;
        PyErr_NoMemory();
        return -1;
    }
    for (size_t at = 0; at < old.size; at++) {
        if (old.slots[at] != NULL) {
            put_slot(codes, old.slots[at]);
        }
    }
    PyMem_Free(old.slots);
    return 0;
}

Code *
codes_add(Codes *codes, PyObject *object, PyObject *facts)
{
    if (2 * codes->used >= codes->size && grow(codes) < 0) {
        return NULL;
    }
    Code *code = PyMem_Calloc(1, sizeof(Code));
    if (code == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    code->code = Py_NewRef(object);
    if (facts != Py_None && read_facts(code, facts) < 0) {
        code_free(code);
        return NULL;
    }
    codes->used++;
    put_slot(codes, code);
    return code;
}

void
codes_free(Codes *codes)
{
    for (size_t at = 0; at < codes->size; at++) {
        if (codes->slots[at] != NULL) {
            code_free(codes->slots[at]);
        }
    }
    PyMem_Free(codes->slots);
    memset(codes, 0, sizeof(*codes));
}
