/* pack_types.c: the payloads of the standard library's types (docs/format.md has the table).
 *
 * What cannot be kept (a number too long, a zone of another class) is SHMS_PACK_REFUSED; codecs/error_path.py says why. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>
#include <string.h>

#include "python/pack.h"

#define PART 1024 /* bytes of a number in a Fraction or range: reducing and counting them takes quadratic time */

static enum shms_pack_result extension(struct shms_pack *w, int code, const void *payload, size_t bytes) {
    shms_work_leaf(&w->work, code, bytes);
    return shms_pack_extension(w->to, code, payload, bytes);
}

/* ---- ints: as few bytes as hold them, big-endian, two's complement */

static size_t small_int(long long n, uint8_t bytes[8]) {
    unsigned long long magnitude = n >= 0 ? (unsigned long long)n : ~(unsigned long long)n;
    size_t size = (magnitude ? 64 - (size_t)__builtin_clzll(magnitude) : 0) / 8 + 1; /* of 64 bits one is the sign */
    shms_put_number(bytes, (uint64_t)n, (int)size);
    return size;
}

/* As a bytes object; NULL with an exception. */
static PyObject *large_int(struct shms_types *t, PyObject *number) {
    PyObject *zero = PyLong_FromLong(0), *magnitude = NULL, *bits = NULL, *made = NULL;
    int negative = zero ? PyObject_RichCompareBool(number, zero, Py_LT) : -1;
    if (negative >= 0) {
        magnitude = negative ? PyNumber_Invert(number) : number;
        if (!negative)
            Py_INCREF(magnitude);
    }
    if (magnitude)
        bits = PyObject_CallMethodObjArgs(magnitude, t->words[SHMS_WORD_BIT_LENGTH], NULL);
    if (bits) {
        PyObject *method = PyObject_GetAttr(number, t->words[SHMS_WORD_TO_BYTES]);
        PyObject *arguments = Py_BuildValue("(nO)", PyLong_AsSsize_t(bits) / 8 + 1, t->big);
        if (method && arguments)
            made = PyObject_Call(method, arguments, t->is_signed);
        Py_XDECREF(method);
        Py_XDECREF(arguments);
    }
    Py_XDECREF(zero);
    Py_XDECREF(magnitude);
    Py_XDECREF(bits);
    return made;
}

static enum shms_pack_result pack_large_int(struct shms_pack *w, PyObject *number) {
    PyObject *bytes = large_int(w->types, number);
    if (!bytes)
        return SHMS_PACK_RAISED;
    enum shms_pack_result rc = extension(w, SHMS_EXT_INT, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes));
    Py_DECREF(bytes);
    return rc;
}

/* Two or three ints, each behind its length in two bytes. Takes the references; NULL: an exception is pending. */
static enum shms_pack_result pack_ints(struct shms_pack *w, int code, PyObject *numbers[], int count) {
    uint8_t payload[3 * (2 + PART)];
    size_t length = 0;
    enum shms_pack_result rc = SHMS_PACKED;
    for (int i = 0; i < count; i++)
        if (!numbers[i])
            rc = SHMS_PACK_RAISED;
        else if (rc == SHMS_PACKED && Py_TYPE(numbers[i]) != &PyLong_Type)
            rc = SHMS_PACK_REFUSED;
    for (int i = 0; i < count && rc == SHMS_PACKED; i++) {
        int overflow;
        size_t size;
        long long n = PyLong_AsLongLongAndOverflow(numbers[i], &overflow);
        if (!overflow)
            size = small_int(n, payload + length + 2);
        else {
            PyObject *bytes = large_int(w->types, numbers[i]);
            size = bytes ? (size_t)PyBytes_Size(bytes) : 0;
            rc = !bytes ? SHMS_PACK_RAISED : size > PART ? SHMS_PACK_REFUSED : SHMS_PACKED;
            if (rc == SHMS_PACKED)
                memcpy(payload + length + 2, PyBytes_AsString(bytes), size);
            Py_XDECREF(bytes);
        }
        shms_put_number(payload + length, size, 2);
        length += 2 + size;
    }
    for (int i = 0; i < count; i++)
        Py_XDECREF(numbers[i]);
    return rc == SHMS_PACKED ? extension(w, code, payload, length) : rc;
}

