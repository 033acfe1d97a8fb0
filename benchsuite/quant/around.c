/* What stands around a product: tokens to int8 codes before it, and sums to results behind it. */

#include "numbers.h"

#include <omp.h>

/* Codes (N, in) and scales (N) of tokens x (N, in). */
void quantize_tokens(int64_t threads, int64_t tokens, int64_t in, int64_t is_bf16, const void *x, int8_t *codes,
                     float *scales) {
    #pragma omp parallel for schedule(static) num_threads((int)threads)
    for (int64_t n = 0; n < tokens; n++)
        if (is_bf16)
            scales[n] = quantize(1, in, x, n * in, codes + n * in);
        else
            scales[n] = quantize(0, in, x, n * in, codes + n * in);
}

/* Rows of results from `first` to `last`, (out) each and `apart` from one another. */
INLINE void finish_rows(int whole, int gelus, int is_bf16, int64_t first, int64_t last, int64_t out, const void *sums,
                        const float *token_scales, const float *row_scales, const float *bias, void *to, int64_t apart) {
    for (int64_t n = first; n < last; n++) {
        const float scale = token_scales ? token_scales[n] : 1.0f;
        #pragma omp simd
        for (int64_t i = 0; i < out; i++) {
            const float sum = whole ? (float)((const int32_t *)sums)[n * out + i] * row_scales[i]
                                    : ((const float *)sums)[n * out + i];
            const float y = sum * scale + (bias ? bias[i] : 0.0f), then = gelus ? gelu(y) : y;
            if (is_bf16)
                ((uint16_t *)to)[n * apart + i] = to_bf16(then);
            else
                ((float *)to)[n * apart + i] = then;
        }
    }
}

/* gelu?(sums (N, out) · scales of tokens (N) · scales of rows (out) + bias (out)), scales and bias or NULL: sums are whole
   numbers, or floats that have the rows' scales already; they may stand where the results do. */
void finish(int64_t threads, int64_t tokens, int64_t out, int64_t whole, int64_t gelus, int64_t is_bf16, const void *sums,
            const float *token_scales, const float *row_scales, const float *bias, void *to, int64_t apart) {
    #pragma omp parallel num_threads((int)threads)
    {
        const int64_t thread = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t first = tokens * thread / all, last = tokens * (thread + 1) / all;
        #define WITH(a, b, c) finish_rows(a, b, c, first, last, out, sums, token_scales, row_scales, bias, to, apart)
        switch (whole * 4 + gelus * 2 + is_bf16) {
        case 0: WITH(0, 0, 0); break;
        case 1: WITH(0, 0, 1); break;
        case 2: WITH(0, 1, 0); break;
        case 3: WITH(0, 1, 1); break;
        case 4: WITH(1, 0, 0); break;
        case 5: WITH(1, 0, 1); break;
        case 6: WITH(1, 1, 0); break;
        case 7: WITH(1, 1, 1); break;
        }
    }
}
