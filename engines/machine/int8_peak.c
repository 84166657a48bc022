/* Prints how many 10^9 int8 operations a second this CPU's instructions reach, in loops that touch no memory.
 *
 * Usage: int8_peak THREADS. A multiplication and its addition are two operations. ADD is the sequence with
 * which matrix products multiply unsigned by signed bytes and add up in 32 bits; there are as many sums as
 * hide its latency. HAS_... are the CPU's instructions: a compiler that does not know the best of them must
 * fail, for with others the peak would be too low.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SIX(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define TWELVE(DO) SIX(DO) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

#if defined(HAS_AMX_INT8) || defined(__AMX_INT8__)
/* Tiles are laid out as LDTILECFG's page in Intel's Software Developer's Manual says: all 8 with 16 rows of
 * 64 bytes. TDPBUSD begins every 16 cycles and takes 52 (Intel's Optimization Reference Manual, on AMX), so
 * that four sums would do; six are what two factors leave. */
#include <sys/syscall.h>
#include <unistd.h>
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TILES = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
#define EACH_SUM SIX
#define BEGIN __asm__ volatile("ldtilecfg %0" : : "m"(TILES)); /* and all tiles are zero */
#define CLEAR(i)
#define ADD(i) __asm__ volatile("tdpbusd %tmm7, %tmm6, %tmm" #i);
#define END __asm__ volatile("tilerelease");
enum { SUMS = 6, ROUNDS = 150000, OPERATIONS = 2 * 16 * 16 * 64 };
#else
#if defined(HAS_AVX512_VNNI) || defined(__AVX512VNNI__)
typedef int32_t vector __attribute__((vector_size(64)));
#define ADD(i) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sum##i) : "v"(a), "v"(b));
#elif defined(HAS_AVX_VNNI) || defined(__AVXVNNI__)
typedef int32_t vector __attribute__((vector_size(32)));
#define ADD(i) __asm__ volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum##i) : "x"(a), "x"(b));
#elif defined(__AVX2__)
#if defined(__AVX512BW__)
typedef int32_t vector __attribute__((vector_size(64)));
#else
typedef int32_t vector __attribute__((vector_size(32)));
#endif
#define ADD(i)                                                                                     \
    __asm__ volatile("vpmaddubsw %3, %2, %1\n\tvpmaddwd %4, %1, %1\n\tvpaddd %1, %0, %0"            \
                     : "+v"(sum##i), "=&v"(products)                                               \
                     : "v"(a), "v"(b), "v"(ones));
#elif defined(HAS_ARM_SME) || defined(__ARM_FEATURE_SME)
#error "this program does not know SME, whose int8 products are faster than those below"
#elif defined(HAS_ARM_I8MM) || defined(__ARM_FEATURE_MATMUL_INT8)
typedef int32_t vector __attribute__((vector_size(16)));
#define ADD(i) __asm__ volatile("usmmla %0.4s, %1.16b, %2.16b" : "+w"(sum##i) : "w"(a), "w"(b));
#define PRODUCTS_A_SUM 8 /* of rows of 8 bytes: 2 of a with 2 of b */
#elif defined(HAS_ARM_DOTPROD) || defined(__ARM_FEATURE_DOTPROD)
typedef int32_t vector __attribute__((vector_size(16)));
#define ADD(i) __asm__ volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum##i) : "w"(a), "w"(b));
#else
#error "no int8 instructions that this program knows"
#endif
#ifndef PRODUCTS_A_SUM
#define PRODUCTS_A_SUM 4 /* as many bytes as a sum has */
#endif
#define EACH_SUM TWELVE
#define BEGIN                                                                                      \
    vector a = {0}, b = {0}, ones = {0}, products = {0};                                           \
    (void)ones, (void)products;
#define CLEAR(i) vector sum##i = {0};
#define END
enum { SUMS = 12, ROUNDS = 2000000, OPERATIONS = 2 * PRODUCTS_A_SUM * sizeof(vector) / sizeof(int32_t) };
#endif
enum { REPEATS = 40 }; /* of milliseconds each, so that some pass between what other processes do */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

/* Returns whether the system lets this process use the instructions; Linux gives tiles on request alone. */
static int allowed(void) {
#if defined(HAS_AMX_INT8) || defined(__AMX_INT8__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 }; /* Documentation/arch/x86/xstate.rst */
    return !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
#else
    return 1;
#endif
}

static void *multiply(void *unused) {
    BEGIN
    EACH_SUM(CLEAR)
    for (long round = 0; round < ROUNDS; round++) { EACH_SUM(ADD) }
    END
    return unused;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    if (threads < 1 || threads > 1024) return 2;
    if (!allowed()) return 1;
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
