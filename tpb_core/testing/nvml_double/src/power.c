/* Power, energy and field values. A field that is not supported says so in its own return code; the call succeeds. */
#include "double.h"

#include <string.h>

enum { FIELD_TOTAL_ENERGY = 83, FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186, FIELD_LIMIT_MIN, FIELD_LIMIT_MAX, FIELD_LIMIT_DEFAULT,
       FIELD_LIMIT_CURRENT, FIELD_ENERGY, FIELD_LIMIT_REQUESTED };
enum { TYPE_UNSIGNED_INT = 1, TYPE_UNSIGNED_LONG_LONG = 3 };

typedef union { double d; unsigned u; unsigned long ul; unsigned long long ull; long long sll; int i; unsigned short us; } value_t;
typedef struct {
    uint32_t field, scope;
    int64_t timestamp_us, latency_us;
    uint32_t type, code;
    value_t value;
} field_value_t;

int is_unsupported(const gpu_t *gpu, unsigned field, int scope) {
    for (int i = 0; i < gpu->unsupported; i++)
        if (gpu->unsupported_field[i] == field && (gpu->unsupported_scope[i] < 0 || gpu->unsupported_scope[i] == scope)) return 1;
    return 0;
}

int failure_of(const gpu_t *gpu, unsigned field, int64_t t_ns) {
    for (int i = 0; i < gpu->failures.count; i++) {
        const interval_t *row = &gpu->failures.at[i];
        if (t_ns >= row->from_ns && t_ns < row->until_ns && (row->a == 0 || row->a == (int64_t)field)) return (int)row->b;
    }
    return OK;
}

static int is_glitch(gpu_t *gpu, int64_t t_ns) {
    gpu->reads++;
    return interval_at(&gpu->zeros, t_ns) || (gpu->zero_every && gpu->reads % gpu->zero_every == 0);
}

static int power_mw(gpu_t *gpu, unsigned field, unsigned scope, int64_t t_ns, unsigned *mw, int64_t *refreshed_ns) {
    static const int trace_of_scope[] = {TRACE_GPU, TRACE_MODULE, TRACE_MEMORY};
    int average = field == FIELD_POWER_AVERAGE;
    if (scope > 2 || is_unsupported(gpu, field, (int)scope)) return NOT_SUPPORTED;
    int which = trace_of_scope[scope];
    if (!gpu->trace[which].count || (average && !gpu->average_window_ns)) return NOT_SUPPORTED;
    int code = failure_of(gpu, field, t_ns);
    if (code != OK) return code;
    int64_t window = average ? gpu->average_window_ns : gpu->window_ns, refresh = average ? gpu->average_refresh_ns : gpu->refresh_ns;
    *mw = is_glitch(gpu, t_ns) ? 0 : (unsigned)sensor_power_mw(gpu, which, window, refresh, t_ns, refreshed_ns);
    return OK;
}

static int energy_mj(gpu_t *gpu, unsigned field, int64_t t_ns, unsigned long long *mj, int64_t *refreshed_ns) {
    if (is_unsupported(gpu, field, 0)) return NOT_SUPPORTED;
    int code = failure_of(gpu, field, t_ns);
    if (code == OK) *mj = counter_mj(gpu, t_ns, refreshed_ns);
    return code;
}

static int limit_mw(gpu_t *gpu, unsigned field, unsigned *mw) {
    if (is_unsupported(gpu, field, 0)) return NOT_SUPPORTED;
    switch (field) {
        case FIELD_LIMIT_MIN: *mw = gpu->limit_min_mw; return OK;
        case FIELD_LIMIT_MAX: *mw = gpu->limit_max_mw; return OK;
        case FIELD_LIMIT_DEFAULT: *mw = gpu->limit_default_mw; return OK;
        case FIELD_LIMIT_CURRENT: case FIELD_LIMIT_REQUESTED: *mw = state_power_limit_mw(gpu); return OK;
        default: return NOT_SUPPORTED;
    }
}

static void fill(gpu_t *gpu, int64_t t_ns, field_value_t *row) {
    int64_t refreshed_ns = t_ns;
    unsigned narrow = 0;
    unsigned long long wide = 0;
    memset(&row->value, 0, sizeof row->value);
    row->type = TYPE_UNSIGNED_INT;
    if (row->field == FIELD_TOTAL_ENERGY || row->field == FIELD_ENERGY) {
        row->type = TYPE_UNSIGNED_LONG_LONG;
        row->code = (uint32_t)energy_mj(gpu, row->field, t_ns, &wide, &refreshed_ns);
        row->value.ull = wide;
    } else if (row->field == FIELD_POWER_AVERAGE || row->field == FIELD_POWER_INSTANT) {
        row->code = (uint32_t)power_mw(gpu, row->field, row->scope, t_ns, &narrow, &refreshed_ns);
        row->value.u = narrow;
    } else {
        row->code = (uint32_t)limit_mw(gpu, row->field, &narrow);
        row->value.u = narrow;
    }
    row->timestamp_us = realtime_us(gpu->stamp_is_refresh ? refreshed_ns : t_ns);
    row->latency_us = scene.latency_ns / 1000;
}

API int nvmlDeviceGetFieldValues(device_t device, int count, field_value_t *rows) {
    gpu_t *gpu;
    mig_t *mig;
    int code = open_device(device, &gpu, &mig);
    if (code != OK) return code;
    int64_t t_ns = now_ns();
    for (int i = 0; i < count; i++) {
        if (mig) rows[i].code = NOT_SUPPORTED; /* power is the board's */
        else fill(gpu, t_ns, &rows[i]);
    }
    return OK;
}

API int nvmlDeviceGetPowerUsage(device_t device, unsigned *mw) {
    gpu_t *gpu;
    mig_t *mig;
    int code = open_device(device, &gpu, &mig);
    if (code != OK) return code;
    if (mig || is_unsupported(gpu, 0, 0)) return NOT_SUPPORTED;
    return power_mw(gpu, gpu->power_usage_is_average ? FIELD_POWER_AVERAGE : FIELD_POWER_INSTANT, 0, now_ns(), mw, NULL);
}

API int nvmlDeviceGetTotalEnergyConsumption(device_t device, unsigned long long *mj) {
    gpu_t *gpu;
    mig_t *mig;
    int code = open_device(device, &gpu, &mig);
    if (code != OK) return code;
    return mig ? NOT_SUPPORTED : energy_mj(gpu, FIELD_TOTAL_ENERGY, now_ns(), mj, NULL);
}