/* The attributes of `value` with these names, all of them asked for. */
static enum shms_pack_result pack_attributes(struct shms_pack *w, PyObject *value, int code,
                                             const enum shms_word names[], int count) {
    PyObject *numbers[3];
    for (int i = 0; i < count; i++)
        numbers[i] = i && !numbers[i - 1] ? NULL : PyObject_GetAttr(value, w->types->words[names[i]]);
    return pack_ints(w, code, numbers, count);
}

/* ---- Decimal, complex, UUID */

static enum shms_pack_result pack_decimal(struct shms_pack *w, PyObject *value) {
    Py_ssize_t n;
    PyObject *text = PyObject_Str(value);
    const char *from = text ? PyUnicode_AsUTF8AndSize(text, &n) : NULL;
    if (!from) {
        Py_XDECREF(text);
        return SHMS_PACK_RAISED;
    }
    size_t start = w->to->length;
    enum shms_pack_result rc = extension(w, SHMS_EXT_DECIMAL, from, (size_t)n);
    if (rc == SHMS_PACKED) {
        char *at = memchr(w->to->bytes + start + 2, 'e', w->to->length - start - 2);
        if (at) /* the context asks for a small one */
            *at = 'E';
    }
    Py_DECREF(text);
    return rc;
}

static enum shms_pack_result pack_complex(struct shms_pack *w, PyObject *value) {
    double parts[2] = {PyComplex_RealAsDouble(value), PyComplex_ImagAsDouble(value)};
    uint8_t payload[16];
    for (int i = 0; i < 2; i++) {
        uint64_t bits;
        memcpy(&bits, &parts[i], 8);
        shms_put_number(payload + 8 * i, bits, 8);
    }
    return extension(w, SHMS_EXT_COMPLEX, payload, sizeof payload);
}

static enum shms_pack_result pack_uuid(struct shms_pack *w, PyObject *value) {
    struct shms_types *t = w->types;
    uint8_t payload[17];
    size_t length = 16;
    if (!shms_type_of_code(t, SHMS_EXT_UUID))
        return SHMS_PACK_RAISED;
    PyObject *number = PyObject_GetAttr(value, t->words[SHMS_WORD_INT]);
    PyObject *high = number ? PyNumber_Rshift(number, t->sixty_four) : NULL;
    PyObject *safe = high ? PyObject_GetAttr(value, t->words[SHMS_WORD_IS_SAFE]) : NULL;
    if (safe) {
        shms_put_number(payload, PyLong_AsUnsignedLongLongMask(high), 8);
        shms_put_number(payload + 8, PyLong_AsUnsignedLongLongMask(number), 8);
    }
    if (safe && safe != t->safe_unknown) { /* 0 safe, -1 unsafe */
        PyObject *known = PyObject_GetAttr(safe, t->words[SHMS_WORD_VALUE]);
        if (known && known != Py_None)
            payload[length++] = PyLong_AsLong(known) == 0;
        Py_XDECREF(known);
    }
    Py_XDECREF(number);
    Py_XDECREF(high);
    Py_XDECREF(safe);
    return PyErr_Occurred() ? SHMS_PACK_RAISED : extension(w, SHMS_EXT_UUID, payload, length);
}

/* ---- dates and times: their fields in a row, as they lie in the object, or from the state that pickle would take */

/* The head of a date or datetime in CPython. Its datetime.h shows this layout to extensions, though not through the
 * limited API; so it is relied on only after a sample was found to have it. */
struct in_place {
    PyObject head;
    Py_hash_t hash;
    uint8_t has_zone;
    uint8_t fields[11]; /* year 2, month, day; of a datetime also hour, minute, second, microsecond 3, fold */
};

