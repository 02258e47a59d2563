/* Clock, power trace and sensor: trailing window, refresh period, delay, gain, offset, and the energy counter. */
#include "double.h"

#include <math.h>
#include <time.h>

static int64_t read_clock(clockid_t id) {
    struct timespec at;
    clock_gettime(id, &at);
    return (int64_t)at.tv_sec * 1000000000LL + at.tv_nsec;
}

int64_t now_ns(void) { return (scene.virtual_clock ? scene.virtual_clock[0] : read_clock(CLOCK_MONOTONIC)) - scene.origin_ns; }

int64_t realtime_us(int64_t trace_ns) {
    int64_t realtime = scene.virtual_clock ? scene.virtual_clock[1] : read_clock(CLOCK_REALTIME);
    return (realtime - (now_ns() - trace_ns)) / 1000;
}

void spend_latency(void) {
    if (!scene.latency_ns) return;
    int64_t until = read_clock(CLOCK_MONOTONIC) + scene.latency_ns;
    if (scene.latency_ns > 1000000) { /* long calls sleep, as an ioctl does; short ones spin, because sleeping is not that precise */
        struct timespec pause = {scene.latency_ns / 1000000000LL, scene.latency_ns % 1000000000LL};
        nanosleep(&pause, NULL);
        return;
    }
    while (read_clock(CLOCK_MONOTONIC) < until) { }
}

static int segment(const trace_t *trace, int64_t t_ns) {
    int low = 0, high = trace->count - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (trace->t_ns[middle] <= t_ns) low = middle; else high = middle - 1;
    }
    return low;
}

static long double within(const trace_t *trace, int64_t t_ns) {
    int i = segment(trace, t_ns);
    return trace->energy_pj[i] + (long double)trace->mw[i] * (t_ns - trace->t_ns[i]);
}

long double trace_energy_pj(const trace_t *trace, int64_t t_ns) {
    if (!trace->count) return 0;
    if (!trace->period_ns) return within(trace, t_ns);
    int64_t turns = t_ns / trace->period_ns, rest = t_ns % trace->period_ns;
    if (rest < 0) turns--, rest += trace->period_ns;
    return turns * within(trace, trace->period_ns) + within(trace, rest);
}

int64_t trace_power_mw(const trace_t *trace, int64_t t_ns) {
    if (!trace->count) return 0;
    if (trace->period_ns) t_ns = (t_ns % trace->period_ns + trace->period_ns) % trace->period_ns;
    return trace->mw[segment(trace, t_ns)];
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static int64_t noise_of(const gpu_t *gpu, int64_t k) { /* the same refresh always shows the same noise */
    uint64_t x = (uint64_t)k * 0x9E3779B97F4A7C15ULL + (uint64_t)(gpu - scene.gpu + 1) * 0xD1B54A32D192ED03ULL;
    x ^= x >> 31, x *= 0x94D049BB133111EBULL, x ^= x >> 29;
    return gpu->noise_mw ? (int64_t)(x % (uint64_t)(2 * gpu->noise_mw + 1)) - gpu->noise_mw : 0;
}

static double reading(const gpu_t *gpu, int which, int64_t window_ns, int64_t end_ns, int64_t k) {
    const trace_t *trace = &gpu->trace[which];
    double true_mw = window_ns ? (double)((trace_energy_pj(trace, end_ns) - trace_energy_pj(trace, end_ns - window_ns)) / window_ns)
                               : (double)trace_power_mw(trace, end_ns);
    double mw = gpu->gain * true_mw + gpu->offset_mw + (double)noise_of(gpu, k);
    return mw > 0 ? mw : 0;
}

int64_t sensor_power_mw(const gpu_t *gpu, int which, int64_t window_ns, int64_t refresh_ns, int64_t t_ns, int64_t *refreshed_ns) {
    int64_t k = refresh_ns ? floor_div(t_ns - gpu->phase_ns, refresh_ns) : t_ns;
    int64_t at = refresh_ns ? gpu->phase_ns + k * refresh_ns : t_ns;
    double mw = reading(gpu, which, window_ns, at - gpu->delay_ns, k);
    if (refreshed_ns) *refreshed_ns = at;
    if (gpu->quantum_mw > 1) return (int64_t)llround(mw / (double)gpu->quantum_mw) * gpu->quantum_mw;
    return (int64_t)llround(mw);
}

static long double added_samples_pj(gpu_t *gpu, int64_t from_ns, int64_t at_ns) {
    int64_t first = floor_div(from_ns - gpu->phase_ns, gpu->refresh_ns) + 1, last = floor_div(at_ns - gpu->phase_ns, gpu->refresh_ns);
    if (gpu->samples_from_ns != from_ns || gpu->samples_k < first - 1 || gpu->samples_k > last)
        gpu->samples_k = first - 1, gpu->samples_pj = 0, gpu->samples_from_ns = from_ns;
    while (gpu->samples_k < last) {
        int64_t k = ++gpu->samples_k;
        gpu->samples_pj += (long double)reading(gpu, gpu->counter_scope, gpu->window_ns, gpu->phase_ns + k * gpu->refresh_ns - gpu->delay_ns, k)
                           * gpu->refresh_ns;
    }
    return gpu->samples_pj;
}

uint64_t counter_mj(gpu_t *gpu, int64_t t_ns, int64_t *refreshed_ns) {
    int64_t start = 0, base = gpu->counter_base_mj, at = t_ns;
    if (gpu->counter_refresh_ns)
        at = gpu->counter_phase_ns + floor_div(t_ns - gpu->counter_phase_ns, gpu->counter_refresh_ns) * gpu->counter_refresh_ns;
    for (int i = 0; i < gpu->resets.count; i++)
        if (gpu->resets.at[i].from_ns <= t_ns && gpu->resets.at[i].from_ns >= start) start = gpu->resets.at[i].from_ns, base = 0;
    if (refreshed_ns) *refreshed_ns = at;
    if (at < start && base == 0) return 0;
    const trace_t *trace = &gpu->trace[gpu->counter_scope];
    long double pj = gpu->counter_from_samples
                         ? added_samples_pj(gpu, start, at)
                         : gpu->gain * (trace_energy_pj(trace, at) - trace_energy_pj(trace, start)) + (long double)gpu->offset_mw * (at - start);
    long double mj = base + pj / 1e9L; /* 1 mJ = 1e9 pJ */
    return mj > 0 ? (uint64_t)mj : 0;
}
