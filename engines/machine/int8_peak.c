/* Prints how many 10^9 int8 operations a second this CPU's instructions reach, in loops that touch no memory.
 *
 * Usage: int8_peak THREADS. A multiplication and its addition are two operations. ADD is the sequence with
 * which matrix products multiply unsigned by signed bytes and add up in 32 bits.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512VNNI__)
typedef int32_t vector __attribute__((vector_size(64)));
#define ADD(i) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sum##i) : "v"(a), "v"(b));
#elif defined(__AVXVNNI__)
typedef int32_t vector __attribute__((vector_size(32)));
#define ADD(i) __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum##i) : "x"(a), "x"(b));
#elif defined(__AVX2__)
typedef int32_t vector __attribute__((vector_size(32)));
#define ADD(i)                                                                                     \
    __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"            \
                     : "+x"(sum##i), "=&x"(products)                                               \
                     : "x"(a), "x"(b), "x"(ones));
#elif defined(__ARM_FEATURE_DOTPROD)
typedef int32_t vector __attribute__((vector_size(16)));
#define ADD(i) __asm__ volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum##i) : "w"(a), "w"(b));
#else
#error "no int8 instructions that this program knows"
#endif

#define EACH_SUM(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) /* hide the latency */
#define CLEAR(i) vector sum##i = {0};
enum { SUMS = 10, ROUNDS = 2000000, REPEATS = 15, OPERATIONS = 2 * sizeof(vector) };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static void *multiply(void *unused) {
    vector a = {0}, b = {0}, ones = {0}, products = {0};
    (void)ones, (void)products;
    EACH_SUM(CLEAR)
    for (long round = 0; round < ROUNDS; round++) { EACH_SUM(ADD) }
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
