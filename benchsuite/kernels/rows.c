/* GPT-2 for one token in each row of a batch: from its embeddings, x (B, C), to its logits (B, V), all in float32.

   A product of a token is as fast as its weight is read. So each thread reads a run of rows, some side by side, and the
   whole of a token is one parallel region: between two products stands a barrier and nothing else. Weights are read as
   tiles of 64 bytes, as 16 numbers of 32 bits, each with 1, 2, 4 or 8 neighbours of a row in it; the tokens are laid out
   likewise before a product. Vectors are those of the compiler, whatever the processor's are; bytes are little-endian. */

#include "numbers.h"

#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif
#include <omp.h>

enum {
    TILE = 64,     /* bytes */
    STREAMS = 4,   /* rows that a thread reads side by side */
    AHEAD = 2048,  /* bytes by which each is fetched before it is read */
    TOGETHER = 4,  /* tokens that rows are multiplied with at once */
    PADDING = 128, /* columns of the widest tile */
};
enum form { FP32, BF16, INT8, INT4, WHOLE_INT8 }; /* the last: tokens are rounded to int8 as well */
enum then { AS_IT_IS, WITH_GELU };

struct linear { /* y = x Wᵀ + b, W (out, in) in rows; 4 bits: the even column in the high half of a byte */
    int64_t form, out, in;
    int64_t rounds;      /* 8 bits: whether tokens are rounded to int8 with a scale each, as the weight is */
    int64_t group_bits;  /* 4 bits: 2 to the power of it is the columns of a group */
    int64_t half_scales; /* 4 bits: whether scales and offsets are bfloat16 */
    const uint8_t *weight;
    const void *scale, *offset; /* 8 bits: float (out); 4 bits: (out, groups); no offset: NULL */
    const float *values;        /* 4 bits: what the 16 codes stand for */
    const float *bias;          /* (out) or NULL */
};

struct norm {
    const float *weight, *bias;
};

struct block {
    struct norm ln_1, ln_2;
    struct linear c_attn, c_proj, mlp_c_fc, mlp_c_proj;
    void *keys, *values; /* (B, H, capacity, D), bfloat16 in a model of that dtype, else float */
    const void *first_keys, *first_values; /* (H, prefix, D): what all rows begin with */
};

struct end {
    struct norm ln_f;
    struct linear head;
};

struct work {
    int64_t batch, width, heads, capacity, prefix, is_bf16;
    float epsilon;
    floats *tiles; /* (B, stride): the tokens of the next product, in the order in which its tiles are read */
    int64_t stride;
    float *scales;    /* (B): of tokens that were rounded, which are int8 in the place of their tiles */
    int32_t *flipped; /* (B): 128 times the sum of their codes */
    float *y;         /* (B, 4 C): results of a product, and of a layer norm before it */
    float *shares;    /* (B, H, prefix + capacity): of a query among the keys */
};

/* For floats and ints: the sum of a vector's lanes, lane k and lane k + 8 first, then k and k + 4 …, and those of `rows` x
   `count` vectors. Where these are 16 they go the same way side by side, in half as many vectors after each step. */
#if defined(__AVX512F__) && !defined(__clang__)
#define SIXTEEN(count) ((count) == LANES)
#define HALVE(v, half)                                                                                \
    for (int k = 0; k < (half); k++) {                                                                \
        const ints lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};                     \
        const ints low = (lane & -2 * (half)) + (lane & ((half)-1)) + (lane & (half)) / (half) * LANES; \
        v[k] = __builtin_shuffle(v[k], v[k + (half)], low) + __builtin_shuffle(v[k], v[k + (half)], low + (half)); \
    }
