/* number.h: every boundary of msgpack's integers there and back, in its shortest form, and what is no integer. */
#include "harness.h"
#include "base/number.h"

/* The shortest form by the table in msgpack's specification. */
static uint64_t shortest(int64_t n) {
    if (n >= -32)
        return n <= 127 ? 1 : n <= 0xff ? 2 : n <= 0xffff ? 3 : n <= 0xffffffffll ? 5 : 9;
    return n >= -0x80 ? 2 : n >= -0x8000 ? 3 : n >= -0x80000000ll ? 5 : 9;
}

static void there_and_back(int64_t n) {
    uint8_t text[SHMS_NUMBER_MAX + 1];
    int64_t back = ~n;
    memset(text, 0xa5, sizeof text);
    uint64_t length = shms_number_encode(n, text);
    EXPECT(length == shortest(n) && text[SHMS_NUMBER_MAX] == 0xa5);
    EXPECT(shms_number_decode(text, length, &back) == SHMS_OK && back == n);
    /* Shorter or longer than its head says. */
    if (length > 1)
        EXPECT(shms_number_decode(text, length - 1, &back) == SHMS_NOT_INT);
    EXPECT(shms_number_decode(text, length + 1, &back) == SHMS_NOT_INT);
}

/* Any of the eight sized forms, minimal or not. */
static int decode(uint8_t head, uint64_t raw, int64_t *n) {
    int bytes = 1 << ((head - 0xcc) & 3);
    uint8_t text[SHMS_NUMBER_MAX] = {head};
    for (int i = 0; i < bytes; i++)
        text[1 + i] = (uint8_t)(raw >> (8 * (bytes - 1 - i)));
    return shms_number_decode(text, 1u + (uint64_t)bytes, n);
}

int main(void) {
    int64_t n;
    for (int bit = 0; bit < 64; bit++)
        for (int64_t near = -2; near <= 2; near++) {
            there_and_back((int64_t)((1ull << bit) + (uint64_t)near));
            there_and_back((int64_t)(0 - (1ull << bit) + (uint64_t)near));
        }
    for (n = -70000; n <= 70000; n++)
        there_and_back(n);
    there_and_back(INT64_MIN);
    there_and_back(INT64_MAX);

    /* Forms longer than need be are integers too. */
    for (uint8_t head = 0xcc; head <= 0xcf; head++)
        EXPECT(decode(head, 5, &n) == SHMS_OK && n == 5);
    for (uint8_t head = 0xd0; head <= 0xd3; head++)
        EXPECT(decode(head, ~0ull, &n) == SHMS_OK && n == -1);
    EXPECT(decode(0xcc, 0xff, &n) == SHMS_OK && n == 255);
    EXPECT(decode(0xd0, 0x80, &n) == SHMS_OK && n == -128);
    EXPECT(decode(0xcf, INT64_MAX, &n) == SHMS_OK && n == INT64_MAX);
    EXPECT(decode(0xcf, 1ull << 63, &n) == SHMS_OVERFLOW);
    EXPECT(decode(0xcf, UINT64_MAX, &n) == SHMS_OVERFLOW);
    EXPECT(decode(0xd3, 1ull << 63, &n) == SHMS_OK && n == INT64_MIN);

    /* Everything else is none, whatever its length. */
    for (int head = 0; head < 256; head++)
        for (uint64_t length = 0; length <= SHMS_NUMBER_MAX; length++) {
            uint8_t text[SHMS_NUMBER_MAX] = {(uint8_t)head};
            bool fixed = length == 1 && (head <= 0x7f || head >= 0xe0);
            bool sized = head >= 0xcc && head <= 0xd3 && length == 1u + (1u << ((head - 0xcc) & 3));
            EXPECT(shms_number_decode(text, length, &n) == (fixed || sized ? SHMS_OK : SHMS_NOT_INT));
        }
    return 0;
}
