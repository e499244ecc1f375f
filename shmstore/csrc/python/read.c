/* read.c: copying values out. Readers take no lock and leave nothing to undo. */
#include "python/call.h"
#include "base/number.h"
#include "engine/pin.h"
#include "engine/policy.h"

#define TRIES_BEFORE_PIN 6

/* Extensions (docs/format.md) whose memory the caller may write to, and from which payload on that is worth a bytearray.
 * Such a payload has the header of an ext 32 and no other: codecs/msgpack.py takes it as it lies. */
enum { EXT_BYTEARRAY = 15, EXT_MEMORYVIEW = 16, EXT_NDARRAY = 18, EXT_PANDAS = 21 };
#define WRITABLE_FROM (64u << 10)

bool shms_copy_out(struct shms_call *c, void *to, const uint8_t *from, uint64_t bytes) {
    if (SHMS_LIKELY(bytes < SHMS_RELEASE_GIL_MIN)) {
        shms_copy_racy(to, from, bytes);
        return true;
    }
    shms_call_count(c);
    if (!c->counted)
        return false;
    shms_fetch_add_acq_rel(&c->h->s->calls_without_gil, 1);
    PyThreadState *state = PyEval_SaveThread();
    shms_copy_racy(to, from, bytes);
    PyEval_RestoreThread(state);
    shms_fetch_add_acq_rel(&c->h->s->calls_without_gil, (uint32_t)-1);
    return true;
}

/* Readers overtaken again and again take a pin, and then nobody can take the block away. */
static int pin(struct shms_call *c, struct shms_entry *f, int *pin) {
    struct shms_store *s = c->h->s;
    *pin = -1;
    if (!s->me || (*pin = shms_pin_set(s, SHMS_SLOT_BLOCK(f->word), f->life)) >= -1)
        return SHMS_OK; /* pinned; or read-only, or all pins in use: goes on without */
    *pin = -1;
    return SHMS_AGAIN;
}

/* msgpack's bin 8, 16 or 32 around nothing but bytes: the length of its head, else 0. What is read here and below is
 * checked with the rest of the copy. */
static uint32_t bin_head(const struct shms_entry *f) {
    uint8_t head[5];
    if (f->value_length < 2)
        return 0;
    shms_copy_racy(head, f->value, shms_min(f->value_length, sizeof head));
    uint32_t width = 1u << ((head[0] - 0xc4) & 3);
    if (head[0] < 0xc4 || head[0] > 0xc6 || f->value_length < 1 + width)
        return 0;
    return shms_big_endian(head + 1, (int)width) == f->value_length - 1 - width ? 1 + width : 0;
}

/* The code of what is nothing but one extension, and the length of the head before its payload; else -1. */
static int extension_code(const struct shms_entry *f, uint32_t *head) {
    uint8_t first[6] = {0};
    uint64_t payload;
    shms_copy_racy(first, f->value, shms_min(f->value_length, sizeof first));
    if (first[0] >= 0xc7 && first[0] <= 0xc9) {
        uint32_t width = 1u << (first[0] - 0xc7);
        *head = 2 + width;
        payload = shms_big_endian(first + 1, (int)width);
    } else if (first[0] >= 0xd4 && first[0] <= 0xd8) {
        *head = 2;
        payload = 1u << (first[0] - 0xd4);
    } else
        return -1;
    return f->value_length == *head + payload ? first[*head - 1] : -1;
}

uint32_t shms_bytes_head(const struct shms_entry *f) {
    uint32_t head = bin_head(f), behind;
    return head || extension_code(f, &behind) != EXT_BYTEARRAY ? head : behind;
}

