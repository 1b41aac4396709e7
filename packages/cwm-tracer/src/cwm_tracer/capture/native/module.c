/* `cwm_tracer.capture._native`: the recorder in C. */
#include "recorder.h"

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cwm_tracer.capture._native",
    .m_doc = "The recorder in C; its records are those of `recorder`, byte for byte.",
    .m_size = -1,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    if (PyType_Ready(&ActivationType) < 0 || PyType_Ready(&RecorderType) < 0) {
        return NULL;
    }
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddObjectRef(module, "Recorder", (PyObject *)&RecorderType) < 0) {
        Py_CLEAR(module);
    }
    return module;
}
