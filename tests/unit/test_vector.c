/* Products in vectors, by every set of instructions that the machine executes: against naive sums in double, and that a
 * value does not depend on what is computed beside it. And the attention of sampling, which is made of them. */
#include <math.h>

#include "kernel/kernel.h"
#include "kernel/vector.h"
#include "support.h"

enum { ROWS = 15, COLS = 75, DEPTH = 53, ROOM = 80 };

static float a[ROWS * ROOM], b[ROOM * ROOM], want[ROWS * COLS], got[ROWS * COLS];
static uint16_t narrow[ROOM * ROOM]; /* b as it is stored */

static void fill(pf_dtype type) {
    for (int i = 0; i < ROWS * ROOM; i++) a[i] = (float)pfi_random_normal(1, 0, (uint64_t)i);
    for (int i = 0; i < ROOM * ROOM; i++) b[i] = (float)pfi_random_normal(2, 0, (uint64_t)i);
    pfk_narrow(type, narrow, b, ROOM * ROOM);
    pfk_widen_f32(type, narrow, b, ROOM * ROOM);
}

/* want must be, to rounding, what a and b give in double */
static void product_near(int deep) {
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) {
            double sum = 0;
            for (int k = 0; k < deep; k++) sum += (double)a[r * ROOM + k] * (double)b[c * ROOM + k];
            assert_true(fabs(sum - (double)want[r * COLS + c]) < 1e-5);
        }
}

/* each value of want by itself must be the same */
static void product_alone(const pfk_vector *use, int deep) {
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) {
            float one;
            use->product(&one, COLS, a + r * ROOM, ROOM, deep, b + c * ROOM, ROOM, PF_F32, 1, 1, NULL);
            assert_memory_equal(&one, &want[r * COLS + c], sizeof one);
        }
}

static void test_product(void **state) {
    (void)state;
    const pf_dtype types[] = {PF_BF16, PF_F16};
    for (int i = 0; i < PFI_COUNT(types) * pfk_vector_sets(); i++) {
        const pfk_vector *use = pfk_vector_set(i / PFI_COUNT(types) + 1);
        const pf_dtype type = types[i % PFI_COUNT(types)];
        fill(type);
        for (int deep = 1; deep <= DEPTH; deep += 4) {
            use->product(want, COLS, a, ROOM, deep, b, ROOM, PF_F32, ROWS, COLS, b);
            use->product(got, COLS, a, ROOM, deep, narrow, ROOM, type, ROWS, COLS, NULL);
            assert_memory_equal(got, want, sizeof want);
            product_near(deep);
            product_alone(use, deep);
        }
    }
}

/* Both sides bfloat16, where the processor multiplies such numbers: rounding x as kernels of the other sets do, then
 * the sum of the rounded values; and each value by itself. */
static void test_product_bf16(void **state) {
    (void)state;
    const pfk_vector *use = pfk_vector_set(0);
    static uint16_t x[ROWS * ROOM], rounded[ROWS * ROOM];
    if (!use->product_bf16) skip();
    fill(PF_BF16);
    pfk_narrow(PF_BF16, rounded, a, ROWS * ROOM);
    for (int n = 1; n <= ROWS * ROOM; n += 61) {
        memset(x, 0xee, sizeof x);
        use->narrow(x, a, n);
        assert_memory_equal(x, rounded, (size_t)n * sizeof *x);
        for (int i = n; i < ROWS * ROOM; i++) assert_int_equal(x[i], 0xeeee);
    }
    pfk_widen_f32(PF_BF16, rounded, a, ROWS * ROOM);
    for (int deep = 1; deep <= DEPTH; deep += 4) {
        use->product_bf16(want, COLS, rounded, ROOM, deep, narrow, ROOM, ROWS, COLS, narrow);
        product_near(deep);
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < COLS; c++) {
                float one;
                use->product_bf16(&one, COLS, rounded + r * ROOM, ROOM, deep, narrow + c * ROOM, ROOM, 1, 1, NULL);
                assert_memory_equal(&one, &want[r * COLS + c], sizeof one);
            }
    }
}

/* added in two parts, of floats and not of float16, it is the same sum */
static void test_mixture(void **state) {
    (void)state;
    fill(PF_F16);
    for (int set = 1; set <= pfk_vector_sets(); set++) {
        const pfk_vector *use = pfk_vector_set(set);
        for (int cols = 1; cols <= COLS; cols++) {
            use->mixture(want, COLS, a, ROOM, narrow, ROOM, PF_F16, cols, DEPTH, false, ROWS, NULL);
            use->mixture(got, COLS, a, ROOM, b, ROOM, PF_F32, cols, 20, false, ROWS, a);
            use->mixture(got, COLS, a + 20, ROOM, b + 20 * ROOM, ROOM, PF_F32, cols, DEPTH - 20, true, ROWS, NULL);
            for (int r = 0; r < ROWS; r++) {
                float one[COLS];
                assert_memory_equal(got + r * COLS, want + r * COLS, (size_t)cols * sizeof *got);
                use->mixture(one, COLS, a + r * ROOM, 0, b, ROOM, PF_F32, cols, DEPTH, false, 1, NULL);
                assert_memory_equal(one, want + r * COLS, (size_t)cols * sizeof *got);
                for (int c = 0; c < cols; c++) {
                    double sum = 0;
                    for (int k = 0; k < DEPTH; k++) sum += (double)a[r * ROOM + k] * (double)b[k * ROOM + c];
                    assert_true(fabs(sum - (double)want[r * COLS + c]) < 1e-5);
                }
            }
        }
    }
}