#else
#define SIXTEEN(count) 0
#define HALVE(v, half)
#endif
#define TOTALS(scalar, vector, total, totals)                                                         \
    INLINE scalar total(vector v) {                                                                   \
        typedef scalar eight __attribute__((vector_size(32)));                                        \
        typedef scalar four __attribute__((vector_size(16)));                                         \
        const union { vector all; eight half[2]; } a = {v};                                           \
        const union { eight all; four half[2]; } b = {a.half[0] + a.half[1]};                         \
        const four c = b.half[0] + b.half[1];                                                         \
        return (c[0] + c[2]) + (c[1] + c[3]);                                                         \
    }                                                                                                 \
    INLINE void totals(int rows, int count, const vector *sums, scalar *to) {                         \
        if (SIXTEEN(rows * count)) {                                                                  \
            vector v[LANES];                                                                          \
            for (int k = 0; k < LANES; k++)                                                           \
                v[k] = sums[k];                                                                       \
            HALVE(v, 8) HALVE(v, 4) HALVE(v, 2) HALVE(v, 1)                                           \
            memcpy(to, v, sizeof *v);                                                                 \
        } else                                                                                        \
            for (int k = 0; k < rows * count; k++)                                                    \
                to[k] = total(sums[k]);                                                               \
    }
TOTALS(float, floats, total, totals)
TOTALS(int32_t, ints, whole_total, whole_totals)

/* sums[k] + the products of the four codes in place k of a tile, unsigned ones times signed ones. */
INLINE ints add_products(ints sums, ints codes, ints tokens) {
#if defined(__AVX512VNNI__)
    return (ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)codes, (__m512i)tokens);
#else
    for (int j = 0; j < 4; j++)
        sums += (codes >> 8 * j & 255) * ((tokens << (24 - 8 * j)) >> 24);
    return sums;
#endif
}

INLINE floats pick(floats from, ints places) { /* from[places mod 16] */
#if defined(__clang__)
    floats found;
    for (int k = 0; k < LANES; k++)
        found[k] = from[places[k] & (LANES - 1)];
    return found;
#elif defined(__AVX512F__)
    return __builtin_shuffle(from, places);
#else /* by halves: AVX2 shuffles 8 */
    typedef float eight __attribute__((vector_size(32)));
    typedef int32_t eight_ints __attribute__((vector_size(32)));
    const union { floats all; eight half[2]; } f = {from};
    const union { ints all; eight_ints half[2]; } p = {places};
    const union { eight half[2]; floats all; } found = {{
        __builtin_shuffle(f.half[0], f.half[1], p.half[0]),
        __builtin_shuffle(f.half[0], f.half[1], p.half[1]),
    }};
    return found.all;
#endif
}

INLINE ints read_tile(const uint8_t *from, int64_t size) { /* zeros behind its bytes */
    ints tile = {0};
    __builtin_prefetch(from + AHEAD);
    if (size == TILE)
        return *(const any_ints *)from;
    memcpy(&tile, from, (size_t)size);
    return tile;
}

INLINE int fields_of(int64_t form) { return form == FP32 ? 1 : form == BF16 ? 2 : form == INT8 ? 4 : 8; }

/* Of the numbers in a tile the ones in place j of each, as floats; 4 bits: their values. */
INLINE floats field(int form, ints tile, int j, floats values) {
    switch (form) {
    case FP32: return (floats)tile;
    case BF16: return (floats)(j ? tile & (int32_t)0xFFFF0000 : tile << 16);
    case INT8: return __builtin_convertvector((tile << (24 - 8 * j)) >> 24, floats);
    default: return pick(values, tile >> 4 * j);
    }
}

/* Scales or offsets from place `at` on, repeated for the lanes of a tile; `careful`: at most `left` of them are there. */
INLINE floats spread(const void *from, int half, int64_t at, int careful, int64_t left, int64_t group_bits) {
    const ints lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const ints places = lanes >> (int32_t)(group_bits - 3);
    if (careful && left < LANES) {
        floats found = {0};
        for (int64_t k = 0; k < left; k++)
            found[k] = one(half, from, at + k);
        return pick(found, places);
    }
    return pick(some(half, from, at), places);
}

