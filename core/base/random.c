/* Counter-based random numbers and fingerprints. */
#include <math.h>

#include "base/base.h"

/* Philox4x32-10, Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 * Key: seed. Counter: index (low half), stream (high half). */
void pfi_random_u32x4(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]) {
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

static double random_unit(uint32_t hi, uint32_t lo) { return (double)(((uint64_t)hi << 32 | lo) >> 11) * 0x1p-53; }

double pfi_random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t r[4];
    pfi_random_u32x4(seed, stream, index, r);
    return random_unit(r[0], r[1]);
}

/* Box-Muller; 1 - u keeps the logarithm finite */
double pfi_random_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t r[4];
    pfi_random_u32x4(seed, stream, index, r);
    double u = random_unit(r[0], r[1]), v = random_unit(r[2], r[3]);
    return sqrt(-2 * log(1 - u)) * cos(6.283185307179586476925 * v);
}

static uint64_t random_mix(uint64_t x) {
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    return x ^ (x >> 32);
}

uint64_t pfi_hash64(uint64_t h, const void *p, size_t n) {
    const unsigned char *b = p;
    h = random_mix(h ^ (n * 0x9E3779B97F4A7C15u));
    for (; n >= 8; n -= 8, b += 8) {
        uint64_t w;
        memcpy(&w, b, 8);
        h = random_mix(h ^ w) + 0x9E3779B97F4A7C15u;
    }
    uint64_t w = 0;
    if (n) memcpy(&w, b, n);
    return random_mix(h ^ w);
}

static int nearest_distance(const char *a, const char *b) {
    enum { MAX = 48 };
    int la = (int)strlen(a), lb = (int)strlen(b), row[MAX + 1];
    if (la > MAX || lb > MAX) return MAX;
    for (int j = 0; j <= lb; j++) row[j] = j;
    for (int i = 1; i <= la; i++) {
        int diag = row[0];
        row[0] = i;
        for (int j = 1; j <= lb; j++) {
            int keep = row[j], sub = diag + (a[i - 1] != b[j - 1]);
            row[j] = PFI_MIN(sub, 1 + PFI_MIN(row[j], row[j - 1]));
            diag = keep;
        }
    }
    return row[lb];
}

const char *pfi_nearest(const char *wrong, const char *const *names, int n) {
    const char *best = NULL;
    int least = PFI_MIN(4, (int)strlen(wrong));
    for (int i = 0; i < n; i++) {
        int d = nearest_distance(wrong, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}