/* One copy, into where it will be needed: true if it could be made; whether it is one life's is for the caller. */
static int copy_value(struct shms_call *c, const struct shms_entry *f, bool whole, struct shms_value *v) {
    const uint8_t *from = f->value;
    v->codec = f->kind & SHMS_CODEC_MASK;
    v->version = shms_entry_version(f);
    v->expiry = f->expiry;
    v->length = f->value_length;
    v->is_object = v->codec == SHMS_CODEC_RAW && !whole;
    v->writable = false;
    v->extension_length = 0;
    if (SHMS_LIKELY(v->codec == SHMS_CODEC_MSGPACK && !whole)) {
        uint32_t head = bin_head(f);
        if (SHMS_UNLIKELY(!head && v->length >= WRITABLE_FROM)) {
            uint32_t behind;
            int code = extension_code(f, &behind);
            v->writable =
                (code == EXT_BYTEARRAY || code == EXT_MEMORYVIEW || code == EXT_NDARRAY || code == EXT_PANDAS) &&
                v->length - behind >= WRITABLE_FROM;
            head = v->writable && code == EXT_BYTEARRAY ? behind : 0;
        }
        v->is_object = head != 0;
        from += head;
        v->length -= head;
        if (SHMS_LIKELY(!head && v->length <= sizeof v->small)) {
            shms_copy_racy(v->small, from, v->length);
            return SHMS_OK;
        }
    }
    if (v->codec == SHMS_CODEC_NAMED && f->extension) {
        v->extension_length = f->extension_length;
        shms_copy_racy(v->extension, f->extension, f->extension_length);
    }
    v->bytes = v->writable ? PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)v->length)
                           : PyBytes_FromStringAndSize(NULL, (Py_ssize_t)v->length);
    if (!v->bytes)
        return SHMS_RAISED;
    char *to = v->writable ? PyByteArray_AsString(v->bytes) : PyBytes_AsString(v->bytes);
    return shms_copy_out(c, to, from, v->length) ? SHMS_OK : SHMS_CLOSED;
}

static int read_value(struct shms_call *c, const struct shms_key *n, bool whole, struct shms_value *v) {
    struct shms_store *s = c->h->s;
    struct shms_entry f;
    v->bytes = NULL;
    for (uint32_t tries = 0;; tries++) {
        int rc = shms_find(s, n, &f), pinned = -1;
        if (rc == SHMS_BUSY || (tries && tries % 64 == 0)) {
            if ((rc = shms_call_wait(c, NULL, 0)) != SHMS_OK && rc != SHMS_FORKED &&
                rc != SHMS_SUPERSEDED) /* it holds nothing here */
                return rc == SHMS_TIMEOUT ? SHMS_CONTENDED : rc;
            continue;
        }
        if (rc != SHMS_OK) {
            if (rc == SHMS_MISS)
                shms_stat(s, SHMS_MISSES, 1);
            return rc;
        }
        uint64_t mine = s->owner;
        if (tries >= TRIES_BEFORE_PIN && (rc = pin(c, &f, &pinned)) != SHMS_OK)
            continue;
        rc = SHMS_UNLIKELY(v->into != NULL) ? shms_copy_into(c, &f, v) : copy_value(c, &f, whole, v);
        /* A process that was held for dead meanwhile had no pin, whatever it thought, and has another place by now. */
        if (pinned >= 0 && (s->owner != mine || !s->me || shms_load_acquire(&s->me->owner) != mine))
            rc = rc == SHMS_OK || rc == SHMS_UNMET ? SHMS_AGAIN : rc;
        bool still = (rc == SHMS_OK || rc == SHMS_UNMET) && (pinned >= 0 || shms_entry_unchanged(&f));
        if (pinned >= 0 && s->owner == mine && s->me)
            shms_pin_clear(s, pinned);
        if (SHMS_LIKELY(still)) {
            shms_stat(s, SHMS_HITS, 1);
            shms_policy_hit(s, f.number);
            return rc;
        }
        Py_CLEAR(v->bytes);
        if (rc != SHMS_OK && rc != SHMS_UNMET && rc != SHMS_AGAIN)
            return rc;
        shms_stat(s, SHMS_RETRIES, 1);
    }
}

