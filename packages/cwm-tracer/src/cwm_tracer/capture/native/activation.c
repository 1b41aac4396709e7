#include "activation.h"

#include "frames.h"
#include "recorder.h"

Activation *
activation_new(struct Recorder *recorder, Code *code, uint64_t number)
{
    Activation *self = PyObject_New(Activation, &ActivationType);
    if (self == NULL) {
        return NULL;
    }
    memset((char *)self + sizeof(PyObject), 0, sizeof(*self) - sizeof(PyObject));
    self->recorder = (struct Recorder *)Py_NewRef((PyObject *)recorder);
    self->code = code;
    self->number = number;
    self->raised_at = -2;
    self->tag_size = PyOS_snprintf(self->tag, sizeof(self->tag), "\x1f%llu\x1f",
                                   (unsigned long long)number);
    if (code->count) {
        self->known = PyMem_Calloc((size_t)code->count, sizeof(Known));
        if (self->known == NULL) {
            Py_DECREF(self);
            PyErr_NoMemory();
            return NULL;
        }
    }
    return self;
}

static void
activation_dealloc(PyObject *object)
{
    Activation *self = (Activation *)object;
    for (Py_ssize_t index = 0; self->known != NULL && index < self->code->count; index++) {
        known_clear(&self->known[index]);
    }
    for (Py_ssize_t index = 0; index < self->bound_count; index++) {
        known_clear(&self->bound[index].known);
        Py_DECREF(self->bound[index].name);
    }
    PyMem_Free(self->known);
    PyMem_Free(self->bound);
    Py_XDECREF((PyObject *)self->recorder);
    PyObject_Free(self);
}

static int
changes_of_slots(Activation *self, PyFrameObject *frame, Render *render, Region *region)
{
    const Code *code = self->code;
    bool gone = false;
    for (Py_ssize_t index = 0; index < code->count; index++) {
        const Variable *variable = &code->variables[index];
        Known *known = &self->known[index];
        PyObject *value = frame_variable(frame, variable->slot, variable->cell);
        if (value == NULL) {
            gone |= known->bound;
        }
        else if (!known_same(known, value) &&
                 known_update(known, value, variable->field, variable->size, render, region) < 0) {
            return -1;
        }
    }
    for (Py_ssize_t index = 0; gone && index < code->count; index++) {
        const Variable *variable = &code->variables[index];
        Known *known = &self->known[index];
        if (known->bound && frame_variable(frame, variable->slot, variable->cell) == NULL &&
            known_forget(known, variable->field, variable->size, region) < 0) {
            return -1;
        }
    }
    return 0;
}

/* What was known of a name of a namespace; a new one is put at the end. */
static Known *
find_bound(Activation *self, PyObject *name)
{
    for (Py_ssize_t index = 0; index < self->bound_count; index++) {
        if (self->bound[index].name == name ||
            PyUnicode_Compare(self->bound[index].name, name) == 0) {
            return &self->bound[index].known;
        }
    }
    Bound *bound = &self->bound[self->bound_count++];
    memset(bound, 0, sizeof(*bound));
    bound->name = Py_NewRef(name);
    return &bound->known;
}

static int
reserve_bound(Activation *self, Py_ssize_t more)
{
    Py_ssize_t room = self->bound_count + more;
    if (room <= self->bound_room) {
        return 0;
    }
    Bound *bound = PyMem_Realloc(self->bound, (size_t)(2 * room) * sizeof(Bound));
    if (bound == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->bound = bound;
    self->bound_room = 2 * room;
    return 0;
}

static PyObject *
field_of(PyObject *name)
{
    return PyUnicode_FromFormat("\x1f%U\x1f", name);
}

static int
update_bound(Known *known, PyObject *name, PyObject *value, Render *render, Region *region)
{
    Py_ssize_t size;
    PyObject *field = field_of(name);
    const char *text = field == NULL ? NULL : PyUnicode_AsUTF8AndSize(field, &size);
    int failed = text == NULL ||
                 (value == NULL ? known_forget(known, text, size, region)
                                : known_update(known, value, text, size, render, region)) < 0;
    Py_XDECREF(field);
    return failed ? -1 : 0;
}

/* Forget the names that are gone from a namespace, and say so. */
static int
forget_bound(Activation *self, PyObject *names, Render *render, Region *region)
{
    Py_ssize_t kept = 0;
    for (Py_ssize_t index = 0; index < self->bound_count; index++) {
        Bound bound = self->bound[index];
        int there = PyDict_Contains(names, bound.name);
        if (there == 0 && update_bound(&bound.known, bound.name, NULL, render, region) == 0) {
            Py_DECREF(bound.name);
        }
        else {
            self->bound[kept++] = bound;
            if (there < 0 || PyErr_Occurred()) {
                return -1;
            }
        }
    }
    self->bound_count = kept;
    return 0;
}

/* `names` is what `codes.explicit` finds in the namespace. */
static int
changes_of_names(Activation *self, PyObject *names, Render *render, Region *region)
{
    if (reserve_bound(self, PyDict_GET_SIZE(names)) < 0) {
        return -1;
    }
    PyObject *name, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(names, &position, &name, &value)) {
        Known *known = find_bound(self, name);
        if (!known_same(known, value) && update_bound(known, name, value, render, region) < 0) {
            return -1;
        }
    }
    return self->bound_count == PyDict_GET_SIZE(names)
               ? 0
               : forget_bound(self, names, render, region);
}

int
activation_changes(Activation *self, PyFrameObject *frame, Render *render, Region *region)
{
    if (!self->code->namespace) {
        return changes_of_slots(self, frame, render, region);
    }
    PyObject *namespace = frame_namespace(frame);
    PyObject *names = PyObject_CallOneArg(self->recorder->explicit,
                                          namespace == NULL ? Py_None : namespace);
    if (names == NULL) {
        return -1;
    }
    int failed = changes_of_names(self, names, render, region);
    Py_DECREF(names);
    return failed;
}

PyTypeObject ActivationType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "cwm_tracer.capture._native.Activation",
    .tp_doc = "One frame of the program: what was last shown of it.",
    .tp_basicsize = sizeof(Activation),
    .tp_dealloc = activation_dealloc,
    .tp_call = activation_call,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
};