static bool sample_lies_as_expected(PyObject *type, bool time_too) {
    static const uint8_t expected[11] = {2011 >> 8, 2011 & 0xff, 10, 9, 8, 7, 6, 0x08, 0x49, 0xea, 1};
    size_t bytes = time_too ? sizeof expected : 4;
    PyObject *size = PyObject_GetAttrString(type, "__basicsize__");
    bool well = size && PyLong_AsSize_t(size) >= offsetof(struct in_place, fields) + bytes;
    PyObject *fields =
        time_too ? Py_BuildValue("(iiiiiii)", 2011, 10, 9, 8, 7, 6, 543210) : Py_BuildValue("(iii)", 2011, 10, 9);
    PyObject *fold = time_too ? Py_BuildValue("{s:i}", "fold", 1) : NULL;
    PyObject *sample = well && fields && (fold || !time_too) ? PyObject_Call(type, fields, fold) : NULL;
    well = sample && memcmp(((struct in_place *)sample)->fields, expected, bytes) == 0;
    Py_XDECREF(size);
    Py_XDECREF(fields);
    Py_XDECREF(fold);
    Py_XDECREF(sample);
    PyErr_Clear();
    return well;
}

/* NULL: take the state that pickle would. */
static const uint8_t *fields_in_place(struct shms_types *t, PyObject *value, bool time_too) {
    enum shms_layout *layout = &t->layout[time_too];
    if (*layout == SHMS_LAYOUT_UNTRIED)
        *layout =
            sample_lies_as_expected((PyObject *)Py_TYPE(value), time_too) ? SHMS_LAYOUT_EXPECTED : SHMS_LAYOUT_OTHER;
    return *layout == SHMS_LAYOUT_EXPECTED ? ((struct in_place *)value)->fields : NULL;
}

static PyObject *state_of(struct shms_types *t, PyObject *value, char **state, size_t bytes) {
    Py_ssize_t n;
    PyObject *reduced = PyObject_CallMethodObjArgs(value, t->words[SHMS_WORD_REDUCE], t->four, NULL);
    PyObject *arguments = reduced && PyTuple_Check(reduced) ? PyTuple_GetItem(reduced, 1) : NULL;
    PyObject *first = arguments && PyTuple_Check(arguments) ? PyTuple_GetItem(arguments, 0) : NULL;
    if (first && PyBytes_AsStringAndSize(first, state, &n) == 0 && (size_t)n == bytes)
        return reduced;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "a date or time has another state than those of the standard library");
    Py_XDECREF(reduced);
    return NULL;
}

/* Kind and bytes of a zone, of the one that was asked for last without asking again: zones do not change. */
static enum shms_pack_result zone_of(struct shms_types *t, PyObject *zone, int *kind, PyObject **bytes) {
    if (zone != t->zone) {
        PyObject *answer = shms_call_python(t->zone_of, zone, NULL);
        if (!answer)
            return SHMS_PACK_RAISED;
        PyObject *old[] = {t->zone, t->zone_bytes};
        t->zone_kind = (int)PyLong_AsLong(PyTuple_GetItem(answer, 0));
        t->zone_bytes = PyTuple_GetItem(answer, 1);
        t->zone = zone;
        Py_INCREF(t->zone_bytes);
        Py_INCREF(zone);
        Py_DECREF(answer);
        Py_XDECREF(old[0]);
        Py_XDECREF(old[1]);
    }
    *kind = t->zone_kind;
    *bytes = t->zone_bytes;
    Py_INCREF(*bytes);
    return SHMS_PACKED;
}

/* Fields, of which the first is fold and kind of zone, then the zone. */
static enum shms_pack_result pack_moment(struct shms_pack *w, PyObject *value, int code, uint8_t *fields,
                                         size_t bytes) {
    PyObject *zone = PyObject_GetAttr(value, w->types->words[SHMS_WORD_TZINFO]);
    if (!zone)
        return SHMS_PACK_RAISED;
    if (zone == Py_None) {
        Py_DECREF(zone);
        return extension(w, code, fields, bytes);
    }
    int kind;
    PyObject *behind;
    uint8_t payload[12 + 512];
    enum shms_pack_result rc = zone_of(w->types, zone, &kind, &behind);
    Py_DECREF(zone);
    if (rc != SHMS_PACKED)
        return rc;
    size_t n = (size_t)PyBytes_Size(behind);
    uint8_t *all = n <= 512 ? payload : malloc(bytes + n); /* the name of a fixed offset may be of any length */
    if (all) {
        fields[0] = (uint8_t)(fields[0] | kind << 1);
        memcpy(all, fields, bytes);
        memcpy(all + bytes, PyBytes_AsString(behind), n);
        rc = extension(w, code, all, bytes + n);
    } else
        rc = SHMS_PACK_NO_MEMORY;
    if (all != payload)
        free(all);
    Py_DECREF(behind);
    return rc;
}

