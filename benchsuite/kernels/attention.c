/* Attention of many queries, each to the keys at or before its own position, computed in float32.

   A thread takes some queries at a time, side by side in the lanes of its vectors. Their scores, one key after the other,
   stay in its cache as (keys, queries): maximum, exponential and sum are those of lanes, and both products take keys and
   values number by number, as they lie. Vectors are the compiler's. */

#include "numbers.h"

#include <omp.h>

enum {
#ifdef __AVX512F__
    WIDE = 4, /* vectors of queries */
#else
    WIDE = 1,
#endif
    TOGETHER = 6,        /* keys, or columns of the values: with WIDE vectors each their sums fill the registers */
    BLOCK = WIDE * LANES /* queries */
};

struct rows { /* (B, H, N, D), float or bfloat16: the D numbers of a row lie side by side */
    const void *from;
    int64_t of_batch, of_head, of_row;
};

struct work {
    int64_t heads, tokens, keys, size, is_bf16;
    const int64_t *starts; /* (B): the place among the keys at which the first query stands */
    struct rows q, k, v;
    void *to;          /* (B, tokens, H, D), as the queries */
    float *logarithms; /* (B, H, tokens): of the sums of a query's exponentials */
};

struct own { /* of a thread */
    float *scores;       /* (keys + TOGETHER, queries), and (queries, D) before them */
    float *columns;      /* (D + TOGETHER, queries): of the queries, then of the results */
    float *rows;         /* 2 (keys, D) */
    const float *k, *v;  /* (read, D), of `head` */
    int64_t head, read;
};

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* to (n, D): rows `first` and those behind it of a head, as floats. */
INLINE void read_rows(const struct work *w, const struct rows *m, int64_t head, int64_t first, int64_t n, float *to) {
    const int64_t whole = w->size - w->size % LANES;
    for (int64_t s = 0; s < n; s++, to += w->size) {
        const int64_t at = head / w->heads * m->of_batch + head % w->heads * m->of_head + (first + s) * m->of_row;
        for (int64_t i = 0; i < whole; i += LANES)
            *(any_floats *)(to + i) = w->is_bf16 ? some(1, m->from, at + i) : some(0, m->from, at + i);
        for (int64_t i = whole; i < w->size; i++)
            to[i] = one((int)w->is_bf16, m->from, at + i);
    }
}

/* The first n rows (n, D) of a head: where they lie already one behind the other, else in `to`. */
static const float *rows_of(const struct work *w, const struct rows *m, int64_t head, int64_t n, float *to) {
    if (!w->is_bf16 && m->of_row == w->size)
        return (const float *)m->from + head / w->heads * m->of_batch + head % w->heads * m->of_head;
    read_rows(w, m, head, 0, n, to);
    return to;
}

/* to (TOGETHER, queries) = Σ_i x[r][i · step] · with (n, queries)[i], for `wide` vectors of queries. */
INLINE void multiply(int wide, int64_t n, const float *const x[TOGETHER], int64_t step, const float *with, float *to) {
    floats sums[TOGETHER][WIDE] = {0};
    for (int64_t i = 0; i < n; i++) {
        floats row[WIDE];
        for (int j = 0; j < wide; j++)
            row[j] = *(const any_floats *)(with + (i * wide + j) * LANES);
        for (int r = 0; r < TOGETHER; r++)
            for (int j = 0; j < wide; j++)
                sums[r][j] += x[r][i * step] * row[j];
    }
    for (int r = 0; r < TOGETHER; r++)
        for (int j = 0; j < wide; j++)
            *(any_floats *)(to + (r * wide + j) * LANES) = sums[r][j];
}

