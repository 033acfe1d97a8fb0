/* Numbers as our loops in C have them: vectors of the compiler, bfloat16, and functions that it makes vectors of. */

#pragma once

#if defined(__AVX512F__) && !defined(__clang__)
#pragma GCC target("prefer-vector-width=512") /* GCC else takes half of the width for loops */
#endif

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define SMALLEST_SCALE 1.1754943508222875e-38f /* of float, as in `benchsuite.quant.bounds` */
#define WHOLE 12582912.0f /* added and taken away again it rounds to a whole number, ties to even */

enum { LANES = 16 };
typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef ints any_ints __attribute__((aligned(1), may_alias)); /* in memory, wherever they are */
typedef floats any_floats __attribute__((aligned(4), may_alias));
typedef halves any_halves __attribute__((aligned(2), may_alias));

INLINE float bits_to_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

INLINE uint32_t float_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

INLINE float from_bf16(uint16_t half) { return bits_to_float((uint32_t)half << 16); }

INLINE uint16_t to_bf16(float value) { /* to the nearest, ties to even; NaN stays NaN */
    const uint32_t bits = float_to_bits(value);
    return (uint16_t)(value == value ? (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 : 0x7FC0);
}

INLINE float rounded(float value, int64_t is_bf16) { return is_bf16 ? from_bf16(to_bf16(value)) : value; }

/* LANES floats, or bfloat16, from place `at` on, or one of them. */
INLINE floats some(int half, const void *from, int64_t at) {
    if (half)
        return (floats)(__builtin_convertvector(*(const any_halves *)((const uint16_t *)from + at), ints) << 16);
    return *(const any_floats *)((const float *)from + at);
}

INLINE float one(int half, const void *from, int64_t at) {
    return half ? from_bf16(((const uint16_t *)from)[at]) : ((const float *)from)[at];
}

INLINE float exponential(float x) { /* within two units in the last place (Moshier's Cephes, expf), and vectors of it */
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    const float n = (x * 1.44269504f + WHOLE) - WHOLE;
    const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return (p * r * r + r + 1.0f) * bits_to_float((uint32_t)((int32_t)n + 127) << 23);
}

INLINE float gelu(float x) { /* x · (1 + tanh u) / 2 */
    const float u = 0.7978845608f * (x + 0.044715f * x * x * x);
    return x / (1.0f + exponential(-2.0f * u));
}

/* Int8 codes of `count` floats, or bfloat16, from place `at` on; gives their scale, which is not finite where one is not. */
INLINE float quantize(int half, int64_t count, const void *from, int64_t at, int8_t *restrict codes) {
    int32_t most = 0; /* bits of magnitudes, which are in the order of the numbers: infinity behind all, then NaN */
    #pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < count; i++) {
        const int32_t bits = (int32_t)(float_to_bits(one(half, from, at + i)) & 0x7FFFFFFF);
        most = bits > most ? bits : most;
    }
    const float wanted = bits_to_float((uint32_t)most) / 127.0f, scale = wanted < SMALLEST_SCALE ? SMALLEST_SCALE : wanted;
    for (int64_t i = 0; i < count; i++)
        codes[i] = (int8_t)(int32_t)((one(half, from, at + i) / scale + WHOLE) - WHOLE);
    return scale;
}