static enum shms_pack_result pack_datetime(struct shms_pack *w, PyObject *value) {
    uint8_t f[12], s[11];
    const uint8_t *fields = fields_in_place(w->types, value, true);
    if (fields)
        memcpy(s, fields, sizeof s);
    else {
        char *state;
        PyObject *owner = state_of(w->types, value, &state, 10);
        if (!owner)
            return SHMS_PACK_RAISED;
        memcpy(s, state, 10);
        s[10] = s[2] >> 7; /* fold lies in the month's high bit */
        s[2] &= 0x7f;
        Py_DECREF(owner);
    }
    f[0] = s[10];
    memcpy(f + 1, s, 7);
    f[8] = 0;
    memcpy(f + 9, s + 7, 3);
    return pack_moment(w, value, SHMS_EXT_DATETIME, f, sizeof f);
}

static enum shms_pack_result pack_time(struct shms_pack *w, PyObject *value) {
    char *s;
    uint8_t f[8];
    PyObject *owner = state_of(w->types, value, &s, 6);
    if (!owner)
        return SHMS_PACK_RAISED;
    f[0] = (uint8_t)s[0] >> 7;
    f[1] = s[0] & 0x7f;
    memcpy(f + 2, s + 1, 2);
    f[4] = 0;
    memcpy(f + 5, s + 3, 3);
    Py_DECREF(owner);
    return pack_moment(w, value, SHMS_EXT_TIME, f, sizeof f);
}

static enum shms_pack_result pack_date(struct shms_pack *w, PyObject *value) {
    const uint8_t *fields = fields_in_place(w->types, value, false);
    if (fields)
        return extension(w, SHMS_EXT_DATE, fields, 4);
    char *s;
    PyObject *owner = state_of(w->types, value, &s, 4);
    enum shms_pack_result rc = owner ? extension(w, SHMS_EXT_DATE, s, 4) : SHMS_PACK_RAISED;
    Py_XDECREF(owner);
    return rc;
}

static enum shms_pack_result pack_timedelta(struct shms_pack *w, PyObject *value) {
    static const enum shms_word names[] = {SHMS_WORD_DAYS, SHMS_WORD_SECONDS, SHMS_WORD_MICROSECONDS};
    uint8_t payload[12];
    for (int i = 0; i < 3; i++) {
        PyObject *number = PyObject_GetAttr(value, w->types->words[names[i]]);
        if (!number)
            return SHMS_PACK_RAISED;
        shms_put_number(payload + 4 * i, (uint64_t)PyLong_AsLong(number), 4);
        Py_DECREF(number);
    }
    return extension(w, SHMS_EXT_TIMEDELTA, payload, sizeof payload);
}

enum shms_pack_result shms_pack_leaf(struct shms_pack *w, PyObject *value, int code) {
    static const enum shms_word of_fraction[] = {SHMS_WORD_NUMERATOR, SHMS_WORD_DENOMINATOR};
    static const enum shms_word of_range[] = {SHMS_WORD_START, SHMS_WORD_STOP, SHMS_WORD_STEP};
    switch (code) {
    case SHMS_EXT_INT:
        return pack_large_int(w, value);
    case SHMS_EXT_DECIMAL:
        return pack_decimal(w, value);
    case SHMS_EXT_FRACTION:
        return pack_attributes(w, value, code, of_fraction, 2);
    case SHMS_EXT_RANGE:
        return pack_attributes(w, value, code, of_range, 3);
    case SHMS_EXT_COMPLEX:
        return pack_complex(w, value);
    case SHMS_EXT_DATETIME:
        return pack_datetime(w, value);
    case SHMS_EXT_DATE:
        return pack_date(w, value);
    case SHMS_EXT_TIME:
        return pack_time(w, value);
    case SHMS_EXT_TIMEDELTA:
        return pack_timedelta(w, value);
    case SHMS_EXT_UUID:
        return pack_uuid(w, value);
    default:
        return SHMS_PACK_REFUSED;
    }
}
