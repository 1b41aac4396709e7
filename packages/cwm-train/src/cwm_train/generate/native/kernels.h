/* Arithmetic of a decoder in fp32, by vectors of eight that the compiler maps to AVX2 or NEON.

   Widths (of inputs, heads, inner layers) are multiples of eight; nothing needs to be aligned. The
   order in which a row's numbers are added up never depends on what other rows there are. */
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 8
#define INLINE static inline __attribute__((always_inline))
#define SHUFFLE __builtin_shufflevector

typedef float Vec __attribute__((vector_size(32)));
typedef int32_t Bits __attribute__((vector_size(32)));
typedef float Quad __attribute__((vector_size(16)));
typedef Vec LooseVec __attribute__((aligned(4), may_alias));
typedef Quad LooseQuad __attribute__((aligned(4), may_alias));

INLINE Vec
load(const float *from)
{
    return *(const LooseVec *)from;
}

INLINE void
store(float *to, Vec value)
{
    *(LooseVec *)to = value;
}

INLINE Vec
spread(float value)
{
    return value - (Vec){0};
}

INLINE Quad
folded(Vec a)
{
    return SHUFFLE(a, a, 0, 1, 2, 3) + SHUFFLE(a, a, 4, 5, 6, 7);
}

INLINE Quad
interleaved(Quad a, Quad b)
{
    return SHUFFLE(a, b, 0, 4, 1, 5) + SHUFFLE(a, b, 2, 6, 3, 7);
}

/* The sums of the lanes of four vectors. */
INLINE Quad
four_sums(Vec a, Vec b, Vec c, Vec d)
{
    Quad ab = interleaved(folded(a), folded(b)), cd = interleaved(folded(c), folded(d));
    return SHUFFLE(ab, cd, 0, 1, 4, 5) + SHUFFLE(ab, cd, 2, 3, 6, 7);
}

INLINE float
one_sum(Vec a)
{
    return four_sums(a, a, a, a)[0];
}

INLINE Vec
chosen(Bits mask, Vec yes, Vec no)
{
    return (Vec)((mask & (Bits)yes) | (~mask & (Bits)no));
}

/* e**x to 2 units in the last place, for x clamped to the range of normal numbers; NaN stays NaN.
   Range reduction and polynomial of Cephes (S. Moshier), `expf`. */
INLINE Vec
exponential(Vec x)
{
    const float round = 12582912.0f; /* 1.5 * 2**23: adding it rounds to an integer */
    x = chosen(x < -87.0f, spread(-87.0f), x);
    x = chosen(x > 88.0f, spread(88.0f), x);
    Vec shifted = x * 1.44269504088896341f + round, whole = shifted - round;
    Vec rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    Vec sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    Bits exponent = (Bits)shifted - (Bits)spread(round) + 127;
    return sum * (Vec)(exponent << 23);
}

static float
dot(const float *x, const float *w, int64_t width)
{
    Vec sum = {0};
    for (int64_t k = 0; k < width; k += LANES) {
        sum += load(x + k) * load(w + k);
    }
    return one_sum(sum);
}

/* y[m][0..3] = x[m] . w[0..3], added to what is there if `add`; `count` is known when compiling. */
INLINE void
tile(const int count, const float *x, int64_t x_step, const float *w, int64_t width, float *y,
     int64_t y_step, int add)
{
    Vec sum[3][4] = {0};
    for (int64_t k = 0; k < width; k += LANES) {
        Vec part[3];
        for (int m = 0; m < count; m++) {
            part[m] = load(x + m * x_step + k);
        }
        for (int n = 0; n < 4; n++) {
            Vec weight = load(w + n * width + k);
            for (int m = 0; m < count; m++) {
                sum[m][n] += part[m] * weight;
            }
        }
    }
    for (int m = 0; m < count; m++) {
        LooseQuad *to = (LooseQuad *)(y + m * y_step);
        Quad found = four_sums(sum[m][0], sum[m][1], sum[m][2], sum[m][3]);
        if (add) {
            found += *to;
        }
        *to = found;
    }
}

