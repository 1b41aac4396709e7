/* From an event of a frame to a record; the counterpart of `recorder.py`. */
#include "frames.h"
#include "recorder.h"

static int
failed_or_ended(PyObject *result)
{
    if (result == NULL) {
        return FAILED;
    }
    Py_DECREF(result);
    return ENDED;
}

/* An end that the recorder comes to: does not return in a job, where it ends the process. */
static int
end(Recorder *self, const char *how)
{
    return failed_or_ended(PyObject_CallMethod(self->endings, how, NULL));
}

static int
count_event(Recorder *self)
{
    return --self->steps_left < 0 ? end(self, "too_many_steps") : GO_ON;
}

static int
line_of(const Activation *activation, PyFrameObject *frame, int unit)
{
    int line = frame_line_set(frame);
    return line ? line : code_line(activation->code, unit);
}

/* The line to show: that of the statement over several lines, if it belongs to one. */
static int
shown_line(const Activation *activation, PyFrameObject *frame)
{
    int line = line_of(activation, frame, frame_last(frame));
    int shown = code_shown(activation->code, line);
    return shown ? shown : line;
}

static int
begin(Recorder *self, const Activation *activation, char kind, int line)
{
    return region_begin(&self->region, kind, activation->tag, activation->tag_size) < 0 ||
                   buffer_put_integer(&self->region.record, line) < 0
               ? FAILED
               : GO_ON;
}

static Code *
register_code(Recorder *self, PyObject *code)
{
    PyObject *facts = PyObject_CallFunction(self->describe, "OKOOO", code,
                                            (unsigned long long)self->own_codes, self->filename,
                                            self->statements, self->entry);
    if (facts == NULL) {
        return NULL;
    }
    Code *known = codes_add(&self->codes, code, facts);
    if (known != NULL && known->own) {
        PyObject *record = PyObject_CallMethod(facts, "record", NULL);
        self->own_codes++;
        self->region.record.size = self->region.record.beyond = 0;
        self->region.deferrals = 0;
        if (record == NULL || buffer_put_text(&self->region.record, record) < 0) {
            known = NULL;
        }
        else {
            self->region.record.size--; /* its end mark, which the commit puts */
            known = region_commit(&self->region) < 0 ? NULL : known;
        }
        Py_XDECREF(record);
    }
    Py_DECREF(facts);
    return known;
}

/* Borrowed: the frame owns it. */
static Activation *
activation_of(Recorder *self, PyFrameObject *frame, Code *code, bool *resumed)
{
    PyObject *held = frame_trace(frame);
    *resumed = held != NULL && Py_IS_TYPE(held, &ActivationType) &&
               ((Activation *)held)->code == code && ((Activation *)held)->recorder == self;
    if (*resumed) {
        return (Activation *)held;
    }
    Activation *made = activation_new(self, code, ++self->activations);
    if (made != NULL) {
        self->started = true;
        frame_set_trace(frame, (PyObject *)made);
        Py_DECREF(made);
    }
    return made;
}

/* Note that an object's `__init__` begins (1) or ends (-1). */
static int
construction(Recorder *self, PyFrameObject *frame, int step)
{
    PyObject *object = frame_variable(frame, 0, slot_may_be_cell(frame_code(frame), 0));
    PyObject *key = PyLong_FromVoidPtr(object == NULL ? Py_None : object);
    if (key == NULL) {
        return FAILED;
    }
    PyObject *running = PyDict_GetItemWithError(self->half_built, key);
    long count = (running == NULL ? 0 : PyLong_AsLong(running)) + step;
    int failed = PyErr_Occurred() != NULL;
    if (!failed && count > 0) {
        PyObject *value = PyLong_FromLong(count);
        failed = value == NULL || PyDict_SetItem(self->half_built, key, value) < 0;
        Py_XDECREF(value);
    }
    else if (!failed && running != NULL) {
        failed = PyDict_DelItem(self->half_built, key) < 0;
    }
    Py_DECREF(key);
    return failed ? FAILED : GO_ON;
}

