/* Prints how many 10^9 int8 operations a second this CPU's instructions reach, in loops that touch no memory.
 *
 * Usage: int8_peak THREADS. A multiplication and its addition are two operations. Each branch below is the
 * sequence with which matrix products multiply unsigned by signed bytes and add up in 32 bits.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512VNNI__)
#include <immintrin.h>
typedef __m512i vector;
#define OPERATIONS 128
#define FILL(byte) _mm512_set1_epi8(byte)
#define MULTIPLY_ADD(sum, a, b) _mm512_dpbusd_epi32(sum, a, b)
#define KEEP "+v"
#elif defined(__AVX2__)
#include <immintrin.h>
typedef __m256i vector;
#define OPERATIONS 64
#define FILL(byte) _mm256_set1_epi8(byte)
#define KEEP "+x"
#if defined(__AVXVNNI__)
#define MULTIPLY_ADD(sum, a, b) _mm256_dpbusd_avx_epi32(sum, a, b)
#else
#define MULTIPLY_ADD(sum, a, b) \
    _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)))
#endif
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
typedef int32x4_t vector;
#define OPERATIONS 32
#define FILL(byte) vreinterpretq_s32_s8(vdupq_n_s8(byte))
#define MULTIPLY_ADD(sum, a, b) vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b))
#define KEEP "+w"
#else
#error "no int8 instructions that this program knows"
#endif

enum { SUMS = 10, ROUNDS = 2000000, REPEATS = 15 }; /* sums enough to hide an instruction's latency */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static void *multiply(void *unused) {
    vector a = FILL(3), b = FILL(2), sums[SUMS];
    for (int i = 0; i < SUMS; i++) sums[i] = FILL(0);
    for (long round = 0; round < ROUNDS; round++) {
        __asm__ volatile("" : KEEP(a)); /* or the compiler would take the products out of the loop */
#pragma GCC unroll 10
        for (int i = 0; i < SUMS; i++) {
            __asm__ volatile("" : KEEP(a), KEEP(sums[i]));
            sums[i] = MULTIPLY_ADD(sums[i], a, b);
        }
    }
    for (int i = 0; i < SUMS; i++) __asm__ volatile("" : KEEP(sums[i]));
    return unused;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    if (threads < 1 || threads > 1024) return 2;
    pthread_t workers[1024];
    double best = 0;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = seconds();
        for (int i = 0; i < threads; i++)
            if (pthread_create(&workers[i], NULL, multiply, NULL)) return 1;
        for (int i = 0; i < threads; i++) pthread_join(workers[i], NULL);
        double rate = (double)threads * ROUNDS * SUMS * OPERATIONS / (seconds() - start) / 1e9;
        if (rate > best) best = rate;
    }
    printf("%.1f\n", best);
    return 0;
}