/* y = x w^T, (rows, columns) from (rows, width) and (columns, width); added to y if `add`. */
static void
product(const float *x, int64_t x_step, int64_t rows, const float *w, int64_t columns,
        int64_t width, float *y, int64_t y_step, int add)
{
    int64_t n = 0;
    for (; n + 4 <= columns; n += 4) {
        const float *weight = w + n * width;
        int64_t m = 0;
        for (int64_t k = 0; k < 4 * width; k += 16) { /* the next weights come from far away */
            __builtin_prefetch(weight + 4 * width + k);
        }
        for (; rows - m >= 3 && rows - m != 4; m += 3) { /* four rows: two and two */
            tile(3, x + m * x_step, x_step, weight, width, y + m * y_step + n, y_step, add);
        }
        for (; rows - m >= 2; m += 2) {
            tile(2, x + m * x_step, x_step, weight, width, y + m * y_step + n, y_step, add);
        }
        if (m < rows) {
            tile(1, x + m * x_step, x_step, weight, width, y + m * y_step + n, y_step, add);
        }
    }
    for (; n < columns; n++) {
        for (int64_t m = 0; m < rows; m++) {
            float *to = y + m * y_step + n;
            *to = (add ? *to : 0.0f) + dot(x + m * x_step, w + n * width, width);
        }
    }
}

/* y = scale * x / sqrt(mean(x**2) + eps) */
static void
rms_norm(const float *x, const float *scale, int64_t width, float eps, float *y)
{
    float factor = 1.0f / sqrtf(dot(x, x, width) / (float)width + eps);
    for (int64_t k = 0; k < width; k += LANES) {
        store(y + k, load(x + k) * factor * load(scale + k));
    }
}

/* gate = silu(gate) * up */
static void
swiglu(float *gate, const float *up, int64_t width)
{
    for (int64_t k = 0; k < width; k += LANES) {
        Vec g = load(gate + k);
        store(gate + k, g / (1.0f + exponential(-g)) * load(up + k));
    }
}

/* Rotate the halves of a head against each other (as `model.rope`). */
static void
rotate(float *head, const float *cosines, const float *sines, int64_t half)
{
    for (int64_t e = 0; e < half; e++) {
        float first = head[e], second = head[half + e];
        head[e] = first * cosines[e] - second * sines[e];
        head[half + e] = second * cosines[e] + first * sines[e];
    }
}

/* Replace scores by exp(scale * (score - largest)); return their sum. The space after the last
   score, up to a full vector, is written to. */
static float
exponentials(float *scores, int64_t count, float scale)
{
    float largest = scores[0];
    for (int64_t s = 1; s < count; s++) {
        largest = scores[s] > largest ? scores[s] : largest;
    }
    Vec sum = {0};
    for (int64_t s = count; s % LANES; s++) {
        scores[s] = -INFINITY;
    }
    for (int64_t s = 0; s < count; s += LANES) {
        Vec found = exponential((load(scores + s) - largest) * scale);
        store(scores + s, found);
        sum += found;
    }
    return one_sum(sum);
}

/* y = factor * sum over s of shares[s] * values[s], (width,); `vectors` is known when compiling. */
INLINE void
mixed(const int vectors, const float *shares, const float *values, int64_t count, int64_t width,
      float factor, float *y)
{
    Vec even[4] = {0}, odd[4] = {0};
    int64_t s = 0;
    for (; s + 2 <= count; s += 2) {
        for (int v = 0; v < vectors; v++) {
            even[v] += shares[s] * load(values + s * width + v * LANES);
            odd[v] += shares[s + 1] * load(values + (s + 1) * width + v * LANES);
        }
    }
    for (; s < count; s++) {
        for (int v = 0; v < vectors; v++) {
            even[v] += shares[s] * load(values + s * width + v * LANES);
        }
    }
    for (int v = 0; v < vectors; v++) {
        store(y + v * LANES, (even[v] + odd[v]) * factor);
    }
}

static void
mix(const float *shares, const float *values, int64_t count, int64_t width, float factor, float *y)
{
    int64_t e = 0;
    for (; e + 4 * LANES <= width; e += 4 * LANES) {
        mixed(4, shares, values + e, count, width, factor, y + e);
    }
    for (; e < width; e += LANES) {
        mixed(1, shares, values + e, count, width, factor, y + e);
    }
}
