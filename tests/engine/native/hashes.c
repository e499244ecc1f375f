/* Prints the SipHash-1-3 of the bytes 00 01 .. for each length from 0 to 256: under the key 00 01 .. 0f, under the key
 * of zeros. test_native.py compares. */
#include <stdio.h>

#include "base/hash.h"

int main(void) {
    uint8_t text[256 + 7];
    for (size_t length = 0; length <= 256; length++) {
        /* Wherever the bytes stand in memory. */
        uint8_t *at = text + length % 8;
        for (size_t i = 0; i < length && at + i < text + sizeof text; i++)
            at[i] = (uint8_t)i;
        printf("%zu %016llx %016llx\n", length,
               (unsigned long long)shms_siphash13(at, length, 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull),
               (unsigned long long)shms_siphash13(at, length, 0, 0));
    }
    return 0;
}
