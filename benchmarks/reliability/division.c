/* Does this machine divide the same twice? Pairs of processes divide the same numbers again and again, in vectors of
   eight, and take turns, so that they are moved between cores. Prints every quotient that has changed.

       gcc -O2 -mavx2 -mfma benchmarks/reliability/division.c -o /tmp/division && /tmp/division SECONDS PAIRS */

#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT 4096
static float divisors[COUNT], first[COUNT], again[COUNT];

static void divide(float *quotients) {
    for (int k = 0; k < COUNT; k += 8)
        _mm256_storeu_ps(quotients + k, _mm256_div_ps(_mm256_set1_ps(2), _mm256_loadu_ps(divisors + k)));
}

static void rest(void) { /* whole numbers for a while, as other programs do */
    volatile unsigned sum = 0;
    for (unsigned i = 0, j = 1; i < 20000; i++) sum ^= j = j * 1664525 + 1013904223;
}

static void work(int seconds, int seed, int from, int to) {
    time_t end = time(0) + seconds;
    long passes = 0, wrong = 0;
    char turn;
    srand(seed);
    for (int k = 0; k < COUNT; k++) divisors[k] = 1 + 20.0f * rand() / RAND_MAX;
    divide(first);
    for (; time(0) < end; passes++) {
        if (passes % 16 == 0) {
            if (read(from, &turn, 1) < 1 || write(to, "x", 1) < 1) break;
            rest();
        }
        divide(again);
        if (!memcmp(first, again, sizeof first)) continue;
        for (int k = 0; k < COUNT; k++)
            if (first[k] != again[k])
                wrong++, printf("lane %d: 2 / %a is %a, and was %a\n", k % 8, divisors[k], again[k], first[k]);
    }
    printf("%ld passes of %d quotients, %ld changed\n", passes, COUNT, wrong);
    if (write(to, "xxxx", 4) < 4) exit(1);
    exit(wrong > 0);
}

int main(int count, char **arguments) {
    int seconds = count > 1 ? atoi(arguments[1]) : 60, pairs = count > 2 ? atoi(arguments[2]) : 3, wrong = 0, status;
    for (int p = 0; p < pairs; p++) {
        int there[2], back[2];
        if (pipe(there) || pipe(back) || write(back[1], "x", 1) < 1) return 2;
        if (!fork()) work(seconds, 2 * p, there[0], back[1]);
        if (!fork()) work(seconds, 2 * p + 1, back[0], there[1]);
    }
    while (wait(&status) > 0) wrong |= status;
    return wrong != 0;
}
