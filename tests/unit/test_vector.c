/* Products in vectors, by every set of instructions that the machine executes: against naive sums in double, and that a
 * value does not depend on what is computed beside it. And the attention of sampling, which is made of them. */
#include <math.h>

#include "kernel/kernel.h"
#include "kernel/vector.h"
#include "support.h"

enum { ROWS = 15, COLS = 75, DEPTH = 53, ROOM = 80 };

static float a[ROWS * ROOM], b[ROOM * ROOM], want[ROWS * COLS], got[ROWS * COLS];
static uint16_t narrow[ROOM * ROOM];

static void fill(void) {
    for (int i = 0; i < ROWS * ROOM; i++) a[i] = (float)pfi_random_normal(1, 0, (uint64_t)i);
    for (int i = 0; i < ROOM * ROOM; i++) b[i] = (float)pfi_random_normal(2, 0, (uint64_t)i);
    pfk_narrow(PF_BF16, narrow, b, ROOM * ROOM);
    pfk_widen_f32(PF_BF16, narrow, b, ROOM * ROOM);
}

/* each value of got by itself must be that of want */
static void test_product(void **state) {
    (void)state;
    fill();
    for (int set = 1; set <= pfk_vector_sets(); set++) {
        const pfk_vector *use = pfk_vector_set(set);
        for (int deep = 1; deep <= DEPTH; deep += 4) {
            use->product(want, COLS, a, ROOM, deep, b, ROOM, false, false, ROWS, COLS);
            use->product(got, COLS, a, ROOM, deep, narrow, ROOM, true, false, ROWS, COLS);
            assert_memory_equal(got, want, sizeof want);
            for (int r = 0; r < ROWS; r++)
                for (int c = 0; c < COLS; c++) {
                    double sum = 0;
                    for (int k = 0; k < deep; k++) sum += (double)a[r * ROOM + k] * (double)b[c * ROOM + k];
                    assert_true(fabs(sum - (double)want[r * COLS + c]) < 1e-5);
                    use->product(&got[0], COLS, a + r * ROOM, ROOM, deep, b + c * ROOM, ROOM, false, false, 1, 1);
                    assert_memory_equal(&got[0], &want[r * COLS + c], sizeof *got);
                    use->product(&got[0], COLS, a + r * ROOM, ROOM, deep, b + c * ROOM, ROOM, false, true, 1, 1);
                    assert_true(got[0] == 2 * want[r * COLS + c]);
                }
        }
    }
}

/* p[r,k] in rows, and in columns; added in two parts it is the same sum */
static void test_mixture(void **state) {
    (void)state;
    fill();
    for (int set = 1; set <= pfk_vector_sets(); set++) {
        const pfk_vector *use = pfk_vector_set(set);
        for (int cols = 1; cols <= COLS; cols++) {
            use->mixture(want, COLS, a, ROOM, 1, b, ROOM, cols, DEPTH, false, ROWS);
            use->mixture(got, COLS, a, ROOM, 1, b, ROOM, cols, 20, false, ROWS);
            use->mixture(got, COLS, a + 20, ROOM, 1, b + 20 * ROOM, ROOM, cols, DEPTH - 20, true, ROWS);
            for (int r = 0; r < ROWS; r++) {
                float one[COLS];
                assert_memory_equal(got + r * COLS, want + r * COLS, (size_t)cols * sizeof *got);
                use->mixture(one, COLS, a + r * ROOM, 0, 1, b, ROOM, cols, DEPTH, false, 1);
                assert_memory_equal(one, want + r * COLS, (size_t)cols * sizeof *got);
                for (int c = 0; c < cols; c++) {
                    double sum = 0;
                    for (int k = 0; k < DEPTH; k++) sum += (double)a[r * ROOM + k] * (double)b[k * ROOM + c];
                    assert_true(fabs(sum - (double)want[r * COLS + c]) < 1e-5);
                }
            }
            use->mixture(got, COLS, b, 1, ROOM, a, ROOM, cols, ROWS, false, ROWS);
            for (int r = 0; r < ROWS; r++)
                for (int c = 0; c < cols; c++) {
                    double sum = 0;
                    for (int k = 0; k < ROWS; k++) sum += (double)b[k * ROOM + r] * (double)a[k * ROOM + c];
                    assert_true(fabs(sum - (double)got[r * COLS + c]) < 1e-5);
                }
        }
    }
}

/* rows that see scattered places, runs, and a window of them, with and without a cap */
enum { HEADS = 6, KEYS = 2, PLACES = 40 };

static void naive_attention(double *o, const float *q, const float *k, const float *v, const int32_t *list, int64_t len,
                            int64_t D, const pfk_attention_f32 *s) {
    const int64_t from = s->window > 0 && len > s->window ? len - s->window : 0;
    for (int64_t h = 0; h < HEADS; h++) {
        double p[PLACES] = {0}, sum = 0;
        for (int64_t i = from; i < len; i++) {
            double dot = 0;
            for (int64_t d = 0; d < D; d++)
                dot += (double)q[h * D + d] * (double)k[(list[i] * KEYS + h / (HEADS / KEYS)) * D + d];
            dot *= (double)s->scale;
            sum += p[i] = exp(s->cap > 0 ? (double)s->cap * tanh(dot / (double)s->cap) : dot);
        }
        for (int64_t d = 0; d < D; d++) {
            o[h * D + d] = 0;
            for (int64_t i = from; i < len; i++)
                o[h * D + d] += p[i] / sum * (double)v[(list[i] * KEYS + h / (HEADS / KEYS)) * D + d];
        }
    }
}

static void test_attention(void **state) {
    (void)state;
    enum { MOST = 72 };
    static float q[3 * HEADS * MOST], k[PLACES * KEYS * MOST], v[PLACES * KEYS * MOST], o[3 * HEADS * MOST],
        alone[HEADS * MOST], scratch[2 * HEADS * PLACES];
    const int32_t scattered[] = {3, 9, 8, 7, 30}, runs[] = {0, 1, 2, 3, 4, 5, 20, 21, 22, 23, 10}, one[] = {39};
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
                for (int64_t i = 0; i < 3 * HEADS * D; i++) q[i] = (float)pfi_random_normal(5, 0, (uint64_t)i);
                pfk_attention_rows(set, o, q, k, v, list, len, &s, scratch);
                for (int r = 0; r < 3; r++) {
                    double naive[HEADS * MOST];
                    pfk_attention_f32 single = s;
                    single.T = 1;
                    pfk_attention_rows(set, alone, q + r * HEADS * D, k, v, list + r, len + r, &single, scratch);
                    assert_memory_equal(alone, o + r * HEADS * D, (size_t)(HEADS * D) * sizeof *o);
                    naive_attention(naive, q + r * HEADS * D, k, v, list[r], len[r], D, &s);
                    for (int64_t i = 0; i < HEADS * D; i++) assert_true(fabs(naive[i] - (double)alone[i]) < 1e-5);
                }
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_product), cmocka_unit_test(test_mixture),
                                       cmocka_unit_test(test_attention)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
