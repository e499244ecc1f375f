/* unpack_types.c: the standard library's types from their payloads (docs/format.md has the table).
 *
 * An object has one spelling, and every other is refused; so are numbers and fields out of range. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "python/pack.h"

#define PART 1024 /* as in pack_types.c */

#define REFUSE_UNLESS(condition, why)          \
    do {                                       \
        if (!(condition))                      \
            return shms_unpack_failed(u, why); \
    } while (0)

static PyObject *call(PyObject *callable, PyObject *arguments) {
    PyObject *made = arguments ? PyObject_Call(callable, arguments, NULL) : NULL;
    Py_XDECREF(arguments);
    return made;
}

/* An instance of the class with this code, made of these arguments; takes them. */
static PyObject *make(struct shms_unpack *u, int code, PyObject *arguments) {
    PyObject *class = shms_type_of_code(u->types, code);
    if (class)
        return call(class, arguments);
    Py_XDECREF(arguments);
    return NULL;
}

/* ---- ints */

static PyObject *number_of(struct shms_unpack *u, const uint8_t *bytes, size_t n) {
    REFUSE_UNLESS(n, "a number of no bytes");
    REFUSE_UNLESS(n == 1 || bytes[0] != (bytes[1] < 0x80 ? 0 : 0xff),
                  "the number is not written in as few bytes as hold it");
    if (n <= 8) {
        int unused = 64 - 8 * (int)n;
        return PyLong_FromLongLong((int64_t)(shms_get_number(bytes, (int)n) << unused) >> unused);
    }
    PyObject *from = PyObject_GetAttr((PyObject *)&PyLong_Type, u->types->words[SHMS_WORD_FROM_BYTES]);
    PyObject *arguments = Py_BuildValue("(y#O)", (const char *)bytes, (Py_ssize_t)n, u->types->big);
    PyObject *made = from && arguments ? PyObject_Call(from, arguments, u->types->is_signed) : NULL;
    Py_XDECREF(from);
    Py_XDECREF(arguments);
    return made;
}

static PyObject *large_int(struct shms_unpack *u, const uint8_t *bytes, size_t n) {
    bool fits = n <= 8 || (n == 9 && bytes[0] == 0); /* in msgpack's own signed or unsigned 64 bits */
    PyObject *number = number_of(u, bytes, n);
    if (number && fits) {
        Py_DECREF(number);
        return shms_unpack_failed(u, "an int of 64 bits needs no extension");
    }
    return number;
}

/* A tuple of `count` ints, each behind its length in two bytes. */
static PyObject *ints(struct shms_unpack *u, const uint8_t *at, const uint8_t *end, int count) {
    PyObject *numbers = PyTuple_New(count);
    for (int i = 0; numbers && i < count; i++) {
        size_t n = end - at >= 2 ? shms_get_number(at, 2) : 0;
        PyObject *number = end - at >= 2 && n <= PART && n <= (size_t)(end - at) - 2
                               ? number_of(u, at + 2, n)
                               : shms_unpack_failed(u, "a number is cut short or too long");
        at += 2 + n;
        if (!number || PyTuple_SetItem(numbers, i, number) < 0)
            Py_CLEAR(numbers);
    }
    if (numbers && at != end) {
        Py_DECREF(numbers);
        return shms_unpack_failed(u, "bytes are left over");
    }
    return numbers;
}

static PyObject *fraction(struct shms_unpack *u, const uint8_t *bytes, size_t n) {
    PyObject *parts = ints(u, bytes, bytes + n, 2);
    if (!parts)
        return NULL;
    PyObject *zero = PyLong_FromLong(0), *denominator = PyTuple_GetItem(parts, 1);
    int positive = zero ? PyObject_RichCompareBool(denominator, zero, Py_GT) : -1;
    Py_XDECREF(zero);
    Py_INCREF(denominator);
    PyObject *made = positive == 1 ? make(u, SHMS_EXT_FRACTION, parts) : (Py_DECREF(parts), (PyObject *)NULL);
    PyObject *lowest = made ? PyObject_GetAttr(made, u->types->words[SHMS_WORD_DENOMINATOR]) : NULL;
    int same = lowest ? PyObject_RichCompareBool(lowest, denominator, Py_EQ) : -1;
    Py_XDECREF(lowest);
    Py_DECREF(denominator);
    if (same == 1)
        return made;
    Py_XDECREF(made);
    return positive == 0 || same == 0 ? shms_unpack_failed(u, "the fraction is not in lowest terms") : NULL;
}

static PyObject *range(struct shms_unpack *u, const uint8_t *bytes, size_t n) {
    PyObject *parts = ints(u, bytes, bytes + n, 3);
    int step = parts ? PyObject_IsTrue(PyTuple_GetItem(parts, 2)) : -1;
    if (step == 0) {
        Py_DECREF(parts);
        return shms_unpack_failed(u, "a range has a step that is not 0");
    }
    return parts ? call((PyObject *)&PyRange_Type, parts) : NULL;
}

/* ---- Decimal, complex, UUID */

/* As str() writes a Decimal: [-] digits [. digits] [E sign digits], or a kind of NaN or Infinity. So that whatever the
 * context makes of nonsense is not asked, and nothing but digits is converted. */
