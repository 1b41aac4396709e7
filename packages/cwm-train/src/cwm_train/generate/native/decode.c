/* The decoder's forward pass for tokens whose keys and values go to a cache, in fp32.

   Each thread takes some rows of the cache through all layers, so that threads meet only twice.
   Within a row tokens are computed in their order, and the key and value of each are stored just
   before it looks around: so it sees what came before it and, in rings, nothing newer in place of
   what it may still see. `native_library.py` mirrors the structures. */
#include <stdlib.h>

#include "kernels.h"

#define TILE 48 /* tokens that go through a layer together: their scratch space stays in a cache */

/* Weights are those of the model, (out, in) each. */
typedef struct {
    int64_t window; /* 0: full attention */
    const float *norm_before, *qkv, *out, *norm_after, *gate_up, *down;
    float *store; /* keys and values, (rows, 2, groups, slots, head) */
} Layer;

typedef struct {
    int64_t count, width, heads, groups, head, inner, vocabulary, slots, threads;
    double eps;
    const float *embedding, *frequencies, *norm, *lm_head;
    const Layer *layers;
} Decoder;

typedef struct {
    int64_t count;
    const int64_t *ids, *rows, *positions;
    float *hidden, *logits; /* (count, width) and (count, vocabulary); NULL to fill the cache only */
} Tokens;

typedef struct {
    float *x, *h, *qkv, *mixed, *inner, *cosines, *sines, *scores;
} Scratch;

/* Return the memory to free, NULL if there is none. */
static float *
scratch_make(Scratch *self, const Decoder *d)
{
    int64_t each = 2 * d->width + (2 * d->heads + 2 * d->groups + 1) * d->head + 2 * d->inner;
    int64_t scores = (d->slots + LANES) * (d->heads / d->groups);
    float *memory = malloc((size_t)(TILE * each + scores) * sizeof(float));
    if (memory == NULL) {
        return NULL;
    }
    self->x = memory;
    self->h = self->x + TILE * d->width;
    self->qkv = self->h + TILE * d->width;
    self->mixed = self->qkv + TILE * (d->heads + 2 * d->groups) * d->head;
    self->inner = self->mixed + TILE * d->heads * d->head;
    self->cosines = self->inner + TILE * 2 * d->inner;
    self->sines = self->cosines + TILE * (d->head / 2);
    self->scores = self->sines + TILE * (d->head / 2);
    return memory;
}

static void
embed(const Decoder *d, const Tokens *tokens, Scratch *own)
{
    int64_t half = d->head / 2;
    for (int64_t t = 0; t < tokens->count; t++) {
        const float *from = d->embedding + tokens->ids[t] * d->width;
        memcpy(own->x + t * d->width, from, (size_t)d->width * sizeof(float));
        for (int64_t e = 0; e < half; e++) {
            float angle = (float)tokens->positions[t] * d->frequencies[e];
            own->cosines[t * half + e] = cosf(angle);
            own->sines[t * half + e] = sinf(angle);
        }
    }
}

static void
norm(const Decoder *d, const float *scale, int64_t count, const float *x, float *y)
{
    for (int64_t t = 0; t < count; t++) {
        rms_norm(x + t * d->width, scale, d->width, (float)d->eps, y + t * d->width);
    }
}

static int64_t
slots_of(const Decoder *d, const Layer *layer)
{
    return layer->window && layer->window < d->slots ? layer->window : d->slots;
}

/* Where a row's keys of a group begin; its values begin `groups * slots * head` later. */
static float *
keys_of(const Decoder *d, const Layer *layer, int64_t row, int64_t group)
{
    return layer->store + (row * 2 * d->groups + group) * slots_of(d, layer) * d->head;
}

static void
remember(const Decoder *d, const Layer *layer, int64_t row, int64_t position, const float *keys)
{
    int64_t slots = slots_of(d, layer), slot = position % slots;
    const float *values = keys + d->groups * d->head;
    size_t size = (size_t)d->head * sizeof(float);
    for (int64_t g = 0; g < d->groups; g++) {
        float *to = keys_of(d, layer, row, g) + slot * d->head;
        memcpy(to, keys + g * d->head, size);
        memcpy(to + d->groups * slots * d->head, values + g * d->head, size);
    }
}

static void
look(const Decoder *d, const Layer *layer, int64_t row, int64_t position, const float *queries,
     float *memory, float *y)
{
    int64_t slots = slots_of(d, layer), seen = position < slots ? position + 1 : slots;
    int64_t each = d->heads / d->groups, room = d->slots + LANES;
    float scale = 1.0f / sqrtf((float)d->head);
    for (int64_t g = 0; g < d->groups; g++) {
        const float *keys = keys_of(d, layer, row, g), *own = queries + g * each * d->head;
        const float *values = keys + d->groups * slots * d->head;
        product(own, d->head, each, keys, seen, d->head, memory, room, 0);
        for (int64_t h = 0; h < each; h++) {
            float *scores = memory + h * room, total = exponentials(scores, seen, scale);
            mix(scores, values, seen, d->head, 1.0f / total, y + (g * each + h) * d->head);
        }
    }
}

