#include "recorder.h"

static PyObject *
attribute_of(const char *module, const char *name)
{
    PyObject *imported = PyImport_ImportModule(module);
    PyObject *found = imported == NULL ? NULL : PyObject_GetAttrString(imported, name);
    Py_XDECREF(imported);
    return found;
}

static int
read_renderer(Recorder *self)
{
    self->half_built = PyObject_GetAttrString(self->renderer, "half_built");
    PyObject *call = PyObject_GetAttrString(self->renderer, "call_repr");
    int truth = self->half_built == NULL || call == NULL ? -1 : PyObject_IsTrue(call);
    self->call_repr = truth > 0;
    Py_XDECREF(call);
    return truth < 0 ? -1 : render_init(&self->render, self->renderer, &self->region.record);
}

static int
open_region(Recorder *self, PyObject *region)
{
    PyObject *full = attribute_of("cwm_tracer.capture.stream", "FullError");
    int failed = full == NULL || region_init(&self->region, region, full) < 0;
    Py_XDECREF(full);
    return failed ? -1 : 0;
}

static int
find_helpers(Recorder *self, PyObject *finish, Py_ssize_t steps, Py_ssize_t depth)
{
    PyObject *code = attribute_of("cwm_tracer.capture.codes", "Code");
    self->describe = code == NULL ? NULL : PyObject_GetAttrString(code, "of");
    Py_XDECREF(code);
    self->implicit = attribute_of("cwm_tracer.capture.codes", "IMPLICIT");
    PyObject *endings = attribute_of("cwm_tracer.capture.endings", "Endings");
    PyObject *args = PyTuple_Pack(1, finish);
    PyObject *named = Py_BuildValue("{snsn}", "steps", steps, "depth", depth);
    if (endings != NULL && args != NULL && named != NULL) {
        self->endings = PyObject_Call(endings, args, named);
    }
    Py_XDECREF(endings);
    Py_XDECREF(args);
    Py_XDECREF(named);
    return self->describe == NULL || self->implicit == NULL || self->endings == NULL ? -1 : 0;
}

static int
recorder_init(PyObject *object, PyObject *args, PyObject *named)
{
    static char *names[] = {"region", "renderer", "statements", "filename", "entry",
                            "steps",  "depth",    "finish",     NULL};
    Recorder *self = (Recorder *)object;
    PyObject *region, *renderer, *statements, *filename, *entry, *finish;
    Py_ssize_t steps, depth;
    if (self->renderer != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the recorder is already made");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, named, "OOO$UOnnO:Recorder", names, &region, &renderer,
                                     &statements, &filename, &entry, &steps, &depth, &finish)) {
        return -1;
    }
    self->renderer = Py_NewRef(renderer);
    self->statements = Py_NewRef(statements);
    self->filename = Py_NewRef(filename);
    self->entry = Py_NewRef(entry);
    self->steps_left = steps;
    self->most_depth = depth;
    return open_region(self, region) < 0 || threads_init(&self->threads, region) < 0 ||
                   read_renderer(self) < 0 ||
                   find_helpers(self, finish, steps, depth) < 0
               ? -1
               : 0;
}

static int
recorder_traverse(PyObject *object, visitproc visit, void *arg)
{
    Recorder *self = (Recorder *)object;
    Py_VISIT(self->renderer);
    Py_VISIT(self->render.python);
    Py_VISIT(self->endings);
    Py_VISIT(self->statements);
    Py_VISIT(self->entry);
    Py_VISIT(self->half_built);
    Py_VISIT(self->threads.tracks);
    return 0;
}

static int
recorder_clear(PyObject *object)
{
    Recorder *self = (Recorder *)object;
    self->over = true;
    Py_CLEAR(self->endings);
    Py_CLEAR(self->statements);
    Py_CLEAR(self->entry);
    return 0;
}

static void
recorder_dealloc(PyObject *object)
{
    Recorder *self = (Recorder *)object;
    PyObject_GC_UnTrack(object);
    recorder_clear(object);
    render_free(&self->render);
    region_free(&self->region);
    codes_free(&self->codes);
    threads_free(&self->threads);
    Py_CLEAR(self->renderer);
    Py_CLEAR(self->describe);
    Py_CLEAR(self->implicit);
    Py_CLEAR(self->filename);
    Py_CLEAR(self->half_built);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *
recorder_start(PyObject *self, PyObject *Py_UNUSED(none))
{
    PyEval_SetTrace(recorder_on_event, self);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *
recorder_share(PyObject *self, PyObject *Py_UNUSED(none))
{
    return threads_share(&((Recorder *)self)->threads) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
recorder_end_thread(PyObject *self, PyObject *Py_UNUSED(none))
{
    PyEval_SetTrace(NULL, NULL);
    return threads_end(&((Recorder *)self)->threads) < 0 ? NULL : Py_NewRef(Py_None);
}

/* The global trace function as Python sees it: called where the program has set it again. */
static PyObject *
recorder_call(PyObject *self, PyObject *args, PyObject *Py_UNUSED(named))
{
    PyEval_SetTrace(recorder_on_event, self);
    if (recorder_on_named_event((Recorder *)self, args) < 0) {
        return NULL;
    }
    PyObject *trace = PyObject_GetAttrString(PyTuple_GET_ITEM(args, 0), "f_trace");
    if (trace != NULL && !Py_IS_TYPE(trace, &ActivationType)) {
        Py_SETREF(trace, Py_NewRef(Py_None));
    }
    return trace;
}

static PyObject *
recorder_trace(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self);
}

static PyObject *
recorder_renderer(PyObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(((Recorder *)self)->renderer);
}

static PyObject *
recorder_started(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Recorder *)self)->started);
}

static PyMethodDef methods[] = {
    {"start", recorder_start, METH_NOARGS, "Begin to watch for the call of the entry function."},
    {"share", recorder_share, METH_NOARGS, "Prepare for a second thread."},
    {"start_thread", recorder_start, METH_NOARGS, "Begin to record the calling thread."},
    {"end_thread", recorder_end_thread, METH_NOARGS,
     "Stop to record the calling thread, which ends."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"trace", recorder_trace, NULL, "The global trace function: the recorder itself.", NULL},
    {"renderer", recorder_renderer, NULL, "What renders objects.", NULL},
    {"started", recorder_started, NULL, "Whether the entry was called.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject RecorderType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "cwm_tracer.capture._native.Recorder",
    .tp_doc = "Records the execution of one entry function into a region.",
    .tp_basicsize = sizeof(Recorder),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_init = recorder_init,
    .tp_dealloc = recorder_dealloc,
    .tp_traverse = recorder_traverse,
    .tp_clear = recorder_clear,
    .tp_call = recorder_call,
    .tp_methods = methods,
    .tp_getset = properties,
};
