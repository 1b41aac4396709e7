#include "threads.h"

int
threads_init(Threads *threads, PyObject *region)
{
    PyObject *module = PyImport_ImportModule("cwm_tracer.capture.tracks");
    PyObject *write = PyObject_GetAttrString(region, "write");
    if (module != NULL && write != NULL) {
        threads->tracks = PyObject_CallMethod(module, "Tracks", "O", write);
    }
    Py_XDECREF(module);
    Py_XDECREF(write);
    threads->asyncio = PyUnicode_InternFromString("asyncio");
    return threads->tracks == NULL || threads->asyncio == NULL ? -1 : 0;
}

void
threads_free(Threads *threads)
{
    for (Py_ssize_t index = 0; index < threads->count; index++) {
        Py_DECREF(threads->all[index]->python);
        PyMem_Free(threads->all[index]);
    }
    PyMem_Free(threads->all);
    threads->all = NULL;
    threads->count = 0;
    Py_CLEAR(threads->tracks);
    Py_CLEAR(threads->lock);
    Py_CLEAR(threads->asyncio);
}

static Thread *
add(Threads *threads, PyObject *python)
{
    Thread **all = PyMem_Realloc(threads->all, (size_t)(threads->count + 1) * sizeof(Thread *));
    if (all == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    threads->all = all;
    Thread *thread = PyMem_Calloc(1, sizeof(Thread));
    if (thread == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    thread->python = Py_NewRef(python);
    thread->entry = threads->count == 0;
    all[threads->count++] = thread;
    return thread;
}

Thread *
threads_enter(Threads *threads)
{
    if (threads->count && threads->lock == NULL) {
        int loaded = PyDict_Contains(PyImport_GetModuleDict(), threads->asyncio);
        if (loaded <= 0) {
            return loaded < 0 ? NULL : threads->all[0];
        }
    }
    PyObject *python = PyObject_CallMethod(threads->tracks, "enter", NULL);
    if (python == NULL) {
        return NULL;
    }
    Thread *found = NULL;
    for (Py_ssize_t index = threads->count; index-- > 0 && found == NULL;) {
        found = threads->all[index]->python == python ? threads->all[index] : NULL;
    }
    if (found == NULL) {
        found = add(threads, python);
    }
    Py_DECREF(python);
    return found;
}

int
threads_share(Threads *threads)
{
    PyObject *done = PyObject_CallMethod(threads->tracks, "share", NULL);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    Py_XSETREF(threads->lock, PyObject_GetAttrString(threads->tracks, "lock"));
    return threads->lock == NULL ? -1 : 0;
}

int
threads_end(Threads *threads)
{
    PyObject *done = PyObject_CallMethod(threads->tracks, "end_thread", NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
threads_lock(Threads *threads)
{
    PyObject *done = PyObject_CallMethod(threads->lock, "acquire", NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

void
threads_unlock(PyObject *lock)
{
    PyObject *kind, *error, *traceback;
    PyErr_Fetch(&kind, &error, &traceback);
    PyObject *done = PyObject_CallMethod(lock, "release", NULL);
    if (done == NULL) {
        PyErr_WriteUnraisable(lock);
    }
    Py_XDECREF(done);
    PyErr_Restore(kind, error, traceback);
}
