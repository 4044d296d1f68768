/* The order of the data: a permutation that can be asked for one place at a time. */
#include "train/train.h"

/* A Feistel network (Luby and Rackoff 1988) whose round function is Philox permutes 0..4^half - 1; walking its cycle
 * until a value below n comes up permutes 0..n-1 (Black and Rogaway 2002, "cycle walking"). At most four times as many
 * values as items: four rounds of walking on average, whatever n is. */
enum { ORDER_ROUNDS = 8 };

static uint64_t order_round(uint64_t seed, uint64_t epoch, int round, uint64_t right) {
    /* "shuf" in front keeps this stream apart from every other use of the seed */
    uint64_t stream = (uint64_t)0x73687566 << 32 | (epoch & 0xffffffffu);
    uint32_t r[4];
    pfi_random_u32x4(seed, stream, (uint64_t)round << 56 | right, r);
    return (uint64_t)r[1] << 32 | r[0];
}

size_t pfi_shuffled(uint64_t seed, uint64_t epoch, size_t n, size_t i) {
    int half = 1;
    while (half < 31 && (uint64_t)1 << (2 * half) < n) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1, x = i;
    do {
        uint64_t left = x >> half, right = x & mask;
        for (int round = 0; round < ORDER_ROUNDS; round++) {
            uint64_t next = left ^ (order_round(seed, epoch, round, right) & mask);
            left = right;
            right = next;
        }
        x = left << half | right;
    } while (x >= n);
    return (size_t)x;
}