/* `count` queries of a head, `first` and those behind it; lanes beyond them repeat the last. */
INLINE void attend_some(int wide, const struct work *w, struct own *own, int64_t head, int64_t first, int64_t count) {
    const int queries = wide * LANES;
    const int64_t start = w->starts[head / w->heads] + first, seen = smaller(start + count, w->keys);
    float *scores = own->scores, *columns = own->columns, most[BLOCK], sums[BLOCK];
    const float factor = 1.0f / sqrtf((float)w->size), *x[TOGETHER];
    if (own->head != head || own->read < seen) {
        own->k = rows_of(w, &w->k, head, seen, own->rows);
        own->v = rows_of(w, &w->v, head, seen, own->rows + w->keys * w->size);
        own->head = head, own->read = seen;
    }
    read_rows(w, &w->q, head, first, count, scores);
    for (int n = 0; n < queries; n++)
        for (int64_t i = 0; i < w->size; i++)
            columns[i * queries + n] = scores[smaller(n, count - 1) * w->size + i] * factor;
    for (int64_t s = 0; s < seen; s += TOGETHER) {
        for (int r = 0; r < TOGETHER; r++)
            x[r] = own->k + smaller(s + r, seen - 1) * w->size;
        multiply(wide, w->size, x, 1, columns, scores + s * queries);
    }
    for (int64_t s = start + 1; s < seen; s++) /* keys that only some of the queries see */
        for (int n = 0; n < queries; n++)
            scores[s * queries + n] = s > start + n ? -INFINITY : scores[s * queries + n];
    for (int n = 0; n < queries; n++)
        most[n] = -INFINITY, sums[n] = 0;
    for (int64_t s = 0; s < seen; s++)
        for (int n = 0; n < queries; n++)
            most[n] = scores[s * queries + n] > most[n] ? scores[s * queries + n] : most[n];
    for (int64_t s = 0; s < seen; s++)
        for (int n = 0; n < queries; n++) {
            const float below = scores[s * queries + n] - most[n];
            const float share = below < -87.0f ? 0.0f : exponential(below);
            scores[s * queries + n] = share;
            sums[n] += share;
        }
    for (int64_t i = 0; i < w->size; i += TOGETHER) {
        for (int r = 0; r < TOGETHER; r++)
            x[r] = own->v + smaller(i + r, w->size - 1);
        multiply(wide, seen, x, w->size, scores, columns + i * queries);
    }
    for (int64_t n = 0; n < count; n++) {
        const int64_t row = head / w->heads * w->tokens + first + n, place = (row * w->heads + head % w->heads) * w->size;
        for (int64_t i = 0; i < w->size; i++)
            if (w->is_bf16)
                ((uint16_t *)w->to)[place + i] = to_bf16(columns[i * queries + n] / sums[n]);
            else
                ((float *)w->to)[place + i] = columns[i * queries + n] / sums[n];
        w->logarithms[head * w->tokens + first + n] = most[n] + logf(sums[n]);
    }
}

/* Queries (B, H, tokens, D), keys and values (B, H, keys, D), each with its steps from batch to batch, head to head and
   row to row; a query that stands behind the last key sees them all. */
void attention(int64_t threads, int64_t batch, int64_t heads, int64_t tokens, int64_t keys, int64_t size,
               int64_t is_bf16, const int64_t *starts, const int64_t *steps, const void *q, const void *k, const void *v,
               float *scratch, int64_t of_thread, void *to, float *logarithms) {
    const struct work work = {
        heads, tokens, keys, size, is_bf16, starts, {q, steps[0], steps[1], steps[2]}, {k, steps[3], steps[4], steps[5]},
        {v, steps[6], steps[7], steps[8]}, to, logarithms,
    };
    #pragma omp parallel num_threads((int)threads)
    {
        float *scores = scratch + omp_get_thread_num() * of_thread, *columns = scores + (keys + size + TOGETHER) * BLOCK;
        struct own own = {scores, columns, columns + (size + TOGETHER) * BLOCK, NULL, NULL, -1, 0};
        #pragma omp for collapse(2) schedule(dynamic)
        for (int64_t head = 0; head < batch * heads; head++)
            for (int64_t block = (tokens - 1) / BLOCK; block >= 0; block--) { /* the longest first */
                const int64_t first = block * BLOCK, count = smaller(tokens - first, BLOCK);
                if (count > 2 * LANES)
                    attend_some(WIDE, &work, &own, head, first, count);
                else if (count > LANES)
                    attend_some(WIDE < 2 ? WIDE : 2, &work, &own, head, first, count);
                else
                    attend_some(1, &work, &own, head, first, count);
            }
    }
}