/* rows that see scattered places, runs, and a window of them, with and without a cap; alone over float16, together over
 * the same values as floats */
enum { HEADS = 6, KEYS = 2, PLACES = 2 * PFK_PAGE };

/* of [PLACES, KEYS, D] in pages */
static int64_t naive_at(int64_t place, int64_t head, int64_t D) {
    return ((place / PFK_PAGE * KEYS + head) * PFK_PAGE + place % PFK_PAGE) * D;
}

static void naive_attention(double *o, const float *q, const float *k, const float *v, const int32_t *list, int64_t len,
                            int64_t D, const pfk_attention_f32 *s) {
    const int64_t from = s->window > 0 && len > s->window ? len - s->window : 0;
    for (int64_t h = 0; h < HEADS; h++) {
        double p[PLACES] = {0}, sum = 0;
        for (int64_t i = from; i < len; i++) {
            double dot = 0;
            for (int64_t d = 0; d < D; d++)
                dot += (double)q[h * D + d] * (double)k[naive_at(list[i], h / (HEADS / KEYS), D) + d];
            dot *= (double)s->scale;
            sum += p[i] = exp(s->cap > 0 ? (double)s->cap * tanh(dot / (double)s->cap) : dot);
        }
        for (int64_t d = 0; d < D; d++) {
            o[h * D + d] = 0;
            for (int64_t i = from; i < len; i++)
                o[h * D + d] += p[i] / sum * (double)v[naive_at(list[i], h / (HEADS / KEYS), D) + d];
        }
    }
}

static void test_attention(void **state) {
    (void)state;
    enum { MOST = 72 };
    static float q[3 * HEADS * MOST], k[PLACES * KEYS * MOST], v[PLACES * KEYS * MOST], o[3 * HEADS * MOST],
        alone[HEADS * MOST], scratch[2 * HEADS * PLACES];
    static uint16_t k16[PFI_COUNT(k)], v16[PFI_COUNT(v)];
    const int32_t scattered[] = {3, 9, 8, 7, 50}, runs[] = {0, 1, 2, 3, 4, 5, 30, 31, 32, 33, 10}, one[] = {39};
    const int32_t *const list[] = {scattered, runs, one};
    const int64_t len[] = {PFI_COUNT(scattered), PFI_COUNT(runs), 1};
    for (int set = 1; set <= pfk_vector_sets(); set++)
        for (int64_t D = 8; D <= MOST; D += 8)
            for (int kind = 0; kind < 4; kind++) {
                const pfk_attention_f32 s = {.T = 3,
                                             .H = HEADS,
                                             .G = KEYS,
                                             .D = D,
                                             .longest = 11,
                                             .scale = 0.3F,
                                             .cap = kind % 2 ? 2 : 0,
                                             .window = kind / 2 * 4,
                                             .threads = 2};
                for (int64_t i = 0; i < PLACES * KEYS * D; i++) {
                    k[i] = (float)pfi_random_normal(3, 0, (uint64_t)i);
                    v[i] = (float)pfi_random_normal(4, 0, (uint64_t)i);
                }
                pfk_narrow(PF_F16, k16, k, PLACES * KEYS * D);
                pfk_narrow(PF_F16, v16, v, PLACES * KEYS * D);
                pfk_widen_f32(PF_F16, k16, k, PLACES * KEYS * D);
                pfk_widen_f32(PF_F16, v16, v, PLACES * KEYS * D);
                for (int64_t i = 0; i < 3 * HEADS * D; i++) q[i] = (float)pfi_random_normal(5, 0, (uint64_t)i);
                pfk_attention_rows(set, o, q, PF_F32, k, v, list, len, &s, scratch);
                for (int r = 0; r < 3; r++) {
                    double naive[HEADS * MOST];
                    pfk_attention_f32 single = s;
                    single.T = 1;
                    pfk_attention_rows(set, alone, q + r * HEADS * D, PF_F16, k16, v16, list + r, len + r, &single,
                                       scratch);
                    assert_memory_equal(alone, o + r * HEADS * D, (size_t)(HEADS * D) * sizeof *o);
                    naive_attention(naive, q + r * HEADS * D, k, v, list[r], len[r], D, &s);
                    for (int64_t i = 0; i < HEADS * D; i++) assert_true(fabs(naive[i] - (double)alone[i]) < 1e-5);
                }
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_product), cmocka_unit_test(test_product_bf16),
                                       cmocka_unit_test(test_mixture), cmocka_unit_test(test_attention)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