static bool is_decimal(const uint8_t *s, size_t n) {
    size_t i = n && s[0] == '-', digits = 0;
    static const char *const names[] = {"Infinity", "NaN", "sNaN"};
    for (int k = 0; k < 3; k++) {
        size_t length = strlen(names[k]);
        if (n - i >= length && memcmp(s + i, names[k], length) == 0) {
            for (i += length; i < n && k && s[i] >= '0' && s[i] <= '9'; i++)
                ;
            return i == n;
        }
    }
    for (; i < n && s[i] >= '0' && s[i] <= '9'; i++)
        digits++;
    if (i < n && s[i] == '.')
        for (i++; i < n && s[i] >= '0' && s[i] <= '9'; i++)
            digits++;
    if (!digits || i == n)
        return digits && i == n;
    if (s[i] != 'E' || n - i < 3 || (s[i + 1] != '+' && s[i + 1] != '-'))
        return false;
    for (i += 2; i < n && s[i] >= '0' && s[i] <= '9'; i++)
        ;
    return i == n;
}

static PyObject *decimal(struct shms_unpack *u, const uint8_t *bytes, size_t n) {
    REFUSE_UNLESS(is_decimal(bytes, n), "this is not how the number is written");
    PyObject *made = make(u, SHMS_EXT_DECIMAL, Py_BuildValue("(s#)", (const char *)bytes, (Py_ssize_t)n));
    PyObject *again = made ? PyObject_Str(made) : NULL; /* another spelling of it, such as 1.0E+1 for 10? */
    Py_ssize_t length = 0;
    const char *text = again ? PyUnicode_AsUTF8AndSize(again, &length) : NULL;
    bool same = text && (size_t)length == n;
    for (size_t i = 0; same && i < n; i++)
        same = text[i] == (char)bytes[i] || (text[i] == 'e' && bytes[i] == 'E');
    Py_XDECREF(again);
    if (!text || same) {
        if (!text)
            Py_CLEAR(made);
        return made;
    }
    Py_DECREF(made);
    return shms_unpack_failed(u, "this is not how the number is written");
}

static PyObject *complex_of(struct shms_unpack *u, const uint8_t *bytes, size_t n) {
    REFUSE_UNLESS(n == 16, "a complex number has 16 bytes");
    double parts[2];
    for (int i = 0; i < 2; i++) {
        uint64_t bits = shms_get_number(bytes + 8 * i, 8);
        memcpy(&parts[i], &bits, 8);
    }
    return PyComplex_FromDoubles(parts[0], parts[1]);
}

/* Without UUID.__init__, which checks in Python what is known here: its two attributes are set, past a __setattr__ that
 * raises. */
static PyObject *uuid(struct shms_unpack *u, const uint8_t *bytes, size_t n) {
    REFUSE_UNLESS(n == 16 || (n == 17 && bytes[16] <= 1),
                  "a UUID has 16 bytes, and one of 0 or 1 if it is known to be safe or unsafe");
    struct shms_types *t = u->types;
    PyObject *class = shms_type_of_code(t, SHMS_EXT_UUID), *made = NULL;
    PyObject *nothing = class ? PyTuple_New(0) : NULL, *safe = t->safe_unknown;
    PyObject *high = PyLong_FromUnsignedLongLong(shms_get_number(bytes, 8));
    PyObject *low = PyLong_FromUnsignedLongLong(shms_get_number(bytes + 8, 8));
    PyObject *shifted = high && low ? PyNumber_Lshift(high, t->sixty_four) : NULL;
    PyObject *number = shifted ? PyNumber_Or(shifted, low) : NULL;
    Py_XINCREF(safe);
    if (n == 17 && safe) {
        PyObject *known = PyLong_FromLong(bytes[16] ? 0 : -1), *enumeration = (PyObject *)Py_TYPE(safe);
        Py_DECREF(safe);
        safe = known ? PyObject_CallFunctionObjArgs(enumeration, known, NULL) : NULL;
        Py_XDECREF(known);
    }
    if (nothing && number && safe)
        made = ((newfunc)PyType_GetSlot((PyTypeObject *)class, Py_tp_new))((PyTypeObject *)class, nothing, NULL);
    if (made && (PyObject_GenericSetAttr(made, t->words[SHMS_WORD_INT], number) < 0 ||
                 PyObject_GenericSetAttr(made, t->words[SHMS_WORD_IS_SAFE], safe) < 0))
        Py_CLEAR(made);
    Py_XDECREF(nothing);
    Py_XDECREF(high);
    Py_XDECREF(low);
    Py_XDECREF(shifted);
    Py_XDECREF(number);
    Py_XDECREF(safe);
    return made;
}

/* ---- dates and times: made of the state that pickle would have, whose fields nobody checks again */

static bool is_date(unsigned year, unsigned month, unsigned day) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return year >= 1 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 &&
           day <= (unsigned)days[month - 1] + (month == 2 && leap);
}

/* hour, minute, second, microsecond in four bytes */
static bool is_time(const uint8_t *f) {
    return f[0] < 24 && f[1] < 60 && f[2] < 60 && shms_get_number(f + 3, 4) < 1000000;
}

