/* The loops over every weight of x (rows, columns), in groups of neighbours, of which the last of a row may be short.

   Compilers make vectors of each: extremes are found among the bits of floats, as integers of the same order, in which
   NaN lies beyond infinity, and a code of a book by changing bits, not by looking it up. */

#include <stdint.h>
#include <string.h>

static inline int32_t ordered(int32_t bits) { return bits ^ (bits >> 31 & INT32_MAX); } /* its own inverse */

static inline int64_t groups_of(int64_t columns, int64_t group) { return (columns + group - 1) / group; }

/* Where group g of row r starts; `size` becomes the number of its weights. */
static inline int64_t start_of(int64_t r, int64_t g, int64_t columns, int64_t group, int64_t *size) {
    const int64_t left = columns - g * group;
    *size = left < group ? left : group;
    return r * columns + g * group;
}

/* The smallest and the largest weight of every group: low, high (rows, groups). */
void extremes(int64_t threads, int64_t rows, int64_t columns, int64_t group, const float *x, float *low, float *high) {
    const int64_t groups = groups_of(columns, group);
    #pragma omp parallel for collapse(2) num_threads((int)threads)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t g = 0; g < groups; g++) {
            int64_t size;
            const float *part = x + start_of(r, g, columns, group, &size);
            int32_t least = INT32_MAX, most = INT32_MIN;
            for (int64_t i = 0; i < size; i++) {
                int32_t bits;
                memcpy(&bits, part + i, sizeof bits);
                const int32_t place = ordered(bits);
                least = place < least ? place : least;
                most = place > most ? place : most;
            }
            least = ordered(least);
            most = ordered(most);
            memcpy(low + r * groups + g, &least, sizeof least);
            memcpy(high + r * groups + g, &most, sizeof most);
        }
}

/* codes (rows, columns): the low byte of min(x / scale + shift, largest), where the sum has no fraction. */
void even_codes(int64_t threads, int64_t rows, int64_t columns, int64_t group, const float *x, uint8_t *restrict codes,
                const float *scale, const float *shift, float largest) {
    const int64_t groups = groups_of(columns, group);
    #pragma omp parallel for collapse(2) num_threads((int)threads)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t g = 0; g < groups; g++) {
            int64_t size;
            const int64_t start = start_of(r, g, columns, group, &size);
            const float *part = x + start;
            uint8_t *restrict out = codes + start;
            const float s = scale[r * groups + g], z = shift[r * groups + g];
            for (int64_t i = 0; i < size; i++) {
                const float sum = part[i] / s + z, kept = sum > largest ? largest : sum;
                int32_t bits;
                memcpy(&bits, &kept, sizeof bits);
                out[i] = (uint8_t)bits;
            }
        }
}

/* codes (rows, columns): order[n] where n of the 15 rising thresholds are below x · factor. */
void book_codes(int64_t threads, int64_t rows, int64_t columns, int64_t group, const float *x, uint8_t *restrict codes,
                const float *factor, const float *thresholds, const uint8_t *order) {
    const int64_t groups = groups_of(columns, group);
    int32_t steps[15]; /* the bits in which neighbours differ */
    for (int n = 0; n < 15; n++)
        steps[n] = order[n] ^ order[n + 1];
    #pragma omp parallel for collapse(2) num_threads((int)threads)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t g = 0; g < groups; g++) {
            int64_t size;
            const int64_t start = start_of(r, g, columns, group, &size);
            const float *part = x + start;
            uint8_t *restrict out = codes + start;
            const float f = factor[r * groups + g];
            for (int64_t i = 0; i < size; i++) {
                const float value = part[i] * f;
                int32_t code = order[0];
                for (int n = 0; n < 15; n++)
                    code ^= value > thresholds[n] ? steps[n] : 0;
                out[i] = (uint8_t)code;
            }
        }
}

/* Two codes (rows, 2, places) to the byte, packed (rows, places): the first low. */
void pack_4_bits(int64_t threads, int64_t rows, int64_t places, const uint8_t *codes, uint8_t *restrict packed) {
    #pragma omp parallel for num_threads((int)threads)
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t *low = codes + 2 * r * places, *high = low + places;
        uint8_t *restrict out = packed + r * places;
        for (int64_t i = 0; i < places; i++)
            out[i] = (uint8_t)(low[i] | high[i] << 4);
    }
}

/* Eight codes (rows, 8, places) to three bytes, packed (rows, 3, places); `benchsuite.quant.packing.pack` says how. */
void pack_3_bits(int64_t threads, int64_t rows, int64_t places, const uint8_t *codes, uint8_t *restrict packed) {
    #pragma omp parallel for collapse(2) num_threads((int)threads)
    for (int64_t r = 0; r < rows; r++)
        for (int run = 0; run < 3; run++) {
            const uint8_t *low = codes + (8 * r + run) * places, *high = low + 4 * places;
            const uint8_t *last = codes + (8 * r + 3) * places, *above = last + 4 * places;
            uint8_t *restrict out = packed + (3 * r + run) * places;
            const int up = 6 - 2 * run;
            for (int64_t i = 0; i < places; i++)
                out[i] = (uint8_t)(low[i] | high[i] << 3 | ((last[i] | above[i] << 3) << up & 0xC0));
        }
}
