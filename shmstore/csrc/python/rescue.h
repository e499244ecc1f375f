/* rescue.h: calls of a Cache that have failed
 *
 * A Cache opens itself again after it was removed, and does the call again; a value that it cannot read is absent; and with
 * on_error="miss" a failure is a miss. All this is decided in one place, shmstore/_store/rescue.py, which every public
 * method asks when it has failed. A call that succeeds does not come here. Nor does a KeyError, which is no failure.
 *
 * GUARDED defines a method that asks, f_guarded, of a method f; GUARDED_AS gives it another name. Hot methods f stand in the same
 * file, so that the compiler can make them a part of it. The calls that a method of several calls makes are not guarded (_get, _add,
 * _cas, _delete; f_unguarded): one that missed would look like one that found nothing, and be repeated. */
#ifndef SHMS_PYTHON_RESCUE_H
#define SHMS_PYTHON_RESCUE_H

#include "python/call.h"

/* REQUIRES: an exception is pending. True: it is forgotten, and the call is to be done again. False: *result is what the
 * call returns instead, or NULL with an exception. tries: how often it was done again. keywords: their names, or NULL;
 * the values stand behind the `count` arguments. */
bool shms_rescue(PyObject *store, const char *method, PyObject *const *args, Py_ssize_t count, PyObject *keywords,
                 unsigned tries, PyObject **result);
/* The same for a call that returns an int: *result as that int; -1 with an exception. Takes the reference. */
Py_ssize_t shms_rescued_number(PyObject *result);

#define GUARDED_AS(guarded, f, name)                                                                 \
    PyObject *guarded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) { \
        PyObject *result;                                                                            \
        for (unsigned tries = 0; SHMS_UNLIKELY(!(result = f(self, args, count, keywords))); tries++) \
            if (!shms_rescue(self, name, args, count, keywords, tries, &result))                     \
                break;                                                                               \
        return result;                                                                               \
    }
#define GUARDED(f, name) static GUARDED_AS(f##_guarded, f, name)
/* Of a method without keywords. */
#define GUARDED_PLAIN(f, name)                                                              \
    static PyObject *f##_guarded(PyObject *self, PyObject *const *args, Py_ssize_t count) { \
        PyObject *result;                                                                   \
        for (unsigned tries = 0; SHMS_UNLIKELY(!(result = f(self, args, count))); tries++)  \
            if (!shms_rescue(self, name, args, count, NULL, tries, &result))                \
                break;                                                                      \
        return result;                                                                      \
    }
/* Of a method with one argument, or none: NULL. */
#define GUARDED_ONE_AS(guarded, f, name)                                           \
    PyObject *guarded(PyObject *self, PyObject *key) {                             \
        PyObject *result;                                                          \
        for (unsigned tries = 0; SHMS_UNLIKELY(!(result = f(self, key))); tries++) \
            if (!shms_rescue(self, name, &key, key ? 1 : 0, NULL, tries, &result)) \
                break;                                                             \
        return result;                                                             \
    }
#define GUARDED_ONE(f, name) static GUARDED_ONE_AS(f##_guarded, f, name)

#endif