/* Record the call of a frame, or its resumption. */
static int
enter(Recorder *self, Activation *activation, PyFrameObject *frame, bool resumed)
{
    activation->active = true;
    activation->raised_at = -2;
    activation->step = 0;
    Thread *thread = activation->thread = threads_enter(&self->threads);
    if (thread == NULL) {
        return FAILED;
    }
    Py_ssize_t depth = thread->depth++;
    if (thread->depth > self->most_depth) {
        return end(self, "too_deep");
    }
    const Code *code = activation->code;
    Buffer *record = &self->region.record;
    return begin(self, activation, resumed ? 's' : 'c', shown_line(activation, frame)) < 0 ||
                   buffer_put_byte(record, '\x1f') < 0 ||
                   buffer_put_integer(record, depth) < 0 ||
                   buffer_put(record, code->place, code->place_size) < 0 ||
                   activation_changes(activation, frame, &self->render, &self->region) < 0 ||
                   region_commit(&self->region) < 0
               ? FAILED
               : GO_ON;
}

static int
on_call(Recorder *self, PyFrameObject *frame)
{
    PyObject *object = (PyObject *)frame_code(frame);
    Code *code = codes_find(&self->codes, object);
    if (code == NULL) {
        code = register_code(self, object);
        if (code == NULL) {
            return FAILED;
        }
    }
    if (!code->own || (!self->started && !code->starts)) {
        return GO_ON;
    }
    bool resumed;
    Activation *activation = activation_of(self, frame, code, &resumed);
    if (activation == NULL) {
        return FAILED;
    }
    int state = count_event(self);
    if (state == GO_ON && self->call_repr && code->init) {
        state = construction(self, frame, 1);
    }
    return state == GO_ON ? enter(self, activation, frame, resumed) : state;
}

static int
on_line(Recorder *self, Activation *activation, PyFrameObject *frame)
{
    int unit = frame_last(frame);
    int line = line_of(activation, frame, unit);
    int shown = code_shown(activation->code, line);
    activation->raised_at = -2;
    if (!shown) {
        activation->step = 0;
        if (code_mark(activation->code, unit) & MARK_REPEATS) {
            return GO_ON;
        }
    }
    else if (shown == activation->step) {
        return GO_ON;
    }
    else {
        activation->step = line = shown;
    }
    int state = count_event(self);
    if (state != GO_ON) {
        return state;
    }
    return begin(self, activation, 'l', line) < 0 ||
                   activation_changes(activation, frame, &self->render, &self->region) < 0 ||
                   region_commit(&self->region) < 0
               ? FAILED
               : GO_ON;
}

/* Write a record of a value: a return, a yield or an exception. */
static int
put_value(Recorder *self, Activation *activation, PyFrameObject *frame, char kind, PyObject *value)
{
    Buffer *record = &self->region.record;
    if (begin(self, activation, kind, shown_line(activation, frame)) < 0 ||
        buffer_put_byte(record, '\x1f') < 0) {
        return FAILED;
    }
    Py_ssize_t start = record->size;
    if (render_text(&self->render, value, false) < 0) {
        return FAILED;
    }
    if (kind == 'e' && activation->thread->entry) {
        self->error_at = (uint64_t)start;
        self->error_size = record->size - start;
        if (region_defer(&self->region, &self->error_at) < 0) {
            return FAILED;
        }
    }
    return region_commit(&self->region);
}

static int
on_exception(Recorder *self, Activation *activation, PyFrameObject *frame, PyObject *arg)
{
    int state = count_event(self);
    if (state != GO_ON) {
        return state;
    }
    activation->raised_at = frame_last(frame);
    PyObject *error = PyTuple_GetItem(arg, 1);
    int memory = error == NULL ? -1 : PyObject_IsInstance(error, PyExc_MemoryError);
    if (memory < 0) {
        return FAILED;
    }
    if (activation->thread->entry) {
        self->memory = memory;
    }
    return put_value(self, activation, frame, 'e', error);
}

/* The end of the entry's own frame ends the recording. */
static int
root_left(Recorder *self, bool returned)
{
    self->over = true;
    PyObject *text = PyUnicode_DecodeUTF8(region_at(&self->region, self->error_at),
                                          self->error_size, "replace");
    if (text == NULL) {
        return FAILED;
    }
    return failed_or_ended(PyObject_CallMethod(self->endings, "left", "ONO",
                                               returned ? Py_True : Py_False, text,
                                               self->memory ? Py_True : Py_False));
}