/* Add tile `t` of `rows` rows, `apart` from one another, times `count` tokens to their sums; `size`: of the tile's bytes
   those that are there. `plain` are the sums of the tokens, times the offsets of 4-bit groups. */
INLINE void add_tile(int form, int rows, int count, int shifted, int half, const struct linear *l, int64_t row,
                     int64_t apart, int64_t t, int64_t size, floats values, const floats *x, int64_t stride,
                     floats *sums, floats *plain) {
    const int fields = fields_of(form), grouped = form == INT4;
    const int64_t bytes = l->in * 4 / fields, groups = grouped ? l->in >> l->group_bits : 1;
    ints tile[STREAMS];
    floats part[STREAMS][TOGETHER] = {0}, ones[TOGETHER] = {0};
    for (int r = 0; r < rows; r++)
        tile[r] = read_tile(l->weight + (row + r * apart) * bytes + t * TILE, size);
    for (int j = 0; j < fields; j++)
        for (int b = 0; b < count; b++) {
            const floats token = x[b * stride + t * fields + j];
            for (int r = 0; r < rows; r++)
                if (grouped)
                    part[r][b] += field(form, tile[r], j, values) * token;
                else
                    sums[r * count + b] += field(form, tile[r], j, values) * token;
            if (shifted)
                ones[b] += token;
        }
    for (int r = 0; r < rows; r++) {
        const int64_t at = (row + r * apart) * groups + (t * 8 * LANES >> l->group_bits), left = l->out * groups - at;
        const int careful = rows == 1;
        floats scale = {0}, offset = {0};
        if (grouped)
            scale = spread(l->scale, half, at, careful, left, l->group_bits);
        if (grouped && shifted)
            offset = spread(l->offset, half, at, careful, left, l->group_bits);
        for (int b = 0; b < count; b++) {
            if (grouped)
                sums[r * count + b] += part[r][b] * scale;
            if (shifted)
                plain[r * count + b] += grouped ? ones[b] * offset : ones[b];
        }
    }
}

/* y[b · out + r · apart] = x_b · w_r for `count` tokens and `rows` rows. */
INLINE void dots(int form, int rows, int count, int shifted, int half, const struct linear *l, int64_t row,
                 int64_t apart, const floats *x, int64_t stride, float *y) {
    const int64_t bytes = l->in * 4 / fields_of(form), whole = bytes / TILE;
    const floats values = form == INT4 ? some(0, l->values, 0) : (floats){0};
    floats sums[STREAMS * TOGETHER] = {0}, plain[STREAMS * TOGETHER] = {0};
    for (int64_t t = 0; t < whole; t++)
        add_tile(form, rows, count, shifted, half, l, row, apart, t, TILE, values, x, stride, sums, plain);
    if (bytes % TILE)
        add_tile(form, rows, count, shifted, half, l, row, apart, whole, bytes % TILE, values, x, stride,
                 sums, plain);
    float products[STREAMS * TOGETHER], shifts[STREAMS * TOGETHER];
    totals(rows, count, sums, products);
    if (shifted)
        totals(rows, count, plain, shifts);
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < count; b++) {
            float sum = products[r * count + b];
            if (form == INT8)
                sum *= ((const float *)l->scale)[row + r * apart];
            if (shifted)
                sum += shifts[r * count + b] * (form == INT4 ? 1.0f : ((const float *)l->offset)[row + r * apart]);
            y[b * l->out + r * apart] = sum;
        }
}

/* The same of int8 codes with tokens in int8, in whole numbers. Unsigned codes times signed ones are an instruction of many
   processors: so 128 is added to the weight's, and `flipped`, 128 times the sum of a token, taken from its sums. */