int shms_call_read(PyObject *store, PyObject *key, bool whole, struct shms_value *v) {
    struct shms_call c;
    struct shms_key n;
    int rc = shms_call_begin_keyed(&c, store, key, &n);
    if (SHMS_LIKELY(rc == SHMS_OK)) {
        rc = read_value(&c, &n, whole, v);
        shms_call_end(&c);
    } else if (rc == SHMS_NO_KEY)
        rc = shms_call_absent(store, key, false);
    return rc;
}

int shms_call_look(PyObject *store, PyObject *key, struct shms_entry *f) {
    struct shms_call c;
    struct shms_key n;
    int rc = shms_call_begin_keyed(&c, store, key, &n);
    if (SHMS_LIKELY(rc == SHMS_OK)) {
        while ((rc = shms_find(c.h->s, &n, f)) == SHMS_BUSY)
            if ((rc = shms_call_wait(&c, NULL, 0)) != SHMS_OK && rc != SHMS_FORKED && rc != SHMS_SUPERSEDED) {
                rc = rc == SHMS_TIMEOUT ? SHMS_CONTENDED : rc;
                break;
            }
        shms_call_end(&c);
    } else if (rc == SHMS_NO_KEY)
        rc = shms_call_absent(store, key, false);
    return rc;
}

const uint8_t *shms_extension_record(const struct shms_value *v, uint16_t wanted, uint16_t *length) {
    for (uint32_t at = 8; at + 4 <= v->extension_length;) {
        uint16_t type, bytes;
        memcpy(&type, v->extension + at, 2);
        memcpy(&bytes, v->extension + at + 2, 2);
        if (at + 4 + bytes > v->extension_length)
            break;
        if (type == wanted) {
            *length = bytes;
            return v->extension + at + 4;
        }
        at += (uint32_t)SHMS_ALIGN_UP(4u + bytes, 8);
    }
    return NULL;
}

PyObject *shms_value_codec(const struct shms_value *v) {
    if (v->codec != SHMS_CODEC_NAMED)
        return PyLong_FromLong((long)v->codec);
    uint16_t length;
    const uint8_t *name = shms_extension_record(v, SHMS_EXT_CODEC, &length);
    return name ? PyUnicode_DecodeUTF8((const char *)name, length, "replace") : PyUnicode_FromString("?");
}

PyObject *shms_value_object(struct shms_value *v, PyObject *store, PyObject *key) {
    struct shms_module *state = shms_module_of(store);
    struct shms_unpack_error error;
    if (v->is_object)
        return v->bytes;
    if (v->codec == SHMS_CODEC_MSGPACK && !v->writable) {
        PyObject *object = shms_unpack(v->bytes ? (uint8_t *)PyBytes_AsString(v->bytes) : v->small, (size_t)v->length,
                                       &state->types, state->keys, &error);
        Py_XDECREF(v->bytes);
        if (SHMS_LIKELY(object))
            return object;
        PyObject *cause = shms_take_exception();
        shms_raise(PyObject_CallMethod(store, "_undecodable", "OninzO", key, (Py_ssize_t)v->length, error.code,
                                       (Py_ssize_t)error.bytes, cause ? NULL : error.why, cause ? cause : Py_None));
        Py_XDECREF(cause);
        return NULL;
    }
    PyObject *codec = v->bytes ? shms_value_codec(v) : NULL;
    PyObject *object = NULL;
    if (codec)
        object = PyObject_CallMethodObjArgs(store, state->decode, codec, v->bytes, key, NULL);
    Py_XDECREF(codec);
    Py_XDECREF(v->bytes);
    return object;
}

/* _get_versioned(name): (version, codec, bytes), None */
PyObject *shms_get_as_stored(PyObject *self, PyObject *key) {
    struct shms_value v;
    v.into = NULL;
    int rc = shms_call_read(self, key, true, &v);
    if (rc == SHMS_MISS)
        Py_RETURN_NONE;
    if (rc != SHMS_OK)
        return shms_store_failed(self, key, rc);
    PyObject *codec = shms_value_codec(&v);
    if (!codec)
        Py_CLEAR(v.bytes);
    return codec ? Py_BuildValue("(KNN)", (unsigned long long)v.version, codec, v.bytes) : NULL;
}
