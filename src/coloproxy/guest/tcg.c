/* Keeps QEMU's COLO from waiting for ever under TCG: for LD_PRELOAD, made when it is needed.
 *
 * There a thread of QEMU waits for a condition with a mutex that it does not hold. What pthread_cond_wait(3) does then
 * is undefined: it comes back holding the mutex, and the next attempt to take it never ends; and a wake-up may be
 * missed. Here such a wait takes the mutex and gives it back, and none is longer than a moment. POSIX lets any wait end
 * without cause, so every caller looks again at what it waits for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { HELD_MS = 20, UNHELD_MS = 1 };

static int owned(const pthread_mutex_t *mutex)
{
    static __thread pid_t self;
    if (!self)
        self = gettid();
    return mutex->__data.__owner == self;
}

static struct timespec in(long milliseconds)
{
    struct timespec when;
    clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_nsec += milliseconds * 1000000L;
    when.tv_sec += when.tv_nsec / 1000000000L;
    when.tv_nsec %= 1000000000L;
    return when;
}

int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    int held = owned(mutex);
    if (!held)
        pthread_mutex_lock(mutex);
    struct timespec until = in(held ? HELD_MS : UNHELD_MS);
    int error = pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &until);
    if (!held)
        pthread_mutex_unlock(mutex);
    return error == ETIMEDOUT ? 0 : error;
}