INLINE void add_whole_tile(int rows, int count, const struct linear *l, int64_t row, int64_t apart, int64_t at,
                           int64_t size, const int8_t *x, int64_t stride, ints *sums) {
    for (int r = 0; r < rows; r++) {
        const ints codes = read_tile(l->weight + (row + r * apart) * l->in + at, size) ^ (int32_t)0x80808080;
        for (int b = 0; b < count; b++)
            sums[r * count + b] = add_products(sums[r * count + b], codes, *(const any_ints *)(x + b * stride + at));
    }
}

INLINE void whole_dots(int rows, int count, const struct linear *l, int64_t row, int64_t apart, const int8_t *x,
                       int64_t stride, const int32_t *flipped, float *y) {
    const int64_t rest = l->in % TILE, whole = l->in - rest;
    ints sums[STREAMS * TOGETHER] = {0};
    for (int64_t at = 0; at < whole; at += TILE)
        add_whole_tile(rows, count, l, row, apart, at, TILE, x, stride, sums);
    if (rest)
        add_whole_tile(rows, count, l, row, apart, whole, rest, x, stride, sums);
    int32_t products[STREAMS * TOGETHER];
    whole_totals(rows, count, sums, products);
    for (int r = 0; r < rows; r++)
        for (int b = 0; b < count; b++)
            y[b * l->out + r * apart] =
                (float)(products[r * count + b] - flipped[b]) * ((const float *)l->scale)[row + r * apart];
}

/* The products of `rows` rows with `count` tokens from `b` on. */
INLINE void some_rows(int form, int rows, int count, int shifted, int half, const struct linear *l, int64_t row,
                      int64_t apart, const struct work *w, int64_t b, float *y) {
    const floats *x = w->tiles + b * w->stride;
    float *to = y + b * l->out + row;
    if (form == WHOLE_INT8)
        whole_dots(rows, count, l, row, apart, (const int8_t *)x, w->stride * TILE, w->flipped + b, to);
    else
        dots(form, rows, count, shifted, half, l, row, apart, x, w->stride, to);
}

/* The products of rows `first` to `last` with all tokens. The memory serves several places at once faster than one, so
   rows are read side by side, each from where its share begins. The last ones go alone: of their scales no more may be read
   than there are. */
INLINE void all_rows(int form, int shifted, int half, const struct linear *l, int64_t first, int64_t last,
                     const struct work *w, float *y) {
    const int64_t alone = form == INT4 ? LANES / (l->in >> l->group_bits) + 1 : 0;
    const int64_t apart = last - first > alone ? (last - first - alone) / STREAMS : 0;
    for (int64_t row = first; row < first + apart; row++) {
        int64_t b = 0;
        for (; b + TOGETHER <= w->batch; b += TOGETHER)
            some_rows(form, STREAMS, TOGETHER, shifted, half, l, row, apart, w, b, y);
        for (; b < w->batch; b++)
            some_rows(form, STREAMS, 1, shifted, half, l, row, apart, w, b, y);
    }
    for (int64_t row = first + STREAMS * apart; row < last; row++)
        for (int64_t b = 0; b < w->batch; b++)
            some_rows(form, 1, 1, shifted, half, l, row, 0, w, b, y);
}

