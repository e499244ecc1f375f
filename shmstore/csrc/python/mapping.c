/* mapping.c: System V attachments and POSIX mappings, owned from the call that makes them (memory.h).
 *
 * RESULTS  a Memory, or (call, errno, Memory) of the call that failed, from which shmstore/sysv and posix make the
 *   sentence; a segment that was made before is removed with that Memory. */
#include "python/memory.h"

#include <sys/shm.h>
#include <unistd.h>

#include "os/posix.h"
#include "os/sysv.h"

static PyObject *failed(struct shms_memory *m, const char *call, int32_t code) {
    return Py_BuildValue("(siN)", call, -code, m);
}

static int detach(struct shms_memory *m) { return shms_sysv_shmdt(m->owned.mapping.start); }

static int unmap(struct shms_memory *m) {
    int code;
    Py_BEGIN_ALLOW_THREADS code = shms_posix_munmap(m->owned.mapping.start, m->owned.mapping.length);
    Py_END_ALLOW_THREADS return code;
}

/* From here on it owns the mapping. */
static PyObject *own(struct shms_memory *m, void *start, uint64_t length, bool readonly,
                     int (*give_back)(struct shms_memory *)) {
    m->owned.mapping.start = start;
    m->owned.mapping.length = length;
    m->address = (uintptr_t)start;
    m->size = (Py_ssize_t)length;
    m->readonly = readonly;
    m->give_back = give_back;
    return (PyObject *)m;
}

/* Attaches the segment of m->segment, whole. Its id cannot be reused while it is attached. */
static PyObject *attach(struct shms_memory *m, uint64_t address, int32_t flags) {
    struct shms_sysv_stat stat;
    int32_t code = 0;
    void *start = shms_sysv_shmat(m->segment, address, flags, &code);
    if (!start)
        return failed(m, "shmat", code);
    own(m, start, 0, (flags & SHM_RDONLY) != 0, detach);
    if ((code = shms_sysv_ipc_stat(m->segment, &stat)) < 0)
        return failed(m, "shmctl", code);
    m->size = (Py_ssize_t)stat.size;
    return (PyObject *)m;
}

PyObject *shms_attach_segment(PyObject *module, PyObject *args) {
    int id, flags;
    unsigned long long address;
    if (!PyArg_ParseTuple(args, "iKi", &id, &address, &flags))
        return NULL;
    struct shms_memory *m = shms_memory_new(PyModule_GetState(module));
    if (!m)
        return NULL;
    m->segment = id;
    return attach(m, address, flags);
}

PyObject *shms_create_segment(PyObject *module, PyObject *args) {
    int key, flags;
    unsigned long long size;
    if (!PyArg_ParseTuple(args, "iKi", &key, &size, &flags))
        return NULL;
    struct shms_memory *m = shms_memory_new(PyModule_GetState(module));
    if (!m)
        return NULL;
    int32_t id = shms_sysv_shmget(key, size, flags | IPC_CREAT | IPC_EXCL);
    if (id < 0)
        return failed(m, "shmget", id);
    m->segment = id;
    m->is_removed = 1;
    return attach(m, 0, 0);
}

PyObject *shms_map_memory(PyObject *module, PyObject *args) {
    unsigned long long address, length;
    long long offset;
    int prot, flags, fd, readonly;
    int32_t code = 0;
    if (!PyArg_ParseTuple(args, "KKiiiLp", &address, &length, &prot, &flags, &fd, &offset, &readonly))
        return NULL;
    struct shms_memory *m = shms_memory_new(PyModule_GetState(module));
    void *start = NULL;
    if (!m)
        return NULL;
    Py_BEGIN_ALLOW_THREADS start = shms_posix_mmap(address, length, prot, flags, fd, offset, &code);
    Py_END_ALLOW_THREADS return start ? own(m, start, length, readonly, unmap) : failed(m, "mmap", code);
}

/* ---- shm_open: a number has no owner, so the whole function is C: what a handler raises either finds no descriptor, or
 * closes it, or comes up in the caller after the call. */

static int open_object(PyObject *converted) {
    const char *name;
    int flags, mode;
    return PyArg_ParseTuple(converted, "yii", &name, &flags, &mode) ? shms_posix_shm_open(name, flags, (uint32_t)mode)
                                                                    : SHMS_RAISED;
}

/* self: convert(name, oflag, mode) -> their values in C, and failure(errno, name, oflag, mode) -> exception */
static PyObject *call_shm_open(PyObject *self, PyObject *args, PyObject *keywords) {
    PyObject *converted = PyObject_Call(PyTuple_GetItem(self, 0), args, keywords);
    int fd = converted ? open_object(converted) : SHMS_RAISED;
    if (fd < 0 && fd != SHMS_RAISED)
        shms_raise(PyObject_CallFunction(PyTuple_GetItem(self, 1), "iO", -fd, converted));
    Py_XDECREF(converted);
    if (fd >= 0 && PyErr_CheckSignals()) {
        close(fd);
        return NULL;
    }
    return fd >= 0 ? PyLong_FromLong(fd) : NULL;
}

PyDoc_STRVAR(
    shm_open_doc,
    "shm_open(name, oflag, mode=0o600)\n--\n\n"
    "Open an object, or create one with ``O_CREAT | O_RDWR``, and return a descriptor, for ``os.close``.\n\n"
    "A name is a slash and up to 255 bytes without one; the slash may be left out. A new object has 0 bytes. The\n"
    "process's umask applies to ``mode``. The descriptor is not inherited by programs that this one starts.\n\n"
    "Raises: OSError: ENOENT, EEXIST (O_EXCL), EACCES, EINVAL and ENAMETOOLONG (name), ENOSPC, EMFILE.");
static PyMethodDef shm_open_method = {"shm_open", (PyCFunction)(void (*)(void))call_shm_open,
                                      METH_VARARGS | METH_KEYWORDS, shm_open_doc};

PyObject *shms_make_shm_open(PyObject *module, PyObject *args) {
    PyObject *name = PyUnicode_FromString("shmstore.posix");
    PyObject *made = name && PyTuple_Size(args) == 2 ? PyCFunction_NewEx(&shm_open_method, args, name) : NULL;
    Py_XDECREF(name);
    return made;
}