static int
on_return(Recorder *self, Activation *activation, PyFrameObject *frame, PyObject *arg)
{
    int state = count_event(self);
    if (state != GO_ON) {
        return state;
    }
    int unit = frame_last(frame);
    char mark = code_mark(activation->code, unit);
    /* An exception thrown in at a yield leaves the frame there, too. */
    bool suspended = mark & MARK_SUSPENDS && activation->raised_at != unit;
    PyObject *value = arg == NULL ? Py_None : arg;
    if (put_value(self, activation, frame, suspended ? 'y' : 'r', value) < 0) {
        return FAILED;
    }
    if (activation->active) {
        activation->active = false;
        activation->thread->depth--;
    }
    if (activation->code->init && PyDict_GET_SIZE(self->half_built) &&
        construction(self, frame, -1) < 0) {
        return FAILED;
    }
    bool root = activation->number == 1 && !suspended;
    return root ? root_left(self, mark & MARK_RETURNS) : GO_ON;
}

/* Have the endings explain the exception that is set; does not return in a job. */
static int
explain_failure(Recorder *self)
{
    PyObject *kind, *error, *traceback;
    PyErr_Fetch(&kind, &error, &traceback);
    PyErr_NormalizeException(&kind, &error, &traceback);
    PyObject *result = PyObject_CallMethod(self->endings, "failed", "O", error ? error : Py_None);
    Py_XDECREF(kind);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return failed_or_ended(result);
}

static int
dispatch(Recorder *self, PyFrameObject *frame, int what, PyObject *arg)
{
    if (what == PyTrace_CALL) {
        return on_call(self, frame);
    }
    Activation *activation = (Activation *)frame_trace(frame);
    if (activation == NULL || !Py_IS_TYPE((PyObject *)activation, &ActivationType) ||
        activation->recorder != self) {
        return GO_ON;
    }
    Py_INCREF(activation); /* code that runs meanwhile may take it from the frame */
    int state = what == PyTrace_LINE        ? on_line(self, activation, frame)
                : what == PyTrace_RETURN    ? on_return(self, activation, frame, arg)
                : what == PyTrace_EXCEPTION ? on_exception(self, activation, frame, arg)
                                            : GO_ON;
    Py_DECREF(activation);
    return state;
}

int
recorder_on_event(PyObject *object, PyFrameObject *frame, int what, PyObject *arg)
{
    Recorder *self = (Recorder *)object;
    if (what != PyTrace_CALL && frame_trace(frame) == NULL) {
        return 0;
    }
    if (self->over) {
        return 0;
    }
    Py_INCREF(self);
    PyObject *lock = Py_XNewRef(self->threads.lock);
    int state = lock != NULL && threads_lock(&self->threads) < 0 ? FAILED
                                                                 : dispatch(self, frame, what, arg);
    if (state == FAILED && !self->over) {
        state = explain_failure(self);
    }
    if (lock != NULL) {
        threads_unlock(lock);
        Py_DECREF(lock);
    }
    if (state != GO_ON) {
        self->over = true;
        PyEval_SetTrace(NULL, NULL);
    }
    Py_DECREF(self);
    return state == FAILED ? -1 : 0;
}

int
recorder_on_named_event(Recorder *self, PyObject *args)
{
    static const char *const names[] = {"call", "exception", "line", "return"};
    static const int events[] = {PyTrace_CALL, PyTrace_EXCEPTION, PyTrace_LINE, PyTrace_RETURN};
    PyObject *frame, *arg;
    const char *name;
    if (!PyArg_ParseTuple(args, "O!sO", &PyFrame_Type, &frame, &name, &arg)) {
        return -1;
    }
    for (size_t index = 0; index < sizeof(events) / sizeof(events[0]); index++) {
        if (!strcmp(name, names[index])) {
            return recorder_on_event((PyObject *)self, (PyFrameObject *)frame, events[index], arg);
        }
    }
    return 0;
}

PyObject *
activation_call(PyObject *self, PyObject *args, PyObject *Py_UNUSED(named))
{
    return recorder_on_named_event(((Activation *)self)->recorder, args) < 0 ? NULL
                                                                             : Py_NewRef(self);
}