/* y (B, out) of the tokens in `tiles`, rounded as the model rounds; `added`, where it is given, is raised by it. */
static void multiply(const struct linear *l, const struct work *w, enum then then, float *y, float *added) {
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const int64_t first = l->out * thread / threads, last = l->out * (thread + 1) / threads;
    const int64_t form = l->rounds ? WHOLE_INT8 : l->form;
    switch (form * 4 + (l->offset != NULL) * 2 + (l->half_scales != 0)) {
    case FP32 * 4: all_rows(FP32, 0, 0, l, first, last, w, y); break;
    case BF16 * 4: all_rows(BF16, 0, 0, l, first, last, w, y); break;
    case INT8 * 4: all_rows(INT8, 0, 0, l, first, last, w, y); break;
    case INT8 * 4 + 2: all_rows(INT8, 1, 0, l, first, last, w, y); break;
    case INT4 * 4: all_rows(INT4, 0, 0, l, first, last, w, y); break;
    case INT4 * 4 + 1: all_rows(INT4, 0, 1, l, first, last, w, y); break;
    case INT4 * 4 + 2: all_rows(INT4, 1, 0, l, first, last, w, y); break;
    case INT4 * 4 + 3: all_rows(INT4, 1, 1, l, first, last, w, y); break;
    case WHOLE_INT8 * 4: all_rows(WHOLE_INT8, 0, 0, l, first, last, w, y); break;
    }
    for (int64_t b = 0; b < w->batch; b++) {
        float *to = y + b * l->out;
        const float scale = l->rounds ? w->scales[b] : 1.0f;
        for (int64_t i = first; i < last; i++) {
            const float sum = to[i] * scale + (l->bias ? l->bias[i] : 0.0f);
            to[i] = rounded(then == WITH_GELU ? gelu(sum) : sum, w->is_bf16);
        }
        if (added)
            for (int64_t i = first; i < last; i++)
                added[b * l->out + i] = rounded(added[b * l->out + i] + to[i], w->is_bf16);
    }
    #pragma omp barrier
}

/* The tokens (in) of a product in the order in which the tiles of its weight are read, with zeros behind them. */
INLINE void lay_out(int fields, const float *x, int64_t in, float *to) {
    const int swapped = fields == 8; /* the even column is in the high half */
    for (int64_t start = 0; start < in; start += LANES * fields)
        for (int j = 0; j < fields; j++)
            for (int k = 0; k < LANES; k++) {
                const int64_t column = start + k * fields + (j ^ swapped);
                *to++ = column < in ? x[column] : 0;
            }
}

/* Fill `tiles` from x (B, in), whose rows are `step` apart, behind a layer norm where one is given: that one's results
   come into y, while x stays. */
static void make_ready(const struct norm *norm, const struct linear *l, const struct work *w, const float *x,
                       int64_t step) {
    const int64_t in = l->in;
    #pragma omp for schedule(static)
    for (int64_t b = 0; b < w->batch; b++) {
        const float *from = x + b * step;
        float *to = (float *)(w->tiles + b * w->stride);
        if (norm) {
            float *own = w->y + b * in, mean = 0, variance = 0;
            #pragma omp simd reduction(+ : mean)
            for (int64_t i = 0; i < in; i++)
                mean += from[i];
            mean /= (float)in;
            #pragma omp simd reduction(+ : variance)
            for (int64_t i = 0; i < in; i++)
                variance += (from[i] - mean) * (from[i] - mean);
            const float factor = 1.0f / sqrtf(variance / (float)in + w->epsilon);
            for (int64_t i = 0; i < in; i++)
                own[i] = rounded((from[i] - mean) * factor * norm->weight[i] + norm->bias[i], w->is_bf16);
            from = own;
        }
        if (l->rounds) {
            int8_t *codes = (int8_t *)to;
            int32_t sum = 0;
            w->scales[b] = quantize(0, in, from, 0, codes);
            #pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < in; i++)
                sum += codes[i];
            w->flipped[b] = 128 * sum;
            memset(codes + in, 0, TILE);
            continue;
        }
        switch (l->form) {
        case FP32: lay_out(1, from, in, to); break;
        case BF16: lay_out(2, from, in, to); break;
        case INT8: lay_out(4, from, in, to); break;
        case INT4: lay_out(8, from, in, to); break;
        }
    }
}

INLINE void keep(int is_bf16, void *cache, int64_t at, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (is_bf16)
            ((uint16_t *)cache)[at + i] = to_bf16(x[i]);
        else
            ((float *)cache)[at + i] = x[i];
}

INLINE floats some_early(int half, const void *from, int64_t at) { /* with those that are AHEAD fetched */
    __builtin_prefetch((const char *)from + at * (half ? 2 : 4) + AHEAD);
    return some(half, from, at);
}