static PyObject *zone_from(struct shms_unpack *u, int kind, const uint8_t *bytes, size_t n) {
    struct shms_types *t = u->types;
    if (t->read_zone && kind == t->read_zone_kind && (size_t)PyBytes_Size(t->read_zone_bytes) == n &&
        memcmp(PyBytes_AsString(t->read_zone_bytes), bytes, n) == 0) {
        Py_INCREF(t->read_zone);
        return t->read_zone;
    }
    PyObject *data = PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)n), *number = PyLong_FromLong(kind);
    PyObject *zone = data && number ? shms_call_python(t->zone_from, number, data) : NULL;
    Py_XDECREF(number);
    if (zone) {
        PyObject *old[] = {t->read_zone, t->read_zone_bytes};
        Py_INCREF(zone);
        Py_INCREF(data);
        t->read_zone = zone;
        t->read_zone_bytes = data;
        t->read_zone_kind = kind;
        Py_XDECREF(old[0]);
        Py_XDECREF(old[1]);
    }
    Py_XDECREF(data);
    return zone;
}

/* From the state, and the zone that stands behind the fields. flags: bit 0 is fold, bits 1 and 2 the kind of zone. */
static PyObject *moment(struct shms_unpack *u, int code, const char *state, size_t bytes, unsigned flags,
                        const uint8_t *zone, size_t n) {
    REFUSE_UNLESS(flags <= 7, "unknown flags");
    if (!(flags >> 1)) {
        REFUSE_UNLESS(n == 0, "bytes are left over");
        return make(u, code, Py_BuildValue("(y#)", state, (Py_ssize_t)bytes));
    }
    PyObject *where = zone_from(u, (int)(flags >> 1), zone, n);
    return where ? make(u, code, Py_BuildValue("(y#N)", state, (Py_ssize_t)bytes, where)) : NULL;
}

static PyObject *datetime(struct shms_unpack *u, const uint8_t *f, size_t n) {
    char s[10];
    REFUSE_UNLESS(n >= 12, "a datetime has 12 bytes and its zone");
    REFUSE_UNLESS(is_date((unsigned)shms_get_number(f + 1, 2), f[3], f[4]) && is_time(f + 5),
                  "a field is out of range");
    memcpy(s, f + 1, 2);
    s[2] = (char)(f[3] | (f[0] & 1) << 7);
    memcpy(s + 3, f + 4, 4);
    memcpy(s + 7, f + 9, 3);
    return moment(u, SHMS_EXT_DATETIME, s, sizeof s, f[0], f + 12, n - 12);
}

static PyObject *time_of(struct shms_unpack *u, const uint8_t *f, size_t n) {
    char s[6];
    REFUSE_UNLESS(n >= 8, "a time has 8 bytes and its zone");
    REFUSE_UNLESS(is_time(f + 1), "a field is out of range");
    s[0] = (char)(f[1] | (f[0] & 1) << 7);
    memcpy(s + 1, f + 2, 2);
    memcpy(s + 3, f + 5, 3);
    return moment(u, SHMS_EXT_TIME, s, sizeof s, f[0], f + 8, n - 8);
}

static PyObject *date(struct shms_unpack *u, const uint8_t *f, size_t n) {
    REFUSE_UNLESS(n == 4 && is_date((unsigned)shms_get_number(f, 2), f[2], f[3]), "a field is out of range");
    return make(u, SHMS_EXT_DATE, Py_BuildValue("(y#)", (const char *)f, (Py_ssize_t)4));
}

static PyObject *timedelta(struct shms_unpack *u, const uint8_t *f, size_t n) {
    REFUSE_UNLESS(n == 12, "a duration has 12 bytes");
    long days = (int32_t)shms_get_number(f, 4), seconds = (long)shms_get_number(f + 4, 4),
         micros = (long)shms_get_number(f + 8, 4);
    REFUSE_UNLESS(seconds < 86400 && micros < 1000000 && days >= -999999999 && days <= 999999999,
                  "the duration is not normalized");
    return make(u, SHMS_EXT_TIMEDELTA, Py_BuildValue("(lll)", days, seconds, micros));
}

PyObject *shms_unpack_leaf(struct shms_unpack *u, int code, const uint8_t *bytes, size_t n) {
    switch (code) {
    case SHMS_EXT_INT:
        return large_int(u, bytes, n);
    case SHMS_EXT_DECIMAL:
        return decimal(u, bytes, n);
    case SHMS_EXT_FRACTION:
        return fraction(u, bytes, n);
    case SHMS_EXT_RANGE:
        return range(u, bytes, n);
    case SHMS_EXT_COMPLEX:
        return complex_of(u, bytes, n);
    case SHMS_EXT_DATETIME:
        return datetime(u, bytes, n);
    case SHMS_EXT_DATE:
        return date(u, bytes, n);
    case SHMS_EXT_TIME:
        return time_of(u, bytes, n);
    case SHMS_EXT_TIMEDELTA:
        return timedelta(u, bytes, n);
    default:
        return uuid(u, bytes, n);
    }
}