/* From `own->qkv` to `own->mixed`; with `fill`, keys and values are stored and nothing else. */
static void
attend(const Decoder *d, const Layer *layer, const Tokens *tokens, Scratch *own, int fill)
{
    int64_t half = d->head / 2, step = (d->heads + 2 * d->groups) * d->head;
    for (int64_t t = 0; t < tokens->count; t++) {
        float *queries = own->qkv + t * step, *y = own->mixed + t * d->heads * d->head;
        for (int64_t h = 0; h < d->heads + d->groups; h++) {
            rotate(queries + h * d->head, own->cosines + t * half, own->sines + t * half, half);
        }
        int64_t row = tokens->rows[t], position = tokens->positions[t];
        remember(d, layer, row, position, queries + d->heads * d->head);
        if (!fill) {
            look(d, layer, row, position, queries, own->scores, y);
        }
    }
}

static void
feed_forward(const Decoder *d, const Layer *layer, int64_t count, Scratch *own)
{
    int64_t step = 2 * d->inner;
    norm(d, layer->norm_after, count, own->x, own->h);
    product(own->h, d->width, count, layer->gate_up, step, d->width, own->inner, step, 0);
    for (int64_t t = 0; t < count; t++) {
        swiglu(own->inner + t * step, own->inner + t * step + d->inner, d->inner);
    }
    product(own->inner, step, count, layer->down, d->width, d->inner, own->x, d->width, 1);
}

static void
forward(const Decoder *d, const Tokens *tokens, Scratch *own)
{
    int64_t count = tokens->count, mixed = d->heads * d->head;
    int64_t step = (d->heads + 2 * d->groups) * d->head;
    embed(d, tokens, own);
    for (int64_t i = 0; i < d->count; i++) {
        const Layer *layer = d->layers + i;
        int fill = tokens->hidden == NULL && i == d->count - 1;
        norm(d, layer->norm_before, count, own->x, own->h);
        product(own->h, d->width, count, layer->qkv, step, d->width, own->qkv, step, 0);
        attend(d, layer, tokens, own, fill);
        if (!fill) {
            product(own->mixed, mixed, count, layer->out, d->width, mixed, own->x, d->width, 1);
            feed_forward(d, layer, count, own);
        }
    }
    if (tokens->hidden != NULL) {
        norm(d, d->norm, count, own->x, tokens->hidden);
    }
}

/* The first token of part `part` of `parts`; parts end where a row ends. */
static int64_t
part_start(const Tokens *tokens, int64_t part, int64_t parts)
{
    int64_t t = tokens->count * part / parts;
    while (t > 0 && t < tokens->count && tokens->rows[t] == tokens->rows[t - 1]) {
        t++;
    }
    return t;
}

/* Take the tokens of a part through all layers; return -1 if memory is lacking. */
static int
decode_part(const Decoder *d, const Tokens *tokens, int64_t from, int64_t to)
{
    Scratch own;
    float *memory = scratch_make(&own, d);
    if (memory == NULL) {
        return -1;
    }
    for (int64_t t = from; t < to; t += TILE) {
        Tokens part = {
            .count = to - t < TILE ? to - t : TILE,
            .ids = tokens->ids + t,
            .rows = tokens->rows + t,
            .positions = tokens->positions + t,
            .hidden = tokens->hidden == NULL ? NULL : tokens->hidden + t * d->width,
        };
        forward(d, &part, &own);
    }
    free(memory);
    return 0;
}

static void
head_part(const Decoder *d, const Tokens *tokens, int64_t from, int64_t to)
{
    product(tokens->hidden, d->width, tokens->count, d->lm_head + from * d->width, to - from,
            d->width, tokens->logits + from, d->vocabulary, 0);
}

/* Compute tokens, those of a row together and in their order; return -1 if memory is lacking. */
int
cwm_decode(const Decoder *d, const Tokens *tokens)
{
    int failed = 0, parts = (int)(d->threads < tokens->count ? d->threads : tokens->count);
#pragma omp parallel for num_threads(parts) schedule(static, 1) reduction(min : failed)
    for (int part = 0; part < parts; part++) {
        int64_t from = part_start(tokens, part, parts), to = part_start(tokens, part + 1, parts);
        int own = decode_part(d, tokens, from, to);
        failed = own < failed ? own : failed;
    }
    if (failed || tokens->logits == NULL) {
        return failed;
    }
    int64_t blocks = (d->vocabulary + 3) / 4;
    int threads = (int)d->threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int part = 0; part < threads; part++) {
        int64_t from = blocks * part / threads * 4, to = blocks * (part + 1) / threads * 4;
        head_part(d, tokens, from, to < d->vocabulary ? to : d->vocabulary);
    }
    return 0;
}

/* Whether this processor has the instructions that were compiled in. */
int
cwm_decode_runs_here(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}

/* The sizes of `Layer`, `Decoder` and `Tokens`, for a check by the caller. */
void
cwm_decode_sizes(int64_t sizes[3])
{
    sizes[0] = sizeof(Layer);
    sizes[1] = sizeof(Decoder);
    sizes[2] = sizeof(Tokens);
}