/* shares[s] = q (D) · keys[s] / √D for `count` keys (…, D) from place `at` on. */
INLINE void compare_some(int count, int is_bf16, int64_t size, const float *restrict q, const void *keys, int64_t at,
                         float *restrict shares) {
    const int64_t whole = size - size % LANES;
    const float factor = 1.0f / sqrtf((float)size);
    floats products[LANES] = {0};
    for (int64_t i = 0; i < whole; i += LANES)
        for (int s = 0; s < count; s++)
            products[s] += some(0, q, i) * some_early(is_bf16, keys, at + s * size + i);
    totals(count, 1, products, shares);
    for (int s = 0; s < count; s++) {
        for (int64_t i = whole; i < size; i++)
            shares[s] += q[i] * one(is_bf16, keys, at + s * size + i);
        shares[s] *= factor;
    }
}

INLINE void compare(int is_bf16, int64_t size, const float *q, const void *keys, int64_t at, int64_t seen, float *shares) {
    int64_t s = 0;
    for (; s + LANES <= seen; s += LANES)
        compare_some(LANES, is_bf16, size, q, keys, at + s * size, shares + s);
    for (; s < seen; s++)
        compare_some(1, is_bf16, size, q, keys, at + s * size, shares + s);
}

/* to (D), from column i on, += shares[s] · values[s] for `seen` values (…, D) from place `at` on: `vectors` of them. */
INLINE void gather_some(int vectors, int is_bf16, int64_t size, const float *restrict shares, const void *values,
                        int64_t at, int64_t seen, int64_t i, float *restrict to) {
    floats found[4];
    for (int k = 0; k < vectors; k++)
        found[k] = some(0, to, i + k * LANES);
    for (int64_t s = 0; s < seen; s++)
        for (int k = 0; k < vectors; k++)
            found[k] += shares[s] * some_early(is_bf16, values, at + s * size + i + k * LANES);
    for (int k = 0; k < vectors; k++)
        *(any_floats *)(to + i + k * LANES) = found[k];
}

INLINE void gather(int is_bf16, int64_t size, const float *shares, const void *values, int64_t at, int64_t seen, float *to) {
    int64_t i = 0;
    for (; i + 4 * LANES <= size; i += 4 * LANES) /* that do not wait for one another */
        gather_some(4, is_bf16, size, shares, values, at, seen, i, to);
    for (; i + LANES <= size; i += LANES)
        gather_some(1, is_bf16, size, shares, values, at, seen, i, to);
    for (; i < size; i++)
        for (int64_t s = 0; s < seen; s++)
            to[i] += shares[s] * one(is_bf16, values, at + s * size + i);
}

/* One head of one row: its key and value go to the cache, and the result stands where the query was. */
INLINE void attend_once(int is_bf16, const struct block *k, const struct work *w, int64_t b, int64_t h, int64_t position) {
    const int64_t size = w->width / w->heads, head = b * w->heads + h, start = head * w->capacity * size;
    const int64_t before = w->prefix, seen = position + 1, own = seen - before;
    float *restrict q = w->y + b * 3 * w->width + h * size, *restrict shares = w->shares + head * (before + w->capacity);
    keep(is_bf16, k->keys, start + (own - 1) * size, q + w->width, size);
    keep(is_bf16, k->values, start + (own - 1) * size, q + 2 * w->width, size);
    compare(is_bf16, size, q, k->first_keys, h * before * size, before, shares);
    compare(is_bf16, size, q, k->keys, start, own, shares + before);
    float most = -INFINITY, sum = 0;
    #pragma omp simd reduction(max : most)
    for (int64_t s = 0; s < seen; s++)
        most = shares[s] > most ? shares[s] : most;
    #pragma omp simd reduction(+ : sum)
    for (int64_t s = 0; s < seen; s++) {
        const float share = exponential(shares[s] - most);
        sum += share;
        shares[s] = rounded(share, is_bf16);
    }
    memset(q, 0, (size_t)size * sizeof *q);
    gather(is_bf16, size, shares, k->first_values, h * before * size, before, q);
    gather(is_bf16, size, shares + before, k->values, start, own, q);
    for (int64_t i = 0; i < size; i++)
        q[i] = rounded(q[i] / sum, is_bf16);
}

