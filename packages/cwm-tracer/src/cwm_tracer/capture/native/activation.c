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

/* Drop the names that the last event said are gone. */
static void
drop_gone(Activation *self)
{
    Py_ssize_t kept = 0;
    for (Py_ssize_t index = 0; self->bound_gone && index < self->bound_count; index++) {
        if (self->bound[index].gone) {
            Py_DECREF(self->bound[index].name);
        }
        else {
            self->bound[kept++] = self->bound[index];
        }
    }
    if (self->bound_gone) {
        self->bound_count = kept;
        self->bound_gone = 0;
    }
}

/* Where a name of a namespace is; a new one is put at the end. */
static Py_ssize_t
find_bound(Activation *self, PyObject *name)
{
    for (Py_ssize_t index = 0; index < self->bound_count; index++) {
        if (self->bound[index].name == name ||
            PyUnicode_Compare(self->bound[index].name, name) == 0) {
            return index;
        }
    }
    Bound *bound = &self->bound[self->bound_count];
    memset(bound, 0, sizeof(*bound));
    bound->name = Py_NewRef(name);
    return self->bound_count++;
}

/* Whether the source itself binds a name, as `codes.explicit` has it; -1 on failure. */
static int
is_explicit(Activation *self, PyObject *name)
{
    if (!PyUnicode_CheckExact(name)) {
        return 0;
    }
    int implicit = PySet_Contains(self->recorder->implicit, name);
    return implicit ? -(implicit < 0) : PyUnicode_IsIdentifier(name);
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

/* Say which names are gone from a namespace. */
static int
forget_bound(Activation *self, PyObject *names, Render *render, Region *region)
{
    for (Py_ssize_t index = 0; index < self->bound_count; index++) {
        Bound *bound = &self->bound[index];
        int there = PyDict_Contains(names, bound->name);
        if (there < 0 ||
            (!there && update_bound(&bound->known, bound->name, NULL, render, region) < 0)) {
            return -1;
        }
        bound->gone = !there;
        self->bound_gone += !there;
    }
    return 0;
}

/* `names` is a copy of the namespace. */
static int
changes_of_names(Activation *self, PyObject *names, Render *render, Region *region)
{
    drop_gone(self);
    if (reserve_bound(self, PyDict_GET_SIZE(names)) < 0) {
        return -1;
    }
    PyObject *name, *value;
    Py_ssize_t position = 0, shown = 0, at = 0;
    while (PyDict_Next(names, &position, &name, &value)) {
        /* Names are mostly in the order in which they were found before. */
        if (at >= self->bound_count || self->bound[at].name != name) {
            int own = is_explicit(self, name);
            if (own <= 0) {
                if (own < 0) {
                    return -1;
                }
                continue;
            }
            at = find_bound(self, name);
        }
        Known *known = &self->bound[at++].known;
        shown++;
        if (!known_same(known, value) && update_bound(known, name, value, render, region) < 0) {
            return -1;
        }
    }
    return self->bound_count == shown ? 0 : forget_bound(self, names, render, region);
}

int
activation_changes(Activation *self, PyFrameObject *frame, Render *render, Region *region)
{
    if (!self->code->namespace) {
        return changes_of_slots(self, frame, render, region);
    }
    PyObject *namespace = frame_namespace(frame);
    bool plain = namespace != NULL && PyDict_CheckExact(namespace); /* another runs code */
    PyObject *names = plain ? PyDict_Copy(namespace) : PyDict_New();
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