static void attend(const struct block *k, const struct work *w, const int64_t *positions) {
    #pragma omp for collapse(2) schedule(static)
    for (int64_t h = 0; h < w->heads; h++) /* a head of the prefix is in the cache for all rows */
        for (int64_t b = 0; b < w->batch; b++)
            if (w->is_bf16)
                attend_once(1, k, w, b, h, positions[b]);
            else
                attend_once(0, k, w, b, h, positions[b]);
}

/* The place of the largest logit of every row, the first of equal ones; -1 where it is not finite, or some is NaN. */
static void find_largest(const struct work *w, int64_t vocabulary, const float *logits, int64_t *found) {
    #pragma omp for schedule(static)
    for (int64_t b = 0; b < w->batch; b++) {
        const float *row = logits + b * vocabulary;
        float most = -INFINITY;
        int odd = 0;
        #pragma omp simd reduction(max : most) reduction(| : odd)
        for (int64_t i = 0; i < vocabulary; i++) {
            odd |= !(row[i] < INFINITY);
            most = row[i] > most ? row[i] : most;
        }
        int64_t place = -1;
        if (!odd && most > -INFINITY)
            while (row[++place] != most) {}
        found[b] = place;
    }
}

/* y (B, out) of x (B, in). */
void multiply_rows(int64_t threads, int64_t batch, const struct linear *l, const float *x, float *tiles,
                   float *scales, float *y) {
    const struct work work = {.batch = batch, .tiles = (floats *)tiles, .stride = (l->in + PADDING) / LANES,
                              .scales = scales, .flipped = (int32_t *)(scales + batch)};
    #pragma omp parallel num_threads((int)threads)
    {
        make_ready(NULL, l, &work, x, l->in);
        multiply(l, &work, AS_IT_IS, y, NULL);
    }
}

/* From x (B, C), which is overwritten, to logits (B, V) and the most likely next token of every row; row b stands at
   positions[b], the prefix counted. The rest is what `struct work` says; tiles are PADDING columns wider than the widest
   product. */
void one_token(int64_t threads, int64_t batch, int64_t layers, int64_t width, int64_t heads, int64_t capacity,
               int64_t prefix, int64_t is_bf16, float epsilon, const struct block *blocks, const struct end *end,
               const int64_t *positions, float *x, float *tiles, float *scales, float *y, float *shares, float *logits,
               int64_t *found) {
    const struct work work = {batch, width, heads, capacity, prefix, is_bf16, epsilon, (floats *)tiles,
                              (4 * width + PADDING) / LANES, scales, (int32_t *)(scales + batch), y, shares};
    const struct work *w = &work;
    #pragma omp parallel num_threads((int)threads)
    {
        for (const struct block *k = blocks; k < blocks + layers; k++) {
            make_ready(&k->ln_1, &k->c_attn, w, x, width);
            multiply(&k->c_attn, w, AS_IT_IS, y, NULL);
            attend(k, w, positions);
            make_ready(NULL, &k->c_proj, w, y, 3 * width);
            multiply(&k->c_proj, w, AS_IT_IS, y, x);
            make_ready(&k->ln_2, &k->mlp_c_fc, w, x, width);
            multiply(&k->mlp_c_fc, w, WITH_GELU, y, NULL);
            make_ready(NULL, &k->mlp_c_proj, w, y, 4 * width);
            multiply(&k->mlp_c_proj, w, AS_IT_IS, y, x);
        }
        make_ready(&end->ln_f, &end->head, w, x, width);
        multiply(&end->head, w, AS_IT_IS, logits, NULL);
        find_largest(w, end->head.out, logits, found);
    }
}
